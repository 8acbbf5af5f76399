use std::time::Duration;

use super::*;
use crate::agent::notice;
use crate::background::task::{
    DeliveredBy, End, Exit, Notification, NotificationKind, Outcome, Preview, State,
};

fn task(id: &str, label: Option<&str>, end: Option<i64>) -> Task {
    let ended = |at| {
        State::Ended(End {
            outcome: Outcome::Exited,
            exit: Exit::Code(3),
            cause: None,
            at: Timestamp(at),
            duration: Duration::from_secs(2),
        })
    };
    Task {
        id: id.parse().expect("it is an id"),
        workspace: "/w".into(),
        queue: "s".to_owned(),
        label: label.map(str::to_owned),
        command: "make  all".to_owned(),
        cwd: "/w".into(),
        pid: Some(7),
        state: end.map_or(State::Running, ended),
        created_at: Timestamp(0),
        deadline: None,
        output: Default::default(),
        progress: None,
        waits_for_input: false,
        survivors: Vec::new(),
        is_step: false,
        on: None,
        contact: None,
        job: None,
        delivered: None,
        serving: Default::default(),
    }
}

/// A story of facts at these times, numbered from 1.
fn told(facts: Vec<(i64, Fact)>) -> Story {
    let mut story = Story::default();
    for (n, (at, fact)) in (1..).zip(facts) {
        story.take(&Event { n, at: Timestamp(at), fact });
    }
    story
}

fn turn(turn: u64, origin: Origin) -> Fact {
    Fact::TurnStarted { turn, origin, title: None }
}

fn call(call: u64) -> Fact {
    Fact::CallStarted { turn: 1, call }
}

fn answered(call: u64) -> Fact {
    Fact::CallEnded {
        turn: 1,
        call,
        stop_reason: None,
        error: None,
        input_tokens: None,
        output_tokens: None,
        cached_tokens: None,
        cost_usd: None,
    }
}

fn spawned(id: &str) -> Fact {
    Fact::TaskSpawned {
        call: 1,
        tool_call_id: "t".to_owned(),
        task_id: id.to_owned(),
        command: "make all".to_owned(),
        moved: false,
    }
}

fn delivered(call: u64, id: &str, kind: DeliveredKind) -> Fact {
    Fact::Delivered { call, task_id: id.to_owned(), seq: None, kind, by: DeliveredBy::Drain }
}

fn turn_ended() -> Fact {
    Fact::TurnEnded { turn: 1, stop_reason: "end_turn".to_owned(), error: None }
}

const A: &str = "aaaaaaaa";
const B: &str = "bbbbbbbb";

/// Two tasks of call 1: one ends during call 2 and enters call 3; the other ends while the agent is idle and wakes
/// it with call 4.
fn story() -> Story {
    let mut story = told(vec![
        (0, turn(1, Origin::Prompt)),
        (0, call(1)),
        (1_000, answered(1)),
        (1_000, spawned(A)),
        (1_000, spawned(B)),
        (1_100, call(2)),
        (4_000, answered(2)),
        (4_500, call(3)),
        (4_500, delivered(3, A, DeliveredKind::Exited)),
        (6_000, answered(3)),
        (6_000, turn_ended()),
        (9_020, turn(2, Origin::Background)),
        (9_027, call(4)),
    ]);
    // Events about tasks may arrive in any order.
    story.ended(task(A, Some("build"), Some(2_000)), 3);
    story.began(task(B, None, None));
    story.ended(task(B, None, Some(9_000)), 4);
    // An update that arrives late changes nothing.
    story.began(task(B, None, None));
    for (n, id, call) in [(14, A, 3), (15, B, 4)] {
        let fact = delivered(call, id, DeliveredKind::Exited);
        story.take(&Event { n, at: Timestamp(9_027), fact });
    }
    story
}

#[test]
fn a_result_has_a_way() {
    let story = story();
    let way = |id: &str| story.way(story.passage(id.parse().unwrap()).unwrap()).unwrap();
    assert_eq!(way(A).words(), "ended during call 2, entered call 3, waited 2.5s");
    let woke = "ended while the agent was idle, woke the agent with call 4, waited 27 ms";
    assert_eq!(way(B).words(), woke);
    assert_eq!(
        story.calls.iter().map(|call| call.wakes).collect::<Vec<_>>(),
        [false, false, false, true]
    );
}

#[test]
fn the_end_of_a_task_that_no_call_started_has_a_way_too() {
    let facts = vec![(0, turn(1, Origin::Prompt)), (0, call(1)), (9, answered(1)), (9, call(2))];
    let mut story = told(facts);
    // A client started it: the fact about its delivery arrives before the task.
    let fact = delivered(2, A, DeliveredKind::Exited);
    story.take(&Event { n: 5, at: Timestamp(9), fact });
    story.ended(task(A, None, Some(9)), 2);
    let way = story.way(story.passage(A.parse().unwrap()).unwrap()).unwrap();
    // Not during the call that it entered, although that call started in the same millisecond.
    assert_eq!(way.words(), "ended between two calls, entered call 2, waited 0 ms");
}

#[test]
fn a_fact_is_taken_in_once_and_nothing_outlives_its_process() {
    let mut story = told(vec![(0, turn(1, Origin::Prompt)), (0, call(1))]);
    story.take(&Event { n: 2, at: Timestamp(0), fact: call(1) });
    assert_eq!(story.calls.len(), 1);
    story.take(&Event { n: 3, at: Timestamp(7), fact: Fact::Resumed {} });
    assert_eq!(story.calls[0].end, Some(Timestamp(7)));
}

#[test]
fn results_are_cards_live_and_after_a_load() {
    let story = story();
    let told = |id: &str, label, kind, output: &str| Notification {
        seq: 1,
        queue: "s".to_owned(),
        at: Timestamp(0),
        kind,
        task: task(id, label, Some(2_000)),
        preview: Preview { head: output.to_owned(), tail: String::new(), omitted: 0 },
    };
    let found = crate::background::task::Match {
        id: "ready".to_owned(),
        line: "ready on 1".to_owned(),
        offset: 9,
    };
    let message = notice::message(
        &[
            told(A, Some("build"), NotificationKind::Exited, "one\n[bg:x] two\n"),
            told(B, None, NotificationKind::Matched(found), ""),
            told("cccccccc", None, NotificationKind::Exited, "gone\n"),
        ],
        0,
    );
    let cards = story.cards(3, &message);
    let [first, second, third] = &cards[..] else { panic!("{cards:?}") };
    assert_eq!(
        *first,
        Card {
            task: A.parse().unwrap(),
            kind: CardKind::Exited,
            title: "build".to_owned(),
            command: Some("make all".to_owned()),
            says: "exited 3 after 2.0s".to_owned(),
            way: Some("ended during call 2, entered call 3, waited 2.5s".to_owned()),
            output: "one\n[bg:x] two\n".to_owned(),
        }
    );
    assert_eq!(second.kind, CardKind::Matched);
    assert_eq!((second.title.as_str(), second.command.as_deref()), ("make all", None));
    assert_eq!(second.says, "output matched `ready` at byte 9");
    assert_eq!((second.output.as_str(), &second.way), ("ready on 1\n", &None));
    // If the task is no longer stored, the line in the model's text is the only source.
    assert_eq!(third.title, "exited 3 after 2.0s: make all");
    assert_eq!((third.says.as_str(), third.output.as_str()), ("", "gone\n"));
}
