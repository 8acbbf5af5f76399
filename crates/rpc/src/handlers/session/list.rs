//! `session/list`: the sessions of the workspace, newest first.

use meanwhile_core::agent::session::{Info, Session};

use super::{Result, refused};
use crate::convert::error::invalid;
use crate::convert::to_wire;
use crate::desk::Desk;
use crate::peer::Answer;
use crate::wire::acp;

/// The most sessions on one page.
const PAGE: u32 = 100;

/// Answers with a page. The cursor is the number of sessions on earlier pages.
pub(crate) async fn run(
    desk: &Desk,
    params: acp::ListSessionsRequest,
) -> Result<Answer<acp::ListSessionsResponse>> {
    let skip = skip(&params)?;
    let workspace = desk.workspace()?;
    let elsewhere = params.cwd.as_ref().is_some_and(|cwd| {
        let cwd = std::fs::canonicalize(cwd).unwrap_or_else(|_| cwd.clone());
        cwd != workspace
    });
    // Opens only the store, not the workspace, because a client may list the sessions of many workspaces.
    let house = desk.house().await?;
    if elsewhere {
        return Ok(acp::ListSessionsResponse::new(vec![]).into());
    }
    // One more than a page has, to find out whether there are more.
    let found = Session::list_of(house.store(), workspace.to_owned(), skip, PAGE + 1).await;
    Ok(page(found.map_err(refused)?, skip).into())
}

/// Answers with a page of the sessions of all workspaces.
pub(crate) async fn everywhere(
    desk: &Desk,
    params: acp::ListSessionsRequest,
) -> Result<Answer<acp::ListSessionsResponse>> {
    let skip = skip(&params)?;
    let house = desk.house().await?;
    let found = Session::everywhere(house.store(), skip, PAGE + 1).await;
    Ok(page(found.map_err(refused)?, skip).into())
}

fn skip(params: &acp::ListSessionsRequest) -> Result<u64> {
    match params.cursor.as_deref() {
        None => Ok(0),
        Some(cursor) => cursor.parse().map_err(|_| {
            let message =
                "is not a cursor of this server; expected an unchanged `nextCursor`, or none";
            invalid("cursor", message)
        }),
    }
}

fn page(mut found: Vec<Info>, skip: u64) -> acp::ListSessionsResponse {
    let more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let next = more.then(|| (skip + u64::from(PAGE)).to_string());
    let sessions = found.into_iter().map(|info| {
        acp::SessionInfo::new(info.id.to_string(), info.workspace)
            .title(info.title)
            .updated_at(to_wire::time(info.updated_at).0)
    });
    acp::ListSessionsResponse::new(sessions.collect()).next_cursor(next)
}
