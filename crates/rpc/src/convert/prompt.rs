//! What a person says, from ACP's content blocks to the text a model is sent.

use super::error::invalid;
use crate::wire::{Error, acp};

/// The text of a prompt. Links and resources of text stand in it with their addresses, so that the
/// agent's own tools find them.
///
/// # Errors
///
/// A block of a kind no model here is sent, or nothing said at all.
pub(crate) fn text(blocks: Vec<acp::ContentBlock>) -> Result<String, Error> {
    let mut text = String::new();
    for (place, block) in blocks.into_iter().enumerate() {
        match block {
            acp::ContentBlock::Text(block) => text.push_str(&block.text),
            acp::ContentBlock::ResourceLink(link) => {
                text.push_str(&format!("[{}]({})", link.name, link.uri));
            }
            acp::ContentBlock::Resource(acp::EmbeddedResource {
                resource: acp::EmbeddedResourceResource::TextResourceContents(resource),
                ..
            }) => {
                let end = if resource.text.ends_with('\n') { "" } else { "\n" };
                text.push_str(&format!(
                    "\n<resource uri=\"{}\">\n{}{end}</resource>\n",
                    resource.uri, resource.text
                ));
            }
            acp::ContentBlock::Resource(_) => return Err(refused(place, "a binary resource")),
            acp::ContentBlock::Image(_) => return Err(refused(place, "an image")),
            acp::ContentBlock::Audio(_) => return Err(refused(place, "audio")),
            _ => return Err(refused(place, "of a kind this server does not know")),
        }
    }
    if text.trim().is_empty() {
        return Err(invalid("prompt", "is empty; expected some text"));
    }
    Ok(text)
}

fn refused(place: usize, what: &str) -> Error {
    let message = format!("is {what}; expected `text`, `resource_link` or a `resource` of text");
    invalid(format!("prompt[{place}]"), message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(blocks: Value, expect: Result<&str, &str>) {
        let read = serde_json::from_value(blocks.clone()).expect("blocks of ACP");
        let got = text(read).map_err(|error| error.data.unwrap()["field"].clone());
        assert_eq!(got, expect.map(str::to_owned).map_err(Value::from), "{blocks}");
    }

    #[test]
    fn blocks_become_one_text() {
        let say = |text: &str| json!({"type": "text", "text": text});
        let link = json!({"type": "resource_link", "name": "a.rs", "uri": "file:///w/a.rs"});
        let resource = json!({"type": "resource", "resource": {"uri": "file:///b", "text": "b"}});
        check(json!([say("hello")]), Ok("hello"));
        check(
            json!([say("look at "), link, say(" please")]),
            Ok("look at [a.rs](file:///w/a.rs) please"),
        );
        check(
            json!([say("see"), resource, say("it")]),
            Ok("see\n<resource uri=\"file:///b\">\nb\n</resource>\nit"),
        );
    }

    #[test]
    fn what_no_model_here_is_sent_is_refused_by_its_place() {
        let say = json!({"type": "text", "text": "what is this?"});
        let image = json!({"type": "image", "data": "", "mimeType": "image/png"});
        let audio = json!({"type": "audio", "data": "", "mimeType": "audio/wav"});
        let blob = json!({"type": "resource", "resource": {"uri": "file:///b", "blob": ""}});
        for block in [image, audio, blob] {
            check(json!([say, block]), Err("prompt[1]"));
        }
        check(json!([]), Err("prompt"));
    }
}
