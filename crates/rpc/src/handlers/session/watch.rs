//! `session/watch`, `session/unwatch`: follows a session that another process has open.

use meanwhile_core::agent::session::Session;
use tokio::sync::oneshot;

use super::{Result, refused};
use crate::convert::error::invalid;
use crate::desk::Desk;
use crate::peer::{After, Answer};
use crate::wire::{Empty, WatchSessionParams, Watched};

/// Answers once everything that was said in it is on its way to the client.
pub(crate) async fn run(desk: &Desk, params: WatchSessionParams) -> Result<Answer<Watched>> {
    let id = params.session_id;
    if desk.sessions().get(&id).is_some() {
        let message = "is open on this connection, and its client is told of it already";
        return Err(invalid("sessionId", message));
    }
    let engine = desk.engine().await?;
    let watch = Session::watch(engine, &id).await.map_err(refused)?;
    // After the first look: what that has seen is in the story.
    let story = Session::story(engine, &id).await.map_err(refused)?;
    let (told, all_told) = oneshot::channel();
    let (replied, begin) = oneshot::channel();
    if !desk.watch(&id, watch, story, (told, begin)) {
        let message = "is watched on this connection already; `session/unwatch` ends that";
        return Err(invalid("sessionId", message));
    }
    // It is not told where the watch ended first.
    let ended =
        |_| invalid("sessionId", "is watched no longer: `session/unwatch` or a load came first");
    let result = all_told.await.map_err(ended)?;
    Ok(Answer { result, after: vec![After::Begin(replied)] })
}

/// Answers once nothing more of it is told.
pub(crate) async fn end(desk: &Desk, params: WatchSessionParams) -> Result<Answer<Empty>> {
    if !desk.watches().end(&params.session_id).await {
        let message = "is not watched on this connection; `session/watch` does that";
        return Err(invalid("sessionId", message));
    }
    Ok(Empty {}.into())
}
