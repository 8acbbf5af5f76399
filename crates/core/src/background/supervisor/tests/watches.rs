use std::time::Duration;

use meanwhile_shim::spec::{Spec, Watch};

use super::bench::{Bench, spec};

/// The matched lines of which the client was notified.
async fn matched(bench: &mut Bench) -> Vec<String> {
    bench.write().await;
    let told = bench.told().into_iter().filter_map(|told| {
        let line = told.strip_prefix("notified Matched(")?.split("line: ").nth(1)?;
        Some(line.split(", offset").next()?.to_owned())
    });
    told.collect()
}

fn watching(pattern: &str) -> Spec {
    let watch = Watch { id: "w".to_owned(), pattern: pattern.to_owned(), limit: 9 };
    Spec { watches: vec![watch], ..spec() }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_not_ended_matches_once_the_task_is_silent() {
    let mut bench = Bench::new().await;
    let id = bench.running_as(watching("y/N")).await;
    let none: [&str; 0] = [];
    bench.output(id, b"Go on? [y");
    bench.pass(Duration::from_millis(900)).await;
    bench.output(id, b"Go on? [y/N] ");
    bench.pass(Duration::from_millis(900)).await;
    assert_eq!(matched(&mut bench).await, none, "it may be writing");
    bench.pass(Duration::from_millis(100)).await;
    assert_eq!(matched(&mut bench).await, ["\"Go on? [y/N] \""]);
    bench.pass(Duration::from_secs(5)).await;
    bench.output(id, b"Go on? [y/N] yes\n");
    bench.pass(Duration::from_secs(5)).await;
    assert_eq!(matched(&mut bench).await, none, "told already");
    bench.output(id, b"Go on? [y/N] yes\nSure? [y/N]");
    bench.pass(Duration::from_secs(1)).await;
    assert_eq!(matched(&mut bench).await, ["\"Sure? [y/N]\""]);
}

#[tokio::test(start_paused = true)]
async fn silence_wakes_the_supervisor_by_itself_and_only_for_a_line_that_is_open() {
    let mut bench = Bench::new().await;
    let id = bench.running_as(watching("ready")).await;
    let now = tokio::time::Instant::now();
    bench.output(id, b"ready");
    bench.pass(Duration::from_millis(60)).await;
    assert_eq!(bench.script.asked(), ["arm 5"]);
    assert!(bench.supervisor.next_timer() <= now + Duration::from_secs(1));
    bench.output(id, b"ready\n");
    bench.pass(Duration::from_millis(60)).await;
    bench.write().await;
    assert!(bench.supervisor.next_timer() > now + Duration::from_secs(2), "nothing is due");
}
