//! Sessions that a client loads and another process has open: they are watched, and the first prompt opens one once
//! that process has let it go.
//!
//! To refuse them, as other methods do, would hide from a person the very session that works; and a client of ACP has
//! no word for a session that is only to be read.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::wire::{Error, Holder, Watched};

/// The parameters with which each was loaded.
#[derive(Debug, Default)]
pub(super) struct Loads(Mutex<HashMap<String, Value>>);

impl Loads {
    pub(super) fn keep(&self, session: &str, params: Value) {
        self.lock().insert(session.to_owned(), params);
    }

    pub(super) fn of(&self, session: &str) -> Option<Value> {
        self.lock().get(session).cloned()
    }

    /// Returns whether it was watched.
    pub(super) fn forget(&self, session: &str) -> bool {
        self.lock().remove(session).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        // A panic under the lock leaves a map that is whole: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another process has the session open.
pub(super) fn is_held(error: &Error) -> bool {
    error.data.as_ref().is_some_and(|data| data["limit"] == "sessionHolders")
}

/// What a person is told of a session that is watched; `None`: what they see already.
pub(super) fn told(watched: &Watched) -> Option<String> {
    let pid = watched.pid.unwrap_or_default();
    let here = "The next prompt goes on with it here.";
    let text = match (watched.holder, &*watched.asks) {
        (Holder::Open, []) => return None,
        (Holder::Open, asks) => {
            let asked =
                asks.iter().map(|it| format!("may the agent {}? ({})", it.question, it.why));
            format!(
                "It is asked in process {pid}, and to be answered there: {}",
                asked.collect::<Vec<_>>().join("; ")
            )
        }
        (Holder::Closed, _) => format!("The session was closed in the other process. {here}"),
        (Holder::Gone, _) => {
            format!("Process {pid} ended without closing the session, and its turn with it. {here}")
        }
        (Holder::Deleted, _) => "The session was deleted in another process.".to_owned(),
    };
    Some(format!("{text}\n"))
}

/// What a person is told first.
pub(super) fn begun(watched: &Watched) -> String {
    let pid = watched.pid.unwrap_or_default();
    let asks = told(watched).unwrap_or_default();
    format!(
        "Process {pid} has this session open: what is said there is shown here. A prompt goes on with it here once \
         it is closed there.\n{asks}"
    )
}
