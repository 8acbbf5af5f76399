//! Several ledgers on one file, as several daemons use it.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use super::*;

const TASKS: u32 = 120;
const DAEMONS: usize = 3;
/// Each daemon handles the tasks in its own order: none of these divides the number of tasks.
const STEPS: [u32; DAEMONS] = [7, 11, 13];

#[test]
fn racing_daemons_tell_each_end_once_and_deliver_it_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let barrier = Barrier::new(DAEMONS);
    let told: Vec<(Vec<TaskId>, Vec<u64>)> = thread::scope(|scope| {
        let daemons: Vec<_> = (0..DAEMONS)
            .map(|daemon| {
                let (barrier, path) = (&barrier, dir.path());
                scope.spawn(move || {
                    barrier.wait();
                    // The file is also created in the race.
                    let mut ledger = Ledger::open(path, false).expect("opened");
                    work(&mut ledger, &format!("daemon {daemon}"), STEPS[daemon])
                })
            })
            .collect();
        daemons.into_iter().map(|daemon| daemon.join().expect("no panic")).collect()
    });

    let mut fresh: Vec<TaskId> = told.iter().flat_map(|(fresh, _)| fresh.clone()).collect();
    fresh.sort_unstable();
    assert_eq!(fresh, (0..TASKS).map(id).collect::<Vec<_>>(), "each end is fresh for one daemon");

    let mut ledger = Ledger::open(dir.path(), false).expect("opened");
    let mut delivered: Vec<u64> = told.iter().flat_map(|(_, seqs)| seqs.clone()).collect();
    let rest = drain(&mut ledger, "q");
    assert_eq!(rest.remaining, 0);
    delivered.extend(seqs(&rest));
    delivered.sort_unstable();
    assert_eq!(delivered, (1..=u64::from(TASKS)).collect::<Vec<_>>(), "no gap and no repeat");
}

/// Finishes every task, in its own order, and drains in between; returns the ends that it recorded first, and
/// the numbers that it acknowledged.
fn work(ledger: &mut Ledger, holder: &str, step: u32) -> (Vec<TaskId>, Vec<u64>) {
    let mut fresh = Vec::new();
    let mut delivered = BTreeSet::new();
    for n in 0..TASKS {
        let task = new_task((n * step) % TASKS, "q");
        let id = task.id;
        match finish(ledger, finish_of(task, Outcome::Exited)).0 {
            Finished::Fresh => fresh.push(id),
            Finished::Known => {}
            Finished::Removed => panic!("nothing is removed here"),
        }
        if n % 5 == 0 {
            let batch = auto(ledger, holder, 4, &["daemon 0", "daemon 1", "daemon 2"]);
            let Some(lease) = batch.lease else { continue };
            if n % 10 == 0 {
                let acked = ledger.ack_lease(holder, lease, DeliveredBy::Drain, None);
                assert_eq!(acked.expect("acked"), batch.notifications.len() as u64);
                assert!(seqs(&batch).into_iter().all(|seq| delivered.insert(seq)));
            } else {
                ledger.drop_lease(holder, lease).expect("dropped");
            }
        }
    }
    (fresh, delivered.into_iter().collect())
}

#[test]
fn racing_spawns_of_one_token_get_one_task() {
    let (dir, _ledger) = open();
    let barrier = Barrier::new(4);
    let ids: BTreeSet<TaskId> = thread::scope(|scope| {
        let spawns: Vec<_> = (0..4)
            .map(|n| {
                let (barrier, path) = (&barrier, dir.path());
                scope.spawn(move || {
                    let mut ledger = Ledger::open(path, false).expect("opened");
                    barrier.wait();
                    ledger.claim_token(Path::new(HERE), "t", id(n)).expect("claimed")
                })
            })
            .collect();
        spawns.into_iter().map(|spawn| spawn.join().expect("no panic")).collect()
    });
    assert_eq!(ids.len(), 1);
}
