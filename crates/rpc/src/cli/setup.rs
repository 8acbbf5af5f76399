//! `meanwhile setup`: writes the settings of other agents, so that they use `meanwhile`.
//!
//! Owns what goes where. It shows each change before it is made, keeps what is there, and takes away with
//! `--undo` what it added. It never writes an approval: what a host lets run unasked is its user's to say.

mod change;
mod parts;

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use meanwhile_core::background::quote::quote_argv;
use meanwhile_core::background::words::reason;

use self::change::changes;
pub(crate) use self::change::is_own;
use self::parts::parts;
use super::args;
use super::failure::Failure;
use super::out::{Out, note};

pub(crate) fn run(out: &mut Out, args: &args::Setup) -> Result<u8, Failure> {
    let places = Places::find()?;
    if !args.host.is_written() || args.print {
        for part in parts(args.host, &places) {
            out.line(format_args!("# {}", part.path().display()))?;
            out.line(part.shown().trim_end())?;
        }
        return notes(args.host, false);
    }
    let changes = changes(&parts(args.host, &places), args.undo)?;
    if changes.is_empty() {
        let state = if args.undo { "nothing of meanwhile is there" } else { "all of it is there" };
        note(format_args!("{}: {state}", args.host.name()));
        return Ok(0);
    }
    for change in &changes {
        out.raw(change.shown().as_bytes())?;
    }
    out.flush()?;
    if !args.yes && !agreed()? {
        note("nothing was changed");
        return Ok(1);
    }
    for change in &changes {
        change.make()?;
    }
    if args.undo { Ok(0) } else { notes(args.host, true) }
}

/// The files of a host in which something of meanwhile is missing, or is otherwise than it would be written.
pub(crate) fn missing(host: args::Host) -> Result<Vec<PathBuf>, Failure> {
    let changes = changes(&parts(host.into(), &Places::find()?), false)?;
    Ok(changes.iter().map(|change| change.path().to_owned()).collect())
}

/// Where things are.
#[derive(Debug)]
pub(crate) struct Places {
    /// This binary, an absolute path.
    binary: PathBuf,
    home: PathBuf,
    claude: Option<PathBuf>,
    codex: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Places {
    fn find() -> Result<Self, Failure> {
        let path =
            |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        let binary = std::env::current_exe().map_err(|error| {
            Failure::new(format!("cannot find this program: {}", reason(&error)))
        })?;
        let home = path("HOME").filter(|home| home.is_absolute());
        let home = home.ok_or_else(|| {
            Failure::new("no home directory").hint("set `HOME` to an absolute path")
        })?;
        let (claude, codex) = (path("CLAUDE_CONFIG_DIR"), path("CODEX_HOME"));
        Ok(Self { binary, home, claude, codex, config: path("XDG_CONFIG_HOME") })
    }

    /// A command line that runs this binary.
    fn command(&self, args: &[&str]) -> String {
        let words = [&*self.binary.to_string_lossy()];
        let words: Vec<String> =
            words.into_iter().chain(args.iter().copied()).map(str::to_owned).collect();
        quote_argv(&words)
    }

    fn in_home(&self, path: &str) -> PathBuf {
        self.home.join(path)
    }
}

/// Asks the person who sits there.
fn agreed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("the change is not made unasked")
            .hint("`--yes` makes it, `--print` only shows what goes where"));
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "Make this change? [y/N] ").and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What is left to the user.
fn notes(host: args::SetupHost, written: bool) -> Result<u8, Failure> {
    let lines: &[&str] = match host {
        args::SetupHost::Claude => &[
            "restart Claude Code; it asks before each background_run. `mcp__meanwhile__background_run` in \
             `permissions.allow` lets it start any command unasked",
        ],
        args::SetupHost::Codex => &[
            "start Codex and trust the hooks once with `/hooks`: it skips untrusted ones without a word",
            "Codex asks before each background_run, and `codex exec` refuses it. `approval_mode = \"approve\"` under \
             [mcp_servers.meanwhile.tools.background_run] lets it start any command, held by the \
             session's sandbox, unasked",
        ],
        args::SetupHost::Gemini => &["restart Gemini CLI; it asks before each background_run"],
        args::SetupHost::Opencode => &[
            "restart opencode; `opencode run` leaves when the turn ends: results that come later are told with the \
             session's next prompt",
        ],
        args::SetupHost::Cursor | args::SetupHost::Vscode => {
            &["this was not tried with the editor; put it there by hand"]
        }
        args::SetupHost::Zed | args::SetupHost::Jetbrains => &[
            "this was not tried with the editor; put it there by hand. With `acp` the editor talks to meanwhile's \
             own agent, with `mcp` its own agent gets the tools",
        ],
        args::SetupHost::Codecompanion => &["put it there by hand"],
    };
    for line in lines {
        note(line);
    }
    if written {
        let name = host.to_possible_value();
        let name = name.as_ref().map_or("HOST", PossibleValue::get_name);
        note(format_args!(
            "`meanwhile doctor --host {name}` tries it, `meanwhile setup {name} --undo` takes it away"
        ));
    } else {
        note("nothing was changed");
    }
    Ok(0)
}

/// A path, for messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
