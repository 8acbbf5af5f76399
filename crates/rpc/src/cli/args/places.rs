//! The commands about other machines on which tasks run.

use clap::{Args, Subcommand};

/// Set up another machine on which tasks run.
///
/// A place is a command whose standard input and output are those of a `meanwhile serve` there. With ssh: `meanwhile place
/// add build -- ssh build meanwhile serve`, then `meanwhile spawn --on build -- cargo test`.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(subcommand)]
    pub(crate) what: PlaceCommand,
}

/// What to do with a place.
#[derive(Debug, Subcommand)]
pub(crate) enum PlaceCommand {
    Add(AddPlace),
    /// Sign in at a place on this terminal, where it asks for a password or to accept its key.
    Connect {
        /// The place.
        #[arg(value_name = "PLACE")]
        name: String,
    },
    /// Take a place out of config.toml. What runs there runs on.
    Remove {
        /// The place.
        #[arg(value_name = "PLACE")]
        name: String,
    },
}

/// Try the whole way to a place, with a task, and write it into config.toml.
#[derive(Debug, Args)]
pub(crate) struct AddPlace {
    /// What to call it.
    #[arg(value_name = "PLACE")]
    pub(crate) name: String,
    /// The directory there that the workspace is, absolute or ~/DIR.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<String>,
    /// Copy this program there first, to ~/.local/bin: for a machine of the same kind.
    #[arg(long)]
    pub(crate) copy: bool,
    /// The command.
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub(crate) command: Vec<String>,
}

/// List the places, and whether each could be reached when it was tried last.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
