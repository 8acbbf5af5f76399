//! The commands for other agents.

use clap::{Args, ValueEnum};

/// Serve another agent as an MCP server: background tasks as its tools.
///
/// Speaks the Model Context Protocol on standard input and output. The agent starts it; for Claude Code:
/// `claude mcp add --scope user meanwhile -- meanwhile mcp`.
#[derive(Debug, Args)]
pub(crate) struct Mcp {}

/// Tell an agent's model about the background tasks of its session, as a hook of that agent.
///
/// Reads the hook's payload on standard input and writes the reply that the agent expects. `meanwhile setup`
/// writes the agent's settings for it.
#[derive(Debug, Args)]
pub(crate) struct Hook {
    /// The agent that runs the hook.
    #[arg(value_name = "HOST")]
    pub(crate) host: Host,
    /// Wait until a task has ended, and wake the agent then: for a hook that runs beside the turn.
    #[arg(long)]
    pub(crate) rewake: bool,
    /// Wait until the hour of a session that has ended is over.
    // What the hook at a session's end starts.
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
    /// Whether one process of it holds one session at a time. The others name the session in each request, or
    /// in the environment of their commands.
    pub(crate) fn has_one_session(self) -> bool {
        match self {
            Self::Claude | Self::Gemini => true,
            Self::Codex | Self::Opencode => false,
        }
    }

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
        }
    }
}
