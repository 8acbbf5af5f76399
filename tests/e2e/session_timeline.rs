//! Timelines (docs/protocol.md, "Timelines"): the daemon computes pieces, and a client stores them by their keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Daemon, Direction, Lab, eventually};
use crate::session::{COMMAND, Chat, ONE_TASK, scripted_with, selected};

const ASK: &str = "session/request_permission";

/// A session on a daemon that pushes timelines.
fn drawing(lab: &Lab, script: &str) -> Chat {
    let options = json!({ "notify": ["timeline"] });
    Chat::on(lab, scripted_with(lab, script, options))
}

type Pieces = BTreeMap<String, Value>;

fn by_key(pieces: &Value) -> Pieces {
    let pieces = pieces.as_array().expect("pieces");
    let key = |it: &Value| it["key"].as_str().expect("a key").to_owned();
    pieces.iter().map(|it| (key(it), it.clone())).collect()
}

/// All pieces of a session's timeline, from `session/trace`.
fn whole(daemon: &Daemon, session: &str) -> Pieces {
    let result = daemon.call("session/trace", json!({ "sessionId": session, "timeline": true }));
    assert_eq!((&result["events"], &result["tasks"]), (&json!([]), &json!([])));
    by_key(&result["timeline"]["pieces"])
}

/// The same pieces, from the last answer and the pushes after it.
fn followed(chat: &Chat) -> Pieces {
    let mut pieces = Pieces::new();
    for entry in chat.daemon.entries() {
        if entry.direction != Direction::Received {
            continue;
        }
        let timeline = &entry.message["result"]["timeline"];
        if timeline.is_object() {
            pieces = by_key(&timeline["pieces"]);
        }
        if let Some(push) = entry.push("session/timeline") {
            assert_eq!(push["sessionId"], *chat.id);
            pieces.extend(by_key(&push["pieces"]));
        }
    }
    pieces
}

#[test]
fn pieces_that_are_pushed_make_the_picture_that_is_asked_for() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chat = drawing(&lab, ONE_TASK);
    assert_eq!(whole(&chat.daemon, &chat.id), Pieces::new(), "the timeline is empty at first");
    // Also ask during the turn: no push is lost between an answer and the next push.
    let prompt = chat.ask("build it");
    whole(&chat.daemon, &chat.id);
    assert!(chat.daemon.answer(prompt).is_ok());
    let task = chat.task(COMMAND);
    gate.open();
    chat.turn(2, "ended");
    let is_over = |pieces: &Pieces| {
        pieces.get("turn:2").is_some_and(|it| it["to"].is_string())
            && pieces.get(&format!("result:{task}")).is_some_and(|it| it["to"].is_string())
    };
    let live = eventually("the turn of the result ends", || Some(followed(&chat)).filter(is_over));
    let segment = &live[&format!("task:{task}")];
    assert_eq!((&segment["look"], &segment["taskId"]), (&json!("failed"), &json!(task)));
    let says = segment["says"].to_string();
    assert!(says.contains("exited 3 after"), "{says}");
    assert!(says.contains("ended while the agent was idle, woke the agent with call 3"), "{says}");
    assert_eq!(live["enters:3"]["label"], "Call 3 receives 1 result");
    assert_eq!(live["call:3"]["call"], 3);
    let lanes = ["agent", "queue", &task];
    assert!(lanes.iter().all(|lane| live[*lane]["type"] == "lane"), "{live:?}");
    assert_eq!(live[&format!("result:{task}")]["lane"], "queue");
    assert_eq!(whole(&chat.daemon, &chat.id), live, "for a session that this daemon has open");
    // Another daemon reads it from the store.
    let other = lab.daemon();
    assert_eq!(whole(&other, &chat.id), live, "for a session that another daemon has open");
    assert_eq!(
        other.pushes("session/timeline"),
        Vec::<Value>::new(),
        "this client did not request these pushes"
    );
}

#[test]
fn a_session_that_is_loaded_goes_on_with_the_picture_of_its_past() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chat = drawing(&lab, ONE_TASK);
    assert_eq!(chat.prompt("build it"), "end_turn");
    let task = chat.task(COMMAND);
    let (id, before) = (chat.id.clone(), whole(&chat.daemon, &chat.id));
    chat.daemon.kill9();
    let options = json!({ "notify": ["timeline"] });
    let daemon = scripted_with(&lab, ONE_TASK, options);
    let params = json!({ "sessionId": id, "cwd": lab.workspace(), "mcpServers": [] });
    daemon.call("session/load", params);
    let chat = Chat { daemon, id };
    let after = whole(&chat.daemon, &chat.id);
    for (key, piece) in before {
        assert_eq!(after[&key], piece);
    }
    assert!(after.keys().any(|key| key.starts_with("resumed:")), "{after:?}");
    gate.open();
    chat.daemon.exited(&task);
}

#[test]
fn an_open_question_is_a_state_of_the_agent() {
    let lab = Lab::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = './nothing' }
[[turn]]
text = 'Done.'
";
    let chat = drawing(&lab, script);
    chat.daemon.answers(ASK, None);
    let prompt = chat.ask("go");
    let is_question = |entry: &crate::harness::Entry| {
        (entry.message["method"] == ASK).then(|| entry.message.clone())
    };
    let question = chat.daemon.find("a question", is_question);
    let asks = |pieces: &Pieces| pieces.values().find(|it| it["kind"] == "asks").cloned();
    let open = eventually("the question is drawn", || asks(&followed(&chat)));
    assert_eq!((&open["lane"], &open["look"]), (&json!("agent"), &json!("asks")));
    assert_eq!(open["label"], "Waits for you: may it run ./nothing?");
    assert_eq!(open["to"], Value::Null);
    let answer =
        json!({ "jsonrpc": "2.0", "id": question["id"], "result": selected("reject_once") });
    chat.daemon.send_raw(&answer);
    assert!(chat.daemon.answer(prompt).is_ok());
    let closed =
        eventually("it is closed", || asks(&followed(&chat)).filter(|it| it["to"].is_string()));
    // The piece stays, and a client that connects later gets it too.
    assert_eq!(asks(&whole(&lab.daemon(), &chat.id)), Some(closed));
    // Clients that read the events themselves get only kinds of event that they know.
    let events = chat.trace()["events"].clone();
    let is_new = |it: &Value| it["type"] == "asked" || it["type"] == "answered";
    assert!(!events.as_array().expect("events").iter().any(is_new), "{events}");
    assert!(!chat.daemon.pushes("session/traced").iter().any(|it| is_new(&it["event"])));
}

/// The script of `meanwhile demo`, its prompt, and its recording, which `task/timeline` returns if no task has run.
const DEMO: &str = include_str!("../../crates/rpc/src/cli/demo/script.toml");
const PROMPT: &str = "How many files are here, and how small can they be packed?";
const RECORDED: &str = "crates/rpc/src/handlers/timeline/recorded.json";

/// The part of a trace that is the same in each run of the demo.
fn gist(trace: &Value) -> Vec<String> {
    let words = |it: &Value| {
        assert!(it["deliveredInCall"].is_number(), "{it}");
        format!("{}: {} {}", it["shown"]["title"], it["command"], it["exit"]["code"])
    };
    trace["tasks"].as_array().expect("tasks").iter().map(words).collect()
}

#[test]
fn the_recording_of_the_demo_is_what_the_demo_does() {
    let lab = Lab::new();
    let chat = Chat::new(&lab, DEMO);
    assert_eq!(chat.prompt(PROMPT), "end_turn");
    let is_over = |trace: &Value| {
        let list = |member: &str| trace[member].as_array().expect("a list").clone();
        let is_told = |it: &Value| it["deliveredInCall"].is_number();
        let over = list("events").last().is_some_and(|it| it["type"] == "turn_ended");
        over && list("tasks").iter().all(is_told)
    };
    let mut trace = eventually("both results enter", || Some(chat.trace()).filter(is_over));
    let tasks = trace["tasks"].as_array_mut().expect("tasks");
    // Foreground commands have no lane.
    tasks.retain(|it| it["shown"]["title"] != it["command"]);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(RECORDED);
    if std::env::var_os("MEANWHILE_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&json!({
            "events": trace["events"],
            "tasks": trace["tasks"],
        }));
        std::fs::write(&path, text.expect("it is JSON") + "\n").expect("it can be written");
    }
    let recorded = std::fs::read_to_string(&path).expect("the recording is there");
    let recorded: Value = serde_json::from_str(&recorded).expect("it is JSON");
    assert_eq!(gist(&recorded), gist(&trace), "MEANWHILE_BLESS=1 updates the recording");
}

#[test]
fn where_nothing_has_run_the_demo_is_shown() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let shown = daemon.call("task/timeline", json!({}));
    assert_eq!(shown["recorded"], true);
    assert_eq!(by_key(&shown["pieces"])["turn:1"]["label"], format!("Turn 1: {PROMPT}"));
    daemon.run("true");
    assert_eq!(daemon.call("task/timeline", json!({}))["recorded"], Value::Null);
}

#[test]
fn the_tasks_of_a_workspace_are_lanes_too() {
    let lab = Lab::new();
    let daemon = lab.daemon();
    let gate = lab.gate("gate");
    let failed = daemon.run("exit 2")["id"].as_str().map(str::to_owned).expect("an id");
    let open = daemon.sh("read x < gate");
    let pieces = by_key(&daemon.call("task/timeline", json!({}))["pieces"]);
    assert_eq!(pieces[&failed]["look"], "failed");
    assert_eq!(pieces[&format!("task:{open}")]["look"], "running");
    gate.open();
    daemon.exited(&open);
}
