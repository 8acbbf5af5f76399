//! Who looks after a task.
//!
//! ```text
//!             Lost                       Due: adopt
//!    Shim ------------> Orphaned {at} ---------------.
//!                        ^    |   ^                  |  again after a while
//!                        |    |   `------------------'
//!                   Lost |    | Adopted: give it an order to stop again
//!                        |    v
//!                        Adopted          Ended: from everywhere to Shim
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// After an attempt to adopt a task, the next one.
pub const ADOPT_AGAIN: Duration = Duration::from_secs(1);

/// Who looks after a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervision {
    /// The supervisor it was started under, as far as is known.
    Shim,
    /// None: its supervisor died.
    Orphaned {
        /// When another one is to take over.
        at: Instant,
    },
    /// Another one.
    Adopted,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its supervisor is dead.
    Lost {
        /// How long others have to adopt it first.
        patience: Duration,
    },
    /// Time has passed.
    Due,
    /// Another supervisor has it.
    Adopted,
    /// Its end is recorded: it needs no supervisor.
    Ended,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Have another supervisor take over.
    Adopt,
    /// The new one has not heard of an order to stop.
    StopAgain,
}

impl Supervision {
    /// Who looks after it then, and what is to be done.
    pub fn step(self, step: Step, now: Instant) -> (Self, Effect) {
        match (self, step) {
            (Self::Shim | Self::Adopted, Step::Lost { patience }) => {
                (Self::Orphaned { at: now + patience }, Effect::Nothing)
            }
            (Self::Orphaned { at }, Step::Due) if now >= at => {
                (Self::Orphaned { at: now + ADOPT_AGAIN }, Effect::Adopt)
            }
            (Self::Orphaned { .. }, Step::Adopted) => (Self::Adopted, Effect::StopAgain),
            (Self::Shim | Self::Orphaned { .. } | Self::Adopted, Step::Ended) => {
                (Self::Shim, Effect::Nothing)
            }
            (Self::Orphaned { at }, Step::Lost { .. } | Step::Due) => {
                (Self::Orphaned { at }, Effect::Nothing)
            }
            (same @ (Self::Shim | Self::Adopted), Step::Due | Step::Adopted) => {
                (same, Effect::Nothing)
            }
        }
    }

    /// When it is to be looked at again.
    pub fn timer(self) -> Option<Instant> {
        match self {
            Self::Orphaned { at } => Some(at),
            Self::Shim | Self::Adopted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_orphan_is_adopted_in_time() {
        use Effect::{Adopt, Nothing, StopAgain};
        use Supervision::{Adopted, Orphaned, Shim};
        let now = Instant::now();
        let patience = Duration::from_millis(300);
        let (later, again) = (now + patience, now + ADOPT_AGAIN);
        let lost = Step::Lost { patience };
        let table = [
            (Shim, lost, Orphaned { at: later }, Nothing),
            (Shim, Step::Due, Shim, Nothing),
            (Shim, Step::Adopted, Shim, Nothing),
            (Shim, Step::Ended, Shim, Nothing),
            (
                Orphaned { at: later },
                Step::Lost { patience: Duration::ZERO },
                Orphaned { at: later },
                Nothing,
            ),
            (Orphaned { at: later }, Step::Due, Orphaned { at: later }, Nothing),
            (Orphaned { at: now }, Step::Due, Orphaned { at: again }, Adopt),
            (Orphaned { at: later }, Step::Adopted, Adopted, StopAgain),
            (Orphaned { at: later }, Step::Ended, Shim, Nothing),
            (Adopted, lost, Orphaned { at: later }, Nothing),
            (Adopted, Step::Due, Adopted, Nothing),
            (Adopted, Step::Adopted, Adopted, Nothing),
            (Adopted, Step::Ended, Shim, Nothing),
        ];
        for (from, step, to, effect) in table {
            assert_eq!(from.step(step, now), (to, effect), "{from:?} at {step:?}");
        }
        assert_eq!(Orphaned { at: later }.timer(), Some(later));
        assert_eq!([Shim.timer(), Adopted.timer()], [None, None]);
    }
}
