//! `task/wait`: waits until tasks end. Never consumes.

use serde_json::Value;

use super::{Result, params, refused};
use crate::convert::{from_wire, to_wire};
use crate::session::Server;
use crate::wire::{WaitParams, WaitResult};

/// Answers when the wait is over or the time is up; cancelling it changes nothing.
pub(crate) async fn run(server: &Server, params: Value) -> Result<WaitResult> {
    let params: WaitParams = params::parse(params)?;
    let (which, mode, timeout) = from_wire::wait(params, server.defaults()?)?;
    let background = server.background().await?;
    let waited = background.wait(which, mode, timeout).await.map_err(refused)?;
    Ok(to_wire::waited(&waited))
}
