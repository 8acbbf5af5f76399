//! `meanwhile signal`: sends a signal to a task's processes.

use meanwhile_core::background::task::{Actor, Cause};
use meanwhile_core::background::{Recipient, SendSignal};

use super::args;
use super::failure::Failure;
use super::session::Session;
use crate::convert::signal;

pub(crate) async fn run(session: &mut Session, args: args::Signal) -> Result<u8, Failure> {
    let args::Signal { leader, id, signal } = args;
    let to = if leader { Recipient::Leader } else { Recipient::Group };
    let message = format!("{} sent from the command line", signal::name(signal));
    let cause = Cause { actor: Actor::Client, message };
    let id = session.enter(&id).await?;
    session.background.signal(id, SendSignal { signal, to, cause }).await?;
    Ok(0)
}
