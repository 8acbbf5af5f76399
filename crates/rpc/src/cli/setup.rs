//! `meanwhile setup`: changes the settings of other agents so that they use `meanwhile`.
//!
//! Owns what is written to which file. It shows each change before making it, keeps existing settings, and removes
//! what it added with `--undo`. It never writes an approval: the user decides what a host may run without asking.

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
        let state = if args.undo {
            "no settings of meanwhile are there"
        } else {
            "all settings of meanwhile are there"
        };
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

/// The files of a host in which a setting of meanwhile is missing or differs from what `setup` would write.
pub(crate) fn missing(host: args::Host) -> Result<Vec<PathBuf>, Failure> {
    let changes = changes(&parts(host.into(), &Places::find()?), false)?;
    Ok(changes.iter().map(|change| change.path().to_owned()).collect())
}

/// The paths that the settings depend on.
#[derive(Debug)]
pub(crate) struct Places {
    /// The absolute path of this binary.
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

/// Asks the person for consent.
fn agreed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("a change needs consent, and standard input is not a terminal")
            .hint("`--yes` makes it, `--print` only shows it"));
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "Make this change? [y/N] ").and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints what is left for the user to do.
fn notes(host: args::SetupHost, written: bool) -> Result<u8, Failure> {
    let lines: &[&str] = match host {
        args::SetupHost::Claude => &[
            "restart Claude Code; it asks before each background_run. `mcp__meanwhile__background_run` in \
             `permissions.allow` lets it start any command unasked",
        ],
        args::SetupHost::Codex => &[
            "start Codex and trust the hooks once with `/hooks`: it skips untrusted ones silently",
            "Codex asks before each background_run, and `codex exec` refuses it. `approval_mode = \"approve\"` under \
             [mcp_servers.meanwhile.tools.background_run] lets it start any command, held by the \
             session's sandbox, unasked",
        ],
        args::SetupHost::Gemini => &["restart Gemini CLI; it asks before each background_run"],
        args::SetupHost::Opencode => &[
            "restart opencode; `opencode run` exits when the turn ends: later results are reported with the \
             session's next prompt",
        ],
        args::SetupHost::Cursor | args::SetupHost::Vscode => {
            &["this was not tested with the editor; add it by hand"]
        }
        args::SetupHost::Zed | args::SetupHost::Jetbrains => &[
            "this was not tested with the editor; add it by hand. With `acp` the editor talks to meanwhile's \
             own agent, with `mcp` its own agent gets the tools",
        ],
        args::SetupHost::Codecompanion => &["add it by hand"],
    };
    for line in lines {
        note(line);
    }
    if written {
        let name = host.to_possible_value();
        let name = name.as_ref().map_or("HOST", PossibleValue::get_name);
        note(format_args!(
            "`meanwhile doctor --host {name}` tests it, `meanwhile setup {name} --undo` removes it"
        ));
    } else {
        note("nothing was changed");
    }
    Ok(0)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
