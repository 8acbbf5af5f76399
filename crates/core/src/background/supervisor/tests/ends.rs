use std::time::Duration;

use tokio::sync::oneshot;

use super::bench::{Bench, now};
use crate::background::Mode;
use crate::background::demand::Demand;
use crate::background::executor::{Report, What};
use crate::background::task::{Outcome, State, TaskId};
use crate::error::Error;

const SWEEP: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_end_is_told_once_it_is_durable_and_then_put_away() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    bench.end(id, &[]);
    let state = bench.get(id).expect("live").state;
    assert_eq!(state, State::Running, "what is told must be durable");
    assert_eq!(bench.told(), [""; 0]);
    bench.write().await;
    assert_eq!(bench.told(), ["exited Exited", "running 0"]);
    assert_eq!(bench.script.asked(), ["settle"]);
    assert_eq!(bench.get(id), None);
    let row = bench.store.read(move |ledger| ledger.task("/w".as_ref(), id)).await;
    let end = row.expect("read").expect("recorded").end().cloned().expect("ended");
    assert_eq!(end.outcome, Outcome::Exited);
    bench.end(id, &[]);
    bench.write().await;
    assert_eq!(bench.told(), [""; 0], "once");
}

#[tokio::test(start_paused = true)]
async fn an_end_before_the_start_was_heard_of_tells_both() {
    let mut bench = Bench::new().await;
    let (id, answer) = bench.start(true);
    bench.report(Report::Acknowledged(id, What::Start));
    bench.end(id, &[]);
    drop(now(answer).expect("it ran"));
    bench.write().await;
    let told = bench.told();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("started"), "{told:?}");
    assert_eq!(told[1..], ["exited Exited", "running 0"]);
}

#[tokio::test(start_paused = true)]
async fn survivors_keep_a_task_until_they_are_gone() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    bench.report(Report::Changed(id));
    assert_eq!(bench.told(), ["is running"]);
    bench.end(id, &[77]);
    bench.write().await;
    assert_eq!(bench.told(), ["exited Exited", "running 0"]);
    bench.report(Report::Changed(id));
    assert_eq!(bench.told(), [""; 0], "an end is final");
    assert_eq!(bench.script.asked(), [""; 0], "its tree is still looked after");
    assert_eq!(bench.get(id), None, "it has ended");
    let (reply, gone) = oneshot::channel();
    bench.demand(Demand::Stop { id, how: super::bench::how(15), reply });
    let mut gone = now(gone).expect("its tree can be stopped still");
    assert_eq!(bench.script.asked(), ["stop 15"]);
    assert!(gone.try_recv().is_err(), "it is not gone");
    bench.report(Report::Gone(id));
    gone.try_recv().expect("gone");
    assert_eq!(bench.script.asked(), ["settle"]);
}

#[tokio::test(start_paused = true)]
async fn survivors_that_go_before_the_end_is_durable_keep_nothing() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    bench.end(id, &[77]);
    bench.report(Report::Gone(id));
    bench.write().await;
    assert_eq!(bench.script.asked(), ["settle"]);
}

/// Records an end as another process would.
async fn record_elsewhere(bench: &Bench, id: TaskId) {
    bench.put_end(id, &[]);
    let reading = bench.script.shelf().read(id).expect("put there");
    let facts = bench.store.read(move |ledger| ledger.facts(id)).await.expect("read");
    let finish = reading.finish(facts.expect("its row")).expect("an end");
    let write = bench.store.write(move |ledger| ledger.record(&[], &[], &[], &[finish]));
    write.await.expect("written");
}

#[tokio::test(start_paused = true)]
async fn an_end_recorded_elsewhere_is_told_from_the_ledger() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    record_elsewhere(&bench, id).await;
    bench.report(Report::RecordedElsewhere(id));
    bench.write().await;
    assert_eq!(bench.told(), ["exited Exited", "running 0"]);
    assert_eq!(bench.get(id), None);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_came_and_went_elsewhere_is_told_too() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    bench.end(id, &[]);
    bench.write().await;
    bench.told();
    bench.script.asked();
    // Another process records the end of a task that was never reported here.
    let mut other = Bench::new().await;
    let stranger = other.running().await;
    let facts = other.store.read(move |ledger| ledger.facts(stranger)).await;
    let facts = facts.expect("read").expect("its row");
    bench.put_end(stranger, &[]);
    let reading = bench.script.shelf().read(stranger).expect("put there");
    let finish = reading.finish(facts).expect("an end");
    let write = bench.store.write(move |ledger| ledger.record(&[], &[], &[], &[finish]));
    write.await.expect("written");
    bench.report(Report::RecordedElsewhere(stranger));
    bench.write().await;
    assert_eq!(bench.told(), ["exited Exited", "running 0"]);
    assert_eq!(bench.script.asked(), ["release"], "nothing more is to be reported of it");
}

#[tokio::test(start_paused = true)]
async fn a_task_without_a_trace_is_lost_after_some_looks() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    bench.script.shelf().delete(id);
    for look in 0..3 {
        bench.report(Report::RecordedElsewhere(id));
        bench.write().await;
        assert_eq!(bench.told(), [""; 0], "look {look}");
        bench.pass(SWEEP).await;
    }
    bench.report(Report::RecordedElsewhere(id));
    bench.write().await;
    assert_eq!(bench.told(), ["exited Lost", "running 0"]);
}

#[tokio::test(start_paused = true)]
async fn looks_do_not_count_while_the_ledger_is_busy() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    for _ in 0..20 {
        bench.report(Report::RecordedElsewhere(id));
    }
    assert!(bench.supervisor.write.is_some(), "a look is under way");
    record_elsewhere(&bench, id).await;
    bench.write().await;
    bench.report(Report::RecordedElsewhere(id));
    bench.write().await;
    assert_eq!(bench.told(), ["exited Exited", "running 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_cannot_be_written_refuses_tasks_and_loses_no_end() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    let read_only = |bench: &Bench, on| bench.store.write(move |ledger| ledger.refuse_writes(on));
    read_only(&bench, true).await.expect("set");
    bench.end(id, &[]);
    bench.write().await;
    assert_eq!(bench.told(), [""; 0]);
    assert_eq!(bench.script.asked(), [""; 0], "its record is kept");
    let (reply, answer) = oneshot::channel();
    bench.demand(Demand::Spawn { spec: Box::new(super::bench::spec()), reply });
    assert!(matches!(now(answer), Err(Error::StoreUnavailable(_))));
    read_only(&bench, false).await.expect("set");
    bench.pass(Duration::from_millis(249)).await;
    assert!(bench.supervisor.write.is_none(), "it is not tried at once");
    bench.pass(Duration::from_millis(1)).await;
    bench.write().await;
    assert_eq!(bench.told(), ["exited Exited", "running 0"]);
    assert_eq!(bench.script.asked(), ["settle"]);
    bench.start(false);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_any_or_all_have_ended() {
    let mut bench = Bench::new().await;
    let one = bench.running().await;
    let (two, answer) = bench.start(false);
    bench.report(Report::Acknowledged(two, What::Start));
    drop(answer);
    let wait = |bench: &mut Bench, mode| {
        let (done, over) = oneshot::channel();
        bench.demand(Demand::Wait { ids: vec![one, two], mode, done });
        over
    };
    let (mut any, mut all) = (wait(&mut bench, Mode::Any), wait(&mut bench, Mode::All));
    bench.end(one, &[]);
    assert!(any.try_recv().is_err(), "its end is not durable");
    bench.write().await;
    any.try_recv().expect("one has ended");
    assert!(all.try_recv().is_err(), "one has not");
    bench.end(two, &[99]);
    bench.write().await;
    all.try_recv().expect("survivors are not an end");
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_until_each_task_stands_as_it_is_shown() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    let settle = |bench: &mut Bench| {
        let (reply, settled) = oneshot::channel();
        bench.demand(Demand::Settle(reply));
        settled
    };
    settle(&mut bench).try_recv().expect("nothing is in doubt");
    bench.script.settle(false);
    let mut settled = settle(&mut bench);
    bench.pass(Duration::from_secs(1)).await;
    bench.end(id, &[]);
    bench.script.settle(true);
    assert!(settled.try_recv().is_err(), "its end is not in the ledger yet");
    bench.write().await;
    bench.pass(Duration::from_millis(10)).await;
    settled.try_recv().expect("it is");
    // No caller waits forever.
    bench.script.settle(false);
    let mut settled = settle(&mut bench);
    bench.pass(Duration::from_millis(2_999)).await;
    assert!(settled.try_recv().is_err());
    bench.pass(Duration::from_millis(10)).await;
    settled.try_recv().expect("3 s are over");
}
