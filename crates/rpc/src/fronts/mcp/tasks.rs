//! The Tasks extension: the tasks of this program as MCP's, by their own ids, in any session and after any restart.

use meanwhile_core::Error;
use meanwhile_core::agent::notice;
use meanwhile_core::background::task::{Actor, Cause, End, Outcome, State, Task, TaskId};
use meanwhile_core::background::{Stop, words};
use meanwhile_core::limits;
use rmcp::model::{
    self, CallToolResult, ContentBlock, DetailedTask, ErrorData, JsonObject, TaskPayload,
    TaskStatus,
};
use serde_json::Value;

use super::bridge::Afters;
use super::place::Places;
use super::told;
use crate::convert::{error, to_wire};
use crate::peer::After;

/// How often a client should poll. A poll reads the ledger and calls no model.
const POLL_MS: u64 = 1_000;

/// The cause of a task's end if its client cancelled it.
const CANCELLED: &str = "tasks/cancel";

/// A task whose end is not known yet.
pub(super) fn seed(task: &Task) -> model::Task {
    let created = to_wire::time(task.created_at).0;
    let updated = task.end().map_or_else(|| created.clone(), |end| to_wire::time(end.at).0);
    let said = match &task.state {
        State::Queued(why) => {
            let command = words::one_line(&task.command);
            format!("queued, {}: {command}", words::queued(why))
        }
        State::Running => format!("runs: {}", words::one_line(&task.command)),
        State::Stopping { .. } => format!("is being stopped: {}", words::one_line(&task.command)),
        State::Ended(_) => words::ended(task),
    };
    // Without a time to live: a setting of the store says how long an ended task is kept.
    model::Task::new(task.id.to_string(), TaskStatus::Working, created, updated)
        .with_status_message(words::shorten(&said, 200))
        .with_poll_interval_ms(POLL_MS)
}

/// Handles `tasks/get`: returns the current state of a task.
pub(super) async fn get(
    places: &Places,
    meta: &JsonObject,
    id: &str,
    after: &Afters,
) -> Result<DetailedTask, ErrorData> {
    let id = read(id)?;
    let place = places.of(Some(meta)).await.map_err(|why| refused(&why))?;
    let background = places.of_task(id).await.map_err(|why| refused(&why))?;
    let task = background.get(id).await.map_err(|why| refused(&why))?;
    let ended = match task.end() {
        None => None,
        Some(_) => background.exited(id).await.map_err(|why| refused(&why))?,
    };
    let Some(end) = ended else {
        return Ok(DetailedTask::new(seed(&task), TaskPayload::Working));
    };
    // A later reply tells the model about a task that its client cancelled.
    if task.end().is_some_and(is_cancelled) {
        return Ok(DetailedTask::new(seed(&task), TaskPayload::Cancelled));
    }
    let is_own = task.queue == place.queue;
    let claimed = match is_own {
        true => background.claim_end(id).await.map_err(|why| refused(&why))?,
        false => None,
    };
    let text = match claimed {
        // It is shown here, and stays in the queue of the session that it belongs to.
        None if !is_own => notice::block(&[end], told::style(1)),
        Some(lease) => {
            after.push(After::Ack(Box::new(lease)));
            notice::block(&[end], told::style(1))
        }
        // A hook or another reply has reported it: reporting it twice would look like two results.
        None => format!("[bg:{id}] {}; its result was told before", words::ended(&task)),
    };
    // A failed command is an ordinary result: hosts show only one line of an error.
    let result = CallToolResult::success(vec![ContentBlock::text(text)]);
    let Ok(Value::Object(result)) = serde_json::to_value(result) else {
        return Err(ErrorData::internal_error("a result cannot be written", None));
    };
    let result: JsonObject = result;
    Ok(DetailedTask::new(seed(&task), TaskPayload::Completed { result }))
}

/// Handles `tasks/cancel`: stops the task with all its processes. A task that has ended is not changed.
pub(super) async fn cancel(places: &Places, meta: &JsonObject, id: &str) -> Result<(), ErrorData> {
    let id = read(id)?;
    let place = places.of(Some(meta)).await.map_err(|why| refused(&why))?;
    let background = places.of_task(id).await.map_err(|why| refused(&why))?;
    let task = background.get(id).await.map_err(|why| refused(&why))?;
    if task.queue != place.queue {
        let message = format!("`taskId`: task `{id}` is not of this session");
        return Err(ErrorData::invalid_params(message, None));
    }
    match background.stop(id, stopping(CANCELLED)).await {
        Ok(_) | Err(Error::NotRunning { .. }) => Ok(()),
        Err(why) => Err(refused(&why)),
    }
}

/// Handles `tasks/update`, which does nothing, because these tasks never ask for input.
pub(super) async fn update(places: &Places, id: &str) -> Result<(), ErrorData> {
    places.of_task(read(id)?).await.map(|_| ()).map_err(|why| refused(&why))
}

/// How a host's model or client stops a task.
pub(super) fn stopping(why: &str) -> Stop {
    let cause = Cause { actor: Actor::Agent, message: why.to_owned() };
    Stop { signal: libc::SIGTERM, grace: limits::STOP_GRACE, cause }
}

fn is_cancelled(end: &End) -> bool {
    end.outcome == Outcome::Stopped
        && end.cause.as_ref().is_some_and(|cause| cause.message == CANCELLED)
}

fn read(id: &str) -> Result<TaskId, ErrorData> {
    id.parse().map_err(|why| ErrorData::invalid_params(format!("`taskId`: {why}"), None))
}

/// Converts an error; the extension requires -32602 for a task that does not exist.
fn refused(why: &Error) -> ErrorData {
    match why {
        Error::UnknownTask(id) => {
            ErrorData::invalid_params(format!("`taskId`: there is no task `{id}`"), None)
        }
        Error::Invalid { .. } => ErrorData::invalid_params(error::from_core(why).message, None),
        Error::SpawnFailed { .. }
        | Error::LimitReached { .. }
        | Error::NotRunning { .. }
        | Error::StoreUnavailable(_)
        | Error::CannotConfine(_) => ErrorData::internal_error(error::from_core(why).message, None),
    }
}
