//! The command line's grammar.
//!
//! Owns the names, the help and the reading of single values. The completions and the manual page
//! are generated from these types, so their doc comments are written for the person who types.

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
pub(crate) use places::{AddPlace, Place, PlaceCommand, Places};
pub(crate) use values::{Linger, shell_command, task_command};
use values::{parse_env, parse_grace, parse_linger, parse_signal};

use crate::config::parse_duration;
use crate::fronts::FRONTS;

/// Background work that outlives the program that started it.
///
/// A task belongs to a workspace (a directory) and goes on when the terminal, the editor or the
/// agent dies. Its output and its exit status are kept, and told once to the reader of its queue.
#[derive(Debug, Parser)]
#[command(name = "meanwhile", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "State is kept in $MEANWHILE_STATE_DIR, else $XDG_STATE_HOME/meanwhile, \
    else ~/.local/state/meanwhile.\nSettings are read from \
    $XDG_CONFIG_HOME/meanwhile/config.toml.")]
pub(crate) struct Cli {
    /// The workspace whose tasks are meant [default: the current directory].
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workspace: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do. The help of each is that of its arguments' type.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Spawn(Spawn),
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

/// Look after the tasks at a place. Started by itself where there are some.
#[derive(Debug, Args)]
pub(crate) struct Courier {
    /// The place.
    #[arg(value_name = "PLACE")]
    pub(crate) place: String,
    /// Be it, instead of starting the process that is.
    #[arg(long)]
    pub(crate) stay: bool,
}

/// Run a command in the background.
///
/// Prints the task's id, and returns as soon as the task is recorded and in its supervisor's
/// hands. A single argument with blanks or shell characters in it is a line for `/bin/sh -c`;
/// several arguments, or one plain word, are a program and its arguments, executed as they are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  meanwhile spawn -- cargo test --workspace\n  \
    meanwhile spawn 'npm run build && npm run lint'\n  \
    meanwhile spawn --label web --watch 'listening on' -- npm start")]
pub(crate) struct Spawn {
    /// Wait for the end, show the output as it comes, and exit as the command does.
    #[arg(long)]
    pub(crate) wait: bool,
    /// What to call the task.
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Option<String>,
    /// Call it so, and stop the tasks of this workspace that run under this label first.
    #[arg(long, value_name = "LABEL", conflicts_with = "label")]
    pub(crate) replace: Option<String>,
    /// Where to run it [default: what --workspace names, else the current directory].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cwd: Option<PathBuf>,
    /// Set a variable of its environment, or take one out (NAME without =).
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parse_env)]
    pub(crate) env: Vec<(String, Option<String>)>,
    /// The queue its end is told to [default: $MEANWHILE_QUEUE, else that of the agent's session in
    /// whose shell this runs, else `default`].
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<String>,
    /// End it after this time (90s, 10m, 1h30m).
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) deadline: Option<Duration>,
    /// End it once no daemon has been attached to the workspace for this time, or `never`.
    #[arg(long, value_name = "TIME", default_value = "never", value_parser = parse_linger)]
    pub(crate) linger: Linger,
    /// Start it when this slot of config.toml has room.
    #[arg(long, value_name = "SLOT")]
    pub(crate) slot: Option<String>,
    /// Start it when these tasks have ended (may be given several times).
    #[arg(long, value_name = "ID")]
    pub(crate) after: Vec<String>,
    /// What becomes of it where one of those fails: run it, or skip it.
    #[arg(long, value_name = "WHAT", default_value = "skip", requires = "after")]
    pub(crate) on_failure: WhatThen,
    /// End it if it waits for its turn for this time.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) queue_deadline: Option<Duration>,
    /// It is a server, which is not expected to end.
    #[arg(long)]
    pub(crate) service: bool,
    /// Confine it: `look` reads the workspace and the system and changes nothing; `work` also writes
    /// the workspace and caches. Neither sees keys or has the network.
    #[arg(long, value_name = "MODE")]
    pub(crate) confine: Option<Confine>,
    /// Let a task that is confined to `work` use the network.
    #[arg(long, requires = "confine")]
    pub(crate) network: bool,
    /// Run it at this place of config.toml.
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["slot", "after", "confine"])]
    pub(crate) on: Option<String>,
    /// Give it a terminal instead of pipes.
    #[arg(long)]
    pub(crate) pty: bool,
    /// Pass this command's standard input on to it, to the end.
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Tell the queue of the first line of output that matches (may be given several times).
    #[arg(long, value_name = "REGEX")]
    pub(crate) watch: Vec<String>,
    /// Print JSON: the task; with --wait, JSON lines of the task, its output and the task at its
    /// end.
    #[arg(long)]
    pub(crate) json: bool,
    /// Run the command, a single argument, as a line of this shell: `SHELL -c CMD`.
    #[arg(long, value_name = "SHELL", value_hint = ValueHint::CommandName)]
    pub(crate) shell: Option<PathBuf>,
    /// The command.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    #[arg(value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

/// What becomes of a task where one that it is to follow fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhatThen {
    /// It runs all the same.
    Run,
    /// It never runs.
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

/// How far a task is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Confine {
    /// It changes nothing.
    Look,
    /// It changes the workspace and caches.
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

/// List tasks: those that run, and those that ended lately.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// List every task that is still kept.
    #[arg(long, short)]
    pub(crate) all: bool,
    /// List the tasks of all workspaces.
    #[arg(long)]
    pub(crate) everywhere: bool,
    /// List every task in this state.
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<StateName>,
    /// List what agents ran in the foreground, too.
    #[arg(long)]
    pub(crate) steps: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show the output of a task, byte for byte.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on showing output until the task ends.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin with the last N lines.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Print JSON lines, each a piece of the output.
    #[arg(long)]
    pub(crate) json: bool,
    /// The task, by id, the beginning of its id, or label.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Wait until tasks end.
///
/// Exits as the command did: with its exit code, or 128 plus the signal that ended it; the highest
/// of several. Exits with 124 if the time is up before. Waiting takes nothing out of a queue.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Return as soon as one of them has ended.
    #[arg(long)]
    pub(crate) any: bool,
    /// Wait for this time at most (90s, 10m, 1h30m).
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Without ids, wait for the tasks of this queue, those that run and those whose end waits in it
    /// [default: as of drain].
    #[arg(long, value_name = "QUEUE", conflicts_with = "ids")]
    pub(crate) queue: Option<String>,
    /// Print JSON: the tasks at the end of the wait.
    #[arg(long)]
    pub(crate) json: bool,
    /// The tasks, by id, the beginning of an id, or label [default: those of the queue].
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// Stop tasks, with every process they started.
///
/// Returns when all of them are gone. A process that does not end by itself within the grace is
/// killed.
#[derive(Debug, Args)]
#[command(
    override_usage = "meanwhile stop [OPTIONS] <ID>...\n       meanwhile stop [OPTIONS] --all"
)]
pub(crate) struct Stop {
    /// Stop every running task of the workspace.
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// The signal to begin with.
    #[arg(long, short, value_name = "SIGNAL", default_value = "TERM", value_parser = parse_signal)]
    pub(crate) signal: i32,
    /// How long they have before they are killed.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_grace)]
    pub(crate) grace: Duration,
    /// Print JSON: the tasks as they ended.
    #[arg(long)]
    pub(crate) json: bool,
    /// The tasks, by id, the beginning of an id, or label.
    #[arg(required_unless_present = "all", value_name = "ID")]
    pub(crate) ids: Vec<String>,
}

/// Start a task again: the same command in the same directory and environment.
///
/// One that runs is stopped first. Prints the id of the new task. Keys of models that the spawn named
/// are not kept, and must be given again with --env.
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Set a variable of its environment, or take one out (NAME without =).
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parse_env)]
    pub(crate) env: Vec<(String, Option<String>)>,
    /// How long the processes of one that runs have before they are killed.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_grace)]
    pub(crate) grace: Duration,
    /// Print JSON: the new task.
    #[arg(long)]
    pub(crate) json: bool,
    /// The task, by id, the beginning of its id, or label.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Send a signal to a task's processes.
///
/// The signal goes to the process group of the task's leader, as Ctrl-C does in a terminal. If the
/// leader ends by it, the task's end says so. `meanwhile stop` ends the whole tree instead.
#[derive(Debug, Args)]
pub(crate) struct Signal {
    /// Send it to the leader alone.
    #[arg(long)]
    pub(crate) leader: bool,
    /// The task, by id, the beginning of its id, or label.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// The signal, by name or number.
    #[arg(default_value = "TERM", value_parser = parse_signal)]
    pub(crate) signal: i32,
}

/// Take what has happened out of a queue.
///
/// Prints every notification that was not drained before, oldest first. None is lost if this
/// command dies before it has printed them, and none is printed twice.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// The queue [default: $MEANWHILE_QUEUE, else that of the agent's session in whose shell this
    /// runs, else `default`].
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<String>,
    /// Take so many at most.
    #[arg(long, value_name = "N", default_value_t = limits::DRAIN_MAX)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::DRAIN_MAX_MAX)))]
    pub(crate) max: u32,
    /// Leave them in the queue until they are acknowledged with --ack.
    #[arg(long)]
    pub(crate) manual: bool,
    /// Acknowledge what --manual printed, through this number, and print nothing.
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["max", "manual"])]
    pub(crate) ack: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Serve an editor or agent: JSON-RPC on standard input and output.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Speak on standard input and output, which is the only way there is.
    #[arg(long)]
    pub(crate) stdio: bool,

    /// The protocol to speak.
    // Hidden while there is no choice.
    #[arg(long, hide = FRONTS.len() == 1, default_value = FRONTS[0].0,
          value_parser = PossibleValuesParser::new(FRONTS.iter().map(|(name, _)| *name)))]
    pub(crate) front: String,
}

/// Have the agent do something, and end when it is done.
///
/// The agent works in this directory with the model of MEANWHILE_MODEL. What it says goes to
/// standard output, what it does to standard error. No question is asked: what no rule allows is denied,
/// and the agent is told why. Exits with 0 if the agent finished, and with 3 if it finished and
/// something was denied to it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  meanwhile run 'why does the build fail?'\n  \
    meanwhile run --allow 'bash cargo test' 'make the tests pass'\n  \
    git diff | meanwhile run -\n\nMEANWHILE_MODEL is anthropic/NAME with ANTHROPIC_API_KEY, \
    openai/NAME or openai-responses/NAME\nwith OPENAI_API_KEY or OPENAI_BASE_URL, or script/PATH.")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) agent: AgentFlags,
    /// What to do about background tasks once the agent has said its last word.
    #[arg(long, value_name = "POLICY", default_value = "wait")]
    pub(crate) at_end: AtEnd,
    /// Print JSON lines: the session, what happens as the daemon's pushes, and the result.
    #[arg(long)]
    pub(crate) json: bool,
    /// What is to be done; `-` reads it from standard input.
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Vec<String>,
}

/// What becomes of background tasks at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AtEnd {
    /// Wait for them, and let the agent hear how they ended.
    Wait,
    /// Stop them.
    Stop,
    /// Leave them running; their results wait in the session.
    Detach,
}

/// Talk with the agent.
///
/// A task that ends while you do not type wakes the agent by itself. Ctrl-C ends the turn that runs,
/// never a task; Ctrl-D leaves, and tasks go on.
#[derive(Debug, Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) agent: AgentFlags,
}

/// What `run` and `chat` have in common.
#[derive(Debug, Args)]
pub(crate) struct AgentFlags {
    /// The model [default: MEANWHILE_MODEL].
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Allow what fits this rule: a tool, and the words a command begins with (may be given several
    /// times).
    #[arg(long, value_name = "RULE")]
    pub(crate) allow: Vec<String>,
    /// Deny what fits this rule (may be given several times).
    #[arg(long, value_name = "RULE")]
    pub(crate) deny: Vec<String>,
    /// Go on with a session: the beginning of its name, or `last`.
    #[arg(long, value_name = "ID")]
    pub(crate) resume: Option<String>,
    /// How long to go on asking a model that cannot be asked for the moment; `0s` gives up at once.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub(crate) patience: Duration,
}

/// List the sessions of the workspace, newest first, or watch one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  meanwhile sessions\n  meanwhile sessions --watch last")]
pub(crate) struct Sessions {
    /// Show what was said in a session and what is said from now on, in whichever process has it open,
    /// until that one lets it go: the beginning of its name, or `last`.
    #[arg(long, value_name = "ID", conflicts_with = "limit")]
    pub(crate) watch: Option<String>,
    /// List so many at most.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Watch background work happen: a scripted model, real commands, no key and no network.
///
/// Runs in the current directory and only reads it. On a terminal the lanes move: the agent's turns,
/// the tasks beside them, the queue, and the point where results enter the next model call.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Follow this script instead of the built-in one.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) script: Option<PathBuf>,
}

/// Play three chapters: when a result reaches an agent, and what deserves the background.
///
/// In a terminal, with the keyboard: a loop with commands beside it, which place a
/// command belongs in, and which model call sees a result. Real commands and a scripted model in a
/// directory of their own, which is taken away again; no key and no network.
#[derive(Debug, Args)]
pub(crate) struct Learn {
    /// Begin with this chapter [default: 1]; with --json, print this one only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(crate) chapter: Option<u8>,
    /// Print JSON: the questions of chapters 2 and 3 with their answers.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check that this machine has what background work needs.
///
/// Says of everything that is missing what it costs and what to do. Exits with 1 if tasks cannot
/// run at all.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Try the way from another agent to its tasks and back: its settings, its hooks, and a real task.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<Host>,
    /// Try the way to a place of config.toml and back: its command, its version, and a real task.
    #[arg(long, value_name = "PLACE", conflicts_with = "host")]
    pub(crate) on: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "For bash:\n  meanwhile completions bash > \
    ~/.local/share/bash-completion/completions/meanwhile")]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: Shell,
}

/// Print the manual page, in roff.
#[derive(Debug, Args)]
#[command(after_help = "To read it:\n  meanwhile man | man -l -")]
pub(crate) struct Man {
    /// The command whose page is meant [default: the program's own].
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}

/// A state of `ps --state`.
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
