//! The sessions of other processes that are watched on this connection: each is read by one job of the connection.

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

/// What ends a watch; dropped once it has ended.
type End = oneshot::Sender<oneshot::Sender<()>>;

/// A watch as others see it.
#[derive(Debug)]
struct Entry {
    end: End,
    stop: Stop,
}

/// The watches, by the names of their sessions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watches(Arc<Mutex<HashMap<String, Entry>>>);

/// A watch that stands still while its session is opened here.
#[derive(Debug)]
pub(crate) struct Held {
    stopped: Stopped,
    session: String,
}

/// How a watch is answered, and what ends once the reply is queued.
pub(crate) type Answering = (oneshot::Sender<Watched>, oneshot::Receiver<()>);

/// What reads a watched session.
pub(super) struct Reading {
    session: String,
    watch: Watch,
    teller: Teller,
    /// Told once all that was said before is.
    told: Answering,
    end: oneshot::Receiver<oneshot::Sender<()>>,
}

impl Watches {
    /// Takes a watch in. What reads it is handed back, to be run by the connection; `None`: the client is told of the
    /// session already.
    pub(super) fn begin(
        &self,
        open: &Sessions,
        session: &str,
        watch: Watch,
        story: Story,
        told: Answering,
    ) -> Option<Reading> {
        let mut watches = self.lock();
        // One that has ended by itself is forgotten here.
        let is_watched = watches.get(session).is_some_and(|it| !it.end.is_closed());
        if is_watched || open.get(session).is_some() {
            return None;
        }
        let (ends, end) = oneshot::channel();
        watches.insert(session.to_owned(), Entry { end: ends, stop: watch.stop() });
        let teller = Teller::new(session.to_owned(), story);
        Some(Reading { session: session.to_owned(), watch, teller, told, end })
    }

    /// Ends a watch, and returns once nothing more of it is told. `false`: there was none.
    pub(crate) async fn end(&self, session: &str) -> bool {
        let Some(Entry { end, .. }) = self.lock().remove(session) else { return false };
        let (ended, wait) = oneshot::channel();
        let ran = end.send(ended).is_ok();
        // It is dropped once the reader has ended.
        let _ = wait.await;
        ran
    }

    /// Ends a watch at once: the session is open here, and its client is told by that.
    pub(super) fn cut(&self, session: &str) {
        self.lock().remove(session);
    }

    /// Has a watch stand still, once its client has all that it has read. `None`: there is none.
    pub(crate) async fn hold(&self, session: &str) -> Option<Held> {
        let stop = self.lock().get(session).map(|it| it.stop.clone())?;
        Some(Held { stopped: stop.hold().await?, session: session.to_owned() })
    }

    /// Ends a watch that was held, and returns once its client has all that was said before `opened` opened the
    /// session.
    pub(crate) async fn end_before(&self, held: Held, opened: &Session) {
        held.stopped.end_before(opened).await;
        let entry = self.lock().remove(&held.session);
        if let Some(Entry { mut end, .. }) = entry {
            end.closed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // A panic under the lock leaves a map that is whole: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// Tells the client until the watch is ended.
    pub(super) async fn run(self, client: Client) {
        let Self { session, mut watch, mut teller, told, mut end } = self;
        let mut told = Some(told);
        loop {
            // The end of a watch waits for no client that does not read.
            tokio::select! {
                biased;
                _ = &mut end => return,
                () = client.room() => {}
            }
            let seen = tokio::select! {
                biased;
                // Held until this returns.
                _ended = &mut end => return,
                seen = watch.next() => seen,
            };
            match seen {
                None => return,
                Some(Seen::Said(update)) => match teller.tell(update) {
                    Some(Told::Push(push)) => client.push(&push),
                    // Questions are among what stands.
                    Some(Told::Ask(_)) | None => {}
                },
                Some(Seen::Result { task, entered }) => teller.knows(task, entered),
                Some(Seen::Stands(stands)) => {
                    let watched = watched(&session, stands);
                    match told.take() {
                        // Who asked may be gone. What is newer follows the reply.
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
