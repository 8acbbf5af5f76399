use super::*;
use crate::agent::trace::Journey;
use crate::background::task::{Actor, Cause, Delivered, End, Exit, Outcome, Queued, Serving, Wait};

const A: &str = "aaaaaaaa";
const B: &str = "bbbbbbbb";

fn task(id: &str, asked: i64, end: Option<End>) -> Task {
    Task {
        id: id.parse().expect("it is an id"),
        workspace: "/w".into(),
        queue: "s".to_owned(),
        label: None,
        command: format!("run {}", &id[..1]),
        cwd: "/w".into(),
        pid: Some(7),
        state: end.map_or(State::Running, State::Ended),
        created_at: Timestamp(asked),
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

fn end(at: i64, ran: u64, outcome: Outcome, exit: Exit, actor: Option<Actor>) -> End {
    let cause = actor.map(|actor| Cause { actor, message: "why".to_owned() });
    End { outcome, exit, cause, at: Timestamp(at), duration: Duration::from_millis(ran) }
}

fn exited(at: i64, ran: u64, code: i32) -> Option<End> {
    Some(end(at, ran, Outcome::Exited, Exit::Code(code), None))
}

fn facts(facts: Vec<(i64, Fact)>) -> Vec<Event> {
    (1..).zip(facts).map(|(n, (at, fact))| Event { n, at: Timestamp(at), fact }).collect()
}

fn turn(turn: u64, origin: Origin) -> Fact {
    Fact::TurnStarted { turn, origin, title: Some("build\nit".to_owned()) }
}

fn turn_ended(turn: u64) -> Fact {
    Fact::TurnEnded { turn, stop_reason: "end_turn".to_owned(), error: None }
}

fn call(call: u64) -> Fact {
    Fact::CallStarted { turn: 1, call }
}

fn answered(call: u64, error: Option<&str>) -> Fact {
    Fact::CallEnded {
        turn: 1,
        call,
        stop_reason: error.is_none().then(|| "tool_use".to_owned()),
        error: error.map(str::to_owned),
        input_tokens: Some(1_204),
        output_tokens: Some(5),
        cached_tokens: Some(1_000),
        cost_usd: Some(0.001),
    }
}

fn tool(call: u64, id: &str) -> Fact {
    Fact::ToolStarted {
        call,
        tool_call_id: id.to_owned(),
        name: "background_run".to_owned(),
        title: "run a".to_owned(),
    }
}

fn tool_ended(id: &str) -> Fact {
    Fact::ToolEnded { tool_call_id: id.to_owned(), is_error: false }
}

fn spawned(id: &str) -> Fact {
    Fact::TaskSpawned {
        call: 1,
        tool_call_id: "t".to_owned(),
        task_id: id.to_owned(),
        command: "run a".to_owned(),
        moved: false,
    }
}

fn delivered(call: u64, id: &str, by: DeliveredBy) -> Fact {
    let kind = DeliveredKind::Exited;
    Fact::Delivered { call, task_id: id.to_owned(), seq: None, kind, by }
}

/// A task of 8 s starts at 2 s, and its result enters the third call at 12 s.
fn story() -> (Vec<Event>, Task) {
    let events = facts(vec![
        (0, turn(1, Origin::Prompt)),
        (0, call(1)),
        (2_000, answered(1, None)),
        (2_000, tool(1, "t")),
        (2_000, spawned(A)),
        (3_000, tool_ended("t")),
        (3_000, call(2)),
        (12_000, answered(2, Some("overloaded"))),
        (12_000, delivered(3, A, DeliveredBy::Drain)),
        (12_000, call(3)),
        (14_000, answered(3, None)),
        (14_000, turn_ended(1)),
    ]);
    (events, task(A, 2_000, exited(10_000, 8_000, 1)))
}

fn trace(events: Vec<Event>, tasks: &[Task]) -> Trace {
    let journey = |task: &Task| Journey {
        task: task.clone(),
        tool_call_id: None,
        spawned_in_call: None,
        queued: None,
        delivered: None,
    };
    let next = events.len() as u64;
    Trace { events, journeys: tasks.iter().map(journey).collect(), next, is_open: true }
}

/// The pieces as text, with times in seconds.
fn drawn(pieces: &[Piece]) -> Vec<String> {
    let at = |at: Timestamp| at.0 as f64 / 1_000.0;
    let until = |to: Option<Timestamp>| to.map_or_else(|| "..".to_owned(), |to| at(to).to_string());
    let words = |piece: &Piece| match piece {
        Piece::Lane(lane) => format!("lane {} {:?}: {}", lane.key, lane.look, lane.label),
        Piece::Segment(it) => format!(
            "{} [{}-{}] {:?} row {} in {}",
            it.key,
            at(it.from),
            until(it.to),
            it.look,
            it.row,
            it.lane
        ),
        Piece::Mark(mark) => format!("{} at {}: {}", mark.key, at(mark.at), mark.label),
        Piece::Arrow(arrow) => {
            format!("{} at {}: {} -> {}", arrow.key, at(arrow.at), arrow.from, arrow.to)
        }
        Piece::Gap(gap) => format!("gap [{}-{}] {}", at(gap.from), at(gap.to), gap.label),
    };
    pieces.iter().map(words).collect()
}

fn says(timeline: &Timeline, key: &str) -> Vec<String> {
    match &timeline.sheet.pieces[timeline.sheet.places[key]] {
        Piece::Segment(segment) => [vec![segment.label.clone()], segment.says.clone()].concat(),
        Piece::Mark(mark) => [vec![mark.label.clone()], mark.says.clone()].concat(),
        other @ (Piece::Lane(_) | Piece::Arrow(_) | Piece::Gap(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_session_is_the_agent_the_queue_and_its_tasks() {
    let (events, task) = story();
    let timeline = Timeline::of(&trace(events, &[task]));
    assert_eq!(
        drawn(&timeline.whole().0),
        [
            "lane agent None: agent",
            "lane queue None: queue",
            "turn:1 [0-14] Turn row 0 in agent",
            "call:1 [0-2] Call row 0 in agent",
            "tool:4 [2-3] Tool row 0 in agent",
            "lane aaaaaaaa Some(Failed): run a",
            "task:aaaaaaaa [2-10] Failed row 0 in aaaaaaaa",
            "began:aaaaaaaa at 2: agent -> aaaaaaaa",
            "call:2 [3-12] Failed row 0 in agent",
            "result:aaaaaaaa [10-12] Result row 0 in queue",
            "ended:aaaaaaaa at 10: aaaaaaaa -> queue",
            "call:3 [12-14] Call row 0 in agent",
            "entered:aaaaaaaa at 12: queue -> agent",
            "enters:3 at 12: Call 3 receives 1 result",
        ]
    );
    let tokens = "1 204 tokens in (1 000 cached), 5 out, $0.0010";
    assert_eq!(says(&timeline, "turn:1"), ["Turn 1: build it", "end turn", "14s"]);
    assert_eq!(says(&timeline, "call:1"), ["Model call 1", tokens, "tool use", "2.0s"]);
    assert_eq!(says(&timeline, "call:2"), ["Model call 2", "overloaded", tokens, "9.0s"]);
    assert_eq!(says(&timeline, "tool:4"), ["background_run: run a", "1.0s"]);
    let way = "ended during call 2, entered call 3, waited 2.0s";
    let words = ["run a", "exited 1 after 8.0s", "started by call 1", way];
    assert_eq!(says(&timeline, "task:aaaaaaaa"), words);
    assert_eq!(says(&timeline, "result:aaaaaaaa"), ["Result of run a", way]);
    assert_eq!(says(&timeline, "enters:3"), ["Call 3 receives 1 result", "run a: exit 1"]);
}

#[test]
fn what_is_told_as_it_happens_is_the_same_picture() {
    let (events, ended) = story();
    let whole = Timeline::of(&trace(events.clone(), std::slice::from_ref(&ended)));
    let running = Task { state: State::Running, ..ended.clone() };
    // The fact and the event of a spawn arrive in either order, and so do an end and its delivery.
    for (begins, ends) in [(4, 8), (5, 8), (5, 9), (5, 10)] {
        let mut live = Timeline::default();
        let mut told: HashMap<String, Piece> = HashMap::new();
        for (place, event) in events.iter().enumerate() {
            if place == begins {
                live.task(&running, Timestamp(2_001));
            }
            if place == ends {
                live.task(&ended, Timestamp(10_001));
            }
            live.take(event);
            live.take(event);
            told.extend(live.changed().into_iter().map(|it| (it.key().to_owned(), it)));
            assert_eq!(live.changed(), [], "told once");
        }
        let sorted = |mut pieces: Vec<Piece>| {
            pieces.sort_by_key(|piece| piece.key().to_owned());
            pieces
        };
        let whole = sorted(whole.whole().0);
        assert_eq!(sorted(live.whole().0), whole, "{begins} {ends}");
        assert_eq!(sorted(told.into_values().collect()), whole, "{begins} {ends}");
    }
}

#[test]
fn a_question_to_the_person_is_a_state_of_the_agent() {
    let asked = Fact::Asked {
        call: 1,
        tool_call_id: "t".to_owned(),
        question: "run npm test".to_owned(),
        why: String::new(),
    };
    let mut timeline = Timeline::default();
    let begun = [(0, turn(1, Origin::Prompt)), (0, call(1)), (9, answered(1, None)), (9, asked)];
    for event in facts(begun.to_vec()) {
        timeline.take(&event);
    }
    assert!(
        drawn(&timeline.changed()).contains(&"asks:4 [0.009-..] Asks row 0 in agent".to_owned())
    );
    assert_eq!(says(&timeline, "asks:4"), ["Waits for you: may it run npm test?"]);
    let answer = Fact::Answered { tool_call_id: "t".to_owned() };
    timeline.take(&Event { n: 5, at: Timestamp(4_009), fact: answer });
    assert_eq!(drawn(&timeline.changed()), ["asks:4 [0.009-4.009] Asks row 0 in agent"]);
}

#[test]
fn what_a_killed_daemon_left_open_ends_where_the_session_was_opened_again() {
    let (mut events, task) = story();
    events.truncate(7);
    events.push(Event { n: 8, at: Timestamp(20_000), fact: Fact::Resumed {} });
    let timeline = Timeline::of(&trace(events, &[Task { state: State::Running, ..task }]));
    let drawn = drawn(&timeline.whole().0);
    assert!(drawn.contains(&"turn:1 [0-20] Failed row 0 in agent".to_owned()), "{drawn:?}");
    assert!(drawn.contains(&"call:2 [3-20] Failed row 0 in agent".to_owned()), "{drawn:?}");
    assert!(drawn.contains(&"task:aaaaaaaa [2-..] Running row 0 in aaaaaaaa".to_owned()));
    assert!(drawn.contains(&"resumed:8 at 20: The session was opened again".to_owned()));
}

#[test]
fn a_command_in_the_foreground_enters_nothing() {
    let (mut events, ended) = story();
    events.truncate(8);
    let told = delivered(3, B, DeliveredBy::Wait);
    events.push(Event { n: 9, at: Timestamp(12_000), fact: told });
    events.push(Event { n: 10, at: Timestamp(12_000), fact: call(3) });
    let step = Task { is_step: true, ..task(B, 3_000, exited(5_000, 2_000, 0)) };
    let drawn = drawn(&Timeline::of(&trace(events, &[ended, step])).whole().0);
    assert!(!drawn.iter().any(|it| it.contains(B) || it.starts_with("enters")), "{drawn:?}");
}

#[test]
fn a_result_that_the_agent_waited_for_says_so() {
    let (mut events, task) = story();
    events[8].fact = delivered(3, A, DeliveredBy::Wait);
    let timeline = Timeline::of(&trace(events, &[task]));
    let way = "ended during call 2, entered call 3, waited 2.0s: the agent waited for it";
    assert_eq!(says(&timeline, "result:aaaaaaaa"), ["Result of run a", way]);
}

#[test]
fn time_in_which_nothing_happens_is_a_gap() {
    let gaps = |timeline: &Timeline| -> Vec<String> {
        drawn(&timeline.whole().0).into_iter().filter(|it| it.starts_with("gap")).collect()
    };
    let (mut events, ended) = story();
    events.extend([
        Event { n: 13, at: Timestamp(74_000), fact: turn(2, Origin::Prompt) },
        Event { n: 14, at: Timestamp(75_000), fact: turn_ended(2) },
        Event { n: 15, at: Timestamp(134_999), fact: turn(3, Origin::Prompt) },
    ]);
    let check = |tasks: &[Task], want: &[&str]| {
        assert_eq!(gaps(&Timeline::of(&trace(events.clone(), tasks))), want, "{tasks:?}");
    };
    check(std::slice::from_ref(&ended), &["gap [14-74] 1m"]);
    // Another task runs that is not a server.
    let other = task(B, 5_000, exited(20_000, 15_000, 0));
    check(&[ended.clone(), other], &[]);
    let open = task(B, 5_000, None);
    check(&[ended.clone(), open.clone()], &[]);
    let serving = Serving { service: true, ..Serving::default() };
    check(&[ended, Task { serving, ..open }], &["gap [14-74] 1m"]);
}

#[test]
fn the_look_of_an_end_tells_its_cause() {
    let check = |outcome, exit, actor, look: Look| {
        let task = task(A, 0, Some(end(9, 9, outcome, exit, actor)));
        assert_eq!(Look::of(&task), look, "{outcome:?} {exit:?} {actor:?}");
    };
    use Outcome::{Exited, Lost, Stopped, TimedOut};
    check(Exited, Exit::Code(0), None, Look::Succeeded);
    check(Exited, Exit::Code(2), None, Look::Failed);
    check(Exited, Exit::Signal(9), Some(Actor::Limit), Look::Limited);
    check(Stopped, Exit::Signal(15), Some(Actor::Client), Look::Stopped);
    check(Stopped, Exit::Signal(15), Some(Actor::Agent), Look::StoppedByAgent);
    check(Stopped, Exit::Signal(15), Some(Actor::Linger), Look::TimedOut);
    check(Stopped, Exit::Unknown, Some(Actor::Dependency), Look::Skipped);
    check(TimedOut, Exit::Signal(9), Some(Actor::Deadline), Look::TimedOut);
    check(Lost, Exit::Unknown, Some(Actor::Daemon), Look::Lost);
    assert_eq!(Look::of(&task(A, 0, None)), Look::Running);
}

#[test]
fn a_task_waits_for_its_turn_before_it_runs() {
    let waiting = Queued { since: Timestamp(0), reason: Wait::After(vec![]), left: None };
    let queued = Task { state: State::Queued(waiting), pid: None, ..task(A, 0, None) };
    let mut live = Timeline::default();
    live.task(&queued, Timestamp(1));
    assert!(
        drawn(&live.changed())
            .contains(&"line:aaaaaaaa [0-..] Queued row 0 in aaaaaaaa".to_owned())
    );
    live.task(&task(A, 0, None), Timestamp(4_000));
    let drawn_live = drawn(&live.changed());
    assert!(drawn_live.contains(&"line:aaaaaaaa [0-4] Queued row 0 in aaaaaaaa".to_owned()));
    assert!(drawn_live.contains(&"task:aaaaaaaa [4-..] Running row 0 in aaaaaaaa".to_owned()));
    // Loaded from the ledger, which does not store when it started.
    let ended = task(A, 0, exited(9_000, 5_000, 0));
    let whole = Timeline::of_tasks(std::slice::from_ref(&ended));
    assert_eq!(
        drawn(&whole.whole().0)[1..],
        [
            "task:aaaaaaaa [4-9] Succeeded row 0 in aaaaaaaa",
            "line:aaaaaaaa [0-4] Queued row 0 in aaaaaaaa",
        ]
    );
    let skipped = end(9_000, 0, Outcome::Stopped, Exit::Unknown, Some(Actor::Dependency));
    let skipped = Task { pid: None, ..task(A, 0, Some(skipped)) };
    let drawn = drawn(&Timeline::of_tasks(&[skipped]).whole().0);
    assert_eq!(drawn[1..], ["task:aaaaaaaa [0-9] Skipped row 0 in aaaaaaaa"]);
}

#[test]
fn tasks_alone_have_a_queue_for_what_was_taken() {
    let taken = Delivered { at: Timestamp(11_000), by: DeliveredBy::Drain, turn: None };
    let first = Task { delivered: Some(taken), ..task(A, 1_000, exited(9_000, 8_000, 0)) };
    let second = task(B, 0, exited(9_500, 9_500, 0));
    let timeline = Timeline::of_tasks(&[first, second, task("cccccccc", 2_000, None)]);
    assert_eq!(
        drawn(&timeline.whole().0),
        [
            "lane queue None: queue",
            "lane bbbbbbbb Some(Succeeded): run b",
            "task:bbbbbbbb [0-9.5] Succeeded row 0 in bbbbbbbb",
            "lane aaaaaaaa Some(Succeeded): run a",
            "task:aaaaaaaa [1-9] Succeeded row 0 in aaaaaaaa",
            "lane cccccccc Some(Running): run c",
            "task:cccccccc [2-..] Running row 0 in cccccccc",
            "result:aaaaaaaa [9-11] Result row 0 in queue",
            "ended:aaaaaaaa at 9: aaaaaaaa -> queue",
        ]
    );
    assert_eq!(says(&timeline, "result:aaaaaaaa"), ["Result of run a", "taken after 2.0s"]);
}

#[test]
fn of_very_many_tasks_the_newest_are_shown_and_all_that_run() {
    let many = (0..500).map(|n| task(&format!("{n:08x}"), n, exited(n + 1, 1, 0)));
    let tasks: Vec<Task> = std::iter::once(task(A, -1, None)).chain(many).collect();
    let (pieces, left_out) = Timeline::of_tasks(&tasks).whole();
    let lanes = pieces.iter().filter(|it| matches!(it, Piece::Lane(lane) if lane.task.is_some()));
    assert_eq!((lanes.count(), left_out), (LANES_MAX + 1, 300));
    assert!(
        drawn(&pieces).contains(&"task:aaaaaaaa [-0.001-..] Running row 0 in aaaaaaaa".to_owned())
    );
}

#[test]
fn results_that_wait_at_once_lie_side_by_side() {
    let tasks = [(A, 1_000), (B, 2_000), ("cccccccc", 9_000)].map(|(id, at)| {
        let told = Delivered { at: Timestamp(at + 3_000), by: DeliveredBy::Drain, turn: None };
        Task { delivered: Some(told), ..task(id, 0, exited(at, 1_000, 0)) }
    });
    let drawn = drawn(&Timeline::of_tasks(&tasks).whole().0);
    let results: Vec<_> = drawn.iter().filter(|it| it.starts_with("result")).collect();
    assert_eq!(
        results,
        [
            "result:aaaaaaaa [1-4] Result row 0 in queue",
            "result:bbbbbbbb [2-5] Result row 1 in queue",
            "result:cccccccc [9-12] Result row 0 in queue",
        ]
    );
}
