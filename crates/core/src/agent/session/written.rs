//! Detects tool calls that a model wrote as text, because its server's template does not support them.

use crate::agent::tools::Builtin;

/// Whether a text is a tool call in the syntax of some model template, rather than an answer.
pub(super) fn is_written_call(text: &str) -> bool {
    const MARKS: [&str; 14] = [
        "<tool_call>",
        "<tool_calls>",
        "<function=",
        "<function_call",
        "<function_calls>",
        "[TOOL_CALLS]",
        "<|tool_call",
        "<invoke name=",
        "<tool_use>",
        "<|python_tag|>",
        "<｜tool",
        "<|channel|>commentary to=",
        "```tool_code",
        "```tool_call",
    ];
    let text = text.trim();
    let bare = text.trim_start_matches("```json").trim_start_matches("```").trim_end_matches("```");
    let is_call = |object: &serde_json::Map<String, serde_json::Value>| {
        let name = ["name", "tool", "tool_name"].iter().find_map(|key| object.get(*key)?.as_str());
        name.is_some_and(|name| Builtin::meant(name).is_some())
            && ["arguments", "parameters", "input", "tool_input", "args"]
                .iter()
                .any(|key| object.contains_key(*key))
    };
    let is_written = |json: &str| match serde_json::from_str(json.trim()) {
        Ok(serde_json::Value::Object(object)) => is_call(&object),
        Ok(serde_json::Value::Array(list)) => {
            list.first().and_then(|first| first.as_object()).is_some_and(is_call)
        }
        Ok(_) | Err(_) => false,
    };
    // `<bash>` with its argument in nested tags.
    let is_tag =
        text.strip_prefix('<').and_then(|rest| rest.split_once('>')).is_some_and(|(name, rest)| {
            Builtin::named(name).is_some() && rest.ends_with(&format!("</{name}>"))
        });
    // A JSON block at the end of the text.
    let block = text.strip_suffix("```").and_then(|text| text.rsplit_once("```json"));
    // Only at the start of a line: in the middle of prose, the text talks about such a marker.
    MARKS.iter().any(|mark| text.starts_with(mark) || text.contains(&format!("\n{mark}")))
        || is_tag
        || is_written(bare)
        || block.is_some_and(|(_, json)| is_written(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_in_the_words_of_any_template() {
        for text in [
            "<tool_call>\n{\"name\": \"bash\"}\n</tool_call>",
            "<|python_tag|>{\"name\": \"bash\", \"parameters\": {}}",
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>bash",
            "<bash>\n<command>ls</command>\n</bash>",
            "<|channel|>commentary to=functions.bash <|message|>{}",
            "[{\"name\": \"bash\", \"arguments\": {}}]",
            "I run it:\n```json\n{\"name\": \"bash\", \"arguments\": {}}\n```",
            "```tool_code\nbash(command='ls')\n```",
            "{\"tool\": \"bash\", \"tool_input\": {}}",
            "```json\n{\"name\": \"read_file\", \"arguments\": {}}\n```",
        ] {
            assert!(is_written_call(text), "{text}");
        }
        for text in [
            "Done.",
            "A call begins with `<tool_call>`.",
            "{\"name\": \"meanwhile\", \"input\": 1}",
            "[1, 2]",
            "[]",
            "The settings:\n```json\n{\"name\": \"x\", \"arguments\": []}\n```",
            "<bash> is a shell.",
            "Use bash.",
        ] {
            assert!(!is_written_call(text), "{text}");
        }
    }
}
