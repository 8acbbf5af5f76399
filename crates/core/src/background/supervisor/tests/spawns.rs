use futures_util::FutureExt;
use meanwhile_shim::record::Record;

use super::bench::{Bench, LEADER, now};
use crate::background::demand::Demand;
use crate::background::executor::scripted::blank_record;
use crate::background::executor::{Certainty, Report, What};
use crate::background::ledger::tests::new_task;
use crate::background::task::TaskId;
use crate::error::{Culprit, Error, Limit};
use crate::limits::RUNNING_MAX;

#[tokio::test(start_paused = true)]
async fn a_line_is_answered_once_it_exists() {
    let mut bench = Bench::new().await;
    let (id, mut answer) = bench.start(false);
    assert!(answer.try_recv().is_err(), "nothing exists yet");
    assert_eq!(bench.get(id), None);
    bench.report(Report::Acknowledged(id, What::Start));
    let spawned = now(answer).expect("accepted");
    assert_eq!(spawned.task.id, id);
    assert_eq!(spawned.task.pid, None, "it is not known whether it runs");
    bench.script.shelf().put(id, Record { leader_pid: LEADER, ..blank_record() }, b"");
    bench.report(Report::Started(id, LEADER));
    bench.write().await;
    assert_eq!(bench.told(), [""; 0], "its pushes wait for the reply");
    drop(spawned);
    assert_eq!(bench.told(), [format!("started {LEADER}"), "running 1".to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn an_argv_is_answered_once_it_runs() {
    let mut bench = Bench::new().await;
    let (id, mut answer) = bench.start(true);
    bench.report(Report::Acknowledged(id, What::Start));
    assert!(answer.try_recv().is_err(), "whether it runs is not known");
    assert_eq!(bench.ask(Demand::List), [], "it may be refused yet");
    bench.script.shelf().put(id, Record { leader_pid: LEADER, ..blank_record() }, b"");
    bench.report(Report::Started(id, LEADER));
    assert_eq!(now(answer).expect("it runs").task.pid, Some(LEADER));
    assert_eq!(bench.ask(Demand::List).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_start_leaves_nothing_behind() {
    let mut bench = Bench::new().await;
    let error =
        || Error::SpawnFailed { command: "make".to_owned(), culprit: Culprit::Program, errno: 2 };
    for accepted in [false, true] {
        let (id, answer) = bench.start(true);
        if accepted {
            bench.report(Report::Acknowledged(id, What::Start));
            // Its row may already be in the ledger.
            bench.write().await;
        }
        bench.report(Report::Refused(id, What::Start, error()));
        assert!(matches!(now(answer), Err(Error::SpawnFailed { errno: 2, .. })));
        bench.write().await;
        assert_eq!(bench.get(id), None);
        // The deletion is queued without waiting: it is done before the next request.
        bench.store.write(|ledger| ledger.refuse_writes(false)).await.expect("after it");
        let row = bench.store.read(move |ledger| ledger.facts(id)).await.expect("read");
        assert_eq!(row, None, "accepted: {accepted}");
        assert_eq!(bench.script.asked(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_without_a_waiter_is_dropped() {
    let mut bench = Bench::new().await;
    let (id, answer) = bench.start(false);
    drop(answer);
    bench.supervisor.go_on();
    assert_eq!(bench.script.asked(), ["release"]);
    bench.report(Report::Acknowledged(id, What::Start));
    assert_eq!(bench.get(id), None, "no executor says this after it was told");
}

#[tokio::test(start_paused = true)]
async fn one_task_too_many_is_refused() {
    let mut bench = Bench::new().await;
    let answers: Vec<_> = (0..RUNNING_MAX).map(|_| bench.start(false)).collect();
    let (reply, answer) = tokio::sync::oneshot::channel();
    bench.supervisor.spawn(Box::new(super::bench::spec()), reply);
    let refused = now(answer);
    assert!(matches!(refused, Err(Error::LimitReached { limit: Limit::RunningTasks, .. })));
    assert!(answers.into_iter().all(|(_, answer)| answer.now_or_never().is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_task_of_another_process_is_told_like_ones_own() {
    let mut bench = Bench::new().await;
    let task = |n: u32| Box::new(new_task(n, "default"));
    let certainty = Certainty::Exists;
    bench.report(Report::Found { task: task(1), pid: Some(LEADER), certainty });
    assert_eq!(bench.script.asked(), ["arm 0"], "it runs, and may have written something");
    bench.report(Report::Found { task: task(2), pid: None, certainty });
    bench.script.shelf().put(task(2).id, Record { leader_pid: 12, ..blank_record() }, b"");
    bench.report(Report::Started(task(2).id, 12));
    bench.write().await;
    assert_eq!(bench.told(), ["started 12", "running 2"]);
    bench.report(Report::Started(TaskId::random(), 13));
    assert_eq!(bench.told(), [""; 0], "of what was not found nothing is told");
}

/// Another process that starts meanwhile would report a row without a folder as a lost task.
#[tokio::test(start_paused = true)]
async fn what_may_be_refused_yet_has_no_row() {
    let rows = async |bench: &Bench| {
        let ids = bench.store.read(|ledger| ledger.running_ids(None)).await;
        ids.expect("read").len()
    };
    let mut bench = Bench::new().await;
    let (own, _answer) = bench.start(true);
    bench.report(Report::Acknowledged(own, What::Start));
    let (task, certainty) = (new_task(1, "default"), Certainty::MayBeRefused);
    let others = task.id;
    bench.report(Report::Found { task: Box::new(task), pid: None, certainty });
    bench.write().await;
    assert_eq!(rows(&bench).await, 0);
    for (id, seen) in [(own, 1), (others, 2)] {
        bench.report(Report::Started(id, LEADER));
        bench.write().await;
        assert_eq!(rows(&bench).await, seen, "it runs");
    }
}
