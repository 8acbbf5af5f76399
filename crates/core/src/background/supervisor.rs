//! The one owner of all tasks under way in a workspace.
//!
//! Everything that can wake it is an [`Event`]; it handles one at a time and never waits for
//! anything else. Ends become notifications in batches: while one transaction is under way, what
//! happens is gathered for the next.

mod ends;
mod outputs;
mod queued;
mod recovery;
mod spawns;
mod upkeep;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use meanwhile_shim::bell::{self, Kind, Message};
use meanwhile_shim::ctl::Order;
use meanwhile_shim::layout;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::background::command::{Command, Undelivered};
use crate::background::convert;
use crate::background::doorbell::Bell;
use crate::background::events::{Signal, Signals};
use crate::background::home::{Home, io_error};
use crate::background::ledger::{Cursor, Finish, NewTask, Notice};
use crate::background::live::{Live, Stage};
use crate::background::pool::Pool;
use crate::background::store::Store;
use crate::background::task::{Notification, TaskId};
use crate::background::{self, Mode, Options, Role, Settings};
use crate::error::{Error, StoreFault, StoreFaultKind};

/// Commands that wait for the supervisor. It never blocks, so this is a burst; a full channel only
/// makes its callers wait.
pub const COMMANDS: usize = 1_024;
/// Between two looks at shims that are not our children, and at everything else that has no bell.
const SWEEP: Duration = Duration::from_secs(1);
/// After the ledger refused a write.
const RETRY: Duration = Duration::from_millis(250);
/// Tasks put away lately that are remembered: more than can ring at once.
const PAST: usize = 2_048;
/// Least time between two full pictures for a client.
const PICTURE_ROUND: Duration = Duration::from_millis(20);
/// How long after a stop's grace its shim has, before it is taken for dead: longer than the shim's
/// own patience with processes that SIGKILL does not end.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// Between two attempts to give an order to a shim that is only starting.
const ORDER_ROUND: Duration = Duration::from_millis(10);
/// How long after its start a daemon has done what it does only once.
const SETTLED: Duration = Duration::from_millis(500);

/// Everything that can wake the supervisor.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Event {
    Command(Option<Command>),
    Bells,
    Child,
    Recorded(Result<Recorded, Error>),
    Scanned(Finish),
    Picture(Result<Undelivered, Error>),
    Upkept(bool),
    Timer,
}

/// What goes into the ledger in one transaction.
#[derive(Debug, Clone, Default)]
struct Batch {
    insert: Vec<NewTask>,
    started: Vec<(TaskId, u32)>,
    notices: Vec<Notice>,
    finishes: Vec<Finish>,
    /// Another process has queued something: look.
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

    /// Whether somebody waits to be told.
    fn is_urgent(&self) -> bool {
        !self.notices.is_empty() || !self.finishes.is_empty() || self.look
    }
}

/// What came of a batch.
#[derive(Debug)]
struct Recorded {
    /// What was queued since the last time, by whichever process.
    news: Vec<Notification>,
    cursor: Cursor,
    /// There may be more.
    more: bool,
}

struct Waiter {
    ids: Vec<TaskId>,
    mode: Mode,
    done: oneshot::Sender<()>,
}

type Job<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// The owner.
pub struct Supervisor {
    home: Home,
    workspace: PathBuf,
    hash: u64,
    role: Role,
    settings: Settings,
    store: Store,
    commands: mpsc::Receiver<Command>,
    signals: Signals,
    rings: pipe::Receiver,
    bell: Bell,
    children: UnixSignal,
    _attached: Option<File>,
    pool: Pool,
    pool_target: usize,
    pool_failure: Option<io::Error>,
    refill_at: Option<Instant>,
    tasks: HashMap<TaskId, Live>,
    /// Tasks whose end is in the ledger, to be put away once it is told.
    finished: Vec<TaskId>,
    /// Tasks whose end is told, and whose folders are to be put away.
    told: Vec<(TaskId, bool)>,
    /// Tasks put away lately: a bell that comes late must not bring them back.
    past: VecDeque<TaskId>,
    spawns: VecDeque<spawns::Pending>,
    waiters: Vec<Waiter>,
    /// Statuses of children that nobody had asked about: leaders whose shim died.
    strays: VecDeque<(u32, i32)>,
    /// Who wants to know how many notifications wait in a queue.
    queued: queued::Queued,
    batch: Batch,
    /// What was queued up to here has been told to our client.
    cursor: Cursor,
    writing: Option<Batch>,
    write: Job<Result<Recorded, Error>>,
    write_after: Option<Instant>,
    insert_at: Option<Instant>,
    scans: tokio::task::JoinSet<Finish>,
    /// Work on files whose outcome nobody waits for.
    chores: tokio::task::JoinSet<()>,
    picture: Job<Result<Undelivered, Error>>,
    picture_wanted: bool,
    picture_after: Instant,
    upkeep: Job<bool>,
    upkeep_at: Instant,
    ends: u32,
    /// Ends since the ledger's log was written back.
    unwritten: u32,
    /// Its code that ran at the start only is still in memory.
    holds_start: bool,
    over_quota: bool,
    /// Why new tasks are refused: the ledger cannot be written.
    degraded: Option<StoreFault>,
    sweep_at: Instant,
}

impl Supervisor {
    /// Takes hold of the workspace.
    pub fn new(
        options: Options,
        home: Home,
        store: Store,
        (bell, bell_file): (Bell, File),
        commands: mpsc::Receiver<Command>,
        signals: Signals,
    ) -> Result<Self, Error> {
        let root = home.root().to_owned();
        let io = |error: io::Error| io_error(&root, &error);
        let hash = layout::workspace_hash(&options.workspace);
        let attached = match options.role {
            Role::Daemon => Some(home.attach(hash).map_err(io)?),
            Role::Visitor => None,
        };
        nix::sys::prctl::set_child_subreaper(true).map_err(|errno| io(errno.into()))?;
        let now = Instant::now();
        Ok(Self {
            pool: Pool::new(home.clone(), bell.name.clone()).map_err(io)?,
            pool_target: 0,
            pool_failure: None,
            refill_at: None,
            home,
            workspace: options.workspace,
            hash,
            role: options.role,
            settings: options.settings,
            store,
            commands,
            signals,
            rings: pipe::Receiver::from_file(bell_file).map_err(io)?,
            bell,
            children: signal(SignalKind::child()).map_err(io)?,
            _attached: attached,
            tasks: HashMap::new(),
            finished: Vec::new(),
            told: Vec::new(),
            past: VecDeque::new(),
            spawns: VecDeque::new(),
            waiters: Vec::new(),
            strays: VecDeque::new(),
            queued: queued::Queued::default(),
            batch: Batch::default(),
            cursor: Cursor::default(),
            writing: None,
            write: None,
            write_after: None,
            insert_at: None,
            scans: tokio::task::JoinSet::new(),
            chores: tokio::task::JoinSet::new(),
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
            sweep_at: now + SWEEP,
        })
    }

    /// Works until it is closed.
    pub async fn run(mut self) {
        if self.role == Role::Daemon {
            self.pool_target = spawns::POOL_MIN;
            self.refill_at = Some(Instant::now());
        }
        loop {
            let event = self.next_event().await;
            if let Event::Command(None) = event {
                return self.close().await;
            }
            if let Event::Command(Some(Command::Close(done))) = event {
                self.close().await;
                let _ = done.send(());
                return;
            }
            self.handle(event);
            if !self.told.is_empty() {
                // The push goes out before anything is tidied up.
                tokio::task::yield_now().await;
                self.tidy_up();
            }
            self.go_on();
            self.tidy_up();
        }
    }

    /// Takes in what happened before, and returns once the ledger has it.
    pub async fn catch_up(&mut self) -> Result<(), Error> {
        self.cursor = self.store.read(|ledger| ledger.now()).await?;
        self.recover();
        self.recover_traceless().await?;
        self.batch.look = true;
        self.go_on();
        while self.write.is_some() || !self.scans.is_empty() || !self.batch.is_empty() {
            let event = tokio::select! {
                result = job(&mut self.write) => Event::Recorded(result),
                Some(Ok(finish)) = self.scans.join_next() => Event::Scanned(finish),
            };
            self.handle(event);
            // What a recovered task says meanwhile need not wait for company.
            self.batch.look |= !self.batch.is_empty();
            self.tidy_up();
            if self.degraded.is_some() {
                // A full disk, say. What is there can be looked at; the rest is tried again.
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
            command = self.commands.recv() => Event::Command(command),
            // Both ends are ours: it cannot fail.
            _ = self.rings.readable() => Event::Bells,
            _ = self.children.recv() => Event::Child,
            Some(Ok(finish)) = self.scans.join_next() => Event::Scanned(finish),
            Some(_) = self.chores.join_next() => Event::Timer,
            result = job(&mut self.picture) => Event::Picture(result),
            over = job(&mut self.upkeep) => Event::Upkept(over),
            () = tokio::time::sleep_until(timer) => Event::Timer,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Command(Some(command)) => self.command(command),
            Event::Command(None) => {}
            Event::Bells => self.bells(),
            Event::Child => self.reap(),
            Event::Recorded(result) => self.recorded(result),
            Event::Scanned(finish) => self.batch.finishes.push(finish),
            Event::Picture(result) => self.picture(result),
            Event::Upkept(over) => self.over_quota = over,
            Event::Timer => {}
        }
    }

    /// What is due after every event.
    fn go_on(&mut self) {
        let now = Instant::now();
        self.serve_spawns(now);
        self.look_at_outputs(now);
        self.look_at_stops(now);
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP;
            self.sweep();
        }
        self.start_write(now);
        if self.picture_wanted && self.picture.is_none() && now >= self.picture_after {
            self.picture_wanted = false;
            let workspace = self.workspace.clone();
            let query = self.store.read(move |ledger| ledger.undelivered(&workspace));
            self.picture = Some(Box::pin(query));
        }
        self.look_at_store(now);
    }

    fn next_timer(&self) -> Instant {
        let now = Instant::now();
        let picture = self.picture_wanted.then_some(self.picture_after);
        let write = if self.batch.is_empty() { None } else { self.write_after };
        let upkeep = (self.role == Role::Daemon).then_some(self.upkeep_at);
        // An idle daemon has nothing to look at, and sleeps.
        let sweep = (!self.tasks.is_empty()).then_some(self.sweep_at);
        let live = self.tasks.values().flat_map(|live| {
            let stop = live.stopping.as_ref().map(|stopping| match stopping.delivered {
                true => stopping.since + stopping.how.grace + STOP_PATIENCE,
                false => now + ORDER_ROUND,
            });
            let reaped = live.reaped.map(|_| now + ORDER_ROUND);
            [live.arm_at, live.orphaned, stop, reaped]
        });
        let insert = self.insert_at.filter(|_| self.write.is_none());
        let times = [picture, write, insert, upkeep, sweep, self.refill_at].into_iter().chain(live);
        times.flatten().min().unwrap_or_else(|| now + upkeep::ROUND)
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Spawn { spec, reply } => self.spawn(spec, reply),
            Command::Get(id, reply) => {
                let home = self.home.clone();
                let live = self.find(id).filter(|live| !live.has_ended());
                let _ = reply.send(live.map(|live| live.task(&home)));
            }
            Command::List(reply) => {
                let live = self.tasks.values().filter(|live| live.is_listed());
                let mut tasks: Vec<_> = live.map(|live| live.task(&self.home)).collect();
                tasks.sort_by_key(|task| std::cmp::Reverse((task.created_at, task.id)));
                let _ = reply.send(tasks);
            }
            Command::Wait { ids, mode, done } => {
                self.waiters.retain(|waiter| !waiter.done.is_closed());
                self.waiters.push(Waiter { ids, mode, done });
                self.tell_waiters();
            }
            Command::InQueue(queue, reply) => {
                let live = self.tasks.values().filter(|live| live.is_listed());
                let ids = live.filter(|live| live.facts.queue == queue).map(|live| live.facts.id);
                let _ = reply.send(ids.collect());
            }
            Command::Stop { id, how, reply } => {
                let _ = reply.send(self.stop(id, how));
            }
            Command::Input(id, reply) => {
                let live = self.find(id).filter(|live| !live.has_ended());
                let _ = reply.send(live.map(|live| (live.facts.clone(), live.input.clone())));
            }
            Command::Subscribe(id, offset, reply) => {
                self.subscribe(id, offset);
                let _ = reply.send(());
            }
            Command::Unsubscribe(id, reply) => {
                if let Some(live) = self.tasks.get_mut(&id) {
                    live.subscribed = false;
                }
                self.tell(Signal::Unsubscribe(id));
                let _ = reply.send(());
            }
            Command::Queued(queue, reply) => {
                let _ = reply.send(self.queued.watch(queue));
                // The first number comes with the next picture.
                self.picture_wanted = true;
            }
            Command::Changed => {
                self.picture_wanted = true;
                let message = Message { kind: Kind::Ledger, id: [0; 8], workspace: self.hash };
                bell::ring(&self.home.bells(), message, Some(&self.bell.name));
            }
            // `run` takes it.
            Command::Close(_) => {}
        }
    }

    fn bells(&mut self) {
        // No more than this at once: what comes from the client goes first.
        let mut bytes = [0; 32 * bell::MESSAGE_BYTES];
        loop {
            match self.rings.try_read(&mut bytes) {
                Ok(len) => {
                    for message in bytes[..len].chunks_exact(bell::MESSAGE_BYTES) {
                        let message = message.try_into().expect("chunks of this size");
                        if let Some(message) = Message::parse(message) {
                            self.bell_rang(message);
                        }
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Empty now.
                Err(_) => return,
            }
        }
    }

    fn bell_rang(&mut self, message: Message) {
        let Ok(id) = String::from_utf8_lossy(&message.id).parse::<TaskId>() else {
            if message.kind == Kind::Ledger && message.workspace == self.hash {
                self.picture_wanted = true;
            }
            return;
        };
        if message.kind == Kind::Ready {
            if let Err(error) = self.pool.ready(id) {
                self.pool_failure = Some(error);
            }
            return;
        }
        if message.workspace != self.hash {
            return;
        }
        match message.kind {
            Kind::Started => self.started(id),
            Kind::Output => self.output(id),
            Kind::Stalled => self.stalled(id),
            Kind::Stopping => {}
            Kind::Ended => self.ended(id),
            Kind::Gone => self.gone(id),
            Kind::Ready | Kind::Ledger => {}
        }
    }

    fn tell(&self, signal: Signal) {
        self.signals.send(signal);
    }

    fn tell_event(&self, id: TaskId, event: background::Event) {
        self.tell(Signal::Event(Some(id), event));
    }

    fn picture(&mut self, result: Result<Undelivered, Error>) {
        self.picture_after = Instant::now() + PICTURE_ROUND;
        // A picture that could not be taken is taken again with the next change.
        if let Ok(undelivered) = result {
            self.queued.count(&undelivered);
            let live = self.tasks.values().filter(|live| live.is_listed());
            let mut running: Vec<_> =
                live.map(|live| (live.facts.created_at, live.facts.id)).collect();
            running.sort_unstable();
            let running = running.into_iter().map(|(_, id)| id).collect();
            self.tell(Signal::Event(None, background::Event::Changed { running, undelivered }));
        }
    }

    fn tell_waiters(&mut self) {
        let is_over = |waiter: &Waiter| {
            let runs = |id: &TaskId| self.tasks.get(id).is_some_and(|live| !live.has_ended());
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

    /// Sends an order to a task's shim; one whose shim is dead gets another.
    fn order(&mut self, id: TaskId, order: &Order) -> bool {
        match self.home.order(id, order) {
            Ok(()) => true,
            Err(error) => {
                if error.raw_os_error() == Some(libc::ENXIO) {
                    self.suspect(id);
                }
                false
            }
        }
    }

    async fn close(mut self) {
        for pending in self.spawns.drain(..) {
            pending
                .refuse(Error::unavailable(StoreFaultKind::Other, "the daemon is shutting down"));
        }
        self.pool.close();
        // What is on its way into the ledger arrives; the rest is in the files.
        if self.write.is_some() {
            let _ = job(&mut self.write).await;
        }
        let rows = std::mem::take(&mut self.batch.insert);
        if !rows.is_empty() {
            let _ = self.store.write(move |ledger| ledger.insert(&rows)).await;
        }
        self.tidy_up();
        while self.chores.join_next().await.is_some() {}
    }

    /// A live task. One that another process spawned a moment ago may have rung no bell yet.
    fn find(&mut self, id: TaskId) -> Option<&mut Live> {
        if !self.tasks.contains_key(&id) && self.home.record(id).ok()?.end.is_some() {
            return None;
        }
        self.load(id)
    }

    /// The facts of a task that this process did not spawn.
    fn load(&mut self, id: TaskId) -> Option<&mut Live> {
        if !self.tasks.contains_key(&id) {
            if self.past.contains(&id) {
                return None;
            }
            let spec = self.home.spec(id).ok()?;
            if spec.workspace != self.workspace {
                return None;
            }
            let facts = convert::facts(id, &spec);
            self.batch.insert.push(facts.clone());
            self.tasks.insert(id, Live::new(facts, Stage::Running, None));
        }
        self.tasks.get_mut(&id)
    }
}

async fn job<T>(job: &mut Job<T>) -> T {
    match job {
        Some(future) => {
            let result = future.await;
            *job = None;
            result
        }
        None => std::future::pending().await,
    }
}
