//! Settings of a session in the daemon's own protocol: options, modes, resume, delete (docs/protocol.md, "Agent
//! sessions").

use serde_json::{Value, json};

use crate::harness::Lab;
use crate::session::{Chat, here, scripted};

const TALK: &str = "
[[turn]]
text = 'Hello.'

[[turn]]
text = 'Bye.'
";

fn current(options: &Value, id: &str) -> Value {
    let all = options["configOptions"].as_array().expect("a list");
    let found = all.iter().find(|option| option["id"] == id).expect("it exists");
    found["currentValue"].clone()
}

#[test]
fn what_was_chosen_for_a_session_holds_after_a_restart() {
    let lab = Lab::new();
    let chat = Chat::new(&lab, TALK);
    for (id, value) in [("permissions", "work"), ("wake", "queue")] {
        let params = json!({ "sessionId": chat.id, "configId": id, "value": value });
        let options = chat.daemon.call("session/set_config_option", params);
        assert_eq!(current(&options, id), value);
    }
    let params = json!({ "sessionId": chat.id, "modeId": "look" });
    chat.daemon.call("session/set_mode", params);
    let is_told = |params: &Value| params["update"]["sessionUpdate"] == "config_option_update";
    let told = chat.daemon.push("session/update", is_told);
    assert_eq!(current(&told["update"], "permissions"), "look");
    let id = chat.id.clone();
    chat.daemon.kill9();
    let daemon = scripted(&lab, TALK);
    let mut params = here(&lab);
    params["sessionId"] = id.clone().into();
    // A setting that the client passes with the load overrides the stored one.
    params["_meta"] = json!({ "meanwhile": { "wake": "on" } });
    let loaded = daemon.call("session/load", params.clone());
    assert_eq!(current(&loaded, "permissions"), "look");
    assert_eq!(loaded["modes"]["currentModeId"], "look");
    assert_eq!(current(&loaded, "wake"), "on");
    daemon.call("session/close", json!({ "sessionId": id }));
    params.as_object_mut().expect("an object").remove("_meta");
    let resumed = daemon.call("session/resume", params);
    assert_eq!(current(&resumed, "wake"), "queue");
    let refused = daemon.refused(
        -32602,
        "session/set_config_option",
        json!({ "sessionId": id, "configId": "wake", "value": "never" }),
    );
    assert!(refused.message.contains("`on`, `queue`"), "{}", refused.message);
    daemon.shut_down();
}

#[test]
fn a_session_is_deleted_unless_another_process_has_it_open() {
    let lab = Lab::new();
    let chat = Chat::new(&lab, TALK);
    let other = scripted(&lab, TALK);
    let params = json!({ "sessionId": chat.id });
    other.refused(1003, "session/delete", params.clone());
    chat.daemon.call("session/delete", params.clone());
    let listed = chat.daemon.call("session/list", json!({}));
    assert_eq!(listed["sessions"], json!([]));
    other.refused(-32602, "session/delete", params);
    chat.daemon.shut_down();
    other.shut_down();
}
