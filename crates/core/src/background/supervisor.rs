//! The one owner of all live tasks in a workspace.
//!
//! Everything that can wake it is an [`Event`]; it handles one at a time and never blocks. Ends become
//! notifications in batches: while one transaction is running, further events are collected for the next.

mod ends;
mod outputs;
mod ports;
mod queued;
mod recovery;
mod reports;
mod settling;
mod spawns;
mod stops;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::background::demand::{Demand, Undelivered};
use crate::background::events::{Signal, Signals};
use crate::background::executor::local::Woken;
use crate::background::executor::reading::Standing;
use crate::background::executor::{Archive, Executor, Number, Request};
use crate::background::ledger::{Cursor, Finish, NewTask, Notice};
use crate::background::live::life::Life;
use crate::background::live::{Audience, Live};
use crate::background::store::Store;
use crate::background::task::{Notification, State, Task, TaskId};
use crate::background::{self, Mode, Role, Settings};
use crate::error::{Error, StoreFault, StoreFaultKind};

/// Capacity of the demand channel. The supervisor never blocks, so this only has to hold a burst; a full
/// channel only makes its callers wait.
pub const DEMANDS: usize = 1_024;
/// Delay before another attempt after the ledger failed to write.
const RETRY: Duration = Duration::from_millis(250);
/// Minimum time between two complete states sent to a client.
const PICTURE_ROUND: Duration = Duration::from_millis(20);
/// How long after its start a daemon has finished its one-time work.
const SETTLED: Duration = Duration::from_millis(500);

/// Everything that can wake the supervisor.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Event {
    Demand(Option<Demand>),
    Executor(Woken),
    Recorded(Result<Recorded, Error>),
    Scanned(Finish),
    Picture(Result<Picture, Error>),
    Upkept(bool),
    Timer,
}

/// The contents of one transaction in the ledger.
#[derive(Debug, Clone, Default)]
struct Batch {
    insert: Vec<NewTask>,
    started: Vec<(TaskId, u32)>,
    notices: Vec<Notice>,
    finishes: Vec<Finish>,
    /// Whether to read notifications that another process has queued.
    look: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.insert.is_empty()
            && self.started.is_empty()
            && self.notices.is_empty()
            && self.finishes.is_empty()
            && !self.look
    }

    /// Whether a client waits for a notification from it.
    fn is_urgent(&self) -> bool {
        !self.notices.is_empty() || !self.finishes.is_empty() || self.look
    }
}

/// The result of a batch.
#[derive(Debug)]
struct Recorded {
    /// The notifications that any process has queued since the last batch.
    news: Vec<Notification>,
    cursor: Cursor,
    /// Whether there may be more of them.
    more: bool,
}

struct Waiter {
    ids: Vec<TaskId>,
    mode: Mode,
    done: oneshot::Sender<()>,
}

/// The ledger's part of a complete state.
#[derive(Debug)]
struct Picture {
    undelivered: Undelivered,
    /// Live steps that any process has promoted to tasks.
    promoted: Vec<TaskId>,
}

type Underway<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// What a supervisor is created from.
pub struct Charge {
    /// The workspace's absolute path.
    pub workspace: PathBuf,
    /// Whether it runs in a daemon or a short-lived command.
    pub role: Role,
    /// The store's settings.
    pub settings: Settings,
    /// The ledger and its threads.
    pub store: Store,
    /// The executor that runs its tasks.
    pub executor: Executor,
    /// The requests to it.
    pub demands: mpsc::Receiver<Demand>,
    /// The channel to its client.
    pub signals: Signals,
}

/// The owner of a workspace's live tasks; runs as one tokio task.
pub struct Supervisor {
    workspace: PathBuf,
    role: Role,
    settings: Settings,
    store: Store,
    executor: Executor,
    archive: Archive,
    demands: mpsc::Receiver<Demand>,
    signals: Signals,
    tasks: HashMap<TaskId, Live>,
    waiters: Vec<Waiter>,
    /// Callers that wait for the result of a request to the executor.
    answers: HashMap<Number, oneshot::Sender<Result<(), Error>>>,
    /// The number of the last such request.
    number: Number,
    /// Callers that wait until the state of every task is known.
    settling: settling::Settling,
    /// Callers that watch the number of notifications in a queue.
    queued: queued::Queued,
    /// Notifies of new messages in sessions that another process has open.
    said: tokio::sync::watch::Sender<()>,
    batch: Batch,
    /// The client has been sent all notifications up to here.
    cursor: Cursor,
    writing: Option<Batch>,
    write: Underway<Result<Recorded, Error>>,
    write_after: Option<Instant>,
    insert_at: Option<Instant>,
    /// When to check ports next.
    ports_at: Option<Instant>,
    scans: tokio::task::JoinSet<Finish>,
    picture: Underway<Result<Picture, Error>>,
    picture_wanted: bool,
    picture_after: Instant,
    upkeep: Underway<bool>,
    upkeep_at: Instant,
    ends: u32,
    /// Ends since the ledger's write-ahead log was last written back.
    unwritten: u32,
    /// Whether code that only ran at the start is still in memory.
    holds_start: bool,
    over_quota: bool,
    /// The reason to refuse new tasks: the ledger cannot be written.
    degraded: Option<StoreFault>,
}

impl Supervisor {
    /// Creates the supervisor of a workspace.
    pub fn new(charge: Charge) -> Self {
        let Charge { workspace, role, settings, store, executor, demands, signals } = charge;
        let now = Instant::now();
        Self {
            archive: executor.archive(),
            executor,
            workspace,
            role,
            settings,
            store,
            demands,
            signals,
            tasks: HashMap::new(),
            waiters: Vec::new(),
            answers: HashMap::new(),
            number: 0,
            settling: settling::Settling::default(),
            queued: queued::Queued::default(),
            said: tokio::sync::watch::Sender::default(),
            batch: Batch::default(),
            cursor: Cursor::default(),
            writing: None,
            write: None,
            write_after: None,
            insert_at: None,
            ports_at: None,
            scans: tokio::task::JoinSet::new(),
            picture: None,
            picture_wanted: false,
            picture_after: now,
            upkeep: None,
            upkeep_at: now + SETTLED,
            ends: 0,
            unwritten: 0,
            holds_start: true,
            over_quota: false,
            degraded: None,
        }
    }

    /// Handles events until it is closed.
    pub async fn run(mut self) {
        loop {
            let event = self.next_event().await;
            if let Event::Demand(None) = event {
                return self.close().await;
            }
            if let Event::Demand(Some(Demand::Close(done))) = event {
                self.close().await;
                let _ = done.send(());
                return;
            }
            self.handle(event);
            if self.executor.is_untidy() {
                // The push goes out before folders are put away.
                tokio::task::yield_now().await;
                self.executor.tidy_up();
            }
            self.go_on();
            self.executor.tidy_up();
        }
    }

    /// Records what happened earlier, and returns once it is in the ledger.
    pub async fn catch_up(&mut self) -> Result<(), Error> {
        self.cursor = self.store.read(|ledger| ledger.now()).await?;
        self.recover();
        self.recover_traceless().await?;
        self.recover_promoted().await?;
        self.batch.look = true;
        self.go_on();
        while self.write.is_some() || !self.scans.is_empty() || !self.batch.is_empty() {
            let event = tokio::select! {
                result = job(&mut self.write) => Event::Recorded(result),
                Some(Ok(finish)) = self.scans.join_next() => Event::Scanned(finish),
            };
            self.handle(event);
            // Write a recovered task's notifications without the usual delay.
            self.batch.look |= !self.batch.is_empty();
            self.executor.tidy_up();
            if self.degraded.is_some() {
                // For example a full disk. Existing tasks can be read; the writes are tried again.
                return Ok(());
            }
            self.go_on();
        }
        Ok(())
    }

    async fn next_event(&mut self) -> Event {
        let timer = self.next_timer();
        tokio::select! {
            biased;
            result = job(&mut self.write) => Event::Recorded(result),
            demand = self.demands.recv() => Event::Demand(demand),
            woken = self.executor.wait() => Event::Executor(woken),
            Some(Ok(finish)) = self.scans.join_next() => Event::Scanned(finish),
            result = job(&mut self.picture) => Event::Picture(result),
            over = job(&mut self.upkeep) => Event::Upkept(over),
            () = tokio::time::sleep_until(timer) => Event::Timer,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Demand(Some(demand)) => self.demand(demand),
            Event::Demand(None) => {}
            Event::Executor(woken) => self.executor.take(woken),
            Event::Recorded(result) => self.recorded(result),
            Event::Scanned(finish) => self.batch.finishes.push(finish),
            Event::Picture(result) => self.picture(result),
            Event::Upkept(over) => self.over_quota = over,
            Event::Timer => {}
        }
        self.take_reports();
    }

    /// Does what is due after every event.
    fn go_on(&mut self) {
        let now = Instant::now();
        self.withdraw_unwanted();
        self.executor.go_on(now);
        self.take_reports();
        self.look_at_outputs(now);
        self.look_at_silence(now);
        self.look_at_ports(now);
        self.look_at_stops(now);
        self.take_reports();
        self.start_write(now);
        if self.picture_wanted && self.picture.is_none() && now >= self.picture_after {
            self.picture_wanted = false;
            let workspace = self.workspace.clone();
            let (store, archive, steps) = (self.store.clone(), self.archive.clone(), self.steps());
            let query = async move {
                let undelivered = store.read(move |ledger| ledger.undelivered(&workspace)).await?;
                let promoted = recovery::promoted(store, archive, steps).await?;
                Ok(Picture { undelivered, promoted })
            };
            self.picture = Some(Box::pin(query));
        }
        self.look_at_settling(now);
        self.look_at_store(now);
    }

    fn next_timer(&self) -> Instant {
        let picture = self.picture_wanted.then_some(self.picture_after);
        let write = if self.batch.is_empty() { None } else { self.write_after };
        let upkeep = (self.role == Role::Daemon).then_some(self.upkeep_at);
        let live = self.tasks.values().map(Live::timer);
        let ports = self.ports_at.filter(|_| self.role == Role::Daemon);
        let insert = self.insert_at.filter(|_| self.write.is_none());
        let settling = self.settling.timer();
        let times = [picture, write, insert, upkeep, ports, settling].into_iter().chain(live);
        times.flatten().min().unwrap_or_else(|| Instant::now() + upkeep::ROUND)
    }

    fn demand(&mut self, demand: Demand) {
        match demand {
            Demand::Spawn { spec, reply } => self.spawn(spec, reply),
            Demand::Get(id, reply) => {
                let known = self.find(id).is_some_and(|live| !live.life.has_ended());
                self.refresh_ports([id]);
                let _ = reply.send(if known { self.task(id) } else { None });
            }
            Demand::List(reply) => {
                self.refresh_ports(self.tasks.keys().copied().collect::<Vec<_>>());
                let live = self.tasks.values().filter(|live| live.life.is_listed());
                let mut tasks: Vec<_> = live.filter_map(|live| self.task(live.facts.id)).collect();
                tasks.sort_by_key(|task| std::cmp::Reverse((task.created_at, task.id)));
                let _ = reply.send(tasks);
            }
            Demand::Wait { ids, mode, done } => {
                self.waiters.retain(|waiter| !waiter.done.is_closed());
                self.waiters.push(Waiter { ids, mode, done });
                self.expect_ports(Instant::now());
                self.tell_waiters();
            }
            Demand::InQueue(queue, reply) => {
                let live = self.tasks.values().filter(|live| live.life.is_listed());
                let ids = live.filter(|live| live.facts.queue == queue).map(|live| live.facts.id);
                let _ = reply.send(ids.collect());
            }
            Demand::Stop { id, how, reply } => {
                let _ = reply.send(self.stop(id, how));
            }
            Demand::Signal { id, what, reply } => {
                self.find(id);
                if let Some(Task { state: State::Queued(_), .. }) = self.task(id) {
                    let message = "it is queued and has no process yet".to_owned();
                    let _ = reply.send(Err(Error::NotRunning { id, message }));
                } else {
                    self.pass_on(id, reply, |number| Request::Signal(id, number, what));
                }
            }
            Demand::Resize { id, size, reply } => {
                self.pass_on(id, reply, |number| Request::Resize(id, number, size));
            }
            Demand::Input(id, reply) => {
                let live = self.find(id).filter(|live| !live.life.has_ended());
                let facts = live.map(|live| live.facts.clone());
                let _ = reply.send(facts.and_then(|facts| Some((facts, self.executor.input(id)?))));
            }
            Demand::Subscribe(id, offset, reply) => {
                self.subscribe(id, offset);
                let _ = reply.send(());
            }
            Demand::Unsubscribe(id, reply) => {
                if let Some(live) = self.tasks.get_mut(&id) {
                    live.audience = Audience::None;
                }
                self.tell(Signal::Unsubscribe(id));
                let _ = reply.send(());
            }
            Demand::Promoted(id) => {
                self.promoted(id);
                self.picture_wanted = true;
                self.executor.ask(Request::Announce);
            }
            Demand::Queued(queue, reply) => {
                let _ = reply.send(self.queued.watch(queue));
                // The first number comes with the next complete state.
                self.picture_wanted = true;
            }
            Demand::Said(reply) => {
                let _ = reply.send(self.said.subscribe());
            }
            Demand::Changed => {
                self.picture_wanted = true;
                self.executor.ask(Request::Announce);
            }
            Demand::Settle(reply) => self.settling.ask(reply),
            // Handled by `run`.
            Demand::Close(_) => {}
        }
    }

    fn tell(&self, signal: Signal) {
        self.signals.send(signal);
    }

    fn tell_event(&self, id: TaskId, event: background::Event) {
        self.tell(Signal::Event(Some(id), event));
    }

    /// A step continues as a task, which is reported to the client as started.
    fn promoted(&mut self, id: TaskId) {
        let Some(live) = self.find(id).filter(|live| live.facts.is_step) else { return };
        live.facts.is_step = false;
        // Otherwise its start is still to be reported, or its end already was.
        let runs = matches!(live.life, Life::Running);
        if let Some(task) = self.task(id).filter(|_| runs) {
            self.tell_event(id, background::Event::Started(task));
        }
    }

    fn picture(&mut self, result: Result<Picture, Error>) {
        self.picture_after = Instant::now() + PICTURE_ROUND;
        // After a failed query, the next change starts another one.
        if let Ok(Picture { undelivered, promoted }) = result {
            for id in promoted {
                self.promoted(id);
            }
            self.queued.count(&undelivered);
            let live = self.tasks.values().filter(|live| live.life.is_listed());
            let mut running: Vec<_> =
                live.map(|live| (live.facts.created_at, live.facts.id)).collect();
            running.sort_unstable();
            let running = running.into_iter().map(|(_, id)| id).collect();
            self.tell(Signal::Event(None, background::Event::Changed { running, undelivered }));
        }
    }

    fn tell_waiters(&mut self) {
        let is_over = |waiter: &Waiter| {
            let runs = |id: &TaskId| self.tasks.get(id).is_some_and(|live| !live.life.has_ended());
            match waiter.mode {
                Mode::Any => waiter.ids.is_empty() || !waiter.ids.iter().all(runs),
                Mode::All => !waiter.ids.iter().any(runs),
            }
        };
        let (over, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiters).into_iter().partition(is_over);
        self.waiters = waiting;
        for waiter in over {
            let _ = waiter.done.send(());
        }
    }

    async fn close(mut self) {
        for (_, live) in self.tasks.drain() {
            if let Life::Asked(reply, _) = live.life {
                let error =
                    Error::unavailable(StoreFaultKind::Other, "the daemon is shutting down");
                let _ = reply.send(Err(error));
            }
        }
        // Wait for a write in progress; everything else is in the tasks' files.
        if self.write.is_some() {
            let _ = job(&mut self.write).await;
        }
        let rows = std::mem::take(&mut self.batch.insert);
        if !rows.is_empty() {
            let _ = self.store.write(move |ledger| ledger.insert(&rows)).await;
        }
        self.executor.close().await;
    }

    /// A live task. One that another process has just spawned may not have been reported yet, so ask for it.
    fn find(&mut self, id: TaskId) -> Option<&mut Live> {
        if !self.tasks.contains_key(&id) {
            self.executor.ask(Request::List(Some(id)));
            self.take_reports();
        }
        self.tasks.get_mut(&id).filter(|live| live.life.exists())
    }

    /// The current state of a live task.
    fn task(&self, id: TaskId) -> Option<Task> {
        let live = self.tasks.get(&id)?;
        let standing = self.archive.read(id).ok().map(|reading| {
            let waits = !reading.has_begun() && live.facts.waits();
            let queued = if waits { self.archive.wait_of(&live.facts) } else { None };
            Standing { queued, ..reading.standing() }
        });
        let contact =
            live.facts.place.as_deref().and_then(|place| self.archive.contact(place)).map(Box::new);
        Some(Task { contact, ..live.task(standing) })
    }
}

async fn job<T>(job: &mut Underway<T>) -> T {
    match job {
        Some(future) => {
            let result = future.await;
            *job = None;
            result
        }
        None => std::future::pending().await,
    }
}
