//! After a session has ended: its tasks run for another hour and are then stopped.
//!
//! A separate process, outside the host's process group, waits for that. It exits early if all tasks have ended, and
//! stops nothing if a hook of the session has run again, because the session was resumed.

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

/// Starts the waiting process.
pub(super) fn start(host: Host, queue: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!(
            "cannot start the process that stops the session's tasks later: {}",
            reason(&error)
        ))
    };
    let binary = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(binary);
    command.args(["hook", host.name(), "--linger", queue]).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // This process does not wait for its child, which is reparented to init or a subreaper.
    let mut said = command.spawn().map_err(failed)?.stdout.expect("it is piped");
    // The host may kill this hook's process group when it has exited: wait until the child reports that it has left
    // the group. If it could not be executed, the pipe is closed instead.
    let _ = said.read_exact(&mut [0]);
    Ok(())
}

/// Reports to the hook that this process has left the host's process group. If the hook was killed, this fails
/// silently.
fn say_it_left() {
    let mut out = Out::new();
    let _ = out.line("").and_then(|()| out.flush());
}

/// Waits for an hour, then stops the tasks that still run.
pub(super) async fn run(queue: &str) -> Result<u8, Failure> {
    // Leave the host's process group and its terminal's session, or their end would kill this process. Fails if it
    // leads a group, as when a person runs it in a shell.
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
        // A task that has ended in the meantime needs no stop.
        join_all(running.iter().map(|task| desk.background.stop(task.id, how.clone()))).await;
    }
    desk.close().await;
    Ok(0)
}
