//! Images in prompts: sent if the model accepts them, stored, and shown again after a load.

use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::Store;

/// A model that expects two images, in a session that continues.
const SEES: &str = "
[[turn]]
expect = ['compare [image 1] with [image 2]', '(Image(image/png, 4 bytes))', '(Image(image/webp, 8 bytes))']
text = 'They differ.'

[[turn]]
text = 'Yes.'
";

fn image(kind: &str, data: &str) -> Value {
    json!({"type": "image", "mimeType": kind, "data": data})
}

fn compare() -> Value {
    let text = |text: &str| json!({"type": "text", "text": text});
    json!([
        text("compare "),
        image("image/png", "AAAA"),
        text(" with "),
        image("image/webp", "AAAAAAAA")
    ])
}

/// Whether the agent announces that it accepts images.
fn offers(store: &Store) -> bool {
    let mut client = Client::start(store.scripted(SEES, &["acp"]));
    let told = client.call("initialize", json!({"protocolVersion": 1}));
    told["agentCapabilities"]["promptCapabilities"]["image"].as_bool().unwrap()
}

#[test]
fn a_model_that_takes_images_is_shown_them_and_they_are_there_after_a_load() {
    let store = Store::new();
    store.write_config(
        "[agent]
images = true
",
    );
    assert!(offers(&store));
    let mut client = Client::new(&store, SEES);
    let session = client.session(&store.workspace());
    let prompt = client.send("session/prompt", json!({"sessionId": session, "prompt": compare()}));
    assert_eq!(client.ended(prompt), "end_turn");
    assert!(client.has_said("They differ."));
    drop(client);
    let mut client = Client::new(&store, SEES);
    let params = json!({"cwd": store.workspace(), "sessionId": session, "mcpServers": []});
    client.call("session/load", params);
    let said = client.updates("user_message_chunk");
    let said: Vec<_> = said.iter().map(|it| it["content"].clone()).collect();
    assert_eq!(said[0]["text"], "compare [image 1] with [image 2]", "{said:?}");
    assert_eq!(said[1..], [image("image/png", "AAAA"), image("image/webp", "AAAAAAAA")]);
    assert_eq!(client.prompt(&session, "sure?"), "end_turn");
}

#[test]
fn a_model_that_is_not_known_to_take_images_is_named_and_none_is_sent() {
    let store = Store::new();
    assert!(!offers(&store));
    let mut client = Client::new(&store, SEES);
    let session = client.session(&store.workspace());
    let refused =
        client.refused("session/prompt", json!({"sessionId": session, "prompt": compare()}));
    assert_eq!(refused["data"]["field"], "prompt[1]", "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("`script/") && message.contains("images = true"), "{message}");
}

#[test]
fn a_conversation_has_room_for_so_many_images() {
    let store = Store::new();
    store.write_config(
        "[agent]
images = true
",
    );
    let script = "[[turn]]
text = 'Seen.'
"
    .repeat(3)
        + "
[[turn]]
expect = ['(The images are not shown any more.)', '(Image(image/png, 4 bytes))']
text = 'Room.'
";
    let mut client = Client::new(&store, &script);
    let session = client.session(&store.workspace());
    let large = image("image/png", &"A".repeat(5 << 20));
    let prompt = |client: &mut Client, images: &[Value]| {
        let id = client.send("session/prompt", json!({"sessionId": session, "prompt": images}));
        client.answer(id)
    };
    for _ in 0..2 {
        let twice = [large.clone(), large.clone()];
        assert_eq!(prompt(&mut client, &twice).unwrap()["stopReason"], "end_turn");
    }
    let refused = prompt(&mut client, &[image("image/png", "AAAA")]).unwrap_err();
    assert!(refused["message"].as_str().unwrap().contains("at most 20 MiB"), "{refused}");
    assert_eq!(client.prompt(&session, "/compact"), "end_turn");
    prompt(&mut client, &[image("image/png", "AAAA")]).unwrap();
    assert!(client.has_said("Room."));
}
