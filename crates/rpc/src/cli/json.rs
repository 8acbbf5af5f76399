//! What `--json` prints: the wire's own objects, so that one description serves both.
//!
//! A listing is one document, shaped as the result of the method of the same name; what goes on
//! for a while is JSON lines.

use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Chunk, Drained, Waited};

use super::failure::Failure;
use super::out::Out;
use crate::convert::to_wire;
use crate::wire;

/// As `task/spawn` has it: `{"task": …}`.
pub(crate) fn task(task: &Task) -> wire::TaskResult {
    wire::TaskResult { task: to_wire::task(task) }
}

/// As `task/check` has it: `{"tasks": […]}`.
pub(crate) fn tasks(tasks: &[Task]) -> wire::TaskList {
    wire::TaskList { tasks: to_wire::tasks(tasks) }
}

/// As `task/wait` has it: `{"tasks": […], "timedOut": …}`.
pub(crate) fn waited(waited: &Waited) -> wire::WaitResult {
    to_wire::waited(waited)
}

/// As `task/drain` has it: `{"notifications": […], "remaining": …}`.
pub(crate) fn drained(drained: &Drained) -> wire::DrainResult {
    to_wire::drained(drained)
}

/// As `task/ack` has it: `{"acked": …}`.
pub(crate) fn acked(acked: u64) -> wire::AckResult {
    wire::AckResult { acked }
}

/// A line as `task/output` pushes it. Output that was not kept shows as a jump of the offset.
pub(crate) fn output(out: &mut Out, id: TaskId, chunk: Chunk) -> Result<(), Failure> {
    if chunk.data.is_empty() {
        return Ok(());
    }
    let (data, encoding) = to_wire::exact(chunk.data);
    out.json(&wire::OutputPush { id: id.to_string(), offset: chunk.offset, data, encoding })
}
