use std::time::Duration;

use tokio::sync::oneshot;

use super::bench::{Bench, how, now};
use crate::background::Recipient;
use crate::background::demand::Demand;
use crate::background::executor::{Report, SendSignal, Size, What};
use crate::background::task::{Actor, Cause, State, Survivor, TaskId};
use crate::error::Error;

fn stop(bench: &mut Bench, id: TaskId, signal: i32) -> oneshot::Receiver<Vec<Survivor>> {
    bench.ask(|reply| Demand::Stop { id, how: how(signal), reply }).expect("it is live")
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_taken_is_sent_once() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    let mut gone = stop(&mut bench, id, 15);
    assert_eq!(bench.script.asked(), ["stop 15"]);
    assert!(matches!(bench.get(id).expect("live").state, State::Stopping { .. }));
    bench.report(Report::Acknowledged(id, What::Stop));
    bench.pass(Duration::from_secs(3)).await;
    assert_eq!(bench.script.asked(), ["arm 0"], "not again");
    bench.end(id, &[]);
    assert!(gone.try_recv().is_err(), "not told yet");
    bench.write().await;
    gone.try_recv().expect("told and gone");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_not_taken_is_sent_again() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    let _gone = stop(&mut bench, id, 15);
    bench.script.asked();
    for _ in 0..3 {
        bench.pass(Duration::from_millis(9)).await;
        assert_eq!(bench.script.asked(), [""; 0]);
        bench.pass(Duration::from_millis(1)).await;
        assert_eq!(bench.script.asked(), ["stop 15"]);
    }
    let _again = stop(&mut bench, id, 9);
    assert_eq!(bench.script.asked(), ["stop 9"], "the newest counts");
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_does_not_end_its_task_is_replaced() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    let _gone = stop(&mut bench, id, 15);
    bench.report(Report::Acknowledged(id, What::Stop));
    bench.pass(Duration::from_millis(9_999)).await;
    bench.script.asked();
    bench.pass(Duration::from_millis(1)).await;
    assert_eq!(bench.script.asked(), ["replace"], "its grace and 8 s are over");
    bench.report(Report::Lost { id, patience: Duration::ZERO });
    assert_eq!(bench.script.asked(), ["adopt"]);
    bench.report(Report::Acknowledged(id, What::Adopt));
    bench.pass(Duration::from_millis(10)).await;
    assert_eq!(bench.script.asked(), ["stop 15"], "the new one has not heard of it");
}

#[tokio::test(start_paused = true)]
async fn an_orphan_is_adopted_after_others_had_their_chance() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    bench.pass(Duration::from_millis(200)).await;
    bench.script.asked();
    bench.report(Report::Lost { id, patience: Duration::from_millis(300) });
    bench.report(Report::Lost { id, patience: Duration::from_millis(300) });
    bench.pass(Duration::from_millis(299)).await;
    assert_eq!(bench.script.asked(), [""; 0]);
    bench.pass(Duration::from_millis(1)).await;
    assert_eq!(bench.script.asked(), ["adopt"]);
    // It cannot be done now, for example because no process can be started.
    bench.pass(Duration::from_millis(999)).await;
    assert_eq!(bench.script.asked(), [""; 0]);
    bench.pass(Duration::from_millis(1)).await;
    assert_eq!(bench.script.asked(), ["adopt"]);
    bench.report(Report::Acknowledged(id, What::Adopt));
    bench.pass(Duration::from_secs(5)).await;
    assert_eq!(bench.script.asked(), [""; 0], "a supervisor looks after it");
    bench.end(id, &[]);
    bench.write().await;
    assert_eq!(bench.told(), ["exited Exited", "running 0"]);
}

#[tokio::test(start_paused = true)]
async fn an_orphan_takes_no_orders_and_its_end_ends_the_search() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    bench.pass(Duration::from_millis(200)).await;
    let _gone = stop(&mut bench, id, 15);
    bench.script.asked();
    bench.report(Report::Lost { id, patience: Duration::from_millis(300) });
    bench.pass(Duration::from_millis(100)).await;
    assert_eq!(bench.script.asked(), [""; 0]);
    bench.end(id, &[]);
    bench.write().await;
    bench.pass(Duration::from_secs(2)).await;
    assert_eq!(bench.script.asked(), ["settle"], "what has ended is not adopted or stopped");
}

#[tokio::test(start_paused = true)]
async fn signals_and_sizes_are_answered_by_the_executor() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    let cause = Cause { actor: Actor::Client, message: "look".to_owned() };
    let what = SendSignal { signal: 10, to: Recipient::Group, cause };
    let (reply, mut signalled) = oneshot::channel();
    bench.demand(Demand::Signal { id, what: what.clone(), reply });
    let (reply, mut resized) = oneshot::channel();
    bench.demand(Demand::Resize { id, size: Size { rows: 30, cols: 90 }, reply });
    assert_eq!(bench.script.asked(), ["1: signal 10 to Group", "2: resize 30x90"]);
    let error = Error::Invalid { field: "id".to_owned(), message: "too old".to_owned() };
    bench.report(Report::Refused(id, What::Numbered(2), error));
    assert!(signalled.try_recv().is_err(), "not answered");
    assert!(matches!(resized.try_recv(), Ok(Err(Error::Invalid { .. }))));
    bench.report(Report::Acknowledged(id, What::Numbered(1)));
    assert!(matches!(signalled.try_recv(), Ok(Ok(()))));
    let (reply, unknown) = oneshot::channel();
    bench.demand(Demand::Signal { id: TaskId::random(), what, reply });
    assert!(matches!(now(unknown), Err(Error::UnknownTask(_))));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_end_all_says_who_is_left() {
    let mut bench = Bench::new().await;
    let id = bench.running().await;
    let left = || vec![Survivor { pid: 9, command: "sudo".to_owned() }];
    let mut gone = stop(&mut bench, id, 15);
    bench.report(Report::Acknowledged(id, What::Stop));
    bench.report(Report::Left(id, left()));
    assert_eq!(gone.try_recv().expect("told"), left());
    assert!(matches!(bench.get(id).expect("its leader lives").state, State::Stopping { .. }));
    bench.script.asked();
    bench.pass(Duration::from_secs(60)).await;
    let asked = bench.script.asked();
    assert!(!asked.iter().any(|it| it == "stop 15" || it == "replace"), "not again: {asked:?}");

    // The end that comes with it is reported first.
    let mut gone = stop(&mut bench, id, 9);
    bench.end(id, &[9]);
    bench.report(Report::Left(id, left()));
    assert!(gone.try_recv().is_err(), "the end is not durable yet");
    bench.write().await;
    assert_eq!(gone.try_recv().expect("told"), left());
    bench.report(Report::Gone(id));
    assert!(bench.script.asked().contains(&"settle".to_owned()));
}
