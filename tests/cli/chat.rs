//! `meanwhile chat`, on a terminal and without one.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::agent::{HELD, RULE};
use crate::harness::{Ran, Store};
use crate::terminal::Session;

/// Waits until the screen shows these texts.
#[track_caller]
fn shows(session: &mut Session, texts: &[&str]) {
    session.until(&format!("{texts:?}"), |screen| texts.iter().all(|text| screen.contains(text)));
}

/// Waits until a line can be typed. Between two lines the terminal has its original settings, and would
/// handle Ctrl-D itself.
#[track_caller]
fn ready(session: &mut Session) {
    session.until("a line can be typed", |screen| {
        screen.lines().last().map(str::trim_end) == Some("›")
    });
}

fn chat(store: &Store, script: &str, args: &[&str]) -> Session {
    let args: Vec<&str> = ["chat"].iter().chain(args).copied().collect();
    let mut session = Session::of(store.scripted(script, &args), 80);
    ready(&mut session);
    session
}

#[test]
fn a_task_that_ends_is_heard_while_no_key_is_typed() {
    let store = Store::new();
    let mut session = chat(&store, HELD, &["--allow", RULE]);
    session.type_in("build it\r");
    shows(&mut session, &["\nI start it.\n", "\nIt runs.\n", "▪ until [ -e go ]; do sl"]);
    // Typed text stays while the agent writes.
    session.type_in("and th");
    shows(&mut session, &["› and th"]);
    store.release();
    // The text moves from the status line to a separate row.
    shows(&mut session, &["exit 3 after ", "\nIt has failed.\n"]);
    session.until("nothing runs, and the line is still there", |screen| {
        !screen.contains('▪') && screen.lines().last() == Some("› and th")
    });
    session.type_in("\x15/quit\r");
    let (code, screen) = session.end();
    assert_eq!(code, Some(0), "{screen}");
    let said = ["› build it", "I start it.", "It runs.", "It has failed."];
    let places: Vec<_> = said.iter().map(|text| screen.find(text)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}: {screen}");
}

#[test]
fn an_edit_is_asked_as_a_diff() {
    let store = Store::new();
    let script = r#"
[[turn]]
[[turn.call]]
tool = "edit_file"
input = { path = "notes.txt", old_string = "two", new_string = "2" }
[[turn]]
text = "Done."
"#;
    let notes = store.workspace().join("notes.txt");
    std::fs::write(&notes, "one\ntwo\n").unwrap();
    let mut session = chat(&store, script, &[]);
    session.type_in("go\r");
    let question =
        ["may the agent edit notes.txt?", "   one\n  -two\n  +2\n", "a: always edits in"];
    shows(&mut session, &question);
    ready(&mut session);
    session.type_in("y\r");
    shows(&mut session, &["\nDone.\n"]);
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "one\n2\n");
    ready(&mut session);
    session.type_in("\x04");
    assert_eq!(session.end().0, Some(0));
}

#[test]
fn a_question_is_answered_at_the_prompt() {
    let store = Store::new();
    let script = r#"
[[turn]]
[[turn.call]]
tool = "bash"
input = { command = "./touch a" }
[[turn.call]]
tool = "bash"
input = { command = "mkdir b" }
[[turn]]
text = "As you say."
"#;
    let program = store.workspace().join("touch");
    std::fs::write(&program, "#!/bin/sh\nexec touch \"$@\"\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut session = chat(&store, script, &[]);
    session.type_in("go\r");
    shows(
        &mut session,
        &["may the agent run ./touch a?", "  y: yes, ", "n: no, a: always `./touch`"],
    );
    // A command of `chat` is neither a prompt nor an answer to the question.
    ready(&mut session);
    session.type_in("/tasks\r");
    shows(&mut session, &["no task runs", "may the agent run ./touch a?"]);
    ready(&mut session);
    assert!(!session.screen().contains("waits as your next prompt"), "{}", session.screen());
    session.type_in("y\r");
    shows(&mut session, &["may the agent run mkdir b?"]);
    assert!(store.workspace().join("a").exists());
    session.type_in("n\r");
    shows(&mut session, &["\nAs you say.\n"]);
    assert!(!store.workspace().join("b").exists());
    ready(&mut session);
    session.type_in("\x04");
    assert_eq!(session.end().0, Some(0));
}

#[test]
fn ctrl_c_ends_the_turn_and_ctrl_d_leaves_the_tasks() {
    let store = Store::new();
    let hold = store.workspace().join("never");
    let script = format!(
        "{}\n[[turn]]\nhold = \"{}\"\ntext = \"x\"\n",
        HELD.split("[[turn]]\ntext = \"It runs.\"").next().unwrap(),
        hold.display()
    );
    let mut session = chat(&store, &script, &["--allow", RULE]);
    session.type_in("build\r");
    shows(&mut session, &["in the background, as ", "asking", "▪ until"]);
    session.type_in("\x03");
    shows(&mut session, &["cancelled", "▪ until"]);
    session.until("the turn is over", |screen| !screen.contains("asking"));
    ready(&mut session);
    session.type_in("/tasks\r");
    shows(&mut session, &["until [ -e go ]; do sleep 0.02; done; echo built; exit 3"]);
    ready(&mut session);
    session.type_in("\x04");
    let (code, screen) = session.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("unfinished: 1 task goes on"), "{screen}");
    let tasks = store.json(&["ps", "--json"]);
    assert_eq!(tasks["tasks"][0]["state"], "running");
    store.release();
}

#[test]
fn lines_are_kept_and_a_session_is_shown_again() {
    let store = Store::new();
    let script = "[[turn]]\ntext = \"one\"\n[[turn]]\nexpect = [\"hello\"]\ntext = \"two\"\n";
    let mut session = chat(&store, script, &[]);
    session.type_in("hello there\r");
    shows(&mut session, &["\none\n"]);
    ready(&mut session);
    session.type_in("\x04");
    assert_eq!(session.end().0, Some(0));
    let mut session = chat(&store, script, &["--resume", "last"]);
    shows(&mut session, &["› hello there\none"]);
    // Up fetches the previous line from the history.
    session.type_in("\x1b[A");
    session.until("the old line is there again", |screen| {
        screen.lines().last() == Some("› hello there")
    });
    session.type_in("\r");
    shows(&mut session, &["\ntwo\n"]);
    ready(&mut session);
    session.type_in("\x04");
    assert_eq!(session.end().0, Some(0));
}

#[test]
fn an_old_prompt_moves_no_cursor() {
    let store = Store::new();
    let script = "[[turn]]\ntext = \"one\"\n";
    let prompt = "look at\n\x1b]0;owned\x07this";
    assert_eq!(store.agent(script, &["run", prompt]).code, Some(0));
    let mut session = chat(&store, script, &["--resume", "last"]);
    shows(&mut session, &["› look at\n", "this\none"]);
    let drawn = session.drawn();
    assert!(drawn.contains("\u{fffd}]0;owned\u{fffd}this"), "{drawn:?}");
    assert!(!drawn.contains("\x1b]0"), "{drawn:?}");
    session.type_in("\x04");
    assert_eq!(session.end().0, Some(0));
}

#[test]
fn without_a_terminal_each_line_is_a_prompt() {
    let store = Store::new();
    let script = "[[turn]]\nexpect = [\"first\"]\ntext = \"one\"\n\
                  [[turn]]\nexpect = [\"second\"]\ntext = \"two\"\n";
    let mut child = store.scripted(script, &["chat"]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"first\nsecond\n").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let text = ran.text();
    assert!(text.ends_with("one\ntwo\n"), "{text:?}");
    assert!(!text.contains('\x1b'), "{text:?}");
}
