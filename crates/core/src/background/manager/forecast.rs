//! Estimates how long a queued task still waits, from past durations of the commands ahead of it.
//!
//! The tasks ahead may belong to other workspaces, so their commands are read from their files and the
//! durations from the ledger. This costs nothing unless a queued task is displayed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Background;
use crate::background::executor::InLine;
use crate::background::ledger::LedgerError;
use crate::background::task::{State, Task, TaskId, Wait};

/// Stands for an unknown time, later than any other.
const UNKNOWN: Duration = Duration::MAX;

/// How long a command usually takes: the median of its past durations.
pub fn usual(mut past: Vec<Duration>) -> Option<Duration> {
    past.sort_unstable();
    past.get(past.len() / 2).copied()
}

/// A task in line, with the usual duration of its command; `ran` is `None` if it still waits.
#[derive(Debug, Clone, Copy)]
struct Place {
    id: TaskId,
    ran: Option<Duration>,
    usual: Option<Duration>,
}

impl Background {
    /// Sets the estimated remaining wait of queued tasks, where it is known. Data that cannot be read counts as
    /// unknown.
    pub(super) async fn forecast(&self, tasks: &mut [Task]) {
        let (mut slots, mut after) = (HashSet::new(), HashSet::new());
        for task in tasks.iter() {
            let State::Queued(queued) = &task.state else { continue };
            match &queued.reason {
                Wait::Slot { name, .. } => drop(slots.insert(name.clone())),
                Wait::After(ids) => after.extend(ids.iter().copied()),
                Wait::Place { .. } => {}
            }
        }
        if slots.is_empty() && after.is_empty() {
            return;
        }
        let archive = self.archive.clone();
        // Runs on the ledger's thread: a line may be long, and each task in it has several files to read.
        let read = self.store.read(move |ledger| {
            let mut usuals = HashMap::new();
            let mut place = |task: InLine| {
                let InLine { id, workspace, command, ran } = task;
                let usual = match usuals.entry((workspace, command)) {
                    Entry::Occupied(found) => *found.get(),
                    Entry::Vacant(new) => {
                        let past = ledger.past_durations(&new.key().0, &new.key().1)?;
                        *new.insert(usual(past))
                    }
                };
                Ok::<_, LedgerError>(Place { id, ran, usual })
            };
            let mut waits = HashMap::new();
            for name in slots {
                let (tasks, limit) = archive.in_line(&name);
                let places: Result<Vec<_>, _> = tasks.into_iter().map(&mut place).collect();
                waits.insert(name, starts(&places?, limit));
            }
            let others = after.into_iter().filter_map(|id| archive.one_in_line(id));
            let others = others.map(|task| place(task).map(|it| (it.id, left(&it))));
            let others: Result<HashMap<_, _>, _> = others.collect();
            Ok((waits, others?))
        });
        let Ok((waits, others)) = read.await else { return };
        if waits.is_empty() && others.is_empty() {
            return;
        }
        for task in tasks {
            let State::Queued(queued) = &mut task.state else { continue };
            queued.left = match &queued.reason {
                Wait::Slot { name, .. } => {
                    waits.get(name.as_str()).and_then(|waits| waits.get(&task.id)).copied()
                }
                Wait::Place { .. } => None,
                // A task that is not found has ended meanwhile.
                Wait::After(ids) => ids
                    .iter()
                    .map(|id| others.get(id).copied().unwrap_or(Some(Duration::ZERO)))
                    .try_fold(Duration::ZERO, |most, left| Some(most.max(left?))),
            };
        }
    }
}

/// How long a running task still takes; `None`: unknown, or it is already over its usual duration.
fn left(task: &Place) -> Option<Duration> {
    task.usual?.checked_sub(task.ran?)
}

/// The times from now at which the waiting tasks start, where known. They take a slot's places in order, each
/// the one that becomes free first. A place that becomes free at an unknown time comes last.
fn starts(line: &[Place], limit: usize) -> HashMap<TaskId, Duration> {
    let runs = line.iter().filter(|task| task.ran.is_some());
    let mut free: Vec<Duration> = runs.map(|task| left(task).unwrap_or(UNKNOWN)).collect();
    free.resize(free.len().max(limit), Duration::ZERO);
    free.sort_unstable();
    // The limit was lowered: this many tasks must end before a place is free.
    free.drain(..free.len() - limit);
    let mut starts = HashMap::new();
    for task in line.iter().filter(|task| task.ran.is_none()) {
        let Some(first) = free.first_mut() else { break };
        if *first == UNKNOWN {
            break;
        }
        starts.insert(task.id, *first);
        *first = task.usual.map_or(UNKNOWN, |usual| first.saturating_add(usual));
        free.sort_unstable();
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each task, how long it has run and how long it usually takes, in seconds.
    fn check(line: &[(Option<u64>, Option<u64>)], limit: usize, expected: &[Option<u64>]) {
        let time = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let line: Vec<Place> = line
            .iter()
            .map(|(ran, usual)| Place {
                id: TaskId::random(),
                ran: time(*ran),
                usual: time(*usual),
            })
            .collect();
        let starts = starts(&line, limit);
        let waiting = line.iter().filter(|task| task.ran.is_none());
        let found: Vec<_> = waiting.map(|task| starts.get(&task.id).copied()).collect();
        let expected: Vec<_> = expected.iter().map(|at| time(*at)).collect();
        assert_eq!(found, expected, "{line:?}, {limit}");
    }

    #[test]
    fn those_that_wait_start_in_their_order_as_places_are_free() {
        let (runs, waits) = (|ran, usual| (Some(ran), Some(usual)), |usual| (None, Some(usual)));
        check(&[runs(20, 60), waits(30), waits(5)], 1, &[Some(40), Some(70)]);
        check(
            &[runs(20, 60), runs(0, 10), waits(15), waits(5), waits(5)],
            2,
            &[Some(10), Some(25), Some(30)],
        );
        // Over the usual duration, and without a past one.
        check(&[runs(70, 60), waits(30)], 1, &[None]);
        check(&[(Some(3), None), waits(30)], 1, &[None]);
        check(&[runs(20, 60), (None, None), waits(5)], 1, &[Some(40), None]);
        check(&[runs(70, 60), runs(0, 10), waits(15), waits(5)], 2, &[Some(10), Some(25)]);
        // The limit was lowered to one, or raised.
        check(&[runs(0, 10), runs(0, 30), waits(5)], 1, &[Some(30)]);
        check(&[runs(0, 10), waits(5), waits(5)], 2, &[Some(0), Some(5)]);
        check(&[], 1, &[]);
    }

    #[test]
    fn the_usual_is_the_median() {
        let usual_of = |past: &[u64]| usual(past.iter().map(|s| Duration::from_secs(*s)).collect());
        assert_eq!(usual_of(&[]), None);
        assert_eq!(usual_of(&[90, 1, 60]), Some(Duration::from_secs(60)));
    }
}
