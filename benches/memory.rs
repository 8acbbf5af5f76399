//! How fast the daemon starts, and how much memory it and its tasks use.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::Outcome;
use crate::bare::now;
use crate::report::{Report, Row, Samples, Size, Time};
use crate::server::Place;

/// How many daemons are started for the figures of the group `start`.
const STARTS: usize = 30;
/// How many tasks run at once.
const TASKS: usize = 100;

/// The memory of a process, in bytes (`/proc/PID/smaps_rollup`, proc_pid_smaps(5)).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// All resident pages.
    pub(crate) resident: u64,
    /// Pages that it shares with no other process, including those of files.
    private: u64,
    /// Pages that do not belong to a file.
    anonymous: u64,
    /// Each page divided by the number of processes that share it.
    share: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Outcome<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let kilobytes = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
                .map_or(0, |kilobytes| kilobytes * 1_024)
        };
        Ok(Self {
            resident: kilobytes("Rss"),
            private: kilobytes("Private_Clean") + kilobytes("Private_Dirty"),
            anonymous: kilobytes("Anonymous"),
            share: kilobytes("Pss"),
        })
    }
}

/// Measures from the start of the process to the reply to `initialize`.
pub(crate) fn start(report: &mut Report) -> Outcome<()> {
    let place = Place::new()?;
    drop(place.serve()?);
    let (mut whole, mut alone, mut bare) =
        (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..STARTS {
        let from = now();
        place.meanwhile(&["--version"]).stdout(Stdio::null()).status()?;
        bare.add(now() - from);

        let from = now();
        let mut server = place.serve_raw()?;
        server.initialize()?;
        whole.add(now() - from);
        drop(server);

        let mut server = place.serve_raw()?;
        // Long enough for the process to wait for its first message.
        std::thread::sleep(Duration::from_millis(50));
        alone.add(server.initialize()?);
    }
    report.row(&Row {
        what: "process started to `initialize` answered".to_owned(),
        ours: whole.times(),
        bare: format!("`meanwhile --version` {}", bare.times()),
        ratio: Some(whole.p50() / bare.p50()),
        target: Some((format!("<= {}", Time(5e6)), whole.p50() <= 5e6)),
        samples: whole.len(),
    })?;
    report.row(&Row {
        what: "`initialize` alone".to_owned(),
        ours: alone.times(),
        target: Some((format!("<= {}", Time(5e6)), alone.p50() <= 5e6)),
        samples: alone.len(),
        ..Row::default()
    })
}

/// Measures the memory of an idle daemon, and what each running task adds to that of its command.
pub(crate) fn resident(report: &mut Report) -> Outcome<()> {
    let place = Place::new()?;
    let mut server = place.serve()?;
    std::thread::sleep(Duration::from_secs(1));
    let idle = Memory::of(server.pid())?;
    report.row(&Row {
        what: "idle daemon, resident".to_owned(),
        ours: Size(idle.resident as f64).to_string(),
        bare: format!(
            "of which its own {}, anonymous {}, proportional {}",
            Size(idle.private as f64),
            Size(idle.anonymous as f64),
            Size(idle.share as f64),
        ),
        target: Some(("< 8 MB".to_owned(), idle.resident < 8_000_000)),
        samples: 1,
        ..Row::default()
    })?;

    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        tasks.push(server.spawn(&json!(["sleep", "600"]))?.0);
    }
    std::thread::sleep(Duration::from_secs(1));
    let busy = Memory::of(server.pid())?;
    let mut shims = Memory::default();
    let mut tables = 0;
    for id in &tasks {
        let checked = server.call("task/check", &json!({ "id": id }))?.result;
        let leader = checked["task"]["pid"].as_u64().ok_or("a running task without a pid")?;
        let shim = parent(leader)?;
        let memory = Memory::of(shim)?;
        shims.private += memory.private;
        shims.anonymous += memory.anonymous;
        shims.share += memory.share;
        tables += page_tables(shim)?;
    }
    for id in &tasks {
        server.stop(id)?;
    }
    let each = |sum: u64| sum as f64 / TASKS as f64;
    let daemon = busy.private.saturating_sub(idle.private);
    report.row(&Row {
        what: "a running task beyond its command, private: shim".to_owned(),
        ours: Size(each(shims.private)).to_string(),
        bare: format!(
            "of which anonymous {}; proportional {}; page tables {}",
            Size(each(shims.anonymous)),
            Size(each(shims.share)),
            Size(each(tables)),
        ),
        target: Some(("< 150 kB".to_owned(), each(shims.private) < 150_000.0)),
        samples: TASKS,
        ..Row::default()
    })?;
    report.row(&Row {
        what: "a running task: shim and the daemon's growth".to_owned(),
        ours: Size(each(shims.private + daemon)).to_string(),
        bare: format!("the daemon grew by {}", Size(daemon as f64)),
        target: Some(("< 150 kB".to_owned(), each(shims.private + daemon) < 150_000.0)),
        samples: TASKS,
        ..Row::default()
    })
}

/// The parent of a process; that of a task's leader is its shim.
fn parent(pid: u64) -> Outcome<u32> {
    status(&format!("/proc/{pid}/status"), "PPid:").map(|parent| parent as u32)
}

/// How many bytes the page tables of a process take, which no figure of `smaps` includes.
fn page_tables(pid: u32) -> Outcome<u64> {
    Ok(status(&format!("/proc/{pid}/status"), "VmPTE:")? * 1_024)
}

fn status(file: &str, name: &str) -> Outcome<u64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
