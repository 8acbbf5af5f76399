//! `session/new`: creates a session.

use meanwhile_core::agent::session::{Session, Terms};
use meanwhile_core::agent::story::Timeline;
use tokio::sync::oneshot;

use super::{Result, about, place, refused, wake};
use crate::convert::{options, servers};
use crate::desk::{Desk, Start};
use crate::peer::{After, Answer};
use crate::wire::acp;

/// Answers once the session is stored. Its updates follow the reply.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::NewSessionRequest,
) -> Result<Answer<acp::NewSessionResponse>> {
    place(desk, &params.cwd, &params.additional_directories)?;
    let (wake, servers) = (wake(params.meta.as_ref())?, servers::read(params.mcp_servers)?);
    let engine = desk.engine().await?.clone();
    let terms = Terms { servers, ..desk.session_terms(wake).await? };
    let (session, updates) = Session::create(engine, terms).await.map_err(refused)?;
    let id = acp::SessionId::new(session.id().as_str());
    let (replied, begin) = oneshot::channel();
    let result = acp::NewSessionResponse::new(id)
        .modes(options::modes(&session))
        .config_options(options::of(&session, desk.models()))
        .meta(about(&session));
    desk.take_in(session, updates, Timeline::default(), Start::New(begin));
    Ok(Answer { result, after: vec![After::Begin(replied)] })
}
