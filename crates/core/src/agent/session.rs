//! A conversation with an agent that runs commands: it takes prompts, runs turns, and drains the queue before each
//! model call.
//!
//! [`Session`] is a handle on one owner task, the only one that changes the history. The session sends what happens as
//! [`Updates`], which one front reads. Messages and facts are stored in the ledger before anything depends on them, so
//! a session that was killed can be loaded where it stopped.

mod again;
mod calls;
mod compact;
mod listed;
mod long;
mod manner;
mod outage;
mod owner;
mod prompt;
mod resume;
mod step;
mod turn;
mod watching;
mod work;
mod written;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use super::message::{Image, Said};
use super::permission::{Rule, Rules};
use super::provider::Provider;
use super::servers::Server;
use super::story::{Story, Timeline};
use super::tools::{self, Diff, Kind, PlanEntry};
use super::trace::{self, Origin, Trace};
use super::usage::{Cost, Usage};
use crate::background::Background;
use crate::background::task::{Notification, Task, TaskId};
use crate::confine::Mode;

pub use listed::Info;
pub use manner::{Choice, Chosen};
pub use watching::{Holder, Question, Seen, Stands, Stop, Stopped, Watch};

/// What a session is opened with.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The model that answers.
    pub provider: Provider,
    /// The permission rules for its tool calls.
    pub rules: Rules,
    /// Whether a person can be asked. If not, a call that needs a question is denied, and the model is told why.
    pub can_ask: bool,
    /// Limits and defaults of the session.
    pub policy: Policy,
    /// Access to files through the person's editor, which has unsaved changes; `None` if there is no editor.
    pub editor: Option<tools::Editor>,
    /// MCP servers whose tools the session offers.
    pub servers: Vec<Server>,
}

/// How sessions behave (`config.toml`, section `agent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What happens when a task ends while the agent is idle.
    pub wake: Wake,
    /// The most model calls in one turn. Default 100.
    pub calls_per_turn: u32,
    /// The most turns in an hour that the agent starts by itself. Default 60.
    pub wakes_per_hour: u32,
    /// Limits of the tools.
    pub tools: tools::Budget,
    /// How long a task may run while no daemon is attached; `None` for no limit.
    pub linger: Option<Duration>,
    /// The maximum length of an answer that is requested, in tokens; `None` for the model's own.
    pub answer_tokens: Option<u32>,
    /// Whether commands that rules allow are confined ([`Mode::Work`]). Default no.
    pub confine_allowed: bool,
    /// Whether commands confined with [`Mode::Work`] may use the network. Default no.
    pub network: bool,
    /// Whether models accept images; `None`: only models that are known to.
    pub images: Option<bool>,
}

/// What happens when a task ends while the agent is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The result starts a turn.
    On,
    /// The result waits for the next prompt.
    Queue,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            wake: Wake::On,
            calls_per_turn: 100,
            wakes_per_hour: 60,
            tools: tools::Budget::default(),
            linger: Some(Duration::from_secs(3_600)),
            answer_tokens: None,
            confine_allowed: false,
            network: false,
            images: None,
        }
    }
}

/// The id of a session, which is also the name of its queue: a v4 UUID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// The UUID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a queue belongs to a session. The names of other queues are chosen by people.
    pub fn names(queue: &str) -> bool {
        // Of the forms that the parser accepts, only the one with hyphens has 36 characters.
        queue.len() == 36 && uuid::Uuid::parse_str(queue).is_ok()
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a request to a session failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The workspace has no session with this id.
    #[error("no session `{0}` in this workspace")]
    Unknown(String),
    /// Another process has the session open.
    #[error("session `{id}` is open in another process, pid {pid}")]
    Busy {
        /// The id of the session.
        id: SessionId,
        /// The pid of the process that has it open.
        pid: u32,
    },
    /// The prompt has no text.
    #[error("the prompt is empty; expected some text")]
    EmptyPrompt,
    /// The session was closed before or during the request.
    #[error("session `{0}` is closed")]
    Closed(SessionId),
    /// An error of the store or of a task.
    #[error(transparent)]
    Core(#[from] crate::Error),
}

/// Why a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnEnd {
    /// The model finished its answer.
    EndTurn,
    /// The answer reached its maximum length.
    MaxTokens,
    /// The turn reached [`Policy::calls_per_turn`].
    MaxCalls,
    /// The model refused to answer.
    Refusal,
    /// [`Session::cancel`] ended the turn.
    Cancelled,
    /// A model call failed; the text says why and what to do. The prompt stays in the history.
    Failed(String),
}

/// What a session sends to its front, in order.
#[expect(clippy::large_enum_variant, reason = "only a few exist at a time")]
#[derive(Debug)]
pub enum Update {
    /// A turn started.
    TurnStarted {
        /// The turn's number in the session, from 1.
        turn: u64,
        /// Whether a prompt or a result started it.
        origin: Origin,
        /// The prompt that started it. `None` if a result did, and for a watched session, where
        /// [`Update::Prompt`] follows.
        prompt: Option<String>,
    },
    /// The text of a prompt. Only sent on a load, and for a watched session.
    Prompt(String),
    /// An image of a prompt. Only sent on a load, and for a watched session.
    Image(Image),
    /// The next updates are the answer of a model call. Only sent on a load; otherwise the trace has this.
    Answer {
        /// The model call's number in the session, from 1.
        call: u64,
    },
    /// The next piece of an answer's text.
    Text(String),
    /// The next piece of an answer's reasoning.
    Thinking(String),
    /// The model call failed and will be retried; what it has streamed so far is void.
    Retrying {
        /// The number of the next attempt.
        attempt: u32,
        /// The time until the next attempt.
        delay: Duration,
        /// The error of the failed attempt.
        why: String,
    },
    /// The model calls a tool.
    ToolCall {
        /// The model's id of the call.
        id: String,
        /// The name of the tool.
        name: String,
        /// A short description of the call for people.
        title: String,
        /// What the call does: read, edit, run a command and so on.
        kind: Kind,
        /// The arguments, as JSON.
        input: Box<RawValue>,
        /// The files that the call reads or writes.
        locations: Vec<PathBuf>,
    },
    /// The tool call is allowed and starts to run.
    ToolRunning {
        /// The model's id of the call.
        id: String,
        /// How its command is confined; `None` if it is not.
        confined: Option<Mode>,
    },
    /// The tool call has started a task, or its task has moved to the background.
    ToolTask {
        /// The model's id of the call.
        id: String,
        /// The task that runs the command.
        task: Task,
        /// Whether the task is in the background, from its start or from now on.
        background: bool,
    },
    /// The tool call has ended.
    ToolEnded {
        /// The model's id of the call.
        id: String,
        /// The result that the model gets.
        content: String,
        /// Whether the call failed.
        is_error: bool,
        /// Whether the call was denied, so that the tool did not run.
        denied: bool,
        /// The change to a file, if the call made one.
        diff: Option<Diff>,
        /// The task that ran its command. Only set on a load; otherwise [`Update::ToolTask`] was sent before.
        task: Option<TaskId>,
    },
    /// The complete current plan of the agent.
    Plan(Vec<PlanEntry>),
    /// Notifications of background tasks were added to the history, before a model call.
    Background {
        /// The number of the model call whose request contains them.
        call: u64,
        /// The text that the model gets.
        text: String,
        /// The notifications in the text; empty on a load.
        notifications: Vec<Notification>,
    },
    /// A text that the program, not a person, added for the model.
    Notice(String),
    /// A question to the person. Dropping `reply` means no.
    Ask(Ask),
    /// Tokens and cost, after an answer.
    Usage {
        /// Tokens in the context now.
        used: u64,
        /// The size of the context in tokens, if known.
        size: Option<u64>,
        /// The tokens of the last call.
        last: Usage,
        /// The cost of the whole session, if known.
        cost: Option<Cost>,
    },
    /// The session got a title.
    Title(String),
    /// A fact was added to the trace.
    Traced(trace::Event),
    /// A turn ended.
    TurnEnded {
        /// The turn's number in the session, from 1.
        turn: u64,
        /// Whether a prompt or a result started it.
        origin: Origin,
        /// Why the turn ended.
        end: TurnEnd,
    },
}

/// A question to the person.
#[derive(Debug)]
pub struct Ask {
    /// The model's id of the tool call, sent before in [`Update::ToolCall`].
    pub id: String,
    /// A short description of the call for people.
    pub title: String,
    /// The same with a verb, as it follows "may the agent": `edit src/main.rs`.
    pub question: String,
    /// What the call does: read, edit, run a command and so on.
    pub kind: Kind,
    /// The arguments, as JSON.
    pub input: Box<RawValue>,
    /// The change that the call would make to a file. The answer may then be [`Answer::AllowInstead`].
    pub change: Option<Diff>,
    /// Why the person must be asked.
    pub why: String,
    /// The rules that an answer with "always" would add; if empty, "always" is not offered.
    pub always: Vec<Rule>,
    /// Whether the call is a command that [`Answer::AllowConfined`] can run confined.
    pub can_confine: bool,
    /// The channel for the answer.
    pub reply: oneshot::Sender<Answer>,
}

/// The person's answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Allow this call.
    Allow,
    /// Allow this call, with a different text for the file.
    AllowInstead {
        /// The complete new text of the file.
        text: String,
        /// Also allow similar calls from now on, without a change to their text.
        always: bool,
    },
    /// Allow this call, confined to the workspace.
    AllowConfined,
    /// Allow this call, and similar ones in this workspace from now on.
    AllowAlways,
    /// Reject this call.
    Reject,
    /// Reject this call, and similar ones in this workspace from now on.
    RejectAlways,
}

/// The receiver of a session's updates. There is one; the session waits for it once `UPDATES` updates are unread.
#[derive(Debug)]
pub struct Updates(mpsc::Receiver<Update>);

impl Updates {
    /// Returns the next update, or `None` once the session is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Update> {
        self.0.recv().await
    }
}

/// A handle on an open session. Cheap to clone; the session closes with [`Session::close`] or when the
/// last handle is dropped.
#[derive(Debug, Clone)]
pub struct Session {
    id: SessionId,
    background: Background,
    manner: watch::Sender<manner::Manner>,
    instructions: mpsc::Sender<Instruction>,
    /// The last message and fact that were stored before the session was opened.
    since: watching::Since,
}

/// The most updates that wait for the front: a few seconds of a fast stream. Then the session waits for the front and
/// stops reading the model's answer.
const UPDATES: usize = 256;
/// The most instructions that wait for the owner, which takes them at once; callers wait if the channel is full.
const INSTRUCTIONS: usize = 64;

/// A request of a person that leads to a turn.
#[derive(Debug)]
enum Wish {
    /// Answer this prompt.
    Say(Said),
    /// Replace the history with a summary.
    Compact,
}

/// A request to the owner task.
#[derive(Debug)]
enum Instruction {
    /// Run a turn, with retries for this long; the sender gets how it ended.
    Prompt(Wish, Duration, oneshot::Sender<TurnEnd>),
    /// End the running turn.
    Cancel,
    /// End the running turn and drop the waiting prompts.
    CancelAll,
    /// Check again whether there is something to do.
    Look,
    /// Answer once the session is idle.
    Idle(oneshot::Sender<()>),
    /// Close the session, then answer.
    Close(oneshot::Sender<()>),
}

impl Session {
    /// Creates a session.
    pub async fn create(background: Background, terms: Terms) -> Result<(Self, Updates), Error> {
        let id = SessionId(uuid::Uuid::new_v4().to_string());
        let (workspace, model) = (background.workspace().to_owned(), terms.provider.setting());
        let (name, holder) = (id.0.clone(), background.holder().to_owned());
        background
            .store()
            .write(move |l| {
                l.create_session(&workspace, &name, &model, (&holder, std::process::id()))
            })
            .await?;
        let begun = work::Begun::default();
        Self::start(background, terms, id, begun).await
    }

    /// Opens an existing session, and repairs what a crash left unfinished. Its updates start with the whole
    /// conversation, followed by [`trace::Fact::Resumed`].
    pub async fn load(
        background: Background,
        terms: Terms,
        id: &str,
    ) -> Result<(Self, Updates), Error> {
        Self::reopen(background, terms, id, true).await
    }

    /// Opens an existing session like [`Session::load`], but without updates for the conversation so far.
    pub async fn resume(
        background: Background,
        terms: Terms,
        id: &str,
    ) -> Result<(Self, Updates), Error> {
        Self::reopen(background, terms, id, false).await
    }

    async fn reopen(
        background: Background,
        terms: Terms,
        id: &str,
        says_again: bool,
    ) -> Result<(Self, Updates), Error> {
        let id = resume::claim(&background, id).await?;
        let mut begun = match resume::read(&background, &id).await {
            Ok(begun) => begun,
            Err(error) => {
                work::release(&background, &id);
                return Err(error);
            }
        };
        if !says_again {
            begun.replay.messages.clear();
        }
        Self::start(background, terms, id, begun).await
    }

    async fn start(
        background: Background,
        terms: Terms,
        id: SessionId,
        begun: work::Begun,
    ) -> Result<(Self, Updates), Error> {
        let (instructions, receiver) = mpsc::channel(INSTRUCTIONS);
        let (sender, updates) = mpsc::channel(UPDATES);
        let (chooses, manner) = manner::begin(&terms);
        let since = begun.since;
        let begun = (begun, manner);
        let owner =
            owner::Owner::new(background.clone(), terms, id.clone(), begun, receiver, sender);
        // The handles own this task: it ends when the last one is dropped or one of them closes the session.
        tokio::spawn(owner.await?.run());
        Ok((Self { id, background, manner: chooses, instructions, since }, Updates(updates)))
    }

    /// The trace of a session, open or not, after event `after`: at most [`trace::EVENTS_MAX`] events.
    pub async fn trace(background: &Background, id: &str, after: u64) -> Result<Trace, Error> {
        trace::read(background, id, after, trace::EVENTS_MAX).await
    }

    /// The story of a session so far, open or not.
    pub async fn story(background: &Background, id: &str) -> Result<Story, Error> {
        Ok(Story::of(&trace::read(background, id, 0, u32::MAX).await?))
    }

    /// The story of a session as lanes. If no process has it open, unfinished segments end at the last fact.
    pub async fn timeline(background: &Background, id: &str) -> Result<Timeline, Error> {
        let trace = trace::read(background, id, 0, u32::MAX).await?;
        let mut timeline = Timeline::of(&trace);
        if !trace.is_open {
            timeline.cut_off("cut off: its process ended");
        }
        Ok(timeline)
    }

    /// The lanes of this session. What was stored since it was opened counts as a change
    /// ([`Timeline::changed`]).
    pub async fn past(&self) -> Result<Timeline, Error> {
        let mut trace = trace::read(&self.background, &self.id.0, 0, u32::MAX).await?;
        let old = trace.events.partition_point(|event| event.n <= self.since.fact);
        let new = trace.events.split_off(old);
        let mut timeline = Timeline::of(&trace);
        for event in &new {
            timeline.take(event);
        }
        Ok(timeline)
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The background manager of the session's workspace.
    pub fn background(&self) -> &Background {
        &self.background
    }

    async fn send(&self, instruction: Instruction) -> Result<(), Error> {
        self.instructions.send(instruction).await.map_err(|_| Error::Closed(self.id.clone()))
    }

    /// Sends a prompt; returns when its turn has ended. Prompts that arrive during a turn are queued in order. Once
    /// accepted, a prompt is carried out even if this future is no longer polled. A failed model call ends the turn.
    pub async fn prompt(&self, text: String) -> Result<TurnEnd, Error> {
        self.prompt_for(text, Duration::ZERO).await
    }

    /// Sends a prompt like [`Session::prompt`], but retries a model call that failed for a temporary reason, with
    /// growing delays, for as long as `patience`.
    pub async fn prompt_for(
        &self,
        said: impl Into<Said>,
        patience: Duration,
    ) -> Result<TurnEnd, Error> {
        let said = said.into();
        if said.text.trim().is_empty() {
            return Err(Error::EmptyPrompt);
        }
        self.ask(Wish::Say(said), patience).await
    }

    /// Replaces the history with a summary that the model writes. This is a turn of its own, queued like a prompt.
    pub async fn compact(&self) -> Result<TurnEnd, Error> {
        self.ask(Wish::Compact, Duration::ZERO).await
    }

    async fn ask(&self, wish: Wish, patience: Duration) -> Result<TurnEnd, Error> {
        let (done, end) = oneshot::channel();
        self.send(Instruction::Prompt(wish, patience, done)).await?;
        end.await.map_err(|_| Error::Closed(self.id.clone()))
    }

    /// Ends the running turn. Commands in the foreground are stopped; background tasks keep running, and queued
    /// prompts are carried out.
    pub async fn cancel(&self) -> Result<(), Error> {
        self.send(Instruction::Cancel).await
    }

    /// Ends the running turn, and ends queued prompts as cancelled. Background tasks keep running.
    pub async fn cancel_all(&self) -> Result<(), Error> {
        self.send(Instruction::CancelAll).await
    }

    /// The session's running tasks, and the number of notifications in its queue.
    pub async fn unfinished(&self) -> Result<(Vec<Task>, u64), Error> {
        let queue = self.id.0.clone();
        let running = self.background.running_in(queue.clone()).await?;
        let workspace = self.background.workspace().to_owned();
        let waiting = self.background.store().read(move |l| l.waiting(&workspace, &queue)).await?;
        Ok((running, waiting))
    }

    /// Returns when the session is idle: no turn runs, no prompt waits, and with [`Wake::On`] no result waits either,
    /// except results held back by [`Policy::wakes_per_hour`]. [`Session::unfinished`] then returns what still runs.
    pub async fn idle(&self) -> Result<(), Error> {
        let (done, idle) = oneshot::channel();
        self.send(Instruction::Idle(done)).await?;
        idle.await.map_err(|_| Error::Closed(self.id.clone()))
    }

    /// Ends the running turn, as [`Session::cancel`] does, and closes the session.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.send(Instruction::Close(done)).await.is_ok() {
            // The session is closed either way: the owner has answered or exited.
            let _ = closed.await;
        }
    }
}
