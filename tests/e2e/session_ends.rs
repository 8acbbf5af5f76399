//! How turns and sessions end: cancelled, closed, killed, refused, without a model.

use serde_json::{Value, json};

use crate::confine::is_here;
use crate::harness::{Lab, eventually};
use crate::session::{COMMAND, Chat, ONE_TASK, here, scripted};

#[test]
fn cancelling_ends_the_turn_and_no_task() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let hold = lab.root().join("hold");
    let script = format!(
        "[[turn]]\n[[turn.call]]\ntool = \"background_run\"\ninput = {{ command = \"{COMMAND}\" }}\n\
         [[turn]]\nhold = \"{}\"\ntext = \"never\"\n[[turn]]\ntext = \"after\"\n",
        hold.display()
    );
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    chat.daemon.push("session/traced", |it| {
        it["event"]["type"] == "call_started" && it["event"]["call"] == 2
    });
    let task = chat.task(COMMAND);
    chat.cancel();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "cancelled" })));
    assert_eq!(chat.turn(1, "ended")["stopReason"], "cancelled");
    assert_eq!(chat.daemon.check(&task)["state"], "running");
    // Without a running turn a cancel does nothing; sent as a request, it is answered.
    let id = json!({ "sessionId": chat.id });
    assert_eq!(chat.daemon.call("session/cancel", id), json!({}));
    std::fs::write(&hold, "").expect("the test's directory is writable");
    gate.open();
    assert_eq!(chat.daemon.exited(&task)["task"]["exit"]["code"], 3);
    chat.turn(2, "ended");
}

#[test]
fn cancelling_stops_the_command_in_the_foreground() {
    let lab = Lab::new();
    let _gate = lab.gate("gate");
    let script = format!(
        "[[turn]]\n[[turn.call]]\ntool = \"bash\"\ninput = {{ command = \"{COMMAND}\" }}\n\
         [[turn]]\ntext = \"after\"\n"
    );
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    let task = chat.task(COMMAND);
    chat.cancel();
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "cancelled" })));
    assert_eq!(chat.daemon.exited(&task)["task"]["state"], "stopped");
    // The cancelled call already has the result, so none waits for the session.
    chat.daemon.whole("no result to wait for the session", |entries| {
        let ended = entries.iter().position(|entry| entry.push("task/exited").is_some())?;
        let last = entries[ended..].iter().rev().find_map(|entry| entry.push("tasks/changed"))?;
        last["undelivered"].get(&chat.id).is_none().then_some(())
    });
    assert_eq!(chat.prompt("and now?"), "end_turn");
    chat.says("after");
}

#[test]
fn a_closed_session_lets_its_tasks_go_on() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chat = Chat::new(&lab, ONE_TASK);
    chat.prompt("build it");
    let task = chat.task(COMMAND);
    let id = json!({ "sessionId": chat.id });
    assert_eq!(chat.daemon.call("session/close", id.clone()), json!({}));
    let error = chat.daemon.refused(-32602, "session/close", id);
    assert_eq!(error.data["field"], "sessionId");
    gate.open();
    assert_eq!(chat.daemon.exited(&task)["task"]["exit"]["code"], 3);
    let mut params = here(&lab);
    params["sessionId"] = chat.id.clone().into();
    chat.daemon.call("session/load", params);
    // The result that waited in its queue is delivered first.
    chat.says("It has failed.");
}

#[test]
fn a_killed_session_is_loaded_with_everything_in_it() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chat = Chat::new(&lab, ONE_TASK);
    chat.prompt("build it");
    let (id, task) = (chat.id.clone(), chat.task(COMMAND));
    chat.daemon.kill9();
    gate.open();
    let script = ONE_TASK.replace("messages = [\"background\"]\n", "");
    let chat = Chat::load(&lab, &script, &id);
    let entries = chat.daemon.entries();
    let answered = entries
        .iter()
        .position(|entry| entry.message.get("method").is_none() && entry.message["id"] == 2);
    let said = |text: &str| {
        entries.iter().position(|entry| {
            entry.push("session/update").is_some_and(|it| it["update"]["content"]["text"] == text)
        })
    };
    let answered = answered.expect("session/load was the second request");
    for text in ["build it", "I start it.", "It runs."] {
        assert!(
            said(text).is_some_and(|at| at < answered),
            "`{text}` is not said before the reply"
        );
    }
    chat.says("It has failed.");
    let told = |id: &str| {
        let all = chat.daemon.pushes("session/update");
        let of = |it: &&Value| it["update"]["_meta"]["meanwhile"]["taskIds"] == json!([id]);
        all.iter().filter(of).count()
    };
    assert_eq!(told(&task), 1);
    let id = json!({ "sessionId": chat.id });
    chat.turn(2, "ended");
    chat.daemon.call("session/close", id.clone());
    let mut params = here(&lab);
    params["sessionId"] = chat.id.clone().into();
    chat.daemon.call("session/load", params);
    assert_eq!(told(&task), 2, "delivered once, and replayed once by the load");
}

#[test]
fn a_killed_session_is_told_what_still_runs() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let script = ONE_TASK.replacen(
        "[[turn]]\nmessages = [\"background\"]\n",
        "[[turn]]\nmessages = [\"notice\", \"prompt\"]\n\
         expect = [\"resumed\", \"[bg:{{task}}] running for\", \"read x < gate\", \"still there\"]\n\
         text = \"It runs still.\"\n\n[[turn]]\nmessages = [\"background\"]\n",
        1,
    );
    let chat = Chat::new(&lab, &script);
    chat.prompt("build it");
    let (id, task) = (chat.id.clone(), chat.task(COMMAND));
    chat.daemon.kill9();
    let chat = Chat::load(&lab, &script, &id);
    assert_eq!(chat.prompt("still there?"), "end_turn");
    chat.says("It runs still.");
    gate.open();
    chat.says("It has failed.");
    assert_eq!(chat.trace()["tasks"][0]["taskId"], *task);
}

#[test]
fn a_session_is_open_once() {
    let lab = Lab::new();
    let chat = Chat::new(&lab, ONE_TASK);
    let mut params = here(&lab);
    params["sessionId"] = chat.id.clone().into();
    let here = chat.daemon.refused(-32602, "session/load", params.clone());
    assert_eq!(here.data["field"], "sessionId");
    let other = scripted(&lab, ONE_TASK);
    let busy = other.refused(1003, "session/load", params.clone());
    assert_eq!(busy.data["kind"], "limitReached");
    let pid = chat.daemon.pid().to_string();
    assert!(busy.message.contains(&pid), "who has it is not told: {}", busy.message);
    drop(chat);
    other.call("session/load", params);
}

#[test]
fn a_daemon_without_a_model_runs_tasks() {
    let lab = Lab::new();
    for (model, says) in [
        ("anthropic/claude", "ANTHROPIC_API_KEY"),
        ("claude", "anthropic/NAME"),
        ("script//no/such/file", "/no/such/file"),
    ] {
        let daemon = lab.start().env("MEANWHILE_MODEL", model).go();
        let error = daemon.refused(1006, "session/new", here(&lab));
        assert_eq!(error.data["kind"], "noModel");
        for says in [says, "meanwhile demo"] {
            assert!(error.message.contains(says), "{says}: {}", error.message);
        }
        assert_eq!(daemon.run("exit 5")["exit"]["code"], 5);
        assert_eq!(daemon.call("session/list", json!({})), json!({ "sessions": [] }));
    }
}

#[test]
fn a_model_that_fails_loses_no_prompt() {
    let lab = Lab::new();
    let script = "[[turn]]\nfault = \"401\"\ntext = \"x\"\n[[turn]]\ntext = \"unreached\"\n";
    let script = script.replace("[[turn]]\ntext = \"unreached\"\n", "");
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("hello");
    let error = chat.daemon.answer(ask).expect_err("the model refused");
    assert_eq!((error.code, &error.data["kind"]), (1008, &json!("modelFailed")));
    let turn = chat.turn(1, "ended");
    assert_eq!(turn["error"], *error.message);
    assert!(turn.get("stopReason").is_none(), "{turn}");
    assert_eq!(chat.prompt("again"), "end_turn");
    chat.says("x");
}

#[test]
fn a_call_that_is_made_again_is_told() {
    let lab = Lab::new();
    let script = "[[turn]]\nfault = \"cut\"\ntext = \"word by word\"\n";
    let chat = Chat::new(&lab, script);
    assert_eq!(chat.prompt("hello"), "end_turn");
    let retrying = chat.daemon.push("session/retrying", |it| it["sessionId"] == *chat.id);
    assert!(retrying["attempt"].is_u64() && retrying["delayMs"].is_u64(), "{retrying}");
    assert!(retrying["message"].as_str().is_some_and(|text| !text.is_empty()), "{retrying}");
    chat.says("word by word");
}

#[test]
fn unknown_sessions_are_named() {
    let lab = Lab::new();
    let daemon = scripted(&lab, ONE_TASK);
    let prompt = json!([{ "type": "text", "text": "hi" }]);
    let id = "00000000-0000-4000-8000-000000000000";
    let mut load = here(&lab);
    load["sessionId"] = id.into();
    for (method, params) in [
        ("session/prompt", json!({ "sessionId": id, "prompt": prompt })),
        ("session/close", json!({ "sessionId": id })),
        ("session/cancel", json!({ "sessionId": id })),
        ("session/trace", json!({ "sessionId": id })),
        ("session/load", load),
    ] {
        let error = daemon.refused(-32602, method, params);
        assert_eq!(error.data["field"], "sessionId", "{method}: {error:?}");
        assert!(error.message.contains(id), "{method}: {error:?}");
    }
    // An invalid notification changes nothing.
    daemon.notify("session/cancel", json!({ "sessionId": id }));
    daemon.notify("session/cancel", json!([]));
    assert_eq!(daemon.run("exit 6")["exit"]["code"], 6);
}

#[test]
fn shutdown_answers_the_prompt_that_runs() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let hold = lab.root().join("hold");
    let script = format!("[[turn]]\nhold = \"{}\"\ntext = \"never\"\n", hold.display());
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("go");
    chat.daemon.push("session/traced", |it| it["event"]["type"] == "call_started");
    let task = chat.daemon.sh("read x < gate");
    assert_eq!(chat.daemon.call("shutdown", Value::Null), Value::Null);
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "cancelled" })));
    chat.daemon.notify("exit", Value::Null);
    chat.daemon.ends_within(crate::harness::DEADLINE);
    drop(chat);
    gate.open();
    let daemon = lab.daemon();
    eventually("the task to end", || (daemon.check(&task)["state"] == "exited").then_some(()));
}

#[test]
fn shutdown_closes_every_session_at_once() {
    let lab = Lab::new();
    let hold = lab.root().join("hold");
    let script = format!("[[turn]]\nhold = \"{}\"\ntext = \"never\"\n", hold.display());
    let daemon = scripted(&lab, &script);
    // More sessions than could be closed in sequence in the time that `shutdown` may take.
    let made: Vec<i64> = (0..400).map(|_| daemon.ask("session/new", here(&lab))).collect();
    let prompt = |made: i64| {
        let made = daemon.answer(made).expect("the session is created");
        let prompt = json!([{ "type": "text", "text": "go" }]);
        let params = json!({ "sessionId": made["sessionId"], "prompt": prompt });
        daemon.ask("session/prompt", params)
    };
    let asks: Vec<i64> = made.into_iter().map(prompt).collect();
    daemon.whole("every turn to run", |log| {
        let calls = log.iter().filter_map(|entry| entry.push("session/traced"));
        (calls.filter(|it| it["event"]["type"] == "call_started").count() == asks.len())
            .then_some(())
    });
    assert_eq!(daemon.call("shutdown", Value::Null), Value::Null);
    for ask in asks {
        assert_eq!(daemon.answer(ask), Ok(json!({ "stopReason": "cancelled" })));
    }
    daemon.notify("exit", Value::Null);
    daemon.ends_within(crate::harness::DEADLINE);
}

/// Look-only commands run in parallel; if the agent is killed, neither is lost, and neither runs twice.
#[test]
fn commands_that_ran_side_by_side_outlive_their_agent() {
    let lab = Lab::new();
    let gates = ["a", "b"].map(|name| lab.gate(name));
    let line = |gate: &str| format!("read x < {gate}; echo said by {gate}");
    let call = |gate: &str| {
        format!("[[turn.call]]\ntool = \"bash\"\ninput = {{ command = \"{}\" }}\n", line(gate))
    };
    let chat = Chat::new(&lab, &format!("[[turn]]\n{}{}", call("a"), call("b")));
    if !is_here(&chat.daemon) {
        return;
    }
    chat.ask("go");
    let tasks = ["a", "b"].map(|gate| chat.task(&line(gate)));
    let id = chat.id.clone();
    chat.daemon.kill9();
    let script = "[[turn]]\nwhen = \"\\nsaid by b\"\ntext = \"b\"\n\
                  [[turn]]\nwhen = \"\\nsaid by a\"\ntext = \"a\"\n";
    let again = Chat::load(&lab, script, &id);
    for task in &tasks {
        assert_eq!(
            again.daemon.check(task).get("role"),
            None,
            "the command continues in the background"
        );
    }
    for (gate, name) in gates.iter().zip(["a", "b"]) {
        gate.open();
        again.says(name);
    }
    let told: Vec<Value> = again
        .daemon
        .pushes("session/update")
        .iter()
        .map(|it| it["update"]["_meta"]["meanwhile"]["taskIds"].clone())
        .filter(Value::is_array)
        .collect();
    assert_eq!(told, tasks.map(|task| json!([task])));
    let calls = |it: &Value| it["update"]["sessionUpdate"] == "tool_call";
    let calls = again.daemon.pushes("session/update").iter().filter(|it| calls(it)).count();
    assert_eq!(calls, 2, "no call was repeated");
}
