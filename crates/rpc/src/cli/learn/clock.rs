//! The time of the lesson, which can be slowed down, sped up and paused.

use std::time::Duration;

use meanwhile_core::background::task::Timestamp;

/// The available speeds, relative to the usual one.
const SPEEDS: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];
/// The index of the initial speed.
const USUAL: usize = 1;

/// Maps real time to the lesson's time.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// The changes of speed: when, the lesson's time then, and the new speed. Never empty.
    marks: Vec<(Timestamp, Duration, f64)>,
    speed: usize,
    paused: bool,
}

impl Clock {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { marks: vec![(now, Duration::ZERO, SPEEDS[USUAL])], speed: USUAL, paused: false }
    }

    /// Restarts at zero, with the current speed.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.paused = false;
        self.marks = vec![(now, Duration::ZERO, self.rate())];
    }

    /// The lesson's time at a real time; zero before the start.
    pub(super) fn at(&self, moment: Timestamp) -> Duration {
        let mark = self.marks.iter().rev().find(|mark| mark.0 <= moment).unwrap_or(&self.marks[0]);
        mark.1 + moment.since(mark.0).mul_f64(mark.2)
    }

    /// The current speed; zero while paused.
    pub(super) fn rate(&self) -> f64 {
        if self.paused { 0.0 } else { SPEEDS[self.speed] }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// The name of the selected speed: `2x`.
    pub(super) fn name(&self) -> String {
        format!("{}x", SPEEDS[self.speed])
    }

    /// Pauses or resumes.
    pub(super) fn pause(&mut self, now: Timestamp, paused: bool) {
        self.paused = paused;
        self.mark(now);
    }

    /// Selects the next faster or slower speed, if there is one.
    pub(super) fn change(&mut self, now: Timestamp, faster: bool) {
        let wanted =
            if faster { self.speed.saturating_add(1) } else { self.speed.saturating_sub(1) };
        self.speed = wanted.min(SPEEDS.len() - 1);
        self.mark(now);
    }

    fn mark(&mut self, now: Timestamp) {
        let shown = self.at(now);
        self.marks.push((now, shown, self.rate()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_take_no_time_and_speed_changes_only_what_comes() {
        let at = |millis: i64| Timestamp(1_000 + millis);
        let mut clock = Clock::new(at(0));
        clock.change(at(1_000), true);
        clock.pause(at(2_000), true);
        clock.pause(at(9_000), false);
        clock.change(at(9_500), false);
        for (real, shown) in [
            (-5, 0),
            (500, 500),
            (1_000, 1_000),
            (1_500, 2_000),
            (2_000, 3_000),
            (8_000, 3_000),
            (9_500, 4_000),
            (10_000, 4_500),
        ] {
            assert_eq!(clock.at(at(real)), Duration::from_millis(shown), "{real}");
        }
    }

    #[test]
    fn it_begins_again_at_the_same_speed() {
        let mut clock = Clock::new(Timestamp(0));
        clock.change(Timestamp(10), true);
        clock.pause(Timestamp(20), true);
        clock.begin(Timestamp(500));
        assert_eq!(clock.at(Timestamp(600)), Duration::from_millis(200));
    }

    #[test]
    fn there_is_a_slowest_and_a_fastest() {
        let mut clock = Clock::new(Timestamp(0));
        for _ in 0..9 {
            clock.change(Timestamp(1), false);
        }
        assert_eq!(clock.name(), "0.5x");
        for _ in 0..9 {
            clock.change(Timestamp(1), true);
        }
        assert_eq!((clock.name().as_str(), clock.rate()), ("8x", 8.0));
        clock.pause(Timestamp(2), true);
        assert_eq!((clock.name().as_str(), clock.rate()), ("8x", 0.0));
    }
}
