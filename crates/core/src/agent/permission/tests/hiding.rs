//! No allowed line runs anything that is not allowed: lines are generated at random, and those that may run without
//! asking are run in all available shells.

use std::fmt::Write as _;
use std::io::Read as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use meanwhile_shim::confine::Right;

use super::*;
use crate::confine::{Confine, Planner};

/// The shells that may run a line.
const SHELLS: [&[&str]; 4] =
    [&["sh", "-c"], &["bash", "-c"], &["dash", "-c"], &["busybox", "sh", "-c"]];

/// The value of the variable `KEY`.
const SECRET: &str = "not-to-be-seen";
/// How many bytes of the shells' output are checked.
const SAID_MAX: u64 = 1 << 20;

/// A directory of nothing but programs that must not run, each of which leaves a trace.
struct Trap {
    scene: Scene,
    bin: PathBuf,
}

impl Trap {
    fn new() -> Self {
        let scene = Scene::new();
        let bin = scene.home.join("bin");
        std::fs::create_dir(&bin).expect("it is ours");
        for name in ["bad", "worse", "a", "x", "if", "then", "[[", "EOF", "1", "2", "a.txt"] {
            Self::program(&bin, name, "sprung");
        }
        // The tests have rules for these two.
        for name in ["good", "make"] {
            Self::program(&bin, name, "fine");
        }
        Self { scene, bin }
    }

    fn program(bin: &Path, name: &str, leaves: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = bin.join(name);
        let home = bin.parent().expect("it lies in one");
        let text = format!("#!/bin/sh\n: > {}/{leaves}\n", home.display());
        std::fs::write(&path, text).expect("it is ours");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .expect("it is ours");
    }

    /// Starts a shell from a thread that has confined itself, as a shim would.
    fn confined(
        &self,
        command: &mut Command,
        confine: &Confine,
    ) -> std::io::Result<std::process::Child> {
        let state = self.scene.home.with_file_name("state");
        let plan = Planner::default().plan(confine, &self.scene.workspace, &state);
        let mut plan = plan.expect("this kernel can confine, and there are few files");
        plan.rules.push((Right::Read, self.bin.clone()));
        std::thread::scope(|scope| {
            let start = scope.spawn(|| {
                meanwhile_shim::confine::enter::restrict(&plan)?;
                command.spawn()
            });
            start.join().expect("it does not panic")
        })
    }

    /// Lists everything in the workspace, and the traces that bad programs leave outside of it.
    fn traces(&self) -> String {
        let mut traces = String::new();
        for directory in ["", "work", "work/src", "other"] {
            let mut names: Vec<_> = std::fs::read_dir(self.scene.home.join(directory))
                .expect("it is there")
                .map(|entry| entry.expect("it is there").path())
                .filter(|path| !path.ends_with("fine"))
                .map(|path| {
                    let length =
                        path.metadata().map_or(0, |it| if it.is_file() { it.len() } else { 0 });
                    format!("{} {length}", path.display())
                })
                .collect();
            names.sort();
            let _ = writeln!(traces, "{names:?}");
        }
        traces
    }

    /// Runs a line in every available shell, with a time limit because it may loop. Returns their output.
    fn run(&self, line: &str, confine: Option<&Confine>) -> String {
        // Next to the home directory, where it is not a trace.
        let said = self.scene.home.with_file_name("said");
        let output = std::fs::File::create(&said).expect("it is ours");
        for shell in SHELLS {
            let [program, args @ ..] = shell else { continue };
            let mut command = Command::new("timeout");
            command
                .args(["1", program])
                .args(args)
                .arg(line)
                .current_dir(&self.scene.workspace)
                .env_clear()
                .env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()))
                .env("HOME", &self.scene.home)
                .env("KEY", SECRET)
                .stdin(Stdio::null())
                .stdout(output.try_clone().expect("it is open"))
                .stderr(output.try_clone().expect("it is open"))
                .process_group(0);
            let ran = match confine {
                None => command.spawn(),
                Some(confine) => self.confined(command.env_remove("KEY"), confine),
            };
            let mut ran = ran.expect("`timeout` is part of every system the tests run on");
            let group = Pid::from_raw(i32::try_from(ran.id()).expect("a process id is one"));
            // A shell that is not installed runs nothing; `sh` is always there.
            ran.wait().expect("it is our child");
            // Kill background processes of the line.
            let _ = killpg(group, Signal::SIGKILL);
        }
        let mut bytes = Vec::new();
        // A line may repeat its output until the time limit.
        let heard = std::fs::File::open(&said).map(|it| it.take(SAID_MAX).read_to_end(&mut bytes));
        heard.expect("it is there").expect("it is ours");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Pieces from which lines are built. Bad programs belong to the trap; a file that is written would be a trace.
const PIECES: [&str; 116] = [
    "\\\n",
    "$\\\n",
    "(\\\n",
    "bad",
    "worse",
    "good",
    "make x",
    "ls",
    "cat a.txt",
    "echo",
    "echo a",
    "pwd",
    "true",
    "false",
    "git status",
    ":",
    " ",
    " ",
    " ",
    " ",
    " ",
    "\n",
    ";",
    "&&",
    "||",
    "|",
    "|&",
    "&",
    "!",
    "(",
    ")",
    "((",
    "))",
    "{ ",
    "; }",
    "{",
    "}",
    "$(",
    "`",
    "<(",
    ">(",
    "\"",
    "'",
    "\\",
    "\\\n",
    "\\'",
    "$'",
    "$\"",
    "${x:-",
    "${x",
    "$((",
    "$x",
    "x=",
    "x=bad",
    "$",
    ">",
    ">>",
    "<",
    "2>",
    "&>",
    ">&",
    "2>&1",
    "/dev/null",
    "out",
    "a.txt",
    "<<EOF",
    "<<'EOF'",
    "<<-EOF",
    "\nEOF\n",
    "<<<",
    "#",
    "if ",
    "then ",
    "; fi",
    "for x in ",
    "; do ",
    "; done",
    "while false",
    "case a in ",
    "a) ",
    ";;",
    "esac",
    "f()",
    "function ",
    "[[",
    "]]",
    "time ",
    "eval ",
    "sh -c ",
    "env ",
    "xargs ",
    "timeout 5 ",
    "command ",
    "*",
    "~",
    "cd src",
    "cd ",
    "../",
    "read x",
    "set -e",
    "a() ",
    "in ",
    "else ",
    "elif ",
    "esac ",
    "do ",
    "select x in ",
    "=",
    "nohup ",
    "$KEY",
    "x=$KEY",
    "<<<$KEY ",
    "<<EOF\n$KEY\nEOF\n",
    "echo $x",
    "cat ",
    "LANG=",
];

#[test]
fn no_line_that_is_allowed_runs_what_is_not() {
    let trap = std::cell::RefCell::new(Trap::new());
    let rules = ["allow bash good", "allow bash make x"];
    let line = prop::collection::vec(prop::sample::select(PIECES.to_vec()), 1..14)
        .prop_map(|pieces| pieces.concat());
    // `PROPTEST_CASES` increases it.
    let usual = Config::default().cases;
    let config = Config { cases: 8 * usual, failure_persistence: None, ..Config::default() };
    let (mut runner, allowed) = (TestRunner::new(config), std::cell::Cell::new(0));
    runner
        .run(&line, |line| {
            let verdict = trap.borrow().scene.line(&rules, &line);
            if let Verdict::Allow(confine) = verdict {
                if confine.is_some() && crate::confine::refusal().is_some() {
                    return Ok(());
                }
                // Each run takes as long as a hundred verdicts.
                if allowed.replace(allowed.get() + 1) < usual / 4 {
                    let before = trap.borrow().traces();
                    let said = trap.borrow().run(&line, confine.as_ref());
                    let after = trap.borrow().traces();
                    if after != before {
                        // Use a new trap in the search for a shorter line.
                        trap.replace(Trap::new());
                    }
                    prop_assert_eq!(after, before, "{:?}", line);
                    prop_assert!(!said.contains(SECRET), "{:?} says: {}", line, said);
                }
            }
            Ok::<(), TestCaseError>(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(allowed.get() > usual / 8, "{} lines were allowed, too few to say much", allowed.get());
}

/// The trap works: bad programs leave a trace.
#[test]
fn the_trap_springs() {
    for line in ["bad", "echo $(worse)", "echo > new", "ls; a", "x"] {
        let trap = Trap::new();
        let before = trap.traces();
        trap.run(line, None);
        assert_ne!(trap.traces(), before, "{line}");
    }
    assert!(Trap::new().run("x=$KEY; echo a$x", None).contains(SECRET), "what is said is heard");
}

proptest! {
    /// A forbidden command is found, whatever is put around it or after an allowed command.
    #[test]
    fn a_command_that_is_forbidden_is_found_wherever_it_stands(
        wraps in prop::collection::vec(prop::sample::select(WRAPS.to_vec()), 0..6),
    ) {
        let scene = Scene::new();
        let mut line = "bad b".to_owned();
        for (before, after) in &wraps {
            line = format!("{before}{line}{after}");
        }
        let verdict = scene.line(&["allow bash", "deny bash bad"], &line);
        prop_assert!(matches!(verdict, Verdict::Deny { .. }), "{:?}: {:?}", line, verdict);
        // Without a rule, or with other rules, it needs permission at least.
        for rules in [&[][..], &["allow bash ls", "allow bash echo", "allow bash good"]] {
            let verdict = scene.line(rules, &line);
            prop_assert!(matches!(verdict, Verdict::Ask { .. }), "{:?}: {:?}", line, verdict);
        }
    }

    /// No text makes the check panic or take long.
    #[test]
    fn any_text_is_judged(line in "\\PC{0,40}", pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..30)) {
        let scene = Scene::new();
        scene.line(&["allow bash ls", "deny bash rm"], &line);
        scene.line(&["allow bash ls", "deny bash rm"], &pieces.concat());
    }
}

/// Text that can surround a command.
const WRAPS: [(&str, &str); 30] = [
    ("ls; ", ""),
    ("", "; ls"),
    ("ls && ", ""),
    ("ls || ", " || ls"),
    ("ls | ", " | cat"),
    ("ls & ", ""),
    ("ls\n", ""),
    ("", " > /dev/null 2>&1"),
    // With a blank, because `$((` is arithmetic.
    (" ( ", " )"),
    ("{ ", "; }"),
    ("! ", ""),
    ("echo $(", ")"),
    ("echo \"$(", ")\""),
    ("echo \"a $(", ") b\" 'c'"),
    ("echo <(", ")"),
    ("x=$(", ")"),
    ("x=$(", ") ls"),
    ("ls > $(", ")"),
    ("ls \\\n $(", ")"),
    ("if ", "; then ls; fi"),
    ("if ls; then ", "; else ls; fi"),
    ("while ls; do ", "; done"),
    ("for x in a b; do ", "; done"),
    ("for x in $(", "); do ls; done"),
    ("f() { ", "; }; f"),
    ("cat <<EOF\n$(", ")\nEOF"),
    ("echo a # comment\n", ""),
    ("echo ';' \"#\" \\' ; ", ""),
    ("$(", ")"),
    ("ls '' $x; ", "\n"),
];
