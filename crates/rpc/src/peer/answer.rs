//! What a handler returns, and what happens after its reply.
//!
//! Two guarantees of the protocol depend on the order of a reply and something else: a task's pushes follow the reply
//! that names it, and what a drain returned is acknowledged after the client has it. A handler cannot do either,
//! because it ends before its reply is sent. So it returns the follow-up actions, and the connection performs them.

use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Hold, Lease};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{OwnedRwLockReadGuard, oneshot};

use super::client::Client;
use super::outbox::Mark;
use crate::convert::error;
use crate::wire::{Error, ProgressToken};

/// A result, and the actions that follow its reply.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// The result to send to the client.
    pub(crate) result: T,
    /// The actions after the reply. If the reply fails, they are dropped: a hold is released, a lease is given back.
    pub(crate) after: Vec<After>,
}

impl<T> From<T> for Answer<T> {
    fn from(result: T) -> Self {
        Self { result, after: Vec::new() }
    }
}

impl<T: Serialize> Answer<T> {
    /// Serializes the result to JSON.
    ///
    /// # Errors
    ///
    /// -32603 if the result cannot be serialized; the follow-up actions are then dropped.
    pub(crate) fn written(self) -> Result<Answer<Value>, Error> {
        let Self { result, after } = self;
        let result = serde_json::to_value(result).map_err(|why| {
            tracing::error!(%why, "a result cannot be written");
            error::internal()
        })?;
        Ok(Answer { result, after })
    }
}

/// An action that follows a reply.
#[derive(Debug)]
pub(crate) enum After {
    /// Once the reply is queued: start to report the task's progress.
    Follow(Follow),
    /// Once the reply is queued: let the task's pushes through.
    Release(Hold),
    /// Once the reply is queued: let the pushes of output through.
    Flow(OwnedRwLockReadGuard<()>),
    /// Once the reply is queued: let a session's updates through, by dropping the sender.
    Begin(oneshot::Sender<()>),
    /// Once the reply is written: acknowledge the lease.
    Ack(Box<Lease>),
}

/// Performs the actions after a successful reply.
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

/// Characters of a command or label in a title, because editors show one short line.
const TITLE_CHARS: usize = 80;

/// A request to show a task's progress.
#[derive(Debug)]
pub(crate) struct Follow {
    /// The id of the spawned task.
    pub(crate) task: TaskId,
    /// The title to show.
    pub(crate) title: String,
    /// The client's token; if it is `None`, the server creates one and announces it to the client.
    pub(crate) token: Option<ProgressToken>,
}

impl Follow {
    /// The request for this task; `None` if the task has ended.
    pub(crate) fn new(task: &Task, token: Option<ProgressToken>) -> Option<Self> {
        if task.end().is_some() {
            return None;
        }
        let title = task.label.as_ref().unwrap_or(&task.command);
        let line = title.lines().next().unwrap_or_default();
        Some(Self { task: task.id, title: line.chars().take(TITLE_CHARS).collect(), token })
    }
}
