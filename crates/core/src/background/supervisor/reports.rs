//! Handles reports of the executor, and the resulting effects of a task's life.

use super::Supervisor;
use crate::background::Event;
use crate::background::Spawned;
use crate::background::events::Hold;
use crate::background::executor::reading::Reading;
use crate::background::executor::{Certainty, Report, Request, What};
use crate::background::ledger::NewTask;
use crate::background::live::life::{self, Effect, Life, Tree, Writer};
use crate::background::live::{Live, Reply, Row, stop, supervision};
use crate::background::task::{State, Task, TaskId, Timestamp};
use crate::background::watch::Scanner;
use crate::error::Error;

use tokio::time::Instant;

/// The data of a step in a task's life.
pub(super) enum About {
    Nothing,
    /// The leader's pid.
    Pid(u32),
    /// Its record, which contains its end.
    End(Box<Reading>),
    /// The error with which it was refused.
    Refusal(Error),
}

impl Supervisor {
    /// Handles the executor's pending reports.
    pub(super) fn take_reports(&mut self) {
        while let Some(report) = self.executor.report() {
            self.report(report);
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Found { task, pid, certainty } => self.found(*task, pid, certainty),
            Report::Acknowledged(id, What::Start) => {
                self.step(id, life::Step::Accepted, About::Nothing);
            }
            Report::Acknowledged(id, What::Stop) => self.step_stop(id, stop::Step::Taken),
            Report::Acknowledged(id, What::Adopt) => {
                self.step_supervision(id, supervision::Step::Adopted);
            }
            Report::Refused(id, What::Start, error) => {
                if self.tasks.contains_key(&id) {
                    self.step(id, life::Step::Refused, About::Refusal(error));
                } else {
                    self.forget(id);
                }
            }
            // Each is tried again later.
            Report::Refused(_, What::Stop | What::Adopt, _) => {}
            Report::Acknowledged(_, What::Numbered(number)) => self.answer(number, Ok(())),
            Report::Refused(_, What::Numbered(number), error) => self.answer(number, Err(error)),
            Report::Started(id, pid) => self.step(id, life::Step::Started, About::Pid(pid)),
            Report::Output(id) => self.output(id),
            Report::Stalled(id) => self.stalled(id),
            Report::Changed(id) => {
                let lives = self.tasks.get(&id).is_some_and(|live| !live.life.has_ended());
                if let Some(task) = self.task(id).filter(|_| lives) {
                    self.tell_event(id, Event::State(task));
                }
            }
            Report::Ports(found) => self.ports_found(found),
            Report::Ended(id, reading) => {
                self.step_supervision(id, supervision::Step::Ended);
                let (ran, tree) = (reading.ran(), reading.tree());
                if tree == Tree::Gone {
                    self.step_stop(id, stop::Step::Gone);
                }
                let step = life::Step::Ended { ran, tree, writer: self.writer() };
                self.step(id, step, About::End(reading));
            }
            Report::RecordedElsewhere(id) => {
                if self.tasks.contains_key(&id) {
                    let step = life::Step::Elsewhere(self.writer());
                    self.step(id, step, About::Nothing);
                } else {
                    // Another process started and ended it between two checks; this client must be notified.
                    self.batch.look = true;
                }
            }
            Report::Left(id, left) => {
                self.step_stop(id, stop::Step::Left(left));
                self.answer_left(id);
            }
            Report::Gone(id) => self.step(id, life::Step::Gone, About::Nothing),
            Report::Lost { id, patience } => {
                self.step_supervision(id, supervision::Step::Lost { patience });
            }
            Report::LedgerChanged => self.picture_wanted = true,
            Report::Said => self.said.send_modify(|()| {}),
        }
    }

    /// Starts to track a task that another process started.
    fn found(&mut self, facts: NewTask, pid: Option<u32>, certainty: Certainty) {
        let id = facts.id;
        if self.tasks.contains_key(&id) {
            return;
        }
        let scanner = Scanner::for_task(&facts.watches).unwrap_or_else(|error| {
            tracing::error!("task {id} of another process runs without its watches: {error}");
            None
        });
        let life = if pid.is_some() { Life::Running } else { Life::Accepted };
        let mut live = Live::new(facts, scanner, life);
        live.arm_at = pid.map(|_| Instant::now());
        let may_wait = pid.is_none() && live.facts.waits();
        self.tasks.insert(id, live);
        if let Some(task) = may_wait.then(|| self.task(id)).flatten() {
            self.note_waiting(&task);
        }
        if certainty == Certainty::Exists {
            self.insert_row(id);
        }
        if pid.is_some() {
            self.expect_server(id);
        }
    }

    /// Queues the row of a task that certainly exists.
    fn insert_row(&mut self, id: TaskId) {
        if let Some(live) = self.tasks.get_mut(&id)
            && std::mem::replace(&mut live.row, Row::Sent) == Row::Missing
        {
            self.batch.insert.push(live.facts.clone());
        }
    }

    /// Whether writes to the ledger are in progress or queued.
    fn writer(&self) -> Writer {
        let idle = self.write.is_none() && self.batch.is_empty() && self.scans.is_empty();
        if idle { Writer::Idle } else { Writer::Busy }
    }

    /// Performs one step of a task's life.
    pub(super) fn step(&mut self, id: TaskId, step: life::Step, about: About) {
        let Some(live) = self.tasks.get_mut(&id) else { return };
        let (life, effects) = std::mem::replace(&mut live.life, Life::Over).step(step);
        live.life = life;
        let mut about = about;
        for effect in effects {
            about = self.carry_out(id, effect, about);
        }
        if self.tasks.get(&id).is_some_and(|live| matches!(live.life, Life::Over)) {
            self.tasks.remove(&id);
        }
    }

    fn carry_out(&mut self, id: TaskId, effect: Effect<Reply>, about: About) -> About {
        match effect {
            Effect::Insert => {
                self.insert_row(id);
                self.picture_wanted = true;
            }
            Effect::Answer(reply) => {
                let hold = Hold::new(id, self.signals.clone());
                let live = self.tasks.get(&id);
                let task = match &about {
                    // Nothing has happened yet.
                    About::Nothing if live.is_none_or(|live| !live.facts.waits()) => {
                        live.map(|live| live.facts.to_task())
                    }
                    About::Nothing | About::Pid(_) | About::End(_) | About::Refusal(_) => {
                        self.task(id)
                    }
                };
                if let Some(task) = task {
                    self.note_waiting(&task);
                    let _ = reply.send(Ok(Spawned { task, hold }));
                }
            }
            Effect::Refuse(reply) => {
                if let About::Refusal(error) = about {
                    let _ = reply.send(Err(error));
                    return About::Nothing;
                }
            }
            Effect::TellStarted => self.tell_started(id, &about),
            Effect::Record => {
                if let About::End(reading) = about {
                    self.record(id, *reading);
                    return About::Nothing;
                }
            }
            Effect::Look => self.batch.look = true,
            Effect::GiveUp => {
                if let Some(live) = self.tasks.get(&id) {
                    // If its end is in the ledger after all, the ledger ignores this one.
                    self.batch.finishes.push(super::recovery::traceless(live.facts.clone()));
                }
            }
            Effect::Forget => self.forget(id),
            Effect::PutAway => self.put_away(id),
        }
        about
    }

    /// Reports that the leader of a task runs.
    fn tell_started(&mut self, id: TaskId, about: &About) {
        let pid = match about {
            About::Pid(pid) => *pid,
            About::End(reading) => reading.record().leader_pid,
            About::Nothing | About::Refusal(_) => return,
        };
        let Some(task) = self.task(id) else { return };
        if let Some(live) = self.tasks.get_mut(&id) {
            live.arm_at = Some(Instant::now() + live.round());
        }
        self.expect_server(id);
        self.insert_row(id);
        self.batch.started.push((id, pid));
        self.picture_wanted = true;
        let began = self.tasks.get(&id).filter(|live| live.waited).map(|_| {
            let waited = Timestamp::now().since(task.created_at);
            Event::Began { task: task.clone(), waited }
        });
        self.tell_event(id, Event::Started(task));
        if let Some(began) = began {
            self.tell_event(id, began);
        }
    }

    /// Notes that a client knows that this task waits: the client is notified when the task's turn has come.
    fn note_waiting(&mut self, task: &Task) {
        if let (State::Queued(_), Some(live)) = (&task.state, self.tasks.get_mut(&task.id)) {
            live.waited = true;
        }
    }

    /// Deletes the row of a task that never existed.
    fn forget(&mut self, id: TaskId) {
        self.batch.insert.retain(|new| new.id != id);
        let write = self.store.write(move |ledger| ledger.forget(id));
        drop(write);
    }

    fn put_away(&mut self, id: TaskId) {
        if let Some(live) = self.tasks.get_mut(&id) {
            for waiter in live.stop_waiters.drain(..) {
                let _ = waiter.send(Vec::new());
            }
        }
        self.executor.ask(Request::Settle(id));
    }
}
