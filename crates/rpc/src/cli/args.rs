//! The command line's grammar.
//!
//! Owns the names, the help and the parsing of single values. The completions and the manual page are generated from
//! these types, so their doc comments are written for users of the command line.

mod hosts;
mod places;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use meanwhile_core::background::task::Outcome;
use meanwhile_core::background::{OnFailure, StateFilter};
use meanwhile_core::{confine, limits};

pub(crate) use hosts::{Acp, Hook, Host, Mcp, Setup, SetupHost};
pub(crate) use places::{AddPlace, Place, PlaceCommand, Places, SourceCheck};
pub(crate) use values::{Linger, shell_command, task_command};
use values::{parse_env, parse_grace, parse_linger, parse_signal};

use crate::config::{parse_duration, parse_size};
use crate::fronts::FRONTS;

/// Background work that outlives the program that started it.
///
/// A task belongs to a workspace (a directory) and keeps running when the terminal, the editor or the agent exits.
/// Its output and its exit status are kept, and reported once to the reader of its queue.
#[derive(Debug, Parser)]
#[command(name = "meanwhile", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "State is kept in $MEANWHILE_STATE_DIR, else $XDG_STATE_HOME/meanwhile, \
    else ~/.local/state/meanwhile.\nSettings are read from \
    $XDG_CONFIG_HOME/meanwhile/config.toml.")]
pub(crate) struct Cli {
    /// The workspace to work on [default: the current directory].
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The help of each command is the doc comment of its arguments' type.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Spawn(Box<Spawn>),
    Ps(Ps),
    Logs(Logs),
    Wait(Wait),
    Stop(Stop),
    Restart(Restart),
    Signal(Signal),
    Drain(Drain),
    Serve(Serve),
    Mcp(Mcp),
    Acp(Acp),
    Hook(Hook),
    Setup(Setup),
    Run(Run),
    Chat(Chat),
    Sessions(Sessions),
    Demo(Demo),
    Learn(Learn),
    /// Print the JSON Schema of the protocol.
    Schema,
    Place(Place),
    Places(Places),
    Doctor(Doctor),
    #[command(hide = true)]
    Courier(Courier),
    Completions(Completions),
    Man(Man),
}

/// Run the courier of a place. Started automatically when the place has tasks.
#[derive(Debug, Args)]
pub(crate) struct Courier {
    /// The name of the place.
    #[arg(value_name = "PLACE")]
    pub(crate) place: String,
    /// Run the courier in this process, instead of starting it in the background.
    #[arg(long)]
    pub(crate) stay: bool,
}

/// Run a command in the background.
///
/// Prints the task's id, and returns as soon as the task is recorded and has a supervisor. A single argument that
/// contains blanks or shell characters is a line for `/bin/sh -c`; several arguments, or one plain word, are a
/// program and its arguments, executed without a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  meanwhile spawn -- cargo test --workspace\n  \
    meanwhile spawn 'npm run build && npm run lint'\n  \
    meanwhile spawn --label web --watch 'listening on' -- npm start")]
pub(crate) struct Spawn {
    /// Wait for the end, show the output as it arrives, and exit with the command's exit code.
    #[arg(long)]
    pub(crate) wait: bool,
    /// A name for the task.
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Option<String>,
    /// Like --label, and stop the running tasks of this workspace with this label first.
    #[arg(long, value_name = "LABEL", conflicts_with = "label")]
    pub(crate) replace: Option<String>,
    /// The directory to run it in [default: that of --workspace, else the current directory].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cwd: Option<PathBuf>,
    /// Set a variable of its environment, or remove one (NAME without =).
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parse_env)]
    pub(crate) env: Vec<(String, Option<String>)>,
    /// The queue that its notifications go to [default: $MEANWHILE_QUEUE, else that of the agent's session in whose
    /// shell this runs, else `default`].
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<String>,
    /// Stop it after this time (90s, 10m, 1h30m).
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) deadline: Option<Duration>,
    /// Stop it once no daemon has been attached to the workspace for this time, or `never`.
    #[arg(long, value_name = "TIME", default_value = "never", value_parser = parse_linger)]
    pub(crate) linger: Linger,
    /// Start it when this slot of config.toml is free.
    #[arg(long, value_name = "SLOT")]
    pub(crate) slot: Option<String>,
    /// Start it after this task has ended (may be given several times).
    #[arg(long, value_name = "ID")]
    pub(crate) after: Vec<String>,
    /// What to do if one of those tasks fails: run it anyway, or skip it.
    #[arg(long, value_name = "WHAT", default_value = "skip", requires = "after")]
    pub(crate) on_failure: WhatThen,
    /// Stop it if it has waited for its turn for this long.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) queue_deadline: Option<Duration>,
    /// Mark it as a server, which is not expected to end.
    #[arg(long)]
    pub(crate) service: bool,
    /// Confine it: `look` can read the workspace and the system, and cannot change anything; `work` can also write to
    /// the workspace and to caches. Neither can read keys or use the network.
    #[arg(long, value_name = "MODE")]
    pub(crate) confine: Option<Confine>,
    /// Let a task confined with `work` use the network.
    #[arg(long, requires = "confine")]
    pub(crate) network: bool,
    /// Run it at this place, as named in config.toml.
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["slot", "after", "confine"])]
    pub(crate) on: Option<String>,
    /// The number of processors to request from the place's batch system.
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpus: Option<u32>,
    /// The amount of memory to request (500M, 16G).
    #[arg(long, value_name = "SIZE", requires = "on", value_parser = parse_size)]
    pub(crate) memory: Option<u64>,
    /// The number of graphics processors to request.
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) gpus: Option<u32>,
    /// How long it may run there (90s, 8h), after which the batch system ends it.
    #[arg(long, value_name = "TIME", requires = "on", value_parser = parse_duration)]
    pub(crate) time: Option<Duration>,
    /// The partition of the cluster.
    #[arg(long, value_name = "NAME", requires = "on")]
    pub(crate) partition: Option<String>,
    /// A further option of the batch system, such as --extra=--qos=high (may be given several times).
    #[arg(long, value_name = "OPTION", requires = "on", allow_hyphen_values = true)]
    pub(crate) extra: Vec<String>,
    /// Run it in a terminal instead of with pipes.
    #[arg(long)]
    pub(crate) pty: bool,
    /// Forward this command's standard input to it, until its end.
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Notify the queue of the first line of output that matches (may be given several times).
    #[arg(long, value_name = "REGEX")]
    pub(crate) watch: Vec<String>,
    /// Print JSON: the task; with --wait, JSON lines of the task, its output, and the task after its end.
    #[arg(long)]
    pub(crate) json: bool,
    /// Run the command, which must be one argument, in this shell: `SHELL -c CMD`.
    #[arg(long, value_name = "SHELL", value_hint = ValueHint::CommandName)]
    pub(crate) shell: Option<PathBuf>,
    /// The command to run, with its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    #[arg(value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

/// What to do with a task if one that it runs after fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhatThen {
    /// Run it anyway.
    Run,
    /// Never run it.
    Skip,
}

impl From<WhatThen> for OnFailure {
    fn from(what: WhatThen) -> Self {
        match what {
            WhatThen::Run => Self::Run,
            WhatThen::Skip => Self::Skip,
        }
    }
}

/// How a task is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Confine {
    /// It cannot change anything.
    Look,
    /// It can change the workspace and caches.
    Work,
}

impl From<Confine> for confine::Mode {
    fn from(mode: Confine) -> Self {
        match mode {
            Confine::Look => Self::Look,
            Confine::Work => Self::Work,
        }
    }
}

/// List tasks: the running ones, and those that ended recently.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// List every task that is still kept.
    #[arg(long, short)]
    pub(crate) all: bool,
    /// List the tasks of all workspaces.
    #[arg(long)]
    pub(crate) everywhere: bool,
    /// List all tasks in this state.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<StateName>,
    /// List the commands that agents ran in the foreground, too.
    #[arg(long)]
    pub(crate) steps: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show the output of a task, byte for byte.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Keep showing output until the task ends.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Start with the last N lines.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Print JSON lines, one for each piece of the output.
    #[arg(long)]
    pub(crate) json: bool,
    /// The task: its id, the start of its id, or its label.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Wait until tasks end.
///
/// Exits with the command's exit code, or with 128 plus the number of the signal that ended it; with several tasks,
/// with the highest. Exits with 124 if the timeout passes first. Waiting takes nothing out of a queue.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Return as soon as one of them has ended.
    #[arg(long)]
    pub(crate) any: bool,
    /// Wait at most this long (90s, 10m, 1h30m).
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Without ids: wait for the tasks of this queue that are running, or whose end has not been drained [default: as
    /// for `drain`].
    #[arg(long, value_name = "QUEUE", conflicts_with = "ids")]
    pub(crate) queue: Option<String>,
    /// Print JSON: the tasks after the wait.
    #[arg(long)]
    pub(crate) json: bool,
    /// The tasks: ids, starts of ids, or labels [default: those of the queue].
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// Stop tasks and all processes that they started.
///
/// Returns when all of these processes have exited. A process that does not exit within the grace period is killed.
#[derive(Debug, Args)]
#[command(
    override_usage = "meanwhile stop [OPTIONS] <ID>...\n       meanwhile stop [OPTIONS] --all"
)]
pub(crate) struct Stop {
    /// Stop every running task of the workspace.
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// The signal to send first.
    #[arg(long, short, value_name = "SIGNAL", default_value = "TERM", value_parser = parse_signal)]
    pub(crate) signal: i32,
    /// How long the processes have before they are killed.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_grace)]
    pub(crate) grace: Duration,
    /// Print JSON: the tasks after their end.
    #[arg(long)]
    pub(crate) json: bool,
    /// The tasks: ids, starts of ids, or labels.
    #[arg(required_unless_present = "all", value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// Start a task again: the same command in the same directory and environment.
///
/// A running task is stopped first. Prints the id of the new task. Keys of models that were passed to `spawn` are not
/// stored, and must be given again with --env.
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Set a variable of its environment, or remove one (NAME without =).
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parse_env)]
    pub(crate) env: Vec<(String, Option<String>)>,
    /// How long the processes of a running task have before they are killed.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_grace)]
    pub(crate) grace: Duration,
    /// Print JSON: the new task.
    #[arg(long)]
    pub(crate) json: bool,
    /// The task: its id, the start of its id, or its label.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Send a signal to a task's processes.
///
/// The signal goes to the process group of the task's leader, as for Ctrl-C in a terminal. If the signal ends the
/// leader, the task's end reports it. `meanwhile stop` ends the whole process tree instead.
#[derive(Debug, Args)]
pub(crate) struct Signal {
    /// Send it only to the leader.
    #[arg(long)]
    pub(crate) leader: bool,
    /// The task: its id, the start of its id, or its label.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The signal, as a name or a number.
    #[arg(default_value = "TERM", value_parser = parse_signal)]
    pub(crate) signal: i32,
}

/// Take notifications out of a queue.
///
/// Prints every notification that was not drained before, oldest first. If this command dies before it has printed
/// them, none is lost and none is printed twice.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// The queue to drain [default: $MEANWHILE_QUEUE, else that of the agent's session in whose shell this runs, else
    /// `default`].
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<String>,
    /// Take at most this many.
    #[arg(long, value_name = "N", default_value_t = limits::DRAIN_MAX)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::DRAIN_MAX_MAX)))]
    pub(crate) max: u32,
    /// Leave them in the queue until they are acknowledged with --ack.
    #[arg(long)]
    pub(crate) manual: bool,
    /// Acknowledge what --manual printed, up to and including this number, and print nothing.
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["max", "manual"])]
    pub(crate) ack: Option<u64>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Serve an editor or agent: JSON-RPC on standard input and output.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Use standard input and output, which is the only transport.
    #[arg(long)]
    pub(crate) stdio: bool,

    /// The protocol to use.
    // Hidden while there is only one.
    #[arg(long, hide = FRONTS.len() == 1, default_value = FRONTS[0].0,
          value_parser = PossibleValuesParser::new(FRONTS.iter().map(|(name, _)| *name)))]
    pub(crate) front: String,
}

/// Give the agent a task, and exit when it has finished.
///
/// The agent works in this directory with the model of MEANWHILE_MODEL. Its answers go to standard output, its
/// actions to standard error. It asks no questions: what no rule allows is denied, and the agent is told why. Exits
/// with 0 if the agent finished, and with 3 if it finished and something was denied.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  meanwhile run 'why does the build fail?'\n  \
    meanwhile run --allow 'bash cargo test' 'make the tests pass'\n  \
    git diff | meanwhile run -\n\nMEANWHILE_MODEL is anthropic/NAME with ANTHROPIC_API_KEY, \
    openai/NAME or openai-responses/NAME\nwith OPENAI_API_KEY or OPENAI_BASE_URL, or script/PATH.")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) agent: AgentFlags,
    /// What to do about background tasks after the agent's last answer.
    #[arg(long, value_name = "POLICY", default_value = "wait")]
    pub(crate) at_end: AtEnd,
    /// Print JSON lines: the session, the events in the form of the daemon's pushes, and the result.
    #[arg(long)]
    pub(crate) json: bool,
    /// The task for the agent; `-` reads it from standard input.
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Vec<String>,
}

/// What to do about background tasks at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AtEnd {
    /// Wait for them, and report their ends to the agent.
    Wait,
    /// Stop them before the run exits.
    Stop,
    /// Leave them running; their results wait in the session.
    Detach,
}

/// Talk to the agent.
///
/// A task that ends while you are not typing wakes the agent. Ctrl-C ends the current turn, never a task; Ctrl-D
/// exits, and tasks keep running.
#[derive(Debug, Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) agent: AgentFlags,
}

/// The options that `run` and `chat` share.
#[derive(Debug, Args)]
pub(crate) struct AgentFlags {
    /// The model to use [default: MEANWHILE_MODEL].
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Allow what matches this rule: a tool, and the first words of a command (may be given several times).
    #[arg(long, value_name = "RULE")]
    pub(crate) allow: Vec<String>,
    /// Deny what matches this rule (may be given several times).
    #[arg(long, value_name = "RULE")]
    pub(crate) deny: Vec<String>,
    /// Continue a session: the start of its name, or `last`.
    #[arg(long, value_name = "ID")]
    pub(crate) resume: Option<String>,
    /// How long to retry while the model is temporarily unavailable; `0s` gives up at once.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub(crate) patience: Duration,
}

/// List the sessions of the workspace, newest first, or watch one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  meanwhile sessions\n  meanwhile sessions --watch last")]
pub(crate) struct Sessions {
    /// Show a session that any process has open, from its start and as it continues, until that process closes it:
    /// the start of its name, or `last`.
    #[arg(long, value_name = "ID", conflicts_with = "limit")]
    pub(crate) watch: Option<String>,
    /// List at most this many.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show background work as it happens: a scripted model, real commands, no key and no network.
///
/// Runs in the current directory and only reads it. A terminal shows moving lanes: the agent's turns, the tasks
/// beside them, the queue, and the point where results enter the next model call.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Use this script instead of the built-in one.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) script: Option<PathBuf>,
}

/// Play three chapters: when an agent sees a result, and which commands to run in the background.
///
/// Runs in a terminal and needs the keyboard: an agent's loop with commands beside it, where to run a command, and
/// which model call sees a result. Uses real commands and a scripted model in a temporary directory; no key and no
/// network.
#[derive(Debug, Args)]
pub(crate) struct Learn {
    /// Start with this chapter [default: 1]; with --json, print only this one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(crate) chapter: Option<u8>,
    /// Print JSON: the questions of chapters 2 and 3 with their answers.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check that this machine has what background work needs.
///
/// Reports for everything that is missing what the effect is and what to do. Exits with 1 if tasks cannot run at all.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Test whether another agent can use its tasks: its settings, its hooks, and a real task.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<Host>,
    /// Test the connection to a place of config.toml: its command, its version, and a real task.
    #[arg(long, value_name = "PLACE", conflicts_with = "host")]
    pub(crate) on: Option<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "For bash:\n  meanwhile completions bash > \
    ~/.local/share/bash-completion/completions/meanwhile")]
pub(crate) struct Completions {
    /// The shell to print them for.
    pub(crate) shell: Shell,
}

/// Print the manual page in roff format.
#[derive(Debug, Args)]
#[command(after_help = "To read it:\n  meanwhile man | man -l -")]
pub(crate) struct Man {
    /// The command to describe [default: the program itself].
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}

/// The states that `ps --state` accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateName {
    Queued,
    Running,
    Stopping,
    Exited,
    Stopped,
    TimedOut,
    Lost,
}

impl From<StateName> for StateFilter {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Queued => Self::Queued,
            StateName::Running => Self::Running,
            StateName::Stopping => Self::Stopping,
            StateName::Exited => Self::Ended(Outcome::Exited),
            StateName::Stopped => Self::Ended(Outcome::Stopped),
            StateName::TimedOut => Self::Ended(Outcome::TimedOut),
            StateName::Lost => Self::Ended(Outcome::Lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_after_the_command_is_the_commands_own() {
        let check = |line: &[&str], expected: &[&str]| {
            let cli = Cli::try_parse_from(line).expect("the line is right");
            let Command::Spawn(spawn) = cli.command else { panic!("not spawn: {line:?}") };
            assert_eq!(spawn.command, expected, "{line:?}");
            assert!(!spawn.json && !spawn.wait, "{line:?}");
        };
        check(&["meanwhile", "spawn", "--", "ls", "--json"], &["ls", "--json"]);
        check(&["meanwhile", "spawn", "ls", "--json"], &["ls", "--json"]);
        check(&["meanwhile", "spawn", "ls", "--wait", "--", "x"], &["ls", "--wait", "--", "x"]);
    }
}
