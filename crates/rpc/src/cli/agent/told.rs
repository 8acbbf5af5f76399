//! Describes the agent's actions in lines for a person.
//!
//! Converts updates to text. Owns which calls are open: calls that only look run in parallel, so a line about one of
//! them has to name it. The model's own text is not shown here: it goes directly to standard output.

use meanwhile_core::agent::session::Update;
use meanwhile_core::agent::tools::PlanStatus;
use meanwhile_core::background::task::{Notification, NotificationKind};

use crate::cli::live::result_line;
use crate::cli::out::{paint, style};
use crate::cli::show;

/// The maximum number of characters of a line that is not cut to a screen.
const LINE_CHARS: usize = 200;

/// The open calls, oldest first: the id and the title of each.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<(String, String)>);

impl Lines {
    /// The lines for an update; none if it is shown elsewhere or not at all.
    pub(crate) fn of(&mut self, update: &Update, colour: bool) -> Vec<String> {
        if let Update::ToolCall { id, title, .. } = update {
            self.0.push((id.clone(), title.clone()));
        }
        let lines = lines(update, |id| self.name(id), colour);
        if let Update::ToolEnded { id, .. } = update {
            self.0.retain(|(open, _)| open != id);
        }
        lines
    }

    /// The prefix of a line about a call, if other calls are open too.
    fn name(&self, id: &str) -> String {
        match self.0.iter().find(|(open, _)| open == id) {
            Some((_, title)) if self.0.len() > 1 => format!("{}: ", cut(title)),
            Some(_) | None => String::new(),
        }
    }
}

fn lines(update: &Update, name: impl Fn(&str) -> String, colour: bool) -> Vec<String> {
    let mark = |sign: &str| paint(colour, style::LIVE, sign).to_string();
    let dim = |text: String| paint(colour, style::DIM, text).to_string();
    match update {
        Update::ToolRunning { confined: Some(mode), .. } => {
            vec![dim(format!("  confined: {}", mode.name()))]
        }
        Update::ToolCall { name, title, .. } => {
            let name = paint(colour, style::BOLD, name);
            vec![format!("{} {name}  {}", mark("▸"), cut(title))]
        }
        Update::ToolTask { id, task, background: true } => {
            vec![format!("  {}", dim(format!("{}in the background, as {}", name(id), task.id)))]
        }
        Update::ToolEnded { id, content, is_error: true, .. } => {
            let bad = paint(colour, style::BAD, cut(&why(content)));
            vec![format!("  {}{bad}", name(id))]
        }
        Update::Plan(entries) => entries
            .iter()
            .map(|entry| {
                let sign = match entry.status {
                    PlanStatus::Pending => "○",
                    PlanStatus::InProgress => "◐",
                    PlanStatus::Completed => "●",
                };
                format!("  {} {}", mark(sign), cut(&entry.content))
            })
            .collect(),
        Update::Background { notifications, text, .. } => match notifications.as_slice() {
            // The notifications are missing after a load, so use the text.
            [] => text
                .lines()
                .filter(|line| line.starts_with("[bg:"))
                .map(|line| format!("{} {}", mark("◂"), cut(line)))
                .collect(),
            told => {
                told.iter().map(|one| format!("{} {}", mark("◂"), heard(one, colour))).collect()
            }
        },
        // It may contain the path of a file, so do not cut it.
        Update::Notice(text) => vec![dim(show::one_line(first_line(text)))],
        Update::Retrying { attempt, delay, why } => {
            let text = format!(
                "the model call failed: {}; attempt {attempt} in {}",
                cut(why),
                show::elapsed(*delay)
            );
            vec![paint(colour, style::ODD, text).to_string()]
        }
        Update::ToolTask { background: false, .. }
        | Update::ToolEnded { is_error: false, .. }
        | Update::TurnStarted { .. }
        | Update::TurnEnded { .. }
        | Update::Prompt(_)
        | Update::Image(_)
        | Update::Text(_)
        | Update::Thinking(_)
        | Update::ToolRunning { confined: None, .. }
        | Update::Ask(_)
        | Update::Usage { .. }
        | Update::Answer { .. }
        | Update::Title(_)
        | Update::Traced(_) => Vec::new(),
    }
}

/// The line for a result: `b3f9c2a1  exit 0 after 3.2s: cargo build`.
fn heard(notification: &Notification, colour: bool) -> String {
    let task = &notification.task;
    match &notification.kind {
        NotificationKind::Exited => result_line(task, colour),
        NotificationKind::Matched(found) => {
            format!("{}  {}: {}", task.id, show::one_line(&task.command), cut(&found.line))
        }
        NotificationKind::Stalled => {
            format!("{}  waits for input: {}", task.id, show::one_line(&task.command))
        }
    }
}

/// Why a call failed: its first line and, for a command that failed, the last line of its output.
fn why(content: &str) -> String {
    let first = first_line(content);
    let said = content.lines().skip(1).filter(|line| !line.trim().is_empty());
    // Lines in parentheses are for the model.
    match said.filter(|line| !line.starts_with('(')).last() {
        Some(last) if first.starts_with("exited ") => format!("{first}: {}", last.trim()),
        Some(_) | None => first.to_owned(),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default()
}

fn cut(text: &str) -> String {
    let line = show::one_line(text);
    match line.char_indices().nth(LINE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use meanwhile_core::agent::tools::Kind;

    use super::*;

    fn call(id: &str, title: &str) -> Update {
        Update::ToolCall {
            id: id.to_owned(),
            name: "bash".to_owned(),
            title: title.to_owned(),
            kind: Kind::Execute,
            input: serde_json::value::to_raw_value(&serde_json::json!({})).expect("JSON"),
            locations: Vec::new(),
        }
    }

    fn failed(id: &str) -> Update {
        let (id, content) = (id.to_owned(), "exited 1\n".to_owned());
        Update::ToolEnded { id, content, is_error: true, denied: false, diff: None, task: None }
    }

    #[test]
    fn a_command_that_failed_says_why() {
        assert_eq!(
            why("exited 1 after 0.0s\ncat: x: No such file\n(it ran confined)\n"),
            "exited 1 after 0.0s: cat: x: No such file"
        );
        assert_eq!(why("exited 7 after 0.0s\n(no output)\n"), "exited 7 after 0.0s");
        assert_eq!(why("error: no such tool\nx"), "error: no such tool");
    }

    #[test]
    fn what_comes_of_a_call_names_it_where_others_run() {
        let mut told = Lines::default();
        for update in [call("1", "cat a"), call("2", "cat b")] {
            told.of(&update, false);
        }
        assert_eq!(told.of(&failed("1"), false), ["  cat a: exited 1"]);
        assert_eq!(told.of(&failed("2"), false), ["  exited 1"]);
    }
}
