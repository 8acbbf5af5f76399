//! Waiting for a model that cannot be asked for the moment.
//!
//! The provider has tried a few times within seconds before a failure comes here. What a person asked
//! for is tried again for as long as they said; what results of tasks began is tried again until it is
//! through, or until the person says something: no one else starts it.

use std::time::Duration;

use tokio::time::Instant;

use super::Update;
use super::work::Work;
use crate::agent::failure::{Again, Failure, FailureKind};

/// The first delay, which doubles.
const FIRST: Duration = Duration::from_secs(2);
/// The longest delay, unless the server names a longer one.
const LONGEST: Duration = Duration::from_secs(60);

/// The longest delay that a server can name. No vendor's limit is by more than the month.
const NAMED_MAX: Duration = Duration::from_secs(31 * 24 * 3_600);

/// For how long a turn asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until then.
    Until(Instant),
    /// Until it is through, or a person speaks.
    Endless,
}

/// What came of waiting.
pub(super) enum Waited {
    /// Ask again.
    Again,
    /// The turn is to end.
    Cancelled,
    /// It makes no sense, or there is no time left.
    Over,
}

impl Patience {
    pub(super) fn lasting(time: Duration) -> Self {
        Self::Until(Instant::now() + time)
    }
}

/// The delay before the next attempt; `None`: none would do better. `failed` counts those that were
/// waited for already.
fn delay(failure: &Failure, failed: u32, patience: Patience) -> Option<Duration> {
    // A server that is there and answers like this after the first attempts does so in ten minutes,
    // too: a person is told at once.
    if matches!(failure.kind, FailureKind::Garbage | FailureKind::Unfinished)
        && patience != Patience::Endless
    {
        return None;
    }
    let own = FIRST.saturating_mul(2_u32.saturating_pow(failed.min(10))).min(LONGEST);
    match failure.again {
        Again::Later => Some(own),
        Again::After(named) => Some(named.min(NAMED_MAX).max(own)),
        // A server that said nothing for minutes may be there later.
        Again::Never if failure.kind == FailureKind::Stalled => Some(own),
        Again::Never | Again::Plainer => None,
    }
}

impl Work {
    /// Waits before a failed model call is made again.
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
            // The owner keeps the other end for as long as a turn runs.
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
