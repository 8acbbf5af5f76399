//! Compares `docs/protocol.md` with the output of `meanwhile schema` and the result of `initialize`.

use std::fs;

use serde_json::Value;

use crate::{Scratch, root};

fn page() -> String {
    fs::read_to_string(root().join("docs/protocol.md")).expect("the page is there")
}

fn schema() -> Value {
    let scratch = Scratch::new();
    let text = scratch.run(scratch.command("meanwhile").arg("schema"));
    serde_json::from_str(&text).expect("the schema is JSON")
}

fn names(of: &Value) -> Vec<String> {
    // The schema of a type without members has no `properties`.
    of.as_object().into_iter().flat_map(|it| it.keys().cloned()).collect()
}

/// The part of the page about a method: the text below its heading, or its row in a table.
fn about(page: &str, method: &str) -> Option<String> {
    let quoted = format!("`{method}`");
    let is_heading = |line: &&str| line.starts_with("### ") && line.contains(&quoted);
    if page.lines().any(|line| is_heading(&line)) {
        let below = page.lines().skip_while(|line| !is_heading(line)).skip(1);
        let below = below.take_while(|line| !line.starts_with('#'));
        return Some(below.collect::<Vec<_>>().join("\n"));
    }
    let row = format!("| `{method} ");
    page.lines().find(|line| line.starts_with(&row)).map(str::to_owned)
}

#[test]
fn every_method_is_described_with_its_parameters() {
    let (page, schema) = (page(), schema());
    let mut wrong = Vec::new();
    let methods = names(&schema["methods"]);
    for method in &methods {
        let Some(text) = about(&page, method) else {
            wrong.push(format!("`{method}` is not described"));
            continue;
        };
        // The Agent Client Protocol describes the parameters of `session/` methods.
        if method.starts_with("session/") {
            continue;
        }
        let path = schema["methods"][method]["params"]["$ref"].as_str().expect("a type");
        let params = schema.pointer(path.trim_start_matches('#')).expect("it exists");
        // The type of a method without parameters has no `properties`.
        for name in params.get("properties").map(names).unwrap_or_default() {
            // The daemon accepts this parameter but ignores it.
            if (method.as_str(), name.as_str()) == ("task/unsubscribe", "offset") {
                continue;
            }
            let said = text.split(|c: char| !c.is_alphanumeric()).any(|word| word == name);
            if !said {
                wrong.push(format!("`{method}` says nothing of `{name}`"));
            }
        }
    }
    assert!(methods.len() >= 18, "the table was read: {methods:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_push_question_and_error_is_described() {
    let (page, schema) = (page(), schema());
    let mut wrong = Vec::new();
    for name in names(&schema["pushes"]).iter().chain(&names(&schema["serverRequests"])) {
        if !page.contains(&format!("`{name} {{")) && !page.contains(&format!("`{name}`")) {
            wrong.push(name.clone());
        }
    }
    for (code, kind) in schema["errors"]["codes"].as_object().expect("an object") {
        let kind = kind.as_str().expect("a string");
        if !page.contains(&format!("| {code} | `{kind}` |")) {
            wrong.push(format!("{code} {kind}"));
        }
    }
    assert!(wrong.is_empty(), "the page says nothing of {wrong:?}");
}

#[test]
fn the_worked_connection_shows_what_initialize_says() {
    let (page, schema) = (page(), schema());
    let line = page.lines().find(|line| line.starts_with("<-- ") && line.contains("serverInfo"));
    let reply = line.expect("the page has the reply").trim_start_matches("<-- ");
    let reply: Value = serde_json::from_str(reply).expect("it is JSON");
    let shown = &reply["result"]["capabilities"]["experimental"]["meanwhile"];
    let listed = |what: &str| -> Vec<String> {
        let list = shown[what].as_array().unwrap_or_else(|| panic!("no {what}"));
        list.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(listed("methods"), names(&schema["methods"]));
    assert_eq!(listed("notifications"), names(&schema["pushes"]));
}
