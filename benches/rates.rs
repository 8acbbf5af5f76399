//! How many short tasks run per second.

use serde_json::json;

use crate::Outcome;
use crate::bare::{Bare, now};
use crate::report::{Report, Row, Samples};
use crate::server::{Place, Server};

/// The number of tasks in one round.
const TASKS: usize = 500;
/// How many rounds of each kind are measured.
const ROUNDS: usize = 5;
/// How many spawns a client sends before it waits for a reply. More would only wait in the pipe.
const WINDOW: usize = 32;

/// Measures 500 tasks from spawn to drain, compared with as many calls of `posix_spawn` and `waitpid` in sequence.
pub(crate) fn short_tasks(report: &mut Report) -> Outcome<()> {
    let place = Place::new()?;
    let mut server = place.serve()?;
    let sh = Bare::shell("true")?;
    tasks(&mut server, WINDOW)?;
    for (how, window) in [("32 concurrent requests", WINDOW), ("each after the previous reply", 1)]
    {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for _ in 0..ROUNDS {
            let from = now();
            for _ in 0..TASKS {
                sh.run()?;
            }
            theirs.add(now() - from);
            ours.add(tasks(&mut server, window)?);
        }
        // A rate is the inverse of a time, so the ratio of the times is inverted.
        let ratio = theirs.p50() / ours.p50();
        let rate = |samples: &Samples| format!("{:.0}/s", TASKS as f64 * 1e9 / samples.p50());
        let faults = match server.repeated() {
            0 => String::new(),
            repeated => format!("; {repeated} of {} ends told twice", ROUNDS * TASKS),
        };
        report.row(&Row {
            what: format!("500 short tasks, {how}"),
            ours: rate(&ours) + &faults,
            bare: format!("one by one {}", rate(&theirs)),
            ratio: Some(ratio),
            target: (window == WINDOW).then(|| (">= 0.6".to_owned(), ratio >= 0.6)),
            samples: ours.len(),
        })?;
    }
    Ok(())
}

/// Spawns tasks, waits for all ends, and drains; returns how long it took in all.
fn tasks(server: &mut Server, window: usize) -> Outcome<u64> {
    let params = json!({ "command": "true" });
    let from = now();
    let mut under_way = std::collections::VecDeque::new();
    for _ in 0..TASKS {
        if under_way.len() == window {
            server.reply(under_way.pop_front().ok_or("the window is 0")?)?;
        }
        under_way.push_back(server.send("task/spawn", &params)?);
    }
    for sent in under_way {
        server.reply(sent)?;
    }
    for _ in 0..TASKS {
        server.ended()?;
    }
    let drained = server.drain()?;
    let took = now() - from;
    if drained != TASKS {
        return Err(format!("drained {drained} of {TASKS}").into());
    }
    Ok(took)
}
