//! A session's story as lanes: computed here once, drawn by every client.
//!
//! Adds facts and tasks as they arrive, or a whole trace, and keeps the pieces. [`Timeline::changed`] returns what is
//! new since its last call, so that a client that has the whole timeline only gets changes.

mod sheet;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::piece::{Arrow, Lane, LaneKind, Look, Mark, MarkKind, Piece, Segment, SegmentKind};
use super::{Passage, Story, Way};
use sheet::Sheet;

use crate::agent::trace::{DeliveredKind, Event, Fact, Origin, Trace};
use crate::background::task::{DeliveredBy, Serving, State, Task, TaskId, Timestamp};
use crate::background::words;

/// The most task lanes that are shown: the newest, and all lanes of running tasks in addition.
pub const LANES_MAX: usize = 200;
/// The most pieces of the agent's lane that are shown: the newest.
const PIECES_MAX: usize = 5_000;
/// A task that started within this time after its spawn did not wait in a queue.
const AT_ONCE: Duration = Duration::from_millis(250);

const AGENT: &str = "agent";
const QUEUE: &str = "queue";

/// The lanes of a session, or of tasks without a session.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    story: Story,
    sheet: Sheet,
    /// Whether it has only tasks and no agent.
    without_agent: bool,
    /// The time of the last fact.
    at: Option<Timestamp>,
    /// The notifications that the request of each model call contained.
    carried: HashMap<u64, Vec<(TaskId, DeliveredKind)>>,
    /// The model call whose request contained a task's end, and how the end was delivered.
    entered: HashMap<TaskId, (u64, DeliveredBy)>,
    /// The model call that spawned a task.
    spawned: HashMap<TaskId, u64>,
    /// When a task that waited in a queue started.
    began: HashMap<TaskId, Timestamp>,
    /// The keys of open tool calls and questions, by the id of the tool call.
    open: HashMap<(SegmentKind, String), String>,
}

/// A fact, or a change of a task.
enum Step<'a> {
    Fact(&'a Event),
    Began(&'a Task),
    Ended(&'a Task),
}

impl Timeline {
    /// The lanes of a session, from its trace.
    pub fn of(trace: &Trace) -> Self {
        let mut timeline = Self::default();
        let mut steps: Vec<_> = trace.events.iter().map(|it| (it.at, Step::Fact(it))).collect();
        for event in &trace.events {
            if let Fact::Delivered { call, task_id, kind: DeliveredKind::Exited, by, .. } =
                &event.fact
                && let Ok(id) = task_id.parse()
            {
                timeline.entered.insert(id, (*call, *by));
            }
        }
        for journey in &trace.journeys {
            let id = journey.task.id;
            if let Some(call) = journey.spawned_in_call {
                timeline.spawned.insert(id, call);
            }
            if let Some(entered) = journey.delivered {
                timeline.entered.insert(id, entered);
            }
        }
        steps.extend(lives(trace.journeys.iter().map(|journey| &journey.task)));
        timeline.tell(steps);
        timeline
    }

    /// The lanes of tasks without a session.
    pub fn of_tasks(tasks: &[Task]) -> Self {
        let mut timeline = Self { without_agent: true, ..Self::default() };
        if tasks.iter().any(|task| task.delivered.is_some()) {
            timeline.lanes();
        }
        timeline.tell(lives(tasks.iter()).collect());
        timeline
    }

    fn tell(&mut self, mut steps: Vec<(Timestamp, Step<'_>)>) {
        steps.sort_by_key(|(at, _)| *at);
        for (at, step) in steps {
            match step {
                Step::Fact(event) => self.take(event),
                Step::Began(task) if task.end().is_some() => {
                    self.task(&Task { state: State::Running, ..task.clone() }, at);
                }
                Step::Began(task) | Step::Ended(task) => self.task(task, at),
            }
        }
        self.sheet.changed.clear();
    }

    /// The story from which the lanes are computed.
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// All pieces that are shown, and the number of lanes that are not shown.
    pub fn whole(&self) -> (Vec<Piece>, usize) {
        let is_task = |piece: &&Piece| matches!(piece, Piece::Lane(lane) if lane.task.is_some());
        let lanes: Vec<_> = self.sheet.pieces.iter().filter(is_task).collect();
        let old = lanes.len().saturating_sub(LANES_MAX);
        let left_out: HashSet<TaskId> = lanes
            .iter()
            .take(old)
            .filter(|lane| {
                let Piece::Lane(lane) = lane else { return false };
                !matches!(lane.look, Some(Look::Running | Look::Queued))
            })
            .filter_map(|lane| lane.way_of())
            .collect();
        let of_agent = self.sheet.pieces.iter().filter(|piece| piece.way_of().is_none()).count();
        let mut skip = of_agent.saturating_sub(PIECES_MAX);
        let is_shown = |piece: &&Piece| match (piece, piece.way_of()) {
            (_, Some(task)) => !left_out.contains(&task),
            (Piece::Lane(_), None) => true,
            (_, None) if skip > 0 => {
                skip -= 1;
                false
            }
            (_, None) => true,
        };
        (self.sheet.pieces.iter().filter(is_shown).cloned().collect(), left_out.len())
    }

    /// The pieces that are new or changed since the last call.
    pub fn changed(&mut self) -> Vec<Piece> {
        let changed = std::mem::take(&mut self.sheet.changed);
        changed.into_iter().map(|place| self.sheet.pieces[place].clone()).collect()
    }

    /// Adds a fact, unless it was added before.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind of fact")]
    pub fn take(&mut self, event: &Event) {
        if event.n <= self.story.last {
            return;
        }
        self.story.take(event);
        let (at, n) = (event.at, event.n);
        self.at = Some(at);
        match &event.fact {
            Fact::TurnStarted { turn, origin, title } => {
                self.sheet.begins(format!("turn:{turn}"), at);
                let label = match (origin, title) {
                    (Origin::Background, _) => format!("Turn {turn}, woken by a result"),
                    (Origin::Prompt, None) => format!("Turn {turn}"),
                    (Origin::Prompt, Some(title)) => {
                        format!("Turn {turn}: {}", words::one_line(title))
                    }
                };
                self.opens(format!("turn:{turn}"), SegmentKind::Turn, Look::Turn, at, label);
            }
            Fact::TurnEnded { turn, stop_reason, error } => {
                let key = format!("turn:{turn}");
                self.sheet.ends(&key, at);
                let says = error.as_ref().map_or_else(|| spoken(stop_reason), Clone::clone);
                self.sheet.closes(&key, at, error.is_some(), vec![says]);
            }
            Fact::CallStarted { call, .. } => {
                let (key, label) = (format!("call:{call}"), format!("Model call {call}"));
                let segment = self.opens(key, SegmentKind::Call, Look::Call, at, label);
                segment.call = Some(*call);
                self.carries(*call);
            }
            Fact::CallEnded { call, error, stop_reason, .. } => {
                let says = [error.clone(), tokens(&event.fact), stop_reason.as_deref().map(spoken)];
                let says = says.into_iter().flatten().collect();
                self.sheet.closes(&format!("call:{call}"), at, error.is_some(), says);
            }
            Fact::Asked { call, tool_call_id, question, why: _ } => {
                let key = format!("asks:{n}");
                let id = (SegmentKind::Asks, tool_call_id.clone());
                self.open.insert(id, key.clone());
                let label = format!("Waits for you: may it {}?", words::one_line(question));
                let segment = self.opens(key, SegmentKind::Asks, Look::Asks, at, label);
                segment.call = Some(*call);
            }
            Fact::Answered { tool_call_id } => {
                if let Some(key) = self.open.remove(&(SegmentKind::Asks, tool_call_id.clone())) {
                    self.sheet.closes(&key, at, false, vec!["answered".to_owned()]);
                }
            }
            Fact::ToolStarted { call, tool_call_id, name, title } => {
                let key = format!("tool:{n}");
                let id = (SegmentKind::Tool, tool_call_id.clone());
                self.open.insert(id, key.clone());
                let label = format!("{name}: {}", words::one_line(title));
                let segment = self.opens(key, SegmentKind::Tool, Look::Tool, at, label);
                segment.call = Some(*call);
            }
            Fact::ToolEnded { tool_call_id, is_error } => {
                if let Some(key) = self.open.remove(&(SegmentKind::Tool, tool_call_id.clone())) {
                    let says = is_error.then(|| "failed".to_owned());
                    self.sheet.closes(&key, at, *is_error, says.into_iter().collect());
                }
            }
            Fact::TaskSpawned { call, tool_call_id, task_id, .. } => {
                let Ok(id) = task_id.parse() else { return };
                self.spawned.insert(id, *call);
                let tool = self.open.get(&(SegmentKind::Tool, tool_call_id.clone())).cloned();
                if let Some(segment) = tool.and_then(|key| self.sheet.segment(&key)) {
                    segment.task = Some(id);
                }
                self.refresh(id);
            }
            Fact::Delivered { call, task_id, kind, by, .. } => {
                let Ok(id) = task_id.parse() else { return };
                if *kind == DeliveredKind::Exited {
                    self.entered.insert(id, (*call, *by));
                }
                self.carried.entry(*call).or_default().push((id, *kind));
                self.carries(*call);
            }
            Fact::Compacted { .. } => {
                self.marks(
                    format!("compacted:{n}"),
                    MarkKind::Compacted,
                    at,
                    "A summary replaced the history",
                );
            }
            Fact::Resumed {} => {
                // The agent's turn and calls ended with the process that ran them.
                self.cuts_off(at, "cut off by a restart of the agent");
                self.marks(
                    format!("resumed:{n}"),
                    MarkKind::Resumed,
                    at,
                    "The session was opened again",
                );
            }
        }
    }

    /// Ends all open segments of the agent's lane at the last fact, because the process that ran them has exited.
    pub fn cut_off(&mut self, why: &str) {
        if let Some(at) = self.at {
            self.cuts_off(at, why);
        }
    }

    fn cuts_off(&mut self, at: Timestamp, why: &str) {
        let is_open = |piece: &Piece| {
            let Piece::Segment(segment) = piece else { return None };
            let is_it = segment.lane == AGENT && segment.to.is_none();
            is_it.then(|| segment.key.clone())
        };
        let open: Vec<_> = self.sheet.pieces.iter().filter_map(is_open).collect();
        for key in open {
            self.sheet.ends(&key, at);
            self.sheet.closes(&key, at, true, vec![why.to_owned()]);
        }
    }

    /// Adds the current state of a task. An ended task stays ended.
    pub fn task(&mut self, task: &Task, now: Timestamp) {
        let has_ended = self.story.passage(task.id).is_some_and(|it| it.task.end().is_some());
        // A task that the agent itself waits for is shown in the agent's lane.
        if task.is_step || has_ended && task.end().is_none() {
            return;
        }
        let key = format!("task:{}", task.id);
        let serves = task.serving.service || task.serving.ready;
        match (task.end(), &task.state) {
            (Some(end), _) => self.sheet.ends(&key, end.at),
            (None, _) if serves => self.sheet.ends(&key, now),
            (None, _) => self.sheet.begins(key, task.created_at),
        }
        if matches!(task.state, State::Running)
            && self
                .story
                .passage(task.id)
                .is_some_and(|it| matches!(it.task.state, State::Queued(_)))
        {
            self.began.insert(task.id, now);
        }
        self.story.keep(task.clone());
        self.refresh(task.id);
        if let Some((call, _)) = self.entered.get(&task.id) {
            self.carries(*call);
        }
    }

    /// Updates what a task of the session serves.
    pub fn serves(&mut self, id: TaskId, serving: Serving, now: Timestamp) {
        if let Some(passage) = self.story.passage(id) {
            let task = Task { serving, ..passage.task.clone() };
            self.task(&task, now);
        }
    }

    /// Updates the pieces of a task and of its result.
    fn refresh(&mut self, id: TaskId) {
        let entered = self.entered.get(&id).copied();
        if let (Some((call, _)), Some(passage)) = (entered, self.story.tasks.get_mut(&id)) {
            passage.entered = Some(call);
        }
        let Some(passage) = self.story.passage(id).cloned() else { return };
        let task = &passage.task;
        let (lane, title, look) = (id.to_string(), words::title(task), Look::of(task));
        if !self.without_agent {
            self.lanes();
        }
        let kind = LaneKind::Task;
        self.sheet.put(Piece::Lane(Lane {
            key: lane.clone(),
            kind,
            label: title.clone(),
            look: Some(look),
            task: Some(id),
        }));
        let way = self.story.way(&passage);
        let mut says = vec![words::told(task).unwrap_or_else(|| words::stands(task))];
        says.extend(self.spawned.get(&id).map(|call| format!("started by call {call}")));
        let said = way.map(|way| match entered {
            Some((_, DeliveredBy::Wait)) => format!("{}: the agent waited for it", way.words()),
            Some((_, DeliveredBy::Check)) => format!("{}: the agent checked it", way.words()),
            Some((_, DeliveredBy::Drain)) | None => way.words(),
        });
        says.extend(said.clone());
        let began = self.begun(task);
        let end = task.end().map(|end| end.at);
        let segment = |kind, look, from, to| Segment {
            key: String::new(),
            lane: lane.clone(),
            kind,
            look,
            from,
            to,
            row: 0,
            label: title.clone(),
            says: says.clone(),
            task: Some(id),
            call: self.spawned.get(&id).copied(),
        };
        let (line, run) = match (began, end) {
            (Some(began), _) if began == task.created_at => (None, Some((look, began))),
            (Some(began), _) => (Some(Some(began)), Some((look, began))),
            // The task never started.
            (None, Some(_)) => (None, Some((look, task.created_at))),
            (None, None) => (Some(None), None),
        };
        let line = line.map(|to| Segment {
            key: format!("line:{id}"),
            ..segment(SegmentKind::Line, Look::Queued, task.created_at, to)
        });
        let run = run.map(|(look, from)| Segment {
            key: format!("task:{id}"),
            ..segment(SegmentKind::Task, look, from, end)
        });
        let call = self.spawned.get(&id).copied();
        for segment in [line, run].into_iter().flatten() {
            self.sheet.put(Piece::Segment(segment));
        }
        if call.is_some() && !self.without_agent {
            self.points(format!("began:{id}"), AGENT, &lane, task.created_at, id);
        }
        if let Some(end) = end {
            self.result(&passage, end, way, said);
        }
    }

    /// Updates the pieces of an ended task's result.
    fn result(
        &mut self,
        passage: &Passage,
        end: Timestamp,
        way: Option<Way>,
        said: Option<String>,
    ) {
        let (task, id) = (&passage.task, passage.task.id);
        let (entered, lane) = (self.entered.get(&id).copied(), id.to_string());
        let taken = match (way, entered, &task.delivered) {
            (Some(way), _, _) => self.started(way.call),
            // The model call that will contain the result has not started.
            (None, Some(_), _) => None,
            (None, None, delivered) => delivered.as_ref().map(|told| told.at),
        };
        if self.without_agent && taken.is_none() {
            return;
        }
        let waits = || "waits for the next model call".to_owned();
        let taken_by = |told: Timestamp| format!("taken after {}", words::elapsed(told.since(end)));
        let says = said.or_else(|| taken.map(taken_by)).unwrap_or_else(waits);
        let key = format!("result:{id}");
        let there = self.sheet.places.get(&key).map(|place| &self.sheet.pieces[*place]);
        let row = match there {
            Some(Piece::Segment(segment)) => segment.row,
            Some(_) | None => self.sheet.row(SegmentKind::Result, end),
        };
        if let Some(taken) = taken {
            self.sheet.frees(SegmentKind::Result, row, taken);
        }
        self.sheet.put(Piece::Segment(Segment {
            key,
            lane: QUEUE.to_owned(),
            kind: SegmentKind::Result,
            look: Look::Result,
            from: end,
            to: taken,
            row,
            label: format!("Result of {}", words::title(task)),
            says: vec![says],
            task: Some(id),
            call: entered.map(|(call, _)| call),
        }));
        self.points(format!("ended:{id}"), &lane, QUEUE, end, id);
        if let Some(taken) = taken.filter(|_| !self.without_agent) {
            self.points(format!("entered:{id}"), QUEUE, AGENT, taken, id);
        }
    }

    /// When a task started to run; `None` if it has not.
    fn begun(&self, task: &Task) -> Option<Timestamp> {
        let asked = task.created_at;
        let began = match &task.state {
            State::Queued(_) => return None,
            State::Running | State::Stopping { .. } => {
                return Some(self.began.get(&task.id).copied().unwrap_or(asked));
            }
            State::Ended(_) if task.pid.is_none() => return None,
            State::Ended(end) => before(end.at, end.duration),
        };
        Some(if began.since(asked) < AT_ONCE { asked } else { began })
    }

    fn started(&self, call: u64) -> Option<Timestamp> {
        self.story.calls.iter().rev().find(|it| it.number == call).map(|it| it.start)
    }

    /// Updates the pieces of the results that a model call's request contains.
    fn carries(&mut self, call: u64) {
        let carried = self.carried.get(&call).cloned().unwrap_or_default();
        let Some(at) = self.started(call) else { return };
        let mut says = Vec::with_capacity(carried.len());
        for (id, kind) in &carried {
            self.refresh(*id);
            let Some(passage) = self.story.passage(*id) else { continue };
            let what = match kind {
                DeliveredKind::Exited => words::stands(&passage.task),
                DeliveredKind::Matched => "a watch matched".to_owned(),
                DeliveredKind::Stalled => "waits for input".to_owned(),
            };
            says.push(format!("{}: {what}", words::title(&passage.task)));
        }
        // Commands that the agent ran in the foreground have no passage.
        if says.is_empty() {
            return;
        }
        let results = if says.len() == 1 { "result" } else { "results" };
        self.sheet.put(Piece::Mark(Mark {
            key: format!("enters:{call}"),
            lane: AGENT.to_owned(),
            kind: MarkKind::Enters,
            at,
            label: format!("Call {call} receives {} {results}", says.len()),
            says,
            call: Some(call),
        }));
    }

    /// Adds the lanes above the task lanes: the agent and the queue.
    fn lanes(&mut self) {
        let lanes = [(AGENT, LaneKind::Agent), (QUEUE, LaneKind::Queue)];
        for (key, kind) in lanes.into_iter().skip(usize::from(self.without_agent)) {
            let (key, label) = (key.to_owned(), key.to_owned());
            self.sheet.put(Piece::Lane(Lane { key, kind, label, look: None, task: None }));
        }
    }

    /// Adds an open segment to the agent's lane.
    fn opens(
        &mut self,
        key: String,
        kind: SegmentKind,
        look: Look,
        from: Timestamp,
        label: String,
    ) -> &mut Segment {
        self.lanes();
        self.sheet.opens(AGENT, key, (kind, look), from, label)
    }

    fn marks(&mut self, key: String, kind: MarkKind, at: Timestamp, label: &str) {
        self.lanes();
        let (lane, label) = (AGENT.to_owned(), label.to_owned());
        let (says, call) = (Vec::new(), None);
        self.sheet.put(Piece::Mark(Mark { key, lane, kind, at, label, says, call }));
    }

    fn points(&mut self, key: String, from: &str, to: &str, at: Timestamp, task: TaskId) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.sheet.put(Piece::Arrow(Arrow { key, from, to, at, task }));
    }
}

/// The starts and ends of tasks, with their times.
fn lives<'a>(tasks: impl Iterator<Item = &'a Task>) -> impl Iterator<Item = (Timestamp, Step<'a>)> {
    tasks.flat_map(|task| {
        let end = task.end().map(|end| (end.at, Step::Ended(task)));
        std::iter::once((task.created_at, Step::Began(task))).chain(end)
    })
}

fn before(at: Timestamp, time: Duration) -> Timestamp {
    Timestamp(at.0 - i64::try_from(time.as_millis()).unwrap_or(0))
}

/// A word of the wire as text for people.
fn spoken(word: &str) -> String {
    word.replace('_', " ")
}

/// The tokens and the cost of a model call, as text.
fn tokens(ended: &Fact) -> Option<String> {
    let Fact::CallEnded { input_tokens, output_tokens, cached_tokens, cost_usd, .. } = ended else {
        return None;
    };
    if input_tokens.is_none() && output_tokens.is_none() {
        return None;
    }
    let count = |tokens: &Option<u64>| words::thousands(tokens.unwrap_or(0));
    let mut text = format!("{} tokens in", count(input_tokens));
    if cached_tokens.is_some_and(|cached| cached > 0) {
        text.push_str(&format!(" ({} cached)", count(cached_tokens)));
    }
    text.push_str(&format!(", {} out", count(output_tokens)));
    if let Some(cost) = cost_usd {
        text.push_str(&format!(", ${cost:.4}"));
    }
    Some(text)
}

#[cfg(test)]
mod tests;
