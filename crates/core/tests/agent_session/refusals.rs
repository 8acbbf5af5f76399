//! Servers that refuse something: each session still ends in an answer, and the next one uses the request form
//! that was accepted.

use std::time::Duration;

use meanwhile_core::agent::ModelChoice;
use meanwhile_core::agent::provider::Provider;
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::session::{Terms, TurnEnd, Update};
use meanwhile_core::agent::trace::Origin;
use serde_json::{Value, json};

use super::lab::{Lab, Talk, run};
use super::model_server::{ModelServer, Reply, status};

/// The vendors' API dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Messages,
    Chat,
    Responses,
}

/// What a server refuses: returns its error text, or `None`.
type Refuses = fn(&Value) -> Option<&'static str>;

async fn provider(wire: Wire, server: &ModelServer, model: &str) -> Provider {
    let set = match wire {
        Wire::Messages => [
            ("MEANWHILE_MODEL", format!("anthropic/{model}")),
            ("ANTHROPIC_BASE_URL", server.url.clone()),
            ("ANTHROPIC_API_KEY", "k".to_owned()),
        ],
        Wire::Chat => [
            ("MEANWHILE_MODEL", format!("openai/{model}")),
            ("OPENAI_BASE_URL", format!("{}/v1", server.url)),
            ("OPENAI_API_KEY", "k".to_owned()),
        ],
        Wire::Responses => [
            ("MEANWHILE_MODEL", format!("openai-responses/{model}")),
            ("OPENAI_BASE_URL", format!("{}/v1", server.url)),
            ("OPENAI_API_KEY", "k".to_owned()),
        ],
    };
    let choice =
        ModelChoice::from_env(|name| set.iter().find(|it| it.0 == name).map(|it| it.1.clone()));
    let patience =
        Patience { retries: 0, backoff: Duration::from_millis(1), ..Patience::default() };
    choice.provider(patience, &[]).await.unwrap()
}

/// The messages or items of a request.
fn messages(body: &Value) -> Vec<Value> {
    let messages = body.get("messages").or(body.get("input")).and_then(Value::as_array);
    messages.cloned().unwrap_or_default()
}

/// All texts of a request, without the system message.
fn all(body: &Value) -> String {
    let messages = messages(body);
    let said: Vec<_> = messages.iter().filter(|it| it["role"] != "system").collect();
    json!(said).to_string()
}

/// The number of tool results in a request.
fn results(body: &Value) -> usize {
    all(body).matches("\"role\":\"tool\"").count()
        + all(body).matches("\"type\":\"tool_result\"").count()
        + all(body).matches("\"type\":\"function_call_output\"").count()
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// The answer: two commands, one in the background, and then a text, with reasoning before each.
fn answer(wire: Wire, body: &Value) -> Vec<u8> {
    let calls = [
        ("functions.background_run:0", "background_run", json!({"command": "echo quick"})),
        ("functions.bash:1", "bash", json!({"command": "sleep 0.5"})),
    ];
    let call = calls.get(results(body));
    let events: Vec<String> = match wire {
        Wire::Chat => {
            let mut delta = json!({"role": "assistant", "reasoning_content": "hm"});
            match call {
                Some((id, name, input)) => {
                    delta["tool_calls"] = json!([{"index": 0, "id": id, "type": "function",
                        "function": {"name": name, "arguments": input.to_string()}}]);
                }
                None => delta["content"] = "done".into(),
            }
            let reason = if call.is_some() { "tool_calls" } else { "stop" };
            vec![
                event(&json!({"choices": [{"index": 0, "delta": delta}]})),
                event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})),
                "data: [DONE]\n\n".to_owned(),
            ]
        }
        Wire::Messages => {
            let block = match call {
                Some((id, name, input)) => {
                    json!({"type": "tool_use", "id": id, "name": name, "input": input})
                }
                None => json!({"type": "text", "text": "done"}),
            };
            let reason = if call.is_some() { "tool_use" } else { "end_turn" };
            let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
            vec![
                event(&json!({"type": "message_start", "message": {"model": "served"}})),
                event(
                    &json!({"type": "content_block_start", "index": 0, "content_block": thinking}),
                ),
                event(&json!({"type": "content_block_start", "index": 1, "content_block": block})),
                event(&json!({"type": "message_delta", "delta": {"stop_reason": reason}})),
                event(&json!({"type": "message_stop"})),
            ]
        }
        Wire::Responses => {
            let item = match call {
                Some((id, name, input)) => json!({"id": "fc_1", "type": "function_call",
                    "call_id": id, "name": name, "arguments": input.to_string()}),
                None => json!({"id": "msg_1", "type": "message", "role": "assistant",
                    "content": [{"type": "output_text", "text": "done"}]}),
            };
            let reasoning = json!({"id": "rs_1", "type": "reasoning", "summary": [],
                "encrypted_content": "ZW5j"});
            let done =
                |item: Value| event(&json!({"type": "response.output_item.done", "item": item}));
            let response = json!({"status": "completed", "model": "served"});
            let end = json!({"type": "response.completed", "response": response});
            vec![done(reasoning), done(item), event(&end)]
        }
    };
    super::model_server::stream(events.concat().as_bytes())
}

fn roles(body: &Value) -> Vec<String> {
    messages(body).iter().map(|it| it["role"].as_str().unwrap_or_default().to_owned()).collect()
}

fn after(body: &Value, first: &str, second: &str) -> bool {
    roles(body).windows(2).any(|pair| pair == [first, second])
}

/// The ids of calls anywhere in a request.
fn ids(body: &Value) -> Vec<String> {
    let messages = messages(body);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut ids = Vec::new();
    for message in messages {
        ids.extend(message.get("call_id").map(text));
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        ids.extend(calls.iter().map(|call| text(&call["id"])));
        let blocks = message["content"].as_array().cloned().unwrap_or_default();
        let uses = blocks.iter().filter(|block| block["type"] == "tool_use");
        ids.extend(uses.map(|block| text(&block["id"])));
    }
    ids
}

/// Whether a user message follows tool results: in Anthropic's dialect both have the same role.
fn says_after_results(body: &Value) -> bool {
    let messages = messages(body);
    let has = |message: &Value, kind: &str| {
        message["content"].as_array().is_some_and(|it| it.iter().any(|it| it["type"] == kind))
    };
    messages.windows(2).any(|pair| has(&pair[0], "tool_result") && pair[1]["role"] == "user")
        || messages.iter().any(|it| has(it, "tool_result") && has(it, "text"))
}

const CHAT: [(&str, Refuses); 8] = [
    ("stream_options", |body| {
        body.get("stream_options").map(|_| "stream_options: Extra inputs are not permitted")
    }),
    ("reasoning", |body| {
        all(body)
            .contains("reasoning_content")
            .then_some("property 'messages.1.assistant.reasoning_content' is unsupported")
    }),
    ("user after tool", |body| {
        after(body, "tool", "user").then_some("Unexpected role 'user' after role 'tool'")
    }),
    ("two users", |body| {
        after(body, "user", "user")
            .then_some("Conversation roles must alternate user/assistant/user/assistant/...")
    }),
    ("ids", |body| {
        let fits = |id: &String| id.len() == 9 && id.bytes().all(|it| it.is_ascii_alphanumeric());
        (!ids(body).iter().all(fits))
            .then_some("Tool call id was x but must be a-z, A-Z, 0-9, with a length of 9.")
    }),
    ("a pattern", |body| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        (!ids(body).iter().all(|id| id.chars().all(fits))).then_some("no known word at all")
    }),
    ("in unknown words", |body| {
        (body.get("stream_options").is_some() || all(body).contains("reasoning_content"))
            .then_some("computer says no")
    }),
    ("nothing", |_| None),
];

const MESSAGES: [(&str, Refuses); 6] = [
    ("cache_control", |body| {
        body.to_string()
            .contains("cache_control")
            .then_some("cache_control: Extra inputs are not permitted")
    }),
    ("max_tokens", |body| {
        (body["max_tokens"].as_u64() > Some(8_192)).then_some(
            "max_tokens: 16000 > 8192, which is the maximum allowed number of output tokens",
        )
    }),
    ("thinking", |body| {
        all(body)
            .contains("\"thinking\"")
            .then_some("messages.1.content.0: Invalid `signature` in `thinking` block")
    }),
    ("user after tool", |body| {
        says_after_results(body).then_some("Unexpected role 'user' after role 'tool'")
    }),
    ("two users", |body| after(body, "user", "user").then_some("messages: roles must alternate")),
    ("nothing", |_| None),
];

const RESPONSES: [(&str, Refuses); 6] = [
    ("encrypted reasoning", |body| {
        body.get("include").map(|_| "Encrypted content is not supported with this model.")
    }),
    ("reasoning", |body| {
        all(body)
            .contains("encrypted_content")
            .then_some("The encrypted content for item rs_1 could not be verified.")
    }),
    ("ids", |body| {
        let fits = |id: &String| id.len() == 9 && id.bytes().all(|it| it.is_ascii_alphanumeric());
        (!ids(body).iter().all(fits))
            .then_some("Tool call id was x but must be a-z, A-Z, 0-9, with a length of 9.")
    }),
    ("two users", |body| after(body, "user", "user").then_some("roles must alternate")),
    ("in unknown words", |body| {
        all(body).contains("encrypted_content").then_some("computer says no")
    }),
    ("nothing", |_| None),
];

async fn talk(lab: &Lab, wire: Wire, server: &ModelServer, model: &str) -> Talk {
    let options = lab.options("[[turn]]\ntext = 'unused'\n");
    lab.session_of(Terms { provider: provider(wire, server, model).await, ..options }).await
}

#[test]
fn each_feature_that_a_server_refuses_is_left_out() {
    run(async |lab: &mut Lab| {
        let rows = CHAT.map(|row| (Wire::Chat, row)).into_iter();
        let rows = rows.chain(MESSAGES.map(|row| (Wire::Messages, row)));
        let rows = rows.chain(RESPONSES.map(|row| (Wire::Responses, row)));
        for (wire, (what, judge)) in rows {
            let server =
                ModelServer::start(vec![Reply::Judge(std::sync::Arc::new(move |body: &Value| {
                    match judge(body) {
                        Some(why) => {
                            let error =
                                json!({"error": {"message": why, "type": "invalid_request_error"}});
                            status(400, "", &error.to_string())
                        }
                        None => answer(wire, body),
                    }
                }))])
                .await;
            let mut first = talk(lab, wire, &server, "m").await;
            assert_eq!(first.prompt("go").await, TurnEnd::EndTurn, "{wire:?}: {what}");
            assert_eq!(first.said(), "done", "{wire:?}: {what}");
            // The session continues, with text after text too.
            assert_eq!(first.prompt("and on").await, TurnEnd::EndTurn, "{wire:?}: {what}");
            first.close().await;
            let refused = server.asked().iter().filter(|it| judge(&it.body).is_some()).count();
            let mut second = talk(lab, wire, &server, "m").await;
            assert_eq!(second.prompt("go").await, TurnEnd::EndTurn, "{wire:?}: {what}");
            second.close().await;
            let again = server.asked().iter().filter(|it| judge(&it.body).is_some()).count();
            assert_eq!(again, refused, "{wire:?}: {what}: it was remembered");
            assert!(refused <= 1 || what == "nothing", "{wire:?}: {what}: refused {refused} times");
        }
    });
}

/// Reasoning that only its own model can read is not sent to another model.
#[test]
fn reasoning_of_another_model_stays_behind() {
    run(async |lab: &mut Lab| {
        for wire in [Wire::Chat, Wire::Messages, Wire::Responses] {
            let reply = Reply::Judge(std::sync::Arc::new(move |body: &Value| answer(wire, body)));
            let server = ModelServer::start(vec![reply]).await;
            let mut one = talk(lab, wire, &server, "one").await;
            assert_eq!(one.prompt("go").await, TurnEnd::EndTurn);
            let id = one.id();
            one.close().await;
            let word = match wire {
                Wire::Chat => "reasoning_content",
                Wire::Messages => "\"thinking\"",
                Wire::Responses => "encrypted_content",
            };
            let own = server.asked().len();
            assert!(all(&server.asked()[own - 1].body).contains(word), "its own goes back");
            let options = lab.options("[[turn]]\ntext = 'unused'\n");
            let terms = Terms { provider: provider(wire, &server, "two").await, ..options };
            let mut two = lab.load(&id, terms).await;
            assert_eq!(two.prompt("go on").await, TurnEnd::EndTurn);
            assert!(!all(&server.asked()[own].body).contains(word), "{wire:?}");
            two.close().await;
        }
    });
}

/// A server is down for a while, and there is no person: one turn, which gets through.
#[test]
fn a_turn_that_results_began_outlasts_an_outage() {
    run(async |lab: &mut Lab| {
        let down = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let seen = std::sync::Arc::clone(&down);
        let reply = Reply::Judge(std::sync::Arc::new(move |body: &Value| {
            let has_news = all(body).contains("<background-results>\\n[bg:");
            if has_news && seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 {
                return status(503, "", "{}");
            }
            let text = if has_news { "it is built" } else { "waiting" };
            let call = json!({"index": 0, "id": "c", "function": {"name": "background_run",
                "arguments": r#"{"command": "while [ ! -e built ]; do sleep 0.01; done"}"#}});
            let delta = match all(body).contains("started in the background") {
                true => json!({"content": text}),
                false => json!({"tool_calls": [call]}),
            };
            let chunk = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]});
            super::model_server::stream(event(&chunk).as_bytes())
        }));
        let server = ModelServer::start(vec![reply]).await;
        let mut talk = talk(lab, Wire::Chat, &server, "m").await;
        assert_eq!(talk.prompt("build").await, TurnEnd::EndTurn);
        lab.open_gate("built");
        talk.turn_ended().await;
        assert_eq!(talk.said(), "waitingit is built");
        let begun = talk.told.iter().filter(|update| {
            matches!(update, Update::TurnStarted { origin: Origin::Background, .. })
        });
        assert_eq!(begun.count(), 1, "one turn, however often it was asked");
        let retried = talk.told.iter().filter(|it| matches!(it, Update::Retrying { .. })).count();
        assert_eq!(retried, 2);
        talk.close().await;
    });
}
