//! `meanwhile restart`: starts a task again, with the same command, directory and environment.

use meanwhile_core::background::Stop;
use meanwhile_core::background::task::{Actor, Cause};

use super::failure::Failure;
use super::session::Session;
use super::{args, json};

pub(crate) async fn run(session: &mut Session, args: args::Restart) -> Result<u8, Failure> {
    let id = session.enter(&args.id).await?;
    let message = "restarted from the command line".to_owned();
    let cause = Cause { actor: Actor::Client, message };
    let how = Stop { signal: libc::SIGTERM, grace: args.grace, cause };
    let env = args.env.into_iter().collect();
    let spawned = session.background.restart(id, env, how).await?;
    drop(spawned.hold);
    match args.json {
        true => session.out.json(&json::task(&spawned.task))?,
        false => session.out.line(spawned.task.id)?,
    }
    Ok(0)
}
