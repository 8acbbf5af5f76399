//! The commands that run another one: `timeout 60 npm test`, `sh -c '..'`, `find . -exec ..`.
//!
//! Owns what each of them runs. A command whose options are not all known here runs something that
//! is not known.

use super::known;
use super::shell::Word;

/// What a command runs.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    /// Commands.
    pub(super) commands: Vec<Vec<Word>>,
    /// Lines of shell.
    pub(super) lines: Vec<String>,
    /// What the command itself reads.
    pub(super) reads: Vec<Word>,
    /// Why the command itself has to be asked for, whatever it runs.
    pub(super) why: Option<String>,
    /// It runs more than is told here.
    pub(super) is_hiding: bool,
}

/// Programs that run what they are given in ways that are not looked into: what they run is hidden.
const HIDING: [&str; 67] = [
    "eval",
    "source",
    ".",
    "trap",
    "alias",
    "exec",
    "bind",
    "enable",
    "complete",
    "mapfile",
    "readarray",
    "fc",
    "coproc",
    "parallel",
    "watch",
    "ssh",
    "script",
    "su",
    "zsh",
    "fish",
    "ksh",
    "csh",
    "tcsh",
    "busybox",
    "strace",
    "expect",
    "let",
    "flock",
    "taskset",
    "chrt",
    "setpriv",
    "prlimit",
    "numactl",
    "runuser",
    "systemd-run",
    "unbuffer",
    "rlwrap",
    "fakeroot",
    "ltrace",
    "xvfb-run",
    "entr",
    "hyperfine",
    "start-stop-daemon",
    "setarch",
    "valgrind",
    "perf",
    "watchexec",
    "bwrap",
    "caffeinate",
    "cgexec",
    "chronic",
    "concurrently",
    "cross-env",
    "dbus-run-session",
    "direnv",
    "dotenv",
    "eatmydata",
    "firejail",
    "gosu",
    "linux32",
    "linux64",
    "nodemon",
    "proot",
    "proxychains",
    "proxychains4",
    "su-exec",
    "torsocks",
];
/// What `meanwhile` does that runs nothing of a caller's. To start a task, or a daemon that does, is
/// to run a command.
const LOOKING: [&str; 7] = ["ps", "logs", "wait", "stop", "drain", "doctor", "schema"];

/// What a command runs besides itself; `None`: nothing, as far as is known.
pub(super) fn unwrap(name: &str, words: &[Word]) -> Option<Wrapped> {
    let args = words.get(1..).unwrap_or_default();
    Some(match name {
        "nohup" | "builtin" => prefix(name, args, "", ""),
        "command" if args.first().is_some_and(|it| ["-v", "-V"].contains(&it.text().as_str())) => {
            return None;
        }
        "command" => prefix(name, args, "p", ""),
        "nice" => prefix(name, args, "n0123456789", "n"),
        "ionice" => prefix(name, args, "cnt0123456789", "cn"),
        "stdbuf" => prefix(name, args, "ioe", "ioe"),
        "setsid" => prefix(name, args, "wcf", ""),
        "time" => prefix(name, args, "pv", ""),
        "timeout" => {
            let mut wrapped = prefix(name, args, "skv", "sk");
            if let Some(command) = wrapped.commands.first_mut() {
                // Unless it is written out, it may be several words, and the command one of them.
                if command.remove(0).literal().is_none() {
                    return Some(hidden(name));
                }
                wrapped.commands.retain(|it| !it.is_empty());
            }
            wrapped
        }
        "env" => env(args),
        "xargs" => xargs(args),
        "sudo" | "doas" | "pkexec" | "chroot" | "unshare" | "nsenter" => {
            let mut wrapped = prefix(name, args, "AbEeHknPSsiugChpTDR", "ugChpTDR");
            if let Some(command) = wrapped.commands.first_mut() {
                let set = command.iter().take_while(|it| it.text().contains('=')).count();
                command.drain(..set);
                wrapped.commands.retain(|it| !it.is_empty());
            }
            wrapped.why = Some(format!("`{name}` runs it with other rights"));
            wrapped
        }
        "sh" | "bash" | "dash" | "ash" => shell(name, args),
        "find" => find(args)?,
        "meanwhile" => {
            let first = args.first().and_then(Word::literal);
            if first.is_some_and(|it| LOOKING.contains(&it.as_str())) {
                return None;
            }
            hidden(name)
        }
        name if HIDING.contains(&name) => hidden(name),
        _ => return None,
    })
}

fn hidden(name: &str) -> Wrapped {
    let why = Some(format!("what `{name}` runs cannot be told beforehand"));
    Wrapped { why, is_hiding: true, ..Wrapped::default() }
}

/// The options before a command: letters of `known`, of which `valued` take a value.
fn skip_options(args: &[Word], known: &str, valued: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        let text = arg.text();
        if !text.starts_with('-') || text == "-" {
            break;
        }
        arg.literal()?;
        at += 1;
        if text == "--" {
            break;
        }
        if text.starts_with("--") {
            let fine = ["--preserve-status", "--foreground", "--verbose"];
            let fine = fine.contains(&text.as_str())
                || text.starts_with("--signal=")
                || text.starts_with("--kill-after=");
            if !fine {
                return None;
            }
            continue;
        }
        let mut letters = text.chars().skip(1).peekable();
        while let Some(c) = letters.next() {
            if !known.contains(c) {
                return None;
            }
            if valued.contains(c) {
                if letters.peek().is_none() {
                    args.get(at)?.literal()?;
                    at += 1;
                }
                break;
            }
        }
    }
    Some(at)
}

fn prefix(name: &str, args: &[Word], known: &str, valued: &str) -> Wrapped {
    match skip_options(args, known, valued) {
        None => hidden(name),
        Some(at) => {
            let command: Vec<Word> = args.get(at..).unwrap_or_default().to_vec();
            let commands = if command.is_empty() { Vec::new() } else { vec![command] };
            Wrapped { commands, ..Wrapped::default() }
        }
    }
}

fn env(args: &[Word]) -> Wrapped {
    let Some(mut at) = skip_options(args, "iu0", "u") else { return hidden("env") };
    let mut why = None;
    while let Some(arg) = args.get(at).filter(|it| it.text().contains('=') || it.is_dynamic()) {
        let text = arg.text();
        let (name, value) = text.split_once('=').unwrap_or_default();
        if arg.literal().is_none() || name.is_empty() || !is_harmless(name, Some(value)) {
            why.get_or_insert_with(|| format!("it sets `{name}` for a command"));
        }
        at += 1;
    }
    let command: Vec<Word> = args.get(at..).unwrap_or_default().to_vec();
    if command.is_empty() {
        why.get_or_insert_with(|| "`env` shows every variable, keys among them".to_owned());
    }
    let commands = if command.is_empty() { Vec::new() } else { vec![command] };
    Wrapped { commands, why, ..Wrapped::default() }
}

fn xargs(args: &[Word]) -> Wrapped {
    // `-I R` and `-i` put what is read in the place of `R`, and not at the end.
    let Some(at) = skip_options(args, "0rtnLPIdsx", "nLPIds") else { return hidden("xargs") };
    let mut command: Vec<Word> = args.get(at..).unwrap_or_default().to_vec();
    if command.is_empty() {
        return Wrapped { commands: vec![vec![Word::plain("echo")]], ..Wrapped::default() };
    }
    let options: Vec<String> = args.iter().take(at).map(Word::text).collect();
    let replace = options.iter().enumerate().find_map(|(i, option)| {
        let letters = option.strip_prefix('-').filter(|it| !it.starts_with('-'))?;
        let value = letters.split_once('I')?.1;
        Some(if value.is_empty() { options.get(i + 1)?.clone() } else { value.to_owned() })
    });
    match replace {
        Some(replace) => {
            for word in &mut command {
                if word.text().contains(&replace) {
                    *word = word.clone().made_unknown();
                }
            }
        }
        None => command.push(Word::unknown()),
    }
    Wrapped { commands: vec![command], ..Wrapped::default() }
}

fn shell(name: &str, args: &[Word]) -> Wrapped {
    let mut at = 0;
    let mut runs = false;
    while let Some(text) = args.get(at).and_then(Word::literal).filter(|it| it.starts_with('-')) {
        let letters = text.trim_start_matches('-');
        if text.starts_with("--")
            || letters.is_empty()
            || !letters.chars().all(|c| "ceuxlo".contains(c))
        {
            return hidden(name);
        }
        runs |= letters.contains('c');
        at += 1;
        if letters.contains('o') {
            if args.get(at).and_then(Word::literal).as_deref() != Some("pipefail") {
                return hidden(name);
            }
            at += 1;
        }
    }
    match args.get(at).and_then(Word::literal) {
        Some(line) if runs => {
            // To the line these are `$0`, `$1`..
            let given = args.get(at + 1..).unwrap_or_default();
            let hides = given.iter().flat_map(|it| &it.parameters).find(|it| !known::is_shown(it));
            let why = hides.map(|it| format!("`${it}` is given to `{name}` and may hold a key"));
            Wrapped { lines: vec![line], why, ..Wrapped::default() }
        }
        Some(_) | None => hidden(name),
    }
}

/// `find` with what it runs for each file; `None`: it runs nothing.
fn find(args: &[Word]) -> Option<Wrapped> {
    let runs = |word: &Word| ["-exec", "-execdir", "-ok", "-okdir"].contains(&word.text().as_str());
    if !args.iter().any(runs) {
        return None;
    }
    let (mut wrapped, mut rest) = (Wrapped::default(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if !runs(arg) {
            rest.push(arg.clone());
            continue;
        }
        let mut command = Vec::new();
        let ended = args.by_ref().any(|word| {
            let text = word.text();
            let is_end = text == ";" || (text == "+" && !command.is_empty());
            if !is_end {
                // The name of a file that was found.
                let found = text.contains("{}");
                command.push(if found { word.clone().made_unknown() } else { word.clone() });
            }
            is_end
        });
        if !ended || command.is_empty() {
            return Some(hidden("find"));
        }
        wrapped.commands.push(command);
    }
    match known::find(&rest) {
        Some(reads) => wrapped.reads = reads,
        None => wrapped.why = Some("`find` does more here than look".to_owned()),
    }
    Some(wrapped)
}

/// Whether a variable that is set to `value` (`None`: not known) changes nothing about what a
/// command does but how it looks.
pub(super) fn is_harmless(name: &str, value: Option<&str>) -> bool {
    const HARMLESS: [&str; 21] = [
        "CARGO_INCREMENTAL",
        "CARGO_TERM_COLOR",
        "CI",
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "COLUMNS",
        "DEBIAN_FRONTEND",
        "FORCE_COLOR",
        "LANG",
        "LANGUAGE",
        "LINES",
        "MEANWHILE_LOG",
        "NODE_ENV",
        "NO_COLOR",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
        "RUST_BACKTRACE",
        "RUST_LOG",
        "RUST_TEST_THREADS",
        "TERM",
        "TZ",
    ];
    HARMLESS.contains(&name)
        || name.starts_with("LC_")
        || (["PAGER", "GIT_PAGER"].contains(&name) && value == Some("cat"))
}

/// Whether a variable of a line's own is set, which no program looks at.
pub(super) fn is_local(name: &str) -> bool {
    let local = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(local) && !is_a_programs(name)
}

/// Whether a variable has small letters and yet is no line's own. Such may hold a password.
pub(super) fn is_a_programs(name: &str) -> bool {
    name.ends_with("_proxy") || name.starts_with("npm_")
}
