//! The status lines while a person waits: a spinner, a bar and the remaining time.
//!
//! They are drawn on standard error, if that is a terminal. The text is a pure function of the elapsed time, the
//! reported progress and earlier durations; `indicatif` does the drawing.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use meanwhile_core::background::task::{Progress, Task, TaskId, Timestamp};
use meanwhile_core::background::{Background, usual};

use super::failure::Failure;
use super::out::{self, paint, style};
use super::{session, show};

/// How often the lines are redrawn.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// The maximum number of tasks with a line of their own, so that a small terminal does not scroll.
const LINES_MAX: usize = 12;
/// The length of a full bar.
const FULL: u64 = 1_000;

/// The status lines.
pub(crate) struct Live {
    multi: MultiProgress,
    lines: Vec<Line>,
    colour: bool,
}

struct Line {
    id: TaskId,
    command: String,
    started: Timestamp,
    forecast: Option<Forecast>,
    progress: Option<Progress>,
    bar: ProgressBar,
}

impl Live {
    /// Creates lines for the running tasks; `None` if standard error is not a terminal.
    pub(crate) async fn new(
        background: &Background,
        tasks: &[Task],
    ) -> Result<Option<Self>, Failure> {
        if !session::watched() {
            return Ok(None);
        }
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let mut live = Self { multi, lines: Vec::new(), colour: out::stderr_colour() };
        for task in tasks.iter().filter(|task| task.end().is_none()).take(LINES_MAX) {
            let past = background.past_durations(&task.command).await?;
            live.add(task, Forecast::from_past(past));
        }
        live.tick();
        Ok(Some(live))
    }

    fn add(&mut self, task: &Task, forecast: Option<Forecast>) {
        let prefix = task.label.as_deref().map_or_else(|| task.id.to_string(), show::one_line);
        // Set up before it becomes visible, because every change of a visible bar redraws it.
        let bar = ProgressBar::with_draw_target(Some(FULL), ProgressDrawTarget::hidden())
            .with_style(look(false))
            .with_prefix(paint(self.colour, style::BOLD, prefix).to_string());
        let bar = self.multi.add(bar);
        self.lines.push(Line {
            id: task.id,
            command: show::one_line(&task.command),
            started: task.created_at,
            forecast,
            progress: task.progress.clone(),
            bar,
        });
    }

    /// Redraws the lines.
    pub(crate) fn tick(&mut self) {
        let now = Timestamp::now();
        for line in &self.lines {
            let (position, told) =
                describe(now.since(line.started), line.forecast, line.progress.as_ref());
            line.bar.set_style(look(position.is_some()));
            line.bar.set_message(format!("{told} · {}", line.command));
            // This also advances the spinner.
            line.bar.update(|state| state.set_pos(position.unwrap_or(0)));
        }
    }

    /// Stores the progress that a task reported.
    pub(crate) fn progress(&mut self, id: TaskId, progress: Progress) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.id == id) {
            line.progress = Some(progress);
        }
    }

    /// Replaces a task's line with its result.
    pub(crate) fn ended(&mut self, task: &Task) {
        if let Some(place) = self.lines.iter().position(|line| line.id == task.id) {
            let line = self.lines.remove(place);
            line.bar.finish_and_clear();
            self.multi.remove(&line.bar);
        }
        let text = result_line(task, self.colour);
        self.multi.suspend(|| out::note(text));
    }

    /// Runs something while the lines are hidden.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.multi.suspend(work)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for line in &self.lines {
            line.bar.finish_and_clear();
        }
        // If the terminal is gone, there is nothing to clear.
        drop(self.multi.clear());
    }
}

/// The line for a task's end: `b3f9c2a1  exit 0 after 1m 32s: npm install`.
pub(crate) fn result_line(task: &Task, colour: bool) -> String {
    let (word, look) = show::state(task);
    let told = task.end().map_or(word, |end| show::result(task, end));
    format!(
        "{}  {}: {}",
        paint(colour, style::BOLD, task.id),
        paint(colour, look, told),
        show::one_line(&task.command)
    )
}

fn look(bar: bool) -> ProgressStyle {
    let template = match bar {
        true => "{spinner} {prefix} [{bar:20}] {wide_msg}",
        false => "{spinner} {prefix} {wide_msg}",
    };
    ProgressStyle::with_template(template)
        .expect("the template is one of the two above")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
        .progress_chars("=> ")
}

/// How long a command usually takes, from its earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Forecast {
    median: Duration,
}

impl Forecast {
    fn from_past(past: Vec<Duration>) -> Option<Self> {
        let median = usual(past)?;
        // A short command needs no forecast.
        (median >= Duration::from_millis(500)).then_some(Self { median })
    }
}

/// How far a task is, in thousandths and as text: `38s, about 54s left`.
fn describe(
    gone: Duration,
    forecast: Option<Forecast>,
    progress: Option<&Progress>,
) -> (Option<u64>, String) {
    let percent = progress.and_then(|progress| progress.percent).map(|p| u64::from(p.min(100)));
    let usual = forecast.map(|forecast| forecast.median);
    let told = show::elapsed(gone);
    // Earlier runs predict a slow last part better than the command's own percentage; the percentage is used without
    // earlier runs, or when this one takes longer. Below 5 % it is not meaningful.
    let by_percent = || {
        let percent = percent.filter(|percent| (5..=100).contains(percent))?;
        Some(gone.mul_f64((100 - percent) as f64 / percent as f64))
    };
    let told = match (usual, by_percent()) {
        (Some(usual), _) if gone <= usual => {
            format!("{told}, about {} left", show::elapsed(usual - gone))
        }
        (Some(_) | None, Some(left)) => format!("{told}, about {} left", show::elapsed(left)),
        (Some(usual), None) => format!("{told}, longer than the usual {}", show::elapsed(usual)),
        (None, None) => told,
    };
    let position = percent.map(|percent| percent * FULL / 100).or_else(|| {
        let usual = usual?;
        let share = gone.as_secs_f64() / usual.as_secs_f64();
        // Only the end itself shows a full bar.
        Some(((share * FULL as f64) as u64).min(FULL * 99 / 100))
    });
    match percent {
        Some(percent) => (position, format!("{percent}%, {told}")),
        None => (position, told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_is_told_by_its_median() {
        let check = |past: &[u64], expected: Option<u64>| {
            let past = past.iter().copied().map(Duration::from_millis).collect();
            let median = Forecast::from_past(past).map(|forecast| forecast.median);
            assert_eq!(median, expected.map(Duration::from_millis));
        };
        check(&[], None);
        check(&[10, 20, 30], None);
        check(&[60_000], Some(60_000));
        check(&[90_000, 1_000, 60_000], Some(60_000));
    }

    #[test]
    fn a_line_tells_what_is_known() {
        let check =
            |gone: u64, usual: Option<u64>, percent: Option<u8>, expected: (Option<u64>, &str)| {
                let forecast = usual.map(|usual| Forecast { median: Duration::from_secs(usual) });
                let progress = Progress { percent, message: None };
                let found = describe(Duration::from_secs(gone), forecast, Some(&progress));
                assert_eq!((found.0, found.1.as_str()), expected);
            };
        check(38, None, None, (None, "38s"));
        check(38, Some(92), None, (Some(413), "38s, about 54s left"));
        check(92, Some(92), None, (Some(990), "1m 32s, about 0.0s left"));
        check(100, Some(92), None, (Some(990), "1m 40s, longer than the usual 1m 32s"));
        check(38, None, Some(2), (Some(20), "2%, 38s"));
        check(38, None, Some(41), (Some(410), "41%, 38s, about 54s left"));
        check(38, Some(92), Some(60), (Some(600), "60%, 38s, about 54s left"));
        check(100, Some(92), Some(50), (Some(500), "50%, 1m 40s, about 1m 40s left"));
        check(38, None, Some(200), (Some(1_000), "100%, 38s, about 0.0s left"));
    }
}
