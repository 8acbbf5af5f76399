//! The line above the prompt: what the agent does, and which tasks run.

use console::{measure_text_width, truncate_str};
use meanwhile_core::background::task::{Task, Timestamp};

use crate::cli::out::{paint, style};
use crate::cli::show;

const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// How long one frame of the spinner is shown, in milliseconds.
const FRAME_MS: i64 = 120;
/// The maximum number of columns of a task's name.
const NAME_COLUMNS: usize = 24;

/// What the status line shows.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// When the current turn started; `None` while the agent is idle.
    pub(super) since: Option<Timestamp>,
    /// What the agent is doing in the turn.
    pub(super) doing: String,
    /// The running tasks of the session.
    pub(super) tasks: Vec<Task>,
}

impl Status {
    /// Whether the line changes with time.
    pub(super) fn moves(&self) -> bool {
        self.since.is_some() || !self.tasks.is_empty()
    }

    /// The line, padded or cut to `width` columns. `rest` is the incomplete last line of the agent's answer.
    pub(super) fn line(&self, now: Timestamp, rest: &str, width: usize, colour: bool) -> String {
        let frame = usize::try_from(now.0 / FRAME_MS).unwrap_or(0) % SPINNER.len();
        let mut parts: Vec<String> = Vec::new();
        if let Some(since) = self.since {
            let spinner = paint(colour, style::LIVE, SPINNER[frame]);
            let doing = match rest.trim() {
                "" => format!("{} {}", self.doing, show::elapsed(now.since(since))),
                rest => rest.to_owned(),
            };
            parts.push(format!("{spinner} {doing}"));
        }
        for task in &self.tasks {
            let name = task.label.as_deref().unwrap_or(&task.command);
            let name = show::one_line(name);
            let name = truncate_str(&name, NAME_COLUMNS, "…");
            let percent = task.progress.as_ref().and_then(|progress| progress.percent);
            let percent = percent.map(|percent| format!(" {percent}%")).unwrap_or_default();
            let time = show::elapsed(now.since(task.created_at));
            let mark = paint(colour, style::GOOD, "▪");
            parts.push(format!("{mark} {name}{percent} {time}"));
        }
        let line = parts.join("  ");
        let line = truncate_str(&line, width, "…");
        let used = measure_text_width(&line);
        format!("{line}{}", " ".repeat(width.saturating_sub(used)))
    }
}

#[cfg(test)]
mod tests {
    use meanwhile_core::background::task::{OutputStat, Progress, State};

    use super::*;

    fn task(command: &str, label: Option<&str>, percent: Option<u8>) -> Task {
        Task {
            id: "0123abcd".parse().unwrap(),
            workspace: "/w".into(),
            queue: "s".to_owned(),
            label: label.map(str::to_owned),
            command: command.to_owned(),
            cwd: "/w".into(),
            pid: None,
            state: State::Running,
            created_at: Timestamp(1_000),
            deadline: None,
            output: OutputStat { total: 0, dropped: 0 },
            progress: Some(Progress { percent, message: None }),
            survivors: vec![],
            is_step: false,
            on: None,
            contact: None,
            job: None,
            delivered: None,
            serving: Default::default(),
            waits_for_input: false,
        }
    }

    #[test]
    fn the_line_says_what_goes_on_and_keeps_its_width() {
        let check = |status: &Status, rest: &str, expected: &str| {
            for width in [10, 80] {
                let line = status.line(Timestamp(13_000), rest, width, false);
                assert_eq!(measure_text_width(&line), width, "{line:?}");
                if width == 80 {
                    assert_eq!(line.trim_end(), expected);
                }
            }
        };
        let mut status = Status::default();
        assert!(!status.moves());
        check(&status, "", "");
        status.tasks = vec![
            task("cargo build", Some("build"), Some(41)),
            task("a very long command that says more than anybody wants", None, None),
        ];
        check(&status, "", "▪ build 41% 12s  ▪ a very long command tha… 12s");
        status.since = Some(Timestamp(11_000));
        status.doing = "asking".to_owned();
        status.tasks.truncate(1);
        check(&status, "", "⠇ asking 2.0s  ▪ build 41% 12s");
        check(&status, "I have", "⠇ I have  ▪ build 41% 12s");
        assert!(status.moves());
    }
}
