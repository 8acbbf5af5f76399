//! The commands for other agents.

use clap::{Args, ValueEnum};

/// Serve another agent as an MCP server, with background tasks as its tools.
///
/// Speaks the Model Context Protocol on standard input and output. The agent starts it; for Claude Code:
/// `claude mcp add --scope user meanwhile -- meanwhile mcp`.
#[derive(Debug, Args)]
pub(crate) struct Mcp {}

/// Serve an editor as an agent, over the Agent Client Protocol.
///
/// Speaks ACP version 1 on standard input and output, one line for each message. The client starts it: Zed,
/// JetBrains, CodeCompanion, acpx (`acpx --agent "meanwhile acp"`).
#[derive(Debug, Args)]
pub(crate) struct Acp {}

/// Tell an agent's model about the background tasks of its session, as a hook of that agent.
///
/// Reads the hook's payload from standard input and writes the reply that the agent expects. `meanwhile setup`
/// configures the agent to run it.
#[derive(Debug, Args)]
pub(crate) struct Hook {
    /// The agent that runs the hook.
    #[arg(value_name = "HOST")]
    pub(crate) host: Host,
    /// Wait until a task has ended, and then wake the agent: for a hook that runs in parallel with the turn.
    #[arg(long)]
    pub(crate) rewake: bool,
    /// Wait until the linger time of an ended session, one hour, has passed.
    // The hook at the end of a session starts it.
    #[arg(long, hide = true, value_name = "QUEUE")]
    pub(crate) linger: Option<String>,
}

/// An agent that can be a host of `meanwhile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Host {
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// opencode.
    Opencode,
}

impl Host {
    /// Whether one process of the host holds one session at a time. The other hosts name the session in each request,
    /// or in the environment of their commands.
    pub(crate) fn has_one_session(self) -> bool {
        match self {
            Self::Claude | Self::Gemini => true,
            Self::Codex | Self::Opencode => false,
        }
    }

    /// The name of the host on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
        }
    }
}

/// Configure another agent to use meanwhile: its MCP server and its hooks.
///
/// Shows the change, and asks before making it. Keeps existing settings, and never writes an approval.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// The agent or editor to configure.
    #[arg(value_name = "HOST")]
    pub(crate) host: SetupHost,
    /// Print what would be written to which file, and change nothing.
    #[arg(long, conflicts_with_all = ["undo", "yes"])]
    pub(crate) print: bool,
    /// Remove what was written.
    #[arg(long)]
    pub(crate) undo: bool,
    /// Make the change without asking.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// The agents and editors that `setup` knows. The settings of editors are only printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SetupHost {
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// opencode.
    Opencode,
    /// Cursor.
    Cursor,
    /// VS Code.
    Vscode,
    /// Zed.
    Zed,
    /// The IDEs of JetBrains.
    Jetbrains,
    /// CodeCompanion, in Neovim.
    Codecompanion,
}

impl From<Host> for SetupHost {
    fn from(host: Host) -> Self {
        match host {
            Host::Claude => Self::Claude,
            Host::Codex => Self::Codex,
            Host::Gemini => Self::Gemini,
            Host::Opencode => Self::Opencode,
        }
    }
}

impl SetupHost {
    /// Whether `setup` writes its settings, instead of printing them.
    pub(crate) fn is_written(self) -> bool {
        match self {
            Self::Claude | Self::Codex | Self::Gemini | Self::Opencode => true,
            Self::Cursor | Self::Vscode | Self::Zed | Self::Jetbrains | Self::Codecompanion => {
                false
            }
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::Codex => "Codex",
            Self::Gemini => "Gemini CLI",
            Self::Opencode => "opencode",
            Self::Cursor => "Cursor",
            Self::Vscode => "VS Code",
            Self::Zed => "Zed",
            Self::Jetbrains => "JetBrains",
            Self::Codecompanion => "CodeCompanion",
        }
    }
}
