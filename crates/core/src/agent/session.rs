//! A conversation that runs commands: prompts in, turns out, and a drain before each model call.
//!
//! [`Session`] is a handle on one owner task, which alone touches the history. What happens is told
//! through [`Updates`], which one front reads. What was said and done is in the ledger before
//! anything follows from it, so a session that was killed is loaded again where it was.

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

/// What a session needs from outside.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The model.
    pub provider: Provider,
    /// What it may do.
    pub rules: Rules,
    /// Whether a person can be asked. Otherwise what would be asked is denied, and the model is told
    /// why.
    pub can_ask: bool,
    /// How it behaves.
    pub policy: Policy,
    /// The person's editor, which has files that are not saved.
    pub editor: Option<tools::Editor>,
    /// Servers of MCP, whose tools are the session's.
    pub servers: Vec<Server>,
}

/// How sessions behave (`config.toml`, section `agent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What a task that ends while the agent is idle does.
    pub wake: Wake,
    /// Model calls of one turn at most. Default 100.
    pub calls_per_turn: u32,
    /// Turns the agent starts by itself in an hour at most. Default 60.
    pub wakes_per_hour: u32,
    /// How the tools behave.
    pub tools: tools::Budget,
    /// How long a task may run with no daemon attached; `None`: for ever.
    pub linger: Option<Duration>,
    /// The longest answer to ask for, in tokens; `None`: what suits the model.
    pub answer_tokens: Option<u32>,
    /// Confine to work ([`Mode::Work`]) what rules allow to run. Default no.
    pub confine_allowed: bool,
    /// Let what runs confined to work use the network. Default no.
    pub network: bool,
    /// Whether models take images; `None`: where that is known.
    pub images: Option<bool>,
}

/// What the end of a task does while the agent is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Starts a turn.
    On,
    /// Waits for the next prompt.
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

/// The name of a session, and of its queue: a v4 UUID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a queue is a session's: other queues have names that people gave.
    pub fn names(queue: &str) -> bool {
        // Of the forms that are read, the one with hyphens is as long as this.
        queue.len() == 36 && uuid::Uuid::parse_str(queue).is_ok()
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a session cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such session in this workspace.
    #[error("no session `{0}` in this workspace")]
    Unknown(String),
    /// Another process has it open.
    #[error("session `{id}` is open in another process, pid {pid}")]
    Busy {
        /// The session.
        id: SessionId,
        /// The process.
        pid: u32,
    },
    /// A prompt without words.
    #[error("the prompt is empty; expected some text")]
    EmptyPrompt,
    /// The session was closed.
    #[error("session `{0}` is closed")]
    Closed(SessionId),
    /// The store.
    #[error(transparent)]
    Core(#[from] crate::Error),
}

/// Why a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnEnd {
    /// The model had nothing more to say.
    EndTurn,
    /// Its answer reached its longest length.
    MaxTokens,
    /// [`Policy::calls_per_turn`] were made.
    MaxCalls,
    /// The model declined.
    Refusal,
    /// [`Session::cancel`].
    Cancelled,
    /// The model could not be asked; the text says why and what to do. The prompt stays in the
    /// history.
    Failed(String),
}

/// What a front is told, in order.
#[expect(clippy::large_enum_variant, reason = "one at a time, on its way to a front")]
#[derive(Debug)]
pub enum Update {
    /// A turn began.
    TurnStarted {
        /// Its number in the session, from 1.
        turn: u64,
        /// Who began it.
        origin: Origin,
        /// The prompt that it starts with. Of a watched session, its message follows instead.
        prompt: Option<String>,
    },
    /// What a person said: told on a load and of a watched session only.
    Prompt(String),
    /// What they showed with it, likewise.
    Image(Image),
    /// What follows is the answer of this model call: told on a load only; live, the trace tells.
    Answer {
        /// The call.
        call: u64,
    },
    /// More of an answer.
    Text(String),
    /// More reasoning.
    Thinking(String),
    /// The model call failed and is made again; what it streamed so far is void.
    Retrying {
        /// The number of the coming attempt.
        attempt: u32,
        /// How long from now.
        delay: Duration,
        /// What went wrong.
        why: String,
    },
    /// The model wants a tool run.
    ToolCall {
        /// The model's id of the call.
        id: String,
        /// The tool.
        name: String,
        /// What a person is shown.
        title: String,
        /// What sort of thing it does.
        kind: Kind,
        /// The arguments.
        input: Box<RawValue>,
        /// Files it touches.
        locations: Vec<PathBuf>,
    },
    /// It may run, and does.
    ToolRunning {
        /// The call.
        id: String,
        /// How far its command is confined.
        confined: Option<Mode>,
    },
    /// It runs a command.
    ToolTask {
        /// The call.
        id: String,
        /// The task.
        task: Task,
        /// It is in the background, from its start or since now.
        background: bool,
    },
    /// It came to an end.
    ToolEnded {
        /// The call.
        id: String,
        /// What the model is shown.
        content: String,
        /// It failed.
        is_error: bool,
        /// It was not run, because nothing allowed it.
        denied: bool,
        /// The change to a file.
        diff: Option<Diff>,
        /// The task that its command ran as: told on a load only; live, [`Update::ToolTask`] told it.
        task: Option<TaskId>,
    },
    /// The agent's plan, whole.
    Plan(Vec<PlanEntry>),
    /// Results of background tasks entered the history, before this model call.
    Background {
        /// The call whose request carries them.
        call: u64,
        /// The message.
        text: String,
        /// What it tells; empty on a load.
        notifications: Vec<Notification>,
    },
    /// The harness told the model something.
    Notice(String),
    /// Something is to be asked. A dropped `reply` means no.
    Ask(Ask),
    /// Tokens and cost.
    Usage {
        /// Tokens in the context now.
        used: u64,
        /// The size of the context, where known.
        size: Option<u64>,
        /// Of the last call.
        last: Usage,
        /// Of the whole session.
        cost: Option<Cost>,
    },
    /// The session has a title now.
    Title(String),
    /// A fact for the timeline.
    Traced(trace::Event),
    /// A turn ended.
    TurnEnded {
        /// The turn.
        turn: u64,
        /// Who began it.
        origin: Origin,
        /// Why.
        end: TurnEnd,
    },
}

/// A question to the person.
#[derive(Debug)]
pub struct Ask {
    /// The tool call, told before with [`Update::ToolCall`].
    pub id: String,
    /// What is shown.
    pub title: String,
    /// The same as what is asked, with a verb: `edit src/main.rs`.
    pub question: String,
    /// What sort of thing it does.
    pub kind: Kind,
    /// The arguments.
    pub input: Box<RawValue>,
    /// What it would change in a file. Such a question may be answered with [`Answer::AllowInstead`].
    pub change: Option<Diff>,
    /// Why it is asked.
    pub why: String,
    /// What "always" would add; empty: "always" is not offered.
    pub always: Vec<Rule>,
    /// It is a command, and may be let run confined ([`Answer::AllowConfined`]).
    pub can_confine: bool,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// What the person says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This once.
    Allow,
    /// This once, with another text for the file.
    AllowInstead {
        /// The whole text.
        text: String,
        /// And its like from now on, as it is called.
        always: bool,
    },
    /// This once, confined to the workspace.
    AllowConfined,
    /// And its like, in this workspace, from now on.
    AllowAlways,
    /// Not this.
    Reject,
    /// Nor its like.
    RejectAlways,
}

/// What happens in a session. One reader; the session waits for it when it is
/// `UPDATES` behind.
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
    /// What was stored of it before it was opened.
    since: watching::Since,
}

/// Updates that wait for the front: some seconds of a fast stream. Then the session waits for it,
/// and with it the model's connection.
const UPDATES: usize = 256;
/// Instructions that wait for the owner, which takes them at once; a full channel makes callers wait.
const INSTRUCTIONS: usize = 64;

/// What a person wants.
#[derive(Debug)]
enum Wish {
    /// To say this.
    Say(Said),
    /// A summary in the place of the history.
    Compact,
}

/// What the owner is asked.
#[derive(Debug)]
enum Instruction {
    /// Say this; told how the turn ended.
    Prompt(Wish, Duration, oneshot::Sender<TurnEnd>),
    /// End the turn that runs.
    Cancel,
    /// The same, and carry out none of the prompts that wait.
    CancelAll,
    /// Look again whether there is something to do.
    Look,
    /// Tell when nothing is to be done any more.
    Idle(oneshot::Sender<()>),
    /// End; told when it is done.
    Close(oneshot::Sender<()>),
}

impl Session {
    /// Makes a session.
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

    /// Opens a session again, repaired where a crash cut it off. Its updates begin with everything
    /// said so far, and after that [`trace::Fact::Resumed`].
    pub async fn load(
        background: Background,
        terms: Terms,
        id: &str,
    ) -> Result<(Self, Updates), Error> {
        Self::reopen(background, terms, id, true).await
    }

    /// The same, without what was said so far.
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
        // Owned by its handles: it ends when the last is dropped or one of them closes it.
        tokio::spawn(owner.await?.run());
        Ok((Self { id, background, manner: chooses, instructions, since }, Updates(updates)))
    }

    /// The trace of a session, open or not, after event `after`: at most
    /// [`trace::EVENTS_MAX`] events.
    pub async fn trace(background: &Background, id: &str, after: u64) -> Result<Trace, Error> {
        trace::read(background, id, after, trace::EVENTS_MAX).await
    }

    /// The story of a session so far, open or not.
    pub async fn story(background: &Background, id: &str) -> Result<Story, Error> {
        Ok(Story::of(&trace::read(background, id, 0, u32::MAX).await?))
    }

    /// The same as lanes. What a process that ended left open in the session is cut off.
    pub async fn timeline(background: &Background, id: &str) -> Result<Timeline, Error> {
        let trace = trace::read(background, id, 0, u32::MAX).await?;
        let mut timeline = Timeline::of(&trace);
        if !trace.is_open {
            timeline.cut_off("cut off: its process ended");
        }
        Ok(timeline)
    }

    /// The lanes of what was stored before this opened it, in which what came since is new.
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

    /// Its name.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The workspace it works in.
    pub fn background(&self) -> &Background {
        &self.background
    }

    async fn send(&self, instruction: Instruction) -> Result<(), Error> {
        self.instructions.send(instruction).await.map_err(|_| Error::Closed(self.id.clone()))
    }

    /// Says something; returns when the turn it makes is over. While a turn runs it is queued, in
    /// order. Once accepted it is carried out, whether this future is polled or not. A model that
    /// cannot be asked ends the turn.
    pub async fn prompt(&self, text: String) -> Result<TurnEnd, Error> {
        self.prompt_for(text, Duration::ZERO).await
    }

    /// The same, but a model that cannot be asked for a passing reason is asked again, with growing
    /// delays, for this long.
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

    /// Has the model sum up what was said, which takes the place of its history; a turn of its own, in order with
    /// prompts.
    pub async fn compact(&self) -> Result<TurnEnd, Error> {
        self.ask(Wish::Compact, Duration::ZERO).await
    }

    async fn ask(&self, wish: Wish, patience: Duration) -> Result<TurnEnd, Error> {
        let (done, end) = oneshot::channel();
        self.send(Instruction::Prompt(wish, patience, done)).await?;
        end.await.map_err(|_| Error::Closed(self.id.clone()))
    }

    /// Ends the turn that runs. A command in the foreground is stopped; background tasks go on, and
    /// prompts that wait are carried out.
    pub async fn cancel(&self) -> Result<(), Error> {
        self.send(Instruction::Cancel).await
    }

    /// Ends the turn that runs, and answers the prompts that wait as cancelled. Background tasks go on.
    pub async fn cancel_all(&self) -> Result<(), Error> {
        self.send(Instruction::CancelAll).await
    }

    /// The session's tasks that run, and how many results wait.
    pub async fn unfinished(&self) -> Result<(Vec<Task>, u64), Error> {
        let queue = self.id.0.clone();
        let running = self.background.running_in(queue.clone()).await?;
        let workspace = self.background.workspace().to_owned();
        let waiting = self.background.store().read(move |l| l.waiting(&workspace, &queue)).await?;
        Ok((running, waiting))
    }

    /// Returns when the session is idle: no turn runs, no prompt waits, and with [`Wake::On`] no
    /// result waits either, unless [`Policy::wakes_per_hour`] keeps it waiting. Then
    /// [`Session::unfinished`] says what still runs.
    pub async fn idle(&self) -> Result<(), Error> {
        let (done, idle) = oneshot::channel();
        self.send(Instruction::Idle(done)).await?;
        idle.await.map_err(|_| Error::Closed(self.id.clone()))
    }

    /// Ends the turn that runs, as [`Session::cancel`] does, and closes the session.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.send(Instruction::Close(done)).await.is_ok() {
            // Closed either way: it said so, or its owner is gone.
            let _ = closed.await;
        }
    }
}
