//! `meanwhile learn --json`: the questions and their answers, for other user interfaces.
//!
//! Prints one document. The answers are computed as in the lesson: those of the second chapter by the core's rule,
//! those of the third by running each scenario and returning its trace in the form of `session/trace`.

use std::time::Duration;

use meanwhile_core::agent::placement::{Length, Next, Place};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::conductor::conduct;
use super::placing::Question;
use super::scenario::{SCENARIOS, Scenario};
use super::scratch::Scratch;
use crate::cli::failure::Failure;
use crate::convert;
use crate::wire;

/// The speed of a scenario that is not watched: each pause of the conductor is shorter than a tick of the timer.
const AT_ONCE: f64 = 1_000.0;

/// The whole document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lesson {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) placing: Option<Vec<Asked>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) draining: Option<Vec<Played>>,
}

/// A question of the second chapter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    command: String,
    situation: String,
    /// Whether it is from the user's history.
    own: bool,
    /// The average duration in milliseconds; null: it never ends by itself.
    duration_ms: Option<u64>,
    /// The number of measured runs; 0 if the duration is given.
    runs: usize,
    next: &'static str,
    answer: &'static str,
    reasons: Reasons,
}

#[derive(Debug, Serialize)]
struct Reasons {
    duration: String,
    urgency: String,
    costs: String,
}

/// A scenario of the third chapter.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Played {
    id: &'static str,
    title: &'static str,
    story: &'static str,
    question: &'static str,
    choices: Vec<Choice>,
    /// The key of the choice that matches the trace.
    answer: Option<String>,
    /// For each task, the model calls that contained its result.
    calls: Vec<Vec<u64>>,
    moral: &'static str,
    trace: wire::TraceResult,
}

#[derive(Debug, Serialize)]
struct Choice {
    key: char,
    says: &'static str,
    calls: &'static [&'static [u64]],
}

pub(super) fn asked(questions: &[Question]) -> Vec<Asked> {
    questions
        .iter()
        .map(|question| {
            let answer = question.answer();
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            Asked {
                command: question.command.clone(),
                situation: question.situation.clone(),
                own: question.own,
                duration_ms: question.length.mean().map(millis),
                runs: match &question.length {
                    Length::Measured(runs) => runs.len(),
                    Length::Stated(_) | Length::Endless => 0,
                },
                next: match question.next {
                    Next::NeedsResult => "needsResult",
                    Next::Unknown => "unknown",
                    Next::OtherWork => "otherWork",
                },
                answer: match answer.place {
                    Place::Foreground => "foreground",
                    Place::Background => "background",
                },
                reasons: Reasons {
                    duration: answer.by_duration,
                    urgency: answer.by_urgency,
                    costs: answer.costs,
                },
            }
        })
        .collect()
}

/// Runs every scenario.
pub(super) async fn played(scratch: &Scratch) -> Result<Vec<Played>, Failure> {
    let mut all = Vec::new();
    for scenario in &SCENARIOS {
        all.push(play(scratch, scenario).await?);
    }
    Ok(all)
}

async fn play(scratch: &Scratch, scenario: &'static Scenario) -> Result<Played, Failure> {
    let (_pace, rate) = watch::channel(AT_ONCE);
    let (teller, _heard) = mpsc::unbounded_channel();
    let directory = scratch.work().join(scenario.id);
    let background = scratch.background.clone();
    let outcome = conduct(background, scenario, &directory, rate, teller).await?;
    let choices = scenario.choices.iter();
    Ok(Played {
        id: scenario.id,
        title: scenario.title,
        story: scenario.story,
        question: scenario.asks,
        choices: choices.map(|it| Choice { key: it.key, says: it.says, calls: it.calls }).collect(),
        answer: scenario.right(&outcome).map(|choice| choice.key.to_string()),
        calls: outcome.calls,
        moral: scenario.moral,
        trace: convert::trace::result(outcome.session, outcome.trace),
    })
}
