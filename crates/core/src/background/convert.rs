//! Converts between the shim's files and the types of this crate.

use std::time::Duration;

use meanwhile_shim::log;
use meanwhile_shim::record::{self, Record};
use meanwhile_shim::spec::{self, Spec};

use crate::background::ledger::NewTask;
use crate::background::preview;
use crate::background::task::{
    Actor, Cause, End, Exit, Job, Outcome, OutputStat, Preview, Survivor, TaskId, Timestamp,
};
use crate::background::{Stdin, Watch};

/// Bytes at each end of an output that a preview is built from: the preview is cut at a line end within them.
const PREVIEW_SOURCE: u64 = 4_096;

/// A new task's row, from its spec.
pub fn facts(id: TaskId, spec: &Spec) -> NewTask {
    NewTask {
        id,
        workspace: spec.workspace.clone(),
        queue: spec.queue.clone(),
        label: spec.label.clone(),
        command: spec.command.clone(),
        cwd: spec.cwd.clone(),
        created_at: Timestamp(spec.created_ms),
        deadline: spec.deadline,
        linger: spec.linger,
        stdin: stdin_of(spec),
        watches: spec
            .watches
            .iter()
            .map(|w| Watch { id: w.id.clone(), pattern: w.pattern.clone(), limit: w.limit })
            .collect(),
        client_token: spec.client_token.clone(),
        service: spec.service,
        is_step: spec.is_step,
        place: spec.place.clone(),
        slot: spec.line.slot.as_ref().map(|slot| slot.name.clone()),
        after: spec.line.after.iter().filter_map(|id| id.parse().ok()).collect(),
    }
}

/// A task's standard input, from its spec.
pub fn stdin_of(spec: &Spec) -> Stdin {
    match spec.stdin {
        spec::Stdin::Null => Stdin::Null,
        spec::Stdin::Pipe => Stdin::Pipe,
        spec::Stdin::Pty { rows, cols } => Stdin::Pty { rows, cols },
    }
}

/// A spawn's standard input, in the shim's type.
pub fn stdin(stdin: Stdin) -> spec::Stdin {
    match stdin {
        Stdin::Null => spec::Stdin::Null,
        Stdin::Pipe => spec::Stdin::Pipe,
        Stdin::Pty { rows, cols } => spec::Stdin::Pty { rows, cols },
    }
}

/// An actor in the shim's type.
pub fn actor_to_record(actor: Actor) -> record::Actor {
    match actor {
        Actor::Client => record::Actor::Client,
        Actor::Agent => record::Actor::Agent,
        Actor::Deadline => record::Actor::Deadline,
        Actor::Linger => record::Actor::Linger,
        Actor::Limit => record::Actor::Limit,
        Actor::Daemon => record::Actor::Daemon,
        Actor::Dependency => record::Actor::Dependency,
        Actor::Engine => record::Actor::Engine,
    }
}

/// A cause from a record.
pub fn cause(cause: &record::Cause) -> Cause {
    let actor = match cause.actor {
        record::Actor::Client => Actor::Client,
        record::Actor::Agent => Actor::Agent,
        record::Actor::Deadline => Actor::Deadline,
        record::Actor::Linger => Actor::Linger,
        record::Actor::Limit => Actor::Limit,
        record::Actor::Daemon => Actor::Daemon,
        record::Actor::Dependency => Actor::Dependency,
        record::Actor::Engine => Actor::Engine,
    };
    Cause { actor, message: cause.message.clone() }
}

/// An end from a record.
pub fn end(end: &record::End) -> End {
    End {
        outcome: match end.outcome {
            record::Outcome::Exited => Outcome::Exited,
            record::Outcome::Stopped => Outcome::Stopped,
            record::Outcome::TimedOut => Outcome::TimedOut,
            record::Outcome::Lost => Outcome::Lost,
        },
        exit: match end.exit {
            record::Exit::Code(code) => Exit::Code(code),
            record::Exit::Signal(signal) => Exit::Signal(signal),
            record::Exit::NotStarted(_) | record::Exit::Unknown => Exit::Unknown,
        },
        cause: end.cause.as_ref().map(cause),
        at: Timestamp(end.at_ms),
        duration: Duration::from_nanos(end.duration_ns),
    }
}

/// The output size in a task's record.
pub fn output(record: &Record) -> OutputStat {
    let dropped = match (&record.elsewhere, &record.end) {
        // Output that is still to be fetched is not lost.
        (Some(place), Some(end)) if place.partial => end.dropped,
        _ => record.extent.dropped(),
    };
    OutputStat { total: record.extent.total, dropped }
}

/// What is known of a task at its place.
pub fn job(record: &Record) -> Option<Job> {
    let engine = record.engine.as_ref()?;
    let warning = if engine.sources == record::SAME { "" } else { &engine.sources };
    Some(Job {
        engine: engine.name.clone(),
        id: engine.job.clone(),
        node: engine.node.clone(),
        warning: warning.to_owned(),
    })
}

/// The survivors that a record lists.
pub fn survivors(record: &Record) -> Vec<Survivor> {
    let end = record.end.iter().flat_map(|end| &end.survivors);
    end.map(|s| Survivor { pid: s.pid, command: s.command.clone() }).collect()
}

/// The beginning and end of an output. If a full disk cut the log's end, the record still has it.
pub fn preview(file: &std::fs::File, record: &Record) -> Preview {
    let extent = &record.extent;
    let total = extent.total;
    let kept = extent.kept();
    let head = kept.first().filter(|range| range.start == 0).map_or(0, |range| range.end);
    let head = log::read(file, extent, 0..head.min(PREVIEW_SOURCE)).unwrap_or_default();
    let tail_from = kept
        .last()
        .filter(|range| range.end == total)
        .map_or(total, |range| range.start.max(total.saturating_sub(PREVIEW_SOURCE)));
    let tail = log::read(file, extent, tail_from..total).unwrap_or_default();
    let tail = if tail.len() < record.last.len() { &record.last } else { &tail };
    preview::build(&head, tail, total)
}
