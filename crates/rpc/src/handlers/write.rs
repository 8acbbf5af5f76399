//! `task/write`: writes to a task's standard input.

use super::{Result, refused};
use crate::convert::from_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::{Empty, WriteParams};

/// Answers when all data has been written to the task's pipe, which takes longer if the task does not read.
pub(crate) async fn run(desk: &Desk, params: WriteParams) -> Result<Answer<Empty>> {
    let id = from_wire::id("id", &params.id)?;
    let data = from_wire::data(params.data, params.encoding)?;
    let eof = params.eof.unwrap_or(false);
    desk.engine().await?.write(id, data, eof).await.map_err(refused)?;
    Ok(Empty {}.into())
}
