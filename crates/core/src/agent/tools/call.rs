//! Parses a call into an action: one function per tool, which parses the arguments and determines the accesses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::Fields;
use super::edit::Edit;
use super::files::Read;
use super::output::Part;
use super::review::Reviewed;
use super::search::{Glob, Grep};
use super::{Access, Builtin, Intent, Kind, Level, PlanEntry, PlanStatus, ToolName, paths, search};
use crate::agent::message::{Arguments, ToolCall};
use crate::agent::servers::{Calling, Offered};
use crate::background::task::TaskId;
use crate::background::words;
use crate::background::{Line, OnFailure, Resources, Watch};
use crate::confine::Confine;
use crate::limits;

/// Longest wait of `check_background`: a turn must not hang forever, and another call is cheap.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Maximum length of a title in characters.
const TITLE_CHARS: usize = 200;

/// The action to execute.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Bash(Run),
    BackgroundRun(Run),
    Check {
        id: Option<TaskId>,
        wait: Duration,
    },
    Stop {
        id: TaskId,
        signal: i32,
    },
    Write {
        id: TaskId,
        text: String,
        eof: bool,
    },
    Output {
        id: TaskId,
        part: Part,
    },
    Read(Read),
    WriteFile {
        path: PathBuf,
        content: String,
    },
    Edit(Edit),
    /// The text that a person made of a change.
    Reviewed(Reviewed),
    Glob(Glob),
    Grep(Grep),
    Plan(Vec<PlanEntry>),
    Server(Calling),
}

/// A command to run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) line: String,
    pub(super) cwd: PathBuf,
    pub(super) deadline: Option<Duration>,
    pub(super) label: Option<String>,
    pub(super) watches: Vec<Watch>,
    pub(super) stdin: bool,
    pub(super) level: Option<Level>,
    pub(super) confine: Option<Confine>,
    pub(super) queue: Line,
    /// The place where it runs; `None` for this machine.
    pub(super) on: Option<String>,
    /// What it asks the batch system of that place for.
    pub(super) resources: Resources,
}

/// Parses a call.
pub(super) fn read(call: &ToolCall, workspace: &Path, servers: &Offered) -> Result<Intent, String> {
    let json = match &call.input {
        Arguments::Object(raw) => raw.get(),
        Arguments::Invalid { text } => {
            return Err(format!(
                "the arguments of `{}` are not a JSON object: `{}`; write the call again",
                call.name.chars().take(64).collect::<String>(),
                text.chars().take(200).collect::<String>()
            ));
        }
    };
    if let Some(calling) = servers.meant(&call.name, json) {
        return calling.map(server);
    }
    let Some(ToolName::Builtin(tool)) = ToolName::parse(&call.name) else {
        let own = Builtin::ALL.map(Builtin::name);
        let names: Vec<&str> = own.into_iter().chain(servers.names()).collect();
        return Err(format!(
            "there is no tool `{}`; the tools are {}",
            call.name.chars().take(64).collect::<String>(),
            names.join(", ")
        ));
    };
    let fields = Fields::new(tool, json)?;
    let mut intent = match tool {
        Builtin::Bash => bash(fields, workspace),
        Builtin::BackgroundRun => background_run(fields, workspace),
        Builtin::CheckBackground => check(fields),
        Builtin::TaskOutput => task_output(fields),
        Builtin::WriteBackground => write_background(fields),
        Builtin::StopBackground => stop(fields),
        Builtin::ReadFile => read_file(fields, workspace),
        Builtin::WriteFile => write_file(fields, workspace),
        Builtin::EditFile => edit_file(fields, workspace),
        Builtin::Glob => glob(fields, workspace),
        Builtin::Grep => grep(fields, workspace),
        Builtin::UpdatePlan => update_plan(fields),
    }?;
    intent.title = intent.title.chars().take(TITLE_CHARS).collect();
    Ok(intent)
}

/// A call of a server's tool. Only the server knows what it accesses.
fn server(calling: Calling) -> Intent {
    let title = words::one_line(&calling.title).chars().take(TITLE_CHARS).collect();
    let intent = Intent::new(calling.tool.clone(), title, Kind::Other, Vec::new());
    Intent { action: Some(Action::Server(calling)), ..intent }
}

fn intent(tool: Builtin, title: String, kind: Kind, access: Vec<Access>, action: Action) -> Intent {
    Intent { action: Some(action), ..Intent::new(tool, title, kind, access) }
}

/// Parses the arguments that `bash` and `background_run` have in common.
fn run(fields: &mut Fields, workspace: &Path) -> Result<Run, String> {
    let line = fields.text(&["command", "cmd"], "the line to run")?;
    if line.trim().is_empty() {
        return Err("`command` is empty: expected the line to run".to_owned());
    }
    if line.len() > limits::COMMAND_BYTES {
        return Err(format!(
            "`command` has {} bytes, and at most {} are allowed; write it to a file and run that",
            line.len(),
            limits::COMMAND_BYTES
        ));
    }
    if line.contains('\0') {
        return Err("`command` has a NUL in it, which no command can have".to_owned());
    }
    let cwd = match fields.optional_text(&["cwd", "workdir", "directory", "dir_path"])? {
        Some(cwd) => paths::resolve(workspace, &cwd)?,
        None => workspace.to_owned(),
    };
    let level = match fields.optional_text(&["access"])?.as_deref() {
        None | Some("") => None,
        Some("look") => Some(Level::Look),
        Some("work") => Some(Level::Work),
        Some("full") => Some(Level::Full),
        Some(other) => {
            let shown: String = other.chars().take(32).collect();
            return Err(format!("`access`: expected look, work or full, got \"{shown}\""));
        }
    };
    Ok(Run {
        line,
        cwd,
        deadline: None,
        label: None,
        watches: Vec::new(),
        stdin: false,
        level,
        confine: None,
        queue: Line::default(),
        on: None,
        resources: Resources::default(),
    })
}

fn command_intent(tool: Builtin, run: Run, action: fn(Run) -> Action) -> Intent {
    let (line, cwd) = (run.line.clone(), run.cwd.clone());
    let title = words::one_line(&run.line);
    let (access, title) = match run.on.clone() {
        None => (Access::Command { line, cwd, level: run.level }, title),
        Some(place) => {
            let title = format!("at {place}: {title}");
            (Access::Elsewhere { place, line, cwd }, title)
        }
    };
    let access = vec![access];
    intent(tool, title, Kind::Execute, access, action(run))
}

fn bash(mut fields: Fields, workspace: &Path) -> Result<Intent, String> {
    let mut run = run(&mut fields, workspace)?;
    run.deadline = fields.seconds(&["timeout", "timeout_seconds", "deadline"])?;
    if run.deadline.is_none() {
        run.deadline = fields.seconds(&["timeout_ms"])?.map(|time| time / 1_000);
    }
    let background = fields.flag(&["run_in_background", "is_background", "background"])?;
    fields.finish_with(|name| match name {
        "stdin" | "watch" | "label" | "slot" | "after" | "on_failure" | "on" | "cpus" | "gpus"
        | "memory_mb" | "time_seconds" => Some("background_run takes it"),
        _ => None,
    })?;
    // Other agents express it this way; from here on, it is a call of `background_run`.
    Ok(match background {
        Some(true) => command_intent(Builtin::BackgroundRun, run, Action::BackgroundRun),
        Some(false) | None => command_intent(Builtin::Bash, run, Action::Bash),
    })
}

fn background_run(mut fields: Fields, workspace: &Path) -> Result<Intent, String> {
    let mut run = run(&mut fields, workspace)?;
    run.deadline = fields.seconds(&["deadline", "timeout", "timeout_seconds"])?;
    run.label = fields.optional_text(&["label", "name", "title"])?.map(|label| cut_name(&label));
    run.label = run.label.filter(|label| !label.is_empty());
    run.stdin = fields.flag(&["stdin"])? == Some(true);
    let patterns = fields.texts(&["watch", "watches", "patterns"])?;
    if patterns.len() > limits::WATCHES_MAX {
        return Err(format!(
            "`watch`: {} patterns, and at most {} are allowed; join some with `|`",
            patterns.len(),
            limits::WATCHES_MAX
        ));
    }
    run.watches = patterns
        .into_iter()
        .enumerate()
        .map(|(place, pattern)| Watch {
            // In a notification, the pattern says more than a number.
            id: match pattern.len() {
                1..=limits::NAME_BYTES => pattern.clone(),
                _ => place.to_string(),
            },
            pattern,
            limit: limits::WATCH_LIMIT,
        })
        .collect();
    run.queue = queue(&mut fields)?;
    run.on = fields.optional_text(&["on", "place"])?.map(|place| place.trim().to_owned());
    run.on = run.on.filter(|place| !place.is_empty());
    run.resources = resources(&mut fields)?;
    fields.flag(&["run_in_background", "is_background", "background"])?;
    fields.finish()?;
    Ok(command_intent(Builtin::BackgroundRun, run, Action::BackgroundRun))
}

/// Parses what the task asks a batch system for. 0 asks for nothing, because models write it for that.
fn resources(fields: &mut Fields) -> Result<Resources, String> {
    let mut count = |name: &'static str, most: u64| match fields.count(&[name])? {
        Some(0) | None => Ok(None),
        Some(number) if number <= most => Ok(Some(number)),
        Some(number) => Err(format!("`{name}`: {number}; expected at most {most}")),
    };
    let narrow = |number: Option<u64>| number.and_then(|it| u32::try_from(it).ok());
    Ok(Resources {
        cpus: narrow(count("cpus", u32::MAX.into())?),
        gpus: narrow(count("gpus", u32::MAX.into())?),
        memory: count("memory_mb", u64::MAX >> 20)?.map(|mb| mb << 20),
        time: fields.seconds(&["time_seconds"])?,
        ..Resources::default()
    })
}

/// Parses what the task has to wait for.
fn queue(fields: &mut Fields) -> Result<Line, String> {
    let slot = fields.optional_text(&["slot"])?.map(|slot| slot.trim().to_owned());
    let after = fields.tasks(&["after", "depends_on"])?;
    if after.len() > limits::AFTER_MAX {
        let (count, most) = (after.len(), limits::AFTER_MAX);
        return Err(format!("`after`: {count} tasks, and at most {most} are allowed"));
    }
    let on_failure = match fields.optional_text(&["on_failure", "onFailure"])?.as_deref() {
        None | Some("" | "skip") => OnFailure::Skip,
        Some("run") => OnFailure::Run,
        Some(other) => {
            let shown: String = other.chars().take(32).collect();
            return Err(format!("`on_failure`: expected skip or run, got \"{shown}\""));
        }
    };
    let slot = slot.filter(|slot| !slot.is_empty());
    Ok(Line { slot, after, on_failure, deadline: None })
}

fn cut_name(name: &str) -> String {
    let mut name = words::one_line(name);
    name.truncate(name.floor_char_boundary(limits::NAME_BYTES));
    name
}

const TASK: [&str; 4] = ["task_id", "id", "task", "bash_id"];

fn check(mut fields: Fields) -> Result<Intent, String> {
    let id = fields.optional_task(&TASK)?;
    let wait = fields.patience(&["wait_seconds", "wait", "timeout"])?.min(WAIT_MAX);
    fields.finish()?;
    let title = match id {
        Some(id) => format!("check task {id}"),
        None => "list the background tasks".to_owned(),
    };
    let action = Action::Check { id, wait };
    Ok(intent(Builtin::CheckBackground, title, Kind::Read, Vec::new(), action))
}

fn task_output(mut fields: Fields) -> Result<Intent, String> {
    let id = fields.task(&TASK)?;
    let offset = fields.count(&["offset"])?;
    let head = fields.count(&["head"])?;
    let tail = fields.count(&["tail"])?;
    let pattern = fields.optional_text(&["pattern", "filter", "regex"])?;
    let pattern = pattern.filter(|pattern| !pattern.is_empty());
    fields.finish()?;
    let part = match (offset, head, tail, pattern) {
        (from, None, None, Some(pattern)) => {
            Part::Matching { pattern, from: from.unwrap_or_default() }
        }
        (None, None, None, None) => Part::Ends,
        (Some(offset), None, None, None) => Part::From(offset),
        (None, Some(lines), None, None) => Part::Head(lines),
        (None, None, Some(lines), None) => Part::Tail(lines),
        _ => {
            return Err(
                "task_output takes one of offset, head, tail and pattern; only pattern and \
                        offset go together"
                    .to_owned(),
            );
        }
    };
    let title = format!("output of task {id}");
    Ok(intent(Builtin::TaskOutput, title, Kind::Read, Vec::new(), Action::Output { id, part }))
}

fn write_background(mut fields: Fields) -> Result<Intent, String> {
    let id = fields.task(&TASK)?;
    let eof = fields.flag(&["eof"])? == Some(true);
    let text = fields.optional_text(&["text", "data", "input", "chars"])?;
    let text = match text {
        Some(text) => text,
        None if eof => String::new(),
        None => return Err("`text` is missing: expected what to write, or eof: true".to_owned()),
    };
    if text.len() > limits::WRITE_BYTES {
        return Err(format!(
            "`text` has {} bytes, and at most {} are allowed; write it in pieces",
            text.len(),
            limits::WRITE_BYTES
        ));
    }
    fields.finish()?;
    let title = match text.is_empty() {
        true => format!("end the input of task {id}"),
        false => format!("write to task {id}: {}", words::one_line(&text)),
    };
    let action = Action::Write { id, text, eof };
    Ok(intent(Builtin::WriteBackground, title, Kind::Execute, vec![Access::Task(id)], action))
}

fn stop(mut fields: Fields) -> Result<Intent, String> {
    let id = fields.task(&TASK)?;
    let signal = match fields.optional_text(&["signal"])? {
        Some(name) if !name.trim().is_empty() => signal(&name)?,
        Some(_) | None => libc::SIGTERM,
    };
    fields.finish()?;
    let action = Action::Stop { id, signal };
    let title = format!("stop task {id}");
    Ok(intent(Builtin::StopBackground, title, Kind::Execute, vec![Access::Task(id)], action))
}

fn signal(name: &str) -> Result<i32, String> {
    let bare = name.trim().to_ascii_uppercase();
    let bare = bare.strip_prefix("SIG").unwrap_or(&bare);
    let known = match bare.parse::<i32>() {
        Ok(number) => nix::sys::signal::Signal::try_from(number),
        Err(_) => format!("SIG{bare}").parse::<nix::sys::signal::Signal>(),
    };
    known.map(|signal| signal as i32).map_err(|_| {
        let name: String = name.chars().take(40).collect();
        format!(
            "`signal`: `{name}` is not a signal: expected a name such as SIGTERM, SIGINT, SIGKILL"
        )
    })
}

const PATH: [&str; 6] = ["path", "file_path", "filePath", "filepath", "filename", "file"];

fn shown(path: &Path, workspace: &Path) -> String {
    words::one_line(&paths::relative(path, &paths::canonical(workspace)))
}

fn read_file(mut fields: Fields, workspace: &Path) -> Result<Intent, String> {
    let asked = fields.text(&PATH, "the file to read")?;
    let path = paths::resolve(workspace, &asked)?;
    let offset = fields.count(&["offset", "start_line", "line"])?.unwrap_or(1).max(1);
    let limit = fields.count(&["limit", "lines"])?.filter(|limit| *limit > 0);
    let column = fields.count(&["column"])?.and_then(|column| usize::try_from(column).ok());
    let column = column.unwrap_or_default();
    fields.finish_with(|name| match name {
        "end_line" => Some("use limit, a number of lines"),
        _ => None,
    })?;
    let access = vec![Access::Read(path.clone())];
    let title = shown(&path, workspace);
    let action = Action::Read(Read { path, asked, offset, limit, column });
    Ok(intent(Builtin::ReadFile, title, Kind::Read, access, action))
}

fn write_file(mut fields: Fields, workspace: &Path) -> Result<Intent, String> {
    let asked = fields.text(&PATH, "the file to write")?;
    let path = paths::resolve(workspace, &asked)?;
    let content = fields.text(&["content", "contents", "text", "file_text"], "the whole text")?;
    fields.finish()?;
    let access = vec![Access::Write(path.clone())];
    let title = shown(&path, workspace);
    let action = Action::WriteFile { path, content };
    Ok(intent(Builtin::WriteFile, title, Kind::Edit, access, action))
}

fn edit_file(mut fields: Fields, workspace: &Path) -> Result<Intent, String> {
    let asked = fields.text(&PATH, "the file to change")?;
    let path = paths::resolve(workspace, &asked)?;
    let old = fields.text(&["old_string", "old_str", "oldString"], "the text to replace")?;
    let new = fields.text(&["new_string", "new_str", "newString"], "the text to put there")?;
    let all = fields.flag(&["replace_all", "replaceAll"])? == Some(true);
    fields.finish()?;
    let access = vec![Access::Write(path.clone())];
    let title = shown(&path, workspace);
    let action = Action::Edit(Edit { path, old, new, all });
    Ok(intent(Builtin::EditFile, title, Kind::Edit, access, action))
}

fn glob(mut fields: Fields, workspace: &Path) -> Result<Intent, String> {
    let pattern = fields.text(&["pattern", "glob"], "a pattern such as `src/**/*.rs`")?;
    let base = fields.optional_text(&["path", "directory", "dir_path"])?;
    fields.finish()?;
    let base = base.filter(|base| !base.trim().is_empty());
    let base = base.unwrap_or_else(|| ".".to_owned());
    // The part before the first wildcard is the directory to start in, wherever it leads.
    let base = paths::resolve(workspace, &base)?;
    let (prefix, rest) = search::split(&pattern, &base);
    let base = if prefix.is_empty() { base } else { paths::resolve(&base, prefix)? };
    let access = vec![Access::Read(base.clone())];
    let title = words::one_line(&pattern);
    let action =
        Action::Glob(Glob { pattern: rest, base, workspace: workspace.into(), except: Vec::new() });
    Ok(intent(Builtin::Glob, title, Kind::Search, access, action))
}

fn grep(mut fields: Fields, workspace: &Path) -> Result<Intent, String> {
    let pattern = fields.text(&["pattern", "regex", "query"], "a regular expression")?;
    if pattern.is_empty() {
        return Err("`pattern` is empty: expected a regular expression".to_owned());
    }
    let base = fields.optional_text(&["path", "directory", "dir_path"])?;
    let base = base.filter(|base| !base.trim().is_empty());
    let base = paths::resolve(workspace, base.as_deref().unwrap_or("."))?;
    let glob = fields.optional_text(&["glob", "include", "file_pattern"])?;
    let ignore_case = fields.flag(&["ignore_case", "-i", "case_insensitive"])? == Some(true);
    let context = fields.count(&["context", "-C"])?;
    let before = fields.count(&["-B"])?.or(context).unwrap_or_default();
    let after = fields.count(&["-A"])?.or(context).unwrap_or_default();
    let limit = fields.count(&["limit", "head_limit", "max_results"])?.filter(|limit| *limit > 0);
    fields.flag(&["-n"])?;
    fields.finish()?;
    let access = vec![Access::Read(base.clone())];
    let title = words::one_line(&pattern);
    let action = Action::Grep(Grep {
        pattern,
        base,
        workspace: workspace.into(),
        except: Vec::new(),
        glob: glob.filter(|glob| !glob.trim().is_empty()),
        ignore_case,
        before,
        after,
        limit,
    });
    Ok(intent(Builtin::Grep, title, Kind::Search, access, action))
}

fn update_plan(mut fields: Fields) -> Result<Intent, String> {
    let steps = fields.objects(&["plan", "todos", "steps"], "a list of {step, status}")?;
    fields.finish()?;
    let plan = steps.into_iter().enumerate().map(|(i, mut step)| {
        let in_place = |error: String| format!("plan[{i}]: {error}");
        let content = step.text(&["step", "content", "title"], "what is to be done");
        let content = content.map_err(in_place)?;
        let status = step.optional_text(&["status"]).map_err(in_place)?;
        let status = match status.as_deref() {
            None | Some("pending" | "todo") => PlanStatus::Pending,
            Some("in_progress" | "in-progress") => PlanStatus::InProgress,
            Some("completed" | "done") => PlanStatus::Completed,
            Some(other) => {
                let other: String = other.chars().take(40).collect();
                return Err(format!(
                    "`plan[{i}].status`: expected pending, in_progress or completed, got \"{other}\""
                ));
            }
        };
        Ok(PlanEntry { content, status })
    });
    let plan: Vec<PlanEntry> = plan.collect::<Result<_, _>>()?;
    let title = format!("plan of {} steps", plan.len());
    Ok(intent(Builtin::UpdatePlan, title, Kind::Think, Vec::new(), Action::Plan(plan)))
}
