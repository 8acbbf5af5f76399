//! The limits that a person sets: model calls in one turn, and turns that the agent starts by itself. A
//! notice says what a limit holds back, and nothing is lost.

use serde_json::{Value, json};

use crate::agent_timing::settings;
use crate::harness::Lab;
use crate::session::{COMMAND, Chat};

/// A script whose first answer starts [`COMMAND`].
fn starts(then: &str) -> String {
    format!(
        "[[turn]]\n[[turn.call]]\ntool = \"background_run\"\n\
         input = {{ command = \"{COMMAND}\" }}\nsave = {{ task = \"[0-9a-f]{{8}}\" }}\n{then}"
    )
}

/// Waits for a notice to the person with these words.
#[track_caller]
fn notice(chat: &Chat, words: &[&str]) {
    chat.update("user_message_chunk", |it| {
        let text = it["content"]["text"].as_str().unwrap_or_default();
        it["_meta"]["meanwhile"]["origin"] == "notice"
            && words.iter().all(|word| text.contains(word))
    });
}

/// The turns that have begun, with what started each.
fn turns(chat: &Chat) -> Vec<Value> {
    let all = chat.daemon.pushes("session/turn");
    let begun = all.iter().filter(|it| it["state"] == "started");
    begun.map(|it| it["origin"].clone()).collect()
}

#[test]
fn a_turn_ends_at_its_last_call_and_what_waits_comes_with_the_next_prompt() {
    let lab = Lab::new();
    let gate = lab.gate("gate");
    let hold = lab.root().join("hold");
    settings(&lab, "[agent]\ncalls_per_turn = 2\nwake = \"queue\"\n");
    let script = starts(&format!(
        "[[turn]]\nhold = \"{}\"\n\
         [[turn.call]]\ntool = \"bash\"\ninput = {{ command = \"touch touched\" }}\n\
         [[turn]]\nmessages = [\"tool_results\", \"notice\", \"prompt\", \"background\"]\n\
         expect = [\"not run\", \"2 model calls\", \"calls_per_turn\", \"go on\", \
         \"[bg:{{{{task}}}}] exited 3\", \"built\"]\ntext = \"I do.\"\n",
        hold.display()
    ));
    let chat = Chat::new(&lab, &script);
    let ask = chat.ask("build it");
    chat.daemon.push("session/traced", |it| {
        it["event"]["type"] == "call_started" && it["event"]["call"] == 2
    });
    let task = chat.task(COMMAND);
    gate.open();
    chat.daemon.exited(&task);
    std::fs::write(&hold, "").expect("the test's directory is writable");
    assert_eq!(chat.daemon.answer(ask), Ok(json!({ "stopReason": "max_turn_requests" })));
    assert_eq!(chat.turn(1, "ended")["stopReason"], "max_turn_requests");
    notice(&chat, &["2 model calls", "calls_per_turn"]);
    assert!(!lab.file("touched").exists(), "the call beyond the limit is not made");
    assert_eq!(chat.prompt("go on"), "end_turn");
    chat.says("I do.");
    assert_eq!(chat.trace()["tasks"][0]["deliveredInCall"], 3);
}

/// With a limit of `wakes`, that many of two results start a turn; the next prompt carries the others.
fn wakes(wakes: usize) {
    let lab = Lab::new();
    let gates = [lab.gate("one"), lab.gate("two")];
    settings(&lab, &format!("[agent]\nwakes_per_hour = {wakes}\n"));
    let command = |name: &str| format!("read x < {name}; echo said by {name}");
    let names = ["one", "two"];
    let mut script = String::from("[[turn]]\n");
    for name in names {
        script.push_str(&format!(
            "[[turn.call]]\ntool = \"background_run\"\ninput = {{ command = \"{}\" }}\n",
            command(name)
        ));
    }
    script.push_str("[[turn]]\ntext = \"They run.\"\n");
    for name in &names[..wakes] {
        script.push_str(&format!(
            "[[turn]]\nmessages = [\"background\"]\nexpect = [\"said by {name}\"]\n\
             text = \"Woken by {name}.\"\n"
        ));
    }
    let left: Vec<String> =
        names[wakes..].iter().map(|name| format!("\"said by {name}\"")).collect();
    script.push_str(&format!(
        "[[turn]]\nmessages = [\"notice\", \"prompt\", \"background\"]\n\
         expect = [\"wakes_per_hour\", \"and?\", {}]\ntext = \"Told.\"\n",
        left.join(", ")
    ));
    let chat = Chat::new(&lab, &script);
    assert_eq!(chat.prompt("go"), "end_turn");
    let ids = names.map(|name| chat.task(&command(name)));
    for (at, (gate, id)) in gates.iter().zip(&ids).enumerate() {
        gate.open();
        chat.daemon.exited(id);
        if at < wakes {
            chat.says(&format!("Woken by {}.", names[at]));
            chat.turn(at as u64 + 2, "ended");
        }
    }
    notice(&chat, &["wakes_per_hour", &format!("{wakes} turns"), "your next prompt"]);
    assert_eq!(chat.prompt("and?"), "end_turn");
    chat.says("Told.");
    let woken = std::iter::repeat_n(json!("background"), wakes);
    let expect: Vec<Value> =
        [json!("prompt")].into_iter().chain(woken).chain([json!("prompt")]).collect();
    assert_eq!(turns(&chat), expect);
}

#[test]
fn an_hour_has_so_many_turns_without_a_prompt() {
    wakes(1);
}

#[test]
fn with_none_allowed_every_result_waits_for_a_prompt() {
    wakes(0);
}
