//! The load on the machine of a task that never stops writing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Outcome;
use crate::memory::Memory;
use crate::report::{Report, Row, Samples, Size, Time};
use crate::server::Place;

/// How many seconds `yes` runs, unless `MEANWHILE_BENCH_SECONDS` is set.
const SECONDS: u64 = 10;
/// The time between two checks.
const EVERY: Duration = Duration::from_millis(20);

/// Measures `yes`, with a client that is subscribed to its output, reads all pushes, and checks the task regularly.
pub(crate) fn yes(report: &mut Report) -> Outcome<()> {
    let seconds = match std::env::var("MEANWHILE_BENCH_SECONDS") {
        Ok(text) => text.parse()?,
        Err(_) => SECONDS,
    };
    let place = Place::new()?;
    let mut server = place.serve()?;
    server.spawn(&json!("true"))?;
    server.ended()?;
    std::thread::sleep(Duration::from_millis(500));
    let before = Memory::of(server.pid())?;

    let (id, _) = server.spawn(&json!(["yes"]))?;
    server.call("task/subscribe", &json!({ "id": id }))?;
    let (mut checks, mut disk, mut resident) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut pushed = 0;
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(seconds) {
        disk.add(on_disk(&place.state()));
        checks.add(server.call("task/check", &json!({ "id": id }))?.took);
        resident.add(Memory::of(server.pid())?.resident);
        let next = Instant::now() + EVERY;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            if let Some(push) = server.push(left)?
                && push.body["method"] == "task/output"
            {
                pushed += push.bytes;
            }
        }
    }
    let elapsed = from.elapsed().as_secs_f64();
    let total = server.call("task/check", &json!({ "id": id, "tailBytes": 0 }))?.result["task"]
        ["output"]["total"]
        .as_f64()
        .ok_or("a task without its output")?;
    server.stop(&id)?;

    let peak = disk.at(1.0);
    report.row(&Row {
        what: format!("`yes` for {seconds} s: disk, peak"),
        ours: Size(peak).to_string(),
        bare: format!("written {}, {}/s", Size(total), Size(total / elapsed)),
        target: Some(("< 100 MiB".to_owned(), peak < 100.0 * 1_048_576.0)),
        samples: disk.len(),
        ..Row::default()
    })?;
    let growth = resident.at(1.0) - before.resident as f64;
    report.row(&Row {
        what: "`yes`: growth of the daemon's resident memory, peak".to_owned(),
        ours: Size(growth).to_string(),
        bare: format!("before {}", Size(before.resident as f64)),
        target: Some(("< 8 MB".to_owned(), growth < 8e6)),
        samples: resident.len(),
        ..Row::default()
    })?;
    report.row(&Row {
        what: "`yes`: task/check meanwhile, p99".to_owned(),
        ours: Time(checks.at(0.99)).to_string(),
        bare: format!("p50 {}, worst {}", Time(checks.p50()), Time(checks.at(1.0))),
        target: Some(("< 5 ms".to_owned(), checks.at(0.99) < 5e6)),
        samples: checks.len(),
        ..Row::default()
    })?;
    let rate = pushed as f64 / elapsed;
    report.row(&Row {
        what: "`yes`: to a subscriber".to_owned(),
        ours: format!("{}/s", Size(rate)),
        target: Some(("<= 2 MB/s".to_owned(), rate <= 2e6)),
        samples: 1,
        ..Row::default()
    })
}

/// How many bytes the files below a directory take on disk; files that are removed meanwhile count as 0.
fn on_disk(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, meta)| {
            let own = meta.blocks() * 512;
            if meta.is_dir() { own + on_disk(&path) } else { own }
        })
        .sum()
}
