//! What a handler answers, and what is to follow its reply.
//!
//! Two guarantees of the protocol hang on the order of a reply and something else: a task's pushes
//! come after the reply that names it, and what a drain returned is acknowledged once the client has
//! it. A handler can do neither, because it ends before its reply is sent; so it says what is to
//! follow, and the connection does it.

use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Hold, Lease};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{OwnedRwLockReadGuard, oneshot};

use super::client::Client;
use super::outbox::Mark;
use crate::convert::error;
use crate::wire::{Error, ProgressToken};

/// A result, and what is to follow it.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// What the client is told.
    pub(crate) result: T,
    /// What is done once it is told. A reply that fails drops it: a hold is released, a lease is
    /// given back.
    pub(crate) after: Vec<After>,
}

impl<T> From<T> for Answer<T> {
    fn from(result: T) -> Self {
        Self { result, after: Vec::new() }
    }
}

impl<T: Serialize> Answer<T> {
    /// With the result as JSON.
    ///
    /// # Errors
    ///
    /// -32603: the result cannot be written, which drops what was to follow.
    pub(crate) fn written(self) -> Result<Answer<Value>, Error> {
        let Self { result, after } = self;
        let result = serde_json::to_value(result).map_err(|why| {
            tracing::error!(%why, "a result cannot be written");
            error::internal()
        })?;
        Ok(Answer { result, after })
    }
}

/// What is to follow a reply.
#[derive(Debug)]
pub(crate) enum After {
    /// Once the reply is queued: report the task's progress.
    Follow(Follow),
    /// Once the reply is queued: let the task's pushes flow.
    Release(Hold),
    /// Once the reply is queued: let the pushes of output flow.
    Flow(OwnedRwLockReadGuard<()>),
    /// Once the reply is queued: let a session's updates flow, by its end.
    Begin(oneshot::Sender<()>),
    /// Once the reply is written: acknowledge.
    Ack(Box<Lease>),
}

/// Does what was to follow, after a reply that succeeded.
pub(super) fn run(after: Vec<After>, reply: Mark, client: &Client) {
    for action in after {
        match action {
            After::Follow(follow) => client.follow(follow),
            After::Release(hold) => drop(hold),
            After::Flow(held) => drop(held),
            After::Begin(replied) => drop(replied),
            After::Ack(lease) => client.outbox().when_written(reply, *lease),
        }
    }
}

/// Characters of a command or label in a title; editors show one short line.
const TITLE_CHARS: usize = 80;

/// A wish to show a task's progress.
#[derive(Debug)]
pub(crate) struct Follow {
    /// The task, as it was spawned.
    pub(crate) task: TaskId,
    /// What to call it.
    pub(crate) title: String,
    /// The client's token; without one the client is asked to make the server's.
    pub(crate) token: Option<ProgressToken>,
}

impl Follow {
    /// The wish for a task that has not ended.
    pub(crate) fn new(task: &Task, token: Option<ProgressToken>) -> Option<Self> {
        if task.end().is_some() {
            return None;
        }
        let title = task.label.as_ref().unwrap_or(&task.command);
        let line = title.lines().next().unwrap_or_default();
        Some(Self { task: task.id, title: line.chars().take(TITLE_CHARS).collect(), token })
    }
}
