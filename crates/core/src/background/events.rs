//! Events for a client, in the order that the protocol guarantees.
//!
//! The supervisor queues lifecycle events; output is read here, from the log, when the reader asks for the next
//! event. So a reader that stalls blocks nothing and fills no memory with output: it sees a jump of the offset.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::background::Event;
use crate::background::executor::Archive;
use crate::background::task::TaskId;
use crate::limits::{PUSH_BYTES, PUSH_INTERVAL};

/// How far a subscriber may lag and still get all output: at 20 pushes a second, 0.8 s. A slower one only gets
/// the newest output.
const BACKLOG_BYTES: u64 = 16 * PUSH_BYTES;

/// A message from the supervisor to the reader of the events.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "events are most of what is sent")]
pub enum Signal {
    /// A lifecycle event, with the id of the task that it is about, if any.
    Event(Option<TaskId>, Event),
    /// Hold back events of this task until it is released.
    Hold(TaskId),
    /// Stop holding back events of this task.
    Release(TaskId),
    /// Push output of this task from this offset on.
    Subscribe(TaskId, u64),
    /// Stop pushing output of this task.
    Unsubscribe(TaskId),
    /// The task may have new output.
    Output(TaskId),
}

/// Maximum number of signals that wait for a reader, at some 5 kB each. A reader with more is considered dead:
/// the events are in the ledger, where the next reader finds them.
const SIGNALS_MAX: usize = 8_192;

/// The supervisor's end of the channel.
#[derive(Debug, Clone)]
pub struct Signals {
    sender: UnboundedSender<Signal>,
    waiting: Arc<AtomicUsize>,
}

impl Signals {
    /// Sends to the reader, if there is one: a visitor's events have no reader, and neither does a closed
    /// manager.
    pub fn send(&self, signal: Signal) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) <= SIGNALS_MAX {
            // It fails if the reader is gone.
            let _ = self.sender.send(signal);
        } else {
            // Cap the count just above the limit: the reader still sees that signals were dropped, and the
            // count cannot overflow.
            self.waiting.store(SIGNALS_MAX + 1, Ordering::Relaxed);
        }
    }
}

/// Holds back a task's events until it is dropped.
#[derive(Debug)]
#[must_use = "events of the task flow once this is dropped"]
pub struct Hold {
    held: Option<(TaskId, Signals)>,
}

impl Hold {
    pub(crate) fn new(id: TaskId, signals: Signals) -> Self {
        signals.send(Signal::Hold(id));
        Self { held: Some((id, signals)) }
    }

    /// Holds nothing back: the client already knows the task.
    pub(crate) fn none() -> Self {
        Self { held: None }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((id, signals)) = self.held.take() {
            signals.send(Signal::Release(id));
        }
    }
}

#[derive(Debug)]
struct Subscription {
    /// The offset of the next byte to push.
    offset: u64,
    /// Whether there may be output from there on.
    ready: bool,
    /// The earliest time of the next push.
    not_before: Instant,
}

/// The events of a workspace, in the order that docs/protocol.md guarantees. There is one reader: a daemon has
/// one client.
#[derive(Debug)]
pub struct Events {
    archive: Archive,
    signals: UnboundedReceiver<Signal>,
    unread: Arc<AtomicUsize>,
    queue: VecDeque<Event>,
    /// Tasks whose spawn has not been answered yet.
    held: HashSet<TaskId>,
    /// All signals from the first event of a held task on, so that their order is kept.
    waiting: VecDeque<Signal>,
    subscriptions: HashMap<TaskId, Subscription>,
}

impl Events {
    pub(crate) fn new(archive: Archive) -> (Signals, Self) {
        let (sender, signals) = unbounded_channel();
        let unread = Arc::new(AtomicUsize::new(0));
        let (queue, held, waiting, subscriptions) = Default::default();
        let events =
            Self { archive, signals, unread: unread.clone(), queue, held, waiting, subscriptions };
        (Signals { sender, waiting: unread }, events)
    }

    /// Returns the next event; `None` once the manager is closed, or if so many events were unread that some
    /// were dropped. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if self.unread.load(Ordering::Relaxed) > SIGNALS_MAX {
                return None;
            }
            while let Ok(signal) = self.signals.try_recv() {
                self.receive(signal);
            }
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            let now = Instant::now();
            if let Some(event) = self.due_output(now) {
                return Some(event);
            }
            let wake = self.subscriptions.values().filter(|s| s.ready).map(|s| s.not_before).min();
            tokio::select! {
                signal = self.signals.recv() => self.receive(signal?),
                () = sleep_until(wake) => {}
            }
        }
    }

    fn receive(&mut self, signal: Signal) {
        self.unread.fetch_sub(1, Ordering::Relaxed);
        match signal {
            Signal::Hold(id) => {
                self.held.insert(id);
            }
            Signal::Release(id) => {
                self.held.remove(&id);
            }
            Signal::Event(..)
            | Signal::Subscribe(..)
            | Signal::Unsubscribe(_)
            | Signal::Output(_) => self.waiting.push_back(signal),
        }
        while let Some(signal) = self.waiting.pop_front() {
            if let Signal::Event(Some(id), _) = &signal
                && self.held.contains(id)
            {
                return self.waiting.push_front(signal);
            }
            self.take(signal);
        }
    }

    fn take(&mut self, signal: Signal) {
        match signal {
            Signal::Hold(_) | Signal::Release(_) => {}
            Signal::Event(Some(id), event) => {
                // A subscriber gets all of a task's output before its end.
                if let Event::Exited(_) = &event {
                    let last = self.output(id, PUSH_BYTES);
                    self.queue.extend(last);
                    self.subscriptions.remove(&id);
                }
                self.queue.push_back(event);
            }
            Signal::Event(None, event) => {
                // The new state replaces one that has not been read yet.
                if let (Event::Changed { .. }, Some(Event::Changed { .. })) =
                    (&event, self.queue.back())
                {
                    self.queue.pop_back();
                }
                self.queue.push_back(without(event, &self.held));
            }
            Signal::Subscribe(id, offset) => {
                let new = Subscription { offset, ready: true, not_before: Instant::now() };
                self.subscriptions.insert(id, new);
            }
            Signal::Unsubscribe(id) => {
                self.subscriptions.remove(&id);
            }
            Signal::Output(id) => {
                if let Some(subscription) = self.subscriptions.get_mut(&id) {
                    subscription.ready = true;
                }
            }
        }
    }

    fn due_output(&mut self, now: Instant) -> Option<Event> {
        let due = |s: &Subscription| s.ready && s.not_before <= now;
        let ids: Vec<TaskId> =
            self.subscriptions.iter().filter(|(_, s)| due(s)).map(|(id, _)| *id).collect();
        ids.into_iter().find_map(|id| self.output(id, BACKLOG_BYTES))
    }

    /// The next push of a subscribed task's output, if there is any. If the subscriber is more than `backlog`
    /// bytes behind, the newest output.
    fn output(&mut self, id: TaskId, backlog: u64) -> Option<Event> {
        let subscription = self.subscriptions.get_mut(&id)?;
        subscription.ready = false;
        let mut reading = self.archive.read(id).ok()?;
        let mut from = subscription.offset;
        if reading.total().saturating_sub(from) > backlog {
            from = reading.total() - PUSH_BYTES;
        }
        let range = reading.next_kept(from)?;
        let range = range.start..range.end.min(range.start + PUSH_BYTES);
        // If the range was overwritten while it was read, the next push shows a jump.
        let data = reading.read(range.clone()).ok()?;
        subscription.not_before = Instant::now() + PUSH_INTERVAL;
        subscription.ready = range.end < reading.total();
        let data = data?;
        subscription.offset = range.end;
        Some(Event::Output { id, offset: range.start, data })
    }
}

/// Removes tasks whose spawn has not been answered yet.
fn without(event: Event, held: &HashSet<TaskId>) -> Event {
    match event {
        Event::Changed { mut running, undelivered } => {
            running.retain(|id| !held.contains(id));
            Event::Changed { running, undelivered }
        }
        Event::Started(_)
        | Event::Began { .. }
        | Event::Output { .. }
        | Event::Progress { .. }
        | Event::Listening { .. }
        | Event::State(_)
        | Event::Notified(_)
        | Event::Exited(_) => event,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Time between two checks of a task's output while a client subscribes to it.
pub const SUBSCRIBED_ROUND: Duration = PUSH_INTERVAL;
