//! The protocol as one JSON Schema document, generated from the wire's types (`meanwhile schema`).

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::methods::{COMMANDS, METHODS};
use crate::wire;

/// The document: for each method its `params` and `result`, for each push its `params`, and what
/// the handshake adds to LSP's.
pub(crate) fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let methods: Map<String, Value> =
        METHODS.iter().map(|name| ((*name).to_owned(), method(name, &mut generator))).collect();
    let pushes: Map<String, Value> = wire::Push::METHODS
        .iter()
        .map(|name| ((*name).to_owned(), json!({"params": push(name, &mut generator)})))
        .collect();
    let initialize = json!({
        "initializationOptions": of::<wire::InitializationOptions>(&mut generator),
        "capabilities.experimental.meanwhile": of::<wire::Capability>(&mut generator),
    });
    let error_data = of::<wire::ErrorData>(&mut generator);
    let codes: Map<String, Value> =
        wire::Code::ALL.iter().map(|code| (code.number().to_string(), json!(code))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The protocol of meanwhile",
        "protocolVersion": wire::PROTOCOL_VERSION,
        "initialize": initialize,
        "methods": methods,
        "pushes": pushes,
        "commands": COMMANDS,
        "errors": {"data": error_data, "codes": codes},
        "$defs": generator.take_definitions(true),
    })
}

/// The document as text: what is committed as `docs/schema.json`.
pub(crate) fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document())
        .expect("a schema is made of strings, numbers and string-keyed maps only");
    text.push('\n');
    text
}

fn method(name: &str, generator: &mut SchemaGenerator) -> Value {
    let (params, result) = match name {
        "task/spawn" => (of::<wire::SpawnParams>(generator), of::<wire::TaskResult>(generator)),
        "task/check" => (of::<wire::CheckParams>(generator), of::<wire::CheckResult>(generator)),
        "task/drain" => (of::<wire::DrainParams>(generator), of::<wire::DrainResult>(generator)),
        "task/ack" => (of::<wire::AckParams>(generator), of::<wire::AckResult>(generator)),
        "task/wait" => (of::<wire::WaitParams>(generator), of::<wire::WaitResult>(generator)),
        "task/read" => (of::<wire::ReadParams>(generator), of::<wire::ReadResult>(generator)),
        "task/stop" => (of::<wire::StopParams>(generator), of::<wire::TaskResult>(generator)),
        "task/write" => (of::<wire::WriteParams>(generator), of::<wire::Empty>(generator)),
        "task/subscribe" => (of::<wire::SubscribeParams>(generator), of::<wire::Empty>(generator)),
        "task/unsubscribe" => {
            (of::<wire::UnsubscribeParams>(generator), of::<wire::Empty>(generator))
        }
        "task/remove" => (of::<wire::RemoveParams>(generator), of::<wire::RemoveResult>(generator)),
        other => unreachable!("`{other}` is in the list of methods and has no schema"),
    };
    json!({"params": params, "result": result})
}

fn push(name: &str, generator: &mut SchemaGenerator) -> Value {
    match name {
        "task/started" => of::<wire::StartedPush>(generator),
        "task/output" => of::<wire::OutputPush>(generator),
        "task/progress" => of::<wire::ProgressPush>(generator),
        "task/notified" => of::<wire::NotifiedPush>(generator),
        "task/exited" => of::<wire::ExitedPush>(generator),
        "tasks/changed" => of::<wire::Changed>(generator),
        other => unreachable!("`{other}` is in the list of pushes and has no schema"),
    }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schema.json");
        if std::env::var_os("MEANWHILE_BLESS").is_some() {
            std::fs::write(path, text()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == text(), "docs/schema.json is old; MEANWHILE_BLESS=1 writes it anew");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(to)) = members.get("$ref") {
                        let pointer = to.strip_prefix('#').expect("references are local");
                        assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
                    }
                    members.values().for_each(|value| walk(value, document));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, document)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document = document();
        walk(&document, &document);
    }
}
