//! `session/delete`: deletes a session with its whole conversation. Its tasks stay.

use meanwhile_core::agent::session::Session;
use meanwhile_core::background::{Ack, Background, Mode, Which};
use meanwhile_core::{Error, limits};

use super::{Result, close, refused};
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::acp;

/// Closes the session first if it is open on this connection.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::DeleteSessionRequest,
) -> Result<Answer<acp::DeleteSessionResponse>> {
    let id = params.session_id;
    let engine = desk.engine().await?;
    if desk.sessions().get(&id.0).is_some() {
        close::run(desk, acp::CloseSessionRequest::new(id.clone())).await?;
    }
    Session::delete(engine, &id.0).await.map_err(refused)?;
    let (engine, queue) = (engine.clone(), id.0.to_string());
    desk.aside(async move {
        if let Err(error) = empty(&engine, queue).await {
            tracing::warn!(%error, "cannot remove the results of a deleted session from its queue");
        }
    });
    Ok(acp::DeleteSessionResponse::new().into())
}

/// Removes the ends of tasks that still run from the session's queue, which no client reads any more.
async fn empty(engine: &Background, queue: String) -> std::result::Result<(), Error> {
    let running = engine.running_in(queue.clone()).await?;
    let ids = running.iter().map(|task| task.id).collect();
    engine.wait(Which::Ids(ids), Mode::All, limits::TIME_MAX).await?;
    while let Some(lease) =
        engine.drain(queue.clone(), limits::DRAIN_MAX_MAX, Ack::Auto).await?.lease
    {
        lease.ack().await?;
    }
    Ok(())
}
