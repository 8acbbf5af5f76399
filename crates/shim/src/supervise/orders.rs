//! Executes orders from daemons.

use meanwhile_shim::ctl::{Order, Recipient};
use meanwhile_shim::record::{Cause, Exit};

use super::{Kin, Life, Shim};
use crate::input::Input;
use crate::{leader, memory};

impl Shim {
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Go | Order::Look | Order::Fetch => {}
            Order::Stop { signal, grace, cause } => {
                self.stop(signal, grace, cause);
            }
            Order::EndInput => {
                if let Input::Pipe(_) = &self.input {
                    // Tell the keeper before the pipe is closed: it resolves a descriptor's number when it
                    // reads the note, and the number may be reused.
                    self.notes.input_ended();
                    self.files.sheet().input(0);
                }
                self.input.end();
                self.feed_terminal();
            }
            Order::Arm(offset) => self.files.arm(offset),
            Order::Signal { signal, to, cause } => self.signal(signal, to, &cause),
            Order::Resize { rows, cols } => {
                if let Some(terminal) = &self.terminal {
                    terminal.resize(rows, cols);
                }
            }
            Order::Reaped(raw) => {
                if let Kin::Adopted { status, .. } = &mut self.kin {
                    *status = Some(leader::exit_of_raw(raw));
                }
            }
        }
    }

    /// Sends a signal to the leader while it runs.
    fn signal(&mut self, signal: i32, to: Recipient, cause: &Cause) {
        let Life::Running = self.life else { return };
        // Recorded first, because the signal may end the leader.
        self.files.sheet().signalled(signal, cause);
        self.signalled = Some((signal, cause.clone()));
        match &self.kin {
            Kin::Child => leader::signal(self.leader, to, signal),
            Kin::Adopted { pidfd: Some(pidfd), .. } => {
                leader::signal_stranger(self.leader, pidfd, to, signal);
            }
            Kin::Adopted { pidfd: None, .. } => {}
        }
    }

    /// The known cause of this exit: who asked for the signal that killed the leader, or a shortage of memory, in
    /// which the kernel may have killed the leader or a child whose loss made the leader fail.
    pub(super) fn cause_of(&self, exit: Exit) -> Option<Cause> {
        match (exit, &self.signalled) {
            (Exit::Signal(by), Some((signal, cause))) if by == *signal => Some(cause.clone()),
            (Exit::Signal(_) | Exit::Code(1..), _) => {
                memory::cause(self.files.oom_kills(), memory::kills())
            }
            (Exit::Code(_) | Exit::NotStarted(_) | Exit::Unknown, _) => None,
        }
    }
}
