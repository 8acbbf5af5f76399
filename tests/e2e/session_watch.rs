//! Watching sessions that another process has open (docs/watching.md).

use serde_json::{Value, json};

use crate::harness::{Daemon, Direction, Entry, Lab};
use crate::session::{Chat, ONE_TASK, here, scripted, selected};

const ASK: &str = "session/request_permission";

/// The pushes about a session on this connection, in order: updates, and the beginnings and ends of turns.
fn told(daemon: &Daemon, id: &str) -> Vec<Value> {
    let of = |entry: &Entry, push: &str| {
        entry.push(push).filter(|params| params["sessionId"] == *id).cloned()
    };
    let one = |entry: &Entry| match of(entry, "session/turn") {
        Some(turn) => Some(turn),
        None => Some(of(entry, "session/update")?["update"].clone()),
    };
    daemon.entries().iter().filter_map(one).collect()
}

/// The same without what is not stored: the progress of tool calls, turns, and token usage.
fn kept(told: &[Value]) -> Vec<Value> {
    let is_kept = |it: &&Value| match it["sessionUpdate"].as_str() {
        None | Some("usage_update") => false,
        Some("tool_call_update") => it["status"] == "completed" || it["status"] == "failed",
        Some(_) => true,
    };
    told.iter().filter(is_kept).cloned().collect()
}

/// A word for each push.
fn words(told: &[Value]) -> Vec<String> {
    let word = |it: &Value| match (it["sessionUpdate"].as_str(), it["state"].as_str()) {
        (Some("tool_call_update"), _) => match it["status"].as_str() {
            Some(status) => status.to_owned(),
            None => format!("{} of a tool", it["content"][0]["type"].as_str().unwrap_or("?")),
        },
        (Some(kind), _) => kind.to_owned(),
        (None, state) => format!("turn {}", state.unwrap_or("?")),
    };
    told.iter().map(word).collect()
}

fn watch(daemon: &Daemon, id: &str) -> Value {
    daemon.call("session/watch", json!({ "sessionId": id }))
}

/// Waits for a `session/watched` push that fits; returns its parameters.
#[track_caller]
fn stands(daemon: &Daemon, id: &str, fits: impl Fn(&Value) -> bool) -> Value {
    daemon.push("session/watched", |it| it["sessionId"] == *id && fits(it))
}

#[track_caller]
fn turn_ended(daemon: &Daemon, turn: u64) {
    daemon.push("session/turn", |it| it["turn"] == turn && it["state"] == "ended");
}

fn traced(daemon: &Daemon) -> Vec<Value> {
    daemon.pushes("session/traced").iter().map(|it| it["event"].clone()).collect()
}

#[test]
fn what_is_said_in_another_process_is_told_once_and_as_a_load_tells_it() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chat = Chat::new(&lab, ONE_TASK);
    let viewer = lab.daemon();
    let stands_so = watch(&viewer, &chat.id);
    let open = json!({
        "sessionId": chat.id, "holder": "open", "pid": chat.daemon.pid(), "asks": [],
        "says": format!(
            "Process {} has this session open: its updates are shown here. A prompt continues it here once it is \
             closed there.",
            chat.daemon.pid()
        ),
    });
    assert_eq!(stands_so, open);
    assert_eq!(chat.prompt("build it"), "end_turn");
    gate.open();
    chat.turn(2, "ended");
    turn_ended(&viewer, 2);
    assert_eq!(chat.prompt("bye"), "end_turn");
    turn_ended(&viewer, 3);
    // The viewer gets the same events in the same order.
    assert_eq!(json!(traced(&viewer)), json!(traced(&chat.daemon)));
    let turns = |daemon: &Daemon| {
        let mut turns = daemon.pushes("session/turn");
        // Who only watches sees the prompt as a message, as on a load.
        turns.iter_mut().for_each(|turn| drop(turn.as_object_mut().unwrap().remove("prompt")));
        json!(turns)
    };
    assert_eq!(turns(&viewer), turns(&chat.daemon));
    chat.daemon.call("session/close", json!({ "sessionId": chat.id }));
    stands(&viewer, &chat.id, |it| it["holder"] == "closed" && it.get("pid").is_none());
    // A client that watches or loads the session later gets the same updates.
    let (late, loaded) = (lab.daemon(), Chat::load(&lab, ONE_TASK, &chat.id));
    let again = told(&loaded.daemon, &chat.id);
    stands(&viewer, &chat.id, |it| it["pid"] == loaded.daemon.pid());
    assert_eq!(watch(&late, &chat.id)["holder"], "open");
    let live = told(&viewer, &chat.id);
    let said_before = told(&late, &chat.id);
    assert_eq!(json!(said_before), json!(again), "a later watch equals a load");
    assert_eq!(json!(kept(&live)), json!(kept(&again)), "a watch equals a load");
}

#[test]
fn a_turn_that_runs_is_told_from_where_it_is() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let script = "
[[turn]]
text = 'I look.'
[[turn.call]]
tool = 'bash'
input = { command = 'read x < gate; echo done' }
[[turn]]
text = 'Seen.'
";
    let chat = Chat::new(&lab, script);
    let ask = chat.ask("look");
    chat.task("read x < gate; echo done");
    let viewer = lab.daemon();
    watch(&viewer, &chat.id);
    let before = [
        "session_info_update",
        "turn started",
        "user_message_chunk",
        "agent_message_chunk",
        "tool_call",
        "in_progress",
        "terminal of a tool",
    ];
    // The history comes before the answer.
    assert_eq!(words(&told(&viewer, &chat.id)), before);
    gate.open();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
    turn_ended(&viewer, 1);
    let then = ["completed", "agent_message_chunk", "turn ended"];
    assert_eq!(words(&told(&viewer, &chat.id)[before.len()..]), then);
    let done = &told(&viewer, &chat.id)[before.len()];
    assert_eq!(done["_meta"]["meanwhile"]["card"]["output"], "done", "{done}");
}

#[test]
fn a_question_is_seen_and_cannot_be_answered_here() {
    let lab = Lab::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'touch a' }
[[turn]]
text = 'One.'
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'touch b' }
";
    let chat = Chat::new(&lab, script);
    chat.daemon.answers(ASK, None);
    let viewer = lab.daemon();
    watch(&viewer, &chat.id);
    let ask = chat.ask("go");
    let question = |entry: &Entry| (entry.message["method"] == ASK).then(|| entry.message.clone());
    let asked = chat.daemon.find("a question", question);
    let open = stands(&viewer, &chat.id, |it| it["asks"] != json!([]));
    assert_eq!(open["asks"][0]["toolCallId"], asked["params"]["toolCall"]["toolCallId"]);
    assert_eq!(open["asks"][0]["question"], "run touch a");
    let why = open["asks"][0]["why"].as_str().unwrap();
    let says = format!(
        "Process {} asks: may the agent run touch a? ({why}). Only that process can take the answer.",
        chat.daemon.pid()
    );
    assert_eq!(open["says"], says);
    // A client that starts to watch now sees the question, too.
    let late = lab.daemon();
    assert_eq!(watch(&late, &chat.id)["asks"], open["asks"]);
    let answer = json!({ "jsonrpc": "2.0", "id": asked["id"], "result": selected("allow_once") });
    chat.daemon.send_raw(&answer);
    stands(&viewer, &chat.id, |it| it["holder"] == "open" && it["asks"] == json!([]));
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "end_turn" })));
    turn_ended(&viewer, 1);
    assert!(
        viewer.entries().iter().all(|entry| question(entry).is_none()),
        "the viewer got the permission request"
    );
    // A question disappears when its turn ends or its process exits.
    let ask = chat.ask("again");
    stands(&viewer, &chat.id, |it| it["asks"][0]["question"] == "run touch b");
    chat.cancel();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "cancelled" })));
    turn_ended(&viewer, 2);
    viewer.whole("the question goes", |entries| {
        let last = entries.iter().rev().find_map(|entry| entry.push("session/watched"))?;
        (last["asks"] == json!([])).then_some(())
    });
}

#[test]
fn the_end_of_the_process_that_has_it_open_is_told() {
    let lab = Lab::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'touch a' }
[[turn]]
text = 'Back.'
";
    let chat = Chat::new(&lab, script);
    chat.daemon.answers(ASK, None);
    let viewer = lab.daemon();
    watch(&viewer, &chat.id);
    chat.ask("go");
    stands(&viewer, &chat.id, |it| it["asks"] != json!([]));
    let (id, pid) = (chat.id.clone(), chat.daemon.pid());
    chat.daemon.kill9();
    let gone = stands(&viewer, &id, |it| it["holder"] == "gone");
    let says = format!(
        "Process {pid} ended without closing the session, and its turn with it. The next prompt continues it here."
    );
    let expect = json!({ "sessionId": id, "holder": "gone", "pid": pid, "asks": [], "says": says });
    assert_eq!(gone, expect);
    // Another process opens the session, and the watch continues with it.
    let second = Chat::load(&lab, script, &id);
    stands(&viewer, &id, |it| it["pid"] == second.daemon.pid() && it["asks"] == json!([]));
    assert_eq!(second.prompt("and?"), "end_turn");
    turn_ended(&viewer, 2);
    let said: Vec<_> =
        told(&viewer, &id).into_iter().map(|it| it["content"]["text"].clone()).collect();
    assert_eq!(
        said.iter().filter(|text| **text == "Back.").count(),
        1,
        "{said:?} {:#?}",
        viewer.entries()
    );
    // SIGTERM is a clean end.
    second.daemon.shut_down();
    stands(&viewer, &id, |it| it["holder"] == "closed");
    let third = lab.daemon();
    third.call("session/delete", json!({ "sessionId": id }));
    stands(&viewer, &id, |it| it["holder"] == "deleted");
}

#[test]
fn a_watch_begins_once_and_ends_when_it_is_told_to() {
    let lab = Lab::new();
    let chat = Chat::new(&lab, "[[turn]]\ntext = 'one'\n[[turn]]\ntext = 'two'\n");
    let named = json!({ "sessionId": chat.id });
    let refused = |daemon: &Daemon, method: &str| {
        let error = daemon.refused(-32602, method, named.clone());
        assert_eq!(error.data["field"], "sessionId", "{error:?}");
        error.message
    };
    let viewer = lab.daemon();
    let why = refused(&chat.daemon, "session/watch");
    assert!(why.contains("is open on this connection"), "{why}");
    assert!(refused(&viewer, "session/unwatch").contains("is not watched"));
    watch(&viewer, &chat.id);
    assert!(refused(&viewer, "session/watch").contains("already watched on this connection"));
    let unknown = viewer.refused(-32602, "session/watch", json!({ "sessionId": "nope" }));
    assert!(unknown.message.contains("no session `nope`"), "{}", unknown.message);
    assert_eq!(chat.prompt("1"), "end_turn");
    turn_ended(&viewer, 1);
    assert_eq!(viewer.call("session/unwatch", named.clone()), json!({}));
    let told_before = told(&viewer, &chat.id).len();
    assert_eq!(chat.prompt("2"), "end_turn");
    // A repeated watch starts again with the complete history, without other pushes in between.
    let watched = watch(&viewer, &chat.id);
    assert_eq!(watched["holder"], "open");
    let all = told(&viewer, &chat.id);
    let texts: Vec<_> =
        all[told_before..].iter().filter_map(|it| it["content"]["text"].as_str()).collect();
    assert_eq!(texts, ["1", "one", "2", "two"]);
    // A load replaces the watch.
    chat.daemon.call("session/close", named.clone());
    let mut params = here(&lab);
    params["sessionId"] = chat.id.clone().into();
    stands(&viewer, &chat.id, |it| it["holder"] == "closed");
    // Without a model the load fails, and the watch continues.
    viewer.refused(1006, "session/load", params);
    assert_eq!(viewer.call("session/unwatch", named), json!({}));
}

#[test]
fn nothing_is_told_twice_where_a_watched_session_is_loaded() {
    let lab = Lab::new();
    let script = "[[turn]]\ntext = 'one'\n[[turn]]\ntext = 'two'\n";
    let (chat, viewer) = (Chat::new(&lab, script), scripted(&lab, script));
    watch(&viewer, &chat.id);
    assert_eq!(chat.prompt("1"), "end_turn");
    turn_ended(&viewer, 1);
    let mut params = here(&lab);
    params["sessionId"] = chat.id.clone().into();
    // The session is open in another process: the load fails, and the watch continues.
    viewer.refused(1003, "session/load", params.clone());
    chat.daemon.call("session/close", json!({ "sessionId": chat.id }));
    stands(&viewer, &chat.id, |it| it["holder"] == "closed");
    let before = viewer.entries().len();
    viewer.call("session/load", params);
    let prompt = json!([{ "type": "text", "text": "2" }]);
    viewer.call("session/prompt", json!({ "sessionId": chat.id, "prompt": prompt }));
    let after = viewer.entries();
    let said = |entry: &Entry| {
        let update =
            entry.push("session/update").filter(|_| entry.direction == Direction::Received)?;
        let update = &update["update"];
        update["content"]["text"].as_str().map(str::to_owned)
    };
    let said: Vec<_> = after[before..].iter().filter_map(said).collect();
    assert_eq!(said, ["1", "one", "two"]);
    viewer.refused(-32602, "session/unwatch", json!({ "sessionId": chat.id }));
}

#[test]
fn a_client_that_resumes_what_it_watched_has_all_that_was_said_before() {
    let lab = Lab::new();
    let texts = ["one", "two", "three", "four", "five"];
    let script: String = texts.iter().map(|text| format!("[[turn]]\ntext = '{text}'\n")).collect();
    let (chat, viewer) = (Chat::new(&lab, &script), scripted(&lab, &script));
    watch(&viewer, &chat.id);
    // Fill the pipe with replies, while the client does not read, so that no more fit.
    let noise = viewer.sh("head -c 1000000 /dev/zero | tr '\\0' x");
    viewer.exited(&noise);
    viewer.stall(true);
    for _ in 0..8 {
        viewer.ask("task/read", json!({ "id": noise, "limit": 1_000_000 }));
    }
    for _ in &texts[..4] {
        assert_eq!(chat.prompt("go on"), "end_turn");
    }
    chat.daemon.call("session/close", json!({ "sessionId": chat.id }));
    let mut params = here(&lab);
    params["sessionId"] = chat.id.clone().into();
    watch(&chat.daemon, &chat.id);
    let resumes = viewer.ask("session/resume", params);
    stands(&chat.daemon, &chat.id, |it| it["pid"] == viewer.pid());
    viewer.stall(false);
    viewer.answer(resumes).expect("the session is free");
    let prompt = json!([{ "type": "text", "text": "and?" }]);
    viewer.call("session/prompt", json!({ "sessionId": chat.id, "prompt": prompt }));
    let is_answer = |it: &&Value| it["sessionUpdate"] == "agent_message_chunk";
    let told = told(&viewer, &chat.id);
    let answers: Vec<_> =
        told.iter().filter(is_answer).filter_map(|it| it["content"]["text"].as_str()).collect();
    assert_eq!(answers, texts);
    viewer.refused(-32602, "session/unwatch", json!({ "sessionId": chat.id }));
}

#[test]
fn a_question_of_a_process_that_was_killed_is_cut_off_in_the_timeline() {
    let lab = Lab::new();
    let script = "
[[turn]]
[[turn.call]]
tool = 'bash'
input = { command = 'touch a' }
";
    let chat = Chat::new(&lab, script);
    chat.daemon.answers(ASK, None);
    let viewer = lab.daemon();
    watch(&viewer, &chat.id);
    chat.ask("go");
    stands(&viewer, &chat.id, |it| it["asks"] != json!([]));
    let params = json!({ "sessionId": chat.id, "timeline": true });
    let question = || {
        let trace = viewer.call("session/trace", params.clone());
        let pieces = trace["timeline"]["pieces"].as_array().expect("pieces");
        pieces.iter().find(|it| it["kind"] == "asks").expect("the question").clone()
    };
    assert_eq!(question().get("to"), None, "it is open while its process lives");
    let id = chat.id.clone();
    chat.daemon.kill9();
    stands(&viewer, &id, |it| it["holder"] == "gone");
    let cut = question();
    assert!(cut["to"].is_string(), "{cut}");
    assert!(cut["says"].to_string().contains("its process ended"), "{cut}");
    // Another process repairs the session, and sweeps what the killed one left.
    let second = Chat::load(&lab, script, &id);
    let cut = question();
    assert!(cut["says"].to_string().contains("a restart of the agent"), "{cut}");
    second.daemon.shut_down();
}
