//! Compares the commands that the parser lists for a line with those that bash runs.
//!
//! The lines name commands that do not exist, and bash passes each of them to a function that records its words.
//! Each recorded command must be one that the parser lists, with the same literal words, or the parser must have
//! reported that there may be more.

use std::cell::Cell;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;

/// The time limit for a line. A line that loops until a certain command fails may exceed it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ends each word and each command in the record.
const WORD_END: &str = "\u{1e}";
const COMMAND_END: &str = "\u{1d}\u{1e}";
/// Read by bash before the line. Commands succeed or fail at random, so that both branches are taken.
const PRELUDE: &str = r#"
exec 9>>"$TRACE"; unset TRACE BASH_ENV
command_not_found_handle() {
  printf '%s\036' "$@" $'\035' >&9
  return $((RANDOM % 2))
}
FUNCNEST=4; RANDOM=7; x='c8 z'; cd "$HOME"
ulimit -t 2; ulimit -f 100
"#;

/// A command as the parser lists it; `None` for a word that only the shell can compute.
type Listed = Vec<Option<String>>;
/// The result of the parser: the commands, and whether there may be more.
type Reading = (Vec<Listed>, bool);

fn read(line: &str) -> Reading {
    let script = parse(line);
    let owned = |word: &Word| word.literal().map(str::to_owned);
    // The parser lists `time` as a command of its own, and the command after it separately.
    let listed = |it: &Simple| {
        let words: Listed = it.words.iter().map(owned).collect();
        let is_time = it.words.first().is_some_and(|it| it.text() == "time");
        let last = if is_time { words.len().min(4) } else { 0 };
        (0..=last).map(|at| words.get(at..).unwrap_or_default().to_vec()).collect::<Vec<_>>()
    };
    let commands: Vec<Listed> = script.commands.iter().flat_map(listed).collect();
    (commands.into_iter().filter(|it| !it.is_empty()).collect(), script.hidden.is_some())
}

struct Bash {
    dir: tempfile::TempDir,
}

impl Bash {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("home")).expect("it is ours");
        std::fs::write(dir.path().join("prelude"), PRELUDE).expect("it is ours");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the words of each command that bash runs for a line.
    fn run(&self, line: &str) -> Vec<Vec<String>> {
        let trace = self.path("trace");
        std::fs::write(&trace, "").expect("it is ours");
        let bash = ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"];
        let bash = bash.into_iter().find(|it| Path::new(it).exists());
        let mut child = Command::new(bash.expect("the tests need bash"))
            .args(["--norc", "-c", line])
            .env_clear()
            .env("PATH", "/nowhere")
            .env("HOME", self.path("home"))
            .env("TRACE", &trace)
            .env("BASH_ENV", self.path("prelude"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("bash starts");
        let until = Instant::now() + PATIENCE;
        while child.try_wait().expect("it is our child").is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(300));
        }
        // Kill background processes and loops of the line.
        let group = Pid::from_raw(i32::try_from(child.id()).expect("a process id is one"));
        let _ = killpg(group, Signal::SIGKILL);
        child.wait().expect("it is our child");
        let said = std::fs::read(&trace).expect("it is there");
        let said = String::from_utf8_lossy(&said);
        let commands = said.split(COMMAND_END).filter_map(|it| it.strip_suffix(WORD_END));
        commands.map(|it| it.split(WORD_END).map(str::to_owned).collect()).collect()
    }

    /// Returns a command that bash ran and the parser did not list.
    fn unlisted(&self, line: &str, reading: &Reading) -> Option<Vec<String>> {
        let (listed, hidden) = reading;
        if *hidden {
            return None;
        }
        let is_listed = |ran: &Vec<String>| listed.iter().any(|it| is_it(it, ran));
        self.run(line).into_iter().find(|ran| !is_listed(ran))
    }
}

/// Whether a command that ran may be the listed one. After an unknown word, anything matches.
fn is_it(listed: &Listed, ran: &[String]) -> bool {
    let known = listed.iter().take_while(|it| it.is_some()).count();
    let same = listed.iter().zip(ran).take(known).all(|(it, ran)| it.as_ref() == Some(ran));
    same && ran.len() >= known && (known < listed.len() || ran.len() == known)
}

/// Whole words with all kinds of quotes.
const WORDS: [&str; 45] = [
    "a",
    "b1",
    "'b c'",
    "\"d e\"",
    "\"$x\"",
    "$x",
    "\\;",
    "\\ ",
    "a'b'\"c\"",
    "'it'\\''s'",
    "\"\\\"\"",
    "\"a\\$b\"",
    "\"\\a\"",
    "a#b",
    "'#'",
    "{a,b}",
    "{}",
    "*",
    "[a",
    "~",
    "\"$\"",
    "$",
    "''",
    "\"\"",
    "${x}",
    "${x:-a}",
    "${x#c}",
    "${#x}",
    "$((1+2))",
    "$((x))",
    "$[1]",
    "$'a'",
    "$'a\\'b'",
    "$\"a\"",
    "$'\\x3b'",
    "if",
    "do",
    "!",
    "=",
    "x=1",
    "--a=b",
    "a\\\nb",
    "\"a\\\nb\"",
    "1",
    "\u{e9}",
];
/// Text that can be inserted anywhere into a line.
const STRAY: [&str; 20] = [
    "\\\n", "\\", "'", "\"", "$", "`", "(", ")", "#", "\n", ";", "&", "|", "{", "}", "<", ">", " ",
    "\t", "!",
];

#[expect(clippy::too_many_lines, reason = "a table")]
fn line() -> impl Strategy<Value = String> {
    let word = prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned);
    let blank = prop::sample::select(vec![" ", " ", " ", "\t", "  ", " \\\n", "\\\n "]);
    let name =
        prop::sample::select(vec!["c0", "c1", "c2", "c3", "'c'4", "c\\5", "c\\\n6", "\"c7\""]);
    let with = prop::sample::select(vec![
        "",
        "",
        "",
        "",
        ">/dev/null",
        "2>&1",
        "</dev/null",
        "&>/dev/null",
        "<<<a",
        "<<< \"$x\"",
        ">out",
        "2>out",
        ">|out",
        ">&2",
        "<&-",
    ]);
    let simple = (prop::collection::vec((blank, word), 0..3), name, with, any::<bool>());
    let simple = simple.prop_map(|(words, name, with, set)| {
        let words: String =
            words.into_iter().map(|(blank, word)| format!("{blank}{word}")).collect();
        format!("{}{name}{words} {with}", if set { "y=1 " } else { "" })
    });
    let line = simple.prop_recursive(5, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone(), inner.clone(), 0..44_u8);
        two.prop_map(|(a, b, c, how)| match how {
            0..3 => format!("{a}; {b}"),
            3 => format!("{a} && {b} || {c}"),
            4 => format!("{a} | {b}"),
            5 => format!("{a} |& {b}"),
            6 => format!("{a} & {b}"),
            7 => format!("{a}\n{b}"),
            8 => format!("{a} # it's \"c9 $(\n{b}"),
            9 => format!("c0 $({a})"),
            10 => format!("c0 \"a $({a}) b\" {b}"),
            11 => format!("c0 `{a}`"),
            12 => format!("c0 \"`{a}`\""),
            13 => format!("c0 <({a}) >({b})"),
            14 => format!("c0 < <({a})"),
            15 => format!("y=$({a}); {b}"),
            16 => format!("({a}; {b})"),
            17 => format!("( ({a}) )"),
            18 => format!("{{ {a}; {b}; }}"),
            19 => format!("if {a}; then {b}; else {c}; fi"),
            20 => format!("while {a}; do {b}; done"),
            21 => format!("until {a}\ndo {b}\ndone"),
            22 => format!("for y in a b $({a}); do {b}; done"),
            23 => format!("for y in 1 2\ndo {a}\ndone > /dev/null"),
            24 => format!("case a in a) {a} ;; *) {b} ;; esac; {c}"),
            25 => format!("f() {{ {a}; }}; f; {b}"),
            26 => format!("function f {{ {a}; }}; f"),
            27 => format!("f() ({a}); f | {b}"),
            28 => format!("! {a}"),
            29 => format!("[[ a == b ]] || {a}"),
            30 => format!("(( 1 )) && {a}"),
            31 => format!("time {a}"),
            32 => format!("c0 <<E\n$({a}) `{b}` 'c9'\nE\n{c}"),
            33 => format!("c0 <<'E'\n$({a})\nE\n{b}"),
            34 => format!("c0 <<-E; {a}\n\tb $x\n\tE\n{b}"),
            35 => format!("c0 <<E <<F | {a}\nE\nE\nF\n{b}"),
            36 => format!("c0 $\\\n({a})"),
            37 => format!("c0 $(\\\n({a}))"),
            38 => format!("c0 \"$\\\n({a})\""),
            39 => format!("c0 ${{x:-$({a})}} \"${{x+`{b}`}}\""),
            40 => format!("c0 $((1 + $({a}) 2))"),
            41 => format!("{a} && \\\n  {b}"),
            42 => format!("x=({a}); {b}"),
            _ => format!("$({a}) {b}"),
        })
    });
    let stray = prop::collection::vec(
        (any::<prop::sample::Index>(), prop::sample::select(STRAY.to_vec())),
        0..3,
    );
    // Half of the lines stay unchanged.
    (line, stray, any::<bool>()).prop_map(|(mut line, stray, whole)| {
        for (at, piece) in stray.into_iter().filter(|_| !whole) {
            let places: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
            line.insert_str(places.get(at.index(places.len())).copied().unwrap_or(0), piece);
        }
        line
    })
}

/// Runs lines until the parser is proved wrong. Returns how many lines gave information.
fn contradicts(cases: u32, reader: impl Fn(&str) -> Reading) -> (u32, Option<String>) {
    let bash = Bash::new();
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
    let telling = Cell::new(0);
    let outcome = TestRunner::new(config).run(&line(), |line| {
        let reading = reader(&line);
        telling.set(telling.get() + u32::from(!reading.1));
        match bash.unlisted(&line, &reading) {
            Some(ran) => {
                Err(TestCaseError::fail(format!("{line:?} runs {ran:?}, read as {reading:?}")))
            }
            None => Ok(()),
        }
    });
    (telling.get(), outcome.err().map(|error| error.to_string()))
}

#[test]
fn whatever_bash_runs_is_listed() {
    // `PROPTEST_CASES` increases it.
    let cases = 2 * Config::default().cases;
    let (telling, wrong) = contradicts(cases, read);
    assert_eq!(wrong, None);
    assert!(telling > cases / 8, "{telling} of {cases} lines were understood, too few to say much");
}

/// The test above can fail: it detects parsers with one mistake each.
#[test]
fn a_reader_that_is_wrong_is_contradicted() {
    let blanks = |line: &str| {
        let commands = line.split([';', '\n', '|', '&', '(', ')', '`', '{', '}']);
        let words = |it: &str| it.split_whitespace().map(|it| Some(it.to_owned())).collect();
        (commands.map(words).collect(), false)
    };
    let forgets_last = |line: &str| {
        let (mut commands, hidden) = read(line);
        commands.pop();
        (commands, hidden)
    };
    let understands_all = |line: &str| (read(line).0, false);
    type Reader<'a> = (&'a str, &'a dyn Fn(&str) -> Reading);
    let readers: [Reader<'_>; 3] = [
        ("blanks", &blanks),
        ("forgets the last", &forgets_last),
        ("hides nothing", &understands_all),
    ];
    for (name, reader) in readers {
        assert!(contradicts(2_000, reader).1.is_some(), "{name}: it is not found out");
    }
}
