//! The table of results.
//!
//! Owns samples, their percentiles, and the format of a row. It never decides what is measured.

use std::fmt::{self, Display};
use std::fs;
use std::io::{StdoutLock, Write};
use std::path::Path;

use crate::Outcome;

/// Repeated measurements of one time or size.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<u64>);

impl Samples {
    pub(crate) fn add(&mut self, sample: u64) {
        self.0.push(sample);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The quantile at `part`, from 0 to 1.
    pub(crate) fn at(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * part).round() as usize).map_or(f64::NAN, |sample| *sample as f64)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.at(0.5)
    }

    /// The median and the 90th percentile, as times; the samples are nanoseconds.
    pub(crate) fn times(&self) -> String {
        format!("{} (p90 {})", Time(self.p50()), Time(self.at(0.9)))
    }
}

/// Nanoseconds, displayed with a readable unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(pub(crate) f64);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 1e3;
        if micros < 1_000.0 {
            write!(f, "{micros:.0} us")
        } else if micros < 1e6 {
            write!(f, "{:.2} ms", micros / 1e3)
        } else {
            write!(f, "{:.2} s", micros / 1e6)
        }
    }
}

/// Bytes, displayed with a readable unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub(crate) f64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.abs() < 1e6 {
            write!(f, "{:.0} kB", self.0 / 1e3)
        } else if self.0.abs() < 1e9 {
            write!(f, "{:.1} MB", self.0 / 1e6)
        } else {
            write!(f, "{:.2} GB", self.0 / 1e9)
        }
    }
}

/// One line of the table.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// The figure of this program.
    pub(crate) ours: String,
    /// The figure with which it is compared.
    pub(crate) bare: String,
    /// The first divided by the second, or the inverse for rates.
    pub(crate) ratio: Option<f64>,
    /// The target, and whether it was met.
    pub(crate) target: Option<(String, bool)>,
    /// The number of samples of each figure.
    pub(crate) samples: usize,
}

/// Writes the table to standard output.
pub(crate) struct Report {
    out: StdoutLock<'static>,
    met: usize,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn new(out: StdoutLock<'static>) -> Self {
        Self { out, met: 0, missed: Vec::new() }
    }

    /// Writes a description of the machine, and the head of the table.
    pub(crate) fn machine(&mut self) -> Outcome<()> {
        let cores = std::thread::available_parallelism()?;
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown processor", |(_, model)| model);
        let system = nix::sys::utsname::uname()?;
        writeln!(
            self.out,
            "{cores} cores ({model}), {} {}, state on {}, load {}\n",
            system.sysname().to_string_lossy(),
            system.release().to_string_lossy(),
            file_system(Path::new(env!("CARGO_TARGET_TMPDIR"))),
            load(),
        )?;
        writeln!(self.out, "| what | meanwhile | beside | ratio | target | met | n | load |")?;
        writeln!(self.out, "|---|---|---|---|---|---|---|---|")?;
        Ok(())
    }

    /// Writes a row and flushes it, because a run takes minutes.
    pub(crate) fn row(&mut self, row: &Row) -> Outcome<()> {
        let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let (target, met) = match &row.target {
            Some((target, true)) => (target.as_str(), "yes"),
            Some((target, false)) => (target.as_str(), "**no**"),
            None => ("", ""),
        };
        match &row.target {
            Some((_, true)) => self.met += 1,
            Some((target, false)) => self.missed.push(format!("{}: {target}", row.what)),
            None => {}
        }
        writeln!(
            self.out,
            "| {} | {} | {} | {ratio} | {target} | {met} | {} | {} |",
            row.what,
            row.ours,
            row.bare,
            row.samples,
            load()
        )?;
        Ok(self.out.flush()?)
    }

    /// Writes a row for a group that could not be measured.
    pub(crate) fn broken(&mut self, group: &str, error: &dyn std::error::Error) -> Outcome<()> {
        self.missed.push(format!("{group}: not measured"));
        writeln!(self.out, "| {group}: not measured: {error} | | | | | **no** | | |")?;
        Ok(self.out.flush()?)
    }

    /// Writes how many targets were met, and which were missed.
    pub(crate) fn close(&mut self) -> Outcome<()> {
        writeln!(self.out, "\n{} targets met, {} missed", self.met, self.missed.len())?;
        for missed in &self.missed {
            writeln!(self.out, "- {missed}")?;
        }
        Ok(self.out.flush()?)
    }
}

/// The load average of the last minute, which shows that a row was measured on a busy machine.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// The type of the file system of a directory, which is that of the longest mount point above it.
fn file_system(of: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| of.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map_or("an unknown file system", |(_, kind)| kind)
        .to_owned()
}
