//! Runs every scenario on the real engine at varying speeds: what is drawn must match the trace.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meanwhile_core::background::{Options, Role, Settings};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::super::pen::Theme;
use super::*;

/// The numbers after the diamonds in the agent's row.
fn diamonds(row: &str) -> Vec<u64> {
    let digits = |rest: &str| -> String { rest.chars().take_while(char::is_ascii_digit).collect() };
    row.split('◆').skip(1).map(|rest| digits(rest).parse().expect("a number")).collect()
}

fn rows(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let symbols: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    symbols.chunks(width).map(|row| row.concat().trim_end().to_owned()).collect()
}

/// Draws a scenario that has run, and returns the agent's row and the queue's.
fn drawn(shown: &Shown, columns: u16) -> (String, String) {
    let area = Rect::new(0, 0, columns, 12);
    let mut buffer = Buffer::empty(area);
    lanes(
        &mut Pen::new(&mut buffer, area, Theme { colour: true }),
        &shown.board,
        &shown.clock,
        shown.end,
    );
    let rows = rows(&buffer);
    (rows[0].clone(), rows[1].clone())
}

/// A change of the speed: the time since the previous change, and whether it pauses.
type Change = (u64, bool);

/// Runs a scenario with changing speed, in its own directory.
async fn play(
    background: &Background,
    work: &std::path::Path,
    scenario: &'static Scenario,
    speed: usize,
    changes: &[Change],
) -> Shown {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let mut clock = Clock::new(Timestamp::now());
    for _ in 0..speed {
        clock.change(Timestamp::now(), true);
    }
    let (rate, rates) = watch::channel(clock.rate());
    let (teller, _told) = mpsc::unbounded_channel();
    let directory = work.join(format!("{}-{run}", scenario.id));
    let conducting = conduct(background.clone(), scenario, &directory, rates, teller);
    let pacing = async {
        for (millis, paused) in changes {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
            clock.pause(Timestamp::now(), *paused);
            rate.send_replace(clock.rate());
        }
        clock.pause(Timestamp::now(), false);
        rate.send_replace(clock.rate());
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = conducting => outcome.expect("it is conducted to its end"),
        () = pacing => unreachable!("it waits for ever"),
    };
    Shown::new(outcome, clock)
}

fn check(scenario: &Scenario, shown: &Shown, columns: u16) {
    let id = scenario.id;
    let outcome = &shown.outcome;
    assert!(scenario.right(outcome).is_some(), "{id}: no choice is {:?}", outcome.calls);
    let mut calls: Vec<u64> = outcome.calls.concat();
    calls.sort_unstable();
    calls.dedup();
    let (agent, queue) = drawn(shown, columns);
    assert_eq!(diamonds(&agent), calls, "{id}:\n{agent}\n{queue}");
    // A result is drawn in the column of the call that it enters.
    let column = |row: &str, sign: char| row.chars().position(|c| c == sign);
    assert_eq!(column(&agent, '◆'), column(&queue, '▲'), "{id}:\n{agent}\n{queue}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 0, ..Default::default() })]
    #[test]
    fn the_drawn_call_is_the_one_of_the_trace(
        speed in 2_usize..4,
        columns in 58_u16..140,
        changes in prop::collection::vec((1_u64..120, any::<bool>()), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let dir = tempfile::tempdir().expect("a directory");
            let work = dir.path().join("work");
            std::fs::create_dir(&work).expect("it is new");
            let options = Options {
                state_dir: dir.path().join("state"),
                workspace: work.clone(),
                role: Role::Daemon,
                settings: Settings::default(),
            };
            let (background, _events) = Background::open(options).await.expect("a store");
            let plays = SCENARIOS
                .iter()
                .map(|scenario| play(&background, &work, scenario, speed, &changes));
            let shown = futures_util::future::join_all(plays).await;
            background.close().await;
            for (scenario, shown) in SCENARIOS.iter().zip(&shown) {
                check(scenario, shown, columns);
            }
        });
    }
}
