//! Slurm's commands, as this machine has them.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use meanwhile_core::agent::vendor::secret_variables;
use meanwhile_core::background::words::reason;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::words::{FORMAT, Row, plain, rows};

/// Beginnings of the names of variables that no command gets.
const DROPPED: [&[u8]; 6] =
    [b"MEANWHILE_", b"SQUEUE_", b"SACCT_", b"SCANCEL_", b"SBATCH_ARRAY_INX", b"SBATCH_WAIT"];
/// How long a command has: its own patience with a controller that does not answer is shorter.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs a command; returns what it wrote, or what it said.
async fn run(argv: &[String], input: &str) -> Result<String, String> {
    let [program, arguments @ ..] = argv else { return Err(String::new()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Keys are not a job's, nor is what this program is told by its own.
    // Nor are the defaults of these commands the person's: they would hide jobs.
    let own = std::env::vars_os().map(|(name, _)| name);
    let is_dropped = |name: &OsString| {
        let name = name.as_encoded_bytes();
        DROPPED.iter().any(|prefix| name.starts_with(prefix))
    };
    for name in own.filter(is_dropped) {
        command.env_remove(name);
    }
    for name in secret_variables() {
        command.env_remove(name);
    }
    let started = command.kill_on_drop(true).spawn();
    let mut child =
        started.map_err(|error| format!("`{program}` cannot be started: {}", reason(&error)))?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read has its reasons, and says them.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let done = tokio::time::timeout(PATIENCE, talk).await;
    let done =
        done.map_err(|_| format!("`{program}` has not answered for {} s", PATIENCE.as_secs()))?;
    let done = done.map_err(|error| format!("`{program}`: {}", reason(&error)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match done.status.success() {
        true => Ok(text(&done.stdout)),
        false => match plain(&text(&done.stderr)) {
            // It says nothing about what was asked: it was killed, perhaps.
            said if said.is_empty() || done.status.code().is_none() => {
                Err(format!("`{program}` was cut off ({}) {said}", done.status)
                    .trim_end()
                    .to_owned())
            }
            said => Err(said),
        },
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The version of Slurm.
pub(super) async fn version() -> Result<String, String> {
    run(&words(&["sbatch", "--version"]), "").await.map(|text| text.trim().to_owned())
}

/// Hands a script in; returns the number of the job.
pub(super) async fn submit(options: &[String], script: &str) -> Result<String, String> {
    let argv = [&words(&["sbatch", "--parsable", "--export=ALL", "--no-requeue"])[..], options];
    let text = run(&argv.concat(), script).await?;
    // Of a federation the cluster follows.
    let number = text.lines().last().unwrap_or_default().split(';').next().unwrap_or_default();
    match number.trim() {
        number if !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit()) => {
            Ok(number.to_owned())
        }
        _ => Err(format!(
            "`sbatch` was cut off: it wrote `{}`, not the number of a job",
            text.trim()
        )),
    }
}

/// All jobs of this user that Slurm knows, or those of one name.
pub(super) async fn jobs(name: Option<&str>) -> Result<Vec<Row>, String> {
    let mut argv = words(&["squeue", "--me", "-h", "-t", "all", "-o", FORMAT]);
    argv.extend(name.map(|name| format!("--name={name}")));
    run(&argv, "").await.map(|text| rows(&text).collect())
}

/// What the accounting has of jobs that the controller has forgotten.
pub(super) async fn remembered(numbers: &[&str]) -> Vec<Row> {
    let numbers = numbers.join(",");
    let argv = ["sacct", "-X", "-n", "-P", "-j", &numbers, "-o", "JobID,State,NodeList,JobName"];
    // Where there is no accounting it fails.
    let text = run(&words(&argv), "").await.unwrap_or_default();
    let row = |line: &str| {
        let mut parts = line.split('|').map(str::to_owned);
        let (number, state) = (parts.next()?, parts.next()?);
        let node = parts.next().filter(|node| node != "None assigned").unwrap_or_default();
        let name = parts.next().unwrap_or_default();
        // `CANCELLED by 1000`.
        let state = state.split(' ').next()?.to_owned();
        Some(Row { number, state, node, name, ..Row::default() })
    };
    text.lines().filter_map(row).collect()
}

/// Ends a job, or has its keeper end the task: the signal goes to the batch step alone.
pub(super) async fn cancel(number: &str, keeper_alone: bool) -> Result<(), String> {
    let mut argv = words(&["scancel"]);
    if keeper_alone {
        argv.extend(words(&["--batch", "--signal=TERM"]));
    }
    argv.push(number.to_owned());
    run(&argv, "").await.map(drop)
}

/// Runs a command beside a job, on this node of it.
pub(super) async fn beside(number: &str, host: &str, argv: &[String]) -> Result<(), String> {
    let (job, node) = (format!("--jobid={number}"), format!("--nodelist={host}"));
    let srun = words(&["srun", "--overlap", &job, &node, "-N1", "-n1", "--mem=0", "--quiet"]);
    run(&[&srun[..], argv].concat(), "").await.map(drop)
}
