//! The sessions of other processes that this connection watches. One job of the connection reads each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meanwhile_core::agent::session::{Seen, Session, Stop, Stopped, Watch};
use meanwhile_core::agent::story::Story;
use tokio::sync::oneshot;

use super::sessions::Sessions;
use crate::convert::update::{Teller, Told};
use crate::convert::watched::watched;
use crate::peer::Client;
use crate::wire::{Push, Watched};

/// Ends a watch. The inner sender is dropped once the watch has ended.
type End = oneshot::Sender<oneshot::Sender<()>>;

/// The handles on a running watch.
#[derive(Debug)]
struct Entry {
    end: End,
    stop: Stop,
}

/// The watches, by the ids of their sessions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watches(Arc<Mutex<HashMap<String, Entry>>>);

/// A watch that is paused while this connection opens its session.
#[derive(Debug)]
pub(crate) struct Held {
    stopped: Stopped,
    session: String,
}

/// The channel for the result of `session/watch`, and one that closes once the reply is queued.
pub(crate) type Answering = (oneshot::Sender<Watched>, oneshot::Receiver<()>);

/// The job that reads a watched session.
pub(super) struct Reading {
    session: String,
    watch: Watch,
    teller: Teller,
    /// Used once the conversation so far was sent.
    told: Answering,
    end: oneshot::Receiver<oneshot::Sender<()>>,
}

impl Watches {
    /// Adds a watch. Returns the job that reads it, which the connection must run; `None` if the client already
    /// receives the session's updates.
    pub(super) fn begin(
        &self,
        open: &Sessions,
        session: &str,
        watch: Watch,
        story: Story,
        told: Answering,
    ) -> Option<Reading> {
        let mut watches = self.lock();
        // A watch that has ended by itself is replaced.
        let is_watched = watches.get(session).is_some_and(|it| !it.end.is_closed());
        if is_watched || open.get(session).is_some() {
            return None;
        }
        let (ends, end) = oneshot::channel();
        watches.insert(session.to_owned(), Entry { end: ends, stop: watch.stop() });
        let teller = Teller::new(session.to_owned(), story);
        Some(Reading { session: session.to_owned(), watch, teller, told, end })
    }

    /// Ends a watch, and returns once it sends nothing more. Returns `false` if there was none.
    pub(crate) async fn end(&self, session: &str) -> bool {
        let Some(Entry { end, .. }) = self.lock().remove(session) else { return false };
        let (ended, wait) = oneshot::channel();
        let ran = end.send(ended).is_ok();
        // The sender is dropped once the reader has ended.
        let _ = wait.await;
        ran
    }

    /// Ends a watch without waiting, because the session is now open on this connection.
    pub(super) fn cut(&self, session: &str) {
        self.lock().remove(session);
    }

    /// Pauses a watch once everything that it has read was sent. `None` if there is none.
    pub(crate) async fn hold(&self, session: &str) -> Option<Held> {
        let stop = self.lock().get(session).map(|it| it.stop.clone())?;
        Some(Held { stopped: stop.hold().await?, session: session.to_owned() })
    }

    /// Ends a paused watch, and returns once the client was sent everything that was stored before `opened` opened the
    /// session.
    pub(crate) async fn end_before(&self, held: Held, opened: &Session) {
        held.stopped.end_before(opened).await;
        let entry = self.lock().remove(&held.session);
        if let Some(Entry { mut end, .. }) = entry {
            end.closed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // A panic under the lock leaves a consistent map: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// Sends updates to the client until the watch ends.
    pub(super) async fn run(self, client: Client) {
        let Self { session, mut watch, mut teller, told, mut end } = self;
        let mut told = Some(told);
        loop {
            // A watch must end even if the client does not read.
            tokio::select! {
                biased;
                _ = &mut end => return,
                () = client.room() => {}
            }
            let seen = tokio::select! {
                biased;
                // Dropped when this returns, which reports the end.
                _ended = &mut end => return,
                seen = watch.next() => seen,
            };
            match seen {
                None => return,
                Some(Seen::Said(update)) => match teller.tell(update) {
                    Some(Told::Push(push)) => client.push(&push),
                    // Questions are sent with `Seen::Stands`.
                    Some(Told::Ask(_)) | None => {}
                },
                Some(Seen::Result { task, entered }) => teller.knows(task, entered),
                Some(Seen::Stands(stands)) => {
                    let watched = watched(&session, stands);
                    match told.take() {
                        // The requester may be gone. Later updates follow the reply.
                        Some((told, replied)) => {
                            drop(told.send(watched));
                            let _ = replied.await;
                        }
                        None => client.push(&Push::Watched(watched)),
                    }
                }
            }
        }
    }
}
