//! `meanwhile drain`: takes notifications out of a queue.
//!
//! It prints the same blocks that a model reads (docs/protocol.md, "Agent sessions").

use meanwhile_core::agent::notice;
use meanwhile_core::background::Ack;
use meanwhile_core::background::ledger::Waiting;
use meanwhile_core::background::quote::quote_argv;
use meanwhile_core::background::task::Notification;

use super::args;
use super::failure::Failure;
use super::out::{note, remark};
use super::session::Session;
use super::{json, show};

/// The maximum number of other workspaces and queues with results to list.
const PLACES: usize = 5;

pub(crate) async fn run(session: &mut Session, args: args::Drain) -> Result<u8, Failure> {
    let name = session.queue(args.queue);
    let Session { background, out, .. } = session;
    if let Some(through) = args.ack {
        let acked = background.ack(name, through).await?;
        if args.json {
            out.json(&json::acked(acked))?;
        }
        return Ok(0);
    }
    out.must_be_open()?;
    background.settle().await?;
    let ack = if args.manual { Ack::Manual } else { Ack::Auto };
    let drained = background.drain(name.clone(), args.max, ack).await?;
    let queue = show::one_line(&name);
    let nothing = drained.notifications.is_empty();
    if args.json {
        out.json(&json::drained(&drained))?;
    } else if nothing {
        remark(format_args!("nothing new in the queue `{queue}`"));
    } else {
        out.raw(block(&drained.notifications).as_bytes())?;
    }
    // Remove the notifications from the queue only after the reader has them.
    out.flush()?;
    if let Some(lease) = drained.lease {
        lease.ack().await?;
    } else if let Some(last) = drained.notifications.last() {
        let seq = last.seq;
        remark(format_args!("`meanwhile drain --queue {queue} --ack {seq}` acknowledges these"));
    }
    // An agent's session is found from any directory, and other queues are not its own.
    if nothing && session.owner.is_none() {
        tell_where_results_wait(session, &name).await?;
    }
    if drained.remaining > 0 {
        remark(format_args!("{} more in the queue `{queue}`", show::thousands(drained.remaining)));
    }
    Ok(0)
}

/// Lists other workspaces and queues with results: an agent's shell may have changed its directory, and "nothing new"
/// would then be misleading.
async fn tell_where_results_wait(session: &Session, drained: &str) -> Result<(), Failure> {
    let here = session.background.workspace();
    let mut waiting = session.engine.waiting(here).await?;
    waiting.retain(|waiting| waiting.workspace != here || waiting.queue != drained);
    for Waiting { workspace, queue, count } in waiting.iter().take(PLACES) {
        let results = match count {
            1 => "1 result waits".to_owned(),
            count => format!("{} results wait", show::thousands(*count)),
        };
        let mut way = String::new();
        if workspace != here {
            way += &format!(" --workspace {}", quote(&workspace.to_string_lossy()));
        }
        way += &format!(" --queue {}", quote(queue));
        note(format_args!("{results} elsewhere: `meanwhile drain {}`", show::one_line(&way)));
    }
    if let more @ 1.. = waiting.len().saturating_sub(PLACES) {
        note(format_args!("results wait in {more} more places; `meanwhile ps --everywhere`"));
    }
    Ok(())
}

fn quote(word: &str) -> String {
    quote_argv(&[word.to_owned()])
}

/// The same block as a model reads, not shortened, with the command that shows the rest.
fn block(notifications: &[Notification]) -> String {
    let style = notice::Style { rest: |id| format!("`meanwhile logs {id}`"), entry_bytes: None };
    notice::block(notifications, style)
}
