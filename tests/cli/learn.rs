//! `meanwhile learn`: the lesson, played in a real terminal.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Store, until};
use crate::terminal::Session;

const CTRL_C: &str = "\x03";

/// A player with its own store and its own directory for temporary files.
struct Player {
    store: Store,
    tmp: tempfile::TempDir,
}

impl Player {
    fn new() -> Self {
        Self { store: Store::new(), tmp: tempfile::tempdir().unwrap() }
    }

    /// A command that runs the lesson.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.store.command(&[&["learn"], args].concat());
        command.env("TMPDIR", self.tmp.path());
        command
    }

    /// A command that runs the lesson as the session leader of a terminal, so that it gets SIGWINCH and SIGHUP.
    fn on_its_own_terminal(&self, args: &[&str]) -> Command {
        let inner = self.command(args);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
        command.current_dir(inner.get_current_dir().unwrap()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Runs the lesson on a terminal.
    fn play(&self, columns: u16, args: &[&str]) -> Session {
        Session::of(self.on_its_own_terminal(args), columns)
    }

    /// The questions of a chapter with their answers, from `--json`.
    fn answers(&self, chapter: &str) -> Value {
        let ran = self.command(&["--json", "--chapter", chapter]).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
        serde_json::from_slice(&ran.stdout).unwrap()
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        fs::read_dir(self.tmp.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Asserts that no file is left, and waits until no process is: a stopped shim may take a moment to exit.
    #[track_caller]
    fn nothing_is_left(&self, after: &str) {
        assert!(self.leftovers().is_empty(), "after {after}: {:?}", self.leftovers());
        until(&format!("no process is left after {after}"), || {
            processes(self.tmp.path()).is_empty()
        });
    }
}

/// Processes whose program or working directory is in this directory.
fn processes(directory: &Path) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lies = |link: PathBuf| fs::read_link(link).is_ok_and(|path| path.starts_with(directory));
    all.map(|entry| entry.path())
        .filter(|path| lies(path.join("cwd")) || lies(path.join("exe")))
        .map(|path| path.display().to_string())
        .collect()
}

/// The row that begins with this name.
fn row<'a>(screen: &'a str, name: &str) -> &'a str {
    let is_row = |line: &&str| line.trim_start().starts_with(name);
    screen.lines().find(is_row).unwrap_or_default()
}

/// The column of the last occurrence of a sign in a row.
fn column(screen: &str, name: &str, sign: char) -> Option<usize> {
    row(screen, name).chars().collect::<Vec<_>>().iter().rposition(|c| *c == sign)
}

/// A screen without blanks at the ends of its lines, because cleared cells look like cells that were never drawn.
fn trimmed(screen: &str) -> String {
    screen.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The words of a screen, independent of line breaks.
fn words(screen: &str) -> String {
    screen.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_open(session: &mut Session) {
    session.until("the lesson is open", |screen| screen.contains("1 Timeline"));
}

/// Waits until the lesson has restored the terminal; returns its exit code and everything that it drew.
#[track_caller]
fn left(mut session: Session) -> (Option<i32>, String) {
    until("the terminal is restored", || session.drawn().contains("\x1b[?1049l"));
    let drawn = session.drawn();
    assert!(drawn.rfind("\x1b[?25h") > drawn.rfind("\x1b[?25l"), "the cursor is back");
    session.end()
}

#[test]
fn a_result_enters_the_call_that_starts_after_it() {
    let player = Player::new();
    let mut session = player.play(80, &[]);
    session.until("the loop works", |screen| screen.contains("at work, call 2"));
    for _ in 0..3 {
        session.type_in("+");
    }
    session.type_in("a");
    session.until("a command runs in lane A", |screen| {
        row(screen, "lane A").contains('━') && screen.contains("build starts: while read")
    });
    session.until("its result enters a call", |screen| {
        screen.contains("build ends, exit 0: its result is queued")
            && screen.contains("build enters call ")
            && screen.contains("2 of 4 seen.")
    });
    session.type_in(" ");
    session.until("the lesson is paused", |screen| screen.contains("paused"));
    let screen = session.screen();
    if column(&screen, "queue", '▲').is_some() {
        assert_eq!(column(&screen, "queue", '▲'), column(&screen, "agent", '◆'), "{screen}");
    }
    session.type_in(" bb");
    session.until("one runs, one waits", |screen| row(screen, "lane B").contains("1 more waits"));
    session.type_in("e");
    session.until("the loop is idle", |screen| screen.contains("idle after call"));
    session.until("a result wakes it", |screen| {
        screen.contains("which it started itself") && screen.contains("4 of 4 seen.")
    });
    session.type_in("e");
    session.until("it has work again", |screen| screen.contains("at work, call"));
    session.type_in("q");
    assert_eq!(left(session).0, Some(0));
    player.nothing_is_left("the first chapter");
}

#[test]
fn while_it_is_paused_nothing_moves() {
    let player = Player::new();
    let mut session = player.play(80, &[]);
    session.until("the loop works", |screen| screen.contains("at work, call 2"));
    session.type_in("+++a");
    session.until("a command runs", |screen| row(screen, "lane A").contains('━'));
    session.type_in(" ");
    session.until("it is paused", |screen| screen.contains("paused"));
    // Earlier output may still arrive; wait until two screens in a row are equal.
    let mut before = String::new();
    until("two screens are equal", || {
        let screen = trimmed(&session.screen());
        let same = screen == before;
        before = screen;
        same
    });
    session.type_in("?");
    session.until("the help is open", |screen| screen.contains("What is on the page"));
    session.type_in("x");
    session.until("the screen is as before", |screen| trimmed(screen) == before);
    session.type_in(" ");
    session.until("the lesson continues", |screen| screen.contains("build enters call"));
    session.type_in("q");
    assert_eq!(left(session).0, Some(0));
    player.nothing_is_left("a pause");
}

#[test]
fn every_command_is_answered_right_and_wrong() {
    let player = Player::new();
    let questions = player.answers("2")["placing"].as_array().unwrap().clone();
    assert_eq!(questions.len(), 8);
    for is_right in [true, false] {
        let mut session = player.play(80, &["--chapter", "2"]);
        for (at, question) in questions.iter().enumerate() {
            let command = question["command"].as_str().unwrap();
            session.until("it is asked", |screen| {
                screen.contains(&format!("Command {} of 8", at + 1))
                    && screen.contains(&format!("$ {command}"))
                    && screen.contains("Where does it belong?")
            });
            let key = match (question["answer"] == "foreground", is_right) {
                (true, true) | (false, false) => "f",
                (true, false) | (false, true) => "b",
            };
            session.type_in(key);
            let says = if is_right { "✓ Right" } else { "✗ No" };
            let score = format!("score {} / 8", if is_right { at + 1 } else { 0 });
            let reason = question["reasons"]["costs"].as_str().unwrap();
            session.until("it is answered", |screen| {
                screen.contains(says) && screen.contains(&score) && words(screen).contains(reason)
            });
            session.type_in("\r");
        }
        session.until("the next chapter", |screen| screen.contains("Scenario 1 of 5"));
        session.type_in("n");
        session.until("the summary", |screen| screen.contains("That was the lesson."));
        session.type_in("\r");
        let (code, screen) = left(session);
        assert_eq!(code, Some(0));
        let score = format!("Your score: {} / 8.", if is_right { 8 } else { 0 });
        assert!(words(&screen).contains(&score), "{screen}");
        player.nothing_is_left("the second chapter");
    }
}

/// The numbers of the calls after each diamond.
fn diamonds(row: &str) -> Vec<u64> {
    let digits = |rest: &str| -> String { rest.chars().take_while(char::is_ascii_digit).collect() };
    row.split('◆').skip(1).map(|rest| digits(rest).parse().unwrap()).collect()
}

#[test]
fn every_scenario_is_answered_right_and_wrong() {
    let player = Player::new();
    let scenarios = player.answers("3")["draining"].as_array().unwrap().clone();
    assert_eq!(scenarios.len(), 5);
    for is_right in [true, false] {
        let mut session = player.play(80, &["--chapter", "3"]);
        session.type_in("+++");
        for (at, scenario) in scenarios.iter().enumerate() {
            let answer = scenario["answer"].as_str().expect("a choice is right");
            let keys = scenario["choices"].as_array().unwrap().iter();
            let keys: Vec<&str> = keys.map(|choice| choice["key"].as_str().unwrap()).collect();
            let wrong = keys.iter().find(|key| **key != answer).unwrap();
            session.until("it is asked", |screen| {
                screen.contains(&format!("Scenario {} of 5", at + 1))
                    && screen.contains(scenario["question"].as_str().unwrap())
            });
            // A key that is not a choice selects nothing.
            session.type_in("9");
            session.type_in(if is_right { answer } else { wrong });
            let says = if is_right { "✓ Right: the session's trace has" } else { "✗ No: the" };
            let score = format!("score {} / 5", if is_right { at + 1 } else { 0 });
            session.until("it was run", |screen| screen.contains(says) && screen.contains(&score));
            let screen = session.screen();
            let calls = scenario["calls"].as_array().unwrap().iter();
            let mut calls: Vec<u64> = calls
                .flat_map(|it| it.as_array().unwrap())
                .map(|it| it.as_u64().unwrap())
                .collect();
            calls.dedup();
            assert_eq!(diamonds(row(&screen, "agent")), calls, "{screen}");
            assert_eq!(column(&screen, "queue", '▲'), column(&screen, "agent", '◆'), "{screen}");
            session.type_in("\r");
        }
        session.until("the summary", |screen| screen.contains("That was the lesson."));
        session.type_in("q");
        let (code, screen) = left(session);
        assert_eq!(code, Some(0));
        let score = format!("Your score: {} / 5.", if is_right { 5 } else { 0 });
        assert!(words(&screen).contains(&score), "{screen}");
        player.nothing_is_left("the third chapter");
    }
}

#[test]
fn a_page_fits_its_terminal_also_when_that_changes() {
    let player = Player::new();
    let mut session = player.play(100, &[]);
    is_open(&mut session);
    session.type_in("a");
    session.until("a command runs", |screen| row(screen, "lane A").contains('━'));
    let fits = |screen: &str, has: &[&str]| {
        let width = screen.lines().map(|line| line.chars().count()).max();
        width <= Some(60) && has.iter().all(|text| screen.contains(text))
    };
    session.resize(60);
    session.until("the first chapter fits", |screen| {
        fits(screen, &["queue: [", "at work", "lane B", " q  leave", " ?  help", "next chapter"])
    });
    session.type_in("?");
    session.until("the help fits", |screen| fits(screen, &["q Ctrl-C  leave", "any key"]));
    session.type_in("xn");
    session.until("the second fits", |screen| fits(screen, &["Where does it belong?"]));
    session.type_in("f");
    session.until("so does its answer", |screen| fits(screen, &["duration", "urgency", "cost "]));
    session.type_in("n+++3");
    session.until("the third fits", |screen| {
        fits(screen, &["✓ Right", "waits in the", "◆3", "queue", " q  leave"])
    });
    session.resize(59);
    session.until("it says what it needs", |screen| screen.contains("the lesson needs 60"));
    session.resize(140);
    session.until("the lesson is shown again", |screen| screen.contains("Scenario 1 of 5"));
    session.type_in(CTRL_C);
    assert_eq!(left(session).0, Some(130));
    player.nothing_is_left("a resize");
}

/// The chapter and the keys that lead to each step, and a text that the screen then shows.
const STEPS: [(&str, &str, &str); 9] = [
    ("1", "", "at work, call"),
    ("1", "ab", "tests starts"),
    ("1", "a ", "paused"),
    ("1", "?", "What is on the page"),
    ("2", "", "Where does it belong?"),
    ("2", "f", "duration"),
    ("3", "", "Which call sees"),
    ("3", "3", "the engine runs it"),
    ("3", "n", "That was the lesson."),
];

#[test]
fn it_leaves_cleanly_from_each_step() {
    let player = Player::new();
    for (chapter, keys, seen) in STEPS {
        let mut session = player.play(80, &["--chapter", chapter]);
        is_open(&mut session);
        session.type_in(keys);
        session.until(seen, |screen| screen.contains(seen));
        session.type_in(CTRL_C);
        assert_eq!(left(session).0, Some(130), "{chapter} {keys}");
        player.nothing_is_left(&format!("{chapter} {keys}"));
    }
}

#[test]
fn a_signal_ends_it_as_cleanly() {
    let player = Player::new();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)] {
        let mut session = player.play(80, &[]);
        is_open(&mut session);
        session.type_in("ab");
        session.until("commands run", |screen| screen.contains("tests starts"));
        kill(Pid::from_raw(session.pid()), signal).unwrap();
        assert_eq!(left(session).0, Some(code), "{signal}");
        player.nothing_is_left(signal.as_str());
    }
}

#[test]
fn a_terminal_that_goes_away_ends_it_as_cleanly() {
    let player = Player::new();
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None).unwrap();
    // Otherwise the lesson itself would hold its terminal open.
    fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let mut command = player.on_its_own_terminal(&[]);
    let slave = || pty.slave.try_clone().unwrap();
    command.stdin(slave()).stdout(slave()).stderr(slave()).env("TERM", "xterm-256color");
    let mut child = command.spawn().unwrap();
    drop((command, pty.slave));
    let mut terminal = fs::File::from(pty.master);
    let mut screen = vt100::Parser::new(24, 80, 0);
    let mut see = |terminal: &mut fs::File, what: &str| {
        let mut piece = [0; 4_096];
        while !screen.screen().contents().contains(what) {
            let count = terminal.read(&mut piece).unwrap();
            screen.process(&piece[..count]);
        }
    };
    see(&mut terminal, "at work, call");
    terminal.write_all(b"ab").unwrap();
    see(&mut terminal, "tests starts");
    drop(terminal);
    assert_eq!(child.wait().unwrap().code(), Some(129));
    player.nothing_is_left("a hang-up");
}

#[test]
fn what_a_killed_one_left_is_cleared_by_the_next() {
    let player = Player::new();
    let mut session = player.play(80, &[]);
    is_open(&mut session);
    session.type_in("ab");
    session.until("commands run", |screen| screen.contains("tests starts"));
    let mut other = player.play(80, &[]);
    is_open(&mut other);
    assert_eq!(player.leftovers().len(), 2, "the directory of a running lesson is not removed");
    kill(Pid::from_raw(session.pid()), Signal::SIGKILL).unwrap();
    session.end();
    assert_eq!(player.leftovers().len(), 2);
    let answers = player.answers("2");
    assert!(answers["placing"].is_array());
    assert_eq!(player.leftovers().len(), 1, "only the directory of the running lesson");
    other.type_in("q");
    assert_eq!(left(other).0, Some(0));
    player.nothing_is_left("a kill");
}

#[test]
fn without_a_terminal_it_says_what_it_needs() {
    let player = Player::new();
    let check = |command: &mut Command, says: &str| {
        let ran = command.output().unwrap();
        let text = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{text}");
        assert!(text.contains(says) && text.contains("learn --json"), "{text}");
        assert_eq!(ran.stdout, b"");
    };
    check(&mut player.command(&[]), "needs a terminal: standard input is not a terminal");
    let mut dumb = Command::new("script");
    let inner = player.command(&[]);
    let line = format!("{} learn", inner.get_program().display());
    dumb.args(["-qec", &line, "/dev/null"]).env("TERM", "dumb").env("TMPDIR", player.tmp.path());
    let ran = dumb.stdin(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(text.contains("`TERM` names a terminal that cannot be drawn on"), "{text}");
    player.store.check(&["learn", "--chapter", "4"], 2, "4");
    player.nothing_is_left("a refusal");
}

#[test]
fn own_commands_are_shown_with_their_times_and_never_run() {
    let player = Player::new();
    let command = "echo ran >> runs";
    for _ in 0..2 {
        player.store.ok(&["spawn", "--wait", "--", "sh", "-c", command]);
    }
    let answers = player.answers("2");
    let questions = answers["placing"].as_array().unwrap();
    let own: Vec<&Value> = questions.iter().filter(|it| it["own"] == true).collect();
    assert_eq!(own.len(), 1, "{answers:#}");
    assert!(own[0]["command"].as_str().unwrap().contains(command), "{answers:#}");
    assert_eq!((&own[0]["runs"], &own[0]["answer"]), (&2.into(), &"foreground".into()));
    let mut session = player.play(80, &["--chapter", "2"]);
    for at in 1..=8 {
        session.until("it is asked", |screen| {
            screen.contains(&format!("Command {at} of 8")) && screen.contains("Where does")
        });
        if at == 8 {
            let screen = session.screen();
            assert!(screen.contains("One of your commands: it ran 2 times"), "{screen}");
        }
        session.type_in("f");
        session.until("it is answered", |screen| screen.contains("duration"));
        session.type_in("\r");
    }
    session.until("the next chapter", |screen| screen.contains("Scenario 1 of 5"));
    session.type_in("q");
    assert_eq!(left(session).0, Some(0));
    let runs = fs::read_to_string(player.store.workspace().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 2, "the lesson does not run the command");
}

#[test]
fn the_users_own_store_is_not_made() {
    let player = Player::new();
    let answers = player.answers("2");
    assert!(answers["placing"].as_array().unwrap().iter().all(|it| it["own"] == false));
    assert!(!player.store.state().exists());
    player.nothing_is_left("a listing");
}

#[test]
fn the_page_has_colours_only_where_they_are_wanted() {
    let player = Player::new();
    let drawn = |no_colour: bool| {
        let mut command = player.on_its_own_terminal(&[]);
        if no_colour {
            command.env("NO_COLOR", "1");
        }
        let mut session = Session::of(command, 80);
        session.until("the loop works", |screen| screen.contains("at work, call"));
        let drawn = session.drawn();
        session.type_in("q");
        assert_eq!(left(session).0, Some(0));
        drawn
    };
    // Cyan as one of 256 or of 16 colours.
    let is_coloured = |text: &str| text.contains("\x1b[38;5;") || text.contains("\x1b[36m");
    assert!(is_coloured(&drawn(false)));
    assert!(!is_coloured(&drawn(true)));
}
