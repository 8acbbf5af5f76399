//! Chapter 2: eight commands, and whether to run each in the foreground or the background.
//!
//! No answer is stored here. A question is a command, its duration and what comes next; the core's rule gives the
//! answer and its reasons. Commands from the user's own history have their measured durations. This chapter runs no
//! command.

use std::path::Path;
use std::time::Duration;

use meanwhile_core::agent::placement::{Length, Next, Place, Placement, place};
use meanwhile_core::background::ledger::{self, Ledger, Past};

use super::pen::{Look, Pen};
use crate::cli::show;
use crate::state_dir;

/// The number of questions.
const QUESTIONS: usize = 8;
/// The maximum number of questions from the user's history.
const OWN: usize = 4;
/// How many earlier commands are considered.
const LOOKED_AT: u32 = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) command: String,
    /// The situation, and what comes next.
    pub(super) situation: String,
    pub(super) length: Length,
    pub(super) next: Next,
    /// Whether it is from the user's history.
    pub(super) own: bool,
}

impl Question {
    /// The answer of the core's rule.
    pub(super) fn answer(&self) -> Placement {
        place(&self.length, self.next)
    }
}

/// A command, the situation, its duration in milliseconds (`None`: it never ends), and what is next.
type Known = (&'static str, &'static str, Option<u64>, Next);

/// Questions about well-known commands.
const KNOWN: [Known; QUESTIONS] = [
    (
        "cat src/config.ts",
        "A file of 40 lines. The next step greps its output.",
        Some(50),
        Next::NeedsResult,
    ),
    (
        "npm install",
        "850 packages into an empty node_modules, about 35 s. The README is edited meanwhile.",
        Some(35_000),
        Next::OtherWork,
    ),
    ("npm run dev", "A development server. The next step opens its page.", None, Next::NeedsResult),
    (
        "git status",
        "A small repository, a tenth of a second. Two other files are to be edited anyway.",
        Some(100),
        Next::OtherWork,
    ),
    (
        "npm test",
        "The test suite, about 25 s. The next step mends what it reports.",
        Some(25_000),
        Next::NeedsResult,
    ),
    (
        "npm test",
        "The same test suite, about 25 s. The next step writes the documentation.",
        Some(25_000),
        Next::OtherWork,
    ),
    (
        "cargo build --release",
        "400 crates, nothing built yet, about 7 minutes. The next step measures the program.",
        Some(420_000),
        Next::NeedsResult,
    ),
    (
        "ruff check .",
        "A linter, about 3 s. What comes next depends on what it says, or does not.",
        Some(3_000),
        Next::Unknown,
    ),
];

/// The eight questions: the user's own commands last, as many as the history has.
pub(super) fn questions(past: Vec<Past>) -> Vec<Question> {
    let own = own(past);
    let known = KNOWN.iter().map(|(command, situation, millis, next)| Question {
        command: (*command).to_owned(),
        situation: (*situation).to_owned(),
        length: match millis {
            Some(millis) => Length::Stated(Duration::from_millis(*millis)),
            None => Length::Endless,
        },
        next: *next,
        own: false,
    });
    known.take(QUESTIONS - own.len()).chain(own).collect()
}

/// Questions from a history: if possible as many with the answer foreground as background, and none that is too close
/// to call.
fn own(past: Vec<Past>) -> Vec<Question> {
    let mut chosen: Vec<Question> = Vec::new();
    let mut places = (0, 0);
    for (at, Past { command, runs }) in past.into_iter().enumerate() {
        let command = show::one_line(&command);
        if chosen.len() == OWN || chosen.iter().any(|it| it.command == command) || runs.is_empty() {
            continue;
        }
        let (next, says) = match at % 2 {
            0 => (Next::OtherWork, "Meanwhile there is other work, which does not need it."),
            _ => (Next::NeedsResult, "The next step reads its output."),
        };
        let count = runs.len();
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let length = Length::Measured(runs);
        let took = length.mean().map(show::elapsed).unwrap_or_default();
        let answer = place(&length, next);
        let taken = match answer.place {
            Place::Foreground => &mut places.0,
            Place::Background => &mut places.1,
        };
        if answer.is_close || *taken == OWN / 2 {
            continue;
        }
        *taken += 1;
        let each = if count == 1 { "" } else { " each on average" };
        let situation =
            format!("One of your commands: it ran {times} and took {took}{each}. {says}");
        chosen.push(Question { command, situation, length, next, own: true });
    }
    chosen
}

/// The user's history from the store. Empty if there is no store, because the lesson must not create one, or if the
/// store cannot be read.
pub(super) fn history() -> Vec<Past> {
    let Ok(state) = state_dir::find() else { return Vec::new() };
    if !state.join(ledger::FILE).is_file() {
        return Vec::new();
    }
    let here = std::env::current_dir().unwrap_or_default();
    read(&state, &here).unwrap_or_default()
}

fn read(state: &Path, here: &Path) -> Result<Vec<Past>, ledger::LedgerError> {
    Ledger::open(state, false)?.past_commands(here, LOOKED_AT)
}

pub(super) struct Placing {
    questions: Vec<Question>,
    /// The answers of the player so far.
    picked: Vec<Place>,
    /// Whether the answer to the last question is shown.
    shown: bool,
}

impl Placing {
    pub(super) fn new(questions: Vec<Question>) -> Self {
        Self { questions, picked: Vec::new(), shown: false }
    }

    /// The number of right answers, and of questions.
    pub(super) fn score(&self) -> (usize, usize) {
        let right = self.questions.iter().zip(&self.picked);
        let right = right.filter(|(question, picked)| question.answer().place == **picked);
        (right.count(), self.questions.len())
    }

    /// Whether every question was answered and every answer was read.
    pub(super) fn is_over(&self) -> bool {
        self.picked.len() == self.questions.len() && !self.shown
    }

    pub(super) fn key(&mut self, key: char) {
        match (self.shown, key) {
            (false, 'f') => self.pick(Place::Foreground),
            (false, 'b') => self.pick(Place::Background),
            (true, '\n' | ' ') => self.shown = false,
            (_, _) => {}
        }
    }

    fn pick(&mut self, place: Place) {
        if self.picked.len() < self.questions.len() {
            self.picked.push(place);
            self.shown = true;
        }
    }

    /// The keys that have a meaning now.
    pub(super) fn keys(&self) -> Vec<(&'static str, &'static str)> {
        match self.shown {
            true => vec![("enter", "go on")],
            false => vec![("f", "foreground"), ("b", "background")],
        }
    }

    pub(super) fn draw(&self, pen: &mut Pen<'_>) {
        let at = match self.shown {
            true => self.picked.len().saturating_sub(1),
            false => self.picked.len(),
        };
        let Some(question) = self.questions.get(at) else { return };
        let (right, all) = self.score();
        pen.text(
            "In the foreground the agent waits for the command. In the background it goes on, and \
             the result comes with a later model call, one more than there would have been.",
            Look::Plain,
            0,
        );
        pen.gap();
        pen.row(&[
            (format!("Command {} of {all}", at + 1), Look::Bold),
            (format!("   score {right} / {all}"), Look::Plain),
        ]);
        pen.gap();
        pen.text(&format!("$ {}", question.command), Look::Agent, 4);
        pen.text(&question.situation, Look::Plain, 0);
        pen.gap();
        if !self.shown {
            pen.text("Where does it belong?", Look::Bold, 0);
            pen.text("f  in the foreground: the agent waits for it", Look::Plain, 3);
            pen.text("b  in the background: the agent goes on, and is told", Look::Plain, 3);
            return;
        }
        let answer = question.answer();
        let word = match answer.place {
            Place::Foreground => "the foreground",
            Place::Background => "the background",
        };
        let (says, look) = match self.picked.get(at) == Some(&answer.place) {
            true => (format!("✓ Right: {word}."), Look::Good),
            false => (format!("✗ No: {word}."), Look::Bad),
        };
        pen.text(&says, look, 0);
        for (name, reason) in [
            ("duration", &answer.by_duration),
            ("urgency", &answer.by_urgency),
            ("cost", &answer.costs),
        ] {
            pen.text(&format!("{name:<9} {reason}"), Look::Plain, 10);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(command: &str, seconds: &[u64]) -> Past {
        let runs = seconds.iter().copied().map(Duration::from_secs).collect();
        Past { command: command.to_owned(), runs }
    }

    #[test]
    fn without_a_history_there_are_eight_well_known_ones() {
        let questions = questions(Vec::new());
        assert_eq!(questions.len(), QUESTIONS);
        let places: Vec<Place> = questions.iter().map(|it| it.answer().place).collect();
        let background = places.iter().filter(|place| **place == Place::Background).count();
        assert_eq!(background, QUESTIONS / 2, "one key alone is right half the time: {places:?}");
        assert!(questions.iter().all(|it| !it.answer().is_close && !it.own));
    }

    #[test]
    fn own_commands_are_balanced_clear_and_once_each() {
        let history = vec![
            past("make", &[30, 40]),   // background: there is other work
            past("ls", &[0]),          // foreground: the next step needs it
            past("make", &[31]),       // asked already
            past("close", &[60]),      // too close for anybody
            past("make all", &[100]),  // background
            past("cat x", &[1]),       // foreground
            past("make more", &[200]), // there are two of these
            past("echo never asked", &[1]),
        ];
        let questions = questions(history);
        assert_eq!(questions.len(), QUESTIONS);
        let own: Vec<(&str, Place)> = questions
            .iter()
            .filter(|it| it.own)
            .map(|it| (it.command.as_str(), it.answer().place))
            .collect();
        use Place::{Background, Foreground};
        assert_eq!(
            own,
            [
                ("make", Background),
                ("ls", Foreground),
                ("make all", Background),
                ("cat x", Foreground)
            ]
        );
        assert!(questions[..4].iter().all(|it| !it.own), "they come last");
        assert_eq!(
            questions[4].situation,
            "One of your commands: it ran 2 times and took 35s each on average. Meanwhile there is \
             other work, which does not need it."
        );
    }

    #[test]
    fn every_answer_right_and_wrong_is_counted() {
        for wrong in 0..=QUESTIONS {
            let mut chapter = Placing::new(questions(Vec::new()));
            for at in 0..QUESTIONS {
                assert_eq!(chapter.score(), (at.saturating_sub(wrong), QUESTIONS));
                let is_right = at >= wrong;
                let key = match (chapter.questions[at].answer().place, is_right) {
                    (Place::Foreground, true) | (Place::Background, false) => 'f',
                    (Place::Background, true) | (Place::Foreground, false) => 'b',
                };
                chapter.key('x');
                chapter.key('\n');
                chapter.key(key);
                // A second answer does not count.
                chapter.key('f');
                chapter.key('b');
                assert!(!chapter.is_over());
                chapter.key('\n');
            }
            assert!(chapter.is_over());
            assert_eq!(chapter.score(), (QUESTIONS - wrong, QUESTIONS));
        }
    }
}
