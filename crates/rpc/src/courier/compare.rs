//! Compares the sources of a task at its place with those here at its spawn (`check = "git"` of the place).

use meanwhile_core::background::sources::Sources;
use meanwhile_core::background::task::TaskId;
use meanwhile_shim::bell::Kind;
use meanwhile_shim::record::SAME;
use serde_json::{Value, json};

use super::told::Output;
use super::{Courier, What, tasks};

/// The code of JSON-RPC 2.0 for a method that the server does not have.
const METHOD_NOT_FOUND: i64 = -32601;

impl Courier {
    /// Asks the place for the state of its sources, if it is to be compared.
    pub(super) fn compare(&mut self, id: TaskId) {
        let Some(errand) = self.errands.get(&id) else { return };
        let is_asked = || self.pending.values().any(|what| *what == What::Sources(id));
        if errand.to_compare().is_some() && !is_asked() {
            let params = json!({"cwd": tasks::cwd(&errand.spec)});
            self.request(What::Sources(id), "workspace/sources", &params);
        }
    }

    /// Records an end that waits for the comparison, without it.
    pub(super) fn give_up_comparing(&mut self, id: TaskId, why: &str) {
        if self.errands.get(&id).is_some_and(|errand| errand.end.is_some()) {
            self.compared(id, Err(json!({"message": why})));
        }
    }

    /// Records how the sources differ, or why that is not known, and an end that waited for this.
    pub(super) fn compared(&mut self, id: TaskId, outcome: Result<Value, Value>) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        let Some(here) = errand.to_compare() else { return };
        let unknown = |why: &str| format!("the sources could not be compared: {why}");
        let here = serde_json::from_str::<Sources>(here);
        let sources = match outcome.map(serde_json::from_value::<Sources>) {
            Ok(there) => match (here, there) {
                (Ok(here), Ok(there)) => here.differs(&there).unwrap_or_else(|| SAME.to_owned()),
                (Err(error), _) | (_, Err(error)) => unknown(&error.to_string()),
            },
            Err(error) if error["code"] == METHOD_NOT_FOUND => {
                unknown("`meanwhile` is older there")
            }
            Err(error) => unknown(error["message"].as_str().unwrap_or("no reason was given")),
        };
        if errand.note_sources(sources) {
            self.ring(Kind::Changed, id);
        }
        let waits = self.errands.get_mut(&id).and_then(|errand| errand.end.take());
        if let Some((task, preview)) = waits {
            self.end(id, &task, &preview, Output::AsItIs);
            self.drain();
        }
    }
}
