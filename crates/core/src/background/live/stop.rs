//! The stop of a task, from the request to the end.
//!
//! ```text
//!            Ask: send           Taken
//!    None -----------> Asked ------------> Taken
//!                     ^  | ^                |
//!     again, after    |  | |  Again         |  no end long after the grace:
//!     10 ms: send     `--' `----------------+  replace its supervisor
//!
//!    Left: from Asked and Taken to Left, where nothing more is tried
//!    Gone: from everywhere to None
//! ```

use std::time::Duration;

use tokio::time::Instant;

use crate::background::Stop;
use crate::background::task::Survivor;

/// Time between two attempts to send the order to a shim that is still starting.
const ORDER_ROUND: Duration = Duration::from_millis(10);
/// How long after the grace period the shim may take before it counts as dead: longer than the shim itself
/// waits for processes that SIGKILL does not end.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// The progress of a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopOrder {
    /// No stop was requested.
    None,
    /// The task's shim does not have the order yet.
    Asked {
        /// The signal, grace period and cause.
        how: Stop,
        /// When to send the order again.
        at: Instant,
        /// When the shim counts as dead.
        until: Instant,
    },
    /// The task's shim has the order.
    Taken {
        /// The signal, grace period and cause.
        how: Stop,
        /// When the shim counts as dead.
        until: Instant,
    },
    /// The stop has done all it can, and some processes are still alive.
    Left {
        /// The signal, grace period and cause.
        how: Stop,
        /// The processes that are still alive.
        left: Vec<Survivor>,
    },
}

/// An event during a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A client requests a stop.
    Ask(Stop),
    /// The task's shim has received the order.
    Taken,
    /// The task has a new shim.
    Again,
    /// These processes cannot be ended.
    Left(Vec<Survivor>),
    /// A timer has expired.
    Due,
    /// No process of the task is alive.
    Gone,
}

/// An action for the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// Send the order to the shim.
    Send(Stop),
    /// Kill the task's shim, which does not answer, so that another one takes over.
    Replace,
}

impl StopOrder {
    /// The next state, and the action to take.
    pub fn step(self, step: Step, now: Instant) -> (Self, Effect) {
        match (self, step) {
            (
                Self::None | Self::Asked { .. } | Self::Taken { .. } | Self::Left { .. },
                Step::Ask(how),
            ) => (Self::asked(how.clone(), now), Effect::Send(how)),
            (
                Self::Asked { how, .. } | Self::Taken { how, .. } | Self::Left { how, .. },
                Step::Left(left),
            ) => (Self::Left { how, left }, Effect::Nothing),
            (Self::Asked { how, until, .. } | Self::Taken { how, until }, Step::Due)
                if now >= until =>
            {
                (Self::asked(how, now), Effect::Replace)
            }
            (Self::Asked { how, at, until }, Step::Due) if now >= at => {
                let asked = Self::Asked { how: how.clone(), at: now + ORDER_ROUND, until };
                (asked, Effect::Send(how))
            }
            (Self::Asked { how, until, .. }, Step::Taken) => {
                (Self::Taken { how, until }, Effect::Nothing)
            }
            (
                Self::Asked { how, .. } | Self::Taken { how, .. } | Self::Left { how, .. },
                Step::Again,
            ) => (Self::asked(how, now), Effect::Nothing),
            (
                Self::None | Self::Asked { .. } | Self::Taken { .. } | Self::Left { .. },
                Step::Gone,
            ) => (Self::None, Effect::Nothing),
            (same @ Self::None, Step::Taken | Step::Again | Step::Due | Step::Left(_))
            | (same @ Self::Asked { .. }, Step::Due)
            | (same @ (Self::Taken { .. } | Self::Left { .. }), Step::Taken | Step::Due) => {
                (same, Effect::Nothing)
            }
        }
    }

    fn asked(how: Stop, now: Instant) -> Self {
        let until = now + how.grace + STOP_PATIENCE;
        Self::Asked { how, at: now + ORDER_ROUND, until }
    }

    /// The request, if the task is being stopped.
    pub fn how(&self) -> Option<&Stop> {
        match self {
            Self::None => None,
            Self::Asked { how, .. } | Self::Taken { how, .. } | Self::Left { how, .. } => Some(how),
        }
    }

    /// The processes that could not be ended, if the stop has got that far.
    pub fn left(&self) -> Option<&[Survivor]> {
        match self {
            Self::None | Self::Asked { .. } | Self::Taken { .. } => None,
            Self::Left { left, .. } => Some(left),
        }
    }

    /// When [`Step::Due`] is due.
    pub fn timer(&self) -> Option<Instant> {
        match self {
            Self::None | Self::Left { .. } => None,
            Self::Asked { at, until, .. } => Some((*at).min(*until)),
            Self::Taken { until, .. } => Some(*until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::task::{Actor, Cause};

    fn how(signal: i32) -> Stop {
        let cause = Cause { actor: Actor::Client, message: "enough".to_owned() };
        Stop { signal, grace: Duration::from_secs(2), cause }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_sent_until_it_is_taken_and_then_insisted_on() {
        use Effect::{Nothing, Replace, Send};
        let now = Instant::now();
        let (soon, dead) = (now + ORDER_ROUND, now + Duration::from_secs(10));
        let asked = |at, until| StopOrder::Asked { how: how(15), at, until };
        let taken = |until| StopOrder::Taken { how: how(15), until };
        let first = asked(soon, dead);
        let second = StopOrder::Asked { how: how(9), at: soon, until: dead };
        let survivors = || vec![Survivor { pid: 9, command: "sudo".to_owned() }];
        let left = StopOrder::Left { how: how(15), left: survivors() };
        let table = [
            (StopOrder::None, Step::Left(survivors()), StopOrder::None, Nothing),
            (first.clone(), Step::Left(survivors()), left.clone(), Nothing),
            (taken(dead), Step::Left(survivors()), left.clone(), Nothing),
            (left.clone(), Step::Left(survivors()), left.clone(), Nothing),
            (left.clone(), Step::Ask(how(9)), second.clone(), Send(how(9))),
            (left.clone(), Step::Taken, left.clone(), Nothing),
            (left.clone(), Step::Due, left.clone(), Nothing),
            (left.clone(), Step::Again, first.clone(), Nothing),
            (left.clone(), Step::Gone, StopOrder::None, Nothing),
            (StopOrder::None, Step::Ask(how(15)), first.clone(), Send(how(15))),
            (StopOrder::None, Step::Taken, StopOrder::None, Nothing),
            (StopOrder::None, Step::Again, StopOrder::None, Nothing),
            (StopOrder::None, Step::Due, StopOrder::None, Nothing),
            (StopOrder::None, Step::Gone, StopOrder::None, Nothing),
            (first.clone(), Step::Gone, StopOrder::None, Nothing),
            (taken(dead), Step::Gone, StopOrder::None, Nothing),
            (first.clone(), Step::Ask(how(9)), second.clone(), Send(how(9))),
            (first.clone(), Step::Taken, taken(dead), Nothing),
            (first.clone(), Step::Again, first.clone(), Nothing),
            (first.clone(), Step::Due, first.clone(), Nothing),
            (asked(now, dead), Step::Due, first.clone(), Send(how(15))),
            (asked(now, now), Step::Due, first.clone(), Replace),
            (taken(dead), Step::Ask(how(9)), second, Send(how(9))),
            (taken(dead), Step::Taken, taken(dead), Nothing),
            (taken(dead), Step::Again, first.clone(), Nothing),
            (taken(dead), Step::Due, taken(dead), Nothing),
            (taken(now), Step::Due, first.clone(), Replace),
        ];
        for (from, step, to, effect) in table {
            let name = format!("{from:?} at {step:?}");
            assert_eq!(from.step(step, now), (to, effect), "{name}");
        }
        assert_eq!([StopOrder::None.timer(), left.timer()], [None, None]);
        assert_eq!(first.timer(), Some(soon));
        assert_eq!(taken(dead).timer(), Some(dead));
    }
}
