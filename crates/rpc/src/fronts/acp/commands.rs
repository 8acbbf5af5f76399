//! Commands that a person types in a prompt, such as `/tasks`. The program executes them, and the model is not told.
//!
//! A prompt that is one of them is answered at once, even if a turn is running or a prompt is held.

use meanwhile_core::agent::session::{Session, TurnEnd};
use meanwhile_core::background::Filter;
use meanwhile_core::background::task::{State, Task, Timestamp};
use meanwhile_core::background::words::{ended, one_line, queued, seconds};
use meanwhile_core::limits;

use crate::convert::error;
use crate::convert::{from_wire, update};
use crate::handlers::session::refused;
use crate::wire::{Error, acp};

/// A command that a person can type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Lists the running tasks.
    Tasks,
    /// Shows the end of a task's output.
    Output,
    /// Stops a task.
    Stop,
    /// Summarizes the conversation, to make room in the model's context.
    Compact,
}

/// For each command: its name, what it does, and its argument.
const COMMANDS: [(Command, &str, &str, Option<&str>); 4] = [
    (Command::Tasks, "tasks", "List the background tasks of this session", None),
    (Command::Output, "output", "Show the end of a task's output", Some("the id of a task")),
    (Command::Stop, "stop", "Stop a task", Some("the id of a task")),
    (Command::Compact, "compact", "Summarize the conversation, to make room in the context", None),
];

/// The maximum number of bytes of output to show.
const SHOWN_BYTES: u64 = 4_096;

/// The commands for a client's list.
pub(super) fn offered() -> acp::SessionUpdate {
    let commands = COMMANDS.map(|(_, name, about, hint)| {
        let input = hint.map(|hint| {
            acp::AvailableCommandInput::Unstructured(acp::UnstructuredCommandInput::new(hint))
        });
        acp::AvailableCommand::new(name, about).input(input)
    });
    acp::SessionUpdate::AvailableCommandsUpdate(acp::AvailableCommandsUpdate::new(
        commands.to_vec(),
    ))
}

/// The command that a prompt contains, and its argument. If more text follows, the prompt is for the model, because a
/// sentence may start with such a word.
pub(super) fn meant(prompt: &[acp::ContentBlock]) -> Option<(Command, String)> {
    let [acp::ContentBlock::Text(text)] = prompt else { return None };
    let typed = text.text.trim().strip_prefix('/')?;
    let (name, rest) = typed.split_once(char::is_whitespace).unwrap_or((typed, ""));
    let (command, _, _, hint) = COMMANDS.iter().find(|(_, of, ..)| *of == name)?;
    let most = usize::from(hint.is_some());
    (rest.split_whitespace().count() <= most).then(|| (*command, rest.trim().to_owned()))
}

/// Executes a command. Returns the text for the person.
///
/// # Errors
///
/// The store cannot be used, or the model did not write a summary.
pub(super) async fn run(
    command: Command,
    rest: &str,
    session: &Session,
) -> Result<(acp::StopReason, String), Error> {
    let text = match command {
        Command::Tasks => tasks(session).await?,
        Command::Output => match find(session, rest).await? {
            Ok(task) => output(session, &task).await?,
            Err(why) => why,
        },
        Command::Stop => match find(session, rest).await? {
            Ok(task) => stop(session, &task).await?,
            Err(why) => why,
        },
        Command::Compact => {
            let end = session.compact().await.map_err(refused)?;
            let text = match end == TurnEnd::EndTurn {
                true => "The conversation has been summarized.".to_owned(),
                false => String::new(),
            };
            return Ok((update::stop_reason(end).map_err(error::model_failed)?, text));
        }
    };
    Ok((acp::StopReason::EndTurn, text))
}

async fn tasks(session: &Session) -> Result<String, Error> {
    let (running, waiting) = session.unfinished().await.map_err(refused)?;
    let mut lines: Vec<String> = running.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("No task of this session runs.".to_owned());
    }
    match waiting {
        0 => {}
        1 => lines.push("\nOne result waits in the queue.".to_owned()),
        results => lines.push(format!("\n{results} results wait in the queue.")),
    }
    Ok(lines.join("\n"))
}

/// The line for a task in a list.
fn line(task: &Task) -> String {
    let how = match &task.state {
        State::Queued(why) => format!("queued, {}", queued(why)),
        State::Running => {
            format!("running for {}", seconds(Timestamp::now().since(task.created_at)))
        }
        State::Stopping { .. } => "stopping".to_owned(),
        State::Ended(_) => ended(task),
    };
    format!("- `{}` {how}: {}", task.id, fenced(&one_line(&task.command), "`"))
}

/// Puts a text between as many marks as it needs.
fn fenced(text: &str, mark: &str) -> String {
    let mut fence = mark.to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    match mark {
        "`" => format!("{fence} {text} {fence}"),
        _ => format!("{fence}\n{}\n{fence}", text.trim_end_matches('\n')),
    }
}

/// The task with this id, or the only one of this session whose id starts with it; `Err` is the text for the person.
async fn find(session: &Session, id: &str) -> Result<Result<Task, String>, Error> {
    if id.is_empty() {
        return Ok(Err("Which task? `/tasks` lists them.".to_owned()));
    }
    let filter = Filter { limit: Some(limits::LIST_LIMIT_MAX), steps: true, ..Filter::default() };
    let listed = session.background().list(filter).await.map_err(|why| error::from_core(&why))?;
    let queue = session.id().as_str();
    let is_meant = |it: &Task| match it.queue == queue {
        true => it.id.as_str().starts_with(id),
        // Another agent's task must be named by its full id, so that a prefix does not match it by chance.
        false => it.id.as_str() == id,
    };
    let mut fit: Vec<Task> = listed.into_iter().filter(is_meant).collect();
    Ok(match (fit.pop(), fit.len()) {
        (Some(task), 0) => Ok(task),
        (Some(_), more) => {
            Err(format!("{} tasks start with `{id}`: type more of the id.", more + 1))
        }
        (None, _) => {
            let id: String = id.chars().take(64).collect();
            Err(format!("There is no task {}. `/tasks` lists those that run.", fenced(&id, "`")))
        }
    })
}

async fn output(session: &Session, task: &Task) -> Result<String, Error> {
    let tail = session.background().tail(task.id, SHOWN_BYTES).await;
    let tail = tail.map_err(|why| error::from_core(&why))?;
    let text = String::from_utf8_lossy(&tail.data);
    Ok(match text.trim() {
        "" => format!("{}\n\nNo output.", line(task)),
        _ => format!("{}\n\n{}", line(task), fenced(&text, "```")),
    })
}

async fn stop(session: &Session, task: &Task) -> Result<String, Error> {
    if task.end().is_some() {
        return Ok(format!("It has ended already.\n\n{}", line(task)));
    }
    let how = from_wire::stop(None, None, "stopped by the person")?;
    match session.background().stop(task.id, how).await {
        Ok(task) => Ok(line(&task)),
        Err(meanwhile_core::Error::NotRunning { .. }) => {
            Ok(format!("Task `{}` ended in the meantime.", task.id))
        }
        Err(why) => Err(error::from_core(&why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(Command, &str)>) {
        let block = acp::ContentBlock::Text(acp::TextContent::new(text));
        let got = meant(&[block]);
        assert_eq!(got, expect.map(|(command, rest)| (command, rest.to_owned())), "{text:?}");
    }

    #[test]
    fn a_command_is_known_by_its_first_word() {
        check("/tasks", Some((Command::Tasks, "")));
        check(" /stop  0123abcd\n", Some((Command::Stop, "0123abcd")));
        check("/usr/bin is a path", None);
        check("/taskss", None);
        check("what does /tasks do?", None);
        assert_eq!(meant(&[]), None);
    }

    #[test]
    fn a_fence_is_longer_than_what_is_in_it() {
        assert_eq!(fenced("echo `pwd`", "`"), "`` echo `pwd` ``");
        assert_eq!(fenced("a\n```\nb\n", "```"), "````\na\n```\nb\n````");
    }
}
