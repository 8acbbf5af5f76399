//! Chapter 3: five scenarios, and which model call sees a result.
//!
//! The player answers first. Then the engine runs the scenario, which is drawn live; at its end the board is rebuilt
//! from the session's trace, and only the trace decides which choice is right.

use std::path::PathBuf;
use std::pin::Pin;

use meanwhile_core::agent::session::Session as Agent;
use meanwhile_core::background::task::Timestamp;
use meanwhile_core::background::{Background, Event};
use tokio::sync::{mpsc, watch};

use super::clock::Clock;
use super::conductor::{Told, conduct};
use super::lanes::{self, NAME, Row, Scale};
use super::pen::{Look, Pen};
use super::scenario::{Choice, Outcome, SCENARIOS, Scenario};
use crate::cli::demo::board::{Board, Lane};
use crate::cli::failure::Failure;

/// With fewer rows, the story is hidden when the answer is shown: choices, verdict, picture and legend take 17 rows.
const ROOMY: usize = 18;

type Conducting = Pin<Box<dyn Future<Output = Result<Outcome, Failure>>>>;

/// A running scenario.
struct Running {
    conducting: Conducting,
    told: mpsc::UnboundedReceiver<Told>,
    rate: watch::Sender<f64>,
    agent: Option<Agent>,
    board: Option<Board>,
}

/// A scenario that has run.
pub(super) struct Shown {
    outcome: Outcome,
    board: Board,
    clock: Clock,
    end: Timestamp,
}

/// The state of the current scenario.
enum Stage {
    Asked,
    Running(char, Box<Running>),
    Shown(char, Box<Shown>),
    /// All five scenarios are done.
    Over,
}

pub(super) struct Draining {
    background: Background,
    work: PathBuf,
    at: usize,
    right: usize,
    stage: Stage,
    /// The clock of the running scenario; its speed is kept for the next one.
    clock: Clock,
}

impl Draining {
    pub(super) fn new(background: Background, work: PathBuf) -> Self {
        let clock = Clock::new(Timestamp::now());
        Self { background, work, at: 0, right: 0, stage: Stage::Asked, clock }
    }

    pub(super) fn score(&self) -> (usize, usize) {
        (self.right, SCENARIOS.len())
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    pub(super) fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    /// Whether a scenario is running.
    pub(super) fn moves(&self) -> bool {
        matches!(self.stage, Stage::Running(..))
    }

    /// Passes a change of the clock to the running scenario.
    pub(super) fn paced(&self) {
        if let Stage::Running(_, running) = &self.stage {
            running.rate.send_replace(self.clock.rate());
        }
    }

    /// Closes the running scenario. Closing the store stops its tasks.
    pub(super) async fn close(self) {
        let Stage::Running(_, running) = self.stage else { return };
        if let Running { conducting, agent: Some(agent), told, .. } = *running {
            // This also drops the reader of the session's updates, so that the session does not wait for it.
            drop((conducting, told));
            agent.close().await;
        }
    }

    pub(super) fn key(&mut self, key: char) {
        let scenario = &SCENARIOS[self.at.min(SCENARIOS.len() - 1)];
        match (&self.stage, key) {
            (Stage::Asked, key) if scenario.choices.iter().any(|choice| choice.key == key) => {
                self.clock.begin(Timestamp::now());
                let running = self.run(scenario);
                self.stage = Stage::Running(key, Box::new(running));
            }
            (Stage::Shown(..), '\n') => {
                self.at += 1;
                self.stage = if self.at < SCENARIOS.len() { Stage::Asked } else { Stage::Over };
            }
            (Stage::Asked | Stage::Running(..) | Stage::Shown(..) | Stage::Over, _) => {}
        }
    }

    fn run(&self, scenario: &'static Scenario) -> Running {
        let (teller, told) = mpsc::unbounded_channel();
        let (rate, rates) = watch::channel(self.clock.rate());
        let background = self.background.clone();
        let directory = (1..)
            .map(|n| self.work.join(format!("{}-{n}", scenario.id)))
            .find(|path| !path.exists())
            .expect("not every number was played");
        let conducting =
            Box::pin(async move { conduct(background, scenario, &directory, rates, teller).await });
        Running { conducting, told, rate, agent: None, board: None }
    }

    /// Processes the next report of the running scenario. Cancel-safe.
    pub(super) async fn step(&mut self) -> Result<(), Failure> {
        let Stage::Running(picked, running) = &mut self.stage else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            Some(told) = running.told.recv() => running.told(told),
            outcome = &mut running.conducting => {
                let (picked, outcome) = (*picked, outcome?);
                let shown = Shown::new(outcome, self.clock.clone());
                if SCENARIOS[self.at].right(&shown.outcome).is_some_and(|it| it.key == picked) {
                    self.right += 1;
                }
                self.stage = Stage::Shown(picked, Box::new(shown));
            }
        }
        Ok(())
    }

    /// Adds an event of the workspace.
    pub(super) fn event(&mut self, event: Event) {
        if let Stage::Running(_, running) = &mut self.stage
            && let Some(board) = &mut running.board
        {
            board.event(event);
        }
    }

    /// The keys that have a meaning now.
    pub(super) fn keys(&self) -> Vec<(&'static str, &'static str)> {
        match &self.stage {
            Stage::Asked => vec![(SCENARIOS[self.at].keys, "pick")],
            Stage::Running(..) => Vec::new(),
            Stage::Shown(..) => vec![("enter", "go on")],
            Stage::Over => Vec::new(),
        }
    }

    pub(super) fn draw(&self, pen: &mut Pen<'_>, now: Timestamp) {
        let Some(scenario) = SCENARIOS.get(self.at) else { return };
        let (right, all) = self.score();
        pen.row(&[
            (format!("Scenario {} of {all}: {}", self.at + 1, scenario.title), Look::Bold),
            (format!("   score {right} / {all}"), Look::Plain),
        ]);
        pen.gap();
        let (picked, truth) = match &self.stage {
            Stage::Asked | Stage::Over => (None, None),
            Stage::Running(picked, _) => (Some(*picked), None),
            Stage::Shown(picked, shown) => (Some(*picked), scenario.right(&shown.outcome)),
        };
        // The answer needs the space, and the player has read the story.
        if truth.is_none() || pen.left() >= ROOMY {
            pen.text(scenario.story, Look::Plain, 0);
            pen.gap();
        }
        if truth.is_none() {
            pen.text(scenario.asks, Look::Bold, 0);
        }
        for choice in &scenario.choices {
            choice_row(pen, choice, picked, truth);
        }
        pen.gap();
        match &self.stage {
            Stage::Asked | Stage::Over => {}
            Stage::Running(_, running) => {
                if let Some(board) = &running.board {
                    lanes(pen, board, &self.clock, now);
                }
                let (pace, look) = match self.clock.is_paused() {
                    true => ("paused; space goes on".to_owned(), Look::Bold),
                    false => (format!("the engine runs it, {}", self.clock.name()), Look::Dim),
                };
                pen.text(&pace, look, 0);
            }
            Stage::Shown(picked, shown) => {
                let (says, look) = match truth {
                    Some(truth) if truth.key == *picked => ("✓ Right", Look::Good),
                    Some(_) | None => ("✗ No", Look::Bad),
                };
                pen.text(&format!("{says}: {}", told(&shown.outcome)), look, 2);
                pen.text(scenario.moral, Look::Plain, 0);
                pen.gap();
                lanes(pen, &shown.board, &shown.clock, shown.end);
            }
        }
    }
}

impl Running {
    fn told(&mut self, told: Told) {
        match told {
            Told::Began(agent) => {
                let board = Board::new(Timestamp::now(), agent.id().to_string(), "");
                self.agent = Some(agent);
                self.board = Some(board);
            }
            Told::Update(update) => {
                if let Some(board) = &mut self.board {
                    board.update(update);
                }
            }
        }
    }
}

impl Shown {
    fn new(outcome: Outcome, clock: Clock) -> Self {
        let board = Board::of(outcome.session.clone(), &outcome.trace);
        let end = outcome.trace.events.last().map_or(board.start, |event| event.at);
        Self { outcome, board, clock, end }
    }
}

fn choice_row(pen: &mut Pen<'_>, choice: &Choice, picked: Option<char>, truth: Option<&Choice>) {
    let is_picked = picked == Some(choice.key);
    let is_true = truth.is_some_and(|truth| truth.key == choice.key);
    let (sign, look) = match (is_true, is_picked, truth.is_some()) {
        (true, _, _) => ("✓", Look::Good),
        (false, true, true) => ("✗", Look::Bad),
        (false, true, false) => ("›", Look::Bold),
        (false, false, _) => (" ", Look::Plain),
    };
    pen.row(&[(format!("{sign} {}  {}", choice.key, choice.says), look)]);
}

/// The picture: everything until now, with a lane for each task.
fn lanes(pen: &mut Pen<'_>, board: &Board, clock: &Clock, now: Timestamp) {
    let (columns, _) = pen.size();
    // Leave room for how the last task ended.
    let scale = Scale::whole(board, clock, now, columns.saturating_sub(NAME + 10));
    let names: Vec<String> = board.tasks.iter().map(Lane::name).collect();
    let rows: Vec<Row<'_>> =
        names.iter().map(|name| Row { name, tasks: name, note: String::new() }).collect();
    lanes::draw(pen, board, clock, scale, now, &rows);
    lanes::legend(pen);
}

/// What the trace contains: `the trace has task in call 3`.
fn told(outcome: &Outcome) -> String {
    let names = outcome.trace.journeys.iter().map(|journey| &journey.task);
    let parts: Vec<String> = names
        .zip(&outcome.calls)
        .map(|(task, calls)| {
            let name = task.label.clone().unwrap_or_else(|| task.id.to_string());
            let calls: Vec<String> = calls.iter().map(|call| format!("call {call}")).collect();
            format!("`{name}` in {}", calls.join(" and "))
        })
        .collect();
    format!("the session's trace has {}.", parts.join(", "))
}

#[cfg(test)]
mod tests;
