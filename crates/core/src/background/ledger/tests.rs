use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::background::task::{
    Actor, Delivered, DeliveredBy, Exit, Notification, NotificationKind, Outcome,
};
use crate::background::{Remove, StateFilter};

mod file;
mod model;
mod racing;
mod sessions;

const HERE: &str = "/w";
const HOLDER: &str = "me";

pub(super) fn open() -> (TempDir, Ledger) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ledger = Ledger::open(dir.path(), false).expect("a new store");
    (dir, ledger)
}

pub(super) fn id(n: u32) -> TaskId {
    format!("{n:08x}").parse().expect("an id")
}

/// A task whose creation time grows with its number.
pub(crate) fn new_task(n: u32, queue: &str) -> NewTask {
    NewTask {
        id: id(n),
        workspace: PathBuf::from(HERE),
        queue: queue.to_owned(),
        label: Some(format!("task {n}")),
        command: "make -j2 'all of it'".to_owned(),
        cwd: PathBuf::from("/w/sub"),
        created_at: Timestamp(1_000 + i64::from(n)),
        deadline: Some(Duration::from_millis(1_500)),
        linger: None,
        stdin: Stdin::Pty { rows: 24, cols: 80 },
        watches: vec![Watch { id: "w".to_owned(), pattern: "^E: ".to_owned(), limit: 2 }],
        client_token: None,
        slot: None,
        after: Vec::new(),
        service: false,
        is_step: false,
        place: None,
    }
}

pub(super) fn finish_of(task: NewTask, outcome: Outcome) -> Finish {
    Finish {
        pid: Some(4_242),
        end: End {
            outcome,
            exit: Exit::Code(3),
            cause: (outcome == Outcome::Stopped)
                .then(|| Cause { actor: Actor::Agent, message: "no longer wanted".to_owned() }),
            at: Timestamp(task.created_at.0 + 500),
            duration: Duration::from_micros(499_250),
        },
        output: OutputStat { total: 5_000_000_000, dropped: 12 },
        progress: Some(Progress { percent: Some(80), message: None }),
        survivors: vec![Survivor { pid: 9, command: "sleep 1:000".to_owned() }],
        preview: Preview { head: "é head".to_owned(), tail: "tail".to_owned(), omitted: 7 },
        matches: Vec::new(),
        job: None,
        task,
    }
}

pub(super) fn match_at(offset: u64) -> Match {
    Match { id: "w".to_owned(), line: format!("E: at {offset}"), offset }
}

fn notice_of(task: NewTask, about: About) -> Notice {
    Notice {
        task,
        about,
        pid: Some(77),
        stopping: None,
        output: OutputStat { total: 100, dropped: 0 },
        progress: None,
        preview: Preview { head: "so far".to_owned(), tail: String::new(), omitted: 0 },
    }
}

/// Records an end as the supervisor does; returns the result and the notifications that it queued.
fn finish(ledger: &mut Ledger, end: Finish) -> (Finished, Vec<Notification>) {
    let (now, id) = (ledger.now().expect("read"), end.task.id);
    let finished = ledger.record(&[], &[], &[], &[end]).expect("recorded");
    let (mut news, _) = ledger.news(Path::new(HERE), now, 100).expect("read");
    news.retain(|told| told.task.id == id);
    (finished[0], news)
}

/// Records notices of a running task; returns the notifications that were queued.
fn notify(ledger: &mut Ledger, notices: &[Notice]) -> Vec<Notification> {
    let now = ledger.now().expect("read");
    ledger.record(&[], &[], notices, &[]).expect("recorded");
    ledger.news(Path::new(HERE), now, 100).expect("read").0
}

pub(super) fn end(ledger: &mut Ledger, n: u32, queue: &str) -> Notification {
    let (finished, mut told) = finish(ledger, finish_of(new_task(n, queue), Outcome::Exited));
    assert_eq!((finished, told.len()), (Finished::Fresh, 1));
    told.remove(0)
}

fn drain(ledger: &mut Ledger, queue: &str) -> Batch {
    ledger.drain(Path::new(HERE), queue, 100, Drain::Manual, &|_| true).expect("drained")
}

fn auto(ledger: &mut Ledger, holder: &str, max: u32, alive: &[&str]) -> Batch {
    ledger
        .drain(Path::new(HERE), "q", max, Drain::Auto { holder }, &|who| alive.contains(&who))
        .expect("drained")
}

fn seqs(batch: &Batch) -> Vec<u64> {
    batch.notifications.iter().map(|notification| notification.seq).collect()
}

#[test]
fn a_task_comes_back_as_it_was_recorded() {
    let (dir, mut ledger) = open();
    let task = new_task(1, "q");
    assert_eq!(ledger.insert(&[task.clone(), task.clone()]).expect("inserted"), [true, false]);
    let mut expected = task.to_task();
    let stored = |ledger: &Ledger| ledger.task(Path::new(HERE), id(1)).expect("read");
    assert_eq!(stored(&ledger), Some(expected.clone()));
    assert_eq!(ledger.facts(id(1)).expect("read"), Some(task.clone()));
    assert_eq!(ledger.task(Path::new("/other"), id(1)).expect("read"), None);

    let cause = Cause { actor: Actor::Client, message: "asked".to_owned() };
    ledger.started(&[(id(1), 4_242)]).expect("recorded");
    ledger.stopping(id(1), &cause).expect("recorded");
    let later = Cause { actor: Actor::Linger, message: "too late".to_owned() };
    ledger.stopping(id(1), &later).expect("recorded");
    expected.pid = Some(4_242);
    expected.state = State::Stopping { cause };
    assert_eq!(stored(&ledger), Some(expected.clone()));

    let ended = finish_of(task, Outcome::Stopped);
    let (finished, told) = finish(&mut ledger, ended.clone());
    assert_eq!(finished, Finished::Fresh);
    expected.state = State::Ended(ended.end);
    expected.output = ended.output;
    expected.progress = ended.progress;
    expected.survivors = ended.survivors;
    let [exited] = &told[..] else { panic!("told {} times", told.len()) };
    assert_eq!(exited.task, expected);
    assert_eq!(exited.preview, ended.preview);
    assert_eq!((exited.seq, &exited.kind), (1, &NotificationKind::Exited));

    drop(ledger);
    let mut ledger = Ledger::open(dir.path(), true).expect("the same store");
    assert_eq!(stored(&ledger), Some(expected));
    assert_eq!(drain(&mut ledger, "q").notifications, told);
}

#[test]
fn an_end_is_told_once() {
    let (_dir, mut ledger) = open();
    let first = end(&mut ledger, 1, "q");
    let again = finish_of(new_task(1, "another queue"), Outcome::Lost);
    assert_eq!(finish(&mut ledger, again), (Finished::Known, Vec::new()));
    assert_eq!(ledger.exited(id(1)).expect("read"), Some(first));
    assert_eq!(ledger.undelivered(Path::new(HERE)).expect("read"), counts(&[("q", 1)]));
}

#[test]
fn a_batch_is_recorded_whole_or_not_at_all() {
    let (_dir, mut ledger) = open();
    ledger.record(&[], &[], &[], &[]).expect("nothing to do");
    let tasks = [new_task(1, "q"), new_task(2, "q")];
    let leaders = [(id(1), 11), (id(2), 12)];
    let stalled = notice_of(new_task(3, "q"), About::Stalled { offset: 100 });
    let ended = finish_of(new_task(2, "q"), Outcome::Exited);

    // Its last part cannot be written, so no part may be.
    let refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.notifications
        WHEN new.kind = 'exited' BEGIN SELECT raise(ABORT, 'refused'); END";
    ledger.connection.execute_batch(refuse).expect("made");
    ledger
        .record(&tasks, &leaders, std::slice::from_ref(&stalled), std::slice::from_ref(&ended))
        .expect_err("refused");
    assert_eq!(ledger.tasks(Path::new(HERE), None, 9, true).expect("read"), []);
    assert_eq!(ledger.undelivered(Path::new(HERE)).expect("read"), counts(&[]));
    ledger.connection.execute_batch("DROP TRIGGER refuse").expect("dropped");

    // Recording it twice has the effect of recording it once.
    for _ in 0..2 {
        ledger
            .record(&tasks, &leaders, std::slice::from_ref(&stalled), std::slice::from_ref(&ended))
            .expect("recorded");
        let one = ledger.task(Path::new(HERE), id(1)).expect("read").expect("there");
        assert_eq!((one.pid, one.state), (Some(11), State::Running));
        let told = drain(&mut ledger, "q").notifications;
        let told: Vec<_> = told.iter().map(|n| (n.seq, n.task.id, &n.kind)).collect();
        let expected =
            [(1, id(3), &NotificationKind::Stalled), (2, id(2), &NotificationKind::Exited)];
        assert_eq!(told, expected);
    }
}

fn counts(queues: &[(&str, u64)]) -> BTreeMap<String, u64> {
    queues.iter().map(|&(queue, count)| (queue.to_owned(), count)).collect()
}

#[test]
fn matches_not_yet_told_come_before_the_end_and_within_the_limit() {
    let (_dir, mut ledger) = open();
    let told = notice_of(new_task(1, "q"), About::Matched(match_at(10)));
    assert_eq!(notify(&mut ledger, &[told.clone(), told]).len(), 1);

    let mut ended = finish_of(new_task(1, "q"), Outcome::Exited);
    ended.matches = [10, 20, 30].map(match_at).to_vec();
    let (finished, told) = finish(&mut ledger, ended);
    assert_eq!(finished, Finished::Fresh);
    let told: Vec<_> = told.into_iter().map(|told| (told.seq, told.kind)).collect();
    // Offset 10 is already queued, 30 exceeds the limit of 2.
    let expected = [(2, NotificationKind::Matched(match_at(20))), (3, NotificationKind::Exited)];
    assert_eq!(told, expected);

    let late = notice_of(new_task(1, "q"), About::Stalled { offset: 5 });
    assert_eq!(notify(&mut ledger, &[late]), [], "nothing after the end");
}

#[test]
fn a_notification_shows_the_task_as_it_stood() {
    let (_dir, mut ledger) = open();
    let stalled = notice_of(new_task(1, "q"), About::Stalled { offset: 100 });
    let told = notify(&mut ledger, &[stalled]).remove(0);
    end(&mut ledger, 1, "q");
    let drained = drain(&mut ledger, "q").notifications;
    assert_eq!(drained[0], told);
    assert_eq!(drained[0].task.state, State::Running);
    assert_eq!(drained[0].task.output.total, 100);
    assert!(drained[1].task.end().is_some());
}

#[test]
fn what_is_leased_is_its_holders_alone_while_it_lives() {
    let (_dir, mut ledger) = open();
    for n in 1..=5 {
        end(&mut ledger, n, "q");
    }
    let mine = auto(&mut ledger, HOLDER, 2, &[]);
    assert_eq!((seqs(&mine), mine.remaining), (vec![1, 2], 3));
    let mine_too = auto(&mut ledger, HOLDER, 1, &[]);
    assert_eq!((seqs(&mine_too), mine_too.remaining), (vec![3], 2));
    let other = auto(&mut ledger, "other", 1, &[HOLDER]);
    assert_eq!((seqs(&other), other.remaining), (vec![4], 1));

    let token = mine.lease.expect("leased");
    assert_eq!(ledger.ack_lease("other", token, DeliveredBy::Drain, None).expect("asked"), 0);
    assert_eq!(ledger.ack_lease(HOLDER, token, DeliveredBy::Drain, Some(9)).expect("acked"), 2);
    assert_eq!(ledger.ack_lease(HOLDER, token, DeliveredBy::Drain, None).expect("again"), 0);
    let delivered = ledger.task(Path::new(HERE), id(1)).expect("read").expect("there").delivered;
    assert!(matches!(delivered, Some(Delivered { by: DeliveredBy::Drain, turn: Some(9), .. })));

    // Its own second lease ended with its death, and those come first again.
    let heir = auto(&mut ledger, "heir", 10, &["other"]);
    assert_eq!((seqs(&heir), heir.remaining), (vec![3, 5], 0));
    let token = mine_too.lease.expect("leased");
    assert_eq!(ledger.ack_lease(HOLDER, token, DeliveredBy::Drain, None).expect("late"), 0);
    assert_eq!(ledger.drop_lease("heir", heir.lease.expect("leased")).expect("dropped"), 2);
    assert_eq!(seqs(&auto(&mut ledger, "third", 10, &["other"])), [3, 5]);
    assert_eq!(auto(&mut ledger, "fourth", 10, &["other", "third"]).lease, None);
}

#[test]
fn manual_drains_repeat_until_acknowledged() {
    let (_dir, mut ledger) = open();
    for n in 1..=3 {
        end(&mut ledger, n, "q");
        end(&mut ledger, n + 10, "r");
    }
    assert_eq!(seqs(&drain(&mut ledger, "q")), [1, 2, 3]);
    assert_eq!(ledger.ack(Path::new(HERE), "q", 2).expect("acked"), 2);
    assert_eq!(ledger.ack(Path::new(HERE), "q", 2).expect("acked"), 0);
    assert_eq!(ledger.ack(Path::new("/other"), "q", 9).expect("acked"), 0);
    assert_eq!(seqs(&drain(&mut ledger, "q")), [3]);
    assert_eq!(ledger.undelivered(Path::new(HERE)).expect("read"), counts(&[("q", 1), ("r", 3)]));
    assert_eq!(ledger.undelivered_ends(Path::new(HERE), "q").expect("read"), [id(3)]);
}

#[test]
fn an_end_seen_by_other_means_is_not_drained() {
    let (_dir, mut ledger) = open();
    end(&mut ledger, 1, "q");
    end(&mut ledger, 2, "q");
    let lease = auto(&mut ledger, HOLDER, 1, &[]).lease.expect("leased");
    assert!(ledger.mark_delivered(id(1), DeliveredBy::Wait, Some(4)).expect("marked"));
    assert!(!ledger.mark_delivered(id(1), DeliveredBy::Check, None).expect("asked"));
    assert_eq!(ledger.ack_lease(HOLDER, lease, DeliveredBy::Drain, None).expect("late"), 0);
    let task = ledger.task(Path::new(HERE), id(1)).expect("read").expect("there");
    assert!(matches!(task.delivered, Some(Delivered { by: DeliveredBy::Wait, .. })));
    assert_eq!(seqs(&drain(&mut ledger, "q")), [2]);
}

#[test]
fn a_token_stands_for_one_task() {
    let (_dir, mut ledger) = open();
    let here = Path::new(HERE);
    assert_eq!(ledger.claim_token(here, "t", id(1)).expect("claimed"), id(1));
    assert_eq!(ledger.claim_token(here, "t", id(2)).expect("claimed"), id(1));
    assert_eq!(ledger.claim_token(Path::new("/other"), "t", id(3)).expect("claimed"), id(3));
    ledger.release_token(here, "t", id(2)).expect("not its own");
    assert_eq!(ledger.claim_token(here, "t", id(2)).expect("claimed"), id(1));
    ledger.release_token(here, "t", id(1)).expect("released");
    assert_eq!(ledger.claim_token(here, "t", id(2)).expect("claimed"), id(2));

    // A removed task frees its token, and one that was never spawned does so after a day.
    let task = NewTask { client_token: Some("t".to_owned()), ..new_task(2, "q") };
    finish(&mut ledger, finish_of(task, Outcome::Exited));
    let all = Remove { ids: Some(vec![id(2)]), ended_before: None };
    assert_eq!(ledger.remove(here, &all).expect("removed"), [id(2)]);
    assert_eq!(ledger.claim_token(here, "t", id(4)).expect("claimed"), id(4));
    let (long, now) = (Duration::from_secs(1 << 30), Timestamp::now().0);
    ledger.prune(here, long, 9, Timestamp(now + 3_600_000), &|_| false).expect("pruned");
    assert_eq!(ledger.claim_token(here, "t", id(5)).expect("claimed"), id(4));
    ledger.prune(here, long, 9, Timestamp(now + 25 * 3_600_000), &|_| false).expect("pruned");
    assert_eq!(ledger.claim_token(here, "t", id(5)).expect("claimed"), id(5));
}

#[test]
fn what_was_not_told_outlives_its_removal_and_then_goes_for_good() {
    let (_dir, mut ledger) = open();
    let here = Path::new(HERE);
    ledger.insert(&[new_task(9, "q")]).expect("inserted");
    let notification = end(&mut ledger, 1, "q");
    let ids = Remove { ids: Some(vec![id(1), id(9), id(77), id(1)]), ended_before: None };
    assert_eq!(ledger.remove(here, &ids).expect("removed"), [id(1)], "a running one stays");
    assert_eq!(ledger.remove(here, &ids).expect("removed"), []);
    assert_eq!(ledger.task(here, id(1)).expect("read"), None);
    assert_eq!(ledger.tasks(here, None, 9, true).expect("read").len(), 1);
    assert_eq!(ledger.oldest_finished(9).expect("read"), []);

    let late = || finish_of(new_task(1, "q"), Outcome::Exited);
    assert_eq!(finish(&mut ledger, late()).0, Finished::Known);
    assert_eq!(drain(&mut ledger, "q").notifications, [notification]);
    assert_eq!(ledger.ack(here, "q", 1).expect("acked"), 1);
    assert_eq!(ledger.facts(id(1)).expect("read"), None);
    assert_eq!(finish(&mut ledger, late()), (Finished::Removed, Vec::new()));
    assert_eq!(ledger.insert(&[new_task(1, "q")]).expect("refused"), [false]);
    let notice = notice_of(new_task(1, "q"), About::Stalled { offset: 1 });
    assert_eq!(notify(&mut ledger, &[notice]), []);
    assert_eq!(end(&mut ledger, 2, "q").seq, 2, "no number was taken for it");
}

#[test]
fn age_and_number_prune_ended_tasks_only() {
    let (_dir, mut ledger) = open();
    let here = Path::new(HERE);
    ledger.insert(&[new_task(0, "q")]).expect("inserted");
    for n in 1..=6 {
        end(&mut ledger, n, "q");
    }
    assert_eq!(
        ledger.oldest_finished(2).expect("read"),
        [(PathBuf::from(HERE), id(1)), (PathBuf::from(HERE), id(2))]
    );
    // Task n ended at time 1 500 + n.
    let keep = Duration::from_millis(100);
    assert_eq!(
        ledger.prune(here, keep, 3, Timestamp(1_602), &|_| false).expect("pruned"),
        [id(1), id(3), id(2)]
    );
    assert_eq!(ledger.prune(here, keep, 3, Timestamp(1_602), &|_| false).expect("pruned"), []);
    let before = Remove { ids: None, ended_before: Some(Timestamp(1_506)) };
    assert_eq!(ledger.remove(here, &before).expect("removed"), [id(4), id(5)]);
    let both = Remove { ids: Some(vec![id(6)]), ..before };
    assert_eq!(ledger.remove(here, &both).expect("removed"), []);
    assert_eq!(ledger.remove(here, &Remove::default()).expect("removed"), []);
    assert_eq!(ledger.running_ids(Some(here)).expect("read"), [id(0)]);
    assert_eq!(ledger.running_ids(None).expect("read"), [id(0)]);
    assert_eq!(ledger.running_ids(Some(Path::new("/other"))).expect("read"), []);
    assert_eq!(drain(&mut ledger, "q").notifications.len(), 6, "pruned, but not told yet");
}

#[test]
fn a_spawn_that_failed_leaves_nothing_but_a_told_task_stays() {
    let (_dir, mut ledger) = open();
    ledger.insert(&[new_task(1, "q")]).expect("inserted");
    end(&mut ledger, 2, "q");
    ledger.forget(id(1)).expect("forgotten");
    ledger.forget(id(2)).expect("left alone");
    assert_eq!(ledger.facts(id(1)).expect("read"), None);
    assert!(ledger.facts(id(2)).expect("read").is_some());
    assert_eq!(ledger.insert(&[new_task(1, "q")]).expect("inserted"), [true]);
}

#[test]
fn durations_of_ends_by_themselves_are_kept_newest_first() {
    let (_dir, mut ledger) = open();
    let here = Path::new(HERE);
    let mut ends: Vec<Finish> =
        (0..30).map(|n| finish_of(new_task(n, "q"), Outcome::Exited)).collect();
    for (n, finish) in ends.iter_mut().enumerate() {
        finish.end.duration = Duration::from_micros(n as u64);
    }
    ends[29].end.outcome = Outcome::TimedOut;
    ledger.record(&[], &[], &[], &ends).expect("recorded");
    let kept = ledger.past_durations(here, &ends[0].task.command).expect("read");
    let expected: Vec<_> = (9..29).rev().map(Duration::from_micros).collect();
    assert_eq!(kept, expected);
    assert_eq!(ledger.past_durations(here, "another").expect("read"), []);
    let rows: i64 = ledger
        .connection
        .query_row("SELECT count(*) FROM durations", [], |row| row.get(0))
        .expect("counted");
    assert_eq!(rows, 20);
}

#[test]
fn past_commands_of_a_workspace_come_first() {
    let (_dir, mut ledger) = open();
    let ran = |n: u32, workspace: &str, command: &str| {
        let (workspace, command) = (workspace.into(), command.to_owned());
        let task = NewTask { workspace, command, ..new_task(n, "q") };
        let mut finish = finish_of(task, Outcome::Exited);
        finish.end.duration = Duration::from_secs(u64::from(n));
        finish
    };
    let ends = [
        ran(1, HERE, "make"),
        ran(2, HERE, "make"),
        ran(3, "/elsewhere", "npm test"),
        ran(4, HERE, "cargo test"),
    ];
    ledger.record(&[], &[], &[], &ends).expect("recorded");
    let past = |first: &str, limit: u32| -> Vec<(String, Vec<u64>)> {
        let found = ledger.past_commands(Path::new(first), limit).expect("read");
        let seconds = |runs: Vec<Duration>| runs.iter().map(Duration::as_secs).collect();
        found.into_iter().map(|past| (past.command, seconds(past.runs))).collect()
    };
    let of = |command: &str, runs: &[u64]| (command.to_owned(), runs.to_vec());
    let all = [of("cargo test", &[4]), of("make", &[2, 1]), of("npm test", &[3])];
    assert_eq!(past(HERE, 9), all);
    assert_eq!(past(HERE, 2), all[..2]);
    assert_eq!(past("/elsewhere", 1), all[2..]);
}

#[test]
fn a_workspace_keeps_a_bounded_number_of_durations() {
    let (_dir, mut ledger) = open();
    let ends: Vec<Finish> = (0..5_200)
        .map(|n| {
            let task = NewTask { command: format!("run {n}"), ..new_task(n, "q") };
            finish_of(task, Outcome::Exited)
        })
        .collect();
    ledger.record(&[], &[], &[], &ends).expect("recorded");
    let count = |ledger: &Ledger| -> i64 {
        ledger
            .connection
            .query_row("SELECT count(*) FROM durations", [], |row| row.get(0))
            .expect("counted")
    };
    assert!(count(&ledger) < 5_000 + 256);
    ledger
        .prune(Path::new(HERE), Duration::MAX, u32::MAX, Timestamp(0), &|_| false)
        .expect("pruned");
    assert_eq!(count(&ledger), 5_000);
    assert_eq!(ledger.past_durations(Path::new(HERE), "run 5199").expect("read").len(), 1);
}

#[test]
fn lists_of_a_large_store_touch_what_they_return() {
    let (_dir, mut ledger) = open();
    let here = Path::new(HERE);
    let ends: Vec<Finish> =
        (0..10_000).map(|n| finish_of(new_task(n, "q"), Outcome::Exited)).collect();
    ledger.record(&[], &[], &[], &ends).expect("recorded");
    ledger.insert(&[new_task(20_000, "q"), new_task(20_001, "q")]).expect("inserted");
    let cause = Cause { actor: Actor::Client, message: String::new() };
    ledger.stopping(id(20_000), &cause).expect("recorded");

    let list = |state, limit| -> Vec<TaskId> {
        let tasks = ledger.tasks(here, state, limit, true).expect("listed");
        tasks.into_iter().map(|task| task.id).collect()
    };
    assert_eq!(list(None, 4), [20_001, 20_000, 9_999, 9_998].map(id));
    assert_eq!(list(None, 1), [id(20_001)]);
    assert_eq!(list(Some(StateFilter::Running), 9), [id(20_001)]);
    assert_eq!(list(Some(StateFilter::Stopping), 9), [id(20_000)]);
    assert_eq!(list(Some(StateFilter::Ended(Outcome::Exited)), 2), [9_999, 9_998].map(id));
    assert_eq!(list(Some(StateFilter::Ended(Outcome::Lost)), 2), []);

    for sql in [
        tasks::LIVE,
        tasks::ENDED,
        tasks::RUNNING_HERE,
        retention::ENDED_BEFORE,
        retention::BEYOND_COUNT,
        retention::STEPS_BEYOND_COUNT,
        queues::WAITING,
    ] {
        let plan = plan(&ledger, sql);
        assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
    // This query has no workspace to search for, and reads an index with only the rows it returns.
    let plan = plan(&ledger, tasks::RUNNING);
    assert!(plan.contains("tasks_live") && !plan.contains("TEMP B-TREE"), "{plan}");
}

fn plan(ledger: &Ledger, sql: &str) -> String {
    let mut explain =
        ledger.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("valid SQL");
    let nulls = vec![rusqlite::types::Null; explain.parameter_count()];
    let rows = explain
        .query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>(3))
        .expect("explained");
    rows.map(|row| row.expect("a line of the plan") + "\n").collect()
}
