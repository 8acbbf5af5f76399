//! `meanwhile doctor`: checks whether this machine has what background work needs.
//!
//! Every check tries a feature instead of reading a version number, and reports for a missing feature what the effect
//! is and what to do. It changes no more than any other command: it creates the state directory and its ledger if
//! they do not exist.

mod host;
mod kernel;
mod limits;
mod mounts;
mod place;
mod store;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args;
use super::failure::{FAILED, Failure};
use super::out::{Out, style};
use super::show;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    /// The name of the check.
    name: &'static str,
    status: Status,
    /// What the check found.
    found: String,
    /// The effect of what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    /// Nothing is missing.
    Ok,
    /// Something can be improved.
    Warn,
    /// Tasks do not run, or their results do not reach the agent.
    Fail,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), cost: None, remedy: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, cost: &str, remedy: &str) -> Self {
        Self::bad(Status::Warn, name, found.into(), cost, remedy)
    }

    fn fail(name: &'static str, found: impl Into<String>, cost: &str, remedy: &str) -> Self {
        Self::bad(Status::Fail, name, found.into(), cost, remedy)
    }

    fn bad(status: Status, name: &'static str, found: String, cost: &str, remedy: &str) -> Self {
        Self { name, status, found, cost: Some(cost.to_owned()), remedy: Some(remedy.to_owned()) }
    }
}

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether tasks can run, or with `--host` whether their results reach the agent.
    ok: bool,
    checks: Vec<Check>,
}

/// Runs all checks and prints the report.
pub(crate) fn run(
    out: &mut Out,
    workspace: Option<&Path>,
    args: &args::Doctor,
) -> Result<u8, Failure> {
    let checks = match (args.host, &args.on) {
        (Some(host), _) => host::check(host)?,
        (None, Some(name)) => place::check(name)?,
        (None, None) => [store::check(workspace), kernel::check(), limits::check()].concat(),
    };
    let report = Report { ok: checks.iter().all(|check| check.status != Status::Fail), checks };
    if args.json {
        out.json(&report)?;
    } else {
        print(out, &report, args)?;
    }
    Ok(if report.ok { 0 } else { FAILED })
}

fn print(out: &mut Out, report: &Report, args: &args::Doctor) -> Result<(), Failure> {
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in &report.checks {
        let (word, look) = match check.status {
            Status::Ok => ("ok  ", style::GOOD),
            Status::Warn => ("warn", style::ODD),
            Status::Fail => ("fail", style::BAD),
        };
        let word = out.paint(look, word);
        out.line(format_args!("{word}  {:width$}  {}", check.name, show::one_line(&check.found)))?;
        for (title, text) in [("costs", &check.cost), ("to do", &check.remedy)] {
            if let Some(text) = text {
                let title = out.paint(style::DIM, title);
                out.line(format_args!("      {title}: {}", show::one_line(text)))?;
            }
        }
    }
    let count = |status| report.checks.iter().filter(|check| check.status == status).count();
    let (warned, failed) = (count(Status::Warn), count(Status::Fail));
    out.line("")?;
    let (works, fails) = match (args.host, &args.on) {
        (Some(_), _) => ("no check failed", "results do not reach the agent"),
        (None, Some(_)) => ("tasks run there", "tasks cannot run there now"),
        (None, None) => ("tasks run", "tasks cannot run"),
    };
    match (failed, warned) {
        (0, 0) => out.line("all checks passed"),
        (0, warned) => out.line(format_args!("{works}; {warned} of the above can be improved")),
        (failed, _) => out.line(format_args!("{fails}: {failed} of the above failed")),
    }
}

/// A temporary directory for a check, deleted when this is dropped.
struct Probe(PathBuf);

impl Probe {
    fn new(within: &Path) -> std::io::Result<Self> {
        let path = within.join(format!(".doctor-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // If it cannot be removed, an empty directory with a descriptive name is left.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let probe = Probe::new(dir.path()).expect("it is writable");
        std::fs::write(probe.path("x"), "x").expect("it is writable");
        drop(probe);
        assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 0);
    }

    #[test]
    fn a_report_says_what_is_wrong_and_what_to_do() {
        let checks =
            vec![Check::ok("shell", "/bin/sh"), Check::fail("locks", "none", "all", "pray")];
        let text = serde_json::to_value(Report { ok: false, checks }).expect("it is plain data");
        assert_eq!(
            text,
            serde_json::json!({"ok": false, "checks": [
                {"name": "shell", "status": "ok", "found": "/bin/sh"},
                {"name": "locks", "status": "fail", "found": "none", "cost": "all",
                 "remedy": "pray"},
            ]})
        );
    }
}
