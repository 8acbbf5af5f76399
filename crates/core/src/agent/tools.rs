//! The tools of the agent: what a model can do, and the result of each call.
//!
//! This module owns the names ([`ToolName`]), the descriptions and the arguments that the model sees, and the
//! execution of calls on [`Background`] and on files. It decides nothing about permission: [`Toolbox::read`]
//! reports what a call would touch ([`Access`]), and its caller asks for permission first. It never touches the
//! history: it returns an [`Outcome`].
//!
//! A call is parsed once, by [`Toolbox::read`], into an action. So the action that is checked and the one that is
//! executed are the same, paths included.

mod alike;
mod args;
mod blocking;
mod call;
mod commands;
mod edit;
mod editor;
mod encoding;
mod files;
mod held;
mod name;
mod output;
mod paths;
mod review;
mod schema;
mod search;
mod shell;
mod tasks;
mod text;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::message::ToolCall;
use super::provider::Tool;
use super::servers::Offered;
use crate::background::task::{DeliveredBy, Task, TaskId};
use crate::background::{Background, Token};
use crate::confine::{Confine, Mode};
use crate::limits;

pub(super) use commands::read_end;
pub use editor::{Editor, EditorRequest};
pub(crate) use held::Held;
pub use name::{Builtin, ToolName};
pub(super) use name::{EXTERNAL, Subject};
pub(super) use paths::follow;
pub(super) use text::clean;

use call::Action;
use search::{Glob, Grep};

/// Limits of the tools (`config.toml`, section `agent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// How long `bash` waits before the command moves to the background. Default 10 s.
    pub yield_after: Duration,
    /// Maximum bytes of one tool result. Default 16 KiB.
    pub result_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { yield_after: Duration::from_secs(10), result_bytes: 16 << 10 }
    }
}

/// The tools of one session. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Toolbox {
    background: Background,
    queue: String,
    budget: Budget,
    linger: Option<Duration>,
    tools: Arc<[Tool]>,
    views: Arc<tasks::Views>,
    buffers: Option<editor::Buffers>,
    servers: Arc<Offered>,
}

/// A parsed call, before it is executed.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The tool to call.
    pub tool: ToolName,
    /// The title that a person sees: `npm install`, `src/main.rs`.
    pub title: String,
    /// The kind of call, for its icon in a client.
    pub kind: Kind,
    /// The accesses that need permission.
    pub access: Vec<Access>,
    action: Option<Action>,
    /// The change that a person was shown. It is only made if the file has not changed since.
    shown: Option<Diff>,
}

impl Intent {
    /// An intent that can be checked but never run, for tests of rules.
    pub fn new(tool: impl Into<ToolName>, title: String, kind: Kind, access: Vec<Access>) -> Self {
        Self { tool: tool.into(), title, kind, access, action: None, shown: None }
    }

    /// Whether the call may be read-only, depending on how its command is confined.
    pub(super) fn may_look(&self) -> bool {
        self.tool.builtin().is_some_and(|tool| tool.only_looks() || tool == Builtin::Bash)
    }

    /// Whether the call changes nothing that another call could see, if its command is confined like this.
    pub(super) fn looks(&self, confine: Option<&Confine>) -> bool {
        let is_held = confine.is_some_and(|confine| confine.mode == Mode::Look);
        let looks = |tool: Builtin| tool.only_looks() || (tool == Builtin::Bash && is_held);
        self.tool.builtin().is_some_and(looks)
    }

    /// Sets the confinement of the call's command.
    #[must_use]
    pub fn confined(mut self, by: Option<Confine>) -> Self {
        if let Some(Action::Bash(run) | Action::BackgroundRun(run)) = &mut self.action {
            run.confine = by;
        }
        self
    }

    /// The confinement of the call's command.
    pub(super) fn confinement(&self) -> Option<&Confine> {
        let Some(Action::Bash(run) | Action::BackgroundRun(run)) = &self.action else {
            return None;
        };
        run.confine.as_ref()
    }

    /// Stores the change that a person was shown.
    #[must_use]
    pub(super) fn shown(mut self, change: Option<Diff>) -> Self {
        self.shown = change;
        self
    }

    /// Replaces the action: writes this text, which a person made from the change that was shown.
    #[must_use]
    pub(super) fn reviewed(mut self, shown: &Diff, text: String, may_read: bool) -> Self {
        self.action = Some(Action::Reviewed(review::Reviewed::new(shown, text, may_read)));
        self
    }

    /// An intent to read this file, which can be checked but never run.
    pub(super) fn reading(path: PathBuf) -> Self {
        let title = path.display().to_string();
        Self::new(Builtin::ReadFile, title, Kind::Read, vec![Access::Read(path)])
    }

    /// The question for a person: `edit src/main.rs`.
    pub(super) fn question(&self) -> String {
        let verb = self.tool.builtin().map_or("call ", Builtin::asks);
        format!("{verb}{}", self.title)
    }

    /// Makes a search leave out these paths and everything below them, and report that it did.
    #[must_use]
    pub fn leaving_out(mut self, paths: Vec<PathBuf>) -> Self {
        match &mut self.action {
            Some(Action::Glob(Glob { except, .. }) | Action::Grep(Grep { except, .. })) => {
                *except = paths;
            }
            Some(
                Action::Bash(_)
                | Action::BackgroundRun(_)
                | Action::Check { .. }
                | Action::Stop { .. }
                | Action::Write { .. }
                | Action::Output { .. }
                | Action::Read(_)
                | Action::WriteFile { .. }
                | Action::Edit(_)
                | Action::Reviewed(_)
                | Action::Plan(_)
                | Action::Server(_),
            )
            | None => {}
        }
        self
    }
}

/// The kinds of call that ACP defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads a file or a task.
    Read,
    /// Changes a file.
    Edit,
    /// Searches for files or text.
    Search,
    /// Runs a command, or controls one.
    Execute,
    /// Sets the plan.
    Think,
    /// Calls a tool of an MCP server.
    Other,
}

/// The access that a command requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Only read access.
    Look,
    /// Also write to the workspace.
    Work,
    /// Everything that the person may do.
    Full,
}

/// A resource that a call uses, for permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Runs a shell command line in a directory.
    Command {
        /// The command line.
        line: String,
        /// The working directory, as an absolute path.
        cwd: PathBuf,
        /// The access that the model requests; `None`: derived from the command.
        level: Option<Level>,
    },
    /// Runs a shell command line at a place, where nothing confines it.
    Elsewhere {
        /// The name of the place, as in the settings.
        place: String,
        /// The command line.
        line: String,
        /// The local directory whose counterpart at the place is the working directory, as an absolute path.
        cwd: PathBuf,
    },
    /// Reads this file, or files below this directory; absolute, with symbolic links resolved.
    Read(PathBuf),
    /// Writes this file; absolute, with symbolic links resolved.
    Write(PathBuf),
    /// Controls a task of this session (stop, write).
    Task(TaskId),
}

/// An event while a call runs.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one or two a call, and gone at once")]
pub enum Progress {
    /// A command was started as this task.
    Spawned(Task),
    /// The command ran longer than [`Budget::yield_after`] and continues in the background.
    Moved(TaskId),
}

/// The result of a call.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The text for the model, within [`Budget::result_bytes`].
    pub content: String,
    /// Whether the tool failed.
    pub is_error: bool,
    /// Tasks whose end `content` shows completely, so that no notification is needed. They are marked as delivered
    /// in the transaction that stores the result.
    pub seen: Vec<(TaskId, DeliveredBy)>,
    /// The new plan, if the call set one.
    pub plan: Option<Vec<PlanEntry>>,
    /// The change to a file, if the call made one.
    pub diff: Option<Diff>,
}

/// A step of the agent's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanEntry {
    /// The work to do in this step.
    pub content: String,
    /// The progress of this step.
    pub status: PlanStatus,
}

/// The progress of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanStatus {
    /// Not started yet.
    Pending,
    /// Currently being worked on.
    InProgress,
    /// The step is finished.
    Completed,
}

/// The contents of a file before and after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The absolute path of the file.
    pub path: PathBuf,
    /// The previous text; `None` if the file is new.
    pub old: Option<String>,
    /// The new text.
    pub new: String,
}

impl Toolbox {
    /// The tools of a session whose tasks notify `queue`.
    pub fn new(background: Background, queue: String, budget: Budget) -> Self {
        let tools = schema::tools(budget.yield_after, background.places()).into();
        let linger = Some(limits::LINGER);
        let (views, servers) = (Arc::default(), Arc::default());
        Self { background, queue, budget, linger, tools, views, buffers: None, servers }
    }

    /// Sets how long tasks may run with no daemon attached; `None` for no limit. Default: [`limits::LINGER`].
    #[must_use]
    pub fn with_linger(mut self, linger: Option<Duration>) -> Self {
        self.linger = linger;
        self
    }

    /// Reads and writes files through this editor, which may have unsaved changes.
    #[must_use]
    pub fn with_editor(mut self, editor: Option<Editor>) -> Self {
        let session = self.queue.clone();
        self.buffers = editor.map(|editor| editor::Buffers { editor, session });
        self
    }

    /// Replaces the tools of MCP servers by those that the servers offer now.
    pub(super) fn offer(&mut self, mut offered: Offered) {
        let own = schema::tools(self.budget.yield_after, self.background.places());
        self.tools = own.into_iter().chain(std::mem::take(&mut offered.tools)).collect();
        self.servers = Arc::new(offered);
    }

    /// The session's commands that ran confined.
    pub(crate) fn held(&self) -> Held {
        self.views.held()
    }

    /// The tools as sent to the model; the same in every request.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// Parses a call. The error is the text for the model: unknown tool, wrong arguments.
    pub fn read(&self, call: &ToolCall) -> Result<Intent, String> {
        call::read(call, self.background.workspace(), &self.servers)
    }

    /// The change that a call would make to a file, to show it before it is made.
    pub(super) async fn proposed(&self, intent: &Intent) -> Option<Diff> {
        review::proposed(intent.action.as_ref()?, self.buffers.as_ref()).await
    }

    /// Executes a call. `key` makes it happen only once: it becomes the `client_token` of the task that a command
    /// is spawned as, so that a call interrupted by a crash can be found again.
    ///
    /// If the future is dropped early, a command in the foreground is stopped; a command that is in the background,
    /// or was moved there, continues.
    pub async fn run(
        &self,
        intent: Intent,
        key: Token,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> Outcome {
        if let Some(shown) = &intent.shown
            && let Err(content) = review::unchanged(shown, self.buffers.as_ref()).await
        {
            return Outcome { content, is_error: true, ..Outcome::default() };
        }
        let done = match intent.action {
            None => {
                Err("this call was built only to be checked against the rules and cannot be run"
                    .to_owned())
            }
            Some(Action::Bash(run)) => self.bash(run, key, &progress).await,
            Some(Action::BackgroundRun(run)) => self.background_run(run, key, &progress).await,
            Some(Action::Check { id: Some(id), wait }) => self.check(id, wait).await,
            Some(Action::Check { id: None, wait }) => self.check_all(wait).await,
            Some(Action::Stop { id, signal }) => self.stop(id, signal).await,
            Some(Action::Write { id, text, eof }) => self.write(id, text, eof).await,
            Some(Action::Output { id, part }) => self.output(id, part).await,
            Some(Action::Read(read)) => {
                files::read(read, self.budget.result_bytes, self.buffers.as_ref()).await
            }
            Some(Action::WriteFile { path, content }) => {
                files::write(path, content, self.buffers.as_ref()).await
            }
            Some(Action::Edit(edit)) => edit::run(edit, self.buffers.as_ref()).await,
            Some(Action::Reviewed(it)) => review::write(it, self.buffers.as_ref()).await,
            Some(Action::Glob(glob)) => search::glob(glob, self.budget.result_bytes).await,
            Some(Action::Grep(grep)) => search::grep(grep, self.budget.result_bytes).await,
            Some(Action::Server(calling)) => {
                let shown = |answer| output::both_ends(answer, self.budget.result_bytes);
                calling.run().await.map(|it| Outcome::of(shown(it))).map_err(shown)
            }
            Some(Action::Plan(plan)) => Ok(Outcome {
                content: "the plan is noted".to_owned(),
                plan: Some(plan),
                ..Outcome::default()
            }),
        };
        let mut outcome = done.unwrap_or_else(|content| Outcome {
            content,
            is_error: true,
            ..Outcome::default()
        });
        // Each tool stays within the budget, but a long error or path from another program may not.
        text::cut(&mut outcome.content, self.budget.result_bytes);
        outcome
    }
}

impl Outcome {
    fn of(content: String) -> Self {
        Self { content, ..Self::default() }
    }
}
