//! From the place to the records of tasks: handles its responses and notifications.

use std::collections::BTreeSet;

use meanwhile_core::background::task::{TaskId, Timestamp};
use meanwhile_shim::bell::Kind;
use meanwhile_shim::place::Contact;
use meanwhile_shim::record::{self, Actor, Cause, Outcome};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::errand::Errand;
use super::output::bytes_of;
use super::{BACK_OFF, Courier, DRAIN, FOLLOWED, Way, What, ends, refusal};

/// Whether the output of a task that has ended was fetched for its watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// It was not fetched for them.
    AsItIs,
    /// It was fetched as far as possible.
    Fetched,
}

impl Courier {
    pub(super) fn answered(&mut self, what: What, outcome: Result<Value, Value>) {
        match (what, outcome) {
            (What::Initialize, Ok(result)) => self.opened(&result),
            (What::Initialize, Err(error)) => self.lost(refusal(&error)),
            (What::Spawn(id), Ok(result)) => self.spawned(id, &result["task"]),
            (What::Spawn(id), Err(error)) => self.refused(id, &error),
            (What::Check(id), Ok(result)) => self.standing(id, &result["task"]),
            (What::Check(id), Err(error)) if error["code"] == 1001 => self.unknown(id),
            (What::Picture, Ok(result)) => self.picture(&result["tasks"]),
            (What::Drain, Ok(result)) => self.drained(&result),
            (What::Read(id, offset), Ok(chunk)) => self.read(id, offset, &chunk),
            (What::Read(id, _), Err(error)) => self.unreadable(id, &error),
            (What::Write(id), _) => {
                if let Some(errand) = self.errands.get_mut(&id) {
                    errand.writing = None;
                    self.end_input(id);
                }
            }
            (What::EndInput(id), _) => {
                if let Some(errand) = self.errands.get_mut(&id) {
                    errand.note_end_input(false);
                }
            }
            (What::Stop(id), _) => {
                if let Some(errand) = self.errands.get_mut(&id) {
                    errand.stop.take_if(|stop| stop.sent);
                }
            }
            (What::Sources(id), outcome) => self.compared(id, outcome),
            (What::Picture, Err(_)) => self.asked_at = None,
            (What::Check(_) | What::Drain | What::Nothing, _) => {}
        }
    }

    /// Handles the response to `initialize`: the place is connected.
    pub(super) fn opened(&mut self, result: &Value) {
        let way = std::mem::replace(&mut self.way, Way::Closed { again_at: Instant::now() });
        let Way::Opening(link) = way else { return };
        let store =
            result["capabilities"]["experimental"]["meanwhile"]["store"].as_str().unwrap_or("");
        let known = Contact::read(&self.state, &self.name).unwrap_or_default().store;
        let is_other = !known.is_empty() && known != store;
        if is_other && self.errands.values().any(|errand| errand.sent && !errand.ended) {
            drop(link);
            return self.lost(format!(
                "a different store answers than the one that has the tasks: `{}` is another machine now, or its state \
                 directory was deleted; `meanwhile place add` accepts the new store, and tasks unknown to it are lost",
                self.name
            ));
        }
        let store = store.to_owned();
        link.greeted();
        self.way = Way::Open(link);
        (self.asked_at, self.back_off) = (None, BACK_OFF.0);
        let version = result["serverInfo"]["version"].as_str().unwrap_or("?").to_owned();
        self.note(Contact { version, store, ..Contact::default() });
        for id in self.errands.keys().copied().collect::<Vec<_>>() {
            self.go_on(id);
        }
        self.drain();
        // Ended tasks that were given up when the previous connection closed.
        self.find_unfinished();
        let at = Timestamp::now();
        if let (Ok(needed), Way::Open(link)) = (self.needed(), &mut self.way) {
            link.keep(&self.installation, &needed, at);
        }
    }

    pub(super) fn drain(&mut self) {
        let params = json!({"queue": self.queue(), "max": DRAIN, "ack": "manual"});
        self.request(What::Drain, "task/drain", &params);
    }

    /// Records the notifications of the place, and then acknowledges them there.
    pub(super) fn drained(&mut self, result: &Value) {
        let (mut through, mut is_waiting) = (None, false);
        for notification in result["notifications"].as_array().into_iter().flatten() {
            let remote = notification["task"]["id"].as_str().unwrap_or_default();
            let is_known = self.there.contains_key(remote);
            let may_be_ours = self.errands.values().any(|it| it.sent && it.remote.is_none());
            if !is_known && may_be_ours {
                // The notification may be about a task whose spawn has not been answered yet.
                break;
            }
            // An end that waits here is not acknowledged, so what is behind it comes again. Ends need not wait for it.
            if is_waiting && notification["kind"] != "exited" {
                continue;
            }
            self.told(notification);
            let waits = self.there.get(remote).and_then(|id| self.errands.get(id));
            is_waiting |= waits.is_some_and(|errand| !errand.ended && errand.end.is_some());
            if !is_waiting {
                through = notification["seq"].as_u64();
            }
        }
        if let Some(through) = through {
            let params = json!({"queue": self.queue(), "through": through});
            self.request(What::Nothing, "task/ack", &params);
            if result["remaining"].as_u64().unwrap_or(0) > 0 {
                return self.drain();
            }
        }
        // Tasks that have ended there, but whose notification went to another reader or was removed.
        let is_untold = |it: &&Errand| !it.ended && it.end.is_some() && !it.reading;
        let untold = self.errands.values().filter(is_untold).map(|it| it.id);
        for id in untold.collect::<Vec<_>>() {
            if let Some((task, preview)) = self.errands.get_mut(&id).and_then(|it| it.end.take()) {
                self.end(id, &task, &preview, Output::AsItIs);
            }
        }
    }

    /// Handles one notification of a task.
    pub(super) fn told(&mut self, notification: &Value) {
        let remote = notification["task"]["id"].as_str().unwrap_or_default();
        let Some(id) = self.there.get(remote).copied() else { return };
        match notification["kind"].as_str() {
            Some("exited") => {
                self.end(id, &notification["task"], &notification["preview"], Output::AsItIs)
            }
            Some("stalled") => {
                let errand = self.errands.get_mut(&id).filter(|it| !it.ended);
                if errand.is_some_and(|errand| errand.note_stalled(true)) {
                    self.ring(Kind::Stalled, id);
                }
            }
            // Watches are matched on this machine, in the output that is fetched.
            _ => {}
        }
    }

    pub(super) fn pushed(&mut self, method: &str, params: &Value) {
        match method {
            "task/started" => {
                if let Some(id) = self.there.get(params["task"]["id"].as_str().unwrap_or_default())
                {
                    self.standing(*id, &params["task"]);
                }
            }
            "task/output" => {
                let Some(id) = self.there.get(params["id"].as_str().unwrap_or_default()) else {
                    return;
                };
                let (id, offset) = (*id, params["offset"].as_u64().unwrap_or(0));
                let Some(data) = bytes_of(params) else { return };
                let Some(errand) = self.errands.get_mut(&id).filter(|it| !it.ended) else { return };
                let is_whole = errand.output(offset, &data);
                if errand.note_stalled(false) {
                    self.ring(Kind::Changed, id);
                }
                if !is_whole {
                    self.fetch(id);
                }
                self.tell_output(id);
            }
            "task/notified" | "task/exited" => {
                let remote = params["notification"]["task"]["id"].as_str().unwrap_or_default();
                if self.there.contains_key(remote) {
                    self.told(&params["notification"]);
                    self.drain();
                }
            }
            _ => {}
        }
    }

    /// Handles the response to a spawn: the place has accepted the task.
    pub(super) fn spawned(&mut self, id: TaskId, task: &Value) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        let Some(remote) = task["id"].as_str() else { return };
        errand.note_remote(remote);
        self.there.insert(remote.to_owned(), id);
        self.standing(id, task);
        self.drain();
    }

    /// Records the state of a task at the place, and sends what waits for it.
    pub(super) fn standing(&mut self, id: TaskId, task: &Value) {
        self.note_engine(id, &task["place"], &task["queued"]["reason"]["why"]);
        let Some(errand) = self.errands.get_mut(&id).filter(|errand| !errand.ended) else { return };
        errand.there = errand.there.max(task["output"]["total"].as_u64().unwrap_or(0));
        if let Some(pid) = pid_of(task).filter(|_| !errand.started) {
            errand.started = true;
            errand.sheet.leader(pid, 0);
            if let Some(cause) = errand.stop.as_ref().map(|stop| stop.cause.clone()) {
                errand.sheet.stopping(&cause);
            }
            self.ring(Kind::Started, id);
        }
        let went_on = task["waitsForInput"] != true
            && self.errands.get_mut(&id).is_some_and(|errand| errand.note_stalled(false));
        if went_on {
            self.ring(Kind::Changed, id);
        }
        let Some(errand) = self.errands.get_mut(&id) else { return };
        if !errand.spec.watches.is_empty() {
            errand.followed_until = Some(Instant::now() + FOLLOWED);
        }
        if task["state"] == "stopping" {
            // The place is stopping the task already, with the original grace period.
            errand.stop.take_if(|stop| stop.inherited);
        }
        match task["state"].as_str() {
            Some("queued" | "running" | "stopping") => {
                self.send_stop(id);
                self.follow(id);
                self.send_input(id);
                self.end_input(id);
            }
            Some("exited" | "stopped" | "timedOut" | "lost") => {
                // Its notification has the preview too, and is fetched next.
                let preview = errand.end.take().map_or(Value::Null, |(_, preview)| preview);
                errand.end = Some((task.clone(), preview));
                self.drain();
            }
            _ => {}
        }
    }

    /// Records the batch system's job of a task, and why it waits.
    fn note_engine(&mut self, id: TaskId, place: &Value, why: &Value) {
        let Some(errand) = self.errands.get_mut(&id).filter(|errand| !errand.ended) else { return };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let engine = record::Engine {
            name: text(&place["engine"]),
            job: text(&place["job"]),
            node: text(&place["node"]),
            reason: text(why),
            sources: String::new(),
        };
        if (place.is_object() || why.is_string()) && errand.note_engine(engine) {
            self.ring(Kind::Changed, id);
        }
    }

    /// Handles the error of a spawn.
    pub(super) fn refused(&mut self, id: TaskId, error: &Value) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        let passes = matches!(error["code"].as_i64(), Some(1003 | 1005 | -32000 | -32603));
        let message = error["message"].as_str().unwrap_or("it was refused");
        if passes {
            // After a limit or a full disk the spawn is sent again; because of its token the task runs once.
            tracing::warn!("the place has not accepted task {id} yet: {message}");
            return self.note_engine(id, &Value::Null, &json!(message));
        }
        let message = format!("{}: {message}", self.name);
        let (outcome, cause) = match errand.stop.take() {
            Some(stop) => (Outcome::Stopped, stop.cause),
            None => (Outcome::Exited, Cause { actor: Actor::Daemon, message }),
        };
        self.finish(id, &ends::unheard(outcome, cause, 0), &[]);
    }

    /// Ends a task that the place had accepted and no longer knows.
    pub(super) fn unknown(&mut self, id: TaskId) {
        self.give_up_comparing(id, "the place no longer knows the task");
        let Some(errand) = self.errands.get_mut(&id) else { return };
        let total = errand.total();
        let message = format!("place `{}` no longer knows the task", self.name);
        let cause = Cause { actor: Actor::Daemon, message };
        self.finish(id, &ends::unheard(Outcome::Lost, cause, total), &[]);
    }

    /// Handles the list of running tasks; a task that is missing from it has ended.
    pub(super) fn picture(&mut self, tasks: &Value) {
        self.asked_at = None;
        let mut seen = BTreeSet::new();
        for task in tasks.as_array().into_iter().flatten() {
            let Some(remote) = task["id"].as_str() else { continue };
            let Some(id) = self.there.get(remote).copied() else { continue };
            seen.insert(id);
            self.standing(id, task);
            let lags = |it: &Errand| !it.ended && it.there > it.total();
            if self.errands.get(&id).is_some_and(lags) {
                self.fetch(id);
            }
        }
        let unseen = self.errands.values().filter(|it| !it.ended && !seen.contains(&it.id));
        let unsure =
            unseen.filter(|it| !self.pending.values().any(|what| *what == What::Spawn(it.id)));
        for id in unsure.map(|it| it.id).collect::<Vec<_>>() {
            self.go_on(id);
        }
    }

    /// Records the end of a task as the place reports it, after fetching output that a watch may match.
    pub(super) fn end(&mut self, id: TaskId, task: &Value, preview: &Value, output: Output) {
        if self.errands.get(&id).is_none_or(|errand| errand.ended) {
            return;
        }
        let Some(mut end) = ends::of(task) else { return };
        self.note_engine(id, &task["place"], &Value::Null);
        let Some(errand) = self.errands.get_mut(&id) else { return };
        let text = |member: &str| preview[member].as_str().unwrap_or_default();
        let omitted = preview["omitted"].as_u64().unwrap_or(0);
        let known = ends::exact(text("head"), text("tail"), omitted, end.total);
        errand.output(0, &known);
        if errand.to_compare().is_some() {
            // The warning belongs to the end, so the end waits for the answer about the sources.
            errand.end = Some((task.clone(), preview.clone()));
            return;
        }
        let may_match = errand.total() < end.total && !errand.spec.watches.is_empty();
        if may_match && output == Output::AsItIs {
            errand.end = Some((task.clone(), preview.clone()));
            return self.fetch(id);
        }
        let ordered = errand.sheet_stop();
        if let (Outcome::Stopped, Some(cause)) = (end.outcome, ordered) {
            end.cause = Some(cause);
        }
        if let Some(pid) = pid_of(task).filter(|_| !errand.started) {
            errand.started = true;
            errand.sheet.leader(pid, 0);
        }
        let last = if omitted == 0 {
            text("head").to_owned() + text("tail")
        } else {
            text("tail").to_owned()
        };
        self.finish(id, &end, last.as_bytes());
    }

    pub(super) fn finish(&mut self, id: TaskId, end: &record::End, last: &[u8]) {
        // A response may arrive after the end was recorded: the first end stays.
        let Some(errand) = self.errands.get_mut(&id).filter(|errand| !errand.ended) else { return };
        errand.finish(end, last);
        self.ended.insert(id);
        self.ring(Kind::Ended, id);
        self.fill(id);
    }
}

/// The pid of a task's leader, on the place's machine.
fn pid_of(task: &Value) -> Option<u32> {
    task["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
}
