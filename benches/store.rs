//! Whether a large store is slower than a small one.

use serde_json::json;

use crate::Outcome;
use crate::bare::now;
use crate::report::{Report, Row, Samples};
use crate::server::{Place, Server};

/// The number of finished tasks in each of the two stores.
const FEW: usize = 10;
const MANY: usize = 10_000;
/// The number of samples of each kind.
const SAMPLES: usize = 300;
/// How many tasks run at once while a store is filled.
const WINDOW: usize = 64;

/// Measures spawn, check, list and drain in a store with 10 000 finished tasks, compared with one with ten.
pub(crate) fn many(report: &mut Report) -> Outcome<()> {
    let (small, large) = (Place::new()?, Place::keeping(2 * MANY as u32)?);
    let (mut few, mut many) = (small.serve()?, large.serve()?);
    fill(&mut few, FEW)?;
    let from = now();
    let first = fill(&mut many, MANY)?;
    let filled = now() - from;
    let listed = many.call("task/check", &json!({ "limit": 10_000 }))?;
    let held = listed.result["tasks"].as_array().map_or(0, Vec::len);
    if held != MANY {
        return Err(format!("the store holds {held} of {MANY} tasks").into());
    }
    report.row(&Row {
        what: "10 000 short tasks into one store".to_owned(),
        ours: format!("{:.0}/s", MANY as f64 * 1e9 / filled as f64),
        samples: 1,
        ..Row::default()
    })?;

    let known = few.spawn(&json!("true"))?.0;
    few.ended()?;
    let one = |id: &str| json!({ "id": id });
    compare(report, "spawn to reply", (&mut few, &mut many), |server, _| {
        let took = server.spawn(&json!("true"))?.1;
        server.ended()?;
        server.drain()?;
        Ok(took)
    })?;
    compare(report, "check of a task", (&mut few, &mut many), |server, is_large| {
        Ok(server.call("task/check", &one(if is_large { &first } else { &known }))?.took)
    })?;
    compare(report, "list of the newest 10", (&mut few, &mut many), |server, _| {
        Ok(server.call("task/check", &json!({ "limit": 10 }))?.took)
    })?;
    compare(report, "drain of an empty queue", (&mut few, &mut many), |server, _| {
        Ok(server.call("task/drain", &json!({}))?.took)
    })
}

/// Runs short tasks and drains their ends; returns the id of the first.
fn fill(server: &mut Server, tasks: usize) -> Outcome<String> {
    let params = json!({ "command": "true" });
    let mut first = None;
    let (mut sent, mut ended) = (0, 0);
    let mut under_way = std::collections::VecDeque::new();
    while ended < tasks {
        while sent < tasks && under_way.len() < WINDOW && sent - ended < WINDOW {
            under_way.push_back(server.send("task/spawn", &params)?);
            sent += 1;
        }
        if let Some(request) = under_way.pop_front() {
            let reply = server.reply(request)?;
            if first.is_none() {
                first = reply.result["task"]["id"].as_str().map(str::to_owned);
            }
        }
        if sent - ended >= WINDOW || sent == tasks {
            server.ended()?;
            ended += 1;
        }
    }
    for request in under_way {
        server.reply(request)?;
    }
    server.drain()?;
    first.ok_or_else(|| "nothing was spawned".into())
}

/// Measures in both stores alternately, and writes a row.
fn compare(
    report: &mut Report,
    what: &str,
    (few, many): (&mut Server, &mut Server),
    sample: impl Fn(&mut Server, bool) -> Outcome<u64>,
) -> Outcome<()> {
    let (mut small, mut large) = (Samples::default(), Samples::default());
    for _ in 0..SAMPLES {
        small.add(sample(few, false)?);
        large.add(sample(many, true)?);
    }
    let ratio = large.p50() / small.p50();
    report.row(&Row {
        what: format!("{what}, 10 000 finished tasks in the store"),
        ours: large.times(),
        bare: format!("10 finished tasks {}", small.times()),
        ratio: Some(ratio),
        // Two measurements of the same thing differ by this much.
        target: Some(("<= 1.1".to_owned(), ratio <= 1.1)),
        samples: SAMPLES,
    })
}
