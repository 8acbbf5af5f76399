//! The commands that may run unasked: those that cannot write, run something else, or tell anybody
//! anything but the model.
//!
//! Owns the list, and for each command which of its options keep it so. Where a program has an
//! option that writes or runs something, its harmless options are listed rather than the harmful
//! ones, for GNU programs take abbreviations and grow new ones. What a command reads is handed
//! back, to be judged as any other read. Programs that run a project's own code, such as
//! `cargo check` with its build scripts, are not here.

use super::shell::Word;

/// The options a command may have.
enum Flags {
    /// Whichever: none of them does harm.
    Any,
    /// These.
    Only {
        /// Letters, as in `-la`.
        short: &'static str,
        /// Those of them that take a value, which may follow in the same word.
        valued: &'static str,
        /// Words, as in `--all`.
        long: &'static [&'static str],
    },
}

/// What a command's other arguments are.
enum Operands {
    /// Files it reads.
    Files,
    /// A pattern, then files it reads.
    Pattern,
    /// Text that it reads no file for.
    Text,
    /// None may be given.
    None,
}

const fn only(short: &'static str, valued: &'static str, long: &'static [&'static str]) -> Flags {
    Flags::Only { short, valued, long }
}

fn program(name: &str) -> Option<(Flags, Operands)> {
    use Flags::Any;
    use Operands::{Files, None as Nothing, Pattern, Text};
    Some(match name {
        "cat" | "head" | "tail" | "nl" | "tac" | "cut" | "paste" | "fold" | "expand"
        | "unexpand" | "comm" | "cmp" | "join" | "ls" | "stat" | "readlink" | "realpath"
        | "cksum" | "md5sum" | "sha1sum" | "sha224sum" | "sha256sum" | "sha384sum"
        | "sha512sum" | "b2sum" | "od" | "diff" => (Any, Files),
        "grep" | "egrep" | "fgrep" => (Any, Pattern),
        "basename" | "dirname" | "tr" | "seq" | "which" | "type" | "true" | "false" | ":" => {
            (Any, Text)
        }
        "pwd" | "whoami" | "uname" | "nproc" | "arch" | "tty" | "uptime" | "id" | "groups" => {
            (Any, Text)
        }
        "hostname" => (only("", "", &[]), Nothing),
        "wc" => {
            (only("clmwL", "", &["bytes", "chars", "lines", "words", "max-line-length"]), Files)
        }
        "du" => (
            only(
                "hsacdkmbx",
                "d",
                &[
                    "human-readable",
                    "summarize",
                    "all",
                    "total",
                    "max-depth",
                    "bytes",
                    "apparent-size",
                ],
            ),
            Files,
        ),
        "df" => (only("hHkmTPi", "", &["human-readable", "print-type", "inodes"]), Files),
        "sort" => (
            only(
                "bdfghinrRsuVmcCzkt",
                "kt",
                &[
                    "reverse",
                    "numeric-sort",
                    "unique",
                    "human-numeric-sort",
                    "version-sort",
                    "key",
                    "field-separator",
                    "ignore-case",
                    "stable",
                    "general-numeric-sort",
                    "zero-terminated",
                ],
            ),
            Files,
        ),
        "uniq" => (only("cduiz", "", &["count", "repeated", "unique", "ignore-case"]), Nothing),
        "tree" => (
            only("adfiLshDFCIpPugn", "LIP", &["noreport", "dirsfirst", "gitignore", "prune"]),
            Files,
        ),
        "file" => (only("biLhk", "", &["brief", "mime", "mime-type", "mime-encoding"]), Files),
        "rg" => (
            only(
                "nilcgtTmCABwFvoHIUPSsNpuerxadMjEq.0",
                "gtTmCABerdMjE",
                &[
                    "files",
                    "hidden",
                    "no-ignore",
                    "no-ignore-vcs",
                    "ignore-case",
                    "smart-case",
                    "case-sensitive",
                    "line-number",
                    "no-line-number",
                    "count",
                    "count-matches",
                    "files-with-matches",
                    "files-without-match",
                    "glob",
                    "iglob",
                    "type",
                    "type-not",
                    "type-list",
                    "max-count",
                    "context",
                    "after-context",
                    "before-context",
                    "word-regexp",
                    "line-regexp",
                    "fixed-strings",
                    "invert-match",
                    "only-matching",
                    "heading",
                    "no-heading",
                    "color",
                    "max-depth",
                    "multiline",
                    "multiline-dotall",
                    "json",
                    "stats",
                    "sort",
                    "sortr",
                    "null",
                    "column",
                    "with-filename",
                    "no-filename",
                    "trim",
                    "vimgrep",
                    "max-columns",
                    "pcre2",
                    "pretty",
                    "replace",
                    "quiet",
                    "no-messages",
                    "no-config",
                    "version",
                ],
            ),
            Pattern,
        ),
        _ => return None,
    })
}

/// What a command that may run unasked reads; `None`: it may not.
pub(super) fn reads(words: &[Word]) -> Option<Vec<Word>> {
    let name = words.first()?.literal()?;
    let args = words.get(1..)?;
    match name.as_str() {
        "echo" => shown(args).then(Vec::new),
        "printf" => {
            let plain = args.first()?.literal().is_some_and(|it| !it.starts_with('-'));
            (plain && shown(args)).then(Vec::new)
        }
        // `-v` and `-R` run what stands in the subscript of the variable they are given.
        "test" | "[" => {
            let harmless = |it: &Word| it.literal().is_some_and(|it| it != "-v" && it != "-R");
            args.iter().all(harmless).then(Vec::new)
        }
        "exit" | "return" | "break" | "continue" | "wait" | "sleep" => {
            let number = |it: &Word| it.literal().is_some_and(|it| is_number(&it));
            args.iter().all(number).then(Vec::new)
        }
        "set" => {
            let harmless = |it: &Word| {
                let it = it.literal().unwrap_or_default();
                it == "pipefail"
                    || it.strip_prefix('-').is_some_and(|it| it.chars().all(|c| "euxo".contains(c)))
            };
            (!args.is_empty() && args.iter().all(harmless)).then(Vec::new)
        }
        "read" => {
            let sets = |it: &String| it == "-r" || super::wrap::is_local(it);
            literals(args)?.iter().all(sets).then(Vec::new)
        }
        "command" => {
            let looks = args.first()?.literal().is_some_and(|it| it == "-v" || it == "-V");
            (looks && literals(args).is_some()).then(Vec::new)
        }
        "date" => {
            let fine = ["-u", "-R", "-I", "-Iseconds", "-Idate", "--utc", "--iso-8601"];
            let harmless = |it: &String| it.starts_with('+') || fine.contains(&it.as_str());
            literals(args)?.iter().all(harmless).then(Vec::new)
        }
        "node" | "python" | "python3" => {
            let shows =
                [vec!["--version".to_owned()], vec!["-V".to_owned()], vec!["-v".to_owned()]];
            let args = literals(args)?;
            // `python -v` is an interpreter that says more.
            let says = shows.contains(&args) && (name == "node" || args != ["-v"]);
            says.then(Vec::new)
        }
        "sed" => sed(args),
        "find" => find(args),
        "git" => super::git::reads(args),
        _ => {
            let (options, operands) = program(&name)?;
            arguments(args, &options, &operands)
        }
    }
}

/// Whether a command is one of those that may run unasked, as long as its arguments are harmless. A
/// rule for it would be one for the harmful ones.
pub(super) fn is_known(words: &[Word]) -> bool {
    let alone = words.get(..1).is_some_and(|it| reads(it).is_some());
    let with_command = words
        .get(..2)
        .is_some_and(|it| it.first().is_some_and(|it| it.text() == "git") && reads(it).is_some());
    alone || with_command || words.first().is_some_and(|it| it.text() == "printf")
}

/// The texts of words that are all literal.
pub(super) fn literals(words: &[Word]) -> Option<Vec<String>> {
    words.iter().map(Word::literal).collect()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// Whether the model may see these words: a variable may hold a key.
fn shown(words: &[Word]) -> bool {
    words.iter().all(|word| word.parameters.iter().all(|it| is_shown(it)))
}

/// Whether the model may see a parameter: one of the line's own, or a variable known to hold no key.
/// What is put into the line's own is judged by this too, where that is done.
pub(super) fn is_shown(name: &str) -> bool {
    const SHOWN: [&str; 17] = [
        "HOME", "PWD", "OLDPWD", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TERM", "HOSTNAME",
        "RANDOM", "SECONDS", "LINENO", "UID", "EUID", "PPID", "TMPDIR",
    ];
    SHOWN.contains(&name)
        || !(name.chars().any(|c| c.is_ascii_uppercase()) || super::wrap::is_a_programs(name))
}

/// Checks options and tells what is read.
fn arguments(args: &[Word], options: &Flags, operands: &Operands) -> Option<Vec<Word>> {
    let (mut files, mut rest, mut has_pattern) = (Vec::new(), Vec::new(), false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg.is_process {
            // What runs in it is judged by itself, and its name is no option.
            continue;
        }
        if arg.is_dynamic() {
            return None;
        }
        let text = arg.text();
        if text == "--" {
            rest.extend(args.by_ref().cloned());
            break;
        }
        if let Some(long) = text.strip_prefix("--") {
            let name = long.split('=').next().unwrap_or_default();
            if let Flags::Only { long, .. } = options
                && !long.contains(&name)
            {
                return None;
            }
            has_pattern |= name.starts_with("re") || name.starts_with("fi");
            if let Some(at) = text.find('=') {
                files.push(arg.after(at + 1));
            }
        } else if text.len() > 1 && text.starts_with('-') {
            let letters: String = match options {
                // A value in the same word may be a path, and where it begins is not known.
                Flags::Any if text.contains(['/', '~']) || arg.is_glob() => return None,
                Flags::Any => text.chars().skip(1).collect(),
                Flags::Only { short, valued, .. } => {
                    let mut letters = String::new();
                    for c in text.chars().skip(1) {
                        if !short.contains(c) && !c.is_ascii_digit() {
                            return None;
                        }
                        letters.push(c);
                        if valued.contains(c) {
                            break;
                        }
                    }
                    letters
                }
            };
            if matches!(operands, Operands::Pattern) {
                has_pattern |= letters.contains(['e', 'f']);
                // `-A 3`: the number is neither a pattern nor a file.
                if letters.ends_with(['A', 'B', 'C', 'm', 'd'])
                    && args.as_slice().first().is_some_and(|it| is_number(&it.text()))
                {
                    args.next();
                }
            }
        } else if matches!(options, Flags::Only { .. }) && arg.may_be_option() {
            return None;
        } else {
            rest.push(arg.clone());
        }
    }
    // What comes after `--`.
    if rest.iter().any(Word::is_dynamic) {
        return None;
    }
    match operands {
        Operands::None => (rest.is_empty() && files.is_empty()).then_some(files),
        Operands::Text => Some(Vec::new()),
        Operands::Pattern if !has_pattern && !rest.is_empty() => {
            // A pattern that the shell may take for the names of files is more than one word.
            if rest.first().is_some_and(Word::is_glob) {
                return None;
            }
            files.extend(rest.drain(1..));
            Some(files)
        }
        Operands::Files | Operands::Pattern => {
            files.extend(rest);
            Some(files)
        }
    }
}

/// `sed -n 10,20p FILE..`: prints lines.
fn sed(args: &[Word]) -> Option<Vec<Word>> {
    let [quiet, script, files @ ..] = args else { return None };
    let prints = |part: &str| {
        let range = part.strip_suffix('p').unwrap_or_default();
        let number = |it: &str| it == "$" || (is_number(it) && !it.contains('.'));
        let (from, to) = range.split_once(',').unwrap_or((range, range));
        number(from) && number(to)
    };
    let script = script.literal()?;
    let harmless = quiet.literal()? == "-n" && script.split(';').all(prints);
    (harmless && !files.iter().any(Word::may_be_option)).then(|| files.to_vec())
}

/// `find`, without what runs, writes or removes.
pub(super) fn find(args: &[Word]) -> Option<Vec<Word>> {
    const HARMLESS: [&str; 38] = [
        "(",
        ")",
        "!",
        ",",
        "-H",
        "-P",
        "-a",
        "-amin",
        "-and",
        "-atime",
        "-cmin",
        "-ctime",
        "-daystart",
        "-depth",
        "-empty",
        "-executable",
        "-false",
        "-iname",
        "-ipath",
        "-iregex",
        "-ls",
        "-maxdepth",
        "-mindepth",
        "-mmin",
        "-mtime",
        "-name",
        "-newer",
        "-not",
        "-o",
        "-or",
        "-path",
        "-perm",
        "-print",
        "-print0",
        "-prune",
        "-readable",
        "-regex",
        "-size",
    ];
    const HARMLESS_TOO: [&str; 6] = ["-type", "-user", "-group", "-true", "-xdev", "-regextype"];
    let (mut roots, mut in_roots) = (Vec::new(), true);
    for arg in args {
        if arg.is_dynamic() {
            return None;
        }
        let text = arg.text();
        let is_predicate = text.starts_with('-') || ["(", ")", "!", ","].contains(&text.as_str());
        if is_predicate {
            in_roots &= text == "-H" || text == "-P";
            if !HARMLESS.contains(&text.as_str()) && !HARMLESS_TOO.contains(&text.as_str()) {
                // `-mtime -3`, `-perm -u`: a value.
                let value = text.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
                if !value {
                    return None;
                }
            }
        } else if in_roots && !arg.may_be_option() {
            roots.push(arg.clone());
        } else if in_roots || arg.is_glob() {
            // The names of files in its place may be predicates.
            return None;
        }
    }
    Some(roots)
}
