//! Prompts that are held open after their turn.
//!
//! What a client of ACP is told after the answer to a prompt, most show late or never. So a prompt is answered
//! only when the session's finite background tasks have ended and their results were told, unless the person
//! cancels or says something else, or the time is up. Tasks go on in any case.

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

/// How long the answer to a prompt that was cancelled waits for the end of the turn.
const CANCEL: Duration = Duration::from_secs(10);

/// The holds of one connection, by session.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<String, State>>);

#[derive(Debug)]
struct State {
    end: watch::Sender<Option<Early>>,
    released: Released,
}

/// Tasks that were running when a hold ended before them: they hold no later prompt.
type Released = Arc<Mutex<HashSet<TaskId>>>;

/// Why a hold ends before its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Early {
    /// The person cancelled.
    Cancelled,
    /// Another prompt holds from here on.
    Succeeded,
}

/// One prompt's hold.
#[derive(Debug)]
pub(super) struct Hold {
    end: watch::Receiver<Option<Early>>,
    released: Released,
}

impl Holds {
    /// A prompt came. The one before it of the same session is not held any more.
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

    /// Ends the hold of a session: the person cancelled.
    pub(super) fn cancel(&self, session: &str) {
        if let Some(state) = self.lock().get(session) {
            state.end.send_replace(Some(Early::Cancelled));
        }
    }

    /// The same, of a session that is closed.
    pub(super) fn forget(&self, session: &str) {
        self.cancel(session);
        self.lock().remove(session);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        // A panic under the lock leaves a map that is whole: every change is one insert.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Returns once the prompt is to be answered: whether it was cancelled.
    pub(super) async fn over(mut self, open: &Open, longest: Duration, voice: &AcpVoice) -> bool {
        let session = &open.session;
        if session.wake() == Wake::Queue {
            // No result would be told before the next prompt.
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
            // What a turn of results has begun is said to its end before the answer.
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

/// Returns once no finite task runs and no result is told.
async fn settle(open: &Open, released: &Released, voice: &AcpVoice) -> Result<(), session::Error> {
    let session = &open.session;
    let mut quiet_since = None;
    loop {
        session.idle().await?;
        open.told().await;
        let turns = voice.turns();
        // What is told while the tasks are read counts.
        let mut listening = voice.listening();
        let (running, _) = session.unfinished().await?;
        let ids: Vec<TaskId> = {
            let released = released.lock().unwrap_or_else(PoisonError::into_inner);
            let holds = |task: &&_| is_finite(task) && !released.contains(&task.id);
            running.iter().filter(holds).map(|task| task.id).collect()
        };
        if ids.is_empty() {
            // What ended since the session was idle has begun a turn by now, or is about to: it is over once
            // it is idle again and there was none.
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
            // It may be a server, for which nothing waits.
            Ok(()) = listening.changed() => {}
        }
    }
}

/// Whether a task is expected to end: it is not a server, by its spawn's word or by a port that stands. A watch that
/// matched is not enough, as it is where a hook waits: a build has watches too, and to hold costs nothing.
fn is_finite(task: &Task) -> bool {
    let serving = &task.serving;
    let stands = serving.ready && !serving.ports.is_empty();
    !(serving.service || stands)
}

/// How long a prompt may be held, if the client says so (`_meta.meanwhile.holdMs`).
///
/// # Errors
///
/// It is not a whole number, or more than [`limits::PROMPT_HOLD`].
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
