//! Whether a command should run in the foreground or in the background.
//!
//! One rule with two inputs: how long the command takes, and how urgently the next step needs its result. Each
//! second of waiting costs a share of a second, which depends on the urgency; the background costs one more
//! model call, because the result arrives in a call of its own. The cheaper option wins. Pure: the caller
//! supplies the durations, measured or stated.

use std::time::Duration;

use crate::background::words::seconds;

/// The cost of one more model call: the median call takes 3 to 5 s; tokens and the change of context cost about
/// another second.
pub const CALL_COST: Duration = Duration::from_secs(6);

/// What the agent could do while the command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next step reads the command's result.
    NeedsResult,
    /// The next step is not known.
    Unknown,
    /// There is other work that does not need the result.
    OtherWork,
}

impl Next {
    /// The cost of one second of waiting, in tenths of a second. With nothing else to do, the only cost is that
    /// the agent cannot be reached.
    fn tenths(self) -> u32 {
        match self {
            Self::NeedsResult => 1,
            Self::Unknown => 3,
            Self::OtherWork => 10,
        }
    }

    /// The cost of waiting for `time`, as time of the agent's work.
    pub fn cost_of_waiting(self, time: Duration) -> Duration {
        time.saturating_mul(self.tenths()) / 10
    }

    /// The duration for which waiting costs as much as [`CALL_COST`].
    pub fn break_even(self) -> Duration {
        CALL_COST * 10 / self.tenths()
    }
}

/// How long a command takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Length {
    /// The caller states it.
    Stated(Duration),
    /// The duration of each earlier run. Never empty.
    Measured(Vec<Duration>),
    /// The command does not exit by itself, like a server.
    Endless,
}

impl Length {
    /// The mean; `None` if it never ends.
    pub fn mean(&self) -> Option<Duration> {
        match self {
            Self::Stated(time) => Some(*time),
            Self::Measured(runs) => {
                let count = u32::try_from(runs.len()).unwrap_or(u32::MAX).max(1);
                Some(runs.iter().fold(Duration::ZERO, |sum, run| sum.saturating_add(*run)) / count)
            }
            Self::Endless => None,
        }
    }
}

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The agent waits for the command.
    Foreground,
    /// The agent goes on, and receives a notification when the command ends.
    Background,
}

/// The decision for one command, with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Foreground or background.
    pub place: Place,
    /// The reason that follows from the duration.
    pub by_duration: String,
    /// The reason that follows from the urgency.
    pub by_urgency: String,
    /// The cost of each option, as a sentence.
    pub costs: String,
    /// The cost of waiting until the command ends; `None` if unbounded.
    pub waiting: Option<Duration>,
    /// The costs differ by less than half: too close for an exercise.
    pub is_close: bool,
}

/// Applies the rule. A command that takes exactly [`Next::break_even`] runs in the foreground.
pub fn place(length: &Length, next: Next) -> Placement {
    let waiting = length.mean().map(|mean| next.cost_of_waiting(mean));
    let place = match waiting {
        Some(cost) if cost <= CALL_COST => Place::Foreground,
        Some(_) | None => Place::Background,
    };
    let is_close = waiting.is_some_and(|cost| {
        let (low, high) = (cost.min(CALL_COST), cost.max(CALL_COST));
        high * 2 < low * 3
    });
    Placement {
        place,
        by_duration: by_duration(length, next),
        by_urgency: by_urgency(next),
        costs: costs(waiting),
        waiting,
        is_close,
    }
}

fn by_duration(length: &Length, next: Next) -> String {
    let Some(mean) = length.mean() else {
        return "it never ends by itself, so a wait for its end has no end either".to_owned();
    };
    let limit = next.break_even();
    let than = match mean <= limit {
        true => "within",
        false => "beyond",
    };
    let says = match length {
        Length::Measured(runs) if runs.len() > 1 => {
            format!("{} on average of {} runs", short(mean), runs.len())
        }
        Length::Measured(_) => format!("{} the last time", short(mean)),
        Length::Stated(_) | Length::Endless => format!("about {}", short(mean)),
    };
    format!("{says}, {than} the {} that a wait may take here", short(limit))
}

fn by_urgency(next: Next) -> String {
    let rate = next.cost_of_waiting(Duration::from_secs(1));
    let why = match next {
        Next::NeedsResult => "the next step needs the result, so there is little else to do",
        Next::Unknown => "it is not known what the next step needs",
        Next::OtherWork => "there is other work that does not need the result",
    };
    format!("{why}: each second of waiting costs {}", seconds(rate))
}

fn costs(waiting: Option<Duration>) -> String {
    let waiting = match waiting {
        Some(cost) => format!("{} of work", short(cost)),
        None => "work without bound".to_owned(),
    };
    format!("waiting loses {waiting}; the background one more model call, {}", short(CALL_COST))
}

/// A duration for a sentence: with tenths below ten seconds, in minutes from two minutes on.
fn short(time: Duration) -> String {
    match time.as_secs() {
        0 if time < Duration::from_millis(100) => format!("{}ms", time.as_millis()),
        0..10 => seconds(time).replace(".0s", "s"),
        10..120 => format!("{}s", time.as_secs()),
        many => format!("{}m", many / 60),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stated(millis: u64) -> Length {
        Length::Stated(Duration::from_millis(millis))
    }

    #[test]
    fn break_even_decides() {
        for (next, limit) in
            [(Next::OtherWork, 6_000), (Next::Unknown, 20_000), (Next::NeedsResult, 60_000)]
        {
            assert_eq!(next.break_even(), Duration::from_millis(limit));
            assert_eq!(place(&stated(limit), next).place, Place::Foreground, "{next:?}");
            assert_eq!(place(&stated(limit + 100), next).place, Place::Background, "{next:?}");
            assert_eq!(place(&Length::Endless, next).place, Place::Background, "{next:?}");
        }
    }

    #[test]
    fn reasons_are_of_the_case() {
        let runs = [11_000, 13_000].map(Duration::from_millis).to_vec();
        let told = place(&Length::Measured(runs), Next::OtherWork);
        assert_eq!(
            told.by_duration,
            "12s on average of 2 runs, beyond the 6s that a wait may take here"
        );
        assert_eq!(
            told.by_urgency,
            "there is other work that does not need the result: each second of waiting costs 1.0s"
        );
        assert_eq!(told.costs, "waiting loses 12s of work; the background one more model call, 6s");
        let told = place(&stated(3_000), Next::NeedsResult);
        assert_eq!(told.by_duration, "about 3s, within the 60s that a wait may take here");
        assert_eq!(
            told.costs,
            "waiting loses 0.3s of work; the background one more model call, 6s"
        );
        let told = place(&stated(50), Next::NeedsResult);
        assert_eq!(told.costs, "waiting loses 5ms of work; the background one more model call, 6s");
        let told = place(&Length::Endless, Next::NeedsResult);
        assert_eq!(
            told.costs,
            "waiting loses work without bound; the background one more model call, 6s"
        );
    }

    #[test]
    fn a_question_near_the_limit_is_known_as_close() {
        for (millis, is_close) in [(3_900, false), (4_100, true), (8_900, true), (9_100, false)] {
            assert_eq!(place(&stated(millis), Next::OtherWork).is_close, is_close, "{millis}");
        }
        assert!(!place(&Length::Endless, Next::OtherWork).is_close);
    }

    proptest! {
        #[test]
        fn the_cheaper_place_wins(millis in prop::collection::vec(0_u64..4_000_000, 1..20)) {
            let runs = millis.into_iter().map(Duration::from_millis).collect();
            let length = Length::Measured(runs);
            let mut before = Place::Background;
            for next in [Next::OtherWork, Next::Unknown, Next::NeedsResult] {
                let told = place(&length, next);
                let waits = told.waiting.expect("it ends");
                prop_assert_eq!(told.place == Place::Foreground, waits <= CALL_COST);
                // Higher urgency never moves a command from the foreground to the background.
                prop_assert!(before == Place::Background || told.place == Place::Foreground);
                before = told.place;
            }
        }
    }
}
