//! A task that waits for its turn, before its leader is started.
//!
//! Its shim waits on its own: first for the ends of other tasks, then for a slot. It watches as many tasks
//! ahead of it as may hold the slot: while all of these take up room, its turn has not come, whatever happens
//! to the others. It watches the leaders of those that run and the FIFOs `line` of those that wait, so nothing
//! is polled periodically, and the kernel reports every kind of death. Its own `line` stays open until its
//! leader is recorded.
//!
//! Checking takes no lock. The lock is taken to confirm that the turn has come, and to mark that in the ticket.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use meanwhile_shim::bell::Kind;
use meanwhile_shim::clock;
use meanwhile_shim::ctl::Order;
use meanwhile_shim::layout;
use meanwhile_shim::record::{Actor, Cause, End, Exit, Outcome};
use meanwhile_shim::slots::{Id, Lock, Sign, Slot, Standing, end_of, standing};
use meanwhile_shim::spec::{OnFailure, Spec};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signalfd::SignalFd;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::files::{Files, poll_again};
use crate::linger::Linger;
use crate::process;

/// How long a task without a shim keeps its position: longer than its keeper, or a daemon if the keeper is
/// dead, needs to start another shim. After that, the tasks behind it may go first.
const ORPHANED: Duration = Duration::from_secs(5);
/// The time between two checks while a task ahead is between two states, or another process holds the lock.
const ROUND: Duration = Duration::from_millis(5);
/// The same, once this has lasted for [`LOOKS`] checks: the task cannot be observed (it is in another pid
/// namespace) or is orphaned.
const LONG_ROUND: Duration = Duration::from_millis(250);
/// After how many checks in a row the time between them gets longer.
const LOOKS: u32 = 40;

/// How the wait ended.
pub enum Turn {
    /// The task must be started. The caller drops the value once the leader is recorded.
    Come(Line),
    /// The task has ended without being started, and its end is recorded.
    Over,
}

/// The FIFO that shows other shims that this task waits.
pub struct Line {
    path: PathBuf,
    _open: File,
}

impl Line {
    fn open(folder: PathBuf) -> io::Result<Self> {
        let path = folder.join(layout::LINE);
        match mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR) {
            // It is left from a shim of this task that was killed.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
        let open = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)?;
        Ok(Self { path, _open: open })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The result of a check.
enum Look {
    /// The turn has come.
    Come,
    /// It has not; check again when one of these descriptors is ready.
    Wait(Vec<Sign>),
    /// It has not; check again also after a while, because one of the tasks signals no change.
    Again(Vec<Sign>),
}

/// A shim that waits.
struct Waiting<'a> {
    files: &'a mut Files,
    spec: &'a Spec,
    id: Id,
    /// The tasks that must end first, and have not.
    after: Vec<Id>,
    /// Why one of these counts as failed.
    failed: Option<String>,
    slot: Option<Slot>,
    signals: SignalFd,
    linger: Linger,
    until: Option<Instant>,
    /// When each task without a shim was first noticed.
    orphans: BTreeMap<Id, Instant>,
    /// How many checks in a row had the result [`Look::Again`].
    blind: u32,
}

/// Waits until the task may start, or must not start any more.
pub fn wait(files: &mut Files, spec: &Spec) -> io::Result<Turn> {
    let now = Instant::now();
    let id = files.id();
    let line = Line::open(files.folder())?;
    files.sheet().queued(true);
    // Without this, other daemons would not know the task before its start. They start another shim if this
    // one and its keeper are killed.
    files.ring(Kind::Queued);
    let waited = Duration::from_millis(
        u64::try_from(clock::wall_ms().saturating_sub(spec.created_ms)).unwrap_or(0),
    );
    let slot = spec.line.slot.as_ref().map(|slot| Slot::new(files.state(), &slot.name));
    let waiting = Waiting {
        signals: process::signals()?,
        linger: Linger::new(spec, now),
        until: spec.line.deadline.map(|deadline| now + deadline.saturating_sub(waited)),
        after: spec.line.after.iter().filter_map(|id| id.as_bytes().try_into().ok()).collect(),
        failed: spec.line.failed.clone(),
        orphans: BTreeMap::new(),
        blind: 0,
        files,
        spec,
        id,
        slot,
    };
    waiting.wait(line)
}

impl Waiting<'_> {
    fn wait(mut self, line: Line) -> io::Result<Turn> {
        self.begin_again()?;
        loop {
            let now = Instant::now();
            if let Some((outcome, cause)) = self.over(now)? {
                self.end(outcome, cause);
                return Ok(Turn::Over);
            }
            let look = self.look(now)?;
            if let Some(message) = self.failed.take()
                && self.spec.line.on_failure == OnFailure::Skip
            {
                self.end(Outcome::Stopped, Cause { actor: Actor::Dependency, message });
                return Ok(Turn::Over);
            }
            let signs = match look {
                Look::Come => return Ok(Turn::Come(line)),
                Look::Wait(signs) => {
                    self.blind = 0;
                    signs
                }
                Look::Again(signs) => {
                    self.blind = self.blind.saturating_add(1);
                    signs
                }
            };
            self.sleep(now, &signs)?;
        }
    }

    /// Marks the task's ticket as waiting again: if a killed shim had marked that it may start, tasks behind it may
    /// have started meanwhile.
    fn begin_again(&mut self) -> io::Result<()> {
        let Some(slot) = &self.slot else { return Ok(()) };
        loop {
            let own = slot.tickets()?.into_iter().find(|ticket| ticket.id == self.id);
            let Some(own) = own.filter(|own| own.held) else { return Ok(()) };
            if let Some(lock) = slot.lock()? {
                return slot.hold(&lock, &own, false);
            }
            std::thread::sleep(ROUND);
        }
    }

    /// Why the task must not start any more, if so. Also handles orders.
    fn over(&mut self, now: Instant) -> io::Result<Option<(Outcome, Cause)>> {
        let mut over = None;
        while let Some(signal) = self.signals.read_signal()? {
            if signal.ssi_signo == libc::SIGTERM as u32 {
                let message = "the supervisor was asked to terminate (SIGTERM)".to_owned();
                over = Some((Outcome::Stopped, Cause { actor: Actor::Daemon, message }));
            }
        }
        for order in self.files.orders()? {
            match order {
                Order::Stop { cause, .. } => over = over.or(Some((Outcome::Stopped, cause))),
                Order::Arm(offset) => self.files.arm(offset),
                // The arrival of an order has woken this process, so `Look` needs nothing else. The others
                // concern a leader, a terminal or an input, and there is none yet.
                Order::Look
                | Order::Go
                | Order::EndInput
                | Order::Reaped(_)
                | Order::Signal { .. }
                | Order::Resize { .. }
                | Order::Fetch => {}
            }
        }
        if let (Some(until), Some(deadline)) = (self.until, self.spec.line.deadline)
            && now >= until
        {
            let deadline = deadline.as_millis();
            let message = format!("waited longer than its queue deadline of {deadline} ms");
            let cause = Cause { actor: Actor::Deadline, message };
            over = over.or(Some((Outcome::TimedOut, cause)));
        }
        let lingered = self.linger.look(now, self.files.state(), self.spec);
        Ok(over.or(lingered.map(|cause| (Outcome::Stopped, cause))))
    }

    fn look(&mut self, now: Instant) -> io::Result<Look> {
        if let Some(look) = self.look_at_others(now) {
            return Ok(look);
        }
        let Some(slot) = self.slot.clone() else { return Ok(Look::Come) };
        match self.look_at(&slot, None, now)? {
            Look::Come => {}
            look @ (Look::Wait(_) | Look::Again(_)) => return Ok(look),
        }
        // This also creates the slot's folder again if it was removed.
        slot.make()?;
        match slot.lock()? {
            Some(lock) => self.look_at(&slot, Some(&lock), now),
            None => Ok(Look::Again(Vec::new())),
        }
    }

    /// Checks the tasks that must end first; `None`: all have ended, or one has failed.
    fn look_at_others(&mut self, now: Instant) -> Option<Look> {
        let (mut signs, mut is_blind) = (Vec::new(), false);
        for id in std::mem::take(&mut self.after) {
            match standing(self.files.state(), id) {
                Standing::Counts(sign) => signs.push(sign),
                Standing::Unseen | Standing::Orphan => is_blind = true,
                Standing::Gone => {
                    let name = String::from_utf8_lossy(&id).into_owned();
                    let end = end_of(self.files.state(), id);
                    let since = *self.orphans.entry(id).or_insert(now);
                    match end {
                        Some(end) => {
                            let why = failure(&end).map(|how| failed(&name, &how));
                            self.failed = self.failed.take().or(why);
                            continue;
                        }
                        None if now >= since + ORPHANED => {
                            self.failed = Some(failed(&name, "ended in an unknown way"));
                            continue;
                        }
                        // Its leader has exited, and its shim is about to record the end.
                        None => is_blind = true,
                    }
                }
            }
            self.after.push(id);
        }
        let is_over = self.failed.is_some() && self.spec.line.on_failure == OnFailure::Skip;
        if self.after.is_empty() || is_over {
            return None;
        }
        Some(if is_blind { Look::Again(signs) } else { Look::Wait(signs) })
    }

    /// Checks the tickets. With the lock, it also removes tickets of ended tasks, and marks the own ticket if the
    /// turn has come.
    fn look_at(&mut self, slot: &Slot, lock: Option<&Lock>, now: Instant) -> io::Result<Look> {
        let tickets = slot.tickets()?;
        let Some(at) = tickets.iter().position(|ticket| ticket.id == self.id) else {
            // The ticket was removed or not drawn yet: draw one at the end of the queue.
            let Some(lock) = lock else { return Ok(Look::Come) };
            if let Some(wanted) = &self.spec.line.slot {
                slot.set_limit(lock, wanted.limit)?;
            }
            slot.draw(lock, self.id)?;
            return Ok(Look::Again(Vec::new()));
        };
        let limit = slot.limit();
        // The tasks ahead, and those behind that run because they went first while this task had no shim.
        let ahead = tickets[..at].iter().rev();
        let passed = tickets[at + 1..].iter().filter(|ticket| ticket.held);
        let (mut signs, mut count, mut is_blind) = (Vec::new(), 0, false);
        for ticket in ahead.chain(passed) {
            match slot.standing(ticket.id) {
                Standing::Counts(sign) => {
                    signs.push(sign);
                    count += 1;
                }
                Standing::Unseen => {
                    is_blind = true;
                    count += 1;
                }
                Standing::Orphan => {
                    is_blind = true;
                    if now < *self.orphans.entry(ticket.id).or_insert(now) + ORPHANED {
                        count += 1;
                    }
                    continue;
                }
                Standing::Gone => {
                    if lock.is_some() {
                        slot.discard(ticket);
                    }
                }
            }
            self.orphans.remove(&ticket.id);
            if count >= limit {
                break;
            }
        }
        if count >= limit {
            return Ok(if is_blind { Look::Again(signs) } else { Look::Wait(signs) });
        }
        if let Some(lock) = lock {
            slot.hold(lock, &tickets[at], true)?;
        }
        Ok(Look::Come)
    }

    /// Sleeps until one of these descriptors is ready, an order or a signal arrives, or it is time to check again.
    fn sleep(&self, now: Instant, signs: &[Sign]) -> io::Result<()> {
        let again = match self.blind {
            0 => None,
            1..LOOKS => Some(now + ROUND),
            LOOKS.. => Some(now + LONG_ROUND),
        };
        let at = [again, self.until, self.linger.timer()].into_iter().flatten().min();
        let timeout = at.map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.files.ctl.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(signs.iter().map(|sign| match sign {
            Sign::Leader(pidfd) => PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            Sign::Line(line) => PollFd::new(line.as_fd(), PollFlags::POLLIN),
        }));
        poll_again(&mut fds, timeout)
    }

    /// Records the end of a task that never started.
    fn end(&mut self, outcome: Outcome, cause: Cause) {
        let end = End {
            outcome,
            exit: Exit::Unknown,
            cause: Some(cause),
            at_ms: clock::wall_ms(),
            duration_ns: 0,
            total: 0,
            dropped: 0,
            survivors: Vec::new(),
        };
        self.files.ended(end, self.spec.sync);
        if let Some(slot) = &self.slot {
            slot.leave(self.id);
        }
    }
}

fn failed(name: &str, how: &str) -> String {
    format!("task `{name}`, which it waited for, {how}")
}

/// How a task failed; `None` if it succeeded.
fn failure(end: &End) -> Option<String> {
    match (end.outcome, end.exit) {
        (Outcome::Exited, Exit::Code(0)) => None,
        (Outcome::Exited, Exit::Code(code)) => Some(format!("exited with code {code}")),
        (Outcome::Exited, Exit::Signal(signal)) => Some(format!("was ended by signal {signal}")),
        (Outcome::Exited, Exit::NotStarted(_) | Exit::Unknown) => {
            Some("could not be started".to_owned())
        }
        (Outcome::Stopped, _) => Some("was stopped".to_owned()),
        (Outcome::TimedOut, _) => Some("ran into its deadline".to_owned()),
        (Outcome::Lost, _) => Some("was lost with its supervisor".to_owned()),
    }
}

/// Rings for a task that ended without being started, after its FIFO `line` was removed.
pub fn tell(files: &Files) {
    files.ring(Kind::Ended);
}

/// Removes the ticket of a task that has ended.
pub fn leave(files: &Files, spec: &Spec) {
    if let Some(slot) = &spec.line.slot {
        Slot::new(files.state(), &slot.name).leave(files.id());
    }
}
