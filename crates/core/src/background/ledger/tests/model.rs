//! Random histories against a model of what the protocol guarantees.

use proptest::prelude::*;

use super::*;

/// A notification of a queue in the model: its index + 1 is its number.
#[derive(Debug, Clone)]
struct Entry {
    task: u32,
    is_end: bool,
    acked: bool,
    lease: Option<usize>,
}

/// A task in the model.
#[derive(Debug, Clone, Default)]
struct Known {
    ended: bool,
    removed: bool,
    matches: Vec<u64>,
}

#[derive(Debug, Default)]
struct Model {
    tasks: BTreeMap<u32, Known>,
    queues: BTreeMap<&'static str, Vec<Entry>>,
    /// Leases that are neither acknowledged nor dropped.
    leases: Vec<Option<LeaseToken>>,
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u32),
    Finish(u32),
    Match(u32, u64),
    Lease { queue: &'static str, max: u32 },
    AckLease(usize),
    DropLease(usize),
    Peek { queue: &'static str, max: u32 },
    Ack { queue: &'static str, through: u64 },
    MarkDelivered(u32),
    Remove(u32),
    Reopen,
}

const QUEUES: [&str; 2] = ["q", "r"];
const TASKS: u32 = 8;

/// The queue into which a task is spawned.
fn queue_of(task: u32) -> &'static str {
    QUEUES[task as usize % 2]
}

fn step() -> impl Strategy<Value = Step> {
    let task = 0..TASKS;
    let queue = || prop::sample::select(&QUEUES[..]);
    prop_oneof![
        1 => task.clone().prop_map(Step::Insert),
        3 => task.clone().prop_map(Step::Finish),
        2 => (task.clone(), 0..4_u64).prop_map(|(task, offset)| Step::Match(task, offset)),
        3 => (queue(), 1..5_u32).prop_map(|(queue, max)| Step::Lease { queue, max }),
        2 => (0..6_usize).prop_map(Step::AckLease),
        1 => (0..6_usize).prop_map(Step::DropLease),
        1 => (queue(), 1..5_u32).prop_map(|(queue, max)| Step::Peek { queue, max }),
        1 => (queue(), 0..12_u64).prop_map(|(queue, through)| Step::Ack { queue, through }),
        1 => task.clone().prop_map(Step::MarkDelivered),
        1 => task.prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ]
}

impl Model {
    fn push(&mut self, task: u32, is_end: bool) -> u64 {
        let queue = self.queues.entry(queue_of(task)).or_default();
        queue.push(Entry { task, is_end, acked: false, lease: None });
        queue.len() as u64
    }

    fn entries(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.queues.values_mut().flatten()
    }

    /// The numbers that a drain returns, and how many remain.
    fn waiting(&self, queue: &str, max: u32) -> (Vec<u64>, u64) {
        let entries = self.queues.get(queue).map_or(&[][..], Vec::as_slice);
        let all: Vec<u64> = (1..)
            .zip(entries)
            .filter(|(_, entry)| !entry.acked && entry.lease.is_none())
            .map(|(seq, _)| seq)
            .collect();
        let taken = all.len().min(max as usize);
        (all[..taken].to_vec(), (all.len() - taken) as u64)
    }

    /// Acknowledges the entries for which `which` is true; returns how many there were.
    fn ack(&mut self, which: impl Fn(&Entry) -> bool) -> u64 {
        let mut count = 0;
        for entry in self.entries().filter(|entry| !entry.acked && which(entry)) {
            entry.acked = true;
            entry.lease = None;
            count += 1;
        }
        count
    }
}

/// Applies a step to both and compares the results.
#[expect(clippy::too_many_lines, reason = "one arm for each kind of step")]
fn apply(
    model: &mut Model,
    ledger: &mut Ledger,
    dir: &Path,
    step: Step,
) -> Result<(), TestCaseError> {
    let here = Path::new(HERE);
    match step {
        Step::Insert(n) => {
            let made = ledger.insert(&[new_task(n, queue_of(n))]).expect("inserted");
            prop_assert_eq!(made[0], !model.tasks.contains_key(&n));
            model.tasks.entry(n).or_default();
        }
        Step::Finish(n) => {
            let (finished, told) =
                finish(ledger, finish_of(new_task(n, queue_of(n)), Outcome::Exited));
            let known = model.tasks.entry(n).or_default();
            let waits =
                model.queues.values().flatten().any(|entry| entry.task == n && !entry.acked);
            match finished {
                Finished::Fresh => {
                    prop_assert!(!known.ended && told.len() == 1);
                    known.ended = true;
                    prop_assert_eq!(told[0].seq, model.push(n, true));
                }
                Finished::Known => prop_assert!(known.ended && (!known.removed || waits)),
                Finished::Removed => prop_assert!(known.ended && known.removed && !waits),
            }
        }
        Step::Match(n, offset) => {
            let task = new_task(n, queue_of(n));
            let notice = notice_of(task, About::Matched(match_at(offset)));
            let told = notify(ledger, &[notice]).pop();
            let known = model.tasks.entry(n).or_default();
            let is_new =
                !known.ended && known.matches.len() < 2 && !known.matches.contains(&offset);
            prop_assert_eq!(told.is_some(), is_new);
            if let Some(told) = told {
                known.matches.push(offset);
                prop_assert_eq!(told.seq, model.push(n, false));
            }
        }
        Step::Lease { queue, max } => {
            let how = Drain::Auto { holder: HOLDER };
            let batch = ledger.drain(here, queue, max, how, &|_| true).expect("drained");
            let (expected, remaining) = model.waiting(queue, max);
            prop_assert_eq!((seqs(&batch), batch.remaining), (expected.clone(), remaining));
            prop_assert_eq!(batch.lease.is_some(), !expected.is_empty());
            if let Some(token) = batch.lease {
                let lease = model.leases.len();
                model.leases.push(Some(token));
                let entries = model.queues.get_mut(queue).expect("it has entries");
                for seq in expected {
                    entries[seq as usize - 1].lease = Some(lease);
                }
            }
        }
        Step::AckLease(lease) => {
            let Some(token) = model.leases.get_mut(lease).and_then(Option::take) else {
                return Ok(());
            };
            let acked = ledger.ack_lease(HOLDER, token, DeliveredBy::Drain, None).expect("acked");
            prop_assert_eq!(acked, model.ack(|entry| entry.lease == Some(lease)));
        }
        Step::DropLease(lease) => {
            let Some(token) = model.leases.get_mut(lease).and_then(Option::take) else {
                return Ok(());
            };
            let dropped = ledger.drop_lease(HOLDER, token).expect("dropped");
            let held = model.entries().filter(|entry| entry.lease == Some(lease));
            let held = held.map(|entry| entry.lease = None).count();
            prop_assert_eq!(dropped, held as u64);
        }
        Step::Peek { queue, max } => {
            let batch = ledger.drain(here, queue, max, Drain::Manual, &|_| true).expect("drained");
            prop_assert_eq!((seqs(&batch), batch.remaining), model.waiting(queue, max));
        }
        Step::Ack { queue, through } => {
            let acked = ledger.ack(here, queue, through).expect("acked");
            let mut expected = 0;
            let entries = model.queues.entry(queue).or_default();
            for entry in entries.iter_mut().take(through as usize).filter(|entry| !entry.acked) {
                (entry.acked, entry.lease) = (true, None);
                expected += 1;
            }
            prop_assert_eq!(acked, expected);
        }
        Step::MarkDelivered(n) => {
            let marked = ledger.mark_delivered(id(n), DeliveredBy::Check, None).expect("marked");
            prop_assert_eq!(marked, model.ack(|entry| entry.task == n && entry.is_end) == 1);
        }
        Step::Remove(n) => {
            let wish = Remove { ids: Some(vec![id(n)]), ended_before: None };
            let removed = ledger.remove(here, &wish).expect("removed");
            let known = model.tasks.get_mut(&n).filter(|known| known.ended && !known.removed);
            prop_assert_eq!(!removed.is_empty(), known.is_some());
            if let Some(known) = known {
                known.removed = true;
            }
        }
        Step::Reopen => *ledger = Ledger::open(dir, false).expect("opened"),
    }
    compare(model, ledger)
}

/// Compares what both sides list.
fn compare(model: &Model, ledger: &Ledger) -> Result<(), TestCaseError> {
    let here = Path::new(HERE);
    let visible = model.tasks.values().filter(|known| !known.removed).count();
    prop_assert_eq!(ledger.tasks(here, None, 100, true).expect("listed").len(), visible);
    let undelivered: BTreeMap<String, u64> = model
        .queues
        .iter()
        .map(|(queue, all)| (queue.to_string(), all.iter().filter(|e| !e.acked).count() as u64))
        .filter(|&(_, count)| count > 0)
        .collect();
    prop_assert_eq!(ledger.undelivered(here).expect("counted"), undelivered);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn numbers_have_no_gap_and_nothing_is_drained_after_its_ack(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let (dir, mut ledger) = open();
        let mut model = Model::default();
        for step in steps {
            apply(&mut model, &mut ledger, dir.path(), step)?;
        }
    }
}
