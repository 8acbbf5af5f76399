//! Orders to shims, and other shims for tasks whose shim died.

use std::io;
use std::time::Duration;

use meanwhile_shim::ctl::Order;
use meanwhile_shim::record;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::{Local, Origin};
use crate::background::executor::{Number, Report, SendSignal, Size, What};
use crate::background::task::{Cause, TaskId};
use crate::background::{Recipient, Stop, convert};
use crate::error::Error;

/// How long the parent of a shim has to take its task over before another daemon does: only the
/// parent can still learn the leader's status.
const PARENT_FIRST: Duration = Duration::from_millis(300);
/// Between two attempts to give an order to a shim that is only starting.
const ORDER_ROUND: Duration = Duration::from_millis(10);

impl Local {
    /// Sends an order to a task's shim; one whose shim is dead gets another.
    fn order(&mut self, id: TaskId, order: &Order) -> io::Result<()> {
        let sent = self.home.order(id, order);
        if let Err(error) = &sent
            && error.raw_os_error() == Some(libc::ENXIO)
        {
            self.suspect(id);
        }
        sent
    }

    pub(super) fn arm(&mut self, id: TaskId, offset: u64) {
        // Where it fails, the shim is dead, or has so many orders that it will look anyway.
        let _ = self.order(id, &Order::Arm(offset));
    }

    pub(super) fn stop(&mut self, id: TaskId, how: &Stop) {
        let (signal, grace) = (how.signal, how.grace);
        let order = Order::Stop { signal, grace, cause: cause(&how.cause) };
        if self.order(id, &order).is_ok() {
            self.wake(id);
            self.reports.push_back(Report::Acknowledged(id, What::Stop));
        }
    }

    pub(super) fn signal(&mut self, id: TaskId, number: Number, what: SendSignal) {
        let to = match what.to {
            Recipient::Group => meanwhile_shim::ctl::Recipient::Group,
            Recipient::Leader => meanwhile_shim::ctl::Recipient::Leader,
        };
        let order = Order::Signal { signal: what.signal, to, cause: cause(&what.cause) };
        self.numbered(id, number, &order);
    }

    pub(super) fn resize(&mut self, id: TaskId, number: Number, size: Size) {
        self.numbered(id, number, &Order::Resize { rows: size.rows, cols: size.cols });
    }

    /// Sends an order that somebody waits for, unless the task's shim does not know it.
    fn numbered(&mut self, id: TaskId, number: Number, order: &Order) {
        let sent = match self.home.record(id) {
            Ok(record) if !record.shim.knows(order) => Err(Error::Invalid {
                field: "id".to_owned(),
                message: format!(
                    "task `{id}` runs under a shim of version {}, which does not know the order to \
                     {}; spawn the task again to have it under this version",
                    record.shim.version(),
                    order.describe()
                ),
            }),
            Ok(_) => self.order(id, order).map_err(|error| Error::NotRunning {
                id,
                message: format!("its supervisor does not answer ({error}); try again"),
            }),
            Err(_) => Err(Error::UnknownTask(id)),
        };
        let what = What::Numbered(number);
        if sent.is_ok() {
            self.wake(id);
        }
        self.reports.push_back(match sent {
            Ok(()) => Report::Acknowledged(id, what),
            Err(error) => Report::Refused(id, what, error),
        });
    }

    /// A shim that somebody stopped takes no orders.
    fn wake(&self, id: TaskId) {
        if let Ok(record) = self.home.record(id) {
            signal_pid(record.shim_pid, Signal::SIGCONT);
        }
    }

    /// A task's shim does not answer; another one will.
    pub(super) fn replace(&mut self, id: TaskId) {
        if let Ok(record) = self.home.record(id)
            && self.home.is_supervised(id)
        {
            signal_pid(record.shim_pid, Signal::SIGKILL);
        }
        self.suspect(id);
    }

    /// A task's shim seems to be dead.
    pub(super) fn suspect(&mut self, id: TaskId) {
        let pipe = self.home.open_pipe(id);
        let Some(hand) = self.hands.get_mut(&id) else { return };
        hand.pipe = hand.pipe.take().or(pipe);
        // Our own child's death is certain, and nobody else can take over as well as we can.
        let patience = if hand.shim.is_some() { Duration::ZERO } else { PARENT_FIRST };
        self.reports.push_back(Report::Lost { id, patience });
    }

    /// Starts another shim for a task whose shim died.
    pub(super) fn adopt(&mut self, id: TaskId) {
        let adopted = Report::Acknowledged(id, What::Adopt);
        let Ok(record) = self.home.record(id) else { return self.ended(id) };
        if self.home.is_supervised(id) {
            return self.reports.push_back(adopted);
        }
        if record.end.is_some() {
            return self.ended(id);
        }
        let Some(hand) = self.hands.get_mut(&id) else { return };
        let Ok(pid) = self.shims.pool.start_adopter(id, hand.origin == Origin::Ours) else {
            return;
        };
        hand.shim = Some(pid);
        hand.leader = Some(record.leader_pid);
        let stray = self.strays.iter().position(|(pid, _)| *pid == record.leader_pid);
        let status = stray.and_then(|at| self.strays.remove(at)).map(|(_, status)| status);
        hand.status = hand.status.or(status);
        self.reports.push_back(adopted);
    }

    /// Tells adopting shims how the leaders ended that were our children.
    pub(super) fn tell_statuses(&mut self) {
        for (id, hand) in &mut self.hands {
            if let Some(status) = hand.status
                && self.home.order(*id, &Order::Reaped(status)).is_ok()
            {
                hand.status = None;
            }
        }
    }

    pub(super) fn status_timer(&self) -> Option<Instant> {
        let waits = self.hands.values().any(|hand| hand.status.is_some());
        waits.then(|| Instant::now() + ORDER_ROUND)
    }
}

fn cause(cause: &Cause) -> record::Cause {
    let actor = convert::actor_to_record(cause.actor);
    record::Cause { actor, message: cause.message.clone() }
}

fn signal_pid(pid: u32, signal: Signal) {
    if let Ok(pid @ 2..) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}
