//! Parses the payload of a host's hook: which session, and which event.

use serde_json::Value;

use crate::cli::args::Host;

/// The events at which a hook may report something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// A prompt was sent, or a tool has run: the report enters the next model call.
    Turn,
    /// A session was started or resumed, or its history was compacted.
    Start,
    /// The model has finished its turn.
    Stop,
    /// The session has ended.
    End,
}

impl Moment {
    /// Whether a hook at this event can bring a result to the model.
    pub(super) fn can_tell(self) -> bool {
        match self {
            Self::Turn | Self::Start | Self::Stop => true,
            Self::End => false,
        }
    }
}

/// The names of the events in each host's payloads.
const MOMENTS: [(Host, &[(&str, Moment)]); 4] = [
    (Host::Claude, CLAUDE),
    (Host::Codex, CLAUDE),
    (
        Host::Gemini,
        &[
            ("SessionStart", Moment::Start),
            ("BeforeAgent", Moment::Turn),
            ("AfterTool", Moment::Turn),
            ("AfterAgent", Moment::Stop),
            ("SessionEnd", Moment::End),
        ],
    ),
    (
        Host::Opencode,
        &[
            ("session.created", Moment::Start),
            ("chat.message", Moment::Turn),
            ("tool.execute.after", Moment::Turn),
            ("session.idle", Moment::Stop),
            ("session.deleted", Moment::End),
            ("dispose", Moment::End),
        ],
    ),
];

const CLAUDE: &[(&str, Moment)] = &[
    ("SessionStart", Moment::Start),
    ("UserPromptSubmit", Moment::Turn),
    ("PostToolUse", Moment::Turn),
    ("PostToolUseFailure", Moment::Turn),
    ("Stop", Moment::Stop),
    ("SessionEnd", Moment::End),
];

/// A parsed payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) host: Host,
    /// The host's id of the session.
    pub(super) session: String,
    /// The host's name of the event.
    pub(super) event: String,
    pub(super) moment: Moment,
    /// Whether the host reports that no person is using the session.
    pub(super) unattended: bool,
    /// Whether the host's program exits with the turn, so that nothing can be reported later: `opencode run`.
    pub(super) ends_with_turn: bool,
}

impl Payload {
    /// Parses a payload; `None` for an event at which nothing is reported.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong with the payload.
    pub(super) fn read(host: Host, text: &[u8]) -> Result<Option<Self>, String> {
        let attended = std::env::var_os("CLAUDE_CODE_SESSION_ATTENDED");
        Self::read_with(host, text, attended.is_some_and(|it| it == "0"))
    }

    fn read_with(host: Host, text: &[u8], unattended: bool) -> Result<Option<Self>, String> {
        let payload: Value =
            serde_json::from_slice(text).map_err(|why| format!("it is not JSON: {why}"))?;
        let member = |name: &str| {
            payload.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(
                || format!("`{name}` is missing; expected the payload of a hook of this host"),
            )
        };
        let event = member("hook_event_name")?;
        let (_, moments) =
            MOMENTS.iter().find(|(of, _)| *of == host).expect("the table has every host");
        let Some((_, moment)) = moments.iter().find(|(name, _)| *name == event) else {
            return Ok(None);
        };
        let session = member("session_id")?;
        if session.len() > meanwhile_core::limits::NAME_BYTES {
            return Err(format!("`session_id` has {} bytes", session.len()));
        }
        let (session, event) = (session.to_owned(), event.to_owned());
        let ends_with_turn = payload.get("ends_with_turn").and_then(Value::as_bool) == Some(true);
        Ok(Some(Self { host, session, event, moment: *moment, unattended, ends_with_turn }))
    }

    /// Whether the hook at the end of a turn waits for tasks, because nothing else would report their results. With a
    /// person present, an asynchronous hook wakes Claude Code instead.
    pub(super) fn waits(&self) -> bool {
        match self.host {
            Host::Claude => self.unattended,
            Host::Codex | Host::Gemini | Host::Opencode => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(host: Host, text: &str) -> Result<Option<Payload>, String> {
        Payload::read_with(host, text.as_bytes(), false)
    }

    #[test]
    fn moments_are_known_by_each_hosts_names() {
        let check = |host, event: &str, expect: Option<Moment>| {
            let text = format!(r#"{{"session_id":"s","hook_event_name":"{event}","cwd":"/w"}}"#);
            let found = read(host, &text).unwrap().map(|payload| payload.moment);
            assert_eq!(found, expect, "{host:?} {event}");
        };
        check(Host::Claude, "PostToolUse", Some(Moment::Turn));
        check(Host::Codex, "Stop", Some(Moment::Stop));
        check(Host::Gemini, "AfterAgent", Some(Moment::Stop));
        check(Host::Opencode, "session.idle", Some(Moment::Stop));
        for host in [Host::Claude, Host::Codex, Host::Gemini, Host::Opencode] {
            check(host, "SubagentStop", None);
        }
    }

    #[test]
    fn what_is_not_a_payload_is_told() {
        for (text, says) in [
            ("", "not JSON"),
            ("[]", "`hook_event_name` is missing"),
            (r#"{"hook_event_name":"Stop"}"#, "`session_id` is missing"),
            (r#"{"hook_event_name":"Stop","session_id":5}"#, "`session_id` is missing"),
        ] {
            let why = read(Host::Claude, text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
