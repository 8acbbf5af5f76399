//! The protocol as one JSON Schema document, generated from the wire's types (`meanwhile schema`).

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::commands::COMMANDS;
use super::voice::{PERMISSION, PUSHES};
use crate::methods::METHODS;
use crate::wire::{self, acp};

/// The document: the `params` and `result` of each method, the `params` of each push, the additions to LSP's
/// handshake, and the project's members of ACP's `_meta`.
pub(crate) fn document() -> Value {
    // Input may omit members that have a default; output always contains them.
    let mut read = SchemaSettings::draft2020_12().into_generator();
    let mut written = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let methods: Map<String, Value> = METHODS
        .iter()
        .map(|method| {
            let (params, result) = ((method.params)(&mut read), (method.result)(&mut written));
            (method.name.to_owned(), json!({"params": params, "result": result}))
        })
        .collect();
    let pushes: Map<String, Value> = PUSHES
        .iter()
        .map(|(name, params)| ((*name).to_owned(), json!({"params": params(&mut written)})))
        .collect();
    let requests = json!({
        PERMISSION: {
            "params": of::<acp::RequestPermissionRequest>(&mut written),
            "result": of::<acp::RequestPermissionResponse>(&mut read),
        },
    });
    let initialize = json!({
        "initializationOptions": of::<wire::InitializationOptions>(&mut read),
        "capabilities.experimental.meanwhile": of::<wire::Capability>(&mut written),
    });
    let meta = json!({
        "session/update": of::<wire::Own>(&mut written),
        PERMISSION: {
            "params": of::<wire::OwnQuestion>(&mut written),
            "result": of::<wire::OwnAnswer>(&mut read),
        },
    });
    let error_data = of::<wire::ErrorData>(&mut written);
    let codes: Map<String, Value> =
        wire::Code::ALL.iter().map(|code| (code.number().to_string(), json!(code))).collect();
    let mut definitions = written.take_definitions(true);
    definitions.values_mut().for_each(never_null);
    definitions.extend(read.take_definitions(true));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The protocol of meanwhile",
        "protocolVersion": wire::PROTOCOL_VERSION,
        "initialize": initialize,
        "methods": methods,
        "pushes": pushes,
        "serverRequests": requests,
        "_meta.meanwhile": meta,
        "commands": COMMANDS.map(|(command, _)| command),
        "errors": {"data": error_data, "codes": codes},
        "$defs": definitions,
    })
}

/// An optional member of the output is left out, never null; the generator cannot know that.
fn never_null(schema: &mut Value) {
    if let Some(Value::Array(variants)) = schema.get_mut("oneOf") {
        variants.iter_mut().for_each(never_null);
    }
    let required: Vec<Value> =
        schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(Value::Object(members)) = schema.get_mut("properties") else { return };
    for (name, member) in members {
        if required.iter().any(|required| required == name) {
            continue;
        }
        let Some(member) = member.as_object_mut() else { continue };
        if let Some(Value::Array(types)) = member.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = &mut types[..] {
                let only = only.take();
                member.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(mut choices)) = member.remove("anyOf") {
            choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
            match (choices.pop(), choices.is_empty()) {
                (Some(Value::Object(only)), true) => member.extend(only),
                (last, _) => {
                    choices.extend(last);
                    member.insert("anyOf".to_owned(), Value::Array(choices));
                }
            }
        }
    }
}

/// The text of the document, which is committed as `docs/schema.json`.
pub(crate) fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document())
        .expect("a schema is made of strings, numbers and string-keyed maps only");
    text.push('\n');
    text
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
        assert!(committed == text(), "docs/schema.json is old; MEANWHILE_BLESS=1 writes it again");
    }

    #[test]
    fn what_may_be_null_is_told_from_what_may_be_left_out() {
        let document = document();
        let member = |path: &str| document.pointer(path).unwrap_or_else(|| panic!("no {path}"));
        assert_eq!(member("/$defs/Task/properties/label/type"), "string");
        assert_eq!(member("/$defs/Task/properties/exit/$ref"), "#/$defs/Exit");
        assert_eq!(*member("/$defs/Exit/required"), json!(["code", "signal"]));
        assert_eq!(*member("/$defs/Exit/properties/code/type"), json!(["integer", "null"]));
        let linger = "/$defs/InitializationOptions/properties/lingerMs/type";
        assert_eq!(*member(linger), json!(["integer", "null"]));
        assert_eq!(*member("/$defs/SpawnParams/required"), json!(["command"]));
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
