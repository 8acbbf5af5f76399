//! Prompts whose reply is delayed after their turn.
//!
//! Most ACP clients show late or never what they are sent after the reply to a prompt. So a prompt is only answered
//! when the session's finite background tasks have ended and their results were delivered, unless the person cancels
//! or sends another prompt, or the time limit passes. Tasks keep running in any case.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meanwhile_core::agent::session::{self, Wake};
use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Mode, Which};
use meanwhile_core::limits;
use tokio::sync::watch;

use super::voice::AcpVoice;
use crate::convert::error::invalid;
use crate::desk::Open;
use crate::wire::{Error, acp};

/// How long the reply to a cancelled prompt waits for the end of the turn.
const CANCEL: Duration = Duration::from_secs(10);

/// The held prompts of one connection, by session.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<String, State>>);

#[derive(Debug)]
struct State {
    end: watch::Sender<Option<Early>>,
    released: Released,
}

/// Tasks that were running when an earlier hold ended: they do not hold a later prompt.
type Released = Arc<Mutex<HashSet<TaskId>>>;

/// Why a hold ends before its tasks do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Early {
    /// The person cancelled.
    Cancelled,
    /// Another prompt of the session is held instead.
    Succeeded,
}

/// The hold of one prompt.
#[derive(Debug)]
pub(super) struct Hold {
    end: watch::Receiver<Option<Early>>,
    released: Released,
}

impl Holds {
    /// Holds a new prompt, and releases the previous one of the same session.
    pub(super) fn begin(&self, session: &str) -> Hold {
        let mut all = self.lock();
        let (sender, end) = watch::channel(None);
        let state = all.entry(session.to_owned()).or_insert_with(|| State {
            end: watch::Sender::new(None),
            released: Released::default(),
        });
        std::mem::replace(&mut state.end, sender).send_replace(Some(Early::Succeeded));
        Hold { end, released: state.released.clone() }
    }

    /// Releases the prompt of a session, because the person cancelled.
    pub(super) fn cancel(&self, session: &str) {
        if let Some(state) = self.lock().get(session) {
            state.end.send_replace(Some(Early::Cancelled));
        }
    }

    /// Releases the prompt of a session that is closed.
    pub(super) fn forget(&self, session: &str) {
        self.cancel(session);
        self.lock().remove(session);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        // A panic under the lock leaves the map consistent: every change is one insert.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Returns when the prompt can be answered: whether it was cancelled.
    pub(super) async fn over(mut self, open: &Open, longest: Duration, voice: &AcpVoice) -> bool {
        let session = &open.session;
        if session.wake() == Wake::Queue {
            // No result would be delivered before the next prompt.
            return false;
        }
        let released = self.released.clone();
        let early = tokio::select! {
            biased;
            Ok(early) = self.end.wait_for(Option::is_some) => *early,
            () = session.queues() => return false,
            settled = settle(open, &released, voice) => {
                if let Err(error) = settled {
                    tracing::info!(%error, "a prompt is not held any more");
                }
                return false;
            }
            () = tokio::time::sleep(longest) => None,
        };
        let is_cancelled = early == Some(Early::Cancelled);
        if is_cancelled {
            // Send the updates of a turn that results have started before the reply.
            let _ = tokio::time::timeout(CANCEL, session.idle()).await;
        }
        if early != Some(Early::Succeeded)
            && let Ok((running, _)) = session.unfinished().await
        {
            let ids = running.iter().map(|task| task.id);
            self.released.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
        }
        is_cancelled
    }
}

/// Returns once no finite task is running and no result is being delivered.
async fn settle(open: &Open, released: &Released, voice: &AcpVoice) -> Result<(), session::Error> {
    let session = &open.session;
    let mut quiet_since = None;
    loop {
        session.idle().await?;
        open.told().await;
        let turns = voice.turns();
        // Subscribe first: a change while the tasks are read counts.
        let mut listening = voice.listening();
        let (running, _) = session.unfinished().await?;
        let ids: Vec<TaskId> = {
            let released = released.lock().unwrap_or_else(PoisonError::into_inner);
            let holds = |task: &&_| is_finite(task) && !released.contains(&task.id);
            running.iter().filter(holds).map(|task| task.id).collect()
        };
        if ids.is_empty() {
            // A task that ended since the session became idle has started a turn by now, or soon will: the session
            // has settled if it is idle again without such a turn.
            if quiet_since == Some(turns) {
                return Ok(());
            }
            quiet_since = Some(turns);
            continue;
        }
        quiet_since = None;
        tokio::select! {
            ended = session.background().wait(Which::Ids(ids), Mode::Any, limits::TIME_MAX) => {
                drop(ended?);
            }
            // The task may turn out to be a server, which nothing waits for.
            Ok(()) = listening.changed() => {}
        }
    }
}

/// Whether a task is expected to end. A server is not: its spawn declares it to be one, or it has an open port. A
/// matched watch does not make it one here, although it does for a hook that waits: builds have watches too, and
/// holding a prompt costs nothing.
fn is_finite(task: &Task) -> bool {
    let serving = &task.serving;
    let stands = serving.ready && !serving.ports.is_empty();
    !(serving.service || stands)
}

/// How long a prompt may be held, if the client says so (`_meta.meanwhile.holdMs`).
///
/// # Errors
///
/// The value is not an integer, or exceeds [`limits::PROMPT_HOLD`].
pub(super) fn longest(meta: Option<&acp::Meta>) -> Result<Duration, Error> {
    let said = meta.and_then(|meta| meta.get("meanwhile")).and_then(|ours| ours.get("holdMs"));
    let Some(said) = said else { return Ok(limits::PROMPT_HOLD) };
    match said.as_u64().map(Duration::from_millis).filter(|it| *it <= limits::PROMPT_HOLD) {
        Some(longest) => Ok(longest),
        None => {
            let shown: String = said.to_string().chars().take(64).collect();
            let most = limits::PROMPT_HOLD.as_millis();
            let message = format!("is {shown}; expected a whole number from 0 to {most}");
            Err(invalid("_meta.meanwhile.holdMs", message))
        }
    }
}
