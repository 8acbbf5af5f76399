//! Conversions from the domain to the wire.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use meanwhile_core::agent::session::SessionId;
use meanwhile_core::background::task;
use meanwhile_core::background::{Chunk, Drained, Waited, words};
use meanwhile_core::limits;

use super::signal;
use crate::wire;

/// The last time that RFC 3339 can represent, in milliseconds: the end of the year 9999.
const LAST_MOMENT: i64 = 253_402_300_799_999;

/// The maximum number of bytes of the title of the task that another one waits for.
const TITLE_BYTES: usize = 200;

/// Converts a task.
pub(crate) fn task(task: &task::Task) -> wire::Task {
    let end = task.end();
    wire::Task {
        id: task.id.to_string(),
        workspace: path(&task.workspace),
        queue: task.queue.clone(),
        label: task.label.clone(),
        command: task.command.clone(),
        cwd: path(&task.cwd),
        pid: task.pid,
        state: state(&task.state),
        queued: match &task.state {
            task::State::Queued(why) => Some(queued(why)),
            task::State::Running | task::State::Stopping { .. } | task::State::Ended(_) => None,
        },
        exit: end.filter(|end| task.pid.is_some() || !is_of_line(end)).map(|end| exit(end.exit)),
        cause: match &task.state {
            task::State::Queued(_) | task::State::Running => None,
            task::State::Stopping { cause: why } => Some(cause(why)),
            task::State::Ended(end) => end.cause.as_ref().map(cause),
        },
        created_at: time(task.created_at),
        ended_at: end.map(|end| time(end.at)),
        duration_ms: end.map(|end| millis(end.duration)),
        deadline_ms: task.deadline.map(millis),
        output: wire::Output { total: task.output.total, dropped: task.output.dropped },
        progress: task.progress.as_ref().map(|progress| wire::Progress {
            percent: progress.percent,
            message: progress.message.clone(),
        }),
        survivors: task
            .survivors
            .iter()
            .map(|one| wire::Survivor { pid: one.pid, command: one.command.clone() })
            .collect(),
        delivered: task.delivered.as_ref().map(|delivered| wire::Delivered {
            at: time(delivered.at),
            by: delivered_by(delivered.by),
            turn: delivered.turn,
        }),
        service: task.serving.service,
        ports: task.serving.ports.clone(),
        ready: task.serving.ready,
        waits_for_input: task.waits_for_input,
        agent: SessionId::names(&task.queue),
        role: task.is_step.then_some(wire::TaskRole::Step),
        on: task.on.clone(),
        contact: task.contact.as_deref().and_then(contact),
        place: task.job.as_deref().and_then(job),
        warning: words::warning(task).map(str::to_owned),
        shown: shown(task),
    }
}

fn job(job: &task::Job) -> Option<wire::TaskPlace> {
    let word = |word: &String| Some(word.clone()).filter(|word| !word.is_empty());
    let engine = word(&job.engine)?;
    Some(wire::TaskPlace { engine, job: word(&job.id), node: word(&job.node) })
}

/// Why a place cannot be reached; `None` if it is not known to be unreachable.
pub(crate) fn contact(contact: &task::Contact) -> Option<wire::Contact> {
    Some(wire::Contact {
        lost_since: time(contact.lost_since?),
        reason: contact.why.clone(),
        needs_you: contact.needs_you,
    })
}

/// The texts about a task for people.
pub(crate) fn shown(task: &task::Task) -> wire::Shown {
    wire::Shown {
        title: words::title(task),
        outcome: standing(&task.state),
        stands: words::stands(task),
        ended: words::told(task),
        took: task.end().map(|end| words::elapsed(end.duration)),
        order: words::order(task),
        notice: notice(task),
    }
}

/// How urgently a person is notified of a task's state; `None` if it needs no notice. The agent itself waits for a step.
fn notice(task: &task::Task) -> Option<wire::NoticeLevel> {
    let by = task.end().and_then(|end| end.cause.as_ref()).map(|cause| cause.actor);
    match standing(&task.state) {
        _ if task.is_step => None,
        wire::Standing::Queued | wire::Standing::Stopping => None,
        wire::Standing::Running => task.waits_for_input.then_some(wire::NoticeLevel::Warning),
        wire::Standing::Succeeded => Some(wire::NoticeLevel::Info),
        wire::Standing::Stopped => match by {
            None | Some(task::Actor::Client | task::Actor::Agent) => Some(wire::NoticeLevel::Info),
            Some(
                task::Actor::Deadline
                | task::Actor::Linger
                | task::Actor::Limit
                | task::Actor::Dependency
                | task::Actor::Engine
                | task::Actor::Daemon,
            ) => Some(wire::NoticeLevel::Warning),
        },
        wire::Standing::Failed | wire::Standing::TimedOut | wire::Standing::Lost => {
            Some(wire::NoticeLevel::Error)
        }
    }
}

pub(crate) fn standing(state: &task::State) -> wire::Standing {
    match state {
        task::State::Queued(_) => wire::Standing::Queued,
        task::State::Running => wire::Standing::Running,
        task::State::Stopping { .. } => wire::Standing::Stopping,
        task::State::Ended(end) => match (end.outcome, end.exit) {
            (task::Outcome::Exited, task::Exit::Code(0)) => wire::Standing::Succeeded,
            (task::Outcome::Exited, _) => wire::Standing::Failed,
            (task::Outcome::Stopped, _) => wire::Standing::Stopped,
            (task::Outcome::TimedOut, _) => wire::Standing::TimedOut,
            (task::Outcome::Lost, _) => wire::Standing::Lost,
        },
    }
}

/// Whether a task without a leader that ended like this had been waiting for its turn.
fn is_of_line(end: &task::End) -> bool {
    match end.outcome {
        task::Outcome::Stopped | task::Outcome::TimedOut => true,
        task::Outcome::Exited | task::Outcome::Lost => false,
    }
}

fn queued(it: &task::Queued) -> wire::Queued {
    let (reason, position) = match &it.reason {
        task::Wait::Slot { name, position, behind } => {
            let title = behind.as_ref().and_then(|it| it.title.as_deref());
            let reason = wire::QueuedReason {
                slot: Some(name.clone()),
                behind: behind.as_ref().map(|it| it.id.to_string()),
                title: title.map(|it| words::shorten(&words::one_line(it), TITLE_BYTES)),
                ..wire::QueuedReason::default()
            };
            (reason, Some(*position))
        }
        task::Wait::After(ids) => {
            let after = ids.iter().map(ToString::to_string).collect();
            (wire::QueuedReason { after, ..wire::QueuedReason::default() }, None)
        }
        task::Wait::Place { name, why } => {
            let place = Some(name.clone());
            let why = Some(words::one_line(why)).filter(|why| !why.is_empty());
            (wire::QueuedReason { place, why, ..wire::QueuedReason::default() }, None)
        }
    };
    let left_ms = it.left.map(millis);
    wire::Queued { since: time(it.since), reason, position, left_ms }
}

/// Converts the operation that reported an end.
pub(crate) fn delivered_by(by: task::DeliveredBy) -> wire::DeliveredBy {
    match by {
        task::DeliveredBy::Drain => wire::DeliveredBy::Drain,
        task::DeliveredBy::Wait => wire::DeliveredBy::Wait,
        task::DeliveredBy::Check => wire::DeliveredBy::Check,
    }
}

pub(crate) fn tasks(tasks: &[task::Task]) -> Vec<wire::Task> {
    tasks.iter().map(task).collect()
}

pub(crate) fn notification(it: &task::Notification) -> wire::Notification {
    let (kind, matched) = match &it.kind {
        task::NotificationKind::Exited => (wire::NotificationKind::Exited, None),
        task::NotificationKind::Stalled => (wire::NotificationKind::Stalled, None),
        task::NotificationKind::Matched(found) => (
            wire::NotificationKind::Matched,
            Some(wire::Match {
                id: found.id.clone(),
                line: found.line.clone(),
                offset: found.offset,
            }),
        ),
    };
    wire::Notification {
        seq: it.seq,
        queue: it.queue.clone(),
        kind,
        at: time(it.at),
        task: task(&it.told()),
        preview: wire::Preview {
            head: it.preview.head.clone(),
            tail: it.preview.tail.clone(),
            omitted: it.preview.omitted,
        },
        matched,
    }
}

/// Converts the result of a drain.
pub(crate) fn drained(it: &Drained) -> wire::DrainResult {
    wire::DrainResult {
        notifications: it.notifications.iter().map(notification).collect(),
        remaining: it.remaining,
    }
}

/// Converts the result of a wait.
pub(crate) fn waited(it: &Waited) -> wire::WaitResult {
    wire::WaitResult { tasks: tasks(&it.tasks), timed_out: it.timed_out }
}

/// Formats a time: RFC 3339, UTC, milliseconds. Clamped to the years that this format can represent.
pub(crate) fn time(at: task::Timestamp) -> wire::DateTime {
    let at = task::Timestamp(at.0.clamp(0, LAST_MOMENT));
    wire::DateTime(humantime::format_rfc3339_millis(SystemTime::from(at)).to_string())
}

/// A duration in whole milliseconds, at most [`wire::INTEGER_MAX`].
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(wire::INTEGER_MAX)
}

/// The end of an output, as text. It never starts in the middle of a character.
pub(crate) fn tail(chunk: &Chunk) -> wire::TailText {
    let skip = if chunk.offset == 0 { 0 } else { leading_continuation(&chunk.data) };
    wire::TailText {
        text: String::from_utf8_lossy(&chunk.data[skip..]).into_owned(),
        offset: chunk.offset + skip as u64,
    }
}

/// A piece of output in the requested encoding. Text never ends in the middle of a character, unless the output does,
/// so that `nextOffset` never splits one.
pub(crate) fn read(chunk: Chunk, encoding: wire::Encoding) -> wire::ReadResult {
    let Chunk { offset, mut data, mut next_offset, eof, gap } = chunk;
    let data = match encoding {
        wire::Encoding::Base64 => BASE64.encode(&data),
        wire::Encoding::Utf8 => {
            let held = if eof { 0 } else { incomplete_tail(&data) };
            // With a limit below the size of a character, holding all of it back would never make progress.
            if held > 0 && held < data.len() {
                data.truncate(data.len() - held);
                next_offset -= held as u64;
            }
            lossy(data)
        }
    };
    let gap = gap.map(|(from, to)| wire::Gap { from, to });
    wire::ReadResult { data, encoding, offset, next_offset, eof, gap }
}

/// Bytes as text if they are valid UTF-8, otherwise as base64.
pub(crate) fn exact(data: Vec<u8>) -> (String, wire::Encoding) {
    match String::from_utf8(data) {
        Ok(text) => (text, wire::Encoding::Utf8),
        Err(error) => (BASE64.encode(error.as_bytes()), wire::Encoding::Base64),
    }
}

/// How many bytes at the end are the start of an incomplete UTF-8 character: 0 to 3.
pub(crate) fn incomplete_tail(data: &[u8]) -> usize {
    let window = &data[data.len().saturating_sub(3)..];
    for (back, byte) in window.iter().rev().enumerate() {
        let wanted = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x00..=0x7f | 0xc0 | 0xc1 | 0xf5..=0xff => 0,
        };
        let have = back + 1;
        let start = data.len() - have;
        // Three bytes can look like the start of a character that no further byte completes (`e0 80`).
        let may_be = match std::str::from_utf8(&data[start..]) {
            Ok(_) => false,
            Err(error) => error.error_len().is_none(),
        };
        return if wanted > have && may_be { have } else { 0 };
    }
    0
}

/// The modes in which this machine can confine a task.
pub(crate) fn confine() -> Vec<wire::ConfineMode> {
    match meanwhile_core::confine::refusal() {
        None => vec![wire::ConfineMode::Look, wire::ConfineMode::Work],
        Some(_) => Vec::new(),
    }
}

/// The limits that apply to a client's requests.
pub(crate) fn limits() -> wire::Limits {
    wire::Limits {
        message_bytes: meanwhile_rpc::frame::MESSAGE_BYTES as u64,
        waiting_requests: limits::WAITING_REQUESTS_MAX as u64,
        running_tasks: limits::RUNNING_MAX as u64,
        command_bytes: limits::COMMAND_BYTES as u64,
        arguments_bytes: limits::ARGUMENTS_BYTES as u64,
        name_bytes: limits::NAME_BYTES as u64,
        watches: limits::WATCHES_MAX as u64,
        pattern_bytes: limits::PATTERN_BYTES as u64,
        watch_limit: limits::WATCH_LIMIT_MAX.into(),
        preview_bytes: limits::PREVIEW_BYTES as u64,
        match_line_bytes: limits::MATCH_LINE_BYTES as u64,
        read_bytes: limits::READ_BYTES_MAX,
        push_bytes: limits::PUSH_BYTES,
        push_interval_ms: millis(limits::PUSH_INTERVAL),
        progress_interval_ms: millis(limits::PROGRESS_INTERVAL),
        list: limits::LIST_LIMIT_MAX.into(),
        drain: limits::DRAIN_MAX_MAX.into(),
        ids: limits::IDS_MAX as u64,
        write_bytes: limits::WRITE_BYTES as u64,
        stop_grace_ms: millis(limits::STOP_GRACE_MAX),
        time_ms: millis(limits::TIME_MAX),
        after: limits::AFTER_MAX as u64,
        pty_side: limits::PTY_SIDE_MAX.into(),
    }
}

fn state(state: &task::State) -> wire::TaskState {
    match state {
        task::State::Queued(_) => wire::TaskState::Queued,
        task::State::Running => wire::TaskState::Running,
        task::State::Stopping { .. } => wire::TaskState::Stopping,
        task::State::Ended(end) => match end.outcome {
            task::Outcome::Exited => wire::TaskState::Exited,
            task::Outcome::Stopped => wire::TaskState::Stopped,
            task::Outcome::TimedOut => wire::TaskState::TimedOut,
            task::Outcome::Lost => wire::TaskState::Lost,
        },
    }
}

pub(crate) fn exit(exit: task::Exit) -> wire::Exit {
    match exit {
        task::Exit::Code(code) => wire::Exit { code: Some(code), signal: None },
        task::Exit::Signal(number) => wire::Exit { code: None, signal: Some(signal::name(number)) },
        task::Exit::Unknown => wire::Exit { code: None, signal: None },
    }
}

fn cause(cause: &task::Cause) -> wire::Cause {
    let actor = match cause.actor {
        task::Actor::Client => wire::Actor::Client,
        task::Actor::Agent => wire::Actor::Agent,
        task::Actor::Deadline => wire::Actor::Deadline,
        task::Actor::Linger => wire::Actor::Linger,
        task::Actor::Limit => wire::Actor::Limit,
        task::Actor::Dependency => wire::Actor::Dependency,
        task::Actor::Engine => wire::Actor::Engine,
        task::Actor::Daemon => wire::Actor::Daemon,
    };
    wire::Cause { actor, message: cause.message.clone() }
}

/// A path as text, because JSON strings are Unicode; each invalid byte becomes U+FFFD.
fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn lossy(data: Vec<u8>) -> String {
    String::from_utf8(data)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// How many bytes at the start continue a character that started before them.
fn leading_continuation(data: &[u8]) -> usize {
    data.iter().take(3).take_while(|byte| matches!(byte, 0x80..=0xbf)).count()
}
