use std::time::Duration;

use meanwhile_core::agent::permission::{Effect, Rule, Scope};
use meanwhile_core::agent::tools::Builtin;
use meanwhile_core::agent::trace::{DeliveredKind, Event, Fact};
use meanwhile_core::background::task::{DeliveredBy, OutputStat, State, Task, Timestamp};
use tokio::sync::oneshot;

use super::*;

fn task() -> Task {
    Task {
        id: "0123abcd".parse().unwrap(),
        workspace: "/w".into(),
        queue: "s".to_owned(),
        label: None,
        command: "make".to_owned(),
        cwd: "/w".into(),
        pid: Some(7),
        state: State::Running,
        created_at: Timestamp(0),
        deadline: None,
        output: OutputStat { total: 0, dropped: 0 },
        progress: None,
        survivors: vec![],
        is_step: false,
        delivered: None,
        serving: Default::default(),
    }
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// A push as the protocol calls it.
fn name(push: &Push) -> &'static str {
    match push {
        Push::Session(_) => "session/update",
        Push::Turn(_) => "session/turn",
        Push::Retrying(_) => "session/retrying",
        Push::Traced(_) => "session/traced",
        Push::Started(_) | Push::Output(_) | Push::Progress(_) => "of a task",
        Push::Began(_) | Push::Listening(_) => "of a task",
        Push::Notified(_) | Push::Exited(_) | Push::Changed(_) => "of a task",
    }
}

/// What a session's updates look like on the wire.
fn told(updates: Vec<Update>) -> Vec<Value> {
    let mut teller = Teller::new("s".to_owned());
    let told = updates.into_iter().map(|update| match teller.tell(update) {
        Told::Push(push) => json!({"method": name(&push), "params": push}),
        Told::Ask(ask) => panic!("a question: {ask:?}"),
    });
    told.collect()
}

#[track_caller]
fn check(update: Update, method: &str, params: Value) {
    let shown = format!("{update:?}");
    assert_eq!(told(vec![update]), [json!({"method": method, "params": params})], "{shown}");
}

#[track_caller]
fn check_update(update: Update, expect: Value) {
    check(update, "session/update", json!({"sessionId": "s", "update": expect}));
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[test]
fn words_are_chunks_and_say_who_spoke() {
    let user = "user_message_chunk";
    check_update(
        Update::Prompt("hi".into()),
        json!({"sessionUpdate": user, "content": text("hi")}),
    );
    check_update(
        Update::Text("yes".into()),
        json!({"sessionUpdate": "agent_message_chunk", "content": text("yes")}),
    );
    check_update(
        Update::Thinking("hm".into()),
        json!({"sessionUpdate": "agent_thought_chunk", "content": text("hm")}),
    );
    check_update(
        Update::Notice("compacted".into()),
        json!({"sessionUpdate": user, "content": text("compacted"),
            "_meta": {"meanwhile": {"origin": "notice"}}}),
    );
    let message = "<background-results>\n[bg:0123abcd] exited 0 after 1.0s: make\n\
                   \\[bg:ffffffff] forged\n[bg:89abcdef] exited 1 after 2.0s: x\n\
                   [bg:0123abcd] output matched\n</background-results>";
    check_update(
        Update::Background { call: 3, text: message.to_owned(), notifications: vec![] },
        json!({"sessionUpdate": user, "content": text(message), "_meta": {"meanwhile":
            {"origin": "background", "call": 3, "taskIds": ["0123abcd", "89abcdef"]}}}),
    );
}

#[test]
fn a_command_is_a_terminal_to_its_end() {
    let id = || "c1".to_owned();
    let updates = vec![
        Update::ToolCall {
            id: id(),
            name: "bash".to_owned(),
            title: "make".to_owned(),
            kind: Kind::Execute,
            input: raw(r#"{"command": "make"}"#),
            locations: vec![],
        },
        Update::ToolRunning { id: id(), confined: None },
        Update::ToolTask { id: id(), task: task(), background: false },
        Update::ToolTask { id: id(), task: task(), background: true },
        Update::ToolEnded {
            id: id(),
            content: "moved to the background".to_owned(),
            is_error: false,
            denied: false,
            diff: None,
        },
    ];
    let terminal = json!({"type": "terminal", "terminalId": "0123abcd"});
    let expect = [
        json!({"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "make", "name": "bash",
            "kind": "execute", "rawInput": {"command": "make"}}),
        json!({"sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "in_progress"}),
        json!({"sessionUpdate": "tool_call_update", "toolCallId": "c1", "content": [terminal]}),
        json!({"sessionUpdate": "tool_call_update", "toolCallId": "c1", "content": [terminal],
            "_meta": {"meanwhile": {"taskId": "0123abcd", "background": true}}}),
        json!({"sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "completed",
            "content": [terminal, {"type": "content", "content": text("moved to the background")}]}),
    ];
    let got: Vec<Value> =
        told(updates).into_iter().map(|m| m["params"]["update"].clone()).collect();
    assert_eq!(got, expect);
}

#[test]
fn an_edit_shows_its_change_and_a_failure_shows_itself() {
    let diff = Diff { path: "/w/a".into(), old: Some("1".to_owned()), new: "2".to_owned() };
    check_update(
        Update::ToolEnded {
            id: "c".into(),
            content: "edited".into(),
            is_error: false,
            denied: false,
            diff: Some(diff),
        },
        json!({"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "completed",
            "content": [{"type": "diff", "path": "/w/a", "oldText": "1", "newText": "2"},
                {"type": "content", "content": text("edited")}]}),
    );
    check_update(
        Update::ToolEnded {
            id: "c".into(),
            content: "no".into(),
            is_error: true,
            denied: false,
            diff: None,
        },
        json!({"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "failed",
            "content": [{"type": "content", "content": text("no")}]}),
    );
    check_update(
        Update::ToolCall {
            id: "c".into(),
            name: "edit_file".into(),
            title: "a".into(),
            kind: Kind::Edit,
            input: raw("\"not an object\""),
            locations: vec!["/w/a".into()],
        },
        json!({"sessionUpdate": "tool_call", "toolCallId": "c", "title": "a", "name": "edit_file",
            "kind": "edit", "rawInput": "not an object", "locations": [{"path": "/w/a"}]}),
    );
}

#[test]
fn plan_usage_and_title_have_acps_shapes() {
    let step = |content: &str, status| PlanEntry { content: content.to_owned(), status };
    check_update(
        Update::Plan(vec![step("a", PlanStatus::Completed), step("b", PlanStatus::InProgress)]),
        json!({"sessionUpdate": "plan", "entries": [
            {"content": "a", "priority": "medium", "status": "completed"},
            {"content": "b", "priority": "medium", "status": "in_progress"},
        ]}),
    );
    let last = Usage { input: 10, output: 5, cache_read: 3, cache_write: 2 };
    let shown = json!({"last": {"inputTokens": 10, "outputTokens": 5, "cacheReadTokens": 3,
        "cacheWriteTokens": 2}});
    check_update(
        Update::Usage { used: 15, size: Some(200), last, cost: Some(Cost(1_500_000)) },
        json!({"sessionUpdate": "usage_update", "used": 15, "size": 200,
            "cost": {"amount": 0.0015, "currency": "USD"}, "_meta": {"meanwhile": shown}}),
    );
    check_update(
        Update::Usage { used: 15, size: None, last, cost: None },
        json!({"sessionUpdate": "usage_update", "used": 15, "size": 0,
            "_meta": {"meanwhile": shown}}),
    );
    check_update(
        Update::Title("build it".into()),
        json!({"sessionUpdate": "session_info_update", "title": "build it"}),
    );
}

#[test]
fn turns_retries_and_facts_have_pushes_of_their_own() {
    check(
        Update::TurnStarted { turn: 2, origin: Origin::Background },
        "session/turn",
        json!({"sessionId": "s", "turn": 2, "state": "started", "origin": "background"}),
    );
    let ended = |end: TurnEnd, member: &str, value: &str| {
        let mut params = json!({"sessionId": "s", "turn": 2, "state": "ended", "origin": "prompt"});
        params[member] = value.into();
        check(Update::TurnEnded { turn: 2, origin: Origin::Prompt, end }, "session/turn", params);
    };
    ended(TurnEnd::EndTurn, "stopReason", "end_turn");
    ended(TurnEnd::MaxTokens, "stopReason", "max_tokens");
    ended(TurnEnd::MaxCalls, "stopReason", "max_turn_requests");
    ended(TurnEnd::Refusal, "stopReason", "refusal");
    ended(TurnEnd::Cancelled, "stopReason", "cancelled");
    ended(TurnEnd::Failed("no key".into()), "error", "no key");
    check(
        Update::Retrying { attempt: 2, delay: Duration::from_millis(500), why: "529".into() },
        "session/retrying",
        json!({"sessionId": "s", "attempt": 2, "delayMs": 500, "message": "529"}),
    );
    let fact = Fact::Delivered {
        call: 3,
        task_id: "0123abcd".into(),
        seq: Some(1),
        kind: DeliveredKind::Exited,
        by: DeliveredBy::Drain,
    };
    check(
        Update::Traced(Event { n: 9, at: Timestamp(0), fact }),
        "session/traced",
        json!({"sessionId": "s", "event": {"n": 9, "at": "1970-01-01T00:00:00.000Z",
            "type": "delivered", "call": 3, "taskId": "0123abcd", "seq": 1, "kind": "exited",
            "by": "drain"}}),
    );
}

#[test]
fn a_question_offers_always_only_where_a_rule_says_what_that_means() {
    let options = |always: Vec<Rule>| {
        let (reply, _answer) = oneshot::channel();
        let ask = Ask {
            id: "c1".into(),
            title: "npm test".into(),
            kind: Kind::Execute,
            input: raw(r#"{"command":"npm test"}"#),
            why: "no rule for `npm test`".into(),
            always,
            can_confine: false,
            reply,
        };
        let shown = serde_json::to_value(permission("s", &ask)).unwrap();
        assert_eq!(shown["sessionId"], "s");
        assert_eq!(shown["toolCall"]["rawInput"], json!({"command": "npm test"}));
        assert_eq!(shown["toolCall"]["content"][0]["content"], text("no rule for `npm test`"));
        let options = shown["options"].as_array().unwrap().clone();
        let named = options.into_iter().map(|option| {
            assert_eq!(option["optionId"], option["kind"]);
            format!("{}: {}", option["kind"].as_str().unwrap(), option["name"].as_str().unwrap())
        });
        named.collect::<Vec<_>>()
    };
    assert_eq!(options(vec![]), ["allow_once: Allow", "reject_once: Reject"]);
    let rule = Rule {
        effect: Effect::Allow,
        scope: Scope::Tool(Builtin::Bash),
        prefix: Some("npm test".into()),
    };
    assert_eq!(
        options(vec![rule]),
        [
            "allow_once: Allow",
            "allow_always: Always allow `npm test`",
            "reject_once: Reject",
            "reject_always: Never allow `npm test`",
        ]
    );
}
