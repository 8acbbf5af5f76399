//! The methods of the protocol, one row each: everything about a method other than its handler.
//!
//! Routing, `initialize`, `docs/schema.json`, and the tests that check the documentation and send invalid input are
//! derived from this table, for every front.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use crate::convert::params;
use crate::desk::Desk;
use crate::handlers::{
    ack, check, drain, places, read, remove, resize, restart, session, signal, sources, spawn,
    stop, subscribe, timeline, unsubscribe, wait, write,
};
use crate::peer::{Answer, Conduct, Handling};
use crate::wire::{self, acp};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    /// The name of the method.
    pub(crate) name: &'static str,
    /// How to run a request with these parameters.
    pub(crate) conduct: fn(&Value) -> Conduct,
    /// Parses the parameters and calls the handler.
    pub(crate) run: fn(Desk, Value) -> Handling,
    /// Generates the schema of its parameters.
    pub(crate) params: fn(&mut SchemaGenerator) -> Value,
    /// Generates the schema of its result.
    pub(crate) result: fn(&mut SchemaGenerator) -> Value,
}

/// Defines a row: name, conduct, handler, parameters => result.
macro_rules! methods {
    ($($name:literal, $conduct:ident, $handler:path, $params:ty => $result:ty;)*) => {
        /// Every method, in the order of the protocol.
        pub(crate) static METHODS: &[Method] = &[$(Method {
            name: $name,
            conduct: $conduct,
            run: |desk, given| Box::pin(async move {
                let answer: Answer<$result> = $handler(&desk, params::parse(given)?).await?;
                answer.written()
            }),
            params: schema::<$params>,
            result: schema::<$result>,
        }),*];
    };
}

methods! {
    "task/spawn", spawns, spawn::run, wire::SpawnParams => wire::TaskResult;
    "task/check", shows, check::run, wire::CheckParams => wire::CheckResult;
    "task/drain", takes, drain::run, wire::DrainParams => wire::DrainResult;
    "task/ack", changes, ack::run, wire::AckParams => wire::AckResult;
    "task/wait", waits, wait::run, wire::WaitParams => wire::WaitResult;
    "task/read", shows, read::run, wire::ReadParams => wire::ReadResult;
    "task/stop", waits, stop::run, wire::StopParams => wire::TaskResult;
    "task/restart", changes_late, restart::run, wire::RestartParams => wire::TaskResult;
    "task/signal", changes, signal::run, wire::SignalParams => wire::Empty;
    "task/resize", changes, resize::run, wire::ResizeParams => wire::Empty;
    "task/write", waits, write::run, wire::WriteParams => wire::Empty;
    "task/subscribe", changes, subscribe::run, wire::SubscribeParams => wire::Empty;
    "task/unsubscribe", changes, unsubscribe::run, wire::UnsubscribeParams => wire::Empty;
    "task/timeline", shows, timeline::run, wire::TimelineParams => wire::Timeline;
    "task/remove", changes, remove::run, wire::RemoveParams => wire::RemoveResult;
    "place/list", shows, places::run, wire::PlaceListParams => wire::PlaceList;
    "workspace/sources", waits, sources::run, wire::SourcesParams => wire::SourcesResult;
    // May look for a model server, or ask about a session of another process.
    "session/new", changes_late, session::new::run,
        acp::NewSessionRequest => acp::NewSessionResponse;
    "session/load", changes_late, session::load::run,
        acp::LoadSessionRequest => acp::LoadSessionResponse;
    "session/resume", changes_late, session::resume::run,
        acp::ResumeSessionRequest => acp::ResumeSessionResponse;
    "session/list", shows, session::list::run,
        acp::ListSessionsRequest => acp::ListSessionsResponse;
    // Cancelling it ends only the waiting; `session/cancel` ends the turn.
    "session/prompt", waits, session::prompt::run, acp::PromptRequest => acp::PromptResponse;
    "session/cancel", changes, session::cancel::run, acp::CancelNotification => wire::Empty;
    // Stops a foreground command first.
    "session/close", changes_late, session::close::run,
        acp::CloseSessionRequest => acp::CloseSessionResponse;
    "session/delete", changes_late, session::delete::run,
        acp::DeleteSessionRequest => acp::DeleteSessionResponse;
    // May ask a server for its only model.
    "session/set_config_option", changes_late, session::set_config_option::run,
        acp::SetSessionConfigOptionRequest => acp::SetSessionConfigOptionResponse;
    "session/set_mode", changes, session::set_mode::run,
        acp::SetSessionModeRequest => acp::SetSessionModeResponse;
    "session/trace", shows, session::trace::run, wire::TraceParams => wire::TraceResult;
    "session/watch", changes_late, session::watch::run, wire::WatchSessionParams => wire::Watched;
    "session/unwatch", changes, session::watch::end, wire::WatchSessionParams => wire::Empty;
}

/// Features that were added after the first release: parameters as `method.member`, which a server without this
/// feature refuses, and members of objects as `Object.member`. `initialize` lists them.
pub(crate) const FEATURES: [&str; 25] = [
    "initialize.secrets",
    "task/spawn.shell",
    "task/spawn.service",
    "task/spawn.confine",
    "task/spawn.network",
    "task/check.steps",
    "task/spawn.slot",
    "task/spawn.queueDeadlineMs",
    "task/spawn.after",
    "task/spawn.onFailure",
    "task/spawn.on",
    "task/spawn.resources",
    "Task.shown",
    "session/update.cards",
    "Task.waitsForInput",
    "session/new.mcpServers",
    "session/prompt.images",
    "session/trace.timeline",
    "session/turn.says",
    "Task.agent",
    "Task.place",
    "Watched.says",
    "Task.shown.notice",
    "session/turn.prompt",
    "Task.warning",
];

/// The method of this name in the table.
pub(crate) fn find(table: &'static [Method], name: &str) -> Option<&'static Method> {
    table.iter().find(|method| method.name == name)
}

/// For a method that answers by itself, and changes something.
fn changes(_: &Value) -> Conduct {
    Conduct { waits: false, cancellable: false, large: false }
}

/// For a method that answers by itself, changes something, and may have a large reply.
fn takes(_: &Value) -> Conduct {
    Conduct { waits: false, cancellable: false, large: true }
}

/// For a method that answers by itself, and changes nothing.
fn shows(_: &Value) -> Conduct {
    Conduct { waits: false, cancellable: true, large: true }
}

/// For a method that waits for something outside.
fn waits(_: &Value) -> Conduct {
    Conduct { waits: true, cancellable: true, large: false }
}

/// For a change that waits for something outside, such as the shim's report about `execve`, and has happened then.
fn changes_late(_: &Value) -> Conduct {
    Conduct { waits: true, cancellable: false, large: false }
}

/// A line for `/bin/sh` is answered once it is recorded; an argv, or a line for another shell, once it is known to
/// execute.
fn spawns(params: &Value) -> Conduct {
    match (params.get("command"), params.get("shell")) {
        (Some(Value::Array(_)), _) | (_, Some(Value::String(_))) => changes_late(params),
        (Some(_) | None, _) => changes(params),
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests;
