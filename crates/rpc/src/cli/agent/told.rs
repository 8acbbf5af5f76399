//! What an agent does, in lines for a person.
//!
//! Updates become text. Owns which calls are open, since those that look run side by side, and what comes of
//! one must name it then. What the model says itself is not here: it goes to standard output as it comes.

use meanwhile_core::agent::session::Update;
use meanwhile_core::agent::tools::PlanStatus;
use meanwhile_core::background::task::{Notification, NotificationKind};

use crate::cli::live::result_line;
use crate::cli::out::{paint, style};
use crate::cli::show;

/// Most characters of a line that is not cut to a screen.
const LINE_CHARS: usize = 200;

/// The calls that run, oldest first: the id and the title of each.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<(String, String)>);

impl Lines {
    /// The lines an update is worth; none for what is shown otherwise or not at all.
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

    /// What a line about a call begins with, where it could be about another one.
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
            // As after a load.
            [] => text
                .lines()
                .filter(|line| line.starts_with("[bg:"))
                .map(|line| format!("{} {}", mark("◂"), cut(line)))
                .collect(),
            told => {
                told.iter().map(|one| format!("{} {}", mark("◂"), heard(one, colour))).collect()
            }
        },
        // It may name a file, whose path is of no use when it is cut.
        Update::Notice(text) => vec![dim(show::one_line(first_line(text)))],
        Update::Retrying { attempt, delay, why } => {
            let text = format!(
                "the model could not be asked: {}; attempt {attempt} in {}",
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

/// What a result says: `b3f9c2a1  exit 0 after 3.2s: cargo build`.
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

/// Why a call failed: its first line, and of a command that ended badly what it said last.
fn why(content: &str) -> String {
    let first = first_line(content);
    let said = content.lines().skip(1).filter(|line| !line.trim().is_empty());
    // What stands in brackets is told to the model.
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
