//! What a person says, from ACP's content blocks to the text a model is sent.

use tower_lsp::jsonrpc::Error;

use super::error::invalid;
use crate::wire::acp;

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
