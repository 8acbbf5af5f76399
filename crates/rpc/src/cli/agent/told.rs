//! What an agent does, in lines for a person.
//!
//! Pure functions from updates to text. What the model says itself is not here: it goes to standard
//! output as it comes.

use meanwhile_core::agent::session::Update;
use meanwhile_core::agent::tools::PlanStatus;
use meanwhile_core::background::task::{Notification, NotificationKind};

use crate::cli::live::result_line;
use crate::cli::out::{paint, style};
use crate::cli::show;

/// Most characters of a line that is not cut to a screen.
const LINE_CHARS: usize = 200;

/// The lines an update is worth; none for what is shown otherwise or not at all.
pub(crate) fn lines(update: &Update, colour: bool) -> Vec<String> {
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
        Update::ToolTask { task, background: true, .. } => {
            vec![format!("  {}", dim(format!("in the background, as {}", task.id)))]
        }
        Update::ToolEnded { content, is_error: true, .. } => {
            let bad = paint(colour, style::BAD, cut(first_line(content)));
            vec![format!("  {bad}")]
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
        Update::Notice(text) => vec![dim(cut(first_line(text)))],
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
        | Update::Text(_)
        | Update::Thinking(_)
        | Update::ToolRunning { confined: None, .. }
        | Update::Ask(_)
        | Update::Usage { .. }
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
