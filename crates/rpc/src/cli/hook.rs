//! `meanwhile hook`: reports the tasks of a session to the model of a host, as a hook of the host.
//!
//! The host starts it with a payload on standard input and reads its reply. It must never delay a host or break its
//! turn: errors go to standard error, and the reply is then empty. A result is acknowledged once the reply that
//! contains it is written.

mod linger;
mod payload;
mod reply;

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use meanwhile_core::agent::notice;
use meanwhile_core::background::task::{Notification, Timestamp};
use meanwhile_core::background::words::reason;
use meanwhile_core::background::{Ack, Background, Engine, Lease, Mode, Role, Which};
use meanwhile_core::hosts::{Notes, Owner, Process};
use meanwhile_core::limits;

use self::payload::{Moment, Payload};
use self::reply::Reply;
use super::args;
use super::failure::Failure;
use crate::{config, peer, state_dir};

/// The maximum number of bytes of a payload: hosts include the output of a tool.
const PAYLOAD_BYTES: u64 = 64 << 20;
/// The maximum number of notifications in one reply.
const ENTRIES: u32 = 50;
/// The maximum number of bytes of all notifications together: Claude Code moves a longer text into a file.
const BLOCK_BYTES: usize = 8 << 10;
/// The maximum number of bytes of one notification.
const ENTRY_BYTES: usize = 2 << 10;
/// How long a wake-up waits for further ends, so that ends at about the same time are reported together.
const COMPANY: Duration = Duration::from_millis(50);
/// The exit code with which an asynchronous hook of Claude Code passes its output to the model.
const WAKES: u8 = 2;

pub(crate) fn run(args: &args::Hook) -> Result<u8, Failure> {
    if let Some(session) = &args.linger {
        return block_on(linger::run(session));
    }
    let mut text = Vec::new();
    let read = std::io::stdin().lock().take(PAYLOAD_BYTES).read_to_end(&mut text);
    let payload =
        read.map_err(|error| reason(&error)).and_then(|_| Payload::read(args.host, &text));
    let told = match payload {
        Ok(Some(payload)) => block_on(tell(&payload, args)),
        // A hook at which nothing is reported.
        Ok(None) => say(&Reply::nothing(args.host), args.rewake),
        Err(why) => Err(Failure::new(format!("cannot read the hook's payload: {why}"))),
    };
    told.or_else(|failure| {
        // A host would show a failed hook to its user, or end the turn.
        failure.tell();
        say(&Reply::nothing(args.host), false)
    })
}

fn block_on(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the runtime: {}", reason(&error))))?;
    let told = runtime.block_on(work);
    runtime.shutdown_background();
    told
}

async fn tell(payload: &Payload, args: &args::Hook) -> Result<u8, Failure> {
    let nothing = Reply::nothing(args.host);
    let state_dir = state_dir::find().map_err(Failure::new)?;
    let notes = Notes::of(&state_dir);
    let queue = match Owner::chosen().map_err(|error| Failure::usage(error.to_string()))? {
        Some(owner) => owner.queue,
        None => payload.session.clone(),
    };
    let host = Process::host();
    // If this cannot be noted, only a hint is lost.
    if let Some(host) = host.filter(|_| args.host.has_one_session()) {
        let _ = notes.bind(host, &queue);
    }
    if payload.moment.can_tell() && !payload.ends_with_turn {
        let _ = notes.hook_ran(&queue);
    }
    let rewakes = args.rewake;
    if rewakes && payload.unattended {
        // The hook at the turn's end waits instead: a host that has exited cannot be woken.
        return Ok(0);
    }
    let Some(desk) = Desk::open(&state_dir, &queue, host).await? else {
        return say(&nothing, rewakes);
    };
    let told = match (payload.moment, rewakes) {
        (_, true) => desk.wake(&notes, host).await,
        (Moment::Turn, false) => desk.results(&reply::Say::Context, payload).await,
        (Moment::Start, false) => desk.start(payload).await,
        (Moment::Stop, false) => desk.stop(&notes, payload, host).await,
        (Moment::End, false) => desk.end(args.host).await.map(|()| (nothing, None)),
    };
    let said = told.and_then(|(reply, lease)| Ok((say(&reply, rewakes)?, lease)));
    let said = match said {
        Ok((code, lease)) => {
            // The reply is written: report an error on standard error only, without a second reply.
            if let Some(lease) = lease
                && let Err(error) = lease.ack().await
            {
                Failure::from(error).tell();
            }
            Ok(code)
        }
        Err(failure) => Err(failure),
    };
    desk.close().await;
    said
}

/// Returns once the host has exited; never returns if the host's process is unknown.
async fn gone(host: Option<Process>) {
    let Some(host) = host else { return std::future::pending().await };
    // If it has exited already, its pid may belong to another process.
    if Process::find(host.pid) == Some(host) {
        peer::gone(host.pid).await;
    }
}

/// Writes a whole reply. A wake-up is written to standard error, with its exit code.
fn say(reply: &Reply, rewakes: bool) -> Result<u8, Failure> {
    let text = reply.text();
    if rewakes {
        if text.is_empty() {
            return Ok(0);
        }
        std::io::stderr().lock().write_all(text.as_bytes())?;
        return Ok(WAKES);
    }
    let mut out = super::out::Out::new();
    out.must_be_open()?;
    out.raw(text.as_bytes())?;
    out.flush()?;
    Ok(0)
}

/// A reply, and the lease to acknowledge after it.
type Told = Result<(Reply, Option<Lease>), Failure>;

/// The workspace of the session, and its queues.
struct Desk {
    engine: Engine,
    background: Background,
    queue: String,
}

impl Desk {
    /// Opens the session's workspace; `None` if the session has no task. Does as little as possible, because a hook
    /// runs at each tool call.
    async fn open(
        state_dir: &Path,
        queue: &str,
        host: Option<Process>,
    ) -> Result<Option<Self>, Failure> {
        if !state_dir.join("meanwhile.db").exists() {
            return Ok(None);
        }
        let engine = Engine::open(state_dir, config::load()?.store).await?;
        let mut found = None;
        // What a host that names no session started before its first hook.
        for queue in [Some(queue.to_owned()), host.map(Process::queue)].into_iter().flatten() {
            if let Some(workspace) = engine.workspace_of(queue.clone()).await? {
                found = Some((workspace, queue));
                break;
            }
        }
        let Some((workspace, queue)) = found else {
            engine.close().await;
            return Ok(None);
        };
        let (background, _) = engine.workspace(workspace, Role::Visitor).await?;
        Ok(Some(Self { engine, background, queue }))
    }

    async fn close(self) {
        self.background.close().await;
        self.engine.close().await;
    }

    /// Reports what has ended or happened since the last report.
    async fn results(&self, how: &reply::Say, payload: &Payload) -> Told {
        let (news, lease) = self.drained().await?;
        let reply = match news.is_empty() {
            true => Reply::nothing(payload.host),
            false => Reply::new(how, payload, &block(&news)),
        };
        Ok((reply, lease))
    }

    /// The waiting notifications, as many as fit in one reply.
    async fn drained(&self) -> Result<(Vec<Notification>, Option<Lease>), Failure> {
        self.background.settle().await?;
        let drained = self.background.drain(self.queue.clone(), ENTRIES, Ack::Auto).await?;
        Ok((drained.notifications, drained.lease))
    }

    /// At the start of a session: reports new notifications, and the tasks that still run.
    async fn start(&self, payload: &Payload) -> Told {
        let (news, lease) = self.drained().await?;
        let mut text = String::new();
        let running = self.background.running_in(self.queue.clone()).await?;
        if !running.is_empty() {
            text.push_str("Background tasks of this session that run:\n");
            for task in running.iter().take(ENTRIES as usize) {
                text.push_str(&notice::running(task, Timestamp::now()));
                text.push('\n');
            }
        }
        if !news.is_empty() {
            text.push_str(&block(&news));
        }
        let reply = match text.is_empty() {
            true => Reply::nothing(payload.host),
            false => Reply::new(&reply::Say::Context, payload, &text),
        };
        Ok((reply, lease))
    }

    /// At the end of a turn: reports what is in the queue. If it is empty and no other hook would report later, it
    /// waits for the tasks that are expected to end, and reports all their ends at once. After the timeout it reports
    /// what there is.
    async fn stop(&self, notes: &Notes, payload: &Payload, host: Option<Process>) -> Told {
        let how = reply::Say::Block;
        if !payload.waits() {
            return self.results(&how, payload).await;
        }
        let Some(_held) = notes.wait_lock(&format!("stop.{}", self.queue))? else {
            // Another hook of this session is waiting and will report it.
            return Ok((Reply::nothing(payload.host), None));
        };
        let queue = self.queue.clone();
        tokio::select! {
            biased;
            // The host has exited, so there is no turn to report to; the session gets the results when it is resumed.
            () = gone(host) => return Ok((Reply::nothing(payload.host), None)),
            waited = self.background.wait_finite(queue, Mode::All, limits::HOOK_WAIT_MAX) => {
                waited?;
            }
        }
        self.results(&how, payload).await
    }

    /// Waits, while a person uses the session, until there is something to report. One process per session.
    async fn wake(&self, notes: &Notes, host: Option<Process>) -> Told {
        let silent = || (Reply::silent(), None);
        let Some(_held) = notes.wait_lock(&self.queue)? else { return Ok(silent()) };
        let gone = gone(host);
        tokio::pin!(gone);
        loop {
            tokio::select! {
                biased;
                () = &mut gone => return Ok(silent()),
                told = self.background.news_in(self.queue.clone(), |_| true) => told?,
                ended = self.one_ends() => ended?,
            }
            tokio::time::sleep(COMPANY).await;
            let (news, lease) = self.drained().await?;
            if !news.is_empty() {
                return Ok((Reply::plain(block(&news)), lease));
            }
            // Another reply has reported it. If no task runs, nothing more will come.
            if self.background.running_in(self.queue.clone()).await?.is_empty() {
                return Ok(silent());
            }
        }
    }

    /// Returns once one of the running tasks has ended, or if none is running.
    async fn one_ends(&self) -> Result<(), Failure> {
        let running = self.background.running_in(self.queue.clone()).await?;
        if !running.is_empty() {
            let ids = running.iter().map(|task| task.id).collect();
            self.background.wait(Which::Ids(ids), Mode::Any, limits::TIME_MAX).await?;
        }
        Ok(())
    }

    /// At the end of a session: running tasks have one hour, unless the session is resumed.
    async fn end(&self, host: args::Host) -> Result<(), Failure> {
        if self.background.running_in(self.queue.clone()).await?.is_empty() {
            return Ok(());
        }
        linger::start(host, &self.queue)
    }
}

fn block(news: &[Notification]) -> String {
    let share = BLOCK_BYTES / news.len().max(1);
    let style = notice::Style {
        rest: |id| format!("`meanwhile logs {id}`"),
        entry_bytes: Some(share.min(ENTRY_BYTES)),
    };
    notice::block(news, style)
}
