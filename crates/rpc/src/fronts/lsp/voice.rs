//! The messages that an LSP client is sent without a request: notifications with the protocol's names, `$/progress`,
//! and questions to the person.

use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use super::progress::Progresses;
use crate::peer::{Follow, Outbox, Voice};
use crate::wire::{self, Push, acp};

/// The method that asks the person.
pub(super) const PERMISSION: &str = "session/request_permission";

/// Defines a row: the event, its name, its parameters.
macro_rules! pushes {
    ($($variant:ident, $name:literal, $params:ty;)*) => {
        /// The name and the schema of each push, in the order of the protocol.
        pub(super) const PUSHES: &[(&str, fn(&mut SchemaGenerator) -> Value)] =
            &[$(($name, schema::<$params>)),*];

        fn name(push: &Push) -> &'static str {
            match push {
                $(Push::$variant(_) => $name),*
            }
        }
    };
}

pushes! {
    Started, "task/started", wire::StartedPush;
    Began, "task/began", wire::BeganPush;
    Output, "task/output", wire::OutputPush;
    Progress, "task/progress", wire::ProgressPush;
    Listening, "task/listening", wire::ListeningPush;
    State, "task/state", wire::StatePush;
    Notified, "task/notified", wire::NotifiedPush;
    Exited, "task/exited", wire::ExitedPush;
    Changed, "tasks/changed", wire::Changed;
    Session, "session/update", acp::SessionNotification;
    Turn, "session/turn", wire::TurnPush;
    Retrying, "session/retrying", wire::RetryingPush;
    Traced, "session/traced", wire::TracedPush;
    Timeline, "session/timeline", wire::TimelinePush;
    Watched, "session/watched", wire::Watched;
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// A push with its method name.
#[derive(Debug, Serialize)]
pub(crate) struct Named<'a> {
    method: &'static str,
    params: &'a Push,
}

impl<'a> Named<'a> {
    /// Adds the protocol's name to the push.
    pub(crate) fn new(push: &'a Push) -> Self {
        Self { method: name(push), params: push }
    }
}

/// A notification on the wire.
#[derive(Debug, Serialize)]
struct Notification<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: &'a Push,
}

/// Sends messages to an LSP client.
#[derive(Debug, Default)]
pub(super) struct LspVoice {
    pub(super) progresses: Progresses,
}

impl Voice for LspVoice {
    fn push(&self, push: &Push, outbox: &Outbox) {
        if let Push::Progress(report) = push {
            self.progresses.report(report, outbox);
        }
        outbox.send(&Notification { jsonrpc: "2.0", method: name(push), params: push });
        if let Push::Exited(exited) = push {
            self.progresses.end(&exited.notification.task, outbox);
        }
    }

    fn ask(&self, id: &str, question: &acp::RequestPermissionRequest, outbox: &Outbox) {
        outbox.send(&json!({"jsonrpc": "2.0", "id": id, "method": PERMISSION, "params": question}));
    }

    fn withdraw(&self, id: &str, outbox: &Outbox) {
        outbox.send(&json!({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": id}}));
    }

    fn follow(&self, follow: Follow, outbox: &Outbox) {
        self.progresses.follow(follow, outbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_named_as_in_the_protocol() {
        let changed =
            Push::Changed(wire::Changed { running: vec![], undelivered: [("q".into(), 2)].into() });
        let outbox = Outbox::new(crate::peer::frame::Framing::Lines);
        LspVoice::default().push(&changed, &outbox);
        let expect = r#"{"jsonrpc":"2.0","method":"tasks/changed","params":{"running":[],"undelivered":{"q":2}}}"#;
        assert_eq!(outbox.unwritten_text(), format!("{expect}\n"));
        let named = serde_json::to_string(&Named::new(&changed)).unwrap();
        assert_eq!(named, expect.replace(r#""jsonrpc":"2.0","#, ""));
    }
}
