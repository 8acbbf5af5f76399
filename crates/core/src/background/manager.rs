//! The background manager's handle.
//!
//! Questions about ended tasks go to the ledger, about live ones to the supervisor, about output
//! straight to what its executor keeps. Changes are one demand or one transaction each, so that the client that asked
//! may go away at any moment.

mod agents;
mod elsewhere;
mod ends;
mod forecast;
mod lines;
mod listing;
mod output;
mod restart;
mod starting;

use std::path::{Path, PathBuf};
use std::time::Duration;

use meanwhile_shim::clock;
use meanwhile_shim::confine::Plan;
use meanwhile_shim::spec::{self, Spec};
use tokio::sync::{mpsc, oneshot};

pub use self::forecast::usual;
use crate::background::convert;
use crate::background::demand::Demand;
use crate::background::engine::Engine;
use crate::background::events::Events;
use crate::background::executor::{Archive, Executor, SendSignal, Size};
use crate::background::ledger::{Drain, LeaseToken};
use crate::background::places::Places;
use crate::background::quote::quote_argv;
use crate::background::store::Store;
use crate::background::supervisor::{Charge, DEMANDS, Supervisor};
use crate::background::task::{Contact, DeliveredBy, Task, TaskId};
use crate::background::{
    Ack, Command, Drained, Mode, Options, Remove, Role, Settings, Spawn, Spawned, Stdin, Stop,
    Token, Waited, Which,
};
use crate::confine::{Confine, Manner, Planner};
use crate::error::{Culprit, Error, StoreFaultKind};

/// A handle on the background manager of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Background {
    archive: Archive,
    workspace: PathBuf,
    settings: Settings,
    store: Store,
    holder: String,
    demands: mpsc::Sender<Demand>,
    /// Ours alone, where it was opened for this workspace.
    engine: Option<Engine>,
    planner: Planner,
}

/// The right to acknowledge what one drain returned. Dropped without [`Lease::ack`], the
/// notifications are drained again.
#[derive(Debug)]
pub struct Lease {
    manager: Box<Background>,
    token: Option<LeaseToken>,
}

impl Lease {
    /// Marks the notifications delivered. Call it once the reply is written.
    pub async fn ack(mut self) -> Result<u64, Error> {
        let Some(token) = self.token else { return Ok(0) };
        let holder = self.manager.holder.clone();
        let write = self
            .manager
            .store
            .write(move |ledger| ledger.ack_lease(&holder, token, DeliveredBy::Drain, None));
        // The order is sent: dropping this future takes nothing back.
        self.token = None;
        let acked = write.await?;
        self.manager.send(Demand::Changed).await?;
        Ok(acked)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            let holder = self.manager.holder.clone();
            // Sent at once, and done without anybody waiting for it.
            drop(self.manager.store.write(move |ledger| ledger.drop_lease(&holder, token)));
        }
    }
}

fn closed() -> Error {
    Error::unavailable(StoreFaultKind::Closed, "the background manager is closed")
}

impl Background {
    /// Opens an engine with one workspace in it: [`Engine::open`], [`Engine::workspace`]. Closing the
    /// handle closes the engine too.
    pub async fn open(options: Options) -> Result<(Self, Events), Error> {
        let Options { state_dir, workspace, role, settings } = options;
        let engine = Engine::open(&state_dir, settings).await?;
        let (mut manager, events) = engine.workspace(workspace, role).await?;
        manager.engine = Some(engine);
        Ok((manager, events))
    }

    /// Takes in what happened while no daemon looked, and starts the supervisor on the current tokio
    /// runtime.
    pub(super) async fn start(
        (executor, holder): (Executor, String),
        workspace: PathBuf,
        role: Role,
        settings: Settings,
        store: Store,
    ) -> Result<(Self, Events), Error> {
        let (signals, events) = Events::new(executor.archive());
        let (sender, demands) = mpsc::channel(DEMANDS);
        let manager = Self {
            archive: executor.archive(),
            workspace: workspace.clone(),
            settings: settings.clone(),
            store: store.clone(),
            holder,
            demands: sender,
            engine: None,
            planner: Planner::default(),
        };
        let charge = Charge { workspace, role, settings, store, executor, demands, signals };
        let mut supervisor = Supervisor::new(charge);
        supervisor.catch_up().await?;
        // Owned here: it ends when the last handle is dropped or one of them closes it.
        tokio::spawn(supervisor.run());
        Ok((manager, events))
    }

    async fn send(&self, demand: Demand) -> Result<(), Error> {
        self.demands.send(demand).await.map_err(|_| closed())
    }

    async fn ask<T>(&self, demand: impl FnOnce(oneshot::Sender<T>) -> Demand) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(demand(reply)).await?;
        answer.await.map_err(|_| closed())
    }

    /// The places that are set up.
    pub fn places(&self) -> &Places {
        &self.settings.places
    }

    /// Whether a place can be reached, as far as its courier has said.
    pub fn contact(&self, place: &str) -> Option<Contact> {
        self.archive.contact(place)
    }

    /// The workspace.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Runs a command in the background. Returns once the task is recorded and in its supervisor's
    /// hands: it will run and be reported, whatever dies.
    pub async fn spawn(&self, wish: Spawn) -> Result<Spawned, Error> {
        let mut spawned = self.start_task(wish).await?;
        self.forecast(std::slice::from_mut(&mut spawned.task)).await;
        Ok(spawned)
    }

    /// Whether a task can be confined so on this machine.
    pub async fn can_confine(&self, confine: Confine) -> Result<(), Error> {
        self.plan(confine).await.map(|_| ())
    }

    /// How far a task under way is held; `None`: it is not confined.
    ///
    /// # Errors
    ///
    /// It has ended, or its folder cannot be read.
    pub fn manner(&self, id: TaskId) -> Result<Option<Manner>, Error> {
        let plan = self.archive.plan(id);
        let plan = plan.map_err(|error| {
            Error::unavailable(StoreFaultKind::Other, crate::background::words::reason(&error))
        })?;
        Ok(plan.and_then(|plan| Confine { network: plan.network, ..plan.mode.into() }.manner()))
    }

    /// What a confined task may touch.
    async fn plan(&self, confine: Confine) -> Result<Plan, Error> {
        let (planner, workspace) = (self.planner.clone(), self.workspace.clone());
        let state = self.archive.root().to_owned();
        let plan = move || planner.plan(&confine, &workspace, &state);
        tokio::task::spawn_blocking(plan).await.map_err(|_| closed())?
    }

    async fn spec(&self, wish: Spawn) -> Result<Spec, Error> {
        let mut cwd = match &wish.cwd {
            Some(cwd) => self.workspace.join(cwd),
            None => self.workspace.clone(),
        };
        let (argv, command, checked) = match wish.command {
            Command::Shell(line) => {
                (vec!["/bin/sh".into(), "-c".into(), line.clone().into()], line, false)
            }
            Command::ShellOf { shell, line } => {
                // A shell that is not there is told as a program that is not.
                (vec![shell.into(), "-c".into(), line.clone().into()], line, true)
            }
            Command::Argv(argv) => {
                let shown: Vec<String> =
                    argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
                (argv, quote_argv(&shown), true)
            }
        };
        let line = match &wish.on {
            None => {
                check_directory(&cwd, &command)?;
                self.line(wish.line, &command, &cwd).await?
            }
            Some(place) => {
                cwd = self.directory_at(place, &cwd).await?;
                spec::Line::default()
            }
        };
        Ok(Spec {
            workspace: self.workspace.clone(),
            queue: wish.queue,
            label: wish.label,
            command,
            argv,
            // A program is looked for when its turn has come.
            checked: checked && !line.waits() && wish.on.is_none(),
            cwd,
            env: wish.env.into_iter().map(|(k, v)| (k.into(), v.map(Into::into))).collect(),
            created_ms: clock::wall_ms(),
            deadline: wish.deadline,
            linger: wish.linger,
            stdin: convert::stdin(wish.stdin),
            head_cap: self.settings.output_head,
            tail_cap: self.settings.output_tail,
            sync: self.settings.sync,
            watches: wish
                .watches
                .into_iter()
                .map(|w| spec::Watch { id: w.id, pattern: w.pattern, limit: w.limit })
                .collect(),
            client_token: wish.client_token.map(|token| match token {
                Token::New(token) | Token::Claimed(token, _) => token,
            }),
            service: wish.service,
            is_step: wish.is_step,
            // Nothing of this machine's environment is sent to a place.
            whole: wish.on.is_some(),
            place: wish.on,
            id: String::new(),
            confine: None,
            plan: None,
            line,
        })
    }

    /// One task, and if it waits about how long it still does.
    pub async fn get(&self, id: TaskId) -> Result<Task, Error> {
        let mut task = self.find(id).await?;
        self.forecast(std::slice::from_mut(&mut task)).await;
        Ok(task)
    }

    /// One task.
    pub(super) async fn find(&self, id: TaskId) -> Result<Task, Error> {
        if let Some(mut task) = self.ask(|reply| Demand::Get(id, reply)).await? {
            self.look_at_steps(std::slice::from_mut(&mut task)).await?;
            return Ok(task);
        }
        let workspace = self.workspace.clone();
        let found = self.store.read(move |ledger| ledger.task(&workspace, id)).await?;
        found.map(|task| self.with_living(task)).ok_or(Error::UnknownTask(id))
    }

    /// The ledger knows who outlived an end. Whether any of them lives still shows in the task's folder, which
    /// is put away with the last of them.
    fn with_living(&self, mut task: Task) -> Task {
        if !task.survivors.is_empty() && !self.archive.is_under_way(task.id) {
            task.survivors.clear();
        }
        task
    }

    /// Returns when each task of the workspace stands as it is shown, or after 3 s: what died while no process
    /// looked is known to have ended then. For one that looks once; a daemon finds out by itself.
    pub async fn settle(&self) -> Result<(), Error> {
        self.ask(Demand::Settle).await
    }

    /// Waits until tasks end, or until the time is up. Never consumes. Cancel-safe.
    pub async fn wait(&self, which: Which, mode: Mode, timeout: Duration) -> Result<Waited, Error> {
        let ids = match which {
            Which::Ids(ids) => {
                for id in &ids {
                    self.find(*id).await?;
                }
                ids
            }
            Which::Queue(queue) => self.in_queue(queue).await?,
        };
        let (done, over) = oneshot::channel();
        self.send(Demand::Wait { ids: ids.clone(), mode, done }).await?;
        let timed_out = match tokio::time::timeout(timeout, over).await {
            Ok(Ok(())) => false,
            Ok(Err(_)) => return Err(closed()),
            Err(_) => true,
        };
        let mut tasks = Vec::new();
        for id in ids {
            match self.get(id).await {
                Ok(task) => tasks.push(task),
                // Removed while it was waited for.
                Err(Error::UnknownTask(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Waited { tasks, timed_out })
    }

    /// The tasks of a queue that run, and those whose end waits in it.
    pub async fn in_queue(&self, queue: String) -> Result<Vec<TaskId>, Error> {
        // In this order: one that ends in between is found twice rather than not at all.
        let name = queue.clone();
        let live = self.ask(|reply| Demand::InQueue(name, reply)).await?;
        let workspace = self.workspace.clone();
        let mut ids = self.store.read(move |l| l.undelivered_ends(&workspace, &queue)).await?;
        ids.extend(live);
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        Ok(ids)
    }

    /// Stops a task's whole tree; returns when it is gone, or with those as survivors that cannot be ended.
    /// Dropping the future stops nothing less: the stop goes on.
    pub async fn stop(&self, id: TaskId, how: Stop) -> Result<Task, Error> {
        let gone = self.ask(|reply| Demand::Stop { id, how, reply }).await?;
        let task = self.find(id).await?;
        match gone {
            Some(gone) => {
                let left = tokio::select! {
                    left = gone => left,
                    // It is carried out when the place is there again, which may be tomorrow.
                    () = self.until_out_of_reach(&task) => return self.get(id).await,
                };
                let task = self.get(id).await?;
                Ok(match left {
                    Ok(survivors) => Task { survivors, ..task },
                    Err(_) => task,
                })
            }
            None => Err(Error::NotRunning { id, message: describe_end(&task) }),
        }
    }

    /// Orders a stop and waits for nothing, for a caller that is going away itself. Nothing happens
    /// where the task has ended or the background manager is closed.
    pub(crate) fn stop_soon(&self, id: TaskId, how: Stop) {
        let (reply, _) = oneshot::channel();
        let stop = Demand::Stop { id, how, reply };
        if let Err(mpsc::error::TrySendError::Full(stop)) = self.demands.try_send(stop)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let demands = self.demands.clone();
            // Ends as soon as the supervisor has taken some of what it was sent.
            runtime.spawn(async move { demands.send(stop).await });
        }
    }

    /// Writes to a task's standard input; returns when the task's pipe has taken all of it.
    pub async fn write(&self, id: TaskId, data: Vec<u8>, eof: bool) -> Result<(), Error> {
        let Some((facts, input)) = self.ask(|reply| Demand::Input(id, reply)).await? else {
            return Err(self.not_running(id).await);
        };
        if facts.stdin == Stdin::Null {
            return Err(Error::Invalid {
                field: "id".to_owned(),
                message: format!(
                    "task `{id}` has no standard input; spawn it with `stdin: \"pipe\"` or a `pty`"
                ),
            });
        }
        input.write(&data, eof).await
    }

    /// Sends a signal to a task that runs; returns once its supervisor has the order. If the leader
    /// ends by that signal, its end names the cause.
    pub async fn signal(&self, id: TaskId, what: SendSignal) -> Result<(), Error> {
        let asked = self.ask(|reply| Demand::Signal { id, what, reply }).await?;
        self.unless_ended(id, asked).await
    }

    /// Gives a task's terminal another size; returns once its supervisor has the order.
    pub async fn resize(&self, id: TaskId, size: Size) -> Result<(), Error> {
        let Stdin::Pty { .. } = self.stdin(id).await? else {
            return Err(Error::Invalid {
                field: "id".to_owned(),
                message: format!("task `{id}` has no terminal; spawn it with a `pty`"),
            });
        };
        let asked = self.ask(|reply| Demand::Resize { id, size, reply }).await?;
        self.unless_ended(id, asked).await
    }

    async fn stdin(&self, id: TaskId) -> Result<Stdin, Error> {
        match self.ask(|reply| Demand::Input(id, reply)).await? {
            Some((facts, _)) => Ok(facts.stdin),
            None => Err(self.not_running(id).await),
        }
    }

    /// Why a task takes no request: it has ended, or never was.
    async fn not_running(&self, id: TaskId) -> Error {
        match self.find(id).await {
            Ok(task) => Error::NotRunning { id, message: describe_end(&task) },
            Err(error) => error,
        }
    }

    /// The answer to a request, with the reason where the task does not run.
    async fn unless_ended(&self, id: TaskId, asked: Result<(), Error>) -> Result<(), Error> {
        match asked {
            Err(Error::UnknownTask(_)) => Err(self.not_running(id).await),
            asked => asked,
        }
    }

    /// Takes notifications out of a queue, oldest first.
    pub async fn drain(&self, queue: String, max: u32, ack: Ack) -> Result<Drained, Error> {
        let (workspace, holder) = (self.workspace.clone(), self.holder.clone());
        let is_alive = self.liveness();
        let drain = self.store.write(move |ledger| {
            let how = match ack {
                Ack::Auto => Drain::Auto { holder: &holder },
                Ack::Manual => Drain::Manual,
            };
            ledger.drain(&workspace, &queue, max, how, &is_alive)
        });
        let batch = drain.await?;
        let lease =
            batch.lease.map(|token| Lease { manager: Box::new(self.clone()), token: Some(token) });
        Ok(Drained { notifications: batch.notifications, remaining: batch.remaining, lease })
    }

    /// Acknowledges every notification of a queue up to `through`; returns how many that were.
    pub async fn ack(&self, queue: String, through: u64) -> Result<u64, Error> {
        let workspace = self.workspace.clone();
        let acked = self.store.write(move |l| l.ack(&workspace, &queue, through)).await?;
        self.send(Demand::Changed).await?;
        Ok(acked)
    }

    /// Marks the end of a task delivered in its own queue, because the owner of the queue has seen
    /// it by other means. Returns whether it was still undelivered.
    pub async fn mark_delivered(
        &self,
        id: TaskId,
        by: DeliveredBy,
        turn: Option<u64>,
    ) -> Result<bool, Error> {
        self.find(id).await?;
        let marked = self.store.write(move |l| l.mark_delivered(id, by, turn)).await?;
        self.send(Demand::Changed).await?;
        Ok(marked)
    }

    /// Removes finished tasks and their output; returns how many. A running one is never removed.
    pub async fn remove(&self, what: Remove) -> Result<u64, Error> {
        let workspace = self.workspace.clone();
        let removed = self.store.write(move |l| l.remove(&workspace, &what)).await?;
        for id in &removed {
            self.archive.delete(*id);
        }
        self.send(Demand::Changed).await?;
        Ok(removed.len() as u64)
    }

    /// Starts [`Event::Output`](crate::background::Event::Output) for a task, from `offset` or from
    /// now on.
    pub async fn subscribe(&self, id: TaskId, offset: Option<u64>) -> Result<(), Error> {
        self.find(id).await?;
        self.ask(|reply| Demand::Subscribe(id, offset, reply)).await
    }

    /// Ends [`Event::Output`](crate::background::Event::Output) for a task.
    pub async fn unsubscribe(&self, id: TaskId) -> Result<(), Error> {
        self.find(id).await?;
        self.ask(|reply| Demand::Unsubscribe(id, reply)).await
    }

    /// How long this command took in this workspace before, newest first, at most 20.
    pub async fn past_durations(&self, command: &str) -> Result<Vec<Duration>, Error> {
        let (workspace, command) = (self.workspace.clone(), command.to_owned());
        self.store.read(move |ledger| ledger.past_durations(&workspace, &command)).await
    }

    /// Detaches from the workspace and ends the supervisor. Tasks go on.
    pub async fn close(&self) {
        // Closed already, or closing: either way it ends.
        let _ = self.ask(Demand::Close).await;
        if let Some(engine) = &self.engine {
            engine.close().await;
        }
    }
}

fn check_directory(cwd: &Path, command: &str) -> Result<(), Error> {
    let errno = match std::fs::metadata(cwd) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => libc::ENOTDIR,
        Err(error) => error.raw_os_error().unwrap_or(libc::ENOENT),
    };
    Err(Error::SpawnFailed {
        command: command.chars().take(200).collect(),
        culprit: Culprit::Directory(cwd.to_owned()),
        errno,
    })
}

fn describe_end(task: &Task) -> String {
    use crate::background::task::{Exit, Outcome};
    let Some(end) = task.end() else { return "it is being started".to_owned() };
    match (end.outcome, end.exit) {
        (Outcome::Exited, Exit::Code(code)) => format!("it exited with code {code}"),
        (Outcome::Exited, Exit::Signal(signal)) => format!("signal {signal} ended it"),
        (Outcome::Exited, Exit::Unknown) => "it could not be started".to_owned(),
        (Outcome::Stopped, _) => "it was stopped".to_owned(),
        (Outcome::TimedOut, _) => "it ran into its deadline".to_owned(),
        (Outcome::Lost, _) => "its supervisor was killed, and its end is not known".to_owned(),
    }
}
