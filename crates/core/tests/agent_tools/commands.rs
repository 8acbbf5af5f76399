//! `bash` and `background_run`.

use std::time::Duration;

use meanwhile_core::agent::permission::Rule;
use meanwhile_core::agent::tools::{Budget, Progress};
use meanwhile_core::background::task::{Actor, DeliveredBy, Exit, Outcome, State};
use meanwhile_core::background::{Settings, Slot, Token};
use serde_json::json;
use tokio::sync::mpsc;

use crate::lab::{lab, lab_with, seen_one};

#[test]
fn a_command_that_ends_in_time_is_shown_with_its_end() {
    lab(async |lab| {
        for (command, is_error, expected) in [
            ("echo one; echo two >&2", false, "exited 0 after 0.Xs\none\ntwo"),
            ("true", false, "exited 0 after 0.Xs\n(no output)"),
            ("echo no; exit 3", true, "exited 3 after 0.Xs\nno"),
            ("kill -9 $$", true, "ended by SIGKILL after 0.Xs\n(no output)"),
            ("no-such-program", true, "exited 127 after 0.Xs\n"),
            // Bash rather than sh if it is installed; standard input is empty.
            ("[[ a == a* ]] && cat && echo ${x:-{1..3}}", false, "exited 0 after 0.Xs\n"),
            (
                r"printf '\033[31mred\033[0m 1%%\r99%%\r100%%\n\377<background-results>'",
                false,
                "exited 0 after 0.Xs\n100%\n\u{fffd}<\\background-results>",
            ),
        ] {
            let outcome = lab.run("bash", json!({ "command": command })).await;
            let shown = outcome.content.replace(|c: char| c.is_ascii_digit(), "X");
            let expected = expected.replace(|c: char| c.is_ascii_digit(), "X");
            assert!(shown.starts_with(&expected), "{command}: {}", outcome.content);
            assert_eq!(outcome.is_error, is_error, "{command}: {}", outcome.content);
            let id = seen_one(&outcome);
            assert_eq!(outcome.seen[0].1, DeliveredBy::Wait);
            let task = lab.background.get(id).await.unwrap();
            assert!(task.end().is_some(), "what is shown is durable");
            assert_eq!(task.command, command, "the plain line");
        }
    });
}

#[test]
fn a_command_that_takes_long_moves_to_the_background() {
    lab(async |lab| {
        let toolbox = lab.patient(Duration::from_millis(100));
        let command = "echo $$; until [ -e go ]; do sleep 0.02; done; echo same $$";
        let (outcome, progress) = lab.run_by(&toolbox, "bash", json!({ "command": command })).await;
        let [Progress::Spawned(task), Progress::Moved(moved)] = &progress[..] else {
            panic!("{progress:?}")
        };
        assert_eq!(task.id, *moved);
        assert!(!outcome.is_error && outcome.seen.is_empty(), "{outcome:?}");
        let id = task.id;
        let pid = lab.background.get(id).await.unwrap().pid.unwrap();
        for says in [id.as_str(), "moved to the background", "nothing was restarted"] {
            assert!(outcome.content.contains(says), "{}", outcome.content);
        }
        assert!(outcome.content.ends_with(&format!("output so far:\n{pid}")), "{outcome:?}");
        lab.write("go", "");
        lab.end(id).await;
        let (check, _) =
            lab.run_by(&toolbox, "check_background", json!({ "task_id": id.as_str() })).await;
        // The same process, and only its new output.
        let new = format!("output since you last looked:\nsame {pid}");
        assert!(check.content.ends_with(&new), "{}", check.content);
        assert_eq!(lab.queued().await, [id], "its end is told like any other");
    });
}

#[test]
fn a_timeout_ends_the_command_wherever_it_is() {
    lab(async |lab| {
        let outcome =
            lab.run("bash", json!({ "command": "echo a; sleep 60", "timeout": 0.2 })).await;
        assert!(outcome.content.starts_with("timed out after 0.2s, SIGTERM after"), "{outcome:?}");
        assert!(outcome.content.ends_with("\na") && outcome.is_error, "{outcome:?}");
        let toolbox = lab.patient(Duration::from_millis(50));
        let input = json!({ "command": "sleep 60", "timeout": "0.4" });
        let (_, progress) = lab.run_by(&toolbox, "bash", input).await;
        let [Progress::Spawned(task), Progress::Moved(_)] = &progress[..] else {
            panic!("{progress:?}")
        };
        let task = lab.end(task.id).await;
        assert_eq!(task.end().unwrap().cause.as_ref().unwrap().actor, Actor::Deadline);
    });
}

#[test]
fn what_a_command_leaves_behind_is_named() {
    lab(async |lab| {
        let command = "sleep 61 & echo started";
        let outcome = lab.run("bash", json!({ "command": command })).await;
        assert!(outcome.content.starts_with("exited 0"), "{outcome:?}");
        assert!(outcome.content.contains("started\n... process "), "{outcome:?}");
        assert!(outcome.content.ends_with("is still alive: sleep 61 ..."), "{outcome:?}");
        let task = lab.background.get(seen_one(&outcome)).await.unwrap();
        let [survivor] = &task.survivors[..] else { panic!("{task:?}") };
        lab.ok("bash", json!({ "command": format!("kill {}", survivor.pid) })).await;
    });
}

#[test]
fn a_long_output_is_shown_by_its_ends() {
    lab(async |lab| {
        let room = Budget::default().result_bytes;
        let outcome = lab.run("bash", json!({ "command": "seq 100000" })).await;
        let text = &outcome.content;
        assert!(text.len() <= room && text.len() > room - 1_000, "{}", text.len());
        assert!(text.contains("s\n1\n2\n") && text.ends_with("\n99999\n100000"), "{text}");
        // The cursor in it points to the first byte that is not shown.
        let note = text.lines().find(|line| line.contains("omitted")).unwrap();
        let id = seen_one(&outcome);
        assert!(note.contains(&format!("task_output(\"{id}\", offset=")), "{note}");
        let offset: u64 = note.split(['=', ')']).nth(1).unwrap().parse().unwrap();
        let (before, _) = text.split_once("...").unwrap();
        let last: u64 = before.trim_end().lines().last().unwrap().parse().unwrap();
        let input = json!({ "task_id": id.as_str(), "offset": offset });
        let rest = lab.ok("task_output", input).await;
        assert_eq!(rest.lines().nth(1), Some(format!("{}", last + 1).as_str()), "{rest}");
    });
}

#[test]
fn a_flood_costs_no_memory() {
    lab(async |lab| {
        let command = "head -c 200000000 /dev/zero | tr '\\0' x; echo; echo the end";
        let toolbox = lab.patient(Duration::from_secs(120));
        let before = resident();
        let (outcome, _) = lab.run_by(&toolbox, "bash", json!({ "command": command })).await;
        // Half of what is retained of it: far more than is processed.
        assert!(resident() < before + (8 << 20), "{} after {before}", resident());
        assert!(outcome.content.ends_with("\nthe end"), "{}", outcome.content);
        assert!(outcome.content.len() <= 16 << 10);
    });
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

#[test]
fn a_cancelled_call_stops_its_command() {
    lab(async |lab| {
        // Dropped at any time: before it is spawned, during the spawn, and while it runs.
        for round in 0..30_u64 {
            let (tell, mut told) = mpsc::unbounded_channel();
            let intent = lab.read("bash", json!({ "command": "sleep 60" }));
            let run = lab.toolbox.run(intent, lab.key(), tell);
            let patience = Duration::from_micros(round * 200);
            assert!(tokio::time::timeout(patience, run).await.is_err());
            while let Some(step) = told.recv().await {
                let Progress::Spawned(task) = step else { panic!("{step:?}") };
                let end = lab.end(task.id).await;
                let end = end.end().unwrap();
                let cause = end.cause.as_ref().unwrap();
                assert_eq!(cause.actor, Actor::Client);
                assert_eq!(cause.message, "the turn was cancelled");
            }
        }
        for task in lab.running().await {
            lab.end(task.id).await;
        }
    });
}

#[test]
fn a_cancelled_turn_leaves_the_background_alone() {
    lab(async |lab| {
        let id = lab.start("sleep 60").await;
        let check =
            lab.run("check_background", json!({ "task_id": id.as_str(), "wait_seconds": 60 }));
        assert!(tokio::time::timeout(Duration::from_millis(50), check).await.is_err());
        let toolbox = lab.patient(Duration::from_millis(20));
        let (_, progress) = lab.run_by(&toolbox, "bash", json!({ "command": "sleep 60" })).await;
        assert!(matches!(progress[..], [_, Progress::Moved(_)]), "{progress:?}");
        assert_eq!(lab.running().await.len(), 2);
    });
}

#[test]
fn a_background_command_is_told_by_its_queue() {
    lab(async |lab| {
        let input = json!({
            "command": "echo ready; read line; echo got $line; exit 4",
            "label": "server",
            "watch": ["^ready$"],
            "stdin": true,
            "deadline": 60,
        });
        let (outcome, progress) = lab.run_by(&lab.toolbox, "background_run", input).await;
        let [Progress::Spawned(task)] = &progress[..] else { panic!("{progress:?}") };
        assert!(outcome.seen.is_empty() && !outcome.is_error, "{outcome:?}");
        assert_eq!(
            (task.label.as_deref(), task.deadline),
            (Some("server"), Some(Duration::from_secs(60)))
        );
        assert_eq!(task.queue, "mine");
        lab.ok("write_background", json!({ "task_id": task.id.as_str(), "text": "x\n" })).await;
        let task = lab.end(task.id).await;
        assert_eq!(task.end().unwrap().exit, Exit::Code(4));
        assert_eq!(lab.queued().await, [task.id]);
    });
}

#[test]
fn one_key_runs_a_command_once() {
    lab(async |lab| {
        for _ in 0..3 {
            let (tell, _) = mpsc::unbounded_channel();
            let intent = lab.read("background_run", json!({ "command": "echo ran >> runs" }));
            lab.toolbox.run(intent, Token::New("s:1:0".into()), tell).await;
        }
        let (tell, _) = mpsc::unbounded_channel();
        let intent = lab.read("bash", json!({ "command": "echo ran >> runs" }));
        let outcome = lab.toolbox.run(intent, Token::New("s:1:0".into()), tell).await;
        assert!(outcome.content.starts_with("exited 0"), "{outcome:?}");
        assert_eq!(lab.text("runs"), "ran\n");
    });
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    lab(async |lab| {
        std::fs::create_dir(lab.workspace.join("sub")).unwrap();
        let shown = lab.ok("bash", json!({ "command": "pwd", "cwd": "sub" })).await;
        assert!(shown.ends_with("/project/sub"), "{shown}");
        for tool in ["bash", "background_run"] {
            let error = lab.fails(tool, json!({ "command": "pwd", "cwd": "nowhere" })).await;
            assert!(error.contains("nowhere") && error.contains("no such"), "{error}");
        }
        assert_eq!(lab.running().await, []);
    });
}

/// A slot with room for one task, for commands that begin with `make`.
fn one_at_a_time() -> Settings {
    let rules = vec!["deny bash make".parse::<Rule>().unwrap()];
    let slot = Slot { name: "build".to_owned(), limit: 1, rules };
    Settings { slots: vec![slot], ..Settings::default() }
}

#[test]
fn a_command_that_waits_for_its_turn_is_said_to() {
    lab_with(one_at_a_time(), async |lab| {
        let first = "until [ -e go ]; do sleep 0.02; done";
        let input = json!({ "command": first, "slot": "build" });
        let (outcome, progress) = lab.run_by(&lab.toolbox, "background_run", input).await;
        let [Progress::Spawned(first)] = &progress[..] else { panic!("{progress:?}") };
        assert!(outcome.content.starts_with("started in the background"), "{outcome:?}");
        let input = json!({ "command": "echo b >> order", "slot": "build" });
        let second = lab.ok("background_run", input).await;
        let says = format!("is queued, 1st for build, behind {}", first.id);
        assert!(second.contains(&says) && second.contains("starts by itself"), "{second}");
        // By its rule, in the foreground, where it moves to the background without having run.
        let toolbox = lab.patient(Duration::from_millis(50));
        let input = json!({ "command": "make() { echo c >> order; }; make", "timeout": 30 });
        let (third, progress) = lab.run_by(&toolbox, "bash", input).await;
        let [Progress::Spawned(task), Progress::Moved(_)] = &progress[..] else {
            panic!("{progress:?}")
        };
        let says = "not started yet: it is queued, 2nd for build, behind";
        assert!(third.content.starts_with(says), "{third:?}");
        assert!(!third.content.contains("still running"), "{third:?}");
        let id = task.id;
        let (check, _) =
            lab.run_by(&toolbox, "check_background", json!({ "task_id": id.as_str() })).await;
        assert!(check.content.contains("2nd for build"), "{check:?}");
        assert!(matches!(lab.background.get(id).await.unwrap().state, State::Queued(_)));
        lab.write("go", "");
        assert_eq!(lab.end(id).await.end().unwrap().exit, Exit::Code(0));
        assert_eq!(lab.text("order"), "b\nc\n");
    });
}

#[test]
fn a_wait_is_said_with_what_runs_and_how_long_it_still_takes() {
    lab_with(one_at_a_time(), async |lab| {
        let runs = "until [ -e go ]; do echo;sleep .1;done";
        let ledger = lab.workspace.parent().unwrap().join("state/meanwhile.db");
        let ledger = rusqlite::Connection::open(ledger).unwrap();
        for minutes in [90, 100, 110] {
            let insert =
                "INSERT INTO durations (workspace, command, duration_us) VALUES (?1, ?2, ?3)";
            let workspace = lab.workspace.as_os_str().as_encoded_bytes();
            ledger.execute(insert, (workspace, runs, minutes * 60_000_000_i64)).unwrap();
        }
        let start = async |command: &str, wish: serde_json::Value| {
            let mut input = wish;
            input["command"] = json!(command);
            let (outcome, progress) = lab.run_by(&lab.toolbox, "background_run", input).await;
            let [Progress::Spawned(task)] = &progress[..] else { panic!("{outcome:?}") };
            (task.id, outcome.content)
        };
        let (first, _) = start(runs, json!({ "slot": "build" })).await;
        lab.output(first, "\n").await;
        let (_, second) = start("true", json!({ "slot": "build", "label": "second" })).await;
        let says = format!("1st for build, behind {first} {runs}, about ");
        assert!(second.contains(&says), "{second}");
        // Within half an hour of what remains of the median.
        let left = async |id| {
            let state = lab.background.get(id).await.unwrap().state;
            let State::Queued(queued) = state else { panic!("{state:?}") };
            queued.left.map(|left| left.as_secs() / 60)
        };
        let (after, third) = start("true", json!({ "after": [first.as_str()] })).await;
        assert!(third.contains(&format!("after {first}, about ")), "{third}");
        assert!(matches!(left(after).await, Some(70..=100)), "{:?}", left(after).await);
        // The duration of the one right ahead is unknown.
        let (fourth, said) = start("true", json!({ "slot": "build" })).await;
        assert!(said.contains(" second.") && !said.contains("about"), "{said}");
        assert_eq!(left(fourth).await, None);
        lab.write("go", "");
        lab.end(fourth).await;
    });
}

#[test]
fn a_command_follows_others_as_a_model_writes_it() {
    lab(async |lab| {
        let first = lab.start("until [ -e go ]; do sleep 0.02; done; exit 3").await;
        let next = async |input: serde_json::Value| {
            let (outcome, progress) = lab.run_by(&lab.toolbox, "background_run", input).await;
            let [Progress::Spawned(task)] = &progress[..] else { panic!("{outcome:?}") };
            assert!(outcome.content.contains(&format!("queued, after {first}")), "{outcome:?}");
            task.id
        };
        let mark = format!("[bg:{first}]");
        let skipped = next(json!({ "command": "echo x > ran", "after": [mark] })).await;
        let after = first.as_str();
        let ran = json!({ "command": "echo y > ran", "after": after, "on_failure": "run" });
        let ran = next(ran).await;
        lab.write("go", "");
        let end = lab.end(skipped).await;
        let end = end.end().unwrap();
        let by = end.cause.as_ref().map(|cause| cause.actor);
        assert_eq!((end.outcome, by), (Outcome::Stopped, Some(Actor::Dependency)));
        assert_eq!(lab.end(ran).await.end().unwrap().exit, Exit::Code(0));
        assert_eq!(lab.text("ran"), "y\n");
    });
}

#[test]
fn what_cannot_be_waited_for_is_an_error_that_says_what_can() {
    lab_with(one_at_a_time(), async |lab| {
        for (input, says) in [
            (json!({ "slot": "tests" }), "`slot`: there is no slot `tests`: expected `build`"),
            (json!({ "after": ["00000000"] }), "`after[0]`: no task `00000000` in this workspace"),
        ] {
            let mut input = input;
            input["command"] = json!("true");
            let failed = lab.fails("background_run", input).await;
            assert!(failed.contains(says), "{failed}");
        }
        for (input, says) in [
            (json!({ "after": ["first"] }), "`after[0]`: `first` is not a task's id"),
            (json!({ "after": true }), "`after`: expected a task's id, got true or false"),
            (json!({ "on_failure": "go" }), "`on_failure`: expected skip or run, got \"go\""),
        ] {
            let mut input = input;
            input["command"] = json!("true");
            let refused = lab.refused("background_run", input);
            assert!(refused.contains(says), "{refused}");
        }
        let refused = lab.refused("bash", json!({ "command": "true", "slot": "build" }));
        assert!(refused.contains("background_run takes it"), "{refused}");
        assert_eq!(lab.running().await, []);
    });
}
