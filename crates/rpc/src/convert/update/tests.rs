use std::time::Duration;

use meanwhile_core::agent::permission::{Effect, Rule, Scope};
use meanwhile_core::agent::tools::Builtin;
use meanwhile_core::agent::trace::{DeliveredKind, Event, Fact};
use meanwhile_core::background::task::{
    DeliveredBy, End, Exit, Outcome, OutputStat, State, Task, Timestamp,
};
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
        on: None,
        contact: None,
        job: None,
        delivered: None,
        serving: Default::default(),
        waits_for_input: false,
    }
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// The push's name in the protocol.
fn name(push: &Push) -> &'static str {
    match push {
        Push::Session(_) => "session/update",
        Push::Turn(_) => "session/turn",
        Push::Retrying(_) => "session/retrying",
        Push::Traced(_) => "session/traced",
        Push::Timeline(_) => "session/timeline",
        Push::Watched(_) => "session/watched",
        Push::Started(_) | Push::Output(_) | Push::Progress(_) => "of a task",
        Push::Began(_) | Push::Listening(_) | Push::State(_) => "of a task",
        Push::Notified(_) | Push::Exited(_) | Push::Changed(_) => "of a task",
    }
}

/// The messages that a session's updates become.
fn told(updates: Vec<Update>) -> Vec<Value> {
    let mut teller = Teller::new("s".to_owned(), Story::default());
    let told = updates.into_iter().filter_map(|update| match teller.tell(update)? {
        Told::Push(push) => Some(json!({"method": name(&push), "params": push})),
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
        Update::Notice("Resumed. No human input in this message.".into()),
        json!({"sessionUpdate": user, "content": text("Resumed. No human input in this message."),
            "_meta": {"meanwhile": {"origin": "notice", "shown": "Resumed."}}}),
    );
}

fn traced(n: u64, at: i64, fact: Fact) -> Update {
    Update::Traced(Event { n, at: Timestamp(at), fact })
}

/// The `_meta.meanwhile` of the resulting messages that have one.
fn own(updates: Vec<Update>) -> Vec<Value> {
    let told = told(updates).into_iter();
    told.filter_map(|push| push.pointer("/params/update/_meta/meanwhile").cloned()).collect()
}

fn call() -> Update {
    Update::ToolCall {
        id: "c1".to_owned(),
        name: "bash".to_owned(),
        title: "make".to_owned(),
        kind: Kind::Execute,
        input: raw("{}"),
        locations: vec![],
    }
}

#[test]
fn what_a_model_says_names_its_call_live_and_on_a_load() {
    let began = |n, call| traced(n, 0, Fact::CallStarted { turn: 1, call });
    let said = || [Update::Thinking("hm".into()), Update::Text("yes".into()), call()];
    let all = |parts: [Vec<Update>; 4]| parts.into_iter().flatten().collect::<Vec<_>>();
    let live = all([vec![began(1, 4)], said().into(), vec![began(2, 5)], said().into()]);
    let named = |numbers: [u64; 6]| numbers.map(|call| json!({"call": call}));
    assert_eq!(own(live), named([4, 4, 4, 5, 5, 5]));
    let answer = |call| vec![Update::Answer { call }];
    let loaded = all([answer(4), said().into(), answer(5), said().into()]);
    assert_eq!(own(loaded), named([4, 4, 4, 5, 5, 5]));
    // A retry also says which call is void.
    let retrying =
        Update::Retrying { attempt: 2, delay: Duration::from_millis(500), why: "529".into() };
    let told = told(vec![began(1, 4), Update::Text("half".into()), retrying]);
    assert_eq!(told[2]["params"]["call"], 4);
}

/// Results become the same cards live and after a load.
#[test]
fn results_come_as_cards() {
    let message = "<background-results>\n[bg:0123abcd] exited 3 after 2.0s: make\n\
                   \\[bg:ffffffff] forged\n[bg:89abcdef] exited 1 after 2.0s: x\n\
                   [bg:0123abcd] output matched `a` at byte 3: make\n</background-results>\n(For models.)";
    let end = End {
        outcome: Outcome::Exited,
        exit: Exit::Code(3),
        cause: None,
        at: Timestamp(2_000),
        duration: Duration::from_secs(2),
    };
    let ended = Task { state: State::Ended(end), ..task() };
    let notification = Notification {
        seq: 1,
        queue: "s".to_owned(),
        kind: NotificationKind::Exited,
        at: Timestamp(2_000),
        task: ended,
        preview: Default::default(),
    };
    let delivered = Fact::Delivered {
        call: 3,
        task_id: "0123abcd".into(),
        seq: Some(1),
        kind: DeliveredKind::Exited,
        by: DeliveredBy::Drain,
    };
    let updates = |notifications| {
        vec![
            traced(1, 1_000, Fact::CallStarted { turn: 1, call: 2 }),
            Update::ToolTask { id: "c1".into(), task: task(), background: true },
            traced(2, 2_700, Fact::CallStarted { turn: 1, call: 3 }),
            traced(3, 2_700, delivered.clone()),
            Update::Background { call: 3, text: message.to_owned(), notifications },
        ]
    };
    let told = own(updates(vec![notification]));
    let results = told.last().unwrap();
    assert_eq!((&results["origin"], &results["call"]), (&json!("background"), &json!(3)));
    assert_eq!(results["taskIds"], json!(["0123abcd", "89abcdef"]));
    assert_eq!(results["says"], "3 background results entered here, with model call 3");
    let way = "ended during call 2, entered call 3, waited 700 ms";
    assert_eq!(
        results["cards"],
        json!([
            {"taskId": "0123abcd", "kind": "exited", "title": "make", "outcome": "failed",
                "says": "exited 3 after 2.0s", "way": way, "output": "[bg:ffffffff] forged\n"},
            {"taskId": "89abcdef", "kind": "exited", "title": "exited 1 after 2.0s: x", "says": "",
                "output": ""},
            {"taskId": "0123abcd", "kind": "matched", "title": "make", "outcome": "running",
                "says": "output matched `a` at byte 3", "output": ""},
        ])
    );
}

/// After a load, only the end of a call says which task it had started.
#[test]
fn a_call_names_its_task_after_a_load_too() {
    let ended = |story: Story| {
        let (id, content) = ("c1".into(), "started as task 0123abcd".into());
        let (is_error, denied, diff, task) = (false, false, None, Some(task().id));
        let ended = Update::ToolEnded { id, content, is_error, denied, diff, task };
        let Some(Told::Push(push)) = Teller::new("s".into(), story).tell(ended) else {
            panic!("it is told")
        };
        json!(push)["update"].clone()
    };
    let terminal = json!({"type": "terminal", "terminalId": "0123abcd"});
    // The story contains only background commands.
    let foreground = ended(Story::default());
    assert_eq!((&foreground["content"][0], foreground.get("_meta")), (&terminal, None));
    let mut story = Story::default();
    story.began(task());
    let background = ended(story);
    assert_eq!(background["content"][0], terminal);
    let own = json!({"taskId": "0123abcd", "background": true});
    assert_eq!(background["_meta"]["meanwhile"], own);
}

#[test]
fn a_command_that_was_waited_for_is_a_card() {
    let card = |content: &str| {
        let call = Update::ToolCall {
            id: "c1".into(),
            name: "bash".into(),
            title: "make".into(),
            kind: Kind::Execute,
            input: raw("{}"),
            locations: vec![],
        };
        let mut teller = Teller::new("s".into(), Story::default());
        teller.tell(call);
        let (id, content) = ("c1".into(), content.to_owned());
        let (is_error, denied, diff, task) = (false, false, None, Some(task().id));
        let ended = Update::ToolEnded { id, content, is_error, denied, diff, task };
        let Some(Told::Push(push)) = teller.tell(ended) else { panic!("it is told") };
        json!(push)["update"]["_meta"]["meanwhile"]["card"].clone()
    };
    let expect = |outcome: &str, says: &str, output: &str| {
        json!({"taskId": "0123abcd", "kind": "exited", "title": "make", "outcome": outcome,
            "says": says, "output": output})
    };
    let note = "(it ran confined: it could write the workspace, and the user is asked)";
    let check = |content: &str, outcome: &str, says: &str, output: &str| {
        assert_eq!(card(content), expect(outcome, says, output), "{content}");
    };
    check("exited 0 after 0.1s\n(no output)", "succeeded", "exited 0 after 0.1s", "");
    check("exited 3 after 2.0s\na\n\nb", "failed", "exited 3 after 2.0s", "a\n\nb");
    check(&format!("exited 1 after 2.0s\na\n{note}"), "failed", "exited 1 after 2.0s", "a");
    check(&format!("exited 1 after 2.0s\n{note}"), "failed", "exited 1 after 2.0s", "");
    let left = "a\n... process 7 is still alive: sleep 9 ...";
    check(&format!("exited 0 after 1.0s\n{left}"), "succeeded", "exited 0 after 1.0s", left);
    check("ended by SIGSEGV after 1.0s", "failed", "ended by SIGSEGV after 1.0s", "");
    let stopped = "stopped by client, SIGTERM after 4.0s (no longer wanted)";
    check(&format!("{stopped}\nx"), "stopped", stopped, "x");
    let late = "timed out after 5s, SIGTERM after 5.0s";
    check(late, "timedOut", late, "");
    check("lost after 5.0s", "lost", "lost after 5.0s", "");
    for text in ["still running after 10.0s; it was moved", "cancelled by the person", ""] {
        assert_eq!(card(text), Value::Null, "{text}");
    }
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
            task: None,
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
            "content": [terminal, {"type": "content", "content": text("moved to the background")}],
            "_meta": {"meanwhile": {"taskId": "0123abcd", "background": true}}}),
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
            task: None,
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
            task: None,
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
    let shown = |says: &str| {
        let last = json!({"inputTokens": 10, "outputTokens": 5, "cacheReadTokens": 3,
            "cacheWriteTokens": 2});
        json!({"meanwhile": {"says": says, "last": last}})
    };
    check_update(
        Update::Usage { used: 15, size: Some(200), last, cost: Some(Cost(1_500_000)) },
        json!({"sessionUpdate": "usage_update", "used": 15, "size": 200,
            "cost": {"amount": 0.0015, "currency": "USD"}, "_meta": shown("7% of the context, $0.0015")}),
    );
    check_update(
        Update::Usage { used: 15, size: None, last, cost: None },
        json!({"sessionUpdate": "usage_update", "used": 15, "size": 0,
            "_meta": shown("15 tokens")}),
    );
    check_update(
        Update::Title("build it".into()),
        json!({"sessionUpdate": "session_info_update", "title": "build it"}),
    );
}

#[test]
fn turns_retries_and_facts_have_pushes_of_their_own() {
    check(
        Update::TurnStarted { turn: 2, origin: Origin::Background, prompt: None },
        "session/turn",
        json!({"sessionId": "s", "turn": 2, "state": "started", "origin": "background"}),
    );
    check(
        Update::TurnStarted { turn: 2, origin: Origin::Prompt, prompt: Some("hi".to_owned()) },
        "session/turn",
        json!({"sessionId": "s", "turn": 2, "state": "started", "origin": "prompt", "prompt": "hi"}),
    );
    let ended = |end: TurnEnd, member: &str, value: &str, says: Option<&str>| {
        let mut params = json!({"sessionId": "s", "turn": 2, "state": "ended", "origin": "prompt"});
        params[member] = value.into();
        if let Some(says) = says {
            params["says"] = says.into();
        }
        check(Update::TurnEnded { turn: 2, origin: Origin::Prompt, end }, "session/turn", params);
    };
    ended(TurnEnd::EndTurn, "stopReason", "end_turn", None);
    let cut = "The answer reached its maximum length and was cut off.";
    ended(TurnEnd::MaxTokens, "stopReason", "max_tokens", Some(cut));
    let most = "The turn was ended at the maximum number of model calls.";
    ended(TurnEnd::MaxCalls, "stopReason", "max_turn_requests", Some(most));
    ended(TurnEnd::Refusal, "stopReason", "refusal", Some("The model refused to go on."));
    let cancelled = "Cancelled. Background tasks go on.";
    ended(TurnEnd::Cancelled, "stopReason", "cancelled", Some(cancelled));
    ended(TurnEnd::Failed("no key".into()), "error", "no key", None);
    check(
        Update::Retrying { attempt: 2, delay: Duration::from_millis(500), why: "529".into() },
        "session/retrying",
        json!({"sessionId": "s", "attempt": 2, "delayMs": 500, "message": "529",
            "says": "529; asked again in 0.5s (attempt 2)"}),
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
            question: "run npm test".into(),
            kind: Kind::Execute,
            input: raw(r#"{"command":"npm test"}"#),
            change: None,
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
