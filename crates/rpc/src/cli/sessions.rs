//! `meanwhile sessions`: the conversations of the workspace.

mod watched;

use meanwhile_core::agent::session::Session as Agent;
use meanwhile_core::background::task::Timestamp;
use serde_json::json;

use super::agent;
use super::args;
use super::failure::Failure;
use super::out::{note, remark, style};
use super::session::Session;
use super::show;
use crate::convert::to_wire;

/// The maximum number of sessions of deleted directories to list.
const STRAYS: u32 = 5;
/// The maximum number of characters of a title.
const TITLE_CHARS: usize = 60;

pub(crate) async fn run(session: &mut Session, args: args::Sessions) -> Result<u8, Failure> {
    let Session { background, out, .. } = session;
    if let Some(name) = &args.watch {
        return watched::run(background, out, name, args.json).await;
    }
    let found = Agent::list(background, 0, args.limit).await.map_err(agent::refused)?;
    if args.json {
        let sessions: Vec<_> = found
            .iter()
            .map(|info| {
                json!({
                    "sessionId": info.id.as_str(),
                    "cwd": info.workspace,
                    "title": info.title,
                    "updatedAt": to_wire::time(info.updated_at),
                })
            })
            .collect();
        out.json(&json!({"sessions": sessions}))?;
        return Ok(0);
    }
    if found.is_empty() {
        remark("no session in this workspace; `meanwhile chat` starts one");
    }
    let now = Timestamp::now();
    for info in found {
        let id = out.paint(style::BOLD, info.id.as_str().split('-').next().unwrap_or_default());
        let age = show::elapsed(now.since(info.updated_at));
        let title = show::one_line(info.title.as_deref().unwrap_or("(nothing said yet)"));
        let title: String = title.chars().take(TITLE_CHARS).collect();
        out.line(format_args!("{id}  {:>10}  {title}", format!("{age} ago")))?;
    }
    // Also if the output is not a terminal, because such a session is not listed elsewhere.
    for stray in Agent::strays(background, STRAYS).await.map_err(agent::refused)? {
        let title = show::one_line(stray.title.as_deref().unwrap_or("(nothing said yet)"));
        let title: String = title.chars().take(TITLE_CHARS).collect();
        note(format_args!(
            "of `{}`, which is gone: {title}; `meanwhile chat --resume {}` resumes it here",
            stray.workspace.display(),
            stray.id.as_str()
        ));
    }
    Ok(0)
}
