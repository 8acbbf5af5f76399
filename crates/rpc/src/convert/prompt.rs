//! Converts a prompt from ACP's content blocks to what the model is sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meanwhile_core::agent::message::{Image, Said};
use meanwhile_core::limits;

use super::error::invalid;
use crate::wire::{Error, acp};

/// A prompt, and the index of its first image block.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) said: Said,
    pub(crate) image: Option<usize>,
}

/// Parses a prompt. The text contains links and text resources with their addresses, so that the agent's tools can
/// find them; an image appears in it as `[image 1]`.
///
/// # Errors
///
/// A block has a kind that no model accepts, or the prompt is empty.
pub(crate) fn read(blocks: Vec<acp::ContentBlock>) -> Result<Prompt, Error> {
    let mut prompt = Prompt { said: Said::default(), image: None };
    let Said { text, images } = &mut prompt.said;
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
            acp::ContentBlock::Image(block) => {
                images.push(image(block).map_err(|why| invalid(at(place), why))?);
                prompt.image.get_or_insert(place);
                text.push_str(&format!("[image {}]", images.len()));
            }
            acp::ContentBlock::Resource(_) => return Err(refused(place, "a binary resource")),
            acp::ContentBlock::Audio(_) => return Err(refused(place, "audio")),
            _ => return Err(refused(place, "of a kind this server does not know")),
        }
    }
    if images.len() > limits::IMAGES_MAX {
        let (count, most) = (images.len(), limits::IMAGES_MAX);
        return Err(invalid("prompt", format!("has {count} images; expected at most {most}")));
    }
    if text.trim().is_empty() {
        return Err(invalid("prompt", "is empty; expected some text"));
    }
    Ok(prompt)
}

fn image(block: acp::ImageContent) -> Result<Image, String> {
    let (kind, data) = (block.mime_type, block.data);
    if !Image::KINDS.contains(&&*kind) {
        let (shown, kinds) = (kind.chars().take(64).collect::<String>(), Image::KINDS.join(", "));
        return Err(format!("is an image of type `{shown}`; expected one of {kinds}"));
    }
    let (bytes, most) = (data.len(), limits::IMAGE_BYTES);
    if bytes > most {
        return Err(format!("is an image of {bytes} bytes in Base64; expected at most {most}"));
    }
    match STANDARD.decode(&data) {
        Ok(image) if !image.is_empty() => Ok(Image { kind, data }),
        Ok(_) | Err(_) => Err("is an image whose `data` is not Base64".to_owned()),
    }
}

fn at(place: usize) -> String {
    format!("prompt[{place}]")
}

fn refused(place: usize, what: &str) -> Error {
    let message =
        format!("is {what}; expected `text`, `image`, `resource_link` or a `resource` of text");
    invalid(at(place), message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(blocks: Value, expect: Result<&str, &str>) {
        let read = serde_json::from_value(blocks.clone()).expect("blocks of ACP");
        let got = super::read(read)
            .map(|prompt| prompt.said.text)
            .map_err(|error| error.data.unwrap()["field"].clone());
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
        let image = json!({"type": "image", "data": "AAAA", "mimeType": "image/png"});
        let prompt = json!([say("compare "), image, say(" and "), image]);
        check(prompt.clone(), Ok("compare [image 1] and [image 2]"));
        let read = super::read(serde_json::from_value(prompt).unwrap()).unwrap();
        assert_eq!((read.image, read.said.images.len()), (Some(1), 2));
        check(
            json!([say("see"), resource, say("it")]),
            Ok("see\n<resource uri=\"file:///b\">\nb\n</resource>\nit"),
        );
    }

    #[test]
    fn what_no_model_here_is_sent_is_refused_by_its_place() {
        let say = json!({"type": "text", "text": "what is this?"});
        let image =
            |data: &str, kind: &str| json!({"type": "image", "data": data, "mimeType": kind});
        let audio = json!({"type": "audio", "data": "", "mimeType": "audio/wav"});
        let blob = json!({"type": "resource", "resource": {"uri": "file:///b", "blob": ""}});
        let large = image(&"A".repeat(limits::IMAGE_BYTES + 4), "image/png");
        let strange = [image("", "image/png"), image("%", "image/png"), image("AAAA", "image/x")];
        for block in [audio, blob, large].into_iter().chain(strange) {
            check(json!([say, block]), Err("prompt[1]"));
        }
        check(json!(vec![image("AAAA", "image/png"); 21]), Err("prompt"));
        check(json!([]), Err("prompt"));
    }
}
