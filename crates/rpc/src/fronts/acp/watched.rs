//! Sessions that a client loads while another process has them open: they are watched. Once that process has closed
//! one, the next prompt opens it.
//!
//! Refusing them, as other methods do, would hide from a person the session that is at work; and ACP has no read-only
//! sessions.

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

    /// Removes a session. Returns whether it was watched.
    pub(super) fn forget(&self, session: &str) -> bool {
        self.lock().remove(session).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        // A panic under the lock leaves the map consistent: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the error says that another process has the session open.
pub(super) fn is_held(error: &Error) -> bool {
    error.data.as_ref().is_some_and(|data| data["limit"] == "sessionHolders")
}

/// The text for a person about the state of a watched session; `None` if there is nothing new to say.
pub(super) fn told(watched: &Watched) -> Option<String> {
    let is_known = watched.holder == Holder::Open && watched.asks.is_empty();
    (!is_known).then(|| begun(watched))
}

/// The first text for a person about a watched session.
pub(super) fn begun(watched: &Watched) -> String {
    format!("{}\n", watched.says)
}
