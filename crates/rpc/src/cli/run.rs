//! `meanwhile run`: the agent does one thing, and the command exits when it has finished.
//!
//! Answers of the model go to standard output, everything else to standard error. If standard output is not a
//! terminal, an answer is written when it is complete, so that a call that failed halfway and was repeated does not
//! appear twice in a file.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read};
use std::time::Duration;

use meanwhile_core::agent::session::{Session as Agent, TurnEnd, Update, Wake};
use meanwhile_core::agent::story::Story;
use meanwhile_core::agent::trace::{Event, Fact};
use meanwhile_core::background::task::Task;
use meanwhile_core::background::{Background, Mode, Which};
use meanwhile_core::limits;
use serde_json::json;

use super::agent::told::Lines;
use super::agent::{self, Drive, Driven, Wish};
use super::args::{self, AtEnd};
use super::failure::Failure;
use super::out::{self, Out};
use super::session::Session;
use super::show;
use crate::convert::to_wire;
use crate::convert::update::{Teller, Told, stop_reason};
use crate::fronts::lsp::Named;

pub(crate) async fn run(session: &mut Session, args: args::Run) -> Result<u8, Failure> {
    let Session { background, out, .. } = session;
    let prompt = prompt(&args.prompt)?;
    let wait = args.at_end == AtEnd::Wait;
    let wish = Wish {
        flags: &args.agent,
        can_ask: false,
        wake: Some(if wait { Wake::On } else { Wake::Queue }),
        detaches: args.at_end == AtEnd::Detach,
    };
    let mut drive = agent::open(background, wish).await?;
    let session = drive.session.clone();
    let mut show = match args.json {
        true => {
            let story = Agent::story(session.background(), session.id().as_str()).await;
            Show::json(out, &session, story.map_err(agent::refused)?)?
        }
        false => Show::text(out),
    };
    // The person has seen the earlier conversation of a resumed session.
    drive.replay(drop).await;
    let worked = work(background, &mut drive, &mut show, prompt, args.agent.patience, wait).await;
    // Whatever the result: stop the tasks that are to be stopped, and report the others.
    drive.close().await;
    let left = leave(background, &session, &args).await;
    let (end, (running, waiting)) = (worked?, left?);
    show.end(&end, &running, waiting)?;
    let is_told = args.json || !running.is_empty() || waiting > 0;
    let code = match end.code() {
        Ok(0) => 0,
        Ok(code) if is_told => code,
        Ok(code) => {
            agent::says_how_to_go_on(&session);
            code
        }
        Err(failure) if is_told => return Err(failure),
        Err(failure) => return Err(failure.hint(agent::how_to_go_on(&session))),
    };
    Ok(if code == 0 && !show.denied.is_empty() { DENIED } else { code })
}

/// The exit code of a run that finished, but in which something was denied.
const DENIED: u8 = 3;

/// Stops tasks unless they are to keep running, and reports what is left: the running tasks, and the number of
/// waiting results.
async fn leave(
    background: &Background,
    session: &Agent,
    args: &args::Run,
) -> Result<(Vec<Task>, u64), Failure> {
    let (mut running, waiting) = session.unfinished().await.map_err(agent::refused)?;
    if args.at_end == AtEnd::Stop && !running.is_empty() {
        agent::stop(background, &running, "the run that started it has ended").await?;
        if !args.json {
            for task in &running {
                out::note(format_args!("stopped {}  {}", task.id, show::one_line(&task.command)));
            }
        }
        running.clear();
    }
    if !args.json {
        agent::report(session, &running, waiting);
    }
    Ok((running, waiting))
}

/// How a run ended.
enum End {
    /// The last turn ended in this way.
    Turn(TurnEnd),
    /// The person exited with Ctrl-C.
    Left,
}

impl End {
    fn code(self) -> Result<u8, Failure> {
        let why = match self {
            Self::Turn(TurnEnd::EndTurn) => return Ok(0),
            Self::Turn(TurnEnd::Cancelled) | Self::Left => return Ok(show::INTERRUPTED),
            Self::Turn(TurnEnd::MaxTokens) => {
                "the answer was cut off: it reached the model's maximum length".to_owned()
            }
            Self::Turn(TurnEnd::MaxCalls) => {
                return Err(Failure::new(
                    "the turn was ended: it reached the maximum number of model calls",
                )
                .hint("`calls_per_turn` in the settings sets this number"));
            }
            Self::Turn(TurnEnd::Refusal) => "the model declined to go on".to_owned(),
            Self::Turn(TurnEnd::Failed(why)) => why,
        };
        Err(Failure::new(why))
    }
}

/// Lets the agent work on the prompt and, with `wait`, until its background tasks have ended.
async fn work(
    background: &Background,
    drive: &mut Drive,
    show: &mut Show<'_>,
    prompt: String,
    patience: Duration,
    wait: bool,
) -> Result<End, Failure> {
    let session = drive.session.clone();
    let mut end = match drive
        .until(session.prompt_for(prompt, patience), |update| show.update(update))
        .await?
    {
        Driven::Done(end) => end.map_err(agent::refused)?,
        Driven::Left => return Ok(End::Left),
    };
    let go_on = |end: &TurnEnd| matches!(end, TurnEnd::EndTurn | TurnEnd::Cancelled);
    let mut settled = false;
    while wait && go_on(&end) {
        let mut last = None;
        let idle = drive.until(session.idle(), |update| show.turn(update, &mut last)).await?;
        if let Driven::Left = idle {
            return Ok(End::Left);
        }
        let is_over = settled && last.is_none();
        // If results started another turn, its end counts.
        end = last.unwrap_or(end);
        let (running, _) = session.unfinished().await.map_err(agent::refused)?;
        if running.is_empty() {
            // A task that ended since the session became idle has started a turn by now, or soon will: the run is
            // over if the session is idle again without such a turn. Results that still wait have to wait longer,
            // because the limit of such turns per hour is reached.
            if is_over {
                break;
            }
            settled = true;
            continue;
        }
        settled = false;
        show.waits(&running)?;
        let ids = running.iter().map(|task| task.id).collect();
        let ended = background.wait(Which::Ids(ids), Mode::Any, limits::TIME_MAX);
        let mut last = None;
        match drive.until(ended, |update| show.turn(update, &mut last)).await? {
            Driven::Done(waited) => drop(waited?),
            Driven::Left => return Ok(End::Left),
        }
        end = last.unwrap_or(end);
    }
    Ok(End::Turn(end))
}

/// Moves arguments that cannot be options behind a `--` at the end of the command line, because a prompt may begin
/// with a dash, as a Markdown list or a diff does.
pub(crate) fn with_prompt(line: Vec<OsString>) -> Vec<OsString> {
    let is = |word: &OsString, text: &str| word == OsStr::new(text);
    // Only `--workspace DIR` can precede the command.
    let at = match line.get(1).map(|word| word.to_string_lossy()).as_deref() {
        Some("--workspace") => 3,
        Some(word) if word.starts_with("--workspace=") => 2,
        Some(_) | None => 1,
    };
    let runs = line.get(at).is_some_and(|word| is(word, "run"));
    if !runs || line.iter().any(|word| is(word, "--")) {
        return line;
    }
    let is_prompt = |word: &OsString| {
        let word = word.to_string_lossy();
        let name = word.split('=').next().unwrap_or_default();
        word.starts_with("---") || (word.starts_with('-') && name.contains(char::is_whitespace))
    };
    let (mut kept, mut prompt) = (line[..=at].to_vec(), Vec::new());
    for word in &line[at + 1..] {
        if is_prompt(word) { &mut prompt } else { &mut kept }.push(word.clone());
    }
    if !prompt.is_empty() {
        kept.push("--".into());
        kept.extend(prompt);
    }
    kept
}

/// The prompt: the arguments, or standard input.
fn prompt(words: &[String]) -> Result<String, Failure> {
    let text = match words {
        [dash] if dash == "-" => read_input()?,
        [] if !std::io::stdin().is_terminal() => read_input()?,
        [] => {
            return Err(Failure::usage("the prompt is missing")
                .hint("`meanwhile run 'fix the failing test'`, or `-` to read standard input"));
        }
        words => words.join(" "),
    };
    match text.trim() {
        "" => Err(Failure::usage("the prompt is empty; expected some text")),
        text => Ok(text.to_owned()),
    }
}

fn read_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| {
        Failure::new(format!(
            "cannot read standard input: {}",
            meanwhile_core::background::words::reason(&error)
        ))
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Shows the session's updates.
struct Show<'a> {
    out: &'a mut Out,
    form: Form,
    /// The titles of the tool calls, by their ids.
    titles: HashMap<String, String>,
    /// The titles of the calls that were denied.
    denied: Vec<String>,
}

enum Form {
    /// For a person. `held` is the part of an answer that has not been written.
    Text { colour: bool, lines: Lines, held: String, ends_line: bool, told_wait: bool },
    /// For a program, as JSON lines.
    Json(Box<Teller>),
}

impl<'a> Show<'a> {
    fn text(out: &'a mut Out) -> Self {
        let colour = out::stderr_colour();
        let (lines, held) = (Lines::default(), String::new());
        let form = Form::Text { colour, lines, held, ends_line: true, told_wait: false };
        Self { out, form, titles: HashMap::new(), denied: Vec::new() }
    }

    fn json(out: &'a mut Out, session: &Agent, story: Story) -> Result<Self, Failure> {
        let id = session.id().to_string();
        out.json(&json!({"session": {"sessionId": id, "model": session.model()}}))?;
        let form = Form::Json(Box::new(Teller::new(id, story)));
        Ok(Self { out, form, titles: HashMap::new(), denied: Vec::new() })
    }

    /// Shows an update. If it is the end of a turn, `last` is set to it.
    fn turn(&mut self, update: Update, last: &mut Option<TurnEnd>) -> Result<(), Failure> {
        if let Update::TurnEnded { end, .. } = &update {
            *last = Some(end.clone());
        }
        self.update(update)
    }

    fn update(&mut self, update: Update) -> Result<(), Failure> {
        if let Update::ToolCall { id, name, title, .. } = &update {
            self.titles.insert(id.clone(), format!("{name} {title}"));
        }
        if let Update::ToolEnded { id, denied: true, .. } = &update {
            self.denied.extend(self.titles.remove(id));
        }
        let Self { out, form, .. } = self;
        match form {
            Form::Json(teller) => match teller.tell(update) {
                Some(Told::Push(push)) => out.json(&Named::new(&push)),
                // Nothing can be asked here; dropping a question rejects it.
                Some(Told::Ask(_)) | None => Ok(()),
            },
            Form::Text { colour, lines, held, ends_line, .. } => {
                match &update {
                    Update::Text(text) if out.terminal => {
                        out.raw(show::harmless(text).as_bytes())?;
                        out.flush()?;
                        *ends_line = text.ends_with('\n');
                    }
                    Update::Text(text) => held.push_str(text),
                    // Discard the output of the failed call.
                    Update::Retrying { .. } => held.clear(),
                    Update::Traced(Event { fact: Fact::CallEnded { .. }, .. })
                    | Update::TurnEnded { .. } => {
                        let text = std::mem::take(held);
                        if !text.is_empty() {
                            out.raw(text.as_bytes())?;
                            *ends_line = text.ends_with('\n');
                        }
                        if !std::mem::replace(ends_line, true) {
                            out.line("")?;
                        }
                        out.flush()?;
                    }
                    Update::TurnStarted { .. }
                    | Update::Prompt(_)
                    | Update::Image(_)
                    | Update::Thinking(_)
                    | Update::ToolCall { .. }
                    | Update::ToolRunning { .. }
                    | Update::ToolTask { .. }
                    | Update::ToolEnded { .. }
                    | Update::Plan(_)
                    | Update::Background { .. }
                    | Update::Notice(_)
                    | Update::Ask(_)
                    | Update::Usage { .. }
                    | Update::Answer { .. }
                    | Update::Title(_)
                    | Update::Traced(_) => {}
                }
                let lines = lines.of(&update, *colour);
                if !lines.is_empty() && !std::mem::replace(ends_line, true) {
                    out.line("")?;
                    out.flush()?;
                }
                lines.iter().for_each(out::note);
                Ok(())
            }
        }
    }

    /// Prints, once, which tasks the run is waiting for.
    fn waits(&mut self, running: &[Task]) -> Result<(), Failure> {
        if let Form::Text { told_wait, .. } = &mut self.form
            && !std::mem::replace(told_wait, true)
        {
            let names: Vec<String> =
                running.iter().map(|task| show::one_line(&task.command)).collect();
            out::remark(format_args!(
                "waiting for {} in the background; Ctrl-C exits without waiting",
                names.join(", ")
            ));
        }
        Ok(())
    }

    /// Prints the last line for a program.
    fn end(&mut self, end: &End, running: &[Task], waiting: u64) -> Result<(), Failure> {
        let Form::Json(_) = &self.form else { return Ok(()) };
        let (reason, error) = match end {
            End::Left => (Some(json!("cancelled")), None),
            End::Turn(end) => match stop_reason(end.clone()) {
                Ok(reason) => (Some(json!(reason)), None),
                Err(why) => (None, Some(why)),
            },
        };
        let mut result = json!({"unfinished": to_wire::tasks(running), "undelivered": waiting});
        if !self.denied.is_empty() {
            result["denied"] = json!(self.denied);
        }
        if let Some(reason) = reason {
            result["stopReason"] = reason;
        }
        if let Some(error) = error {
            result["error"] = error.into();
        }
        self.out.json(&json!({"result": result}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_may_begin_with_a_dash() {
        let check = |line: &[&str], want: &[&str]| {
            let line = line.iter().map(OsString::from).collect();
            assert_eq!(with_prompt(line), want.iter().map(OsString::from).collect::<Vec<_>>());
        };
        check(&["mw", "run", "- fix\n- it"], &["mw", "run", "--", "- fix\n- it"]);
        let named = ["mw", "--workspace", "run", "run", "- x"];
        check(&named, &["mw", "--workspace", "run", "run", "--", "- x"]);
        let words = ["mw", "spawn", "npm", "run", "lint", "--ext .ts", "src"];
        check(&words, &words);
        check(&["mw", "run", "---", "--json"], &["mw", "run", "--json", "--", "---"]);
        check(&["mw", "run", "--allow=bash ls", "x"], &["mw", "run", "--allow=bash ls", "x"]);
        check(&["mw", "run", "-", "--jsn"], &["mw", "run", "-", "--jsn"]);
        check(&["mw", "run", "--", "- a b"], &["mw", "run", "--", "- a b"]);
        check(&["mw", "spawn", "- a b"], &["mw", "spawn", "- a b"]);
    }
}
