//! A task's state as a server: the ports it listens on, and whether it is ready.
//!
//! Pure: the caller supplies what the executor found, and when. Also computes when to check again, which is
//! never for a task from which no change is expected.

use std::time::Duration;

use tokio::time::Instant;

use crate::background::task::Port;

/// Time between two checks just after a task's start.
pub const START_ROUND: Duration = Duration::from_millis(100);
/// How long after its start these frequent checks go on.
const START: Duration = Duration::from_secs(2);
/// Time between two checks while a client waits, or after the task wrote output.
const ROUND: Duration = Duration::from_millis(250);
/// How long a port must be open to count as stable: a program that only tries ports closes them at once.
const STANDS: Duration = Duration::from_millis(300);
/// How long a check's result is recent enough for a client that asks.
const FRESH: Duration = Duration::from_millis(20);
/// Time between two checks of which the second shows whether a port is stable.
pub const PROOF: Duration = Duration::from_millis(310);

/// The ports that a task listens on, and its readiness.
#[derive(Debug, Default)]
pub struct Server {
    ports: Vec<(Port, Instant)>,
    matched: bool,
    ready: bool,
    started: Option<Instant>,
    looked: Option<Instant>,
    /// Whether it has written output since the last check.
    wrote: bool,
}

impl Server {
    /// The task's leader runs.
    pub fn started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// The task has written output.
    pub fn wrote(&mut self) {
        self.wrote = true;
    }

    /// A watch matched. Returns whether this made the task ready.
    pub fn matched(&mut self) -> bool {
        self.matched = true;
        !std::mem::replace(&mut self.ready, true)
    }

    /// Stores the ports that were found. Returns whether anything changed.
    pub fn found(&mut self, ports: &[Port], now: Instant) -> bool {
        (self.looked, self.wrote) = (Some(now), false);
        let since = |port: &Port| {
            let known = self.ports.iter().find(|(known, _)| known == port);
            known.map_or(now, |(_, since)| *since)
        };
        let found: Vec<_> = ports.iter().map(|port| (*port, since(port))).collect();
        let same = found.iter().map(|(port, _)| port).eq(self.ports.iter().map(|(port, _)| port));
        self.ports = found;
        let stands = |(port, since): &(Port, Instant)| port.chosen && now >= *since + STANDS;
        let ready = self.matched || self.ports.iter().any(stands);
        std::mem::replace(&mut self.ready, ready) != ready || !same
    }

    /// The numbers of the ports it listens on, ascending.
    pub fn ports(&self) -> Vec<u16> {
        self.ports.iter().map(|(port, _)| port.number).collect()
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether a check now may find something new.
    pub fn is_stale(&self, now: Instant) -> bool {
        self.started.is_some() && self.looked.is_none_or(|at| now >= at + FRESH)
    }

    /// When to check next; `waited_for`: a client waits for the task.
    pub fn next_look(&self, now: Instant, waited_for: bool) -> Option<Instant> {
        let started = self.started?;
        let Some(looked) = self.looked else { return Some(started + START_ROUND) };
        let start = (now < started + START).then_some(looked + START_ROUND);
        let round = (waited_for || self.wrote && !self.ready).then_some(looked + ROUND);
        let unproven = self.ports.iter().filter(|(port, _)| port.chosen && !self.ready);
        let stands = unproven.map(|(_, since)| (*since + STANDS).max(looked + START_ROUND)).min();
        [start, round, stands].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOSEN: Port = Port { number: 3_000, chosen: true };
    const FREE: Port = Port { number: 40_000, chosen: false };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_port_that_stands_makes_it_ready() {
        let now = Instant::now();
        let mut server = Server::default();
        server.started(now);
        assert!(server.found(&[CHOSEN], now) && !server.is_ready());
        assert_eq!(server.ports(), [3_000]);
        assert!(!server.found(&[CHOSEN], now + millis(299)));
        assert!(server.found(&[CHOSEN], now + millis(300)) && server.is_ready());
        assert!(!server.found(&[CHOSEN], now + millis(400)));
        assert!(server.found(&[], now + millis(500)) && !server.is_ready());
        // The wait for a stable port starts over.
        assert!(server.found(&[CHOSEN], now + millis(600)) && !server.is_ready());
    }

    #[test]
    fn a_port_that_the_kernel_chose_makes_nothing_ready_and_a_match_does() {
        let now = Instant::now();
        let mut server = Server::default();
        assert!(server.found(&[FREE], now));
        assert!(!server.found(&[FREE], now + millis(1_000)) && !server.is_ready());
        assert!(server.matched() && server.is_ready() && !server.matched());
        assert!(server.found(&[], now + millis(1_100)) && server.is_ready());
    }

    #[test]
    fn it_is_looked_at_while_something_is_expected() {
        let now = Instant::now();
        let mut server = Server::default();
        assert_eq!(server.next_look(now, true), None, "it does not run");
        server.started(now);
        assert_eq!(server.next_look(now, false), Some(now + millis(100)));
        server.found(&[], now + millis(100));
        let later = now + millis(100);
        assert_eq!(server.next_look(later, false), Some(now + millis(200)));
        let later = now + millis(2_000);
        server.found(&[], later);
        assert_eq!(server.next_look(later, false), None, "nothing is expected");
        assert_eq!(server.next_look(later, true), Some(later + millis(250)));
        server.wrote();
        assert_eq!(server.next_look(later, false), Some(later + millis(250)));
        server.found(&[CHOSEN], later);
        assert_eq!(server.next_look(later, false), Some(later + millis(300)), "it may stand");
        server.found(&[CHOSEN], later + millis(300));
        server.wrote();
        assert_eq!(server.next_look(later + millis(300), false), None, "it is ready");
    }
}
