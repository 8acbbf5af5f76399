//! `meanwhile drain`: takes what has happened out of a queue.
//!
//! People and agents read the same blocks as a model does (contract, section 7).

use meanwhile_core::agent::notice;
use meanwhile_core::background::Ack;
use meanwhile_core::background::task::Notification;

use super::args;
use super::failure::Failure;
use super::out::remark;
use super::session::Session;
use super::{json, show};

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
    let ack = if args.manual { Ack::Manual } else { Ack::Auto };
    let drained = background.drain(name.clone(), args.max, ack).await?;
    let queue = show::one_line(&name);
    if args.json {
        out.json(&json::drained(&drained))?;
    } else if drained.notifications.is_empty() {
        remark(format_args!("nothing new in the queue `{queue}`"));
    } else {
        out.raw(block(&drained.notifications).as_bytes())?;
    }
    // Whoever reads has it now; only then is it taken out of the queue.
    out.flush()?;
    if let Some(lease) = drained.lease {
        lease.ack().await?;
    } else if let Some(last) = drained.notifications.last() {
        let seq = last.seq;
        remark(format_args!("`meanwhile drain --queue {queue} --ack {seq}` acknowledges these"));
    }
    if drained.remaining > 0 {
        remark(format_args!("{} more in the queue `{queue}`", show::thousands(drained.remaining)));
    }
    Ok(0)
}

/// The same block as an agent's model reads, whole, with the command that shows the rest.
fn block(notifications: &[Notification]) -> String {
    let style = notice::Style { rest: |id| format!("`meanwhile logs {id}`"), entry_bytes: None };
    notice::block(notifications, style)
}
