//! Waits and retries while the model cannot be reached.
//!
//! The provider has already retried for a few seconds before a failure gets here. A turn that a prompt started is
//! retried for as long as the client asked; a turn that task results started is retried until it succeeds or the
//! person sends a prompt, because nothing else would start it again.

use std::time::Duration;

use tokio::time::Instant;

use super::Update;
use super::work::Work;
use crate::agent::failure::{Again, Failure, FailureKind};

/// The first delay; it doubles with each retry.
const FIRST: Duration = Duration::from_secs(2);
/// The longest delay, unless the server names a longer one.
const LONGEST: Duration = Duration::from_secs(60);

/// The longest delay that a server can ask for. No vendor has a limit longer than a month.
const NAMED_MAX: Duration = Duration::from_secs(31 * 24 * 3_600);

/// For how long a turn retries a model call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until this time.
    Until(Instant),
    /// Until it succeeds or the person sends a prompt.
    Endless,
}

/// What to do after waiting.
pub(super) enum Waited {
    /// Make the model call again.
    Again,
    /// The turn was cancelled.
    Cancelled,
    /// Give up: retrying makes no sense, or the time is used up.
    Over,
}

impl Patience {
    pub(super) fn lasting(time: Duration) -> Self {
        Self::Until(Instant::now() + time)
    }
}

/// The delay before the next attempt; `None` if a retry makes no sense. `failed` counts the earlier waits.
fn delay(failure: &Failure, failed: u32, patience: Patience) -> Option<Duration> {
    // A server that still answers like this after the first attempts will do so in ten minutes, too, so report it
    // to the person at once.
    if matches!(failure.kind, FailureKind::Garbage | FailureKind::Unfinished)
        && patience != Patience::Endless
    {
        return None;
    }
    let own = FIRST.saturating_mul(2_u32.saturating_pow(failed.min(10))).min(LONGEST);
    match failure.again {
        Again::Later => Some(own),
        Again::After(named) => Some(named.min(NAMED_MAX).max(own)),
        // A server that sent nothing for minutes may recover later.
        Again::Never if failure.kind == FailureKind::Stalled => Some(own),
        Again::Never | Again::Plainer => None,
    }
}

impl Work {
    /// Waits before a failed model call is retried.
    pub(super) async fn wait_out(&mut self, failure: &Failure) -> Waited {
        let Some(delay) = delay(failure, self.waited, self.patience) else { return Waited::Over };
        let until = Instant::now() + delay;
        if let Patience::Until(end) = self.patience
            && until > end
        {
            return Waited::Over;
        }
        self.waited += 1;
        let (attempt, why) = (self.waited + 1, failure.message.clone());
        self.out.send(Update::Retrying { attempt, delay, why }).await;
        let cancelled = self.cancelled();
        let mut spoken = self.spoken.clone();
        let is_endless = self.patience == Patience::Endless;
        tokio::select! {
            biased;
            () = cancelled => Waited::Cancelled,
            // The owner keeps the sender for as long as a turn runs.
            _ = spoken.wait_for(|spoken| *spoken), if is_endless => Waited::Over,
            () = tokio::time::sleep_until(until) => Waited::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_a_named_one_is_kept() {
        let failure = |again| Failure::new(FailureKind::Overloaded, again, "x");
        let patience = Patience::lasting(Duration::from_secs(600));
        let seconds =
            |again, failed| delay(&failure(again), failed, patience).map(|delay| delay.as_secs());
        let grown = [0, 1, 2, 3, 4, 5, 90].map(|failed| seconds(Again::Later, failed));
        assert_eq!(grown, [2, 4, 8, 16, 32, 60, 60].map(Some));
        let named = |s| Again::After(Duration::from_secs(s));
        assert_eq!((seconds(named(90), 0), seconds(named(1), 3)), (Some(90), Some(16)));
        assert_eq!((seconds(Again::Never, 0), seconds(Again::Plainer, 0)), (None, None));
        for kind in [FailureKind::Garbage, FailureKind::Unfinished] {
            let failure = Failure::new(kind, Again::Later, "x");
            assert_eq!(delay(&failure, 0, patience), None, "a person is told at once");
            assert_eq!(delay(&failure, 0, Patience::Endless), Some(FIRST));
        }
    }
}
