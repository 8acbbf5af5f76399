//! Whether a task has a shim.
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

/// Time between two attempts to adopt a task.
pub const ADOPT_AGAIN: Duration = Duration::from_secs(1);

/// Which shim supervises a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervision {
    /// The shim that it was started under, as far as this process knows.
    Shim,
    /// None: its shim has died.
    Orphaned {
        /// When to start an adopting shim.
        at: Instant,
    },
    /// An adopting shim.
    Adopted,
}

/// An event in a task's supervision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its shim is dead.
    Lost {
        /// How long to leave the adoption to other processes first.
        patience: Duration,
    },
    /// A timer has expired.
    Due,
    /// An adopting shim has it.
    Adopted,
    /// Its end is recorded: it needs no shim.
    Ended,
}

/// An action for the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// Start an adopting shim.
    Adopt,
    /// Send a stop order again: the new shim does not have it.
    StopAgain,
}

impl Supervision {
    /// The next state, and the action to take.
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

    /// When [`Step::Due`] is due.
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
