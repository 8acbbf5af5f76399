//! Tests for storing messages and for reading their content.

use super::*;

fn answer(dialect: Dialect, blocks: &[&str]) -> Assistant {
    let blocks = blocks
        .iter()
        .map(|raw| Block::new(RawValue::from_string((*raw).to_owned()).unwrap()))
        .collect();
    Assistant { dialect, model: "m".into(), from: None, blocks }
}

#[test]
fn a_stored_message_comes_back_byte_for_byte() {
    // Key order, an unknown type, a number a float would change, and an escape are all kept.
    let raw = r#"{"z":1,"type":"server_thing","big":12345678901234567890123,"f":1.0,"e":"\u00e9"}"#;
    let all = [
        Message::prompt("do \"it\"\n"),
        Message::Assistant(answer(Dialect::Anthropic, &[raw])),
        Message::ToolResults {
            results: vec![ToolResult { call_id: "a".into(), content: "x".into(), is_error: true }],
        },
        Message::Background { text: "<background-results>".into() },
        Message::Notice { text: "resumed".into() },
    ];
    for message in &all {
        let json = message.to_json();
        assert_eq!(Message::from_json(&json).unwrap().to_json(), json);
    }
    assert!(all[1].to_json().contains(raw));
}

#[test]
fn all_dialects_read_alike() {
    let anthropic = answer(
        Dialect::Anthropic,
        &[
            r#"{"type":"thinking","thinking":"hm","signature":"s"}"#,
            r#"{"type":"text","text":"I look."}"#,
            r#"{"type":"novel","text":"not for us"}"#,
            r#"{"type":"tool_use","id":"a","name":"bash","input":{"command":"ls"}}"#,
        ],
    );
    let openai = answer(
        Dialect::OpenAi,
        &[r#"{"role":"assistant","content":"I look.","reasoning_content":"hm","novel":[1],
             "tool_calls":[{"id":"a","type":"function","function":{"name":"bash",
             "arguments":"{\"command\":\"ls\"}"}}]}"#],
    );
    let responses = answer(
        Dialect::Responses,
        &[
            r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"e"}"#,
            r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I look."}]}"#,
            r#"{"type":"novel","content":"not for us"}"#,
            r#"{"type":"function_call","id":"fc_a","call_id":"a","name":"bash",
             "arguments":"{\"command\":\"ls\"}"}"#,
        ],
    );
    for answer in [anthropic, openai, responses] {
        assert_eq!((answer.text(), answer.thinking()), ("I look.".into(), "hm".into()));
        let [call] = &answer.calls()[..] else { panic!("one call") };
        assert_eq!((call.id.as_str(), call.name.as_str()), ("a", "bash"));
        let Arguments::Object(input) = &call.input else { panic!("an object") };
        assert_eq!(input.get(), r#"{"command":"ls"}"#);
    }
}

#[test]
fn ids_and_names_are_made_fit_for_every_server() {
    let mut taken = HashSet::from(["seen".to_owned()]);
    let mut check = |mut answer: Assistant, want: &[(&str, &str)]| {
        let before = answer.calls().len();
        assert_eq!(answer.tidy(&mut taken).len(), before);
        let calls = answer.calls();
        let got: Vec<_> = calls.iter().map(|call| (call.id.as_str(), call.name.as_str())).collect();
        assert_eq!(got, want);
        for call in calls {
            let Arguments::Object(raw) = call.input else { panic!("an object") };
            assert_eq!(raw.get(), r#"{"z":1.0}"#);
        }
    };
    let block = |id: &str, name: &str| {
        format!(r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{{"z":1.0}}}}"#)
    };
    let blocks = [
        r#"{"type":"text","text":"x"}"#.to_owned(),
        block("functions.bash:0", "functions.bash"),
        block("same", "Bash"),
        block("same", ""),
        block("", "no such tool"),
        block("seen", "bash"),
    ];
    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
    check(
        answer(Dialect::Anthropic, &blocks),
        &[
            ("functions_bash_0", "bash"),
            ("same", "bash"),
            ("same_4", "unnamed"),
            ("call", "no_such_tool"),
            ("seen_6", "bash"),
        ],
    );
    let chat = r#"{"role":"assistant","content":"","tool_calls":[{"id":"a b","type":"function",
        "function":{"name":"default_api.read_file","arguments":"{\"z\":1.0}"},"extra":1}]}"#;
    check(answer(Dialect::OpenAi, &[chat]), &[("a_b", "read_file")]);
    let item = r#"{"type":"function_call","id":"fc","call_id":"a c","name":"Bash","arguments":"{\"z\":1.0}"}"#;
    check(answer(Dialect::Responses, &[item]), &[("a_c", "bash")]);
    let fit = answer(Dialect::OpenAi, &[&chat.replace("a b", "c").replace("default_api.", "")]);
    let mut tidied = fit.clone();
    tidied.tidy(&mut HashSet::new());
    assert_eq!(tidied.blocks[0].as_json(), fit.blocks[0].as_json(), "what fits stays as it is");
}

#[test]
fn arguments_that_are_not_an_object_are_never_an_object() {
    let check = |text: &str, want: Result<&str, &str>| {
        let first = Arguments::parse(text);
        // Arguments stay the same when they are stored and parsed again.
        let second = Arguments::parse(first.to_raw().get());
        for input in [first, second] {
            match (&input, want) {
                (Arguments::Object(raw), Ok(want)) => assert_eq!(raw.get(), want),
                (Arguments::Invalid { text }, Err(want)) => assert_eq!(text, want),
                (Arguments::Object(_) | Arguments::Invalid { .. }, _) => {
                    panic!("{text}: {input:?}")
                }
            }
        }
    };
    check("", Ok("{}"));
    check(" \n", Ok("{}"));
    check(r#"{"a":1}"#, Ok(r#"{"a":1}"#));
    check(r#"{"a":"#, Err(r#"{"a":"#));
    check("[1]", Err("[1]"));
    check("\"ls\"", Err("\"ls\""));
    check("null", Err("null"));
    check("{} {}", Err("{} {}"));
}
