//! Sessions of the lesson: real ones, with a scripted model that may do what its script says.

use std::time::Duration;

use meanwhile_core::agent::Provider;
use meanwhile_core::agent::permission::{Effect, Rule, Scope};
use meanwhile_core::agent::session::{Session as Agent, Terms, Updates, Wake};

use super::scratch::LINGER;
use crate::setup::Setup;

/// A foreground command is never moved: a lesson may be paused for as long as a person reads.
const NEVER: Duration = Duration::from_secs(24 * 3_600);

/// What a session of the lesson is made with.
pub(super) fn terms(provider: Provider) -> Terms {
    let mut setup = Setup::default();
    // The scripts are part of the program, and their commands only read what the lesson hands them.
    setup.rules.push(Rule { effect: Effect::Allow, scope: Scope::Everything, prefix: None });
    setup.policy.wake = Wake::On;
    setup.policy.calls_per_turn = u32::MAX;
    setup.policy.wakes_per_hour = u32::MAX;
    setup.policy.tools.yield_after = NEVER;
    setup.policy.linger = Some(LINGER);
    setup.terms(provider, false)
}

/// Closes a session. What it still says is not shown any more.
pub(super) async fn close(agent: &Agent, updates: &mut Updates) {
    let mut closed = std::pin::pin!(agent.close());
    loop {
        tokio::select! {
            () = &mut closed => return,
            Some(_) = updates.next() => {}
        }
    }
}
