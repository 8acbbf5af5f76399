//! Sessions of several clients in one workspace, and the end of `meanwhile run`.

use serde_json::{Value, json};

use crate::harness::Lab;
use crate::session::{COMMAND, Chat, ONE_TASK};

/// The messages with results that were pushed to a session, as the ids of their tasks.
fn told(chat: &Chat) -> Vec<Value> {
    let all = chat.daemon.pushes("session/update");
    let of = |it: &Value| it["update"]["_meta"]["meanwhile"]["taskIds"].clone();
    all.iter().filter(|it| it["sessionId"] == chat.id).map(of).filter(|it| !it.is_null()).collect()
}

#[test]
fn two_clients_hear_of_their_own_tasks_only() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let chats = [Chat::new(&lab, ONE_TASK), Chat::new(&lab, ONE_TASK)];
    let tasks = chats.each_ref().map(|chat| {
        assert_eq!(chat.prompt("build it"), "end_turn");
        chat.task(COMMAND)
    });
    assert_ne!(tasks[0], tasks[1]);
    gate.open_for(2);
    for (chat, task) in chats.iter().zip(&tasks) {
        chat.turn(2, "ended");
        chat.says("It has failed.");
        assert_eq!(told(chat), [json!([task])]);
        assert_eq!(chat.prompt("thanks"), "end_turn");
        assert_eq!(told(chat), [json!([task])]);
    }
}

#[test]
fn another_client_takes_over_the_session_of_a_dead_one() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let dead = Chat::new(&lab, ONE_TASK);
    assert_eq!(dead.prompt("build it"), "end_turn");
    let (id, task) = (dead.id.clone(), dead.task(COMMAND));
    // The heir was open all the time, and has seen the task.
    let heir = Chat::new(&lab, ONE_TASK);
    dead.daemon.kill9();
    let mut params = crate::session::here(&lab);
    params["sessionId"] = id.clone().into();
    heir.daemon.call("session/load", params);
    let heir = Chat { daemon: heir.daemon, id };
    gate.open();
    heir.daemon.push("session/turn", |it| {
        it["sessionId"] == *heir.id && it["origin"] == "background" && it["state"] == "ended"
    });
    assert_eq!(told(&heir), [json!([task])]);
    assert_eq!(heir.trace()["tasks"][0]["deliveredBy"], "drain");
}

/// A script that starts one task for each of these times, in milliseconds, and then only acknowledges
/// results.
fn run_script(times: &[u64]) -> String {
    let calls: String = times
        .iter()
        .map(|time| {
            format!(
                "[[turn.call]]\ntool = \"background_run\"\n\
                 input = {{ command = \"sleep 0.{time:03}; echo done\" }}\n"
            )
        })
        .collect();
    format!(
        "[[turn]]\nwhen = \"<background-results>\"\ntext = \"heard\"\n\
         [[turn]]\ntext = \"start\"\n{calls}[[turn]]\ntext = \"wait\"\n"
    )
}

#[test]
fn a_run_hears_of_everything_it_started() {
    let lab = Lab::new();
    let path = lab.root().join("script.toml");
    // The tasks end at various intervals from the end of the turn, and from each other.
    for step in 0..16 {
        let times = [0, 3, 6, 9].map(|n| n * step);
        std::fs::write(&path, run_script(&times)).expect("the test's directory is writable");
        let run = lab
            .command(&["run", "--json", "--allow", "*", "go"])
            .env("MEANWHILE_MODEL", format!("script/{}", path.display()))
            .output()
            .expect("the binary runs");
        let lines: Vec<Value> = String::from_utf8_lossy(&run.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect();
        let result = &lines.last().expect("an event")["result"];
        let expect = json!({ "unfinished": [], "undelivered": 0, "stopReason": "end_turn" });
        assert_eq!(*result, expect, "{times:?}: {run:?}");
        let heard: usize = lines
            .iter()
            .filter_map(|it| it["params"]["update"]["_meta"]["meanwhile"]["taskIds"].as_array())
            .map(Vec::len)
            .sum();
        assert_eq!(heard, times.len(), "{times:?}: {lines:#?}");
    }
}
