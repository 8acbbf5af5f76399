//! Stops and signals to tasks, and tasks whose shim died.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Supervisor;
use crate::background::Stop;
use crate::background::executor::{Number, Request};
use crate::background::live::life::Life;
use crate::background::live::stop::{self, StopOrder};
use crate::background::live::supervision::{self, Supervision};
use crate::background::task::{Survivor, TaskId};
use crate::error::Error;

impl Supervisor {
    /// Orders the stop of a task's tree. The receiver gets the survivors, or an empty list once the tree has
    /// exited.
    pub(super) fn stop(
        &mut self,
        id: TaskId,
        how: Stop,
    ) -> Option<oneshot::Receiver<Vec<Survivor>>> {
        let live = self.find(id)?;
        let (waiter, done) = oneshot::channel();
        live.stop_waiters.push(waiter);
        self.step_stop(id, stop::Step::Ask(how));
        Some(done)
    }

    /// Performs one step of a stop.
    pub(super) fn step_stop(&mut self, id: TaskId, step: stop::Step) {
        let Some(live) = self.tasks.get_mut(&id) else { return };
        let order = std::mem::replace(&mut live.stop, StopOrder::None);
        let (order, effect) = order.step(step, Instant::now());
        live.stop = order;
        match effect {
            stop::Effect::Nothing => {}
            stop::Effect::Send(how) => self.executor.ask(Request::Stop(id, how)),
            stop::Effect::Replace => self.executor.ask(Request::Replace(id)),
        }
    }

    /// Replies to callers that wait for a stop that has done all it can.
    pub(super) fn answer_left(&mut self, id: TaskId) {
        let Some(live) = self.tasks.get_mut(&id) else { return };
        // The end is recorded first, so that the reply contains it.
        let is_ending = matches!(live.life, Life::Recording(_) | Life::Recorded(_));
        if let Some(left) = live.stop.left().filter(|_| !is_ending) {
            for waiter in live.stop_waiters.drain(..) {
                let _ = waiter.send(left.to_vec());
            }
        }
    }

    /// Performs one step of a task's supervision.
    pub(super) fn step_supervision(&mut self, id: TaskId, step: supervision::Step) {
        let Some(live) = self.tasks.get_mut(&id) else { return };
        let (supervision, effect) = live.supervision.step(step, Instant::now());
        live.supervision = supervision;
        match effect {
            supervision::Effect::Nothing => {}
            supervision::Effect::Adopt => self.executor.ask(Request::Adopt(id)),
            supervision::Effect::StopAgain => self.step_stop(id, stop::Step::Again),
        }
    }

    /// Handles due stops, and due adoptions of tasks whose shim died.
    pub(super) fn look_at_stops(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        let due = self.tasks.iter().filter_map(|(id, live)| match live.supervision {
            Supervision::Orphaned { .. } => is_due(live.supervision.timer()).then_some(*id),
            Supervision::Shim | Supervision::Adopted => is_due(live.stop.timer()).then_some(*id),
        });
        for id in due.collect::<Vec<_>>() {
            match self.tasks.get(&id).map(|live| live.supervision) {
                Some(Supervision::Orphaned { .. }) => {
                    self.step_supervision(id, supervision::Step::Due);
                }
                Some(Supervision::Shim | Supervision::Adopted) => {
                    self.step_stop(id, stop::Step::Due);
                }
                None => {}
            }
        }
    }

    /// Passes a request on to the executor of a live task, which will answer it.
    pub(super) fn pass_on(
        &mut self,
        id: TaskId,
        reply: oneshot::Sender<Result<(), Error>>,
        request: impl FnOnce(Number) -> Request,
    ) {
        if self.find(id).is_none_or(|live| live.life.has_ended()) {
            let _ = reply.send(Err(Error::UnknownTask(id)));
            return;
        }
        self.number += 1;
        self.answers.retain(|_, reply| !reply.is_closed());
        self.answers.insert(self.number, reply);
        self.executor.ask(request(self.number));
    }

    /// Replies with the result of a request.
    pub(super) fn answer(&mut self, number: Number, result: Result<(), Error>) {
        if let Some(reply) = self.answers.remove(&number) {
            let _ = reply.send(result);
        }
    }
}
