use std::path::PathBuf;
use std::time::Duration;

use meanwhile_core::background::task::{
    End, Exit, Outcome, OutputStat, State, Task as CoreTask, Timestamp,
};
use tokio::sync::mpsc;

use super::*;
use crate::convert::to_wire;
use crate::peer::frame::{Decoder, Framing};

fn task(state: State) -> CoreTask {
    CoreTask {
        id: "0123abcd".parse().unwrap(),
        workspace: PathBuf::from("/w"),
        queue: "q".to_owned(),
        label: None,
        command: format!("{}\nsecond line", "x".repeat(100)),
        cwd: PathBuf::from("/w"),
        pid: None,
        state,
        created_at: Timestamp(0),
        deadline: None,
        output: OutputStat::default(),
        progress: None,
        survivors: vec![],
        is_step: false,
        on: None,
        contact: None,
        job: None,
        delivered: None,
        serving: Default::default(),
        waits_for_input: false,
    }
}

fn ended(outcome: Outcome, exit: Exit) -> CoreTask {
    let duration = Duration::from_millis(1_250);
    task(State::Ended(End { outcome, exit, cause: None, at: Timestamp(0), duration }))
}

fn half() -> ProgressPush {
    ProgressPush { id: "0123abcd".to_owned(), percent: Some(50), message: None }
}

/// The messages that were sent.
async fn sent(outbox: Outbox) -> Vec<Value> {
    outbox.close();
    let (written, _leases) = mpsc::unbounded_channel();
    let mut decoder = Decoder::new(Framing::ContentLength);
    outbox.write_to(decoder.space(), written).await.unwrap();
    let mut messages = Vec::new();
    while let Some(body) = decoder.next() {
        messages.push(serde_json::from_slice(body.unwrap()).unwrap());
    }
    messages
}

fn progress(token: Value, value: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "$/progress", "params": {"token": token, "value": value}})
}

#[tokio::test]
async fn a_client_s_token_is_used_from_the_begin_to_the_end() {
    let (outbox, progresses) = (Outbox::new(Framing::ContentLength), Progresses::default());
    let running = task(State::Running);
    let token = ProgressToken::Number(7);
    let follow = Follow::new(&running, Some(token.clone())).unwrap();
    progresses.follow(follow, &outbox);
    progresses.report(&half(), &outbox);
    let said = ProgressPush { percent: None, message: Some("linking".to_owned()), ..half() };
    progresses.report(&said, &outbox);
    progresses.end(&to_wire::task(&ended(Outcome::Exited, Exit::Code(3))), &outbox);
    assert_eq!(progresses.cancel(&token), None);
    progresses.report(&half(), &outbox);
    let title = "x".repeat(80);
    assert_eq!(
        sent(outbox).await,
        [
            progress(json!(7), json!({"kind": "begin", "title": title, "cancellable": true})),
            progress(json!(7), json!({"kind": "report", "percentage": 50, "message": "50%"})),
            progress(json!(7), json!({"kind": "report", "message": "linking"})),
            progress(json!(7), json!({"kind": "end", "message": "exited 3 after 1.2s"})),
        ]
    );
}

#[tokio::test]
async fn a_client_without_a_token_is_asked_for_one() {
    let (outbox, progresses) = (Outbox::new(Framing::ContentLength), Progresses::default());
    let running = task(State::Running);
    let token = "meanwhile/0123abcd";
    progresses.follow(Follow::new(&running, None).unwrap(), &outbox);
    // The spawn was repeated with its `clientToken`: the client was already asked.
    progresses.follow(Follow::new(&running, None).unwrap(), &outbox);
    progresses.report(&half(), &outbox);
    assert!(progresses.created(token, true, &outbox));
    progresses.end(&to_wire::task(&ended(Outcome::Stopped, Exit::Signal(15))), &outbox);
    assert!(!progresses.created("theirs", true, &outbox));
    let title = "x".repeat(80);
    assert_eq!(
        sent(outbox).await,
        [
            json!({
                "jsonrpc": "2.0", "id": token, "method": "window/workDoneProgress/create",
                "params": {"token": token},
            }),
            progress(json!(token), json!({"kind": "begin", "title": title, "cancellable": true})),
            progress(json!(token), json!({"kind": "end", "message": "stopped after 1.2s"})),
        ]
    );
}

#[tokio::test]
async fn a_client_that_refuses_or_answers_late_sees_nothing() {
    for late in [false, true] {
        let (outbox, progresses) = (Outbox::new(Framing::ContentLength), Progresses::default());
        progresses.follow(Follow::new(&task(State::Running), None).unwrap(), &outbox);
        if late {
            progresses.end(&to_wire::task(&ended(Outcome::Exited, Exit::Code(0))), &outbox);
        }
        assert!(progresses.created("meanwhile/0123abcd", late, &outbox));
        progresses.end(&to_wire::task(&ended(Outcome::Exited, Exit::Code(0))), &outbox);
        assert_eq!(sent(outbox).await.len(), 1, "no more than the question");
    }
}

#[tokio::test]
async fn a_progress_is_cancelled_once_unless_that_failed() {
    let (outbox, progresses) = (Outbox::new(Framing::ContentLength), Progresses::default());
    let running = task(State::Running);
    let token = ProgressToken::Number(7);
    assert_eq!(progresses.cancel(&token), None);
    progresses.follow(Follow::new(&running, Some(token.clone())).unwrap(), &outbox);
    assert_eq!(progresses.cancel(&token), Some(running.id));
    assert_eq!(progresses.cancel(&token), None, "it is being stopped");
    progresses.not_cancelled(&token);
    assert_eq!(progresses.cancel(&token), Some(running.id));
    progresses.end(&to_wire::task(&ended(Outcome::Stopped, Exit::Signal(15))), &outbox);
    progresses.not_cancelled(&token);
    assert_eq!(progresses.cancel(&token), None, "it is not shown any more");
    assert_eq!(sent(outbox).await.len(), 2);
}

#[tokio::test]
async fn a_token_shows_one_thing_at_a_time() {
    let (outbox, progresses) = (Outbox::new(Framing::ContentLength), Progresses::default());
    let running = task(State::Running);
    let token = ProgressToken::Number(7);
    let follow = || Follow::new(&running, Some(token.clone())).unwrap();
    progresses.follow(follow(), &outbox);
    progresses.follow(follow(), &outbox);
    let other = CoreTask { id: "ffffffff".parse().unwrap(), ..running.clone() };
    progresses.follow(Follow::new(&other, Some(token.clone())).unwrap(), &outbox);
    progresses.end(&to_wire::task(&ended(Outcome::Exited, Exit::Code(0))), &outbox);
    progresses.follow(Follow::new(&other, Some(token.clone())).unwrap(), &outbox);
    let kinds: Vec<Value> =
        sent(outbox).await.iter().map(|it| it["params"]["value"]["kind"].clone()).collect();
    assert_eq!(kinds, ["begin", "end", "begin"]);
}

#[test]
fn a_task_that_has_ended_is_not_followed() {
    assert!(Follow::new(&ended(Outcome::Lost, Exit::Unknown), None).is_none());
}

#[test]
fn every_end_is_described() {
    for (outcome, exit, expect) in [
        (Outcome::Exited, Exit::Code(0), "exited 0 after 1.2s"),
        (Outcome::Exited, Exit::Signal(9), "ended by SIGKILL after 1.2s"),
        (Outcome::Stopped, Exit::Signal(15), "stopped after 1.2s"),
        (Outcome::TimedOut, Exit::Signal(15), "timed out after 1.2s"),
        (Outcome::Lost, Exit::Unknown, "lost after 1.2s"),
    ] {
        assert_eq!(describe(&to_wire::task(&ended(outcome, exit))), expect);
    }
}
