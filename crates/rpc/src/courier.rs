//! The courier of a place: it does for all tasks at one place what a shim does for one task on this machine.
//!
//! It opens one connection to the place, spawns the tasks there whose folders wait here, writes their records from
//! what the place reports, and carries out orders for them. What it has done is stored in these records, so that
//! another courier can continue after it was killed: a spawn has a token, so the place runs it once; an end is
//! acknowledged at the place after it is recorded here. A place that is out of reach is noted in [`Contact`] and
//! never ends a task.

mod compare;
mod ends;
mod errand;
pub(crate) mod link;
mod output;
mod slurm;
mod tasks;
mod told;

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use meanwhile_core::background::places::{self, COURIER, Place, PlaceKind};
use meanwhile_core::background::task::{TaskId, Timestamp};
use meanwhile_core::background::words::reason;
use meanwhile_shim::bell::{self, Kind, MESSAGE_BYTES};
use meanwhile_shim::place::{self, Contact};
use meanwhile_shim::{layout, record};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::errand::{Asked, Errand};
use self::link::{Link, News};
use crate::peer::message::{Id, Message};

/// The first and the longest delay between two attempts to reach a place.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// The interval at which the courier asks the place for the states of its tasks, and looks for new task folders.
const ROUND: Duration = Duration::from_secs(5);
/// The timeout of that request, longer than a busy machine takes. After it the connection counts as dead.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the connection stays open without a task.
const IDLE: Duration = Duration::from_secs(300);
/// How long the place pushes the output of a task as it is written, after a client has read it.
const FOLLOWED: Duration = Duration::from_secs(30);
/// The most bytes of output in one request: if a client is reading or the task has ended, and otherwise.
const FETCH_BYTES: (u64, u64) = (1 << 20, 64 << 10);
/// A log of more bytes than this is truncated when the next courier starts.
const LOG_BYTES: u64 = 1 << 20;
/// Descriptors that a task with input needs, and those reserved for the connection, the log and occasional reads.
const DESCRIPTORS: (u64, u64) = (4, 64);
/// The most notifications in one drain.
const DRAIN: u64 = 100;

/// The request that a response belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Initialize,
    Spawn(TaskId),
    Check(TaskId),
    /// The states of all running tasks.
    Picture,
    Drain,
    Read(TaskId, u64),
    Write(TaskId),
    EndInput(TaskId),
    Stop(TaskId),
    /// The state of the sources at the place.
    Sources(TaskId),
    /// A request whose response is ignored.
    Nothing,
}

/// With `stay`, runs as the courier of a place; otherwise starts that process.
///
/// # Errors
///
/// The process cannot be started, or its files cannot be used.
pub(crate) fn run(state: &Path, name: &str, settings: Settings, stay: bool) -> io::Result<()> {
    if !stay {
        let folder = place::folder(state, name);
        // `place add` may be the first command that uses this store.
        for folder in [&folder, &state.join(layout::BELLS)] {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let log = folder.join(place::LOG);
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
        if log.metadata()?.len() > LOG_BYTES {
            log.set_len(0)?;
        }
        // This process, its parent, exits at once, so the courier is not a child of the daemon that started it.
        Command::new("/proc/self/exe")
            .args([COURIER, name, "--stay"])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        return Ok(());
    }
    // The courier must outlive the terminal and the session of the process that started it.
    let _ = nix::unistd::setsid();
    let Some(lock) = place::take(state, name)? else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_idle = runtime.block_on(async {
        let mut courier = Courier::new(state.to_owned(), name.to_owned(), settings)?;
        let mut terminated = signal(SignalKind::terminate())?;
        let is_over = tokio::select! {
            () = courier.run() => true,
            _ = terminated.recv() => false,
        };
        Ok::<_, io::Error>(is_over && !courier.gives_way)
    })?;
    drop(lock);
    if is_idle && has_task(state, name) {
        // The task was published after the last round, while this courier still held the lock.
        places::start_courier(state, name);
    }
    Ok(())
}

/// Whether a place has a task that has not ended.
fn has_task(state: &Path, name: &str) -> bool {
    let Ok(entries) = fs::read_dir(state.join(layout::LIVE)) else { return false };
    let is_ours = |entry: fs::DirEntry| {
        let record = layout::open_regular(&entry.path().join(layout::RECORD));
        let record = record.and_then(|file| record::read(&file));
        record.is_ok_and(|record| {
            let place = record.elsewhere.map(|it| it.place);
            record.end.is_none() && place == Some(place::bell_hash(name))
        })
    };
    entries.flatten().any(is_ours)
}

/// Raises this process's descriptor limit to the hard limit. Returns how many tasks that is enough for.
fn room() -> usize {
    let limit = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() => hard,
        Ok((soft, _)) => soft,
        Err(_) => 1_024,
    };
    let (each, kept) = DESCRIPTORS;
    usize::try_from(limit.saturating_sub(kept) / each).unwrap_or(usize::MAX).max(1)
}

/// The doorbell of a courier, removed when the courier exits.
struct Bell {
    path: PathBuf,
    rings: pipe::Receiver,
}

impl Bell {
    fn hang(state: &Path, name: &str) -> io::Result<Self> {
        let bells = state.join(layout::BELLS);
        let random = u64::from_str_radix(TaskId::random().as_str(), 16).unwrap_or(0) << 32;
        let own = bell::name_of(place::bell_hash(name), random);
        let rings = pipe::Receiver::from_file(bell::hang_up(&bells, &own)?)?;
        Ok(Self { path: bells.join(&own), rings })
    }

    /// Reads the messages of those who rang.
    fn heard(&self) -> Vec<bell::Message> {
        let mut bytes = [0; 64 * MESSAGE_BYTES];
        let Ok(len) = self.rings.try_read(&mut bytes) else { return Vec::new() };
        let messages = bytes[..len].chunks_exact(MESSAGE_BYTES);
        messages.filter_map(|it| bell::Message::parse(it.try_into().ok()?)).collect()
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The connection to the place.
enum Way {
    /// There is no connection; the next attempt is at `again_at`.
    Closed { again_at: Instant },
    /// The place has not answered yet.
    Opening(Link),
    /// The place has answered.
    Open(Link),
}

type Channel<T> = (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>);

/// Reads the current settings of a place; an error says why there are none.
pub(crate) type Settings = fn(&str) -> Result<Place, String>;

struct Courier {
    state: PathBuf,
    name: String,
    settings: Settings,
    installation: String,
    bell: Bell,
    errands: HashMap<TaskId, Errand>,
    /// The most errands at once: each needs some descriptors.
    room: usize,
    /// This courier exits, because a person has signed in and another one starts from that terminal.
    gives_way: bool,
    /// Tasks whose end is recorded.
    ended: BTreeSet<TaskId>,
    /// The tasks by their ids at the place.
    there: HashMap<String, TaskId>,
    way: Way,
    /// With `via`: the name, on the machine that answers, of the place where the tasks are to run.
    on: Option<String>,
    generation: u64,
    pending: HashMap<i64, What>,
    /// When the oldest unanswered request with a timeout was sent.
    asked_at: Option<Instant>,
    back_off: Duration,
    contact: Contact,
    round_at: Instant,
    idle_since: Instant,
    news: Channel<(u64, News)>,
    asked: Channel<(TaskId, Asked)>,
}

impl Courier {
    fn new(state: PathBuf, name: String, settings: Settings) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            installation: place::installation(&state)?,
            bell: Bell::hang(&state, &name)?,
            contact: Contact::read(&state, &name).unwrap_or_default(),
            state,
            name,
            settings,
            errands: HashMap::new(),
            room: room(),
            gives_way: false,
            ended: BTreeSet::new(),
            there: HashMap::new(),
            way: Way::Closed { again_at: now },
            on: None,
            generation: 0,
            pending: HashMap::new(),
            asked_at: None,
            back_off: BACK_OFF.0,
            round_at: now + ROUND,
            idle_since: now,
            news: mpsc::unbounded_channel(),
            asked: mpsc::unbounded_channel(),
        })
    }

    async fn run(&mut self) {
        self.find_unfinished();
        self.find_tasks();
        loop {
            let now = Instant::now();
            self.open_way(now);
            if !self.errands.is_empty() {
                self.idle_since = now;
            } else if now >= self.idle_since + IDLE {
                return;
            }
            if self.gives_way || !place::folder(&self.state, &self.name).exists() {
                // The state directory was deleted, and its tasks with it.
                return;
            }
            let again_at = match self.way {
                Way::Closed { again_at } if !self.errands.is_empty() => again_at,
                Way::Closed { .. } | Way::Opening(_) | Way::Open(_) => self.round_at,
            };
            tokio::select! {
                biased;
                Some((generation, news)) = self.news.1.recv() => {
                    if generation == self.generation {
                        self.news(news);
                    }
                }
                Some((id, asked)) = self.asked.1.recv() => self.asked(id, asked),
                _ = self.bell.rings.readable() => self.bell_rang(),
                () = tokio::time::sleep_until(self.round_at.min(again_at)) => self.round(),
            }
        }
    }

    /// Opens the connection if there are tasks and the next attempt is due.
    fn open_way(&mut self, now: Instant) {
        let Way::Closed { again_at } = self.way else { return };
        if now < again_at || self.errands.is_empty() {
            return;
        }
        self.generation += 1;
        self.pending.clear();
        self.asked_at = Some(now);
        // Read each time, because a person may have corrected the settings.
        let (way, on) = match resolve(&self.name, self.settings) {
            Ok(found) => found,
            Err(why) => return self.lost(why),
        };
        self.on = on;
        match Link::open(&way, self.generation, self.news.0.clone()) {
            Ok(mut link) => {
                let number = link.request("initialize", &self.greeting());
                self.pending.insert(number, What::Initialize);
                self.way = Way::Opening(link);
            }
            Err(error) => {
                let why = format!("`{}` cannot be started: {}", shown(&way), reason(&error));
                self.lost(why);
            }
        }
    }

    fn greeting(&self) -> Value {
        greeting(&self.queue(), Some(&self.queue()))
    }

    /// The name of the courier's queue at the place, which is also its client name there.
    fn queue(&self) -> String {
        format!("from-{}-{}", self.installation, self.name)
    }

    /// Records that the place cannot be reached, and when to try again.
    fn lost(&mut self, why: String) {
        self.way = Way::Closed { again_at: Instant::now() + self.back_off };
        self.back_off = (self.back_off * 2).min(BACK_OFF.1);
        (self.asked_at, self.pending) = (None, HashMap::new());
        for errand in self.errands.values_mut() {
            (errand.subscribed, errand.reading) = (false, false);
            // It is unknown whether the place received input that was sent, so that input is not sent again.
            errand.writing.take_if(|writing| writing.bytes.is_none());
            errand.renew();
        }
        let since = self.contact.lost_since_ms.unwrap_or(Timestamp::now().0);
        let needs_you = needs_a_person(&why);
        // From the file, because `meanwhile place add` may have cleared the store there.
        let store = Contact::read(&self.state, &self.name).unwrap_or_default().store;
        let version = self.contact.version.clone();
        self.note(Contact { lost_since_ms: Some(since), why, needs_you, version, store });
        for id in self.errands.keys().copied().collect::<Vec<_>>() {
            self.give_up_comparing(id, "the connection was lost");
            self.fetched_what_there_is(id);
            if self.errands.get(&id).is_some_and(|errand| errand.ended) {
                // The rest of its output is fetched when a client asks for it.
                self.drop_errand(id);
            }
        }
    }

    /// Stores whether the place can be reached, and notifies the daemons.
    fn note(&mut self, contact: Contact) {
        if contact == self.contact && Contact::read(&self.state, &self.name).is_some() {
            return;
        }
        self.contact = contact;
        let _ = self.contact.write(&self.state, &self.name);
        let workspaces: BTreeSet<u64> = self.errands.values().map(|it| it.workspace).collect();
        for workspace in workspaces {
            let message = bell::Message { kind: Kind::Ledger, id: [0; 8], workspace };
            bell::ring(&self.state.join(layout::BELLS), message, None);
        }
        for errand in self.errands.values().filter(|errand| !errand.ended) {
            self.ring(Kind::Changed, errand.id);
        }
    }

    fn ring(&self, kind: Kind, id: TaskId) {
        if let Some(errand) = self.errands.get(&id) {
            let message = bell::Message { kind, id: *id.as_bytes(), workspace: errand.workspace };
            bell::ring(&self.state.join(layout::BELLS), message, None);
        }
    }

    /// Sends a request to the place if it is connected; returns whether it was sent.
    fn request(&mut self, what: What, method: &str, params: &Value) -> bool {
        let Way::Open(link) = &mut self.way else { return false };
        let number = link.request(method, params);
        self.pending.insert(number, what);
        true
    }

    /// Does what is due every few seconds.
    fn round(&mut self) {
        let now = Instant::now();
        if now < self.round_at {
            return;
        }
        self.round_at = now + ROUND;
        self.find_tasks();
        if self.asked_at.is_some_and(|at| now >= at + PATIENCE) {
            let way = std::mem::replace(&mut self.way, Way::Closed { again_at: now });
            drop(way);
            let seconds = PATIENCE.as_secs();
            return self.lost(format!("the place has not answered for {seconds} s"));
        }
        if self.request(What::Picture, "task/check", &json!({"state": "running", "limit": 10_000}))
        {
            self.asked_at.get_or_insert(now);
        }
        for id in self.errands.keys().copied().collect::<Vec<_>>() {
            let Some(errand) = self.errands.get_mut(&id) else { continue };
            if errand.followed_until.is_some_and(|until| now >= until) {
                errand.followed_until = None;
                if std::mem::take(&mut errand.subscribed)
                    && let Some(remote) = errand.remote.clone()
                {
                    self.request(What::Nothing, "task/unsubscribe", &json!({"id": remote}));
                }
            }
        }
    }

    fn bell_rang(&mut self) {
        for message in self.bell.heard() {
            let id = String::from_utf8_lossy(&message.id).parse();
            match (message.kind, id) {
                (Kind::Output, Ok(id)) => self.complete(id),
                (_, Ok(id)) => self.find(id),
                // `meanwhile place add` or `connect` rang: a person has signed in.
                (_, Err(_)) => self.gives_way = matches!(self.way, Way::Closed { .. }),
            }
        }
    }

    /// Handles a message of the place, or the end of the connection.
    fn news(&mut self, news: News) {
        match news {
            News::Over(why) => self.lost(why),
            News::Message(Message::Response { id: Some(Id::Number(number)), outcome }) => {
                if let Some(what) = self.pending.remove(&number) {
                    self.answered(what, outcome);
                }
            }
            News::Message(Message::Notification { method, params }) => {
                self.pushed(&method, &params.unwrap_or(Value::Null));
            }
            News::Message(Message::Request { .. } | Message::Response { .. }) => {}
        }
    }
}

/// How to reach a place. With `via` also the name, on that machine, of the place where its tasks run.
///
/// # Errors
///
/// The place is not set up, or its `via` does not name a place with a command; the text says which.
pub(crate) fn resolve(
    name: &str,
    settings: impl Fn(&str) -> Result<Place, String>,
) -> Result<(PlaceKind, Option<String>), String> {
    match settings(name)?.kind {
        PlaceKind::Via(via) => match settings(&via)?.kind {
            way @ PlaceKind::Command(_) => Ok((way, Some(name.to_owned()))),
            PlaceKind::Slurm(_) | PlaceKind::Via(_) => Err(format!(
                "`via` of place `{name}` names `{via}`: expected a place that has a `command`"
            )),
        },
        way @ (PlaceKind::Command(_) | PlaceKind::Slurm(_)) => Ok((way, None)),
    }
}

/// How a place is reached, as text for people.
pub(crate) fn shown(way: &PlaceKind) -> String {
    match way {
        PlaceKind::Command(argv) => argv.join(" "),
        PlaceKind::Slurm(slurm) => format!("Slurm, with `{}`", slurm.shared.display()),
        PlaceKind::Via(via) => format!("via {via}"),
    }
}

/// The parameters of a client's `initialize` at a place. A client with a name asks for its tasks every [`ROUND`].
pub(crate) fn greeting(queue: &str, client: Option<&str>) -> Value {
    let mut options = json!({"queue": queue, "lingerMs": null, "states": ["queued"]});
    if let Some(client) = client {
        options["client"] = json!(client);
        options["heartbeatMs"] = json!(3 * ROUND.as_millis() as u64);
    }
    json!({
        "processId": null,
        "clientInfo": {"name": "meanwhile", "version": env!("CARGO_PKG_VERSION")},
        "capabilities": {},
        "initializationOptions": options,
    })
}

/// Why a place refused `initialize`.
pub(crate) fn refusal(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("it gave no reason");
    format!(
        "the `meanwhile` there refuses this version, {}: {message}; install the same version there",
        env!("CARGO_PKG_VERSION")
    )
}

/// Whether the error of a program that connects to a place means that a person has to act.
pub(crate) fn needs_a_person(why: &str) -> bool {
    // Messages of OpenSSH, from sshconnect.c and sshconnect2.c.
    ["Permission denied", "Host key verification failed", "Too many authentication failures"]
        .iter()
        .any(|words| why.contains(words))
}
