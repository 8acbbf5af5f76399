//! The script file of a scripted model: TOML that people write by hand.
//!
//! ```toml
//! model = "demo"              # the model's name; default: the file's name
//! context_window = 8192       # in tokens; default: none
//! pace_ms = 20                # time between two words; default 0
//!
//! [[turn]]                    # the answer to the 1st request
//! think = "A build takes long."
//! text = "I start the build."
//! delay_ms = 300              # time before the first word
//! [[turn.call]]
//! tool = "background_run"
//! input = { command = "make" }
//! save = { build = "[0-9a-f]{8}" }   # {{build}} is what this finds in the call's result
//!
//! [[turn]]                    # the answer to the 2nd
//! expect = ["<background-results>", "[bg:{{build}}] exited 0"]
//! text = "Built."
//! ```
//!
//! `expect` lists texts that must occur, in this order, in the messages added since the last answer, and `absent`
//! lists texts that must not occur; `messages` lists the kinds of the added messages (`prompt`, `tool_results`,
//! `background`, `notice`). If a request differs, the call fails with an error that shows both. `hold = "PATH"`
//! delays the answer until that file exists. `stop` sets another stop reason (`max_tokens`, `refusal`, ...).
//! `fault` makes the first `times` (1) attempts fail as real servers do: a status as in `"529"`, `"cut"`,
//! `"stall"`, `"error"` (after half an answer) or `"garbage"`. A turn with `when = "TEXT"` is not part of the
//! sequence: it answers every request whose added messages contain that text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;

/// A script with all its turns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    pub(crate) model: Option<String>,
    pub(crate) context_window: Option<u64>,
    #[serde(default)]
    pub(crate) pace_ms: u64,
    #[serde(default, rename = "turn")]
    pub(crate) turns: Vec<ScriptTurn>,
}

/// One answer of the script.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptTurn {
    pub(crate) when: Option<String>,
    #[serde(default)]
    pub(crate) expect: Vec<String>,
    #[serde(default)]
    pub(crate) absent: Vec<String>,
    pub(crate) messages: Option<Vec<Kind>>,
    #[serde(default)]
    pub(crate) delay_ms: u64,
    pub(crate) hold: Option<PathBuf>,
    pub(crate) think: Option<String>,
    #[serde(default)]
    pub(crate) text: String,
    #[serde(default, rename = "call")]
    pub(crate) calls: Vec<ScriptCall>,
    pub(crate) stop: Option<Ending>,
    pub(crate) fault: Option<Fault>,
    #[serde(default = "once")]
    pub(crate) times: u32,
}

fn once() -> u32 {
    1
}

/// One call of an answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptCall {
    pub(crate) tool: String,
    /// The arguments. A string is sent unchanged, so that a script can send invalid JSON.
    #[serde(default)]
    pub(crate) input: ScriptInput,
    /// Names of variables, each with the pattern that finds its value in the call's result.
    #[serde(default, deserialize_with = "patterns")]
    pub(crate) save: BTreeMap<String, Regex>,
}

/// Arguments of a call.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum ScriptInput {
    Text(String),
    Object(BTreeMap<String, serde_json::Value>),
}

impl Default for ScriptInput {
    fn default() -> Self {
        Self::Object(BTreeMap::new())
    }
}

/// Kinds of messages other than answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Prompt,
    ToolResults,
    Background,
    Notice,
}

/// A stop reason, under Anthropic's name.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    EndTurn,
    MaxTokens,
    ModelContextWindowExceeded,
    StopSequence,
    PauseTurn,
    Refusal,
}

/// A simulated failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Fault {
    Status(u16),
    Cut,
    Stall,
    Error,
    Garbage,
}

impl TryFrom<String> for Fault {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.as_str() {
            "cut" => Self::Cut,
            "stall" => Self::Stall,
            "error" => Self::Error,
            "garbage" => Self::Garbage,
            status => match status.parse() {
                Ok(status @ 400..=599) => Self::Status(status),
                Ok(_) | Err(_) => {
                    return Err(format!(
                        "`{text}` is not a fault: expected a status from 400 to 599, `cut`, `stall`, `error` or `garbage`"
                    ));
                }
            },
        })
    }
}

fn patterns<'de, D: serde::Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Regex>, D::Error> {
    BTreeMap::<String, String>::deserialize(d)?
        .into_iter()
        .map(|(name, pattern)| match Regex::new(&pattern) {
            Ok(regex) => Ok((name, regex)),
            Err(error) => Err(serde::de::Error::custom(error)),
        })
        .collect()
}

/// A script file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadScript {
    /// The file cannot be read.
    #[error("cannot read the script `{}`: {error}", path.display())]
    Unreadable {
        /// The path of the script.
        path: PathBuf,
        /// The I/O error.
        error: std::io::Error,
    },
    /// The file is not a valid script.
    #[error("the script `{}` cannot be used: {message}", path.display())]
    Malformed {
        /// The path of the script.
        path: PathBuf,
        /// The error and its position.
        message: String,
    },
}

impl Script {
    pub(crate) fn read(path: &Path) -> Result<Self, BadScript> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| BadScript::Unreadable { path: path.to_owned(), error })?;
        Self::parse(path, &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, BadScript> {
        let malformed = |message: String| BadScript::Malformed { path: path.to_owned(), message };
        let script: Self =
            toml::from_str(text).map_err(|error| malformed(error.to_string().trim().to_owned()))?;
        if script.turns.is_empty() {
            return Err(malformed("it has no `[[turn]]`, so it never answers".into()));
        }
        Ok(script)
    }

    /// The delay between two words.
    pub(crate) fn pace(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.pace_ms)
    }
}

/// Replaces `{{name}}` by saved values; a name without a value stays, so that it is noticed.
pub(crate) fn fill(text: &str, saved: &BTreeMap<String, String>) -> String {
    saved.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}
