use std::time::Duration;

use meanwhile_core::agent::session::Update;
use meanwhile_core::agent::trace::{DeliveredKind, Event as Traced, Fact, Origin};
use meanwhile_core::background::Event;
use meanwhile_core::background::task::{
    DeliveredBy, End, Exit, Notification, NotificationKind, Outcome, OutputStat, Preview, State,
    Task,
};

use super::*;

const SESSION: &str = "s";

fn at(millis: i64) -> Timestamp {
    Timestamp(1_000_000 + millis)
}

fn task(id: &str, label: &str, begun: i64) -> Task {
    Task {
        id: id.parse().unwrap(),
        workspace: "/w".into(),
        queue: SESSION.to_owned(),
        label: Some(label.to_owned()),
        command: format!("make {label}"),
        cwd: "/w".into(),
        pid: None,
        state: State::Running,
        created_at: at(begun),
        deadline: None,
        output: OutputStat { total: 0, dropped: 0 },
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

fn ended(mut task: Task, end: i64, code: i32) -> Notification {
    task.state = State::Ended(End {
        outcome: Outcome::Exited,
        exit: Exit::Code(code),
        cause: None,
        at: at(end),
        duration: Duration::from_secs(1),
    });
    Notification {
        seq: 1,
        queue: SESSION.to_owned(),
        at: at(end),
        kind: NotificationKind::Exited,
        task,
        preview: Preview { head: String::new(), tail: String::new(), omitted: 0 },
    }
}

/// The lesson: two tasks begun by call 1; one ends during call 2, the other when all is idle.
fn lesson() -> Board {
    let mut board = Board::new(at(0), SESSION.to_owned(), "build and test");
    let mut n = 0;
    let mut fact = |board: &mut Board, millis: i64, fact: Fact| {
        n += 1;
        board.update(Update::Traced(Traced { n, at: at(millis), fact }));
    };
    let began = |call| Fact::CallStarted { turn: 1, call };
    let over = |call| Fact::CallEnded {
        turn: 1,
        call,
        stop_reason: None,
        error: None,
        input_tokens: None,
        output_tokens: None,
        cached_tokens: None,
        cost_usd: None,
    };
    let delivered = |call, task_id: &str| Fact::Delivered {
        call,
        task_id: task_id.to_owned(),
        seq: Some(1),
        kind: DeliveredKind::Exited,
        by: DeliveredBy::Drain,
    };
    let (build, test) = (task("000000aa", "build", 1_000), task("000000bb", "test", 1_000));
    fact(&mut board, 0, began(1));
    board.update(Update::Text("I start both.".to_owned()));
    fact(&mut board, 1_000, over(1));
    for task in [&build, &test] {
        let (id, task) = ("c".to_owned(), task.clone());
        board.update(Update::ToolTask { id, task, background: true });
    }
    fact(&mut board, 2_000, began(2));
    let news = ended(build, 3_000, 0);
    board.event(Event::Exited(news.clone()));
    fact(&mut board, 4_000, over(2));
    fact(&mut board, 4_000, began(3));
    fact(&mut board, 4_000, delivered(3, "000000aa"));
    board.update(Update::Background { call: 3, text: String::new(), notifications: vec![news] });
    fact(&mut board, 5_000, over(3));
    fact(
        &mut board,
        5_000,
        Fact::TurnEnded { turn: 1, stop_reason: "end_turn".to_owned(), error: None },
    );
    assert!(!board.is_settled(), "a task runs");
    let news = ended(test, 8_000, 1);
    board.event(Event::Exited(news.clone()));
    assert!(!board.is_settled(), "a result waits");
    fact(&mut board, 8_020, Fact::TurnStarted { turn: 2, origin: Origin::Background, title: None });
    fact(&mut board, 8_020, began(4));
    fact(&mut board, 8_020, delivered(4, "000000bb"));
    board.update(Update::Background { call: 4, text: String::new(), notifications: vec![news] });
    fact(&mut board, 9_000, over(4));
    assert!(board.is_settled());
    board
}

#[test]
fn what_happens_at_one_moment_stands_in_one_column() {
    let rows = frame(&lesson(), at(9_500), 59, 24, false);
    let expect = [
        "meanwhile demo  scripted model, real commands, no ke… 9.5s",
        "        0s        2s        4s        6s        8s",
        "agent   1━━━━·····2━━━━━━━━━◆3━━━···············◆4━━━··",
        "queue                  ●────▲                   ▲",
        "build        ━━━━━━━━━━● exit 0",
        "test         ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━● exit 1",
    ];
    assert_eq!(rows[..6], expect, "\n{}", rows.join("\n"));
}

#[test]
fn no_row_is_wider_than_the_terminal() {
    let board = lesson();
    for columns in [20, 40, 80, 120, 300] {
        for rows in [10, 24, 60] {
            let frame = frame(&board, at(9_500), columns, rows, false);
            assert!(frame.len() <= rows.max(8), "{columns}x{rows}: {} rows", frame.len());
            for row in &frame {
                let width = measure_text_width(row);
                assert!(width < columns.max(31), "{columns}x{rows}: {width}: {row}");
            }
        }
    }
}

#[test]
fn the_words_are_the_lesson() {
    let board = lesson();
    let told: Vec<String> = board.moments().iter().map(lines::line).collect();
    let expect = [
        "  0.0s  you      build and test",
        "  0.0s  call 1",
        "  1.0s  agent    I start both.",
        "  1.0s  task     build begins: make build",
        "  1.0s  task     test begins: make test",
        "  2.0s  call 2",
        "  3.0s  task     build ends: exit 0; into the queue",
        "  4.0s  call 3 <- build",
        "  5.0s  idle     1 task runs on",
        "  8.0s  task     test ends: exit 1; into the queue",
        "  8.0s  call 4 <- test, and no prompt",
    ];
    assert_eq!(told, expect);
    assert_eq!(
        lines::summary(&board),
        [
            "build: begun by call 1, ended during call 2, entered call 3 after 1.0s",
            "test: begun by call 1, ended while the agent was idle, woke the agent with call 4 after 20 ms",
            "No call waited, nothing was polled, and each result was told once.",
        ]
    );
}

#[test]
fn colours_add_nothing_but_colour() {
    let board = lesson();
    let plain = frame(&board, at(9_500), 80, 24, false);
    assert!(plain.iter().all(|row| !row.contains('\x1b')));
    let coloured = frame(&board, at(9_500), 80, 24, true);
    let stripped: Vec<_> =
        coloured.iter().map(|row| console::strip_ansi_codes(row).trim_end().to_owned()).collect();
    let trimmed: Vec<_> = plain.iter().map(|row| row.trim_end().to_owned()).collect();
    assert_eq!(stripped, trimmed);
}
