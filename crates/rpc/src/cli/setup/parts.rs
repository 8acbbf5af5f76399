//! The settings that each host needs.

use std::path::PathBuf;

use serde_json::{Value, json};
use toml_edit::{Array, DocumentMut, Item, Table};

use super::Places;
use crate::cli::args::SetupHost;

/// The plugin for opencode.
const PLUGIN: &str = include_str!("opencode.js");

/// The skill for Claude Code.
const SKILL: &str = include_str!("skill.md");

/// An adapter for CodeCompanion, which is configured in Lua. It extends opencode's, because Gemini's would sign in at
/// Google.
const CODECOMPANION: &str = "\
meanwhile = function()
  return require('codecompanion.adapters.acp').extend('opencode', {
    name = 'meanwhile', formatted_name = 'meanwhile',
    commands = { default = { 'MEANWHILE_BINARY', 'acp' } },
  })
end,
";

/// A part of a host's settings.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// A member of a JSON file. `at` names the object that contains it, and the member.
    Member { path: PathBuf, at: [&'static str; 2], value: Value },
    /// Hooks in a JSON file: a group for each event.
    Hooks { path: PathBuf, groups: Vec<(&'static str, Value)>, host: &'static str },
    /// A table of a TOML file. `at` names the table that contains it, and the table.
    Table { path: PathBuf, at: [&'static str; 2], table: Table },
    /// A separate file.
    File { path: PathBuf, text: String },
}

impl Part {
    pub(super) fn path(&self) -> &std::path::Path {
        match self {
            Self::Member { path, .. }
            | Self::Hooks { path, .. }
            | Self::Table { path, .. }
            | Self::File { path, .. } => path,
        }
    }

    /// The text as a person would write it.
    pub(super) fn shown(&self) -> String {
        let pretty = |value: &Value| format!("{value:#}");
        match self {
            Self::Member { at: [outer, inner], value, .. } => {
                pretty(&json!({ *outer: { *inner: value } }))
            }
            Self::Hooks { groups, .. } => {
                let mut hooks = json!({});
                for (event, group) in groups {
                    let list = hooks[*event].as_array_mut();
                    match list {
                        Some(list) => list.push(group.clone()),
                        None => hooks[*event] = json!([group]),
                    }
                }
                pretty(&json!({ "hooks": hooks }))
            }
            Self::Table { at, table, .. } => {
                let mut file = DocumentMut::new();
                add(&mut file, *at, table);
                file.to_string()
            }
            Self::File { text, .. } => text.clone(),
        }
    }
}

/// Adds a table to a TOML file, unless it exists. Returns false if the outer name is not a table.
pub(super) fn add(file: &mut DocumentMut, [outer, inner]: [&str; 2], table: &Table) -> bool {
    let place = file.entry(outer).or_insert_with(|| {
        let mut outer = Table::new();
        outer.set_implicit(true);
        Item::Table(outer)
    });
    let Some(place) = place.as_table_like_mut() else { return false };
    place.entry(inner).or_insert_with(|| Item::Table(table.clone()));
    true
}

/// The parts that a host needs.
pub(super) fn parts(host: SetupHost, places: &Places) -> Vec<Part> {
    let binary = places.binary.to_string_lossy();
    let server = json!({ "command": binary, "args": ["mcp"] });
    let member = |path: PathBuf, outer| Part::Member {
        path,
        at: [outer, "meanwhile"],
        value: server.clone(),
    };
    let agent = |path: PathBuf| Part::Member {
        path,
        at: ["agent_servers", "meanwhile"],
        value: json!({ "type": "custom", "command": binary, "args": ["acp"] }),
    };
    match host {
        SetupHost::Claude => claude(places, |state| member(state, "mcpServers")),
        SetupHost::Codex => {
            let folder = places.codex.clone().unwrap_or_else(|| places.in_home(".codex"));
            let mut table = Table::new();
            table.insert("command", toml_edit::value(binary.as_ref()));
            table.insert("args", toml_edit::value(Array::from_iter(["mcp"])));
            let groups = hooks(
                places,
                "codex",
                &[
                    ("SessionStart", None, None),
                    ("UserPromptSubmit", None, None),
                    ("PostToolUse", None, None),
                    ("Stop", None, Some(3_600)),
                ],
            );
            let path = folder.join("config.toml");
            vec![
                Part::Table { path, at: ["mcp_servers", "meanwhile"], table },
                Part::Hooks { path: folder.join("hooks.json"), groups, host: "codex" },
            ]
        }
        SetupHost::Gemini => {
            let path = places.in_home(".gemini/settings.json");
            let groups = hooks(
                places,
                "gemini",
                &[
                    ("SessionStart", None, None),
                    ("BeforeAgent", None, None),
                    ("AfterTool", Some("*"), None),
                    // Gemini CLI's timeouts are in milliseconds.
                    ("AfterAgent", None, Some(3_600_000)),
                    ("SessionEnd", None, None),
                ],
            );
            vec![member(path.clone(), "mcpServers"), Part::Hooks { path, groups, host: "gemini" }]
        }
        SetupHost::Opencode => {
            let config = places.config.clone().unwrap_or_else(|| places.in_home(".config"));
            let folder = config.join("opencode");
            let value = json!({ "type": "local", "command": [binary, "mcp"], "enabled": true });
            let text = PLUGIN.replace("MEANWHILE_BINARY", &binary);
            vec![
                Part::Member {
                    path: folder.join("opencode.json"),
                    at: ["mcp", "meanwhile"],
                    value,
                },
                Part::File { path: folder.join("plugin/meanwhile.js"), text },
            ]
        }
        SetupHost::Cursor => vec![member(places.in_home(".cursor/mcp.json"), "mcpServers")],
        SetupHost::Vscode => vec![member(PathBuf::from(".vscode/mcp.json"), "servers")],
        SetupHost::Zed => {
            let path = places.in_home(".config/zed/settings.json");
            vec![member(path.clone(), "context_servers"), agent(path)]
        }
        SetupHost::Jetbrains => vec![
            member(PathBuf::from("Settings, MCP"), "mcpServers"),
            agent(places.in_home(".jetbrains/acp.json")),
        ],
        SetupHost::Codecompanion => {
            let text = CODECOMPANION.replace("MEANWHILE_BINARY", &binary);
            let path = PathBuf::from("the `adapters.acp` of CodeCompanion's setup");
            vec![Part::File { path, text }]
        }
    }
}

fn claude(places: &Places, server: impl Fn(PathBuf) -> Part) -> Vec<Part> {
    let folder = places.claude.clone();
    let state = folder.clone().unwrap_or_else(|| places.home.clone()).join(".claude.json");
    let folder = folder.unwrap_or_else(|| places.in_home(".claude"));
    let mut groups = hooks(
        places,
        "claude",
        &[
            ("SessionStart", None, None),
            ("UserPromptSubmit", None, None),
            ("PostToolUse", Some(""), None),
            ("Stop", None, Some(3_600)),
            ("SessionEnd", None, None),
        ],
    );
    let rewake = places.command(&["hook", "claude", "--rewake"]);
    let rewake = json!({
        "type": "command", "command": rewake, "asyncRewake": true, "timeout": 86_400,
    });
    let group = json!({ "matcher": "Bash|mcp__meanwhile__.*", "hooks": [rewake] });
    groups.push(("PostToolUse", group));
    // A turn that was woken may end without a tool call; the next result must wake it, too.
    groups.push(("Stop", json!({ "hooks": [rewake] })));
    let path = folder.join("settings.json");
    let skill = folder.join("skills/meanwhile/SKILL.md");
    vec![
        server(state),
        Part::Hooks { path, groups, host: "claude" },
        Part::File { path: skill, text: SKILL.to_owned() },
    ]
}

/// A group with one hook for each event, with its matcher and its timeout.
fn hooks(
    places: &Places,
    host: &'static str,
    events: &[(&'static str, Option<&str>, Option<u32>)],
) -> Vec<(&'static str, Value)> {
    let command = places.command(&["hook", host]);
    let group = |(event, matcher, timeout): &(&'static str, Option<&str>, Option<u32>)| {
        let mut hook = json!({ "type": "command", "command": command });
        if let Some(timeout) = timeout {
            hook["timeout"] = json!(timeout);
        }
        let group = match matcher {
            Some(matcher) => json!({ "matcher": matcher, "hooks": [hook] }),
            None => json!({ "hooks": [hook] }),
        };
        (*event, group)
    };
    events.iter().map(group).collect()
}
