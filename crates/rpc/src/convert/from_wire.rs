//! Conversions from the wire to the domain: checks every limit, and an error names the field.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meanwhile_core::background::task::{Actor, Cause, Outcome, TaskId, Timestamp};
use meanwhile_core::background::{
    Ack, Command, Filter, Line, Mode, OnFailure, Recipient, Remove, Resources, SendSignal, Size,
    Spawn, StateFilter, Stdin, Stop, Token, Watch, Which,
};
use meanwhile_core::{confine, limits};

use super::error::invalid;
use super::signal;
use crate::wire::{self, Error};

/// The number of heartbeats that may be missing before the client is considered gone.
const MISSED_BEATS: u32 = 4;

type Result<T> = std::result::Result<T, Error>;

/// The values that a connection uses for requests that do not set them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defaults {
    /// The name of the queue.
    pub(crate) queue: String,
    /// How long a spawned task outlives the last daemon; `None`: without limit.
    pub(crate) linger: Option<Duration>,
    /// Whether the client knows the task state `queued`.
    pub(crate) knows_queued: bool,
    /// Whether the client wants `task/began`.
    pub(crate) tells_began: bool,
    /// Whether the client wants `session/timeline`.
    pub(crate) tells_timeline: bool,
    /// Whether the client wants `task/state`.
    pub(crate) tells_state: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            queue: "default".to_owned(),
            linger: Some(limits::LINGER),
            knows_queued: false,
            tells_began: false,
            tells_timeline: false,
            tells_state: false,
        }
    }
}

/// The defaults that a connection sets in its handshake.
pub(crate) fn defaults(options: wire::InitializationOptions) -> Result<Defaults> {
    let fallback = Defaults::default();
    let queue = match options.queue {
        None => fallback.queue,
        Some(queue) => name("initializationOptions.queue", queue)?,
    };
    let linger = match options.linger_ms {
        None => fallback.linger,
        Some(None) => None,
        Some(Some(ms)) => {
            Some(duration("initializationOptions.lingerMs", ms, 0, limits::TIME_MAX)?)
        }
    };
    let knows_queued = options.states.contains(&wire::NewState::Queued);
    let tells_began = options.notify.contains(&wire::NewKind::Began);
    let tells_timeline = options.notify.contains(&wire::NewKind::Timeline);
    let tells_state = options.notify.contains(&wire::NewKind::State);
    Ok(Defaults { queue, linger, knows_queued, tells_began, tells_timeline, tells_state })
}

/// How long a client that sends heartbeats may be silent.
pub(crate) fn silence(heartbeat_ms: Option<u64>) -> Result<Option<Duration>> {
    let field = "initializationOptions.heartbeatMs";
    let beat = heartbeat_ms.map(|ms| duration(field, ms, 1_000, limits::TIME_MAX)).transpose()?;
    Ok(beat.map(|beat| beat * MISSED_BEATS))
}

/// Checks the name that a client sends for itself.
pub(crate) fn client_name(name: Option<&str>) -> Result<Option<&str>> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match name {
        Some(name)
            if name.is_empty()
                || name.len() > limits::NAME_BYTES / 2
                || !name.chars().all(is_good) =>
        {
            let most = limits::NAME_BYTES / 2;
            let message = format!("expected 1 to {most} letters, digits, `-` or `_`");
            Err(invalid("initializationOptions.client", message))
        }
        name => Ok(name),
    }
}

/// Converts a request to spawn a command.
pub(crate) fn spawn(params: wire::SpawnParams, defaults: &Defaults) -> Result<Spawn> {
    let stdin = match (params.pty, params.stdin) {
        (Some(_), Some(_)) => {
            let message =
                "cannot be combined with `pty`, which is the standard input too; leave one out";
            return Err(invalid("stdin", message));
        }
        (Some(pty), None) => {
            Stdin::Pty { rows: side("pty.rows", pty.rows)?, cols: side("pty.cols", pty.cols)? }
        }
        (None, Some(wire::StdinParam::Pipe)) => Stdin::Pipe,
        (None, Some(wire::StdinParam::Null) | None) => Stdin::Null,
    };
    Ok(Spawn {
        command: command(params.command, params.shell)?,
        cwd: params.cwd.map(cwd).transpose()?,
        env: environment(params.env)?,
        label: params.label.map(|label| name("label", label)).transpose()?,
        queue: queue(params.queue, defaults)?,
        deadline: params
            .deadline_ms
            .map(|ms| duration("deadlineMs", ms, 1, limits::TIME_MAX))
            .transpose()?,
        linger: defaults.linger,
        stdin,
        watches: watches(params.watch)?,
        service: params.service,
        client_token: params
            .client_token
            .map(|token| name("clientToken", token).map(Token::New))
            .transpose()?,
        confine: confine(params.confine, params.network)?,
        is_step: false,
        on: params.on.map(|place| name("on", place)).transpose()?,
        resources: params.resources.map(resources).transpose()?.unwrap_or_default(),
        line: Line {
            slot: params.slot.map(|slot| name("slot", slot)).transpose()?,
            after: after(&params.after)?,
            on_failure: match params.on_failure {
                None | Some(wire::OnFailureParam::Skip) => OnFailure::Skip,
                Some(wire::OnFailureParam::Run) => OnFailure::Run,
            },
            deadline: params
                .queue_deadline_ms
                .map(|ms| duration("queueDeadlineMs", ms, 1, limits::TIME_MAX))
                .transpose()?,
        },
    })
}

/// What a batch system is asked for.
fn resources(wish: wire::ResourcesParam) -> Result<Resources> {
    let some = |field: &str, number: Option<u64>| match number {
        Some(0) => Err(invalid(format!("resources.{field}"), "is 0; expected at least 1")),
        number => Ok(number),
    };
    some("cpus", wish.cpus.map(u64::from))?;
    some("gpus", wish.gpus.map(u64::from))?;
    let extra = wish.extra.into_iter().enumerate();
    Ok(Resources {
        cpus: wish.cpus,
        memory: some("memory", wish.memory)?,
        gpus: wish.gpus,
        time: wish
            .time
            .map(|ms| duration("resources.time", ms, 1, limits::TIME_MAX))
            .transpose()?,
        partition: wish.partition.map(|it| name("resources.partition", it)).transpose()?,
        extra: extra
            .map(|(at, option)| name(&format!("resources.extra[{at}]"), option))
            .collect::<Result<_>>()?,
    })
}

/// Parses the ids of the tasks that a task runs after.
fn after(list: &[String]) -> Result<Vec<TaskId>> {
    if list.len() > limits::AFTER_MAX {
        let message = format!("{} tasks; expected at most {}", list.len(), limits::AFTER_MAX);
        return Err(invalid("after", message));
    }
    list.iter().enumerate().map(|(place, text)| id(&format!("after[{place}]"), text)).collect()
}

/// Checks the size of a terminal.
pub(crate) fn size(rows: u16, cols: u16) -> Result<Size> {
    Ok(Size { rows: side("rows", rows)?, cols: side("cols", cols)? })
}

fn confine(mode: Option<wire::ConfineMode>, network: bool) -> Result<Option<confine::Confine>> {
    match (mode, network) {
        (Some(wire::ConfineMode::Work), network) => {
            Ok(Some(confine::Confine { network, ..confine::Mode::Work.into() }))
        }
        (_, true) => Err(invalid("network", "is set; expected it only with `confine`: \"work\"")),
        (Some(wire::ConfineMode::Look), false) => Ok(Some(confine::Mode::Look.into())),
        (None, false) => Ok(None),
    }
}

/// Which tasks a list includes.
pub(crate) fn filter(
    state: Option<wire::TaskState>,
    limit: Option<u32>,
    steps: Option<bool>,
    defaults: &Defaults,
) -> Result<Filter> {
    let state = state.map(|state| match state {
        wire::TaskState::Queued => StateFilter::Queued,
        wire::TaskState::Running if defaults.knows_queued => StateFilter::Running,
        wire::TaskState::Running => StateFilter::NotStopping,
        wire::TaskState::Stopping => StateFilter::Stopping,
        wire::TaskState::Exited => StateFilter::Ended(Outcome::Exited),
        wire::TaskState::Stopped => StateFilter::Ended(Outcome::Stopped),
        wire::TaskState::TimedOut => StateFilter::Ended(Outcome::TimedOut),
        wire::TaskState::Lost => StateFilter::Ended(Outcome::Lost),
    });
    let limit = count("limit", limit.unwrap_or(limits::LIST_LIMIT), limits::LIST_LIMIT_MAX)?;
    Ok(Filter { state, limit: Some(limit), steps: steps.unwrap_or_default() })
}

/// The queue of a drain, the most notifications, and who acknowledges them.
pub(crate) fn drain(params: wire::DrainParams, defaults: &Defaults) -> Result<(String, u32, Ack)> {
    let ack = match params.ack {
        None | Some(wire::AckMode::Auto) => Ack::Auto,
        Some(wire::AckMode::Manual) => Ack::Manual,
    };
    let max = count("max", params.max.unwrap_or(limits::DRAIN_MAX), limits::DRAIN_MAX_MAX)?;
    Ok((queue(params.queue, defaults)?, max, ack))
}

/// What a wait waits for, its condition, and its timeout.
pub(crate) fn wait(
    params: wire::WaitParams,
    defaults: &Defaults,
) -> Result<(Which, Mode, Duration)> {
    let which = match (params.ids, params.queue) {
        (Some(_), Some(_)) => {
            let message = "cannot be combined with `ids`; name the tasks or their queue, not both";
            return Err(invalid("queue", message));
        }
        (Some(list), None) => Which::Ids(ids(list)?),
        (None, named) => Which::Queue(queue(named, defaults)?),
    };
    let mode = match params.mode {
        None | Some(wire::WaitMode::Any) => Mode::Any,
        Some(wire::WaitMode::All) => Mode::All,
    };
    let timeout = match params.timeout_ms {
        None => limits::WAIT_TIMEOUT,
        Some(ms) => duration("timeoutMs", ms, 0, limits::TIME_MAX)?,
    };
    Ok((which, mode, timeout))
}

/// How to stop a task on behalf of a client.
pub(crate) fn stop(signal: Option<&str>, grace_ms: Option<u64>, why: &str) -> Result<Stop> {
    let signal = signal.map_or(Ok(libc::SIGTERM), signal_named)?;
    let grace = match grace_ms {
        None => limits::STOP_GRACE,
        Some(ms) => duration("graceMs", ms, 0, limits::STOP_GRACE_MAX)?,
    };
    let cause = Cause { actor: Actor::Client, message: why.to_owned() };
    Ok(Stop { signal, grace, cause })
}

/// The signal that a client sends, and its recipient.
pub(crate) fn send_signal(
    signal: &wire::SignalParam,
    to: Option<wire::RecipientParam>,
) -> Result<SendSignal> {
    let signal = match signal {
        wire::SignalParam::Name(name) => signal_named(name)?,
        wire::SignalParam::Number(number) => i32::try_from(*number)
            .ok()
            .filter(|number| (1..=libc::SIGRTMAX()).contains(number))
            .ok_or_else(|| {
                let most = libc::SIGRTMAX();
                invalid("signal", format!("is {number}; expected 1 to {most}, or a name"))
            })?,
    };
    let to = match to {
        None | Some(wire::RecipientParam::Group) => Recipient::Group,
        Some(wire::RecipientParam::Leader) => Recipient::Leader,
    };
    let message = format!("{} sent by the client", signal::name(signal));
    Ok(SendSignal { signal, to, cause: Cause { actor: Actor::Client, message } })
}

fn signal_named(name: &str) -> Result<i32> {
    signal::number(name).ok_or_else(|| {
        let shown: String = name.chars().take(32).collect();
        invalid("signal", format!("`{shown}` is not a signal; expected a name like `SIGINT`"))
    })
}

/// Which tasks to remove.
pub(crate) fn remove(params: wire::RemoveParams) -> Result<Remove> {
    let ended_before = match &params.ended_before {
        None => None,
        Some(text) => Some(moment("endedBefore", text)?),
    };
    let ids = params.ids.map(ids).transpose()?;
    if ids.is_none() && ended_before.is_none() {
        return Err(invalid("ids", "missing; name the tasks, or set `endedBefore`"));
    }
    Ok(Remove { ids, ended_before })
}

/// The bytes to write to a task.
pub(crate) fn data(text: String, encoding: Option<wire::Encoding>) -> Result<Vec<u8>> {
    let bytes = match encoding {
        None | Some(wire::Encoding::Utf8) => text.into_bytes(),
        Some(wire::Encoding::Base64) => BASE64
            .decode(text)
            .map_err(|error| invalid("data", format!("not base64 (RFC 4648): {error}")))?,
    };
    at_most("data", bytes.len(), limits::WRITE_BYTES)?;
    Ok(bytes)
}

/// Parses a task's id.
pub(crate) fn id(field: &str, text: &str) -> Result<TaskId> {
    text.parse().map_err(|error| invalid(field, error))
}

/// The queue that the request names, or else the connection's.
pub(crate) fn queue(named: Option<String>, defaults: &Defaults) -> Result<String> {
    named.map_or_else(|| Ok(defaults.queue.clone()), |queue| name("queue", queue))
}

/// How many bytes of output to return. A value above the limit is reduced, and the reply says how far it got.
pub(crate) fn read_limit(limit: Option<u64>) -> Result<u64> {
    match limit {
        None => Ok(limits::READ_BYTES),
        Some(0) => Err(invalid("limit", "is 0; expected 1 byte or more")),
        Some(bytes) => Ok(bytes.min(limits::READ_BYTES_MAX)),
    }
}

/// How many bytes of the end of an output to return, reduced like [`read_limit`].
pub(crate) fn tail_bytes(bytes: Option<u64>) -> u64 {
    bytes.unwrap_or(limits::CHECK_TAIL_BYTES).min(limits::READ_BYTES_MAX)
}

/// Checks that every JSON reader represents a number exactly.
pub(crate) fn integer(field: &str, value: u64) -> Result<u64> {
    if value > wire::INTEGER_MAX {
        return Err(invalid(field, format!("{value} is above {}", wire::INTEGER_MAX)));
    }
    Ok(value)
}

fn command(command: wire::CommandParam, shell: Option<String>) -> Result<Command> {
    match command {
        wire::CommandParam::Shell(line) => {
            if line.trim().is_empty() {
                return Err(invalid("command", "is empty; expected a line for a shell"));
            }
            no_nul("command", &line)?;
            at_most("command", line.len(), limits::COMMAND_BYTES)?;
            match shell {
                None => Ok(Command::Shell(line)),
                Some(shell) => Ok(Command::ShellOf { shell: program("shell", shell)?, line }),
            }
        }
        wire::CommandParam::Argv(_) if shell.is_some() => {
            let message = "cannot be combined with a `command` that is an array, which no shell reads; \
                           expected a string there";
            Err(invalid("shell", message))
        }
        wire::CommandParam::Argv(argv) => {
            if argv.is_empty() {
                return Err(invalid("command", "is empty; expected a program and its arguments"));
            }
            if argv[0].is_empty() {
                return Err(invalid("command[0]", "is empty; expected the name of a program"));
            }
            for (i, argument) in argv.iter().enumerate() {
                let field = format!("command[{i}]");
                no_nul(&field, argument)?;
                at_most(&field, argument.len(), limits::COMMAND_BYTES)?;
            }
            let total = argv.iter().map(|argument| argument.len() + 1).sum();
            at_most("command", total, limits::ARGUMENTS_BYTES)?;
            Ok(Command::Argv(argv.into_iter().map(Into::into).collect()))
        }
    }
}

fn program(field: &str, name: String) -> Result<PathBuf> {
    if name.is_empty() {
        return Err(invalid(field, "is empty; expected the name of a program"));
    }
    no_nul(field, &name)?;
    at_most(field, name.len(), limits::COMMAND_BYTES)?;
    Ok(name.into())
}

fn cwd(text: String) -> Result<PathBuf> {
    if text.is_empty() {
        let message = "is empty; expected a directory, absolute or relative to the workspace";
        return Err(invalid("cwd", message));
    }
    no_nul("cwd", &text)?;
    // PATH_MAX includes the final NUL (limits.h).
    at_most("cwd", text.len(), 4_095)?;
    Ok(PathBuf::from(text))
}

pub(crate) fn environment(
    env: BTreeMap<String, Option<String>>,
) -> Result<BTreeMap<String, Option<String>>> {
    let mut total = 0;
    for (key, value) in &env {
        let shown: String = key.chars().take(64).collect();
        let field = if shown.is_empty() { "env".to_owned() } else { format!("env.{shown}") };
        if key.is_empty() || key.contains(['=', '\0']) {
            let message = "is not a name for a variable; expected one that is not empty and has \
                           neither `=` nor NUL";
            return Err(invalid(field, message));
        }
        let value = value.as_deref().unwrap_or_default();
        no_nul(&field, value)?;
        at_most(&field, key.len() + 1 + value.len(), limits::COMMAND_BYTES)?;
        total += key.len() + value.len() + 2;
    }
    at_most("env", total, limits::ARGUMENTS_BYTES)?;
    Ok(env)
}

fn watches(list: Vec<wire::WatchParam>) -> Result<Vec<Watch>> {
    if list.len() > limits::WATCHES_MAX {
        let message =
            format!("has {} patterns; expected at most {}", list.len(), limits::WATCHES_MAX);
        return Err(invalid("watch", message));
    }
    let mut seen = HashSet::new();
    list.into_iter()
        .enumerate()
        .map(|(i, watch)| {
            let field = |name: &str| format!("watch[{i}].{name}");
            let id = match watch.id {
                None => i.to_string(),
                Some(id) => name(&field("id"), id)?,
            };
            if !seen.insert(id.clone()) {
                let message =
                    format!("`{id}` is the name of another watch already; expected a unique one");
                return Err(invalid(field("id"), message));
            }
            if watch.pattern.is_empty() {
                return Err(invalid(field("pattern"), "is empty; expected a regular expression"));
            }
            at_most(&field("pattern"), watch.pattern.len(), limits::PATTERN_BYTES)?;
            let limit = watch.limit.unwrap_or(limits::WATCH_LIMIT);
            let limit = count(&field("limit"), limit, limits::WATCH_LIMIT_MAX)?;
            Ok(Watch { id, pattern: watch.pattern, limit })
        })
        .collect()
}

/// The ids without duplicates, in the given order.
fn ids(list: Vec<String>) -> Result<Vec<TaskId>> {
    if list.is_empty() {
        return Err(invalid("ids", "is empty; expected one task or more"));
    }
    if list.len() > limits::IDS_MAX {
        let message = format!("has {} tasks; expected at most {}", list.len(), limits::IDS_MAX);
        return Err(invalid("ids", message));
    }
    let mut seen = HashSet::new();
    let mut out = Vec::with_capacity(list.len());
    for (i, text) in list.iter().enumerate() {
        let id = id(&format!("ids[{i}]"), text)?;
        if seen.insert(id) {
            out.push(id);
        }
    }
    Ok(out)
}

fn moment(field: &str, text: &str) -> Result<Timestamp> {
    humantime::parse_rfc3339(text).map(Timestamp::from).map_err(|error| {
        let message = format!(
            "not a time: {error}; expected RFC 3339 in UTC, like `2026-11-22T09:30:00.000Z`"
        );
        invalid(field, message)
    })
}

fn name(field: &str, text: String) -> Result<String> {
    if text.is_empty() {
        return Err(invalid(field, "is empty; leave it out, or give it a name"));
    }
    no_nul(field, &text)?;
    at_most(field, text.len(), limits::NAME_BYTES)?;
    Ok(text)
}

fn no_nul(field: &str, text: &str) -> Result<()> {
    match text.find('\0') {
        None => Ok(()),
        Some(at) => {
            Err(invalid(field, format!("has a NUL at byte {at}; commands cannot contain one")))
        }
    }
}

fn at_most(field: &str, bytes: usize, most: usize) -> Result<()> {
    if bytes > most {
        return Err(invalid(field, format!("has {bytes} bytes; expected at most {most}")));
    }
    Ok(())
}

fn count(field: &str, value: u32, most: u32) -> Result<u32> {
    if value == 0 || value > most {
        return Err(invalid(field, format!("is {value}; expected 1 to {most}")));
    }
    Ok(value)
}

fn side(field: &str, value: u16) -> Result<u16> {
    count(field, value.into(), limits::PTY_SIDE_MAX.into()).map(|_| value)
}

fn duration(field: &str, ms: u64, least: u64, most: Duration) -> Result<Duration> {
    let value = Duration::from_millis(ms);
    if ms < least || value > most {
        let most = most.as_millis();
        return Err(invalid(field, format!("is {ms}; expected {least} to {most} milliseconds")));
    }
    Ok(value)
}
