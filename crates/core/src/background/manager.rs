//! The background manager's handle.
//!
//! Requests about ended tasks go to the ledger, about live ones to the supervisor, and output is read directly
//! from the executor's archive. Each change is a single demand or transaction, so that a client may disconnect
//! at any time.

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
use crate::background::watch::Scanner;
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
    /// Set if this handle owns its engine: it was opened for this workspace only.
    engine: Option<Engine>,
    planner: Planner,
}

/// The lease of one drain's notifications. If it is dropped without [`Lease::ack`], they are drained again.
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
        // The write is already queued: dropping this future does not cancel it.
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
            // Queued at once; the result is not needed.
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

    /// Records what happened while no daemon was running, and starts the supervisor on the current tokio
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
        // It ends when the last handle is dropped or one of them closes it.
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

    /// The configured places.
    pub fn places(&self) -> &Places {
        &self.settings.places
    }

    /// Whether a place can be reached, according to its courier.
    pub fn contact(&self, place: &str) -> Option<Contact> {
        self.archive.contact(place)
    }

    /// The workspace's absolute path.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Runs a command in the background. Returns once the task is recorded and its shim has it: it will run and
    /// be reported even if this process dies.
    pub async fn spawn(&self, wish: Spawn) -> Result<Spawned, Error> {
        let mut spawned = self.start_task(wish).await?;
        self.forecast(std::slice::from_mut(&mut spawned.task)).await;
        Ok(spawned)
    }

    /// Checks whether a task can be confined like this on this machine.
    pub async fn can_confine(&self, confine: Confine) -> Result<(), Error> {
        self.plan(confine).await.map(|_| ())
    }

    /// The confinement of a live task; `None`: it is not confined.
    ///
    /// # Errors
    ///
    /// The task has ended, or its folder cannot be read.
    pub fn manner(&self, id: TaskId) -> Result<Option<Manner>, Error> {
        let plan = self.archive.plan(id);
        let plan = plan.map_err(|error| {
            Error::unavailable(StoreFaultKind::Other, crate::background::words::reason(&error))
        })?;
        Ok(plan.and_then(|plan| Confine { network: plan.network, ..plan.mode.into() }.manner()))
    }

    /// The confinement plan of a task in this workspace.
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
                // A missing shell is reported like a missing program.
                (vec![shell.into(), "-c".into(), line.clone().into()], line, true)
            }
            Command::Argv(argv) => {
                let shown: Vec<String> =
                    argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
                (argv, quote_argv(&shown), true)
            }
        };
        let mut sources = None;
        let line = match &wish.on {
            None => {
                check_directory(&cwd, &command)?;
                self.line(wish.line, &command, &cwd).await?
            }
            Some(place) => {
                self.check_resources(place, &wish.resources)?;
                // Before the place's command runs, which may take minutes.
                Scanner::for_task(&wish.watches)?;
                (cwd, sources) = self.directory_at(place, &cwd).await?;
                spec::Line::default()
            }
        };
        Ok(Spec {
            workspace: self.workspace.clone(),
            queue: wish.queue,
            label: wish.label,
            command,
            argv,
            // If the task waits, its program is only looked up when its turn comes.
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
            // This machine's environment is not sent to a place.
            whole: wish.on.is_some(),
            place: wish.on,
            resources: wish.resources,
            sources,
            id: String::new(),
            confine: None,
            plan: None,
            line,
        })
    }

    /// One task, with a forecast of its remaining wait if it is queued.
    pub async fn get(&self, id: TaskId) -> Result<Task, Error> {
        let mut task = self.find(id).await?;
        self.forecast(std::slice::from_mut(&mut task)).await;
        Ok(task)
    }

    /// One task, without a forecast.
    pub(super) async fn find(&self, id: TaskId) -> Result<Task, Error> {
        if let Some(mut task) = self.ask(|reply| Demand::Get(id, reply)).await? {
            self.look_at_steps(std::slice::from_mut(&mut task)).await?;
            return Ok(task);
        }
        let workspace = self.workspace.clone();
        let found = self.store.read(move |ledger| ledger.task(&workspace, id)).await?;
        found.map(|task| self.with_living(task)).ok_or(Error::UnknownTask(id))
    }

    /// Clears the survivors that the ledger lists if none is alive: then the task's folder has been put away.
    fn with_living(&self, mut task: Task) -> Task {
        if !task.survivors.is_empty() && !self.archive.is_under_way(task.id) {
            task.survivors.clear();
        }
        task
    }

    /// Returns once the state of every task of the workspace is known, or after 3 s: by then, tasks that died
    /// while no process was watching count as ended. For short-lived commands; a daemon finds out in time.
    pub async fn settle(&self) -> Result<(), Error> {
        self.ask(Demand::Settle).await
    }

    /// Waits until tasks end, or for the timeout. Takes nothing out of a queue. Cancel-safe.
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
                // It was removed during the wait.
                Err(Error::UnknownTask(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Waited { tasks, timed_out })
    }

    /// The running tasks of a queue, and those whose end is undelivered in it.
    pub async fn in_queue(&self, queue: String) -> Result<Vec<TaskId>, Error> {
        // In this order, because a task that ends in between is then found twice rather than not at all.
        let name = queue.clone();
        let live = self.ask(|reply| Demand::InQueue(name, reply)).await?;
        let workspace = self.workspace.clone();
        let mut ids = self.store.read(move |l| l.undelivered_ends(&workspace, &queue)).await?;
        ids.extend(live);
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        Ok(ids)
    }

    /// Stops a task's whole tree. Returns once it has exited; processes that cannot be ended are listed as
    /// survivors. Dropping the future does not cancel the stop.
    pub async fn stop(&self, id: TaskId, how: Stop) -> Result<Task, Error> {
        let gone = self.ask(|reply| Demand::Stop { id, how, reply }).await?;
        let task = self.find(id).await?;
        match gone {
            Some(gone) => {
                let left = tokio::select! {
                    left = gone => left,
                    // The stop is carried out once the place is reachable again, which may be tomorrow.
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

    /// Orders a stop without waiting for it, for a caller that is about to exit. Does nothing if the task has
    /// ended or the background manager is closed.
    pub(crate) fn stop_soon(&self, id: TaskId, how: Stop) {
        let (reply, _) = oneshot::channel();
        let stop = Demand::Stop { id, how, reply };
        if let Err(mpsc::error::TrySendError::Full(stop)) = self.demands.try_send(stop)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let demands = self.demands.clone();
            // Finishes as soon as the supervisor has emptied a part of its queue.
            runtime.spawn(async move { demands.send(stop).await });
        }
    }

    /// Writes to a task's standard input; returns once the task's pipe has accepted all of it.
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

    /// Sends a signal to a running task; returns once its shim has the order. If the signal ends the leader,
    /// the task's end names the cause.
    pub async fn signal(&self, id: TaskId, what: SendSignal) -> Result<(), Error> {
        let asked = self.ask(|reply| Demand::Signal { id, what, reply }).await?;
        self.unless_ended(id, asked).await
    }

    /// Changes the size of a task's terminal; returns once its shim has the order.
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

    /// Why a task accepts no request: it has ended, or does not exist.
    async fn not_running(&self, id: TaskId) -> Error {
        match self.find(id).await {
            Ok(task) => Error::NotRunning { id, message: describe_end(&task) },
            Err(error) => error,
        }
    }

    /// Passes on a reply; replaces `UnknownTask` by the reason why the task is not running.
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

    /// Acknowledges every notification of a queue up to `through`; returns how many there were.
    pub async fn ack(&self, queue: String, through: u64) -> Result<u64, Error> {
        let workspace = self.workspace.clone();
        let acked = self.store.write(move |l| l.ack(&workspace, &queue, through)).await?;
        self.send(Demand::Changed).await?;
        Ok(acked)
    }

    /// Marks the end of a task as delivered in its own queue, because the queue's owner has seen it by other
    /// means. Returns whether it was undelivered before.
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

    /// Removes ended tasks and their output; returns how many. Never removes a running task.
    pub async fn remove(&self, what: Remove) -> Result<u64, Error> {
        let workspace = self.workspace.clone();
        let removed = self.store.write(move |l| l.remove(&workspace, &what)).await?;
        for id in &removed {
            self.archive.delete(*id);
        }
        self.send(Demand::Changed).await?;
        Ok(removed.len() as u64)
    }

    /// Starts [`Event::Output`](crate::background::Event::Output) for a task, from `offset` or, with `None`,
    /// from the current end.
    pub async fn subscribe(&self, id: TaskId, offset: Option<u64>) -> Result<(), Error> {
        self.find(id).await?;
        self.ask(|reply| Demand::Subscribe(id, offset, reply)).await
    }

    /// Stops [`Event::Output`](crate::background::Event::Output) for a task.
    pub async fn unsubscribe(&self, id: TaskId) -> Result<(), Error> {
        self.find(id).await?;
        self.ask(|reply| Demand::Unsubscribe(id, reply)).await
    }

    /// The past durations of this command in this workspace, newest first, at most 20.
    pub async fn past_durations(&self, command: &str) -> Result<Vec<Duration>, Error> {
        let (workspace, command) = (self.workspace.clone(), command.to_owned());
        self.store.read(move |ledger| ledger.past_durations(&workspace, &command)).await
    }

    /// Detaches from the workspace and ends the supervisor. Tasks keep running.
    pub async fn close(&self) {
        // If it fails, the manager is already closed or closing.
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
        (Outcome::TimedOut, _) => "it exceeded its deadline".to_owned(),
        (Outcome::Lost, _) => "its supervisor was killed, and its end is not known".to_owned(),
    }
}
