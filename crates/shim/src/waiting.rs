//! A task that waits for its turn, before its leader is started.
//!
//! Its shim waits by itself: for the ends of other tasks, then for a slot. It watches as many tasks ahead of
//! it as the slot has room for: while all of these take room, its turn has not come, whatever becomes of
//! the rest. What it watches are the leaders of those that run and the FIFOs `line` of those that wait, so
//! nothing is polled, and the kernel tells of every kind of death. In return it holds its own `line` open until
//! its leader is known.
//!
//! Looking takes no lock. The lock is taken to confirm that the turn has come, and the ticket then says so.

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

/// How long a task that no shim looks after keeps its place: longer than its keeper, or after it a daemon,
/// takes to start another shim. Then those behind it may pass.
const ORPHANED: Duration = Duration::from_secs(5);
/// Between two looks while a task ahead is between two states, and at a lock that another process has.
const ROUND: Duration = Duration::from_millis(5);
/// The same, once that lasts: it is out of sight, in another pid namespace, or orphaned.
const LONG_ROUND: Duration = Duration::from_millis(250);
/// Looks in a row after which it lasts.
const LOOKS: u32 = 40;

/// How the waiting ended.
pub enum Turn {
    /// The task is to be started. What is returned is dropped once its leader is known.
    Come(Line),
    /// The task has ended without a start, and that is recorded.
    Over,
}

/// The FIFO that tells others that this task waits.
pub struct Line {
    path: PathBuf,
    _open: File,
}

impl Line {
    fn open(folder: PathBuf) -> io::Result<Self> {
        let path = folder.join(layout::LINE);
        match mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR) {
            // Another shim of the task was killed.
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

/// What a look at the line found.
enum Look {
    /// The turn has come.
    Come,
    /// It has not, and these tell when to look again.
    Wait(Vec<Sign>),
    /// The same, but something tells nothing.
    Again(Vec<Sign>),
}

/// A shim that waits.
struct Waiting<'a> {
    files: &'a mut Files,
    spec: &'a Spec,
    id: Id,
    /// The tasks that are to end first, and have not.
    after: Vec<Id>,
    /// Why it is not to run: one of them failed.
    failed: Option<String>,
    slot: Option<Slot>,
    signals: SignalFd,
    linger: Linger,
    until: Option<Instant>,
    /// Since when tasks were seen without a shim.
    orphans: BTreeMap<Id, Instant>,
    /// Looks in a row that found something that tells nothing.
    blind: u32,
}

/// Waits until the task may start, or is not to start any more.
pub fn wait(files: &mut Files, spec: &Spec) -> io::Result<Turn> {
    let now = Instant::now();
    let id = files.id();
    let line = Line::open(files.folder())?;
    files.sheet().queued(true);
    // Until its start nothing else tells other processes of it, which start another shim if this one and
    // its keeper are killed.
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

    /// A shim that took the task over does not know whether those behind it passed meanwhile.
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

    /// Why the task is not to start any more.
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
                // That it came has woken this process, which looks then. There is no leader and no
                // terminal yet, and nothing that could be written to.
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
        // Whether the slot's folder was taken away shows here, too.
        slot.make()?;
        match slot.lock()? {
            Some(lock) => self.look_at(&slot, Some(&lock), now),
            None => Ok(Look::Again(Vec::new())),
        }
    }

    /// Looks at the tasks that are to end first; `None`: all have, or one has failed.
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
                            self.failed = Some(failed(&name, "ended, and how is not known"));
                            continue;
                        }
                        // Its leader has ended, and its shim is about to say how.
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

    /// Looks at the tickets. With the lock, what is over is taken away, and a turn that has come is noted.
    fn look_at(&mut self, slot: &Slot, lock: Option<&Lock>, now: Instant) -> io::Result<Look> {
        let tickets = slot.tickets()?;
        let Some(at) = tickets.iter().position(|ticket| ticket.id == self.id) else {
            // It was taken away, or not drawn yet: the end of the line, then.
            let Some(lock) = lock else { return Ok(Look::Come) };
            if let Some(wanted) = &self.spec.line.slot {
                slot.set_limit(lock, wanted.limit)?;
            }
            slot.draw(lock, self.id)?;
            return Ok(Look::Again(Vec::new()));
        };
        let limit = slot.limit();
        // Those that have come before and, where they passed while this task had no shim, those that run.
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

    /// Sleeps until one of these tells something, an order comes, or it is time.
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
    format!("task `{name}`, which it was to follow, {how}")
}

/// How a task failed, if it did.
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

/// Says that a task ended without a start, once it waits no more.
pub fn tell(files: &Files) {
    files.ring(Kind::Ended);
}

/// The ticket of a task that is over.
pub fn leave(files: &Files, spec: &Spec) {
    if let Some(slot) = &spec.line.slot {
        Slot::new(files.state(), &slot.name).leave(files.id());
    }
}
