//! The commands about other machines on which tasks run.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

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
    /// Compare the sources there with those here at each spawn, and warn if they differ.
    #[arg(long, value_name = "HOW", value_enum)]
    pub(crate) check: Option<SourceCheck>,
    /// First copy this program there, or the build of it in FILE, to ~/.local/bin. The machine must have the same
    /// architecture and, for a build that is not static, a C library that is not older.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true,
        default_missing_value = "/proc/self/exe", value_hint = ValueHint::FilePath)]
    pub(crate) copy: Option<PathBuf>,
    /// The place is the Slurm cluster whose commands are installed on this machine.
    #[arg(long, requires = "shared", conflicts_with_all = ["command", "copy"])]
    pub(crate) slurm: bool,
    /// A directory that has the same path on this machine and on the cluster's nodes.
    #[arg(long, value_name = "DIR", requires = "slurm", value_hint = ValueHint::DirPath)]
    pub(crate) shared: Option<PathBuf>,
    /// An option of each sbatch, such as --option=--partition=gpu (may be given several times).
    #[arg(long, value_name = "OPTION", requires = "slurm", allow_hyphen_values = true)]
    pub(crate) option: Vec<String>,
    /// Another place with a command, on whose machine a place of the same name is set up; tasks run at that one.
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["command", "slurm", "copy"])]
    pub(crate) via: Option<String>,
    /// The command that reaches the place.
    #[arg(value_name = "COMMAND", required_unless_present_any = ["slurm", "via"], last = true)]
    pub(crate) command: Vec<String>,
}

/// How the sources of two machines are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceCheck {
    /// The commit and the uncommitted changes.
    Git,
}

/// List the places, and whether the last connection to each succeeded.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}
