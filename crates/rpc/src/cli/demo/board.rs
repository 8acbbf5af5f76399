//! Records what has happened in the demo, with times: model calls, tasks, and the delivery of results.
//!
//! It is built from the session's updates and the workspace's events, in any order, or from a session's trace. It
//! draws nothing; `learn` shows the same board in its own way.

use std::time::Duration;

use meanwhile_core::agent::session::Update;
use meanwhile_core::agent::tools::Builtin;
use meanwhile_core::agent::trace::{DeliveredKind, Event as Traced, Fact, Origin, Trace};
use meanwhile_core::background::Event;
use meanwhile_core::background::task::{End, Task, TaskId, Timestamp};

use crate::cli::show;

/// Everything that has happened so far.
#[derive(Debug)]
pub(crate) struct Board {
    /// When the demo started.
    pub(crate) start: Timestamp,
    session: String,
    /// The model calls, in order.
    pub(crate) calls: Vec<Call>,
    /// The background tasks, in the order in which they were started.
    pub(crate) tasks: Vec<Lane>,
    /// The number of turns that results started.
    pub(crate) wakes: usize,
    /// The start and end of each turn: between two turns the agent is idle.
    pub(crate) turns: Vec<(Timestamp, Option<Timestamp>)>,
    moments: Vec<Moment>,
    /// The current text of the model, until the call ends.
    saying: String,
    /// The call that has just started; its results may still follow.
    begun: Option<Call>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) start: Timestamp,
    pub(crate) end: Option<Timestamp>,
    /// Whether the call started a turn without a prompt.
    pub(crate) wake: bool,
}

/// A background task and the delivery of its result.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) task: Task,
    /// The number of the model call whose answer started it.
    pub(crate) spawned_in: u64,
    /// The model call that its result entered, and when.
    pub(crate) delivered: Option<(u64, Timestamp)>,
}

impl Lane {
    /// The task's label, or else its command.
    pub(crate) fn name(&self) -> String {
        show::one_line(self.task.label.as_deref().unwrap_or(&self.task.command))
    }

    pub(crate) fn end(&self) -> Option<&End> {
        self.task.end()
    }

    /// How long its result waited in the queue.
    pub(crate) fn waited(&self) -> Option<Duration> {
        let (_, at) = self.delivered?;
        Some(at.since(self.end()?.at))
    }
}

/// An event that gets a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The time since the start.
    pub(crate) after: Duration,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A person sent this prompt.
    Prompt(String),
    /// A model call started; its request contains these results.
    Call { number: u64, carries: Vec<String>, wake: bool },
    /// The model wrote this text.
    Said(String),
    /// This tool ran in the foreground.
    Tool(String),
    /// A task was started in the background.
    Spawned { name: String, command: String },
    /// A task ended, and its result was added to the queue.
    Ended { name: String, how: String, good: bool },
    /// The agent became idle.
    Idle { running: usize },
}

impl Board {
    pub(crate) fn new(start: Timestamp, session: String, prompt: &str) -> Self {
        let mut board = Self {
            start,
            session,
            calls: Vec::new(),
            tasks: Vec::new(),
            wakes: 0,
            turns: Vec::new(),
            moments: Vec::new(),
            saying: String::new(),
            begun: None,
        };
        board.push(start, What::Prompt(prompt.to_owned()));
        board
    }

    /// The board of a session from its trace, with the tasks that started in the background.
    pub(crate) fn of(session: String, trace: &Trace) -> Self {
        let start = trace.events.first().map_or(Timestamp(0), |event| event.at);
        let mut board = Self::new(start, session, "");
        for event in &trace.events {
            let Fact::TaskSpawned { call, task_id, moved: false, .. } = &event.fact else {
                continue;
            };
            let tasks = trace.journeys.iter().map(|journey| &journey.task);
            for task in tasks.filter(|task| task.id.as_str() == task_id) {
                board.spawned_by(task.clone(), *call);
            }
        }
        for event in &trace.events {
            board.update(Update::Traced(event.clone()));
        }
        board
    }

    /// The events that get a line, in order.
    pub(crate) fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// The current text of the model.
    pub(crate) fn saying(&self) -> &str {
        &self.saying
    }

    /// Whether every task has ended and its result has entered a model call.
    pub(crate) fn is_settled(&self) -> bool {
        self.tasks.iter().all(|lane| lane.end().is_some() && lane.delivered.is_some())
    }

    /// The number of running tasks.
    pub(crate) fn running(&self) -> usize {
        self.tasks.iter().filter(|lane| lane.end().is_none()).count()
    }

    /// Adds an update of the session.
    pub(crate) fn update(&mut self, update: Update) {
        // Results that enter a call are reported after its start and before anything else.
        let begins = matches!(
            &update,
            Update::Background { .. }
                | Update::TurnStarted { .. }
                | Update::Traced(Traced { fact: Fact::Delivered { .. }, .. })
        );
        if !begins {
            self.call_begins(Vec::new());
        }
        match update {
            Update::Traced(Traced { at, fact, .. }) => self.fact(at, fact),
            Update::Text(text) => self.saying.push_str(&text),
            Update::Retrying { .. } => self.saying.clear(),
            Update::ToolTask { task, background: true, .. } => self.spawned(task),
            Update::Background { notifications, .. } => {
                let mut names: Vec<String> = Vec::new();
                for told in notifications {
                    let id = told.task.id;
                    // Either the push or the request with the result may come first.
                    self.ended(told.task);
                    names.extend(self.lane(id).map(|lane| lane.name()));
                }
                self.call_begins(names);
            }
            Update::TurnStarted { .. }
            | Update::Prompt(_)
            | Update::Image(_)
            | Update::Thinking(_)
            | Update::ToolCall { .. }
            | Update::ToolRunning { .. }
            | Update::ToolTask { .. }
            | Update::ToolEnded { .. }
            | Update::Plan(_)
            | Update::Notice(_)
            | Update::Ask(_)
            | Update::Usage { .. }
            | Update::Answer { .. }
            | Update::Title(_)
            | Update::TurnEnded { .. } => {}
        }
    }

    /// Adds an event of the workspace.
    pub(crate) fn event(&mut self, event: Event) {
        // The results of a call follow its start at once, so there are none.
        self.call_begins(Vec::new());
        match event {
            Event::Exited(notification) if notification.queue == self.session => {
                self.ended(notification.task);
            }
            Event::Progress { id, progress } => {
                if let Some(lane) = self.lane(id) {
                    lane.task.progress = Some(progress);
                }
            }
            Event::Started(_)
            | Event::Began { .. }
            | Event::Output { .. }
            | Event::Listening { .. }
            | Event::State(_)
            | Event::Notified(_)
            | Event::Exited(_)
            | Event::Changed { .. } => {}
        }
    }

    fn fact(&mut self, at: Timestamp, fact: Fact) {
        match &fact {
            Fact::TurnStarted { .. } => self.turns.push((at, None)),
            Fact::TurnEnded { .. } => {
                if let Some(turn) = self.turns.last_mut() {
                    turn.1 = Some(at);
                }
            }
            Fact::CallStarted { .. }
            | Fact::CallEnded { .. }
            | Fact::ToolStarted { .. }
            | Fact::ToolEnded { .. }
            | Fact::Asked { .. }
            | Fact::Answered { .. }
            | Fact::TaskSpawned { .. }
            | Fact::Delivered { .. }
            | Fact::Compacted { .. }
            | Fact::Resumed {} => {}
        }
        match fact {
            Fact::TurnStarted { origin: Origin::Background, .. } => self.wakes += 1,
            Fact::CallStarted { call, .. } => {
                let wake = self.wakes > self.calls.iter().filter(|call| call.wake).count();
                let call = Call { number: call, start: at, end: None, wake };
                self.calls.push(call.clone());
                self.begun = Some(call);
            }
            Fact::CallEnded { call, .. } => {
                if let Some(call) = self.calls.iter_mut().find(|it| it.number == call) {
                    call.end = Some(at);
                }
                let said = std::mem::take(&mut self.saying);
                let said = show::one_line(&said);
                if !said.is_empty() {
                    self.push(at, What::Said(said));
                }
            }
            Fact::ToolStarted { name, title, .. }
                if Builtin::named(&name) != Some(Builtin::BackgroundRun) =>
            {
                self.push(at, What::Tool(format!("{name}  {}", show::one_line(&title))));
            }
            Fact::Delivered { call, task_id, kind: DeliveredKind::Exited, .. } => {
                let at = self.calls.iter().find(|it| it.number == call).map(|it| it.start);
                let id = task_id.parse().ok();
                if let (Some(at), Some(lane)) = (at, id.and_then(|id| self.lane(id))) {
                    lane.delivered = Some((call, at));
                }
            }
            Fact::TurnEnded { .. } => {
                let running = self.running();
                self.push(at, What::Idle { running });
            }
            Fact::TurnStarted { .. }
            | Fact::ToolStarted { .. }
            | Fact::ToolEnded { .. }
            | Fact::Asked { .. }
            | Fact::Answered { .. }
            | Fact::TaskSpawned { .. }
            | Fact::Delivered { .. }
            | Fact::Compacted { .. }
            | Fact::Resumed {} => {}
        }
    }

    /// Adds a task that the last call started, or that was started in parallel.
    pub(crate) fn spawned(&mut self, task: Task) {
        let spawned_in = self.calls.last().map_or(0, |call| call.number);
        self.spawned_by(task, spawned_in);
    }

    fn spawned_by(&mut self, task: Task, spawned_in: u64) {
        if self.tasks.iter().any(|lane| lane.task.id == task.id) {
            return;
        }
        let lane = Lane { task, spawned_in, delivered: None };
        let (name, command) = (lane.name(), show::one_line(&lane.task.command));
        let at = lane.task.created_at;
        self.tasks.push(lane);
        self.push(at, What::Spawned { name, command });
    }

    fn ended(&mut self, task: Task) {
        let Some(lane) = self.lane(task.id) else { return };
        if lane.task.end().is_some() {
            return;
        }
        lane.task = task;
        let name = lane.name();
        let (how, _) = show::state(&lane.task);
        if let Some(end) = lane.task.end().cloned() {
            let good = show::exit_code(&end) == 0;
            self.push(end.at, What::Ended { name, how, good });
        }
    }

    /// Records that a call has started, with these results in its request.
    fn call_begins(&mut self, carries: Vec<String>) {
        if let Some(Call { number, start, wake, .. }) = self.begun.take() {
            self.push(start, What::Call { number, carries, wake });
        }
    }

    fn lane(&mut self, id: TaskId) -> Option<&mut Lane> {
        self.tasks.iter_mut().find(|lane| lane.task.id == id)
    }

    fn push(&mut self, at: Timestamp, what: What) {
        self.moments.push(Moment { after: at.since(self.start), what });
    }
}
