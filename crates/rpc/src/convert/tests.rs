use std::path::PathBuf;
use std::time::Duration;

use meanwhile_core::background::Chunk;
use meanwhile_core::background::task::{
    Actor, Ahead, Cause, Delivered, DeliveredBy, End, Exit, Match, Notification, NotificationKind,
    Outcome, OutputStat, Preview, Progress, Queued, State, Survivor, Task, Timestamp, Wait,
};
use serde_json::{Value, json};

use super::{error, hint, to_wire};
use crate::wire::{self, Encoding};

fn task(state: State) -> Task {
    Task {
        id: "0123abcd".parse().unwrap(),
        workspace: PathBuf::from("/w"),
        queue: "q".to_owned(),
        label: None,
        command: "true".to_owned(),
        cwd: PathBuf::from("/w/sub"),
        pid: None,
        state,
        created_at: Timestamp(1_000),
        deadline: None,
        output: OutputStat { total: 5, dropped: 2 },
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

fn ended(outcome: Outcome, exit: Exit, actor: Option<Actor>) -> State {
    let cause = actor.map(|actor| Cause { actor, message: "why".to_owned() });
    State::Ended(End {
        outcome,
        exit,
        cause,
        at: Timestamp(93_400),
        duration: Duration::from_micros(92_400_999),
    })
}

#[track_caller]
fn shows(state: State, expect: &Value) {
    let task = Task { pid: Some(7), ..task(state) };
    let mut shown = serde_json::to_value(to_wire::task(&task)).unwrap();
    shown.as_object_mut().unwrap().remove("shown").expect("each is told in words");
    let mut all = json!({
        "pid": 7, "id": "0123abcd", "workspace": "/w", "queue": "q", "command": "true", "cwd": "/w/sub",
        "createdAt": "1970-01-01T00:00:01.000Z", "output": {"total": 5, "dropped": 2},
    });
    all.as_object_mut().unwrap().extend(expect.as_object().unwrap().clone());
    assert_eq!(shown, all);
}

#[test]
fn a_task_in_the_queue_of_a_session_is_an_agents() {
    let check = |queue: &str, agent: bool| {
        let task = Task { queue: queue.to_owned(), ..task(State::Running) };
        assert_eq!(to_wire::task(&task).agent, agent, "{queue}");
    };
    check("0f9c1b2e-0000-4000-8000-000000000001", true);
    check("0f9c1b2e000040008000000000000001", false);
    check("default", false);
    check("{0f9c1b2e-0000-4000-8000-000000000001", false);
}

#[test]
fn a_task_that_waits_says_for_what_and_one_that_never_ran_has_no_status() {
    let shown = |state| serde_json::to_value(to_wire::task(&task(state))).unwrap();
    let queued =
        |reason, left| shown(State::Queued(Queued { since: Timestamp(1_000), reason, left }));
    let at = "1970-01-01T00:00:01.000Z";
    let title = Some("cargo  test\n--all".to_owned());
    let behind = Some(Ahead { id: "feedc0de".parse().unwrap(), title });
    let wait = Wait::Slot { name: "build".to_owned(), position: 2, behind };
    let slot = queued(wait, Some(Duration::from_secs(40)));
    let reason = json!({"slot": "build", "behind": "feedc0de", "title": "cargo test --all"});
    let expected = json!({"since": at, "reason": reason, "position": 2, "leftMs": 40_000});
    assert_eq!(slot["queued"], expected);
    assert_eq!(slot["state"], "queued");
    let after = queued(Wait::After(vec!["feedc0de".parse().unwrap()]), None);
    assert_eq!(after["queued"], json!({"since": at, "reason": {"after": ["feedc0de"]}}));
    for (outcome, has_status) in
        [(Outcome::Stopped, false), (Outcome::TimedOut, false), (Outcome::Lost, true)]
    {
        let task = shown(ended(outcome, Exit::Unknown, Some(Actor::Client)));
        assert_eq!(task.get("exit").is_some(), has_status, "{task}");
    }
}

#[test]
fn every_state_is_shown() {
    shows(State::Running, &json!({"state": "running"}));
    let cause = Cause { actor: Actor::Agent, message: "enough".to_owned() };
    shows(
        State::Stopping { cause },
        &json!({"state": "stopping", "cause": {"actor": "agent", "message": "enough"}}),
    );
    let at = json!({"endedAt": "1970-01-01T00:01:33.400Z", "durationMs": 92_400});
    let check = |state: State, expect: Value| {
        let mut expect = expect;
        expect.as_object_mut().unwrap().extend(at.as_object().unwrap().clone());
        shows(state, &expect);
    };
    check(
        ended(Outcome::Exited, Exit::Code(3), None),
        json!({"state": "exited", "exit": {"code": 3, "signal": null}}),
    );
    check(
        ended(Outcome::Exited, Exit::Signal(libc::SIGKILL), None),
        json!({"state": "exited", "exit": {"code": null, "signal": "SIGKILL"}}),
    );
    for (outcome, state) in
        [(Outcome::Stopped, "stopped"), (Outcome::TimedOut, "timedOut"), (Outcome::Lost, "lost")]
    {
        for (actor, name) in [
            (Actor::Client, "client"),
            (Actor::Agent, "agent"),
            (Actor::Deadline, "deadline"),
            (Actor::Linger, "linger"),
            (Actor::Limit, "limit"),
            (Actor::Dependency, "dependency"),
            (Actor::Engine, "engine"),
            (Actor::Daemon, "daemon"),
        ] {
            check(
                ended(outcome, Exit::Unknown, Some(actor)),
                json!({
                    "state": state, "exit": {"code": null, "signal": null},
                    "cause": {"actor": name, "message": "why"},
                }),
            );
        }
    }
}

/// The texts that every client shows: outcome, status, and how the task ended.
#[test]
fn a_task_is_told_in_words() {
    let check = |task: Task, expect: [&str; 4]| {
        let shown = to_wire::shown(&task);
        let outcome = serde_json::to_value(shown.outcome).unwrap();
        let ended = shown.ended.unwrap_or_default();
        assert_eq!(
            [shown.title.as_str(), outcome.as_str().unwrap(), &shown.stands, &ended],
            expect
        );
        assert_eq!(shown.took, task.end().map(|_| "1m 32s".to_owned()), "{task:?}");
    };
    let ran = |state| Task { pid: Some(7), ..task(state) };
    let cause = Cause { actor: Actor::Client, message: "why".to_owned() };
    let line = Wait::After(vec!["feedc0de".parse().unwrap()]);
    let queued = State::Queued(Queued { since: Timestamp(0), reason: line, left: None });
    let progress = Some(Progress { percent: Some(4), message: None });
    check(task(queued), ["true", "queued", "queued, after feedc0de", ""]);
    check(Task { progress, ..ran(State::Running) }, ["true", "running", "running", ""]);
    check(ran(State::Stopping { cause }), ["true", "stopping", "stopping, by client", ""]);
    let label = Some("two\n words\x1b".to_owned());
    check(
        Task { label, ..ran(ended(Outcome::Exited, Exit::Code(0), None)) },
        ["two words\u{fffd}", "succeeded", "exit 0", "exited 0 after 1m 32s"],
    );
    let long = to_wire::shown(&Task { command: "x y ".repeat(10_000), ..task(State::Running) });
    assert_eq!((long.title.len(), long.title.ends_with("...")), (240, true));
    for (outcome, exit, actor, [word, stands, told]) in [
        (Outcome::Exited, Exit::Code(3), None, ["failed", "exit 3", "exited 3 after 1m 32s"]),
        (
            Outcome::Exited,
            Exit::Signal(libc::SIGKILL),
            Some(Actor::Limit),
            ["failed", "SIGKILL", "ended by SIGKILL after 1m 32s (why)"],
        ),
        (
            Outcome::Exited,
            Exit::Unknown,
            None,
            ["failed", "no exit status", "ended without an exit status after 1m 32s"],
        ),
        (
            Outcome::Stopped,
            Exit::Signal(libc::SIGTERM),
            Some(Actor::Client),
            ["stopped", "stopped by client", "stopped by client after 1m 32s"],
        ),
        (
            Outcome::Stopped,
            Exit::Signal(libc::SIGTERM),
            Some(Actor::Linger),
            ["stopped", "stopped by linger time", "stopped by linger time after 1m 32s (why)"],
        ),
        (
            Outcome::TimedOut,
            Exit::Signal(libc::SIGTERM),
            Some(Actor::Deadline),
            ["timedOut", "timed out", "timed out after 1m 32s"],
        ),
        (
            Outcome::Lost,
            Exit::Unknown,
            Some(Actor::Daemon),
            ["lost", "lost", "was lost after 1m 32s (why)"],
        ),
    ] {
        check(ran(ended(outcome, exit, actor)), ["true", word, stands, told]);
    }
    let skipped = ended(Outcome::Stopped, Exit::Unknown, Some(Actor::Dependency));
    check(task(skipped), ["true", "stopped", "skipped", "skipped before it started (why)"]);
    let expired = ended(Outcome::TimedOut, Exit::Unknown, Some(Actor::Deadline));
    check(task(expired), ["true", "timedOut", "timed out", "timed out before it started"]);
}

#[test]
fn a_list_is_in_the_order_of_its_tasks() {
    let at = |state, seconds: i64| Task { created_at: Timestamp(seconds * 1_000), ..task(state) };
    let over = |seconds| at(ended(Outcome::Exited, Exit::Code(0), None), seconds);
    let cause = Cause { actor: Actor::Client, message: "why".to_owned() };
    let expect = [
        Task { waits_for_input: true, ..at(State::Running, 3) },
        at(State::Running, 1_795_000_000),
        at(State::Stopping { cause }, 2),
        at(State::Running, 1),
        Task { waits_for_input: true, ..over(1_795_000_001) },
        over(9),
        over(8),
    ];
    let orders = expect.map(|task| to_wire::shown(&task).order);
    assert!(orders.is_sorted(), "{orders:?}");
    let id = |id: &str| to_wire::shown(&Task { id: id.parse().unwrap(), ..over(9) }).order;
    assert_ne!(
        id("0123abcd"),
        id("89abcdef"),
        "the order of two tasks never depends on the client"
    );
}

#[test]
fn a_notice_is_as_urgent_as_the_state() {
    let stopped = |actor| ended(Outcome::Stopped, Exit::Signal(libc::SIGTERM), Some(actor));
    let exited = |exit| ended(Outcome::Exited, exit, None);
    let lost = ended(Outcome::Lost, Exit::Unknown, Some(Actor::Daemon));
    let late = ended(Outcome::TimedOut, Exit::Unknown, Some(Actor::Deadline));
    for (state, waits_for_input, expect) in [
        (State::Running, false, None),
        (State::Running, true, Some(wire::NoticeLevel::Warning)),
        (exited(Exit::Code(0)), false, Some(wire::NoticeLevel::Info)),
        (stopped(Actor::Client), false, Some(wire::NoticeLevel::Info)),
        (stopped(Actor::Agent), false, Some(wire::NoticeLevel::Info)),
        (stopped(Actor::Linger), false, Some(wire::NoticeLevel::Warning)),
        (stopped(Actor::Dependency), false, Some(wire::NoticeLevel::Warning)),
        (exited(Exit::Code(1)), false, Some(wire::NoticeLevel::Error)),
        (late, false, Some(wire::NoticeLevel::Error)),
        (lost, false, Some(wire::NoticeLevel::Error)),
    ] {
        let task = Task { waits_for_input, ..task(state) };
        assert_eq!(to_wire::shown(&task).notice, expect, "{task:?}");
        let step = Task { is_step: true, ..task };
        assert_eq!(to_wire::shown(&step).notice, None, "the agent waits for it");
    }
}

#[test]
fn everything_optional_is_shown_where_it_is_there() {
    let full = Task {
        label: Some("build".to_owned()),
        pid: Some(7),
        deadline: Some(Duration::from_secs(2)),
        progress: Some(Progress { percent: Some(40), message: Some("40%".to_owned()) }),
        survivors: vec![Survivor { pid: 8, command: "sleep 9".to_owned() }],
        is_step: false,
        on: None,
        contact: None,
        job: None,
        delivered: Some(Delivered { at: Timestamp(0), by: DeliveredBy::Wait, turn: Some(3) }),
        ..task(State::Running)
    };
    let shown = serde_json::to_value(to_wire::task(&full)).unwrap();
    assert_eq!(shown["label"], "build");
    assert_eq!(shown["pid"], 7);
    assert_eq!(shown["deadlineMs"], 2_000);
    assert_eq!(shown["progress"], json!({"percent": 40, "message": "40%"}));
    assert_eq!(shown["survivors"], json!([{"pid": 8, "command": "sleep 9"}]));
    let delivered = json!({"at": "1970-01-01T00:00:00.000Z", "by": "wait", "turn": 3});
    assert_eq!(shown["delivered"], delivered);
}

#[test]
fn every_kind_of_notification_is_shown() {
    let found = Match { id: "ready".to_owned(), line: "ready".to_owned(), offset: 9 };
    for (kind, name, expect) in [
        (NotificationKind::Exited, "exited", Value::Null),
        (NotificationKind::Stalled, "stalled", Value::Null),
        (
            NotificationKind::Matched(found),
            "matched",
            json!({"id": "ready", "line": "ready", "offset": 9}),
        ),
    ] {
        let notification = Notification {
            seq: 4,
            queue: "q".to_owned(),
            at: Timestamp(0),
            kind,
            task: task(State::Running),
            preview: Preview { head: "a".to_owned(), tail: "z".to_owned(), omitted: 24 },
        };
        let shown = serde_json::to_value(to_wire::notification(&notification)).unwrap();
        assert_eq!(shown["kind"], name);
        assert_eq!(shown["seq"], 4);
        assert_eq!(shown["preview"], json!({"head": "a", "tail": "z", "omitted": 24}));
        assert_eq!(shown.get("match").cloned().unwrap_or_default(), expect);
        assert_eq!(shown["task"]["id"], "0123abcd");
    }
}

#[test]
fn times_that_cannot_be_written_are_clamped() {
    for (ms, text) in [
        (i64::MIN, "1970-01-01T00:00:00.000Z"),
        (1_764_000_000_007, "2025-11-24T16:00:00.007Z"),
        (i64::MAX, "9999-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(to_wire::time(Timestamp(ms)).0, text);
    }
}

#[test]
fn text_never_ends_inside_a_character_before_the_end() {
    let chunk = |data: &[u8], eof| Chunk {
        offset: 10,
        data: data.to_vec(),
        next_offset: 10 + data.len() as u64,
        eof,
        gap: Some((3, 10)),
    };
    let check = |data: &[u8], eof, text: &str, next| {
        let read = to_wire::read(chunk(data, eof), Encoding::Utf8);
        assert_eq!((read.data.as_str(), read.next_offset), (text, next), "{data:?}");
        assert_eq!(read.gap.map(|gap| (gap.from, gap.to)), Some((3, 10)));
    };
    check("aé".as_bytes(), false, "aé", 13);
    check(b"a\xc3", false, "a", 11);
    check(b"a\xc3", true, "a\u{fffd}", 12);
    check(b"a\xf0\x9f\x98", false, "a", 11);
    check(b"a\xff", false, "a\u{fffd}", 12);
    check(b"a\xe0\x80", false, "a\u{fffd}\u{fffd}", 13);
    // Only the start of a character: returning U+FFFD is better than no progress.
    check(b"\xc3", false, "\u{fffd}", 11);
    check(b"", false, "", 10);

    let read = to_wire::read(chunk(b"a\xc3", false), Encoding::Base64);
    assert_eq!((read.data.as_str(), read.next_offset), ("YcM=", 12));
}

#[test]
fn a_tail_never_begins_inside_a_character() {
    let tail = |offset, data: &[u8]| {
        let chunk = Chunk { offset, data: data.to_vec(), ..Chunk::default() };
        let tail = to_wire::tail(&chunk);
        (tail.text, tail.offset)
    };
    assert_eq!(tail(5, b"\x98\x80ab"), ("ab".to_owned(), 7));
    assert_eq!(tail(0, b"\x80a"), ("\u{fffd}a".to_owned(), 0));
    assert_eq!(tail(5, b"ab"), ("ab".to_owned(), 5));
}

#[test]
fn errors_carry_their_code_and_data() {
    use meanwhile_core::{Culprit, Error, Limit, StoreFaultKind};
    let id = "0123abcd".parse().unwrap();
    let limit = Error::LimitReached { limit: Limit::RunningTasks, message: "full".to_owned() };
    let spawn = Error::SpawnFailed {
        command: "x".to_owned(),
        culprit: Culprit::Program,
        errno: libc::ENOENT,
    };
    let field = Error::Invalid { field: "watch[0].pattern".to_owned(), message: "x".to_owned() };
    for (error, code, data) in [
        (field, -32602, json!({"kind": "invalidParams", "field": "watch[0].pattern"})),
        (Error::UnknownTask(id), 1001, json!({"kind": "unknownTask"})),
        (spawn, 1002, json!({"kind": "spawnFailed", "errno": 2})),
        (limit, 1003, json!({"kind": "limitReached", "limit": "runningTasks", "retryable": true})),
        (Error::NotRunning { id, message: "x".to_owned() }, 1004, json!({"kind": "notRunning"})),
        (Error::CannotConfine("x".to_owned()), 1009, json!({"kind": "cannotConfine"})),
        (
            Error::unavailable(StoreFaultKind::Newer, "x"),
            1005,
            json!({"kind": "storeUnavailable", "retryable": true}),
        ),
    ] {
        let shown = error::from_core(&error);
        assert_eq!((shown.code, shown.data), (code, Some(data)), "{error}");
        let advice = match hint::core(&error) {
            Some(advice) => format!("; {advice}"),
            None => String::new(),
        };
        assert_eq!(shown.message, format!("{error}{advice}"));
    }
    let unknown = error::from_core(&Error::UnknownTask(id)).message;
    assert_eq!(
        unknown,
        "no task `0123abcd` in this workspace; `task/check` without an id lists them"
    );
    let newer = error::from_core(&Error::unavailable(StoreFaultKind::Newer, "x")).message;
    let expected =
        "store unavailable: x; update meanwhile, or set MEANWHILE_STATE_DIR to another directory";
    assert_eq!(newer, expected);
}
