//! Tasks on this machine, each with a shim.
//!
//! Owns the workspace's doorbell, the idle shims, what this process holds of each task (its standard input, and
//! its output pipe while no shim reads it), and the folders to be put away. What a task is and how it ended is
//! in its files. A bell only signals that they have changed; a sweep once a second finds what no bell
//! signalled.

mod elsewhere;
mod house;
mod orders;
mod shims;
mod sweep;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use meanwhile_shim::bell::{self, Kind, Message};
use meanwhile_shim::ctl::Order;
use meanwhile_shim::layout;
use meanwhile_shim::record::{self, Exit};
use meanwhile_shim::spec::Spec;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal as UnixSignal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::background::convert;
use crate::background::doorbell::{Bell, make_bell};
use crate::background::executor::input::LocalInput;
use crate::background::executor::local::shims::Shims;
use crate::background::executor::reading::Reading;
use crate::background::executor::{Archive, Certainty, Input, Report, Request, What};
use crate::background::home::{Home, io_error};
use crate::background::live::life::Tree;
use crate::background::ports::Ports;
use crate::background::task::TaskId;
use crate::background::{Role, Stdin, interpreter};
use crate::error::{Culprit, Error};

/// Time between two sweeps.
const SWEEP: std::time::Duration = std::time::Duration::from_secs(1);
/// How many recently settled tasks are remembered: more than can have bells on the way.
const PAST: usize = 2_048;

/// What this process holds of a live task.
#[derive(Debug)]
struct Hand {
    input: LocalInput,
    stdin: Stdin,
    keeper: Keeper,
    origin: Origin,
    /// The pid of the shim that started it or took it over, as far as this process knows.
    shim: Option<u32>,
    /// Its output pipe, kept open while it has no shim: a pipe that no process holds open loses its contents.
    pipe: Option<File>,
    told: Told,
    start: Option<Start>,
}

/// A start whose spawner waits to learn whether the program was executed. If it was not, the first process that
/// notices removes the folder; the record stays open here so that this process notices too.
#[derive(Debug)]
struct Start {
    record: File,
    spec: Box<Spec>,
}

/// Which process's keeper starts another shim for a task if its shim is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// This process's keeper.
    Ours,
    /// Another process's keeper, or none.
    Others,
}

/// Which process started a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This process started it.
    Ours,
    /// Another process started it.
    Others,
}

/// What has been reported about a task's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing has been reported.
    Nothing,
    /// The end, and whether processes of its tree were still alive.
    Ended(Tree),
}

/// Why `wait` returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The doorbell rang.
    Bells,
    /// A child process ended.
    Child,
    /// The keeper has sent a message or was killed.
    Keeper,
    /// Something is due, or a chore has finished.
    Timer,
}

/// The folder of a task whose end has been recorded.
#[derive(Debug, Clone, Copy)]
enum Folder {
    /// To be reused for an idle shim.
    Reuse(TaskId),
    /// To be removed.
    Remove(TaskId),
}

/// The tasks of a workspace on this machine.
#[derive(Debug)]
pub struct Local {
    home: Home,
    workspace: PathBuf,
    hash: u64,
    role: Role,
    rings: pipe::Receiver,
    bell: Bell,
    children: UnixSignal,
    attached: Option<File>,
    shims: Shims,
    hands: HashMap<TaskId, Hand>,
    /// Maps listening sockets to tasks.
    ports: Ports,
    /// Recently settled tasks, newest first: a late bell must not bring them back.
    past: VecDeque<TaskId>,
    settling: Vec<Folder>,
    /// File operations whose outcome no request waits for.
    chores: JoinSet<()>,
    reports: VecDeque<Report>,
    /// Live tasks that were found, whose state may have changed before this process watched them.
    unsettled: Vec<TaskId>,
    sweep_at: Instant,
    /// For each place, when its courier may be started again, and the delay after that.
    calls: HashMap<String, (Instant, std::time::Duration)>,
}

impl Local {
    /// Opens the workspace: creates its doorbell, and attaches if this process is a daemon.
    pub fn open(home: Home, workspace: PathBuf, role: Role) -> Result<Self, Error> {
        let root = home.root().to_owned();
        let io = |error: io::Error| io_error(&root, &error);
        let hash = layout::workspace_hash(&workspace);
        bell::remove_dead(&home.bells());
        let (bell, bell_file) = make_bell(&home, hash)?;
        let attached = match role {
            Role::Daemon => Some(home.attach(hash).map_err(io)?),
            Role::Visitor => None,
        };
        Ok(Self {
            shims: Shims::new(home.clone(), bell.name.clone(), role).map_err(io)?,
            home,
            workspace,
            hash,
            role,
            rings: pipe::Receiver::from_file(bell_file).map_err(io)?,
            bell,
            children: signal(SignalKind::child()).map_err(io)?,
            attached,
            hands: HashMap::new(),
            ports: Ports::default(),
            past: VecDeque::new(),
            settling: Vec::new(),
            chores: JoinSet::new(),
            reports: VecDeque::new(),
            unsettled: Vec::new(),
            sweep_at: Instant::now() + SWEEP,
            calls: HashMap::new(),
        })
    }

    /// The name of this process in leases.
    pub fn holder(&self) -> &str {
        &self.bell.name
    }

    pub fn ask(&mut self, request: Request) {
        match request {
            Request::Start(id, spec) => self.start(id, spec),
            Request::Release(id) => self.release(id),
            Request::Stop(id, how) => self.stop(id, &how),
            Request::Signal(id, number, what) => self.signal(id, number, what),
            Request::Resize(id, number, size) => self.resize(id, number, size),
            Request::Arm(id, offset) => self.arm(id, offset),
            Request::Follow(id) => {
                let _ = self.home.order(id, &Order::Fetch);
            }
            Request::Look(ids) => {
                let (home, hands) = (&self.home, &self.hands);
                let record = |id| home.record(id).ok();
                let found = self.ports.look(&ids, record, |id| hands.contains_key(&id));
                self.reports.push_back(Report::Ports(found));
            }
            Request::Adopt(id) => self.adopt(id),
            Request::Replace(id) => self.replace(id),
            Request::Settle(id) => self.settle(id),
            Request::List(None) => self.list(),
            Request::List(Some(id)) => self.find(id),
            Request::Announce => {
                let message = Message { kind: Kind::Ledger, id: [0; 8], workspace: self.hash };
                bell::ring(&self.home.bells(), message, Some(&self.bell.name));
            }
        }
    }

    pub async fn wait(&mut self) -> Woken {
        let timer = self.next_timer();
        tokio::select! {
            biased;
            // This process holds both ends, so this cannot fail.
            _ = self.rings.readable() => Woken::Bells,
            _ = self.children.recv() => Woken::Child,
            () = self.shims.pool.changed() => Woken::Keeper,
            Some(_) = self.chores.join_next() => Woken::Timer,
            () = sleep_until(timer) => Woken::Timer,
        }
    }

    pub fn take(&mut self, woken: Woken) {
        match woken {
            Woken::Bells => self.bells(),
            Woken::Child => self.shims.reap(),
            Woken::Keeper => self.keeper_told(),
            Woken::Timer => {}
        }
    }

    pub fn go_on(&mut self, now: Instant) {
        self.serve_starts(now);
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP;
            self.look_at_house();
            self.sweep();
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        // An idle daemon has nothing to check, so it sleeps.
        let sweep = (!self.hands.is_empty()).then_some(self.sweep_at);
        [sweep, self.shims.timer()].into_iter().flatten().min()
    }

    pub fn report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    pub fn input(&self, id: TaskId) -> Option<Input> {
        self.hands.get(&id).map(|hand| Input::Local(hand.input.clone()))
    }

    pub fn archive(&self) -> Archive {
        Archive::Local(self.home.clone())
    }

    pub async fn close(mut self) {
        self.shims.close();
        self.tidy_up();
        while self.chores.join_next().await.is_some() {}
    }

    pub fn is_untidy(&self) -> bool {
        !self.settling.is_empty()
    }

    /// Puts away the folders of ended tasks.
    pub fn tidy_up(&mut self) {
        for folder in std::mem::take(&mut self.settling) {
            let id = match folder {
                Folder::Reuse(id) if self.shims.settle(id) => continue,
                Folder::Reuse(id) | Folder::Remove(id) => id,
            };
            let home = self.home.clone();
            // Half a dozen system calls that no request waits for. If this process exits first, the next one
            // does them.
            self.chores.spawn_blocking(move || home.settle(id));
        }
    }

    fn settle(&mut self, id: TaskId) {
        let hand = self.hands.remove(&id);
        // A shim of this process is known to have finished with its folder, and if the task has no survivors,
        // no other process has its files open.
        let reusable = self.role == Role::Daemon
            && hand.is_some_and(|hand| {
                hand.origin == Origin::Ours
                    && hand.stdin == Stdin::Null
                    && hand.told == Told::Ended(Tree::Gone)
            });
        self.remember(id);
        self.settling.push(if reusable { Folder::Reuse(id) } else { Folder::Remove(id) });
    }

    fn release(&mut self, id: TaskId) {
        if !self.shims.withdraw(id) {
            self.hands.remove(&id);
            self.remember(id);
        }
    }

    /// From now on, nothing more is reported about this task.
    fn remember(&mut self, id: TaskId) {
        if !self.past.contains(&id) {
            self.past.truncate(PAST - 1);
            self.past.push_front(id);
        }
    }

    /// Reports the live tasks of the workspace.
    fn list(&mut self) {
        if self.role == Role::Daemon {
            self.home.remove_strays();
            self.home.remove_old_shims();
            self.home.remove_old_specs();
        }
        for id in self.home.live_ids().unwrap_or_default() {
            let record = self.home.record(id);
            let pid = record.as_ref().ok().map(|record| record.leader_pid).filter(|pid| *pid != 0);
            if !self.meet(id, pid) {
                continue;
            }
            self.unsettled.push(id);
            match record {
                Ok(record) if record.end.is_some() => self.ended(id),
                Ok(_) if self.home.is_supervised(id) => {}
                // Without a record, the task is either being settled by another process or damaged.
                Ok(_) | Err(_) => self.suspect(id),
            }
        }
    }

    /// Reports a task if it is live. One that another process has just spawned may not have rung its bell yet.
    fn find(&mut self, id: TaskId) {
        if self.home.record(id).is_ok_and(|record| record.end.is_none()) {
            self.meet(id, None);
        }
    }

    /// Starts to track a task of this workspace if it is not yet tracked. Returns whether it is tracked.
    fn meet(&mut self, id: TaskId, pid: Option<u32>) -> bool {
        if self.hands.contains_key(&id) {
            return true;
        }
        if self.past.contains(&id) {
            return false;
        }
        let Ok(spec) = self.home.spec(id) else { return false };
        if spec.workspace != self.workspace {
            return false;
        }
        let file = self.home.record_file(id);
        if file.is_err() && !self.home.live(id).exists() {
            // Another process has put the folder away between the two checks, or removed it because the task
            // was refused.
            return false;
        }
        let task = Box::new(convert::facts(id, &spec));
        self.hold(id, task.stdin, Origin::Others);
        let mut certainty = Certainty::Exists;
        if let Some(hand) = self.hands.get_mut(&id)
            && let Ok(file) = file
            && let Ok(found) = record::read(&file)
        {
            hand.shim = Some(found.shim_pid);
            if spec.checked && found.leader_pid == 0 {
                hand.start = Some(Start { record: file, spec: Box::new(spec) });
                certainty = Certainty::MayBeRefused;
            }
        }
        self.reports.push_back(Report::Found { task, pid, certainty });
        true
    }

    fn hold(&mut self, id: TaskId, stdin: Stdin, origin: Origin) {
        let input = LocalInput::new(id, self.home.clone());
        let keeper = match origin {
            Origin::Ours => Keeper::Ours,
            Origin::Others => Keeper::Others,
        };
        let (shim, pipe, told, start) = (None, None, Told::Nothing, None);
        self.hands.insert(id, Hand { input, stdin, keeper, origin, shim, pipe, told, start });
    }

    fn bells(&mut self) {
        // At most this many at a time: requests from the client go first.
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
                // The FIFO is empty.
                Err(_) => return,
            }
        }
    }

    fn bell_rang(&mut self, message: Message) {
        let id = String::from_utf8_lossy(&message.id).parse::<TaskId>();
        let is_ours = message.workspace == self.hash;
        match (message.kind, id) {
            (Kind::Ready, Ok(id)) => self.shims.ready(id),
            (Kind::Ledger, Err(_)) if is_ours => self.reports.push_back(Report::LedgerChanged),
            (Kind::Said, Err(_)) if is_ours => self.reports.push_back(Report::Said),
            (Kind::Started, Ok(id)) if is_ours => self.started(id),
            (Kind::Queued, Ok(id)) if is_ours => self.find(id),
            (Kind::Output, Ok(id)) if is_ours && self.hands.contains_key(&id) => {
                self.reports.push_back(Report::Output(id));
            }
            (Kind::Stalled, Ok(id)) if is_ours && self.meet(id, None) => {
                self.reports.push_back(Report::Stalled(id));
            }
            (Kind::Changed, Ok(id)) if is_ours && self.hands.contains_key(&id) => {
                self.reports.push_back(Report::Changed(id));
            }
            (Kind::Ended, Ok(id)) if is_ours => self.ended(id),
            (Kind::Stopping, Ok(id)) if is_ours && self.hands.contains_key(&id) => self.left(id),
            (Kind::Gone, Ok(id)) if is_ours => self.reports.push_back(Report::Gone(id)),
            // Messages of another workspace or of a newer version, and those about changes that requests read
            // from the record anyway.
            (
                Kind::Ready
                | Kind::Ledger
                | Kind::Said
                | Kind::Started
                | Kind::Queued
                | Kind::Output
                | Kind::Stalled
                | Kind::Changed
                | Kind::Stopping
                | Kind::Ended
                | Kind::Gone,
                Ok(_) | Err(_),
            ) => {}
        }
    }

    /// Reports that the leader of a task runs.
    fn started(&mut self, id: TaskId) {
        let Ok(record) = self.home.record(id) else { return };
        if !self.meet(id, None) {
            return;
        }
        self.reports.push_back(Report::Started(id, record.leader_pid));
        let Some(hand) = self.hands.get_mut(&id) else { return };
        hand.start = None;
        let before = hand.shim.replace(record.shim_pid);
        if before.is_some_and(|before| before != record.shim_pid) {
            self.taken_over(id);
        }
    }

    /// Reports the end that is recorded in a task's folder.
    fn ended(&mut self, id: TaskId) {
        if self.past.contains(&id) {
            return;
        }
        let start = self.hands.get(&id).and_then(|hand| hand.start.as_ref());
        let reading = match self.home.record_file(id) {
            Ok(file) => Reading::of_file(file),
            // The folder is gone: another process has recorded the end, or removed a refused task.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                match start.and_then(|start| start.record.try_clone().ok()) {
                    Some(file) => Reading::of_file(file),
                    None => return self.reports.push_back(Report::RecordedElsewhere(id)),
                }
            }
            // For example out of descriptors. The next sweep tries again.
            Err(_) => return,
        };
        let Ok(reading) = reading else { return };
        let Some(end) = &reading.record().end else { return };
        if let Exit::NotStarted(errno) = end.exit {
            let other = || self.home.spec(id).ok().filter(|spec| spec.checked).map(Box::new);
            if let Some(spec) = start.map(|start| start.spec.clone()).or_else(other) {
                return self.refused(id, errno, &spec);
            }
        }
        if !self.meet(id, None) {
            return self.reports.push_back(Report::RecordedElsewhere(id));
        }
        let tree = reading.tree();
        if let Some(hand) = self.hands.get_mut(&id) {
            hand.told = Told::Ended(tree);
        }
        self.reports.push_back(Report::Ended(id, Box::new(reading)));
        if tree == Tree::Survives && !self.home.is_supervised(id) {
            self.reports.push_back(Report::Gone(id));
        }
    }

    /// Reports the processes that a stop could not end, if there are any.
    fn left(&mut self, id: TaskId) {
        if let Ok(reading) = self.home.record_file(id).and_then(Reading::of_file) {
            let left = reading.standing().left;
            if !left.is_empty() {
                self.reports.push_back(Report::Left(id, left));
            }
        }
    }

    /// Refuses a start whose program could not be executed: its spawner waits for the result. The task never
    /// existed; any process that finds its folder removes it.
    fn refused(&mut self, id: TaskId, errno: i32, spec: &Spec) {
        self.hands.remove(&id);
        self.home.delete_refused(id);
        let error = match errno {
            libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE => {
                shims::shim_error(&self.home, &io::Error::from_raw_os_error(errno))
            }
            _ => {
                let culprit = match errno {
                    libc::ENOENT | libc::EACCES | libc::ENOTDIR => interpreter::missing(spec),
                    _ => None,
                };
                let culprit = culprit.map_or(Culprit::Program, Culprit::Interpreter);
                Error::SpawnFailed { command: shown(spec), culprit, errno }
            }
        };
        self.reports.push_back(Report::Refused(id, What::Start, error));
    }
}

/// The command to name in the error: for a line in a shell that was named, the shell, which may be missing.
fn shown(spec: &Spec) -> String {
    match spec.argv.as_slice() {
        [shell, _, line] if *line == *spec.command => shell.to_string_lossy().into_owned(),
        _ => spec.command.clone(),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
