//! Names of tools.

use std::fmt;

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolName {
    /// A tool of this program.
    Builtin(Builtin),
    /// A tool of an MCP server, with the full name `mcp__SERVER__NAME`.
    External {
        /// The server's part of the full name.
        server: String,
        /// The tool's part of the full name.
        name: String,
    },
}

/// The tools of this program, in the order in which a model sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// Runs a command in the foreground.
    Bash,
    /// Starts a command in the background.
    BackgroundRun,
    /// Shows the state of background tasks.
    CheckBackground,
    /// Reads a task's output.
    TaskOutput,
    /// Writes to a task's standard input.
    WriteBackground,
    /// Stops a task.
    StopBackground,
    /// Reads a file.
    ReadFile,
    /// Writes a whole file.
    WriteFile,
    /// Changes a part of a file.
    EditFile,
    /// Finds files by name.
    Glob,
    /// Finds files by their contents.
    Grep,
    /// Shows the plan to the person.
    UpdatePlan,
}

/// What a rule may name after a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Subject {
    /// The words that a command starts with.
    Command,
    /// A file or directory.
    Path,
    /// The rule is about the whole tool.
    Nothing,
}

/// The prefix of the names of MCP servers' tools, the same as in other agents.
pub(in crate::agent) const EXTERNAL: &str = "mcp__";

impl Builtin {
    /// All tools of this program.
    pub const ALL: [Self; 12] = [
        Self::Bash,
        Self::BackgroundRun,
        Self::CheckBackground,
        Self::TaskOutput,
        Self::WriteBackground,
        Self::StopBackground,
        Self::ReadFile,
        Self::WriteFile,
        Self::EditFile,
        Self::Glob,
        Self::Grep,
        Self::UpdatePlan,
    ];

    /// The name that models and rules use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::BackgroundRun => "background_run",
            Self::CheckBackground => "check_background",
            Self::TaskOutput => "task_output",
            Self::WriteBackground => "write_background",
            Self::StopBackground => "stop_background",
            Self::ReadFile => "read_file",
            Self::WriteFile => "write_file",
            Self::EditFile => "edit_file",
            Self::Glob => "glob",
            Self::Grep => "grep",
            Self::UpdatePlan => "update_plan",
        }
    }

    /// The tool with exactly this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// The only tool that a name can refer to: with other capitalisation (`Bash`, `ReadFile`), with a prefix that a
    /// server adds (`functions.bash`, `default_api:bash`) or with a suffix that a template leaves
    /// (`bash<|channel|>json`).
    pub fn meant(name: &str) -> Option<Self> {
        let key = |name: &str| -> String {
            name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        };
        let name = name.split_once('<').map_or(name, |(before, _)| before).trim();
        // Kimi's models append a number to the name in each call.
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let name = bare.strip_suffix(':').unwrap_or(name);
        let last = name.rsplit(['.', ':', '/']).next().unwrap_or(name);
        Self::named(name).or_else(|| {
            let wanted = key(last);
            Self::ALL.into_iter().find(|tool| key(tool.name()) == wanted)
        })
    }

    /// Whether it runs a shell command as a task.
    pub fn runs_commands(self) -> bool {
        self.subject() == Subject::Command
    }

    /// Whether it never changes anything.
    pub fn only_looks(self) -> bool {
        match self {
            Self::CheckBackground | Self::TaskOutput | Self::ReadFile | Self::Glob | Self::Grep => {
                true
            }
            Self::Bash
            | Self::BackgroundRun
            | Self::WriteBackground
            | Self::StopBackground
            | Self::WriteFile
            | Self::EditFile
            | Self::UpdatePlan => false,
        }
    }

    /// The text before the title of a call when a person is asked for permission.
    pub(super) fn asks(self) -> &'static str {
        match self {
            Self::Bash => "run ",
            Self::BackgroundRun => "run in the background: ",
            Self::TaskOutput => "read the ",
            Self::ReadFile => "read ",
            Self::WriteFile => "write ",
            Self::EditFile => "edit ",
            Self::Glob => "find files: ",
            Self::Grep => "search for ",
            Self::UpdatePlan => "set the ",
            // Their titles start with a verb.
            Self::CheckBackground | Self::WriteBackground | Self::StopBackground => "",
        }
    }

    /// What a rule about this tool may name.
    pub(in crate::agent) fn subject(self) -> Subject {
        match self {
            Self::Bash | Self::BackgroundRun => Subject::Command,
            Self::ReadFile | Self::WriteFile | Self::EditFile | Self::Glob | Self::Grep => {
                Subject::Path
            }
            Self::CheckBackground
            | Self::TaskOutput
            | Self::WriteBackground
            | Self::StopBackground
            | Self::UpdatePlan => Subject::Nothing,
        }
    }
}

impl ToolName {
    /// Parses the name that a model has called; `None` if no tool can have this name.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(builtin) = Builtin::named(name) {
            return Some(Self::Builtin(builtin));
        }
        let (server, name) = name.strip_prefix(EXTERNAL)?.split_once("__")?;
        let is_whole = !server.is_empty() && !name.is_empty();
        is_whole.then(|| Self::External { server: server.to_owned(), name: name.to_owned() })
    }

    /// The tool, if it belongs to this program.
    pub fn builtin(&self) -> Option<Builtin> {
        match self {
            Self::Builtin(builtin) => Some(*builtin),
            Self::External { .. } => None,
        }
    }
}

impl From<Builtin> for ToolName {
    fn from(builtin: Builtin) -> Self {
        Self::Builtin(builtin)
    }
}

impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(builtin) => builtin.fmt(f),
            Self::External { server, name } => write!(f, "{EXTERNAL}{server}__{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_written_alike() {
        for name in Builtin::ALL.map(Builtin::name).into_iter().chain(["mcp__github__get_issue"]) {
            assert_eq!(ToolName::parse(name).unwrap().to_string(), name);
        }
        for name in ["", "Bash", "mcp__", "mcp__github", "mcp____x", "mcp__x__", "github__get"] {
            assert_eq!(ToolName::parse(name), None, "{name}");
        }
        for name in [
            "functions.bash:0",
            "Bash",
            "bash ",
            "functions.bash",
            "default_api:bash",
            "bash<|channel|>json",
        ] {
            assert_eq!(Builtin::meant(name), Some(Builtin::Bash), "{name}");
        }
        assert_eq!(Builtin::meant("tools.ReadFile"), Some(Builtin::ReadFile));
        for name in ["", "rm", "read", "bash2", "mcp__x__bash"] {
            assert_eq!(Builtin::meant(name), None, "{name}");
        }
    }
}
