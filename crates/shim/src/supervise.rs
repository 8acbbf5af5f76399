//! The supervisor's loop, which handles everything that can happen to a task.
//!
//! The leader is not reaped until its end is recorded, so its pid and process group cannot be reused
//! while signals are sent to them. An order to stop applies to the whole tree.

mod ending;
mod orders;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use meanwhile_shim::bell::Kind;
use meanwhile_shim::clock;
use meanwhile_shim::identity::Process;
use meanwhile_shim::layout;
use meanwhile_shim::output;
use meanwhile_shim::record::{Actor, Cause, End, Exit, Outcome, Phase, Survivor};
use meanwhile_shim::spec::{Spec, Stdin};
use meanwhile_shim::tree;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::files::{Files, poll_again};
use crate::held::Legacy;
use crate::input::Input;
use crate::kin::{Kin, STATUS_ROUND};
use crate::life::{Life, Stopping};
use crate::linger::Linger;
use crate::notes::Notes;
use crate::terminal::Terminal;
use crate::{leader, memory, process, stall, waiting};

/// How long to wait for output of the leader's children after the leader has exited.
const DRAIN_TIME: Duration = Duration::from_millis(200);
/// How long the task writes nothing before the shim checks whether it waits for input.
const STALL_TIME: Duration = Duration::from_secs(15);
/// The time between two such checks.
const STALL_RETRY: Duration = Duration::from_secs(5);
/// The time between SIGTERM and SIGKILL at a deadline or the end of lingering: the protocol's default grace.
const GRACE: Duration = Duration::from_secs(2);
/// The time between two rounds of SIGKILL.
const KILL_ROUND: Duration = Duration::from_millis(5);
/// The same, once SIGKILL has failed to end the remaining processes.
const STUCK_ROUND: Duration = Duration::from_secs(1);
/// The time between two checks of processes whose exit the kernel does not report to the shim: those
/// that are not its children, and all processes while the shim is ending the tree.
const STRANGERS_ROUND: Duration = Duration::from_millis(50);
/// How many buffers of output to read before checking for anything else.
const READS: usize = 16;

/// A shim at work.
pub struct Shim {
    files: Files,
    spec: Spec,
    signals: SignalFd,
    /// SIGCHLD has arrived since the last check.
    children_changed: bool,
    leader: u32,
    kin: Kin,
    /// For a task that was taken over: all processes that were ever proven to belong to it.
    known: RefCell<BTreeSet<Process>>,
    terminal: Option<Terminal>,
    input: Input,
    notes: Notes,
    started: Instant,
    life: Life,
    stopping: Option<Stopping>,
    /// The last signal that was ordered, and who asked for it.
    signalled: Option<(i32, Cause)>,
    last_output: Instant,
    stall_check: Option<Instant>,
    stalled: bool,
    linger: Linger,
}

impl Shim {
    /// Starts the task in `files`.
    pub fn start(mut files: Files, spec: Spec, notes: Notes) -> io::Result<Self> {
        files.phase(Phase::Starting);
        let started = Instant::now();
        let score = files.score.take();
        let leader = match leader::start(&spec, files.pipe(), score.as_ref()) {
            Ok(leader) => leader,
            Err(error) => {
                waiting::leave(&files, &spec);
                files.not_started(&error, spec.sync);
                return Err(error);
            }
        };
        if let Input::Pipe(Some(writer)) = &leader.input {
            notes.input(writer);
            files.sheet().input(output::inode(writer).unwrap_or(0));
        }
        files.sheet().leader(leader.pid, clock::start_time(leader.pid).unwrap_or(0));
        files.ring(Kind::Started);
        files.sheet().oom_kills(memory::kills());
        let shim = Self::new(files, spec, leader.pid, Kin::Child, started, notes)?;
        Ok(Self { terminal: leader.terminal, input: leader.input, ..shim })
    }

    /// Takes over the task in `files` from a shim that was killed.
    pub fn adopt(files: Files, spec: Spec, legacy: Legacy, notes: Notes) -> io::Result<Self> {
        let Legacy { owner, input, leader, told, .. } = legacy;
        let record = meanwhile_shim::record::read(&File::open(layout::RECORD)?)?;
        let first = record.leader();
        let pidfd = leader.or_else(|| first?.open().ok()?);
        let age = match record.leader_start {
            0 => {
                let age = clock::wall_ms().saturating_sub(spec.created_ms);
                Duration::from_millis(age.max(0) as u64)
            }
            // It may have waited for a long time before its leader started.
            start => clock::age(start),
        };
        let started = Instant::now().checked_sub(age);
        let kin = Kin::Adopted { leader: first, pidfd, status: None, told, gone: None };
        let started = started.unwrap_or_else(Instant::now);
        let mut shim = Self::new(files, spec, record.leader_pid, kin, started, notes)?;
        if let Stdin::Pipe = shim.spec.stdin {
            let holders = [record.leader_pid, owner];
            let find = || match record.input {
                0 => crate::input::open_old_pipe().ok(),
                inode => output::find(inode, &holders, output::End::Write),
            };
            shim.input = Input::Pipe(input.or_else(find));
            if let Input::Pipe(Some(writer)) = &shim.input {
                shim.notes.input(writer);
            }
        }
        shim.stalled = record.stalled;
        shim.signalled = record.signal.map(|sent| (sent.signal, sent.cause));
        // Look up the members now, while the leader still exists and proves that the session is the task's.
        shim.members();
        // This makes daemons repeat the orders that they had sent to the killed shim.
        shim.files.ring(Kind::Started);
        if let Some(cause) = record.stop {
            shim.stop(libc::SIGTERM, GRACE, cause);
        }
        Ok(shim)
    }

    fn new(
        files: Files,
        spec: Spec,
        leader: u32,
        kin: Kin,
        started: Instant,
        notes: Notes,
    ) -> io::Result<Self> {
        let signals = process::signals()?;
        let now = Instant::now();
        Ok(Self {
            signals,
            children_changed: false,
            leader,
            kin,
            known: RefCell::default(),
            terminal: None,
            input: Input::None,
            notes,
            started,
            life: Life::Running,
            stopping: None,
            signalled: None,
            last_output: now,
            stall_check: (spec.stdin != Stdin::Null).then(|| now + STALL_TIME),
            stalled: false,
            linger: Linger::new(&spec, now),
            files,
            spec,
        })
    }

    /// Supervises until no process of the tree is left.
    pub fn supervise(mut self) -> io::Result<()> {
        loop {
            self.look()?;
            if let Life::Ended { survived } = self.life
                && (!survived || self.living().is_empty())
            {
                if survived {
                    // The last process of the tree may have written something.
                    self.take_output(usize::MAX)?;
                    self.files.ring(Kind::Gone);
                }
                return self.files.clear();
            }
            self.wait()?;
        }
    }

    /// Waits until something happens, and handles output, input, signals and orders.
    fn wait(&mut self) -> io::Result<()> {
        let timeout = self.next_look().map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let (mut output, mut input) = (None, None);
        let mut fds = vec![readable(self.signals.as_fd()), readable(self.files.ctl.as_fd())];
        fds.extend(self.kin.watched().map(readable));
        let source = match &self.terminal {
            Some(terminal) => terminal.watched(),
            None => Some(self.files.pipe().as_fd()),
        };
        if let Some(source) = source {
            output = Some(fds.len());
            fds.push(readable(source));
        }
        if let (Input::Terminal(typist), Some(terminal)) = (&self.input, source) {
            input = Some(fds.len());
            fds.push(match typist.source() {
                Some(fifo) => readable(fifo.as_fd()),
                None => PollFd::new(terminal, PollFlags::POLLOUT),
            });
        }
        poll_again(&mut fds, timeout)?;
        let is_ready = |i: Option<usize>| {
            i.is_some_and(|i| fds[i].revents().is_some_and(|events| !events.is_empty()))
        };
        let (output_ready, input_ready) = (is_ready(output), is_ready(input));
        let (signalled, ordered) = (is_ready(Some(0)), is_ready(Some(1)));
        let hung_up = output.is_some_and(|i| {
            fds[i].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
        });
        drop(fds);
        if output_ready {
            let taken = self.take_output(READS)?;
            if hung_up
                && taken == 0
                && let Some(terminal) = &mut self.terminal
            {
                terminal.open_again();
            }
        }
        if input_ready {
            self.feed_terminal();
        }
        if signalled {
            self.take_signals()?;
        }
        if ordered {
            for order in self.files.orders()? {
                self.obey(order);
            }
        }
        Ok(())
    }

    /// Moves input into the terminal.
    fn feed_terminal(&mut self) {
        if let (Input::Terminal(typist), Some(terminal)) = (&mut self.input, &self.terminal) {
            typist.feed(terminal);
        }
    }

    fn take_output(&mut self, reads: usize) -> io::Result<u64> {
        let taken = match &self.terminal {
            Some(terminal) => self.files.take_output(terminal.output(), reads)?,
            None => self.files.take_pipe(reads)?,
        };
        if taken > 0 {
            self.last_output = Instant::now();
            if self.stalled {
                self.stalled = false;
                self.files.sheet().stalled(false);
                self.files.ring(Kind::Changed);
            }
            if let Some(at) = &mut self.stall_check {
                *at = self.last_output + STALL_TIME;
            }
        }
        Ok(taken)
    }

    fn take_signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            self.children_changed |= signal.ssi_signo == libc::SIGCHLD as u32;
            if signal.ssi_signo == libc::SIGTERM as u32 {
                let message = "the supervisor was asked to terminate (SIGTERM)".to_owned();
                let cause = Cause { actor: Actor::Daemon, message };
                self.stop(libc::SIGTERM, GRACE, cause);
            }
        }
        Ok(())
    }

    /// Checks everything that may have changed.
    fn look(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if std::mem::take(&mut self.children_changed) {
            self.reap();
        }
        if let Life::Running = self.life
            && let Some(exit) = self.leader_exit(now)
        {
            self.take_output(usize::MAX)?;
            self.life = Life::Draining { exit, until: now + DRAIN_TIME };
        }
        self.look_at_limits(now);
        self.look_at_stop(now)?;
        if let Life::Draining { exit, until } = self.life
            && self.stopping.is_none()
        {
            let others = self.living();
            if others.is_empty() || now >= until {
                self.take_output(usize::MAX)?;
                let (outcome, cause) = match exit {
                    Exit::Unknown => (Outcome::Lost, Some(self.lost())),
                    Exit::Code(_) | Exit::Signal(_) | Exit::NotStarted(_) => {
                        (Outcome::Exited, self.cause_of(exit))
                    }
                };
                self.end(outcome, exit, cause, tree::name(&others));
            }
        }
        Ok(())
    }

    /// Checks the deadline, lingering, and whether the task waits for input.
    fn look_at_limits(&mut self, now: Instant) {
        if let (Life::Running, None, Some(deadline)) =
            (&self.life, &self.stopping, self.spec.deadline)
            && now >= self.started + deadline
        {
            let message = format!("ran longer than its deadline of {} ms", deadline.as_millis());
            let cause = Cause { actor: Actor::Deadline, message };
            self.stop(libc::SIGTERM, GRACE, cause);
        }
        if self.stopping.is_none()
            && let Some(cause) = self.linger.look(now, self.files.state(), &self.spec)
        {
            self.stop(libc::SIGTERM, GRACE, cause);
        }
        if let Some(at) = self.stall_check
            && now >= at
        {
            self.stall_check = Some(now + STALL_RETRY);
            if let Life::Running = self.life
                && self.is_waiting_for_input() != self.stalled
            {
                // It goes on without output if what it has read was a password.
                self.stalled = !self.stalled;
                self.files.sheet().stalled(self.stalled);
                self.files.ring(if self.stalled { Kind::Stalled } else { Kind::Changed });
            }
        }
    }

    fn is_waiting_for_input(&self) -> bool {
        let input = match (&self.input, &self.terminal) {
            (Input::None, _) | (Input::Pipe(None), _) | (Input::Terminal(_), None) => return false,
            (Input::Pipe(Some(writer)), _) => writer.metadata(),
            (Input::Terminal(_), Some(terminal)) => terminal.metadata(),
        };
        let last_byte = self.files.last_byte();
        input.is_ok_and(|input| stall::is_waiting(&self.members(), &input, last_byte))
    }

    /// Reaps the processes of the tree that have exited, but not the leader before its end is recorded.
    fn reap(&self) {
        let spared = match (&self.life, &self.kin) {
            (Life::Running | Life::Draining { .. }, Kin::Child) => Some(self.leader),
            (Life::Ended { .. }, Kin::Child) | (_, Kin::Adopted { .. }) => None,
        };
        match spared {
            Some(leader) => {
                for pid in tree::children_of_single_thread(std::process::id()) {
                    if pid != leader {
                        let _ = waitpid(Pid::from_raw(pid as i32), Some(WaitPidFlag::WNOHANG));
                    }
                }
            }
            None => while let leader::Reaped::Child(..) = leader::reap_one() {},
        }
    }

    /// The leader's status, if it has exited.
    fn leader_exit(&mut self, now: Instant) -> Option<Exit> {
        self.kin.exit(self.leader, now)
    }

    fn end(
        &mut self,
        outcome: Outcome,
        exit: Exit,
        cause: Option<Cause>,
        survivors: Vec<Survivor>,
    ) {
        let cause = cause.map(|cause| Cause {
            message: cause.message + &self.unproven().unwrap_or_default(),
            ..cause
        });
        let end = End {
            outcome,
            exit,
            cause,
            at_ms: clock::wall_ms(),
            duration_ns: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            total: 0,
            dropped: 0,
            survivors,
        };
        let survived = !end.survivors.is_empty();
        self.files.ended(end, self.spec.sync);
        waiting::leave(&self.files, &self.spec);
        self.life = Life::Ended { survived };
        self.files.calm();
        // When others learn about the end, no process of the tree is left, not even a zombie.
        self.reap();
        self.files.ring(Kind::Ended);
    }

    /// The cause of an end whose status is unknown.
    fn lost(&self) -> Cause {
        let message = match &self.kin {
            Kin::Adopted { leader: None, .. } if !self.files.is_of_this_boot() => {
                "the machine was restarted before the task ended"
            }
            Kin::Adopted { .. } | Kin::Child => {
                "its supervisor was killed, and no process saw how it ended"
            }
        };
        Cause { actor: Actor::Daemon, message: message.to_owned() }
    }

    /// When to check again even if nothing happens.
    fn next_look(&self) -> Option<Instant> {
        let now = Instant::now();
        let strangers = match (&self.kin, &self.life, &self.stopping) {
            (Kin::Adopted { gone: Some(_), .. }, Life::Running, _) => Some(now + STATUS_ROUND),
            (Kin::Adopted { .. }, Life::Ended { .. } | Life::Draining { .. }, _)
            | (Kin::Adopted { .. }, _, Some(_)) => Some(now + STRANGERS_ROUND),
            (Kin::Child, ..) | (Kin::Adopted { .. }, Life::Running, None) => None,
        };
        let life = match (&self.life, &self.stopping) {
            (_, Some(stopping)) if now < stopping.kill_at => {
                Some(stopping.kill_at.min(now + STRANGERS_ROUND))
            }
            (_, Some(stopping)) if !stopping.stuck.is_empty() => Some(now + STUCK_ROUND),
            (_, Some(_)) => Some(now + KILL_ROUND),
            (Life::Running, None) => self.spec.deadline.map(|deadline| self.started + deadline),
            (Life::Draining { until, .. }, None) => Some(*until),
            (Life::Ended { .. }, None) => None,
        };
        let linger = if self.stopping.is_none() { self.linger.timer() } else { None };
        let stall = match self.life {
            Life::Running => self.stall_check,
            Life::Draining { .. } | Life::Ended { .. } => None,
        };
        [strangers, life, linger, stall].into_iter().flatten().min()
    }
}
