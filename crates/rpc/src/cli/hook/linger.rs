//! A session that has ended: its tasks go on for an hour, then they are stopped.
//!
//! A process of its own waits for that, outside of the host's process group. It ends early when the tasks have
//! ended; and it stops nothing where a hook of the session ran again, because the session was taken up again.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use futures_util::future::join_all;
use meanwhile_core::background::task::{Actor, Cause};
use meanwhile_core::background::words::reason;
use meanwhile_core::background::{Mode, Stop, Which};
use meanwhile_core::hosts::Notes;
use meanwhile_core::limits;

use super::Desk;
use crate::cli::args::Host;
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::state_dir;

/// Starts the process that waits.
pub(super) fn start(host: Host, queue: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot start the process that waits: {}", reason(&error)))
    };
    let binary = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(binary);
    command.args(["hook", host.name(), "--linger", queue]).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // This process does not wait for its end: it is adopted by the process that takes in orphans.
    let mut said = command.spawn().map_err(failed)?.stdout.expect("it is piped");
    // The host may kill this hook's group once it has ended: the process says a line when it has left it. One that
    // could not be run has said nothing and is gone.
    let _ = said.read_exact(&mut [0]);
    Ok(())
}

/// Tells the hook that this process has left the host's group. A hook that was killed does not wait for it.
fn say_it_left() {
    let mut out = Out::new();
    let _ = out.line("").and_then(|()| out.flush());
}

/// Waits for an hour, then stops what is left.
pub(super) async fn run(queue: &str) -> Result<u8, Failure> {
    // Out of the host's group and the session of its terminal, whose end would be this process's. Fails where it
    // leads a group, as in a person's shell.
    let _ = nix::unistd::setsid();
    let begun = SystemTime::now();
    say_it_left();
    let state_dir = state_dir::find().map_err(Failure::new)?;
    let Some(desk) = Desk::open(&state_dir, queue, None).await? else { return Ok(0) };
    let running = desk.background.running_in(queue.to_owned()).await?;
    let ids = running.iter().map(|task| task.id).collect();
    let waited = desk.background.wait(Which::Ids(ids), Mode::All, limits::LINGER).await?;
    let is_back = Notes::of(&state_dir).hook_time(queue).is_some_and(|at| at > begun);
    if waited.timed_out && !is_back {
        let message = "its session ended an hour ago".to_owned();
        let cause = Cause { actor: Actor::Linger, message };
        let how = Stop { signal: libc::SIGTERM, grace: limits::STOP_GRACE, cause };
        let running = desk.background.running_in(queue.to_owned()).await?;
        // One that has ended meanwhile needs no stop.
        join_all(running.iter().map(|task| desk.background.stop(task.id, how.clone()))).await;
    }
    desk.close().await;
    Ok(0)
}
