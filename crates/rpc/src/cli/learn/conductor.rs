//! Runs a scenario on the engine, and reads the result from the session's trace.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meanwhile_core::agent::Provider;
use meanwhile_core::agent::provider::Scripted;
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::session::{Session as Agent, TurnEnd, Update, Updates};
use meanwhile_core::agent::trace::{DeliveredKind, Event as Traced, Fact, Trace};
use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Background, Mode, Which};
use meanwhile_core::limits;
use tokio::sync::{mpsc, watch};

use super::scenario::Step::{Call, End, Idle, Let, Say, Tool};
use super::scenario::{Outcome, REST, START, Scenario};
use super::session;
use crate::cli::agent;
use crate::cli::failure::Failure;

/// How long the conductor waits between two steps, in the lesson's time.
const DWELL: Duration = Duration::from_millis(700);

/// What the conductor reports while it runs.
#[derive(Debug)]
pub(super) enum Told {
    /// The session was opened.
    Began(Agent),
    /// The session sent an update.
    Update(Update),
}

/// The sender of the reports; the receiver may be gone.
pub(super) type Teller = mpsc::UnboundedSender<Told>;

/// Runs a scenario on the engine. `directory` must not exist, and be in the workspace, with a plain name. `rate` is
/// the speed: 1 is usual, 0 is a pause.
pub(super) async fn conduct(
    background: Background,
    scenario: &'static Scenario,
    directory: &Path,
    rate: watch::Receiver<f64>,
    teller: Teller,
) -> Result<Outcome, Failure> {
    let cannot = |error: std::io::Error| {
        let shown = directory.display();
        Failure::new(format!("cannot write to `{shown}`: {error}"))
    };
    std::fs::create_dir(directory).map_err(cannot)?;
    let script = scenario.script.replace("START", START).replace("REST", REST);
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let held = directory.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let script = script.replace("HERE", &name).replace("DIR", &held);
    let script = Scripted::from_text(scenario.id, &script, Patience::default());
    let script = script.expect("the script is part of the program");
    let provider = Provider::Scripted(Arc::new(script));
    let opened = Agent::create(background.clone(), session::terms(provider)).await;
    let (agent, updates) = opened.map_err(agent::refused)?;
    let _ = teller.send(Told::Began(agent.clone()));
    let mut conductor =
        Conductor { background, agent, updates, teller, rate, seen: Seen::default() };
    conductor.say("Begin.".to_owned());
    for step in scenario.steps {
        let name = match step {
            Let(name) | End(name) => *name,
            Call(_) | Tool(_) | Idle | Say(_) => "",
        };
        let file = directory.join(name);
        match *step {
            Call(number) => conductor.until(|seen| seen.calls >= number).await?,
            Tool(call) => conductor.until(|seen| seen.tool_of >= call).await?,
            Idle => conductor.until(|seen| seen.idle).await?,
            Let(_) => {
                conductor.dwell(DWELL).await?;
                std::fs::write(file, "").map_err(cannot)?;
            }
            End(label) => {
                conductor.dwell(DWELL).await?;
                std::fs::write(file, "").map_err(cannot)?;
                conductor.ended(label).await?;
            }
            Say(text) => {
                conductor.dwell(DWELL).await?;
                conductor.say(text.to_owned());
            }
        }
    }
    conductor.close().await
}

/// What has been observed of a session.
#[derive(Debug, Default)]
struct Seen {
    /// The number of model calls that have started.
    calls: u64,
    /// The number of the call whose answer requested the tool that started last.
    tool_of: u64,
    /// The background tasks, in the order in which they were started.
    tasks: Vec<Task>,
    /// Whether the last turn is over.
    idle: bool,
    /// Why the session cannot continue.
    failed: Option<String>,
}

impl Seen {
    fn update(&mut self, update: &Update) {
        match update {
            Update::Traced(Traced { fact: Fact::CallStarted { call, .. }, .. }) => {
                self.calls = *call;
            }
            Update::Traced(Traced { fact: Fact::ToolStarted { call, .. }, .. }) => {
                self.tool_of = *call;
            }
            Update::ToolTask { task, background: true, .. } => self.tasks.push(task.clone()),
            Update::TurnStarted { .. } => self.idle = false,
            Update::TurnEnded { end, .. } => {
                self.idle = true;
                if let TurnEnd::Failed(why) = end {
                    self.failed = Some(why.clone());
                }
            }
            Update::Traced(_)
            | Update::Prompt(_)
            | Update::Image(_)
            | Update::Text(_)
            | Update::Thinking(_)
            | Update::Retrying { .. }
            | Update::ToolCall { .. }
            | Update::ToolRunning { .. }
            | Update::ToolTask { .. }
            | Update::ToolEnded { .. }
            | Update::Plan(_)
            | Update::Background { .. }
            | Update::Notice(_)
            | Update::Ask(_)
            | Update::Usage { .. }
            | Update::Answer { .. }
            | Update::Title(_) => {}
        }
    }
}

struct Conductor {
    background: Background,
    agent: Agent,
    updates: Updates,
    teller: Teller,
    rate: watch::Receiver<f64>,
    seen: Seen,
}

impl Conductor {
    fn say(&mut self, text: String) {
        self.seen.idle = false;
        let agent = self.agent.clone();
        // The prompt returns when the turn ends, which the updates report too.
        tokio::spawn(async move { agent.prompt(text).await });
    }

    /// Processes one update. Cancel-safe.
    async fn next(&mut self) -> Result<(), Failure> {
        let Some(update) = self.updates.next().await else {
            return Err(Failure::new("the session of the scenario ended too early"));
        };
        self.seen.update(&update);
        let _ = self.teller.send(Told::Update(update));
        match self.seen.failed.take() {
            Some(why) => Err(Failure::new(why)),
            None => Ok(()),
        }
    }

    async fn until(&mut self, holds: impl Fn(&Seen) -> bool) -> Result<(), Failure> {
        while !holds(&self.seen) {
            self.next().await?;
        }
        Ok(())
    }

    /// Waits for some of the lesson's time.
    async fn dwell(&mut self, time: Duration) -> Result<(), Failure> {
        let mut left = time;
        while !left.is_zero() {
            let rate = *self.rate.borrow_and_update();
            let since = tokio::time::Instant::now();
            let nap = if rate > 0.0 { left.div_f64(rate) } else { Duration::MAX };
            let mut changes = self.rate.clone();
            tokio::select! {
                biased;
                next = self.next() => next?,
                () = nap_for(nap) => return Ok(()),
                Ok(()) = changes.changed() => {}
            }
            left = left.saturating_sub(since.elapsed().mul_f64(rate));
        }
        Ok(())
    }

    /// Waits until the task with this label has ended, and its result is in the queue or was delivered.
    async fn ended(&mut self, label: &str) -> Result<(), Failure> {
        self.until(|seen| task(seen, label).is_some()).await?;
        let id = task(&self.seen, label).expect("it was waited for");
        let background = self.background.clone();
        let which = Which::Ids(vec![id]);
        let mut waited = std::pin::pin!(background.wait(which, Mode::All, limits::TIME_MAX));
        loop {
            tokio::select! {
                waited = &mut waited => {
                    waited?;
                    return Ok(());
                }
                next = self.next() => next?,
            }
        }
    }

    /// Reads the trace, and closes the session.
    async fn close(mut self) -> Result<Outcome, Failure> {
        let session = self.agent.id().to_string();
        let trace = Agent::trace(&self.background, &session, 0).await.map_err(agent::refused)?;
        session::close(&self.agent, &mut self.updates).await;
        let calls = self.seen.tasks.iter().map(|task| carried(&trace, task.id)).collect();
        Ok(Outcome { session, trace, calls })
    }
}

async fn nap_for(time: Duration) {
    match time {
        Duration::MAX => std::future::pending().await,
        time => tokio::time::sleep(time).await,
    }
}

fn task(seen: &Seen, label: &str) -> Option<TaskId> {
    seen.tasks.iter().find(|task| task.label.as_deref() == Some(label)).map(|task| task.id)
}

/// The model calls whose requests contained the end of a task.
fn carried(trace: &Trace, id: TaskId) -> Vec<u64> {
    let id = id.to_string();
    trace
        .events
        .iter()
        .filter_map(|event| {
            let Fact::Delivered { call, task_id, kind, .. } = &event.fact else { return None };
            (*task_id == id && *kind == DeliveredKind::Exited).then_some(*call)
        })
        .collect()
}
