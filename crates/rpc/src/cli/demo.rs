//! `meanwhile demo`: shows background work as it happens, with a scripted model and real commands.
//!
//! The session, the tools, the queue and the tasks are the same as in any session; only the model is a script. A
//! [`Board`] records what happens; a terminal shows it as moving lanes, any other output as lines.

pub(crate) mod board;
mod lanes;
mod lines;

use std::sync::Arc;
use std::time::Duration;

use meanwhile_core::agent::Provider;
use meanwhile_core::agent::permission::{Effect, Rule, Scope};
use meanwhile_core::agent::provider::Scripted;
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::session::{Session as Agent, TurnEnd, Update, Wake};
use meanwhile_core::background::Events;
use meanwhile_core::background::task::Timestamp;

use super::agent::{self, Drive};
use super::args;
use super::failure::Failure;
use super::out::{self, Out};
use super::session::Session;
use super::show;
use crate::setup::Setup;
use board::Board;
use lanes::Lanes;

/// The built-in script.
const SCRIPT: &str = include_str!("demo/script.toml");
/// The prompt for the agent.
const PROMPT: &str = "How many files are here, and how small can they be packed?";
/// How often the lanes are redrawn.
const TICK: Duration = Duration::from_millis(80);

pub(crate) async fn run(session: &mut Session, args: args::Demo) -> Result<u8, Failure> {
    let Session { background, events, out, .. } = session;
    let mut setup = Setup::default();
    let provider = match &args.script {
        None => {
            let script = Scripted::from_text("demo", SCRIPT, Patience::default());
            Provider::Scripted(Arc::new(script.expect("the script is part of the program")))
        }
        Some(path) => {
            let model = Some(format!("script/{}", path.display()));
            setup.model.model = model;
            setup.provider().await.map_err(|error| Failure::usage(error.to_string()))?
        }
    };
    // The script may run any command, like a shell script that a person starts.
    setup.rules.push(Rule { effect: Effect::Allow, scope: Scope::Everything, prefix: None });
    setup.policy.wake = Wake::On;
    let terms = setup.terms(provider, false);
    let opened = Agent::create(background.clone(), terms).await.map_err(agent::refused)?;
    let mut drive = Drive::new(opened.0, opened.1, false);
    let prompt = if args.script.is_some() { "Begin." } else { PROMPT };
    let agent = drive.session.clone();
    let watched = watch(&mut drive, events, out, prompt).await;
    // Stop all tasks, however the demo ended.
    drive.close().await;
    let (running, _) = agent.unfinished().await.map_err(agent::refused)?;
    if !running.is_empty() {
        agent::stop(background, &running, "the demo has ended").await?;
    }
    // This was only a demonstration: its session, tasks and output are removed from the store.
    background.forget_session(&agent.id().to_string()).await?;
    watched.map(|left| if left { show::INTERRUPTED } else { 0 })
}

/// Runs the script and shows it to its end. Returns whether the person left early.
async fn watch(
    drive: &mut Drive,
    events: &mut Events,
    out: &mut Out,
    prompt: &str,
) -> Result<bool, Failure> {
    let agent = drive.session.clone();
    let mut interrupts = agent::interrupts()?;
    let mut asked = std::pin::pin!(agent.prompt(prompt.to_owned()));
    let mut board = Board::new(Timestamp::now(), agent.id().to_string(), prompt);
    let mut screen = Screen::new(out);
    let mut tick = tokio::time::interval(TICK);
    let mut answered = false;
    let left = loop {
        tokio::select! {
            biased;
            Some(update) = drive.next() => {
                let failed = failure(&update);
                board.update(update);
                if let Some(why) = failed {
                    screen.last(&board)?;
                    return Err(Failure::new(why));
                }
            }
            Some(event) = events.next() => board.event(event),
            end = &mut asked, if !answered => {
                end.map_err(agent::refused)?;
                answered = true;
            }
            _ = interrupts.recv() => break true,
            _ = tick.tick() => screen.draw(&board)?,
        }
        screen.tell(&board)?;
        if answered && !drive.is_busy() && board.is_settled() {
            break false;
        }
    };
    screen.last(&board)?;
    Ok(left)
}

/// Why the script cannot continue.
fn failure(update: &Update) -> Option<String> {
    let Update::TurnEnded { end: TurnEnd::Failed(why), .. } = update else { return None };
    Some(why.clone())
}

/// How the board is shown.
enum Screen<'a> {
    /// As lanes, in a terminal.
    Lanes(Lanes<'a>),
    /// As lines, with the number of lines written.
    Lines(&'a mut Out, usize),
}

impl<'a> Screen<'a> {
    fn new(out: &'a mut Out) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match out.terminal && !dumb {
            true => Self::Lanes(Lanes::new(out, out::stdout_colour())),
            false => Self::Lines(out, 0),
        }
    }

    /// Draws the next frame.
    fn draw(&mut self, board: &Board) -> Result<(), Failure> {
        match self {
            Self::Lanes(lanes) => lanes.draw(board, Timestamp::now()),
            Self::Lines(..) => Ok(()),
        }
    }

    /// Prints the new events as lines.
    fn tell(&mut self, board: &Board) -> Result<(), Failure> {
        let Self::Lines(out, written) = self else { return Ok(()) };
        for moment in &board.moments()[*written..] {
            out.line(lines::line(moment))?;
        }
        *written = board.moments().len();
        out.flush()
    }

    /// Draws the last frame, and prints a summary.
    fn last(&mut self, board: &Board) -> Result<(), Failure> {
        self.tell(board)?;
        match self {
            Self::Lanes(lanes) => lanes.last(board, Timestamp::now()),
            Self::Lines(out, _) => {
                for line in lines::summary(board) {
                    out.line(line)?;
                }
                out.flush()
            }
        }
    }
}
