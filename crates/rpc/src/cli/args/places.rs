//! The commands about other machines on which tasks run.

use clap::{Args, Subcommand};

/// Set up another machine on which tasks run.
///
/// A place is reached by a command that runs `meanwhile serve` there and connects its standard input and output. With
/// ssh: `meanwhile place add build -- ssh build meanwhile serve`, then `meanwhile spawn --on build -- cargo test`.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(subcommand)]
    pub(crate) what: PlaceCommand,
}

/// What to do with a place.
#[derive(Debug, Subcommand)]
pub(crate) enum PlaceCommand {
    Add(AddPlace),
    /// Sign in at a place in this terminal, which may ask for a password or to accept a host key.
    Connect {
        /// The name of the place.
        #[arg(value_name = "PLACE")]
        name: String,
    },
    /// Remove a place from config.toml. Tasks there keep running.
    Remove {
        /// The name of the place.
        #[arg(value_name = "PLACE")]
        name: String,
    },
}

/// Test a place by running a task there, and add it to config.toml.
#[derive(Debug, Args)]
pub(crate) struct AddPlace {
    /// A name for the place.
    #[arg(value_name = "PLACE")]
    pub(crate) name: String,
    /// The directory there that corresponds to the workspace, absolute or ~/DIR.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<String>,
    /// First copy this program there, to ~/.local/bin; the machine must be of the same kind.
    #[arg(long)]
    pub(crate) copy: bool,
    /// The command that reaches the place.
    #[arg(value_name = "COMMAND", required = true, last = true)]
    pub(crate) command: Vec<String>,
}

/// List the places, and whether the last connection to each succeeded.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}
