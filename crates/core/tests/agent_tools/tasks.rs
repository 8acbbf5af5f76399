//! `check_background`, `task_output`, `stop_background`, `write_background`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use meanwhile_core::agent::tools::Budget;
use meanwhile_core::background::task::{Actor, DeliveredBy, Exit, TaskId};
use meanwhile_core::background::{Command, Spawn, Stdin};
use serde_json::{Value, json};

use crate::lab::{Lab, lab, seen_one, toolbox};

fn task(id: TaskId) -> Value {
    json!({ "task_id": id.as_str() })
}

fn with(id: TaskId, more: Value) -> Value {
    let mut input = task(id);
    let fields = more.as_object().unwrap().clone();
    input.as_object_mut().unwrap().extend(fields);
    input
}

/// A task of another session.
async fn foreign(lab: &Lab, line: &str) -> TaskId {
    let spawned = lab.background.spawn(Spawn {
        command: Command::Shell(line.to_owned()),
        cwd: None,
        env: BTreeMap::new(),
        label: Some("theirs".to_owned()),
        queue: "default".to_owned(),
        deadline: None,
        linger: None,
        stdin: Stdin::Pipe,
        watches: Vec::new(),
        client_token: None,
        service: false,
        confine: None,
        is_step: false,
        on: None,
        resources: Default::default(),
        line: Default::default(),
    });
    spawned.await.unwrap().task.id
}

#[test]
fn a_check_shows_what_is_new_and_says_so_when_nothing_is() {
    lab(async |lab| {
        let id = lab.start("echo one; until [ -e go ]; do sleep 0.02; done").await;
        lab.output(id, "one").await;
        let first = lab.ok("check_background", task(id)).await;
        assert!(first.starts_with(&format!("{id} running for ")), "{first}");
        assert!(first.ends_with("\none"), "{first}");
        for _ in 0..3 {
            let again = lab.run("check_background", task(id)).await;
            assert!(again.content.starts_with(&format!("{id}: unchanged, running")), "{again:?}");
            // About four characters per token.
            assert!(again.content.len() < 120 && again.seen.is_empty(), "{again:?}");
        }
        // Another session has its own view.
        let other = toolbox(&lab.background, "yours", Budget::default());
        let (shown, _) = lab.run_by(&other, "check_background", task(id)).await;
        assert!(shown.content.ends_with("\none"), "{shown:?}");
    });
}

#[test]
fn an_end_that_is_shown_is_reported_as_seen() {
    lab(async |lab| {
        let id = lab.start("echo out; exit 7").await;
        lab.end(id).await;
        let check = lab.run("check_background", task(id)).await;
        assert!(check.content.starts_with(&format!("{id} exited 7 after ")), "{check:?}");
        assert!(check.content.ends_with(": echo out; exit 7\nout") && !check.is_error, "{check:?}");
        assert_eq!(check.seen, [(id, DeliveredBy::Check)]);
        let again = lab.run("check_background", task(id)).await;
        assert!(again.content.starts_with(&format!("{id}: unchanged, exited 7")), "{again:?}");
        assert_eq!(seen_one(&lab.run("task_output", task(id)).await), id);
        let theirs = foreign(lab, "echo theirs").await;
        lab.end(theirs).await;
        for tool in ["check_background", "task_output"] {
            let outcome = lab.run(tool, task(theirs)).await;
            assert!(outcome.content.ends_with("theirs") && !outcome.is_error, "{outcome:?}");
            assert_eq!(outcome.seen, [], "a session does not take another one's result");
        }
        let unknown = lab.fails("check_background", json!({ "task_id": "00000000" })).await;
        assert!(unknown.starts_with("there is no task 00000000"), "{unknown}");
    });
}

#[test]
fn a_check_waits_as_long_as_it_is_told() {
    lab(async |lab| {
        let id = lab.start("until [ -e go ]; do sleep 0.02; done; echo done").await;
        let start = Instant::now();
        let still = lab.ok("check_background", with(id, json!({ "wait_seconds": 0.2 }))).await;
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
        assert!(still.contains("running for"), "{still}");
        let wait = lab.run("check_background", with(id, json!({ "wait_seconds": 60 })));
        let (outcome, ()) = tokio::join!(wait, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            lab.write("go", "");
        });
        assert!(outcome.content.ends_with("done"), "{outcome:?}");
        assert_eq!(outcome.seen, [(id, DeliveredBy::Wait)]);
        // Without an id: until any of them ends.
        let (one, _two) = (lab.start("sleep 0.1").await, lab.start("sleep 60").await);
        let list = lab.run("check_background", json!({ "wait_seconds": 60 })).await;
        assert!(list.content.contains(&format!("{one} exited 0")), "{list:?}");
        assert_eq!(list.seen, [], "a list shows no result");
    });
}

#[test]
fn a_wait_is_over_when_there_is_news() {
    lab(async |lab| {
        let slow = lab.start("sleep 60").await;
        let start = Instant::now();
        let server = json!({ "command": "sleep 0.2; echo ready; sleep 60", "watch": ["ready"] });
        lab.ok("background_run", server).await;
        for input in [with(slow, json!({ "wait_seconds": 50 })), json!({ "wait_seconds": 50 })] {
            // The second time it is already in the queue.
            let outcome = lab.run("check_background", input).await;
            assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
            assert!(outcome.content.contains("running for") && outcome.seen.is_empty());
        }
        let told = lab.ok("check_background", with(slow, json!({ "wait_seconds": 50 }))).await;
        let news = "\nsomething else has happened; the next message tells you";
        assert!(told.contains("unchanged, running") && told.ends_with(news), "{told}");
    });
}

#[test]
fn what_was_shown_is_not_news() {
    lab(async |lab| {
        let slow = lab.start("sleep 60").await;
        // Shown by another call of the same answer: still in the queue until that is stored.
        let outcome = lab.run("bash", json!({ "command": "true" })).await;
        let other = lab.start("true").await;
        lab.end(other).await;
        seen_one(&lab.run("task_output", task(other)).await);
        assert_eq!(lab.queued().await, [seen_one(&outcome), other]);
        for input in [with(slow, json!({ "wait_seconds": 0.3 })), json!({ "wait_seconds": 0.3 })] {
            let start = Instant::now();
            let told = lab.ok("check_background", input).await;
            assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
            assert!(!told.contains("something else"), "{told}");
        }
    });
}

#[test]
fn a_list_names_what_there_is() {
    lab(async |lab| {
        assert_eq!(lab.ok("check_background", json!({})).await, "there are no background tasks");
        let done = lab.start("echo finished; exit 2").await;
        lab.end(done).await;
        let port = "import socket, time\ns = socket.create_server(('127.0.0.1', 0))\n\
                    print(s.getsockname()[1], flush=True)\ntime.sleep(60)";
        lab.write("serve.py", port);
        let server = json!({ "command": "python3 serve.py", "label": "server" });
        lab.ok("background_run", server).await;
        let server = lab.running().await[0].id;
        lab.output(server, "\n").await;
        let chunk = lab.background.read(server, 0, 100).await.unwrap();
        let port = String::from_utf8(chunk.data).unwrap().trim().to_owned();
        let theirs = foreign(lab, "echo hers; sleep 60").await;
        lab.output(theirs, "hers").await;
        lab.listens(server).await;
        let list = lab.ok("check_background", json!({})).await;
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!(lines[0], "1 of your tasks runs, 1 ended; 1 of the user or other sessions");
        let line = |id: TaskId| *lines.iter().find(|line| line.starts_with(id.as_str())).unwrap();
        let shown = line(server);
        assert!(shown.contains("(server): python3 serve.py"), "{shown}");
        assert!(shown.ends_with(&format!(" | listens on {port} | last line: {port}")), "{shown}");
        assert!(line(theirs).ends_with(": echo hers; sleep 60 | not yours | last line: hers"));
        let ended = ": echo finished; exit 2 | result on its way to you | last line: finished";
        assert!(line(done).contains("exited 2 after") && line(done).ends_with(ended), "{list}");
        let again = lab.ok("check_background", json!({})).await;
        assert_eq!(again, "unchanged: 1 of your tasks runs, nothing new");
    });
}

#[test]
fn a_part_of_an_output_can_be_had() {
    lab(async |lab| {
        let whole: String = (1..=20_000).map(|n| format!("line {n}\n")).collect();
        lab.write("whole", &whole);
        let id = lab.start("cat whole").await;
        lab.end(id).await;
        let part = async |more: Value| {
            let shown = lab.ok("task_output", with(id, more)).await;
            assert!(shown.len() <= 16 << 10, "{}", shown.len());
            let (header, rest) = shown.split_once('\n').unwrap_or((&shown, ""));
            assert!(header.starts_with(&format!("{id} exited 0 after ")), "{header}");
            assert!(header.ends_with("s, 208 894 bytes of output"), "{header}");
            rest.to_owned()
        };
        let ends = part(json!({})).await;
        assert!(ends.starts_with("line 1\n") && ends.ends_with("\nline 20000"), "{ends}");
        let head = part(json!({ "head": 2 })).await;
        assert_eq!(head, "line 1\nline 2\n... 208 880 bytes follow; go on with offset=14 ...");
        let tail = part(json!({ "tail": 2 })).await;
        assert_eq!(tail, "... 208 872 bytes before ...\nline 19999\nline 20000");
        assert_eq!(part(json!({ "offset": whole.len() })).await, "");
        let error = lab.fails("task_output", with(id, json!({ "offset": whole.len() + 1 }))).await;
        assert!(error.contains("has 208894 bytes"), "{error}");
        // Reading page by page returns everything.
        let (mut pages, mut offset) = (String::new(), 0);
        while offset < whole.len() {
            let page = part(json!({ "offset": offset })).await;
            let text = page.split_once("... ").map_or(page.as_str(), |(text, _)| text);
            pages.push_str(text.trim_end_matches('\n'));
            pages.push('\n');
            offset = match page.rsplit_once("offset=") {
                Some((_, next)) => next.trim_end_matches(" ...").parse().unwrap(),
                None => whole.len(),
            };
        }
        assert!(pages == whole);
    });
}

#[test]
fn lines_that_match_are_found_wherever_they_are() {
    lab(async |lab| {
        // More than the retained head and ring, so that there is a gap, and one match on each side of it.
        let id = lab
            .start("echo FIRST; yes xxxxxxxxxxxxxxxxxxxxxxx | head -c 24000000; echo LAST")
            .await;
        lab.end(id).await;
        let found = lab.ok("task_output", with(id, json!({ "pattern": "[A-Z]+" }))).await;
        let lines: Vec<&str> = found.lines().skip(1).collect();
        assert_eq!(lines, ["2 lines match, each after its offset", "0: FIRST", "24000006: LAST"]);
        let none = lab.ok("task_output", with(id, json!({ "pattern": "absent" }))).await;
        assert!(none.ends_with("\n0 lines match"), "{none}");
        let input = json!({ "pattern": "LAST|FIRST", "offset": 6 });
        let later = lab.ok("task_output", with(id, input)).await;
        assert!(
            later.ends_with("1 line matches, each after its offset\n24000006: LAST"),
            "{later}"
        );
        let input = json!({ "pattern": "x" });
        let many = lab.ok("task_output", with(id, input)).await;
        assert!(many.len() <= 16 << 10 && many.contains("... more matches; go on with offset="));
        let error = lab.fails("task_output", with(id, json!({ "pattern": "(" }))).await;
        assert!(error.starts_with("`pattern`: not a regular expression"), "{error}");
        // Output that is not retained is reported.
        let gap = lab.ok("task_output", with(id, json!({ "offset": 6_000_000 }))).await;
        assert!(gap.contains("bytes are not kept ..."), "{}", &gap[..200]);
        let ends = lab.ok("task_output", task(id)).await;
        assert!(ends.contains("\nFIRST\n") && ends.ends_with("\nLAST"), "{ends}");
    });
}

#[test]
fn a_task_is_stopped_by_its_owner_only() {
    lab(async |lab| {
        let id =
            lab.start("trap 'echo caught; kill $!; exit 5' INT; sleep 60 & echo begun; wait").await;
        lab.output(id, "begun").await;
        let outcome = lab.run("stop_background", with(id, json!({ "signal": "SIGINT" }))).await;
        assert!(outcome.content.starts_with(&format!("{id} stopped by agent, exit 5 after ")));
        assert!(outcome.content.contains("begun\ncaught") && !outcome.is_error, "{outcome:?}");
        assert_eq!(seen_one(&outcome), id);
        let task_now = lab.background.get(id).await.unwrap();
        let end = task_now.end().unwrap();
        assert_eq!((end.exit, end.cause.as_ref().unwrap().actor), (Exit::Code(5), Actor::Agent));
        let error = lab.fails("stop_background", task(id)).await;
        assert!(error.contains("does not run any more: stopped by agent"), "{error}");
        let theirs = foreign(lab, "sleep 60").await;
        for (tool, input) in [
            ("stop_background", task(theirs)),
            ("write_background", with(theirs, json!({ "text": "x" }))),
        ] {
            let error = lab.fails(tool, input).await;
            assert!(error.contains("was not started by you"), "{error}");
        }
        assert_eq!(lab.running().await.len(), 1);
    });
}

#[test]
fn a_task_reads_what_is_written_to_it() {
    lab(async |lab| {
        let input = json!({ "command": "while read -r line; do echo \"<$line>\"; done; echo end", "stdin": true });
        lab.ok("background_run", input).await;
        let id = lab.running().await[0].id;
        let wrote = lab.ok("write_background", with(id, json!({ "text": "a b\n" }))).await;
        assert_eq!(wrote, format!("wrote 4 bytes to task {id}"));
        lab.output(id, "<a b>").await;
        let input = with(id, json!({ "text": "é\n", "eof": true }));
        let wrote = lab.ok("write_background", input).await;
        assert_eq!(wrote, format!("wrote 3 bytes to task {id}, and closed its input"));
        lab.end(id).await;
        let shown = lab.ok("check_background", task(id)).await;
        assert!(shown.ends_with("\n<a b>\n<é>\nend"), "{shown}");
        let error = lab.fails("write_background", with(id, json!({ "text": "x" }))).await;
        assert!(error.contains("not running"), "{error}");
        let deaf = lab.start("sleep 60").await;
        let error = lab.fails("write_background", with(deaf, json!({ "text": "x" }))).await;
        assert!(error.contains("has no standard input"), "{error}");
    });
}
