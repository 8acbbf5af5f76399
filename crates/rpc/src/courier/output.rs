//! Fetches the output of tasks and sends their input, in pieces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meanwhile_core::background::task::TaskId;
use meanwhile_shim::bell::Kind;
use serde_json::{Value, json};

use super::errand::Errand;
use super::told::Output;
use super::{Courier, FETCH_BYTES, Way, What};

impl Courier {
    pub(super) fn tell_output(&mut self, id: TaskId) {
        if self.errands.get_mut(&id).is_some_and(Errand::rings) {
            self.ring(Kind::Output, id);
        }
    }

    /// Sends the waiting piece of input, if the place has the task.
    pub(super) fn send_input(&mut self, id: TaskId) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        let (Way::Open(_), Some(remote)) = (&self.way, errand.remote.clone()) else { return };
        if let Some(bytes) = errand.writing.as_mut().and_then(|writing| writing.bytes.take()) {
            let data = BASE64.encode(bytes);
            let params = json!({"id": remote, "data": data, "encoding": "base64"});
            self.request(What::Write(id), "task/write", &params);
        }
    }

    /// Sends the end of the input, once the place has received all of it.
    pub(super) fn end_input(&mut self, id: TaskId) {
        let Way::Open(_) = self.way else { return };
        let Some(errand) = self.errands.get_mut(&id) else { return };
        if errand.end_input && errand.writing.is_none() && errand.input_is_empty() {
            let params = json!({"id": errand.remote, "data": "", "eof": true});
            if errand.remote.is_some() {
                // Sent again over each new connection until it is answered.
                errand.end_input = false;
                self.request(What::EndInput(id), "task/write", &params);
            }
        }
    }

    /// Subscribes to the output of a task that a client is reading.
    pub(super) fn follow(&mut self, id: TaskId) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        let Some(remote) = errand.remote.clone() else { return };
        if errand.followed_until.is_some() && !errand.subscribed {
            let params = json!({"id": remote, "offset": errand.total()});
            let subscribed = self.request(What::Nothing, "task/subscribe", &params);
            if let Some(errand) = self.errands.get_mut(&id) {
                errand.subscribed = subscribed;
            }
        }
    }

    /// Fetches the next output of a task from the place.
    pub(super) fn fetch(&mut self, id: TaskId) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        if errand.reading {
            return;
        }
        let looked_at = errand.followed_until.is_some() || errand.end.is_some();
        let limit = if looked_at { FETCH_BYTES.0 } else { FETCH_BYTES.1 };
        let total = errand.total();
        let Some(remote) = errand.remote.clone() else { return self.fetched_what_there_is(id) };
        self.ask_for(id, &remote, total, limit);
    }

    pub(super) fn ask_for(&mut self, id: TaskId, remote: &str, offset: u64, limit: u64) {
        let params = json!({"id": remote, "offset": offset, "limit": limit, "encoding": "base64"});
        let asked = self.request(What::Read(id, offset), "task/read", &params);
        if let Some(errand) = self.errands.get_mut(&id) {
            errand.reading = asked;
        }
        if !asked {
            self.fetched_what_there_is(id);
        }
    }

    pub(super) fn fetched_what_there_is(&mut self, id: TaskId) {
        if let Some(errand) = self.errands.get_mut(&id) {
            errand.count_fetch();
        }
    }

    /// Handles the response to a read of output.
    pub(super) fn read(&mut self, id: TaskId, offset: u64, chunk: &Value) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        errand.reading = false;
        if errand.is_stale() {
            return self.fill(id);
        }
        let Some(data) = bytes_of(chunk) else { return self.fetched_what_there_is(id) };
        let gap = chunk["gap"]["to"].as_u64();
        let from = chunk["offset"].as_u64().or(gap).unwrap_or(offset);
        let next = chunk["nextOffset"].as_u64().unwrap_or(from);
        if errand.ended {
            errand.fill(offset, from, &data, next);
            return match next <= offset {
                true => self.whole(id),
                false => self.fill(id),
            };
        }
        if let Some(gap) = gap {
            errand.skip_to(gap);
        }
        errand.output(from, &data);
        let looked_at = errand.followed_until.is_some() || errand.end.is_some();
        let has_more = !data.is_empty() && chunk["eof"] != true;
        self.tell_output(id);
        if has_more && looked_at {
            return self.fetch(id);
        }
        self.fetched_what_there_is(id);
        if let Some((task, preview)) = self.errands.get_mut(&id).and_then(|it| it.end.take()) {
            // Its watches can be matched now.
            self.end(id, &task, &preview, Output::Fetched);
            self.drain();
        }
    }

    /// Handles the error of a read of output.
    pub(super) fn unreadable(&mut self, id: TaskId, error: &Value) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        errand.reading = false;
        if errand.is_stale() {
            return self.fill(id);
        }
        match errand.ended {
            true if error["code"] == 1001 => self.whole(id),
            _ => self.fetched_what_there_is(id),
        }
        if let Some((task, preview)) = self.errands.get_mut(&id).and_then(|it| it.end.take()) {
            self.end(id, &task, &preview, Output::Fetched);
        }
    }

    /// Fetches the next missing range of an ended task's output.
    pub(super) fn fill(&mut self, id: TaskId) {
        let Some(errand) = self.errands.get(&id).filter(|it| it.ended && !it.reading) else {
            return;
        };
        match (errand.missing(), errand.remote.clone()) {
            (Some(range), Some(remote)) => {
                if let Way::Open(_) = self.way {
                    let limit = (range.end - range.start).min(FETCH_BYTES.0);
                    self.ask_for(id, &remote, range.start, limit);
                }
            }
            (None, _) | (_, None) => self.whole(id),
        }
    }

    /// Finishes an ended task, whose output was fetched as far as possible.
    pub(super) fn whole(&mut self, id: TaskId) {
        if let Some(errand) = self.errands.get_mut(&id) {
            errand.whole();
            if let (Way::Open(link), Some(remote)) = (&mut self.way, &errand.remote) {
                link.forget(remote);
            }
        }
        self.drop_errand(id);
    }
}

/// The bytes of a piece of output, which may be text or base64.
pub(super) fn bytes_of(chunk: &Value) -> Option<Vec<u8>> {
    let data = chunk["data"].as_str()?;
    match chunk["encoding"].as_str() {
        Some("base64") => BASE64.decode(data).ok(),
        _ => Some(data.as_bytes().to_vec()),
    }
}
