//! The tools of the agent: what a model can do, and what each call comes to.
//!
//! Owns the names ([`ToolName`]), the descriptions and the arguments the model sees, and how a call is carried
//! out on [`Background`] and on files. Decides nothing about permission: [`Toolbox::read`] says what
//! a call is about to touch ([`Access`]), and its caller has asked before. Never touches the
//! history: an [`Outcome`] is handed back.
//!
//! A call is read once, by [`Toolbox::read`], into what is to be done; what is judged and what is
//! carried out are therefore the same, paths included.

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

/// How the tools behave (`config.toml`, section `agent`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// How long `bash` waits before the command moves to the background. Default 10 s.
    pub yield_after: Duration,
    /// Bytes of one tool result at most. Default 16 KiB.
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

/// A call that was understood, before it is carried out.
#[derive(Debug, Clone)]
pub struct Intent {
    /// The tool.
    pub tool: ToolName,
    /// What a person is shown: `npm install`, `src/main.rs`.
    pub title: String,
    /// What sort of thing it does.
    pub kind: Kind,
    /// What it touches, for permission.
    pub access: Vec<Access>,
    action: Option<Action>,
    /// The change that a person was shown: it is made only of a file that is as it was then.
    shown: Option<Diff>,
}

impl Intent {
    /// An intent that can be judged and never run, for tests of rules.
    pub fn new(tool: impl Into<ToolName>, title: String, kind: Kind, access: Vec<Access>) -> Self {
        Self { tool: tool.into(), title, kind, access, action: None, shown: None }
    }

    /// Whether it may be a call that looks, depending on how its command is confined.
    pub(super) fn may_look(&self) -> bool {
        self.tool.builtin().is_some_and(|tool| tool.only_looks() || tool == Builtin::Bash)
    }

    /// Whether it changes nothing that another call could see, where its command is confined so.
    pub(super) fn looks(&self, confine: Option<&Confine>) -> bool {
        let is_held = confine.is_some_and(|confine| confine.mode == Mode::Look);
        let looks = |tool: Builtin| tool.only_looks() || (tool == Builtin::Bash && is_held);
        self.tool.builtin().is_some_and(looks)
    }

    /// The same, but its command runs confined.
    #[must_use]
    pub fn confined(mut self, by: Option<Confine>) -> Self {
        if let Some(Action::Bash(run) | Action::BackgroundRun(run)) = &mut self.action {
            run.confine = by;
        }
        self
    }

    /// How its command is confined.
    pub(super) fn confinement(&self) -> Option<&Confine> {
        let Some(Action::Bash(run) | Action::BackgroundRun(run)) = &self.action else {
            return None;
        };
        run.confine.as_ref()
    }

    /// The same, after a person was shown what it changes.
    #[must_use]
    pub(super) fn shown(mut self, change: Option<Diff>) -> Self {
        self.shown = change;
        self
    }

    /// The same, but it writes this text, which a person has left of the change that was shown.
    #[must_use]
    pub(super) fn reviewed(mut self, shown: &Diff, text: String, may_read: bool) -> Self {
        self.action = Some(Action::Reviewed(review::Reviewed::new(shown, text, may_read)));
        self
    }

    /// A read of this file by the tool that reads, to be judged and never run.
    pub(super) fn reading(path: PathBuf) -> Self {
        let title = path.display().to_string();
        Self::new(Builtin::ReadFile, title, Kind::Read, vec![Access::Read(path)])
    }

    /// What a person is asked: `edit src/main.rs`.
    pub(super) fn question(&self) -> String {
        let verb = self.tool.builtin().map_or("call ", Builtin::asks);
        format!("{verb}{}", self.title)
    }

    /// The same, but a search leaves out what lies below these paths, and says so.
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

/// The sorts of call, as ACP has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads a file or a task.
    Read,
    /// Changes a file.
    Edit,
    /// Looks for something.
    Search,
    /// Runs a command, or steers one.
    Execute,
    /// Thinks: the plan.
    Think,
    /// What a server does.
    Other,
}

/// What a command asks to be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// To look.
    Look,
    /// To write the workspace, too.
    Work,
    /// All that the person could.
    Full,
}

/// What a call touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Runs a line of shell in a directory.
    Command {
        /// The line.
        line: String,
        /// Where, absolute.
        cwd: PathBuf,
        /// What it asks to be allowed to do; `None`: what it looks like.
        level: Option<Level>,
    },
    /// Runs a line of shell at a place, where nothing confines it.
    Elsewhere {
        /// The place.
        place: String,
        /// The line.
        line: String,
        /// The directory here that it runs in there, absolute.
        cwd: PathBuf,
    },
    /// Reads this file, or below this directory; absolute, symbolic links resolved.
    Read(PathBuf),
    /// Writes this file; absolute, symbolic links resolved.
    Write(PathBuf),
    /// Steers a task of the session's own (stop, write).
    Task(TaskId),
}

/// Something that happens while a call runs.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one or two a call, and gone at once")]
pub enum Progress {
    /// A command runs, as this task.
    Spawned(Task),
    /// It ran longer than [`Budget::yield_after`] and goes on in the background.
    Moved(TaskId),
}

/// What a call came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What the model is shown, within [`Budget::result_bytes`].
    pub content: String,
    /// It failed.
    pub is_error: bool,
    /// Ends of tasks that `content` shows whole: they need not be told again. Marked delivered in
    /// the transaction that stores the result.
    pub seen: Vec<(TaskId, DeliveredBy)>,
    /// The new plan, if the call made one.
    pub plan: Option<Vec<PlanEntry>>,
    /// The change to a file, if the call made one.
    pub diff: Option<Diff>,
}

/// A step of the agent's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanEntry {
    /// What is to be done.
    pub content: String,
    /// How far it is.
    pub status: PlanStatus,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanStatus {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Completed,
}

/// A file before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The file, absolute.
    pub path: PathBuf,
    /// Its text before; `None`: there was no file.
    pub old: Option<String>,
    /// Its text now.
    pub new: String,
}

impl Toolbox {
    /// The tools of a session whose tasks tell `queue`.
    pub fn new(background: Background, queue: String, budget: Budget) -> Self {
        let tools = schema::tools(budget.yield_after, background.places()).into();
        let linger = Some(limits::LINGER);
        let (views, servers) = (Arc::default(), Arc::default());
        Self { background, queue, budget, linger, tools, views, buffers: None, servers }
    }

    /// The same, with tasks that run this long with no daemon attached; `None`: for ever. Default:
    /// [`limits::LINGER`].
    #[must_use]
    pub fn with_linger(mut self, linger: Option<Duration>) -> Self {
        self.linger = linger;
        self
    }

    /// The same, with files as this editor has them.
    #[must_use]
    pub fn with_editor(mut self, editor: Option<Editor>) -> Self {
        let session = self.queue.clone();
        self.buffers = editor.map(|editor| editor::Buffers { editor, session });
        self
    }

    /// Takes up what servers offer now, in the place of what they offered before.
    pub(super) fn offer(&mut self, mut offered: Offered) {
        let own = schema::tools(self.budget.yield_after, self.background.places());
        self.tools = own.into_iter().chain(std::mem::take(&mut offered.tools)).collect();
        self.servers = Arc::new(offered);
    }

    /// The commands that ran confined.
    pub(crate) fn held(&self) -> Held {
        self.views.held()
    }

    /// What the model is told about them; the same in every request.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// Understands a call. An error is what the model is to be told: unknown tool, wrong arguments.
    pub fn read(&self, call: &ToolCall) -> Result<Intent, String> {
        call::read(call, self.background.workspace(), &self.servers)
    }

    /// What a call would change in a file, to be shown before it is made.
    pub(super) async fn proposed(&self, intent: &Intent) -> Option<Diff> {
        review::proposed(intent.action.as_ref()?, self.buffers.as_ref()).await
    }

    /// Carries a call out. `key` makes it happen once: it becomes the `client_token` of the task a
    /// command is spawned as, so that a call that was cut off by a crash can be found again.
    ///
    /// Dropped before its end, a command in the foreground is stopped; one in the background, and
    /// one that has moved there, goes on.
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
            None => Err("this call was made to be judged only and cannot be run".to_owned()),
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
        // Each tool keeps within the budget; a long error or path of another program may not.
        text::cut(&mut outcome.content, self.budget.result_bytes);
        outcome
    }
}

impl Outcome {
    fn of(content: String) -> Self {
        Self { content, ..Self::default() }
    }
}
