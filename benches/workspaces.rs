//! How much the daemons of one store slow each other: an agent in each of many work trees is common.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Outcome;
use crate::bare::now;
use crate::report::{Report, Row, Samples, Time};
use crate::server::{Place, Server};

/// The number of workspaces, each with a daemon.
const WORKSPACES: usize = 48;
/// How many tasks all daemons together start per second.
const RATE: u32 = 60;
/// How many tasks are measured, which takes ten seconds.
const TASKS: usize = 600;
/// Clock ticks per second of processor time (`getconf CLK_TCK`, 100 on Linux).
const TICKS: u64 = 100;

/// Measures processor time per task and the time from spawn to the push of the end, alternately with 48 daemons
/// and with one.
pub(crate) fn many(report: &mut Report) -> Outcome<()> {
    let (alone, together) = (Place::new()?, Place::new()?);
    let mut one = vec![alone.serve()?];
    let mut all = (0..WORKSPACES)
        .map(|number| {
            let workspace = together.path().join(format!("work-{number}"));
            fs::create_dir(&workspace)?;
            together.serve_in(&workspace)
        })
        .collect::<Outcome<Vec<Server>>>()?;
    for (how, at_once) in [("evenly", 1), ("all at once", WORKSPACES)] {
        let single = Load::run(&mut one, at_once)?;
        let many = Load::run(&mut all, at_once)?;
        let what = |of: &str| format!("{of}, {WORKSPACES} daemons, {RATE} tasks a second {how}");
        let limit = if at_once == 1 { 1.2 } else { 2.0 };
        let cpu = many.cpu / single.cpu;
        report.row(&Row {
            what: what("CPU of the daemons a task"),
            ours: Time(many.cpu).to_string(),
            bare: format!("one daemon {}", Time(single.cpu)),
            ratio: Some(cpu),
            target: Some(("<= 1.5".to_owned(), cpu <= 1.5)),
            samples: TASKS,
        })?;
        let latency = many.ends.p50() / single.ends.p50();
        report.row(&Row {
            what: what("spawn to reported end"),
            ours: many.ends.times(),
            bare: format!("one daemon {}", single.ends.times()),
            ratio: Some(latency),
            target: Some((format!("<= {limit}"), latency <= limit)),
            samples: TASKS,
        })?;
    }
    Ok(())
}

struct Load {
    /// Processor time of the daemons per task, in nanoseconds.
    cpu: f64,
    ends: Samples,
}

impl Load {
    /// Starts `at_once` tasks at a time, on average [`RATE`] per second, with all daemons in turn.
    fn run(servers: &mut [Server], at_once: usize) -> Outcome<Self> {
        let mut ends = Samples::default();
        let before = cpu(servers)?;
        let pause = Duration::from_secs(1) * at_once as u32 / RATE;
        let mut due = Instant::now();
        for first in (0..TASKS).step_by(at_once) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += pause;
            let turn = first..(first + at_once).min(TASKS);
            let mut sent = Vec::new();
            for task in turn.clone() {
                let server = task % servers.len();
                let params = json!({ "command": "true" });
                sent.push((server, now(), servers[server].send("task/spawn", &params)?));
            }
            for (server, _, reply) in &sent {
                servers[*server].reply(*reply)?;
            }
            for (server, from, _) in sent {
                ends.add(servers[server].ended()?.at - from);
            }
        }
        let ticks = cpu(servers)? - before;
        Ok(Self { cpu: ticks as f64 * 1e9 / TICKS as f64 / TASKS as f64, ends })
    }
}

/// The total processor time of the daemons, in ticks (`/proc/PID/stat`, proc_pid_stat(5)).
fn cpu(servers: &[Server]) -> Outcome<u64> {
    let mut ticks = 0;
    for server in servers {
        let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid()))?;
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // `utime` and `stime` are the fields 14 and 15; the first field after the name is the third.
        for field in [11, 12] {
            ticks += fields.get(field).ok_or("a stat without times")?.parse::<u64>()?;
        }
    }
    Ok(ticks)
}
