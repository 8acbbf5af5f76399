use std::time::Duration;

use meanwhile_shim::spec::{Spec, Watch};
use tokio::sync::oneshot;

use super::bench::{Bench, spec};
use crate::background::demand::Demand;
use crate::background::task::{Port, TaskId};
use crate::background::{Mode, Role};

const WEB: Port = Port { number: 3_000, chosen: true };
const FREE: Port = Port { number: 40_000, chosen: false };

/// Advances the clock in steps of 10 ms; returns the events about ports.
async fn pass(bench: &mut Bench, millis: u64) -> Vec<String> {
    for _ in 0..millis / 10 {
        bench.pass(Duration::from_millis(10)).await;
    }
    bench.told().into_iter().filter(|told| told.starts_with("listens")).collect()
}

async fn running(bench: &mut Bench) -> TaskId {
    let id = bench.running().await;
    bench.script.looks();
    id
}

#[tokio::test(start_paused = true)]
async fn a_server_is_told_as_one_once_its_port_stands() {
    let mut bench = Bench::new_as(Role::Daemon).await;
    let id = running(&mut bench).await;
    bench.script.listen(id, &[WEB, FREE]);
    assert_eq!(pass(&mut bench, 200).await, ["listens on [3000, 40000]"]);
    assert_eq!(pass(&mut bench, 400).await, ["listens on [3000, 40000], ready"]);
    let serving = bench.get(id).expect("live").serving;
    assert!(serving.ready && serving.ports == [3_000, 40_000], "{serving:?}");
    bench.script.listen(id, &[FREE]);
    assert_eq!(pass(&mut bench, 400).await, ["listens on [40000]"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_idle_is_not_looked_at() {
    let mut bench = Bench::new_as(Role::Daemon).await;
    let id = running(&mut bench).await;
    assert!(pass(&mut bench, 2_000).await.is_empty());
    let looks = bench.script.looks();
    assert!((18..=22).contains(&looks), "every 100 ms for 2 s, and not {looks} times");
    pass(&mut bench, 60_000).await;
    assert_eq!(bench.script.looks(), 0);
    // A client waits for it, and then disconnects.
    let (done, over) = oneshot::channel();
    bench.demand(Demand::Wait { ids: vec![id], mode: Mode::Any, done });
    pass(&mut bench, 10_000).await;
    let looks = bench.script.looks();
    assert!((38..=42).contains(&looks), "every 250 ms, and not {looks} times");
    drop(over);
    pass(&mut bench, 300).await;
    bench.script.looks();
    pass(&mut bench, 10_000).await;
    assert_eq!(bench.script.looks(), 0);
    // It writes output, long after its start.
    bench.script.listen(id, &[WEB]);
    bench.output(id, b"listening\n");
    let told = pass(&mut bench, 1_000).await;
    assert_eq!(told, ["listens on [3000]", "listens on [3000], ready"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_comes_and_goes_looks_when_it_is_asked() {
    let mut bench = Bench::new().await;
    let id = running(&mut bench).await;
    bench.script.listen(id, &[WEB]);
    pass(&mut bench, 3_000).await;
    assert_eq!(bench.script.looks(), 0);
    let listed = bench.ask(Demand::List);
    assert_eq!(
        (listed[0].serving.ports.as_slice(), listed[0].serving.ready),
        (&[3_000][..], false)
    );
    bench.ask(Demand::List);
    assert_eq!(bench.script.looks(), 1, "a moment ago");
    pass(&mut bench, 310).await;
    assert!(bench.ask(Demand::List)[0].serving.ready);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_matches_makes_it_ready() {
    let mut bench = Bench::new_as(Role::Daemon).await;
    let watch = Watch { id: "w".to_owned(), pattern: "ready".to_owned(), limit: 1 };
    let id = bench.running_as(Spec { watches: vec![watch], service: true, ..spec() }).await;
    bench.output(id, b"ready\n");
    assert_eq!(pass(&mut bench, 10).await, ["listens on [], ready"]);
    let serving = bench.get(id).expect("live").serving;
    assert!(serving.service && serving.ready && serving.ports.is_empty(), "{serving:?}");
}
