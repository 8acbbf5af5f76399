//! `session/watch`, `session/unwatch`: follows a session that another process has open.

use meanwhile_core::agent::session::Session;
use tokio::sync::oneshot;

use super::{Result, refused};
use crate::convert::error::invalid;
use crate::desk::Desk;
use crate::peer::{After, Answer};
use crate::wire::{Empty, WatchSessionParams, Watched};

/// Answers once the whole conversation so far is queued for the client.
pub(crate) async fn run(desk: &Desk, params: WatchSessionParams) -> Result<Answer<Watched>> {
    let id = params.session_id;
    if desk.sessions().get(&id).is_some() {
        let message = "is open on this connection, which already sends its updates";
        return Err(invalid("sessionId", message));
    }
    let engine = desk.engine().await?;
    let watch = Session::watch(engine, &id).await.map_err(refused)?;
    // Read after the watch has started, so that the story includes what the watch has read.
    let story = Session::story(engine, &id).await.map_err(refused)?;
    let (told, all_told) = oneshot::channel();
    let (replied, begin) = oneshot::channel();
    if !desk.watch(&id, watch, story, (told, begin)) {
        let message = "is already watched on this connection; `session/unwatch` ends the watch";
        return Err(invalid("sessionId", message));
    }
    // The watch may end before its result was sent.
    let ended =
        |_| invalid("sessionId", "is no longer watched: `session/unwatch` or a load came first");
    let result = all_told.await.map_err(ended)?;
    Ok(Answer { result, after: vec![After::Begin(replied)] })
}

/// Answers once the watch sends nothing more.
pub(crate) async fn end(desk: &Desk, params: WatchSessionParams) -> Result<Answer<Empty>> {
    if !desk.watches().end(&params.session_id).await {
        let message = "is not watched on this connection; `session/watch` starts a watch";
        return Err(invalid("sessionId", message));
    }
    Ok(Empty {}.into())
}
