//! The output of `--json`: the same objects as on the wire, so that one description covers both.
//!
//! A list is one document in the form of the result of the corresponding method; a stream of events is JSON lines.

use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Chunk, Drained, Waited};

use super::failure::Failure;
use super::out::Out;
use crate::convert::to_wire;
use crate::wire;

/// The result of `task/spawn`: `{"task": …}`.
pub(crate) fn task(task: &Task) -> wire::TaskResult {
    wire::TaskResult { task: to_wire::task(task) }
}

/// The result of `task/check`: `{"tasks": […]}`.
pub(crate) fn tasks(tasks: &[Task]) -> wire::TaskList {
    wire::TaskList { tasks: to_wire::tasks(tasks) }
}

/// The result of `task/wait`: `{"tasks": […], "timedOut": …}`.
pub(crate) fn waited(waited: &Waited) -> wire::WaitResult {
    to_wire::waited(waited)
}

/// The result of `task/drain`: `{"notifications": […], "remaining": …}`.
pub(crate) fn drained(drained: &Drained) -> wire::DrainResult {
    to_wire::drained(drained)
}

/// The result of `task/ack`: `{"acked": …}`.
pub(crate) fn acked(acked: u64) -> wire::AckResult {
    wire::AckResult { acked }
}

/// Writes a line in the form of `task/output`. Output that was not kept shows as a jump of the offset.
pub(crate) fn output(out: &mut Out, id: TaskId, chunk: Chunk) -> Result<(), Failure> {
    if chunk.data.is_empty() {
        return Ok(());
    }
    let (data, encoding) = to_wire::exact(chunk.data);
    out.json(&wire::OutputPush { id: id.to_string(), offset: chunk.offset, data, encoding })
}
