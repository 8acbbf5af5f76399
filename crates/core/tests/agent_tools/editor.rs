//! Files through the person's editor, and what happens if it does not answer.

use std::time::Duration;

use meanwhile_core::agent::tools::{Editor, EditorRequest, Outcome, Toolbox};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::lab::{Lab, lab};

async fn run(lab: &Lab, toolbox: &Toolbox, name: &str, input: Value) -> Outcome {
    let (progress, _) = mpsc::unbounded_channel();
    toolbox.run(lab.read(name, input), lab.key(), progress).await
}

fn through(lab: &Lab, editor: Editor) -> Toolbox {
    lab.toolbox.clone().with_editor(Some(editor))
}

#[test]
fn an_editor_that_does_not_answer_is_asked_once() {
    lab(async |lab| {
        lab.write("a", "on the disk\n");
        let (editor, mut asked) = Editor::new(true, true);
        let toolbox = through(lab, editor.clone().patient_for(Duration::from_millis(20)));
        let outcome = run(lab, &toolbox, "read_file", json!({"path": "a"})).await;
        assert_eq!(outcome.content, "     1\ton the disk\n");
        // From here on the editor is not asked.
        let outcome = run(lab, &toolbox, "read_file", json!({"path": "a"})).await;
        assert_eq!(outcome.content, "     1\ton the disk\n");
        let outcome = run(lab, &toolbox, "write_file", json!({"path": "a", "content": "b"})).await;
        assert!(!outcome.is_error, "{}", outcome.content);
        assert_eq!(std::fs::read_to_string(lab.workspace.join("a")).unwrap(), "b");
        let asked_for: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
        let [EditorRequest::Read { reply, .. }, EditorRequest::GivenUp] = &asked_for[..] else {
            panic!("{asked_for:?}");
        };
        assert!(reply.is_closed(), "it is known not to be wanted any more");
        editor.heard();
        drop(asked);
        let outcome = run(lab, &toolbox, "write_file", json!({"path": "a", "content": "c"})).await;
        assert!(outcome.content.contains("the editor is gone"), "{}", outcome.content);
    });
}

#[test]
fn what_would_change_on_its_way_through_an_editor_stays_on_the_disk() {
    lab(async |lab| {
        let (editor, mut asked) = Editor::new(true, true);
        let toolbox = through(lab, editor);
        lab.write("windows", "one\r\ntwo\r\n");
        lab.write("marked", "\u{feff}one\n");
        lab.write("latin", b"caf\xe9\n");
        lab.write("dir/b", "");
        for name in ["windows", "marked", "latin", "dir"] {
            run(lab, &toolbox, "read_file", json!({ "path": name })).await;
        }
        let edit = json!({"path": "windows", "old_string": "two", "new_string": "2"});
        let outcome = run(lab, &toolbox, "edit_file", edit).await;
        assert!(!outcome.is_error, "{}", outcome.content);
        assert_eq!(std::fs::read(lab.workspace.join("windows")).unwrap(), b"one\r\n2\r\n");
        assert!(asked.try_recv().is_err());
    });
}

#[test]
fn an_editor_says_why_it_does_not_write() {
    lab(async |lab| {
        lab.write("a", "one\ntwo\n");
        let (editor, mut asked) = Editor::new(true, true);
        let toolbox = through(lab, editor);
        let answers = async {
            while let Some(request) = asked.recv().await {
                match request {
                    EditorRequest::Read { session, path, reply } => {
                        assert_eq!((session.as_str(), path), ("mine", lab.workspace.join("a")));
                        reply.send(Ok("one\nthree\n".to_owned())).unwrap();
                    }
                    EditorRequest::Write { content, reply, .. } => {
                        assert_eq!(content, "one\n3\n");
                        reply.send(Err("the buffer is locked".to_owned())).unwrap();
                    }
                    EditorRequest::GivenUp => unreachable!("each is answered"),
                }
            }
        };
        let edit = |old: &str| json!({"path": "a", "old_string": old, "new_string": "3"});
        let work = async {
            let read = run(lab, &toolbox, "read_file", json!({"path": "a"})).await;
            assert_eq!(read.content, "     1\tone\n     2\tthree\n");
            let outcome = run(lab, &toolbox, "edit_file", edit("two")).await;
            assert!(outcome.content.contains("was not changed"), "{}", outcome.content);
            let outcome = run(lab, &toolbox, "edit_file", edit("three")).await;
            assert!(outcome.content.contains("the buffer is locked"), "{}", outcome.content);
        };
        tokio::select! {
            () = answers => unreachable!("the editor lives on"),
            () = work => {}
        }
        assert_eq!(std::fs::read_to_string(lab.workspace.join("a")).unwrap(), "one\ntwo\n");
    });
}

#[test]
fn a_write_that_was_not_answered_is_given_up_and_said() {
    lab(async |lab| {
        lab.write("a", "one\n");
        let (editor, mut asked) = Editor::new(true, true);
        let toolbox = through(lab, editor.patient_for(Duration::from_millis(500)));
        let answers = async {
            let Some(EditorRequest::Read { reply, .. }) = asked.recv().await else { panic!() };
            reply.send(Ok("one\n".to_owned())).unwrap();
            let Some(EditorRequest::Write { reply, .. }) = asked.recv().await else { panic!() };
            let Some(EditorRequest::GivenUp) = asked.recv().await else { panic!() };
            assert!(reply.is_closed());
        };
        let write = run(lab, &toolbox, "write_file", json!({"path": "a", "content": "b"}));
        let (outcome, ()) = tokio::join!(write, answers);
        let said = "the editor did not say within 0.5s whether it wrote";
        assert!(outcome.is_error && outcome.content.contains(said), "{}", outcome.content);
    });
}

#[test]
fn what_an_editor_neither_has_nor_takes_is_written_to_the_disk() {
    lab(async |lab| {
        let (editor, mut asked) = Editor::new(true, true);
        let toolbox = through(lab, editor);
        let answers = async {
            while let Some(request) = asked.recv().await {
                match request {
                    EditorRequest::Read { reply, .. } => {
                        reply.send(Err("outside of the project".to_owned())).unwrap();
                    }
                    EditorRequest::Write { reply, .. } => {
                        reply.send(Err("outside of the project".to_owned())).unwrap();
                    }
                    EditorRequest::GivenUp => {}
                }
            }
        };
        let write = run(lab, &toolbox, "write_file", json!({"path": "a", "content": "b"}));
        tokio::select! {
            () = answers => unreachable!("the editor lives on"),
            outcome = write => assert!(!outcome.is_error, "{}", outcome.content),
        }
        assert_eq!(std::fs::read_to_string(lab.workspace.join("a")).unwrap(), "b");
    });
}
