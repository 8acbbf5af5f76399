//! Checks the ports that tasks listen on, and reports changes.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use crate::background::executor::Request;
use crate::background::live::Live;
use crate::background::live::server::START_ROUND;
use crate::background::task::{Port, TaskId};
use crate::background::{Event, Role};

/// A task whose check is due this soon is checked together with the others.
const COMPANY: Duration = Duration::from_millis(50);
/// How many tasks are checked between two events. Finding the sockets of a task for the first time takes some
/// 0.2 ms, and no request should wait for a thousand of them; the rest are checked after the next event.
const LOOKS_AT_ONCE: usize = 16;

impl Supervisor {
    /// Checks the tasks whose check is due. A short-lived command only checks on request.
    pub(super) fn look_at_ports(&mut self, now: Instant) {
        if self.role == Role::Visitor || self.ports_at.is_none_or(|at| now < at) {
            return;
        }
        self.waiters.retain(|waiter| !waiter.done.is_closed());
        let waited: HashSet<TaskId> =
            self.waiters.iter().flat_map(|waiter| waiter.ids.iter().copied()).collect();
        let next = |id: &TaskId, live: &Live| live.next_look(now, waited.contains(id));
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now + COMPANY);
        let due = self.tasks.iter().map(|(id, live)| (next(id, live), *id));
        let mut due: Vec<_> = due.filter(|(at, _)| is_due(*at)).collect();
        due.sort_unstable();
        self.look(due.into_iter().map(|(_, id)| id).collect());
        let next = |id: &TaskId, live: &Live| live.next_look(now, waited.contains(id));
        self.ports_at = self.tasks.iter().filter_map(|(id, live)| next(id, live)).min();
    }

    /// Schedules the next check for this time or earlier.
    pub(super) fn expect_ports(&mut self, by: Instant) {
        self.ports_at = Some(self.ports_at.map_or(by, |at| at.min(by)));
    }

    /// Schedules checks for a task whose leader has just started.
    pub(super) fn expect_server(&mut self, id: TaskId) {
        let now = Instant::now();
        if let Some(live) = self.tasks.get_mut(&id) {
            live.server.started(now);
            self.expect_ports(now + START_ROUND);
        }
    }

    /// Schedules a check for a task that wrote output, as servers do when they start to listen.
    pub(super) fn expect_words(&mut self, id: TaskId) {
        if let Some(live) = self.tasks.get_mut(&id).filter(|live| !live.server.is_ready()) {
            live.server.wrote();
            self.expect_ports(Instant::now() + START_ROUND);
        }
    }

    /// Checks those of these tasks whose last check is too old for a client's request.
    pub(super) fn refresh_ports(&mut self, ids: impl IntoIterator<Item = TaskId>) {
        let now = Instant::now();
        let is_stale = |id: &TaskId| {
            let live = self.tasks.get(id);
            live.is_some_and(|live| live.life.may_write() && live.server.is_stale(now))
        };
        let stale: Vec<TaskId> = ids.into_iter().filter(is_stale).collect();
        if self.role == Role::Visitor {
            for id in &stale {
                if self.tasks.get(id).is_some_and(Live::is_watched) {
                    self.output(*id);
                }
            }
        }
        self.look(stale);
    }

    fn look(&mut self, mut ids: Vec<TaskId>) {
        // A short-lived command has no later occasion.
        if self.role == Role::Daemon {
            ids.truncate(LOOKS_AT_ONCE);
        }
        if !ids.is_empty() {
            self.executor.ask(Request::Look(ids));
            self.take_reports();
        }
    }

    /// Handles the result of a check.
    pub(super) fn ports_found(&mut self, found: Vec<(TaskId, Vec<Port>)>) {
        let now = Instant::now();
        for (id, ports) in found {
            if self.tasks.get_mut(&id).is_some_and(|live| live.server.found(&ports, now)) {
                self.tell_serving(id);
            }
        }
    }

    /// Handles a match of a task's watch.
    pub(super) fn watch_matched(&mut self, id: TaskId) {
        if self.tasks.get_mut(&id).is_some_and(|live| live.server.matched()) {
            self.tell_serving(id);
        }
    }

    fn tell_serving(&mut self, id: TaskId) {
        if let Some(live) = self.tasks.get(&id) {
            let serving = live.serving();
            self.tell_event(id, Event::Listening { id, serving });
        }
    }
}
