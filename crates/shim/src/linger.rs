//! How long a task continues while no daemon is attached to its workspace.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use meanwhile_shim::record::{Actor, Cause};
use meanwhile_shim::spec::Spec;
use meanwhile_shim::{layout, lock};

/// The longest time between two checks whether a daemon is attached.
const ROUND: Duration = Duration::from_secs(30);

/// Checks regularly whether a daemon is attached.
pub struct Linger {
    check: Option<Instant>,
    unattached_since: Option<Instant>,
}

impl Linger {
    /// For a task that was started, or taken over, at `now`.
    pub fn new(spec: &Spec, now: Instant) -> Self {
        Self { check: spec.linger.map(|_| now), unattached_since: None }
    }

    /// When to check next; `None` if the task lingers without limit.
    pub fn timer(&self) -> Option<Instant> {
        self.check
    }

    /// The cause for which the task must end, once no daemon has been attached for too long.
    pub fn look(&mut self, now: Instant, state: &Path, spec: &Spec) -> Option<Cause> {
        let (at, linger) = (self.check?, spec.linger?);
        if now < at {
            return None;
        }
        // Opened each time, because it may have been removed and created again.
        let path = layout::attached(state, layout::workspace_hash(&spec.workspace));
        let attached = File::options().read(true).write(true).open(path);
        let attached = attached.is_ok_and(|file| lock::is_held(&file).unwrap_or(true));
        let since = if attached { None } else { Some(*self.unattached_since.get_or_insert(now)) };
        self.unattached_since = since;
        let round = (linger / 8).clamp(Duration::from_millis(20), ROUND);
        self.check = Some(match since {
            Some(since) => (now + round).min(since + linger),
            None => now + round,
        });
        since.filter(|since| now >= *since + linger).map(|_| {
            let message = format!("no daemon was attached for {} ms", linger.as_millis());
            Cause { actor: Actor::Linger, message }
        })
    }
}
