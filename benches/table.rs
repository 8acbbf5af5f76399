//! `cargo bench`: how the daemon compares with the bare system calls.
//!
//! Owns the list of measurements and their order. No part is measured alone: everything goes through the
//! real binary over pipes, with a temporary store, because a person notices only the total. Each figure
//! and its bare counterpart are measured alternately, so that a busy machine slows both and their ratio is
//! still valid. `docs/benchmarks.md` explains the rows.
//!
//! `cargo bench -- spawn end` runs only these two groups.

mod agent;
mod bare;
mod flood;
mod latency;
mod memory;
mod output;
mod peers;
mod rates;
mod report;
mod server;
mod store;
mod workspaces;

use std::io::Write;
use std::process::ExitCode;

use report::Report;

/// An error ends only its group, and the table shows its text.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The name of a group on the command line, and its function.
type Group = (&'static str, fn(&mut Report) -> Outcome<()>);

const GROUPS: [Group; 12] = [
    ("spawn", latency::spawn),
    ("end", latency::end),
    ("rate", rates::short_tasks),
    ("output", output::captured),
    ("flood", flood::yes),
    ("start", memory::start),
    ("memory", memory::resident),
    ("store", store::many),
    ("workspaces", workspaces::many),
    ("cli", peers::command_lines),
    ("agent", agent::overhead),
    ("agent-flood", agent::flood),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == bare::MOMENT) {
        return bare::tell_the_moment();
    }
    let (flags, chosen): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with('-'));
    let mut out = std::io::stdout().lock();
    if !flags.contains(&"--bench") {
        // `cargo test --all-targets` runs this program too, which must not take minutes.
        return match writeln!(out, "nothing measured: run `cargo bench`") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if let Some(unknown) =
        chosen.iter().find(|name| !GROUPS.iter().any(|(group, _)| group == *name))
    {
        let names: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
        let _ = writeln!(out, "no group `{unknown}`; there are: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let mut report = Report::new(out);
    match run(&mut report, &chosen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(report: &mut Report, chosen: &[&str]) -> Outcome<()> {
    report.machine()?;
    let mut failed = Ok(());
    for (name, group) in GROUPS {
        if (chosen.is_empty() || chosen.contains(&name))
            && let Err(error) = group(report)
        {
            report.broken(name, &*error)?;
            failed = Err(error);
        }
    }
    report.close()?;
    failed
}
