//! Agent sessions (docs/protocol.md, "Agent sessions"): their updates, the order of these, and how results of
//! tasks reach them.

use serde_json::{Value, json};

use crate::harness::{Daemon, Direction, Entry, Lab, id_of};

/// A daemon with a scripted model, and a session on it.
pub(crate) struct Chat {
    pub(crate) daemon: Daemon,
    pub(crate) id: String,
}

/// A daemon whose model follows this script, and a client that allows every permission request.
pub(crate) fn scripted(lab: &Lab, script: &str) -> Daemon {
    scripted_with(lab, script, Value::Null)
}

/// The same, with `initializationOptions`.
pub(crate) fn scripted_with(lab: &Lab, script: &str, options: Value) -> Daemon {
    let path = lab.root().join("script.toml");
    std::fs::write(&path, script).expect("the test's directory is writable");
    let model = format!("script/{}", path.display());
    let daemon = lab.start().options(options).env("MEANWHILE_MODEL", &model).go();
    daemon.answers("session/request_permission", Some(selected("allow_once")));
    daemon
}

/// An answer to a permission request.
pub(crate) fn selected(option: &str) -> Value {
    json!({ "outcome": { "outcome": "selected", "optionId": option } })
}

/// The parameters that create a session in the workspace.
pub(crate) fn here(lab: &Lab) -> Value {
    json!({ "cwd": lab.workspace(), "mcpServers": [] })
}

impl Chat {
    /// A new session.
    pub(crate) fn new(lab: &Lab, script: &str) -> Self {
        Self::on(lab, scripted(lab, script))
    }

    /// A new session on this daemon.
    pub(crate) fn on(lab: &Lab, daemon: Daemon) -> Self {
        let made = daemon.call("session/new", here(lab));
        let id = made["sessionId"].as_str().expect("a session has a name").to_owned();
        Self { daemon, id }
    }

    /// Loads this session in another daemon.
    pub(crate) fn load(lab: &Lab, script: &str, id: &str) -> Self {
        let daemon = scripted(lab, script);
        let mut params = here(lab);
        params["sessionId"] = id.into();
        daemon.call("session/load", params);
        Self { daemon, id: id.to_owned() }
    }

    /// Sends a prompt without waiting for the end of its turn.
    pub(crate) fn ask(&self, text: &str) -> i64 {
        self.daemon.ask("session/prompt", self.prompt_params(text))
    }

    fn prompt_params(&self, text: &str) -> Value {
        json!({ "sessionId": self.id, "prompt": [{ "type": "text", "text": text }] })
    }

    /// Sends a prompt and waits until its turn ends; returns the stop reason.
    pub(crate) fn prompt(&self, text: &str) -> String {
        let result = self.daemon.call("session/prompt", self.prompt_params(text));
        result["stopReason"].as_str().expect("a turn ends for a reason").to_owned()
    }

    pub(crate) fn cancel(&self) {
        self.daemon.notify("session/cancel", json!({ "sessionId": self.id }));
    }

    /// Waits for an update of this kind that satisfies a condition.
    #[track_caller]
    pub(crate) fn update(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.daemon.find(&format!("an update {kind}"), |entry| {
            update(entry, &self.id).filter(|it| it["sessionUpdate"] == kind && fits(it)).cloned()
        })
    }

    /// Waits for a message of the agent with this text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        self.update("agent_message_chunk", |it| it["content"]["text"] == text);
    }

    /// Waits for a turn to begin or end.
    #[track_caller]
    pub(crate) fn turn(&self, turn: u64, state: &str) -> Value {
        self.daemon.push("session/turn", |it| {
            it["sessionId"] == *self.id && it["turn"] == turn && it["state"] == state
        })
    }

    /// The id of the task that runs the tool call with this title.
    #[track_caller]
    pub(crate) fn task(&self, title: &str) -> String {
        let is_it = |it: &Value| it["sessionUpdate"] == "tool_call" && it["title"] == title;
        let call = self.daemon.find(&format!("a tool call `{title}`"), |entry| {
            update(entry, &self.id).filter(|it| is_it(it)).cloned()
        });
        let update = self.update("tool_call_update", |it| {
            it["toolCallId"] == call["toolCallId"] && it["content"][0]["type"] == "terminal"
        });
        update["content"][0]["terminalId"].as_str().expect("a task has an id").to_owned()
    }

    /// The complete trace.
    pub(crate) fn trace(&self) -> Value {
        self.daemon.call("session/trace", json!({ "sessionId": self.id }))
    }
}

/// The update in a message, if it belongs to this session.
fn update<'a>(entry: &'a Entry, session: &str) -> Option<&'a Value> {
    entry.push("session/update").filter(|it| it["sessionId"] == session).map(|it| &it["update"])
}

/// A script whose first answer starts a background task, and whose last answer is about its end.
pub(crate) const ONE_TASK: &str = r#"
[[turn]]
text = "I start it."
[[turn.call]]
tool = "background_run"
input = { command = "read x < gate; echo built; exit 3" }
save = { task = "[0-9a-f]{8}" }

[[turn]]
text = "It runs."

[[turn]]
messages = ["background"]
expect = ["<background-results>", "[bg:{{task}}] exited 3", "built"]
text = "It has failed."

[[turn]]
text = "Bye."
"#;

/// The command of [`ONE_TASK`].
pub(crate) const COMMAND: &str = "read x < gate; echo built; exit 3";

#[test]
fn a_prompt_is_answered_after_everything_its_turn_said() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chat = Chat::new(&lab, ONE_TASK);
    let ask = chat.ask("build it");
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
    let entries = chat.daemon.entries();
    let is_about = |entry: &Entry| {
        entry.direction == Direction::Received && entry.message["params"]["sessionId"] == *chat.id
    };
    let of = |id: i64| {
        entries.iter().position(|entry| {
            entry.direction == Direction::Received
                && entry.message["id"] == id
                && entry.message.get("method").is_none()
        })
    };
    let first = entries.iter().position(is_about).expect("an update of the session");
    let last = entries.iter().rposition(is_about).expect("an update of the session");
    assert!(of(ask).expect("it was answered") > last, "the reply came before updates of its turn");
    let made = entries.iter().position(|entry| {
        entry.direction == Direction::Received && entry.message["result"]["sessionId"] == *chat.id
    });
    assert!(made.expect("it was answered") < first, "a push came before the reply to session/new");
    let said: Vec<String> = entries
        .iter()
        .filter_map(|entry| match entry.push("session/turn") {
            Some(turn) => Some(format!("turn {}", turn["state"].as_str()?)),
            None => Some(update(entry, &chat.id)?["sessionUpdate"].as_str()?.to_owned()),
        })
        .filter(|kind| kind != "usage_update" && kind != "session_info_update")
        .collect();
    let expect = [
        "turn started",
        "agent_message_chunk",
        "tool_call",
        "tool_call_update",
        "tool_call_update",
        "tool_call_update",
        "agent_message_chunk",
        "turn ended",
    ];
    assert_eq!(said, expect);
    gate.open();
    chat.says("It has failed.");
}

#[test]
fn a_task_that_ends_wakes_the_agent_by_itself() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chat = Chat::new(&lab, ONE_TASK);
    assert_eq!(chat.prompt("build it"), "end_turn");
    let task = chat.task(COMMAND);
    let known = chat.daemon.check(&task);
    assert_eq!((&known["queue"], &known["agent"]), (&json!(chat.id), &json!(true)));
    assert_eq!(chat.daemon.check(&chat.daemon.sh("true"))["agent"], Value::Null);
    let moved =
        chat.update("tool_call_update", |it| it["_meta"]["meanwhile"]["taskId"].is_string());
    let meta = json!({ "meanwhile": { "taskId": task, "background": true } });
    assert_eq!(moved["_meta"], meta);
    gate.open();
    let turn = chat.turn(2, "ended");
    assert_eq!((&turn["origin"], &turn["stopReason"]), (&json!("background"), &json!("end_turn")));
    let told = chat.update("user_message_chunk", |_| true);
    let own = &told["_meta"]["meanwhile"];
    assert_eq!((&own["origin"], &own["call"]), (&json!("background"), &json!(3)));
    assert_eq!(own["taskIds"], json!([task]));
    let card = &own["cards"][0];
    assert_eq!((&card["outcome"], &card["output"]), (&json!("failed"), &json!("built\n")));
    let way = card["way"].as_str().unwrap_or_default();
    assert!(
        way.starts_with("ended while the agent was idle, woke the agent with call 3"),
        "{card}"
    );
    chat.says("It has failed.");
    // The result started a turn, and is not delivered again.
    assert_eq!(chat.prompt("thanks"), "end_turn");
    assert_eq!(chat.trace()["tasks"][0]["deliveredInCall"], 3);
}

#[test]
fn a_session_can_leave_results_for_the_next_prompt() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let daemon = scripted(
        &lab,
        &ONE_TASK.replace("messages = [\"background\"]", "messages = [\"prompt\", \"background\"]"),
    );
    let mut params = here(&lab);
    params["_meta"] = json!({ "meanwhile": { "wake": "queue" } });
    let id = daemon.call("session/new", params)["sessionId"].as_str().expect("a name").to_owned();
    let chat = Chat { daemon, id };
    chat.prompt("build it");
    gate.open();
    let task = chat.task(COMMAND);
    chat.daemon.exited(&task);
    let trace = chat.trace();
    assert!(trace["tasks"][0].get("deliveredInCall").is_none(), "the agent was not woken: {trace}");
    chat.prompt("and?");
    chat.says("It has failed.");
}

#[test]
fn prompts_wait_for_the_turn_that_runs_and_delay_nothing_else() {
    let lab = Lab::new();
    let hold = lab.root().join("hold");
    let script = format!(
        "[[turn]]\nhold = \"{}\"\ntext = \"one\"\n[[turn]]\nexpect = [\"second\"]\ntext = \"two\"\n\
         [[turn]]\nexpect = [\"third\"]\ntext = \"three\"\n",
        hold.display()
    );
    let chat = Chat::new(&lab, &script);
    let asks = [chat.ask("first"), chat.ask("second"), chat.ask("third")];
    chat.turn(1, "started");
    // With three requests waiting, another is answered.
    assert_eq!(chat.daemon.run("exit 4")["exit"]["code"], 4);
    assert_eq!(chat.daemon.pushes("session/turn").len(), 1, "one turn at a time");
    std::fs::write(&hold, "").expect("the test's directory is writable");
    for (ask, text) in asks.into_iter().zip(["one", "two", "three"]) {
        assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
        chat.says(text);
    }
    // Each enters the conversation where its turn starts.
    let turns = chat.daemon.pushes("session/turn");
    let prompts: Vec<&Value> = turns.iter().filter_map(|turn| turn.get("prompt")).collect();
    assert_eq!(prompts, ["first", "second", "third"]);
}

#[test]
fn a_trace_tells_where_each_result_went_also_after_a_restart() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chat = Chat::new(&lab, ONE_TASK);
    chat.prompt("build it");
    gate.open();
    chat.turn(2, "ended");
    let trace = chat.trace();
    let kinds: Vec<&str> = trace["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    let expect = [
        "turn_started",
        "call_started",
        "call_ended",
        "tool_started",
        "task_spawned",
        "tool_ended",
        "call_started",
        "call_ended",
        "turn_ended",
        "turn_started",
        "call_started",
        "delivered",
        "call_ended",
        "turn_ended",
    ];
    assert_eq!(kinds, expect, "{trace:#}");
    // The pushed facts equal the stored ones.
    let pushed: Vec<Value> =
        chat.daemon.pushes("session/traced").iter().map(|it| it["event"].clone()).collect();
    assert_eq!(json!(pushed), trace["events"]);
    let task = &trace["tasks"][0];
    assert_eq!(task["taskId"], chat.task(COMMAND));
    assert_eq!(task["spawnedInCall"], 1);
    assert_eq!(task["deliveredInCall"], 3);
    assert_eq!(task["deliveredBy"], "drain");
    assert_eq!(task["seq"], 1);
    assert_eq!(task["exit"]["code"], 3);
    let moment = |name: &str| task[name].as_str().unwrap_or_else(|| panic!("no {name}: {task}"));
    let delivered = trace["events"][10]["at"].as_str().expect("a moment");
    assert!(moment("spawnedAt") <= moment("endedAt"));
    assert!(moment("endedAt") <= moment("queuedAt"));
    assert!(moment("queuedAt") <= delivered);
    let after = json!({ "sessionId": chat.id, "after": 12 });
    let rest = chat.daemon.call("session/trace", after);
    assert_eq!(rest["events"], json!(trace["events"].as_array().expect("events")[12..]));
    assert_eq!(rest["next"], trace["next"]);
    let (id, first) = (chat.id.clone(), trace);
    drop(chat);
    let again = lab.daemon().call("session/trace", json!({ "sessionId": id }));
    assert_eq!(again, first, "a trace needs no open session");
}

#[test]
fn sessions_are_listed_newest_first() {
    let lab = Lab::new();
    let daemon = scripted(&lab, "[[turn]]\ntext = \"yes\"\n");
    assert_eq!(daemon.call("session/list", json!({})), json!({ "sessions": [] }));
    let ids: Vec<Value> = (0..3)
        .map(|n| {
            let id = daemon.call("session/new", here(&lab))["sessionId"].clone();
            let prompt = json!([{ "type": "text", "text": format!("question {n}") }]);
            daemon.call("session/prompt", json!({ "sessionId": id, "prompt": prompt }));
            id
        })
        .collect();
    let list = daemon.call("session/list", json!({ "cwd": lab.workspace() }));
    let sessions = list["sessions"].as_array().expect("a list");
    let shown: Vec<&Value> = sessions.iter().map(|session| &session["sessionId"]).collect();
    assert_eq!(shown, ids.iter().rev().collect::<Vec<_>>());
    assert_eq!(sessions[0]["title"], "question 2");
    assert_eq!(sessions[0]["cwd"], json!(lab.workspace()));
    assert_eq!(daemon.call("session/list", json!({ "cwd": "/" })), json!({ "sessions": [] }));
    assert_eq!(id_of(&daemon.spawn(json!({ "command": "true" }))).len(), 8);
}
