//! The tools as described to the model: names, descriptions, arguments.
//!
//! Fixed texts in a fixed order, because a provider's prompt cache compares bytes. They are short, because they are
//! part of every request.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{Builtin, shell};
use crate::agent::provider::Tool;
use crate::background::places::{Place, Places};
use crate::background::words::seconds;

/// A tool with its description and the JSON Schema of its arguments.
struct Entry {
    tool: Builtin,
    description: &'static str,
    schema: &'static str,
}

const ENTRIES: [Entry; 12] = [
    Entry {
        tool: Builtin::Bash,
        description: "Run a {shell} command in the workspace and get its output and exit status. It \
            has no standard input. If it is still running after {yield} it moves to the background \
            by itself: you get a task id at once, and its result is delivered to you later. For \
            builds, test suites, installs and servers use background_run.",
        schema: r#"{"type":"object","properties":{"command":{"type":"string","description":"The command line"},"timeout":{"type":"number","description":"Seconds after which the command is ended, also in the background; default none"},"access":{"type":"string","enum":["look","work","full"],"description":"What it needs: look reads, work also writes the workspace, full is all; default by what the command is"},"description":{"type":"string","description":"What it does, in 5-10 words"}},"required":["command"]}"#,
    },
    Entry {
        tool: Builtin::BackgroundRun,
        description: "Start a {shell} command in the background and get its task id at once. Its \
            result is delivered to you by itself when it ends, in a <background-results> message: \
            don't poll, go on with other work or end your turn.",
        schema: r#"{"type":"object","properties":{"command":{"type":"string","description":"The command line"},"label":{"type":"string","description":"A short name"},"watch":{"type":"array","items":{"type":"string"},"description":"Regular expressions; the first output line that matches one is delivered to you while the command runs, e.g. \"listening on\""},"stdin":{"type":"boolean","description":"Keep its standard input open for write_background; default false"},"access":{"type":"string","enum":["look","work","full"],"description":"What it needs: look reads, work also writes the workspace, full is all; default by what the command is"},"deadline":{"type":"number","description":"Seconds after which it is ended, from its start; default none"},"slot":{"type":"string","description":"A slot of the user's settings: it starts once there is room in it"},"after":{"type":"array","items":{"type":"string"},"description":"Ids of tasks that are to end before it starts"},"on_failure":{"type":"string","enum":["skip","run"],"description":"What becomes of it where one of these fails; default skip"}},"required":["command"]}"#,
    },
    Entry {
        tool: Builtin::CheckBackground,
        description: "State of a background task and its output since you last checked. Without \
            task_id: list the tasks. Results are delivered without it; use it only to look into a \
            task that runs.",
        schema: r#"{"type":"object","properties":{"task_id":{"type":"string"},"wait_seconds":{"type":"number","description":"Wait this long for its end, at most 600; default 0"}}}"#,
    },
    Entry {
        tool: Builtin::TaskOutput,
        description: "Read the kept output of a background task, running or ended: its two ends, or \
            the part given by one of offset, head, tail, pattern.",
        schema: r#"{"type":"object","properties":{"task_id":{"type":"string"},"offset":{"type":"integer","description":"From this byte on"},"head":{"type":"integer","description":"The first lines"},"tail":{"type":"integer","description":"The last lines"},"pattern":{"type":"string","description":"Only lines that match this regular expression"}},"required":["task_id"]}"#,
    },
    Entry {
        tool: Builtin::WriteBackground,
        description: "Write to the standard input of a background task started with stdin: true.",
        schema: r#"{"type":"object","properties":{"task_id":{"type":"string"},"text":{"type":"string","description":"Written as it is; a line needs its \\n"},"eof":{"type":"boolean","description":"Close the input after it; default false"}},"required":["task_id","text"]}"#,
    },
    Entry {
        tool: Builtin::StopBackground,
        description: "Stop a background task and all its processes.",
        schema: r#"{"type":"object","properties":{"task_id":{"type":"string"},"signal":{"type":"string","description":"Default SIGTERM; SIGKILL follows after 2 s"}},"required":["task_id"]}"#,
    },
    Entry {
        tool: Builtin::ReadFile,
        description: "Read a text file, each line after its number and a tab. Long files come in \
            parts.",
        schema: r#"{"type":"object","properties":{"path":{"type":"string","description":"Absolute, or relative to the workspace"},"offset":{"type":"integer","description":"First line, from 1"},"limit":{"type":"integer","description":"Number of lines; default 2000"},"column":{"type":"integer","description":"Bytes of the line at offset to pass over, to go on inside a long line, of which 2000 are shown"}},"required":["path"]}"#,
    },
    Entry {
        tool: Builtin::WriteFile,
        description: "Write a whole file, replacing what is there; directories are made. To change \
            a part of a file use edit_file.",
        schema: r#"{"type":"object","properties":{"path":{"type":"string","description":"Absolute, or relative to the workspace"},"content":{"type":"string"}},"required":["path","content"]}"#,
    },
    Entry {
        tool: Builtin::EditFile,
        description: "Replace old_string by new_string in a file. old_string must be exactly what \
            the file has, without line numbers, and occur once, unless replace_all is true.",
        schema: r#"{"type":"object","properties":{"path":{"type":"string","description":"Absolute, or relative to the workspace"},"old_string":{"type":"string"},"new_string":{"type":"string"},"replace_all":{"type":"boolean","description":"Default false"}},"required":["path","old_string","new_string"]}"#,
    },
    Entry {
        tool: Builtin::Glob,
        description: "Find files by name, newest first, e.g. \"**/*.rs\". Files that .gitignore \
            excludes are left out.",
        schema: r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":"string","description":"Directory to look in; default the workspace"}},"required":["pattern"]}"#,
    },
    Entry {
        tool: Builtin::Grep,
        description: "Search file contents with a regular expression (ripgrep's syntax). Binary \
            files and files that .gitignore excludes are left out.",
        schema: r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":"string","description":"File or directory to search; default the workspace"},"glob":{"type":"string","description":"Only files like this, e.g. \"*.ts\""},"ignore_case":{"type":"boolean","description":"Default false"},"context":{"type":"integer","description":"Lines to show around each match; default 0"},"limit":{"type":"integer","description":"Matching lines at most; default 100"}},"required":["pattern"]}"#,
    },
    Entry {
        tool: Builtin::UpdatePlan,
        description: "Show the user your plan, whole, for work of several steps; send it again when \
            a step's status changes.",
        schema: r#"{"type":"object","properties":{"plan":{"type":"array","items":{"type":"object","properties":{"step":{"type":"string"},"status":{"type":"string","enum":["pending","in_progress","completed"]}},"required":["step","status"]}}},"required":["plan"]}"#,
    },
];

/// The tools in the form that a request contains.
pub(super) fn tools(yield_after: Duration, places: &Places) -> Vec<Tool> {
    let shell = shell::find();
    let shell = shell.file_name().map_or_else(|| "sh".into(), |name| name.to_string_lossy());
    let tool = |entry: &Entry| Tool {
        name: entry.tool.name().to_owned(),
        description: entry
            .description
            .replace("{shell}", &shell)
            .replace("{yield}", &seconds(yield_after)),
        input_schema: RawValue::from_string(if entry.tool == Builtin::BackgroundRun {
            with_places(entry.schema, places)
        } else {
            entry.schema.to_owned()
        })
        .expect("the schemas above are JSON"),
    };
    ENTRIES.iter().map(tool).collect()
}

/// What a task can ask the batch system of a place for.
const RESOURCES: &str = r#""cpus":{"type":"integer","description":"Only on a machine with a batch system, as gpus, memory_mb and time_seconds are; default its own"},"gpus":{"type":"integer"},"memory_mb":{"type":"integer"},"time_seconds":{"type":"integer","description":"Stopped after this time"},"#;

/// Adds the arguments for a place to the schema, if places are configured.
fn with_places(schema: &str, places: &Places) -> String {
    if places.is_empty() {
        return schema.to_owned();
    }
    let names: Vec<&String> = places.keys().collect();
    let names = serde_json::json!(names);
    let on = format!(
        r#""on":{{"type":"string","enum":{names},"description":"Run it on this other machine; not with access, slot or after. Files are as they are there"}},"#
    );
    let resources = if places.values().any(Place::has_resources) { RESOURCES } else { "" };
    schema.replacen(r#""command":"#, &format!(r#"{on}{resources}"command":"#), 1)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::agent::message::{Arguments, ToolCall};
    use crate::agent::servers::Offered;
    use crate::agent::tools::call;
    use crate::background::places::{PlaceKind, Slurm};

    /// Every parameter in a schema, with a value of its type, is understood. So the schemas match the parser.
    #[test]
    fn what_the_schemas_name_is_understood() {
        let kind = PlaceKind::Slurm(Slurm::default());
        let places = Places::from([("gpu".to_owned(), Place { kind, ..Place::default() })]);
        for tool in tools(Duration::from_secs(10), &places) {
            assert!(!tool.description.contains('{'), "{}", tool.description);
            let schema: Value = serde_json::from_str(tool.input_schema.get()).unwrap();
            let properties = schema["properties"].as_object().unwrap();
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(properties.contains_key(required.as_str().unwrap()), "{}", tool.name);
            }
            let value = |name: &str, property: &Value| match (name, property["type"].as_str()) {
                ("task_id", _) => "b3f9c2a1".into(),
                ("signal", _) => "SIGINT".into(),
                ("access", _) => "work".into(),
                ("on", _) => "gpu".into(),
                ("after", _) => serde_json::json!(["b3f9c2a1"]),
                ("on_failure", _) => "run".into(),
                ("plan", _) => serde_json::json!([{ "step": "s", "status": "pending" }]),
                (_, Some("string")) => "x".into(),
                (_, Some("array")) => serde_json::json!(["x"]),
                (_, Some("boolean")) => true.into(),
                (_, Some("integer" | "number")) => 1.into(),
                (name, other) => panic!("{name}: {other:?}"),
            };
            let mut names: Vec<&String> = properties.keys().collect();
            if tool.name == Builtin::TaskOutput.name() {
                // Its four parts are mutually exclusive.
                names.retain(|name| !["offset", "head", "tail"].contains(&name.as_str()));
            }
            let input: serde_json::Map<_, _> = names
                .into_iter()
                .map(|name| (name.clone(), value(name, &properties[name])))
                .collect();
            let raw = RawValue::from_string(Value::Object(input).to_string()).unwrap();
            let call =
                ToolCall { id: "1".into(), name: tool.name.clone(), input: Arguments::Object(raw) };
            let read = call::read(&call, std::path::Path::new("/"), &Offered::default());
            assert!(read.is_ok(), "{}: {read:?}", tool.name);
        }
    }
}
