//! The sessions of the lesson: real sessions with a scripted model that may do whatever its script says.

use std::time::Duration;

use meanwhile_core::agent::Provider;
use meanwhile_core::agent::permission::{Effect, Rule, Scope};
use meanwhile_core::agent::session::{Session as Agent, Terms, Updates, Wake};

use super::scratch::LINGER;
use crate::setup::Setup;

/// A foreground command is never moved to the background, because a person may pause the lesson for any time.
const NEVER: Duration = Duration::from_secs(24 * 3_600);

/// The terms of a session of the lesson.
pub(super) fn terms(provider: Provider) -> Terms {
    let mut setup = Setup::default();
    // The scripts are part of the program, and their commands only read what the lesson gives them.
    setup.rules.push(Rule { effect: Effect::Allow, scope: Scope::Everything, prefix: None });
    setup.policy.wake = Wake::On;
    setup.policy.calls_per_turn = u32::MAX;
    setup.policy.wakes_per_hour = u32::MAX;
    setup.policy.tools.yield_after = NEVER;
    setup.policy.linger = Some(LINGER);
    setup.terms(provider, false)
}

/// Closes a session. Its last updates are not shown.
pub(super) async fn close(agent: &Agent, updates: &mut Updates) {
    let mut closed = std::pin::pin!(agent.close());
    loop {
        tokio::select! {
            () = &mut closed => return,
            Some(_) = updates.next() => {}
        }
    }
}
