//! Orders to shims, and new shims for tasks whose shim died.

use std::io;
use std::time::Duration;

use super::{Keeper, Local};
use crate::background::executor::{Number, Report, SendSignal, Size, What};
use crate::background::places;
use crate::background::pool::News;
use crate::background::task::{Cause, TaskId};
use crate::background::{Recipient, Stop, convert};
use crate::error::Error;
use meanwhile_shim::ctl::Order;
use meanwhile_shim::{clock, record};

/// How long the keeper of a dead shim has to start another one before this process does: only the parent can
/// still read the leader's exit status.
const PARENT_FIRST: Duration = Duration::from_millis(300);

impl Local {
    /// Sends an order to a task's shim. If the shim is dead, has it replaced.
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
        // If it fails, the shim is dead, or has so many orders waiting that it will check for output anyway.
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

    /// Sends an order whose result a request waits for, unless the task's shim does not support it.
    fn numbered(&mut self, id: TaskId, number: Number, order: &Order) {
        let sent = match self.home.record(id) {
            Ok(record) if record.shim.has_lost_terminal() && !record.shim.knows(order) => {
                let message = "its terminal was lost when its supervisor was killed";
                Err(Error::NotRunning { id, message: message.to_owned() })
            }
            Ok(record) if self.is_out_of_reach(id, &record) => Err(Error::NotRunning {
                id,
                message: "its place cannot be reached, or has not received the task yet".to_owned(),
            }),
            Ok(record) if !record.shim.knows(order) => Err(Error::Invalid {
                field: "id".to_owned(),
                message: format!(
                    "task `{id}` runs under a shim of version {}, which does not know the order to \
                     {}; spawn the task again to run it under this version",
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

    /// Whether an order sent now cannot reach a task at a place.
    fn is_out_of_reach(&self, id: TaskId, record: &record::Record) -> bool {
        let Some(place) = &record.elsewhere else { return false };
        let contact = self.place_of(id).and_then(|name| places::contact(self.home.root(), &name));
        place.remote.is_none() || contact.is_some_and(|contact| contact.lost_since.is_some())
    }

    /// Continues the task's shim: if it was stopped by SIGSTOP, it processes no orders.
    fn wake(&self, id: TaskId) {
        self.signal_shim(id, libc::SIGCONT);
    }

    /// A task's shim does not answer: kill it, so that another one takes over.
    pub(super) fn replace(&mut self, id: TaskId) {
        self.signal_shim(id, libc::SIGKILL);
        self.suspect(id);
    }

    /// Sends a signal to a task's shim if it is still that process: its pid may have been reused.
    fn signal_shim(&self, id: TaskId, signal: i32) {
        if let Ok(record) = self.home.record(id)
            && let Some(shim) = record.shim_in(&self.home.live(id))
        {
            shim.signal(signal);
        }
    }

    /// Reports a task whose shim seems to be dead.
    pub(super) fn suspect(&mut self, id: TaskId) {
        let pipe = self.home.open_pipe(id);
        // After a reboot the keeper no longer exists.
        let same_boot = self.home.record(id).is_ok_and(|it| it.boot_id == clock::boot_id());
        let patience = if same_boot { PARENT_FIRST } else { Duration::ZERO };
        let Some(hand) = self.hands.get_mut(&id) else { return };
        hand.pipe = hand.pipe.take().or(pipe);
        self.reports.push_back(Report::Lost { id, patience });
    }

    /// The killed shim of a task was replaced. Makes the supervisor repeat what it had sent to the old one.
    pub(super) fn taken_over(&mut self, id: TaskId) {
        self.reports.extend([
            Report::Lost { id, patience: PARENT_FIRST },
            Report::Acknowledged(id, What::Adopt),
            // A client that follows the output arms the new shim again.
            Report::Output(id),
        ]);
    }

    /// Processes the keeper's messages, or its death.
    pub(super) fn keeper_told(&mut self) {
        for news in self.shims.pool.news() {
            match news {
                News::Failed(error) => self.shims.failed(error),
                News::Kept(id) => {
                    if let Some(hand) = self.hands.get_mut(&id) {
                        (hand.keeper, hand.pipe) = (Keeper::Ours, None);
                    }
                }
                News::Orphaned(id) => {
                    if let Some(hand) = self.hands.get_mut(&id) {
                        hand.keeper = Keeper::Others;
                    }
                    self.suspect(id);
                }
                News::KeeperGone { worked } => {
                    self.shims.keeper_gone(worked);
                    self.keeper_gone();
                }
            }
        }
    }

    /// This process's keeper was killed. Its shims go on without it, but if one of them is killed too, no other
    /// process replaces it.
    fn keeper_gone(&mut self) {
        let kept = self.hands.iter_mut().filter(|(_, hand)| hand.keeper == Keeper::Ours);
        let kept = kept.map(|(id, hand)| {
            hand.keeper = Keeper::Others;
            *id
        });
        for id in kept.collect::<Vec<_>>() {
            // If no keeper can be started, the sweep finds out what happens to the task.
            let watched = self.shims.pool.watch(id);
            if watched.is_ok() && !self.home.is_supervised(id) {
                self.reports.push_back(Report::Lost { id, patience: Duration::ZERO });
            }
        }
    }

    /// Starts another shim for a task whose shim has died.
    pub(super) fn adopt(&mut self, id: TaskId) {
        let adopted = Report::Acknowledged(id, What::Adopt);
        let Ok(record) = self.home.record(id) else { return self.ended(id) };
        if self.home.is_supervised(id) {
            return self.reports.push_back(adopted);
        }
        if record.end.is_some() {
            return self.ended(id);
        }
        if let Some(place) = self.place_of(id) {
            self.call_courier(id, &place);
        } else if self.hands.contains_key(&id) {
            // The new shim rings once it has the task. If it cannot be started, the supervisor asks again.
            let _ = self.shims.pool.start_adopter(id);
        }
    }
}

fn cause(cause: &Cause) -> record::Cause {
    let actor = convert::actor_to_record(cause.actor);
    record::Cause { actor, message: cause.message.clone() }
}
