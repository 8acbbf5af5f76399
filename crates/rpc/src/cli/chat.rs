//! `meanwhile chat`: a conversation in the terminal.
//!
//! The person can type a line at the bottom at any time, also while the agent works: its output appears above, a
//! prompt typed in the meantime waits for its turn, and a task that ends wakes the agent automatically. The status
//! line above the prompt shows what the agent does and which tasks run. Ctrl-C ends the turn and never a task; Ctrl-D
//! exits, and reports what keeps running.

mod editor;
mod flow;
mod status;

use std::collections::VecDeque;
use std::time::Duration;

use meanwhile_core::agent::session::{self, Answer, Ask, TurnEnd, Update};
use meanwhile_core::agent::tools::Diff;
use meanwhile_core::agent::trace::{Event as Traced, Fact};
use meanwhile_core::background::Event;
use meanwhile_core::background::task::{Task, Timestamp};
use tokio::task::JoinSet;

use super::agent::told::Lines;
use super::agent::{self, Drive, Wish};
use super::args;
use super::failure::Failure;
use super::out::{self, paint, style};
use super::session::Session;
use super::show;
use crate::convert::update::like;
use crate::state_dir;
use editor::{Editor, Line};
use flow::Flow;
use status::Status;

/// How often the status line is redrawn.
const TICK: Duration = Duration::from_millis(120);

const HELP: &str = "\
/tasks      the tasks of this session that run
/quit       leave (as Ctrl-D does); tasks go on
Ctrl-C      end the turn that runs; tasks go on
A prompt that is typed while a turn runs waits for it.";

pub(crate) async fn run(session: &mut Session, args: args::Chat) -> Result<u8, Failure> {
    let Session { background, events, .. } = session;
    let wish = Wish { flags: &args.agent, can_ask: true, wake: None, detaches: false };
    let mut drive = agent::open(background, wish).await?;
    let mut editor = Editor::open(state_dir::find().map_err(Failure::new)?.join("chat_history"))?;
    let mut chat = Chat::new(&editor, drive.session.id().to_string());
    chat.say(&format!(
        "{}  {}",
        paint(chat.colour, style::BOLD, drive.session.model()),
        paint(chat.colour, style::DIM, format_args!("session {}", drive.session.id()))
    ));
    drive.replay(|update| chat.said_before(update)).await;
    chat.flush();
    let (running, _) = drive.session.unfinished().await.map_err(agent::refused)?;
    chat.status.tasks = running;
    chat.draw();

    let patience = args.agent.patience;
    let mut turns: JoinSet<Result<TurnEnd, session::Error>> = JoinSet::new();
    let mut tick = tokio::time::interval(TICK);
    let mut open = true;
    // When standard input is not a terminal, it may end early; its prompts are still answered.
    while open || !turns.is_empty() {
        tokio::select! {
            biased;
            update = drive.next() => match update {
                Some(update) => chat.update(update),
                None => break,
            },
            Some(event) = events.next() => chat.event(event),
            Some(done) = turns.join_next() => {
                if let Ok(Err(error)) = done {
                    chat.bad(&error.to_string());
                }
            }
            line = editor.next(), if open => match line {
                Line::Text(text) => match chat.typed(&text) {
                    Typed::Prompt => {
                        let session = drive.session.clone();
                        turns.spawn(async move { session.prompt_for(text, patience).await });
                        editor.go_on();
                    }
                    Typed::Handled => editor.go_on(),
                    Typed::Quit => break,
                },
                Line::Interrupted => {
                    if !drive.cancel() && !drive.is_busy() {
                        chat.dim("no turn is running; Ctrl-D exits");
                    }
                    editor.go_on();
                }
                Line::End if editor.is_interactive() => break,
                Line::End => open = false,
            },
            _ = tick.tick(), if chat.status.moves() => chat.draw(),
        }
    }
    if !editor.is_interactive() {
        finish(&mut drive, &mut chat).await?;
    }
    chat.flush();
    drop(editor);
    let session = drive.session.clone();
    drive.close().await;
    let (running, waiting) = session.unfinished().await.map_err(agent::refused)?;
    if !agent::report(&session, &running, waiting) {
        agent::says_how_to_go_on(&session);
    }
    Ok(0)
}

/// Shows the session's updates until it has nothing left to do.
async fn finish(drive: &mut Drive, chat: &mut Chat) -> Result<(), Failure> {
    let session = drive.session.clone();
    let shown = |update| {
        chat.update(update);
        Ok(())
    };
    drive.until(session.idle(), shown).await.map(drop)
}

/// The kinds of typed lines.
enum Typed {
    /// A prompt for the agent.
    Prompt,
    /// A command of `chat`, already handled.
    Handled,
    /// The command to exit.
    Quit,
}

/// The state of the screen, and the questions that wait for an answer.
struct Chat {
    screen: editor::Screen,
    colour: bool,
    lines: Lines,
    session: String,
    flow: Flow,
    status: Status,
    asks: VecDeque<Ask>,
}

impl Chat {
    fn new(editor: &Editor, session: String) -> Self {
        let screen = editor.screen();
        let colour = out::stdout_colour();
        Self {
            screen,
            colour,
            lines: Lines::default(),
            session,
            flow: Flow::default(),
            status: Status::default(),
            asks: VecDeque::new(),
        }
    }

    /// Prints a line above the prompt.
    fn say(&mut self, line: &str) {
        self.screen.print(line);
    }

    fn dim(&mut self, text: &str) {
        let line = paint(self.colour, style::DIM, text).to_string();
        self.say(&line);
    }

    fn bad(&mut self, text: &str) {
        let line = format!("{} {text}", paint(self.colour, style::ERROR, "error:"));
        self.say(&line);
    }

    fn draw(&mut self) {
        if !self.screen.is_interactive() {
            return;
        }
        let width = self.screen.width();
        let line = self.status.line(Timestamp::now(), self.flow.rest(), width, self.colour);
        self.screen.status(line);
    }

    /// Shows earlier updates of a resumed session: the messages, not each step.
    fn said_before(&mut self, update: Update) {
        match update {
            Update::Prompt(text) => {
                self.flush();
                let mark = paint(self.colour, style::LIVE, "›");
                let line = format!("{mark} {}", show::harmless(&text));
                self.say(&line);
            }
            Update::Text(text) => self.text(&text),
            other @ (Update::TurnStarted { .. }
            | Update::Image(_)
            | Update::Thinking(_)
            | Update::Retrying { .. }
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
            | Update::Traced(_)
            | Update::TurnEnded { .. }) => self.show(&other),
        }
    }

    fn update(&mut self, update: Update) {
        match update {
            Update::Text(text) => {
                self.status.doing = "answering".to_owned();
                self.text(&text);
            }
            Update::Thinking(_) => self.status.doing = "thinking".to_owned(),
            Update::TurnStarted { .. } => {
                self.status.since = Some(Timestamp::now());
                self.status.doing = "asking".to_owned();
            }
            Update::Traced(Traced { fact: Fact::CallStarted { .. }, .. }) => {
                self.status.doing = "asking".to_owned();
            }
            Update::Traced(Traced { fact: Fact::CallEnded { .. }, .. }) => self.flush(),
            Update::TurnEnded { end, .. } => {
                self.status.since = None;
                // The turn is over, so no call waits for an answer.
                self.asks.clear();
                self.flush();
                self.ended(end);
            }
            Update::Ask(ask) => {
                self.flush();
                self.asks.push_back(ask);
                if self.asks.len() == 1 {
                    self.question();
                }
            }
            other @ (Update::Prompt(_)
            | Update::Image(_)
            | Update::Retrying { .. }
            | Update::ToolCall { .. }
            | Update::ToolRunning { .. }
            | Update::ToolTask { .. }
            | Update::ToolEnded { .. }
            | Update::Plan(_)
            | Update::Background { .. }
            | Update::Notice(_)
            | Update::Usage { .. }
            | Update::Answer { .. }
            | Update::Title(_)
            | Update::Traced(_)) => {
                if let Update::ToolCall { title, .. } = &other {
                    self.status.doing = show::one_line(title);
                }
                self.show(&other);
            }
        }
        self.draw();
    }

    fn show(&mut self, update: &Update) {
        let lines = self.lines.of(update, self.colour);
        if !lines.is_empty() {
            self.flush();
        }
        for line in lines {
            self.say(&line);
        }
    }

    fn text(&mut self, text: &str) {
        let width = self.screen.width();
        for row in self.flow.add(text, width) {
            self.say(&row);
        }
    }

    /// Prints the incomplete last line of an answer.
    fn flush(&mut self) {
        if let Some(row) = self.flow.end() {
            self.say(&row);
        }
    }

    fn ended(&mut self, end: TurnEnd) {
        match end {
            TurnEnd::EndTurn => {}
            TurnEnd::Cancelled => self.dim("cancelled"),
            TurnEnd::MaxTokens => self.dim("the answer reached its maximum length and was cut off"),
            TurnEnd::MaxCalls => {
                self.dim(
                    "the turn reached the maximum number of model calls; a prompt continues it",
                );
            }
            TurnEnd::Refusal => self.dim("the model declined to go on"),
            TurnEnd::Failed(why) => self.bad(&why),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Started(task) => self.track(task),
            Event::Exited(notification) => {
                self.status.tasks.retain(|task| task.id != notification.task.id);
            }
            Event::Changed { running, .. } => {
                self.status.tasks.retain(|task| running.contains(&task.id));
            }
            Event::Progress { id, progress } => {
                if let Some(task) = self.status.tasks.iter_mut().find(|task| task.id == id) {
                    task.progress = Some(progress);
                }
            }
            Event::Began { .. }
            | Event::Output { .. }
            | Event::Listening { .. }
            | Event::State(_)
            | Event::Notified(_) => return,
        }
        self.draw();
    }

    fn track(&mut self, task: Task) {
        let known = self.status.tasks.iter().any(|known| known.id == task.id);
        // A step is shown by its call's line, and arrives again when it continues in the background.
        if task.queue == self.session && task.end().is_none() && !task.is_step && !known {
            self.status.tasks.push(task);
        }
    }

    fn question(&mut self) {
        let Some(ask) = self.asks.front() else { return };
        let colour = self.colour;
        // Show the whole command: a person cannot agree to what they do not see.
        let command = serde_json::from_str(ask.input.get())
            .ok()
            .and_then(|input: serde_json::Value| Some(input.get("command")?.as_str()?.to_owned()));
        let asked = command.map_or_else(|| ask.question.clone(), |it| format!("run {it}"));
        let title = paint(colour, style::BOLD, show::one_line(&asked));
        let mark = paint(colour, style::ODD, "?");
        let why = paint(colour, style::DIM, show::one_line(&ask.why));
        let always = like(ask).map(|like| format!(", a: always {like}, never: never {like}"));
        let always = always.unwrap_or_default();
        let confined = if ask.can_confine { ", c: yes, confined to the workspace" } else { "" };
        let change = ask.change.as_ref().map(Diff::unified).unwrap_or_default();
        self.say(&format!("{mark} may the agent {title}?  {why}"));
        change.lines().for_each(|line| self.say(&format!("  {}", show::harmless(line))));
        self.say(&format!("  y: yes{confined}, n: no{always}"));
    }

    fn typed(&mut self, text: &str) -> Typed {
        let text = text.trim();
        if let Some(ask) = self.asks.front() {
            if let Some(answer) = answer(text, !ask.always.is_empty(), ask.can_confine) {
                if let Some(ask) = self.asks.pop_front() {
                    // Fails if the turn has ended in the meantime.
                    let _ = ask.reply.send(answer);
                }
                self.question();
                return Typed::Handled;
            }
            if !text.is_empty() && !is_command(text) {
                self.dim(
                    "that is not an answer and waits as your next prompt; the question is still open",
                );
            }
            self.question();
        }
        match text {
            "" => Typed::Handled,
            "/quit" | "/exit" => Typed::Quit,
            "/help" => {
                self.say(HELP);
                Typed::Handled
            }
            "/tasks" => {
                self.tasks();
                Typed::Handled
            }
            command if is_command(command) => {
                self.dim("no such command; /help lists them");
                Typed::Handled
            }
            _ => Typed::Prompt,
        }
    }

    fn tasks(&mut self) {
        if self.status.tasks.is_empty() {
            self.dim("no task runs");
        }
        let now = Timestamp::now();
        for task in self.status.tasks.clone() {
            let id = paint(self.colour, style::BOLD, task.id);
            let time = show::elapsed(now.since(task.created_at));
            self.say(&format!("{id}  {time}  {}", show::one_line(&task.command)));
        }
    }
}

/// Whether a line looks like a command of `chat` instead of a path.
fn is_command(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(|word| word.bytes().all(|b| b.is_ascii_lowercase()))
}

/// The answer to a question; `None` if the line is not an answer.
fn answer(text: &str, can_remember: bool, can_confine: bool) -> Option<Answer> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(Answer::Allow),
        "c" | "confined" if can_confine => Some(Answer::AllowConfined),
        "n" | "no" => Some(Answer::Reject),
        "a" | "always" if can_remember => Some(Answer::AllowAlways),
        "never" if can_remember => Some(Answer::RejectAlways),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clear_words_are_answers() {
        let check = |text: &str, can_remember: bool, expected: Option<Answer>| {
            assert_eq!(answer(text, can_remember, can_remember), expected, "{text:?}");
        };
        check("y", false, Some(Answer::Allow));
        check("YES", true, Some(Answer::Allow));
        check("n", false, Some(Answer::Reject));
        check("c", true, Some(Answer::AllowConfined));
        check("c", false, None);
        check("a", true, Some(Answer::AllowAlways));
        check("always", false, None);
        check("never", true, Some(Answer::RejectAlways));
        check("never", false, None);
        check("", true, None);
        check("yes please", true, None);
    }
}
