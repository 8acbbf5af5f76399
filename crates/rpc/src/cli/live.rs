//! The lines that move while a person waits: a spinner, a bar and the time that is left.
//!
//! Draws on standard error and only where that is a terminal. What a line says is a pure function
//! of the time gone, the progress told and the past; the drawing is `indicatif`'s.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use meanwhile_core::background::task::{Progress, Task, TaskId, Timestamp};
use meanwhile_core::background::{Background, usual};

use super::failure::Failure;
use super::out::{self, paint, style};
use super::{session, show};

/// How often the lines move.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// Most tasks that have a line of their own, so that a small terminal never scrolls.
const LINES_MAX: usize = 12;
/// The full length of a bar.
const FULL: u64 = 1_000;

/// The moving lines.
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
    /// Lines for the tasks that run; `None` where no terminal shows them.
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
        // Dressed before it is shown: every change of one that is shown draws it.
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

    /// Draws the lines as they stand now.
    pub(crate) fn tick(&mut self) {
        let now = Timestamp::now();
        for line in &self.lines {
            let (position, told) =
                describe(now.since(line.started), line.forecast, line.progress.as_ref());
            line.bar.set_style(look(position.is_some()));
            line.bar.set_message(format!("{told} · {}", line.command));
            // This moves the spinner, too.
            line.bar.update(|state| state.set_pos(position.unwrap_or(0)));
        }
    }

    /// A task said how far it is.
    pub(crate) fn progress(&mut self, id: TaskId, progress: Progress) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.id == id) {
            line.progress = Some(progress);
        }
    }

    /// Takes a task's line away and leaves the task's result in its place.
    pub(crate) fn ended(&mut self, task: &Task) {
        if let Some(place) = self.lines.iter().position(|line| line.id == task.id) {
            let line = self.lines.remove(place);
            line.bar.finish_and_clear();
            self.multi.remove(&line.bar);
        }
        let text = result_line(task, self.colour);
        self.multi.suspend(|| out::note(text));
    }

    /// Does something with the lines out of the way.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.multi.suspend(work)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for line in &self.lines {
            line.bar.finish_and_clear();
        }
        // A terminal that went away shows nothing that would have to be cleared.
        drop(self.multi.clear());
    }
}

/// A task's end on a line: `b3f9c2a1  exit 0 after 1m 32s: npm install`.
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

/// What the past says about how long a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Forecast {
    median: Duration,
}

impl Forecast {
    fn from_past(past: Vec<Duration>) -> Option<Self> {
        let median = usual(past)?;
        // What takes no time needs no forecast.
        (median >= Duration::from_millis(500)).then_some(Self { median })
    }
}

/// How far a task is, in thousandths, and in words: `38s, about 54s left`.
fn describe(
    gone: Duration,
    forecast: Option<Forecast>,
    progress: Option<&Progress>,
) -> (Option<u64>, String) {
    let percent = progress.and_then(|progress| progress.percent).map(|p| u64::from(p.min(100)));
    let usual = forecast.map(|forecast| forecast.median);
    let told = show::elapsed(gone);
    // The past knows a command's slow ends better than its own percentage does; without a past,
    // or beyond it, the percentage is all there is. The first few say nothing yet.
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
        // Only the end itself is the end.
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
