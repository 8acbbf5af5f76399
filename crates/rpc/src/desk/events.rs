//! Pushes the events of the workspace to the client.
//!
//! Reads the background manager's events one by one and sends each before it takes the next, which preserves their
//! order. It waits while the client does not read; the manager then keeps lifecycle events and skips output.

use std::collections::HashMap;
use std::sync::Arc;

use meanwhile_core::background::task::{Serving, Task, TaskId, Timestamp};
use meanwhile_core::background::{Event, Events};
use tokio::sync::RwLock;

use super::lanes::Lanes;
use super::sessions::Sessions;
use crate::convert::from_wire::Defaults;
use crate::convert::to_wire;
use crate::peer::Client;
use crate::wire::{self, Push};

/// Pushes events until the background manager is closed.
pub(super) async fn run(
    mut events: Events,
    client: Client,
    output_gate: Arc<RwLock<()>>,
    sessions: Sessions,
    defaults: Defaults,
) {
    let mut pusher = Pusher { client, texts: Texts::default(), defaults };
    loop {
        pusher.client.room().await;
        let Some(event) = events.next().await else { return };
        if let Event::Output { .. } = event {
            // Waits until the current subscriptions were answered; released at once so that new ones need not wait.
            drop(output_gate.write().await);
        }
        let news = News::of(&event, &sessions);
        pusher.push(event);
        if let Some(news) = news {
            news.tell(&pusher.client).await;
        }
    }
}

/// What an event means for the timelines of sessions.
enum News {
    Task(Box<Task>, Arc<Lanes>),
    Serves(TaskId, Serving, Vec<Arc<Lanes>>),
}

impl News {
    fn of(event: &Event, sessions: &Sessions) -> Option<Self> {
        let task = match event {
            Event::Started(task) | Event::Began { task, .. } => task,
            Event::Notified(notification) | Event::Exited(notification) => &notification.task,
            Event::Listening { id, serving } => {
                return Some(Self::Serves(*id, serving.clone(), sessions.lanes()));
            }
            Event::Output { .. }
            | Event::Progress { .. }
            | Event::State(_)
            | Event::Changed { .. } => return None,
        };
        let lanes = sessions.get(&task.queue)?.lanes?;
        Some(Self::Task(Box::new(task.clone()), lanes))
    }

    async fn tell(self, client: &Client) {
        let now = Timestamp::now();
        match self {
            Self::Task(task, lanes) => lanes.change(client, |it| it.task(&task, now)).await,
            Self::Serves(id, serving, all) => {
                for lanes in all {
                    lanes.change(client, |it| it.serves(id, serving.clone(), now)).await;
                }
            }
        }
    }
}

struct Pusher {
    client: Client,
    texts: Texts,
    defaults: Defaults,
}

impl Pusher {
    fn push(&mut self, event: Event) {
        match event {
            Event::Started(task) => {
                self.client.push(&Push::Started(wire::StartedPush { task: to_wire::task(&task) }));
            }
            Event::Began { task, waited } if self.defaults.tells_began => {
                let waited_ms = to_wire::millis(waited);
                let task = to_wire::task(&task);
                self.client.push(&Push::Began(wire::BeganPush { task, waited_ms }));
            }
            Event::Began { .. } => {}
            Event::Output { id, offset, data } => {
                if let Some(piece) = self.texts.take(id, offset, data) {
                    self.output(id, piece);
                }
            }
            Event::Progress { id, progress } => {
                self.client.push(&Push::Progress(wire::ProgressPush {
                    id: id.to_string(),
                    percent: progress.percent,
                    message: progress.message,
                }));
            }
            Event::Listening { id, serving } => {
                self.client.push(&Push::Listening(wire::ListeningPush {
                    id: id.to_string(),
                    ports: serving.ports,
                    ready: serving.ready,
                }));
            }
            Event::State(task) if self.defaults.tells_state => {
                let mut task = to_wire::task(&task);
                if !self.defaults.knows_queued {
                    task = task.without_queued_state();
                }
                self.client.push(&Push::State(wire::StatePush { task }));
            }
            Event::State(_) => {}
            Event::Notified(notification) => {
                let notification = to_wire::notification(&notification);
                self.client.push(&Push::Notified(wire::NotifiedPush { notification }));
            }
            Event::Exited(notification) => {
                let id = notification.task.id;
                if let Some(rest) = self.texts.end(id) {
                    self.output(id, rest);
                }
                let notification = to_wire::notification(&notification);
                self.client.push(&Push::Exited(wire::ExitedPush { notification }));
            }
            Event::Changed { running, undelivered } => {
                let running = running.iter().map(ToString::to_string).collect();
                self.client.push(&Push::Changed(wire::Changed { running, undelivered }));
            }
        }
    }

    fn output(&self, id: TaskId, piece: Piece) {
        let (data, encoding) = to_wire::exact(piece.data);
        let push = wire::OutputPush { id: id.to_string(), offset: piece.offset, data, encoding };
        self.client.push(&Push::Output(push));
    }
}

/// A piece of a task's output.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    offset: u64,
    data: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }
}

/// Keeps UTF-8 characters whole: an incomplete one at the end of a piece waits for the next piece.
#[derive(Debug, Default)]
struct Texts(HashMap<TaskId, Piece>);

impl Texts {
    /// The bytes to send now: what was held back, then the piece up to its last whole character.
    fn take(&mut self, id: TaskId, offset: u64, data: Vec<u8>) -> Option<Piece> {
        let mut piece = match self.0.remove(&id) {
            Some(mut held) if held.end() == offset => {
                held.data.extend_from_slice(&data);
                held
            }
            // Output was skipped, including the rest of the held character; `task/read` returns both.
            Some(_) | None => Piece { offset, data },
        };
        let whole = piece.data.len() - to_wire::incomplete_tail(&piece.data);
        let tail = piece.data.split_off(whole);
        if !tail.is_empty() {
            self.0.insert(id, Piece { offset: piece.end(), data: tail });
        }
        (!piece.data.is_empty()).then_some(piece)
    }

    /// The bytes that are still held back when the task has ended.
    fn end(&mut self, id: TaskId) -> Option<Piece> {
        self.0.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TaskId {
        "0123abcd".parse().unwrap()
    }

    fn piece(offset: u64, data: &[u8]) -> Option<Piece> {
        Some(Piece { offset, data: data.to_vec() })
    }

    #[test]
    fn a_character_is_never_split() {
        let text = "añ€😀".as_bytes();
        for cut in 0..=text.len() {
            let mut texts = Texts::default();
            let mut all = Vec::new();
            for (offset, part) in [(0, &text[..cut]), (cut, &text[cut..])] {
                if let Some(piece) = texts.take(id(), offset as u64, part.to_vec()) {
                    assert_eq!(piece.offset, all.len() as u64, "cut at {cut}");
                    assert!(std::str::from_utf8(&piece.data).is_ok(), "cut at {cut}");
                    all.extend(piece.data);
                }
            }
            assert_eq!(all, text, "cut at {cut}");
            assert_eq!(texts.end(id()), None, "cut at {cut}");
        }
    }

    #[test]
    fn an_incomplete_character_is_sent_at_the_end() {
        let mut texts = Texts::default();
        assert_eq!(texts.take(id(), 0, b"ab\xe2\x82".to_vec()), piece(0, b"ab"));
        assert_eq!(texts.end(id()), piece(2, b"\xe2\x82"));
        assert_eq!(texts.take(id(), 4, b"\xff\xfe".to_vec()), piece(4, b"\xff\xfe"));
    }

    #[test]
    fn skipped_output_shows_as_a_jump_of_the_offset() {
        let mut texts = Texts::default();
        assert_eq!(texts.take(id(), 0, b"ab\xe2".to_vec()), piece(0, b"ab"));
        assert_eq!(texts.take(id(), 100, b"cd".to_vec()), piece(100, b"cd"));
    }
}
