//! The command line, compared with that of pueue if it is installed.
//!
//! pueue (crates.io) is the most similar tool in use: a daemon that runs commands in the background and
//! keeps their results. Here it has its own store, and runs all tasks in parallel, so that its queue does
//! not affect the figures.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::bare::{Bare, now};
use crate::report::{Report, Row, Samples};
use crate::server::Place;

/// The number of samples for one command.
const SAMPLES: usize = 30;
/// The number of short tasks in one round, each spawned by a separate process.
const TASKS: usize = 100;
/// How long pueue's daemon may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures `spawn`, `wait` and both together, as a person or a script runs them.
pub(crate) fn command_lines(report: &mut Report) -> Outcome<()> {
    let place = Place::new()?;
    let pueue = Pueue::start(&place)?;
    let beside = |times: &Samples| match &pueue {
        Some(_) => format!("pueue {}", times.times()),
        None => "pueue is not installed".to_owned(),
    };

    let (mut spawns, mut adds, mut bare) =
        (Samples::default(), Samples::default(), Samples::default());
    let sh = Bare::shell("true")?;
    for _ in 0..SAMPLES {
        bare.add(sh.run()?);
        spawns.add(spawn(&place, "true")?.1);
        if let Some(pueue) = &pueue {
            adds.add(timed(&mut pueue.client(&["add", "true"]))?);
        }
    }
    report.row(&Row {
        what: "`meanwhile spawn true`, whole process".to_owned(),
        ours: spawns.times(),
        bare: format!("{}; sh -c true {}", beside(&adds), bare.times()),
        ratio: pueue.as_ref().map(|_| spawns.p50() / adds.p50()),
        samples: SAMPLES,
        ..Row::default()
    })?;

    // From the end of a command that takes 0.2 s until the process that waits for it exits.
    let (mut waits, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..SAMPLES / 3 {
        let (id, _) = spawn(&place, "sleep 0.2; date +%s%N")?;
        waits.add(after_end(&place, &mut place.meanwhile(&["wait", &id]), &id)?);
        if let Some(pueue) = &pueue {
            theirs.add(pueue.wait_after_end(&place)?);
        }
    }
    report.row(&Row {
        what: "end of a command to the end of `meanwhile wait`".to_owned(),
        ours: waits.times(),
        bare: beside(&theirs),
        ratio: pueue.as_ref().map(|_| waits.p50() / theirs.p50()),
        samples: waits.len(),
        ..Row::default()
    })?;

    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for _ in 0..3 {
        let from = now();
        let ids = (0..TASKS).map(|_| Ok(spawn(&place, "true")?.0)).collect::<Outcome<Vec<_>>>()?;
        let mut arguments = vec!["wait"];
        arguments.extend(ids.iter().map(String::as_str));
        timed(&mut place.meanwhile(&arguments))?;
        ours.add(now() - from);
        if let Some(pueue) = &pueue {
            let from = now();
            for _ in 0..TASKS {
                timed(&mut pueue.client(&["add", "true"]))?;
            }
            timed(&mut pueue.client(&["wait", "--quiet"]))?;
            theirs.add(now() - from);
        }
    }
    report.row(&Row {
        what: "100 short tasks by the command line, spawned and waited for".to_owned(),
        ours: ours.times(),
        bare: beside(&theirs),
        ratio: pueue.as_ref().map(|_| ours.p50() / theirs.p50()),
        samples: ours.len(),
        ..Row::default()
    })
}

/// Runs `meanwhile spawn`; returns the task's id and how long the process took.
fn spawn(place: &Place, line: &str) -> Outcome<(String, u64)> {
    let mut command = place.meanwhile(&["spawn", "--json", "--", "/bin/sh", "-c", line]);
    let from = now();
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    let took = now() - from;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let task = if told["task"].is_null() { &told } else { &told["task"] };
    Ok((task["id"].as_str().ok_or("no id from `spawn --json`")?.to_owned(), took))
}

/// Runs the process that waits for a task; returns how long after the time that the task wrote it exits.
fn after_end(place: &Place, wait: &mut Command, id: &str) -> Outcome<u64> {
    timed(wait)?;
    let known = wall_clock()?;
    let logs = place.meanwhile(&["logs", id]).stdout(Stdio::piped()).output()?;
    let moment: u64 = String::from_utf8(logs.stdout)?.trim().parse()?;
    Ok(known.saturating_sub(moment))
}

/// Nanoseconds of the wall clock, as `date +%s%N` prints them.
fn wall_clock() -> Outcome<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_nanos())?)
}

fn timed(command: &mut Command) -> Outcome<u64> {
    let from = now();
    let status = command.status()?;
    let took = now() - from;
    if status.success() { Ok(took) } else { Err(format!("{command:?}: {status}").into()) }
}

/// pueue's daemon, with its own store.
struct Pueue {
    daemon: Child,
    settings: String,
}

impl Pueue {
    /// Starts it; `None` if pueue is not installed.
    fn start(place: &Place) -> Outcome<Option<Self>> {
        let folder = place.path().join("pueue");
        fs::create_dir_all(&folder)?;
        let shown = folder.to_str().ok_or("the path of the build is not UTF-8")?;
        let settings = format!("{shown}/pueue.yml");
        fs::write(
            &settings,
            format!(
                "shared:\n  pueue_directory: '{shown}'\n  runtime_directory: '{shown}'\n  \
                 use_unix_socket: true\n  unix_socket_path: '{shown}/socket'\n"
            ),
        )?;
        let daemon = match Command::new("pueued")
            .args(["--config", &settings])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
        {
            Ok(daemon) => daemon,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let pueue = Self { daemon, settings };
        let from = Instant::now();
        // 0: without limit.
        while timed(&mut pueue.client(&["parallel", "0"])).is_err() {
            if from.elapsed() > PATIENCE {
                return Err("pueue's daemon did not answer in time".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Some(pueue))
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("pueue");
        command
            .args(["--config", &self.settings])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Does the same as [`after_end`] for pueue.
    fn wait_after_end(&self, place: &Place) -> Outcome<u64> {
        let file = place.path().join("moment");
        let shown = file.to_str().ok_or("the path of the build is not UTF-8")?;
        let line = format!("sleep 0.2; date +%s%N > '{shown}'");
        let added =
            self.client(&["add", "--print-task-id", &line]).stdout(Stdio::piped()).output()?;
        let id = String::from_utf8(added.stdout)?;
        timed(&mut self.client(&["wait", "--quiet", id.trim()]))?;
        let known = wall_clock()?;
        let moment: u64 = fs::read_to_string(&file)?.trim().parse()?;
        Ok(known.saturating_sub(moment))
    }
}

impl Drop for Pueue {
    fn drop(&mut self) {
        let _ = timed(&mut self.client(&["shutdown"]));
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
