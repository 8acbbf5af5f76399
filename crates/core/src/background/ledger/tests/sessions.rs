//! Sessions: messages and drained notifications in one transaction, holders, traces, removed tasks.

use super::*;

const TALK: &str = "0b1e7c3a-0000-4000-8000-000000000001";

fn made() -> (TempDir, Ledger) {
    let (dir, mut ledger) = open();
    ledger.create_session(Path::new(HERE), TALK, "script/x", (HOLDER, 7)).expect("made");
    (dir, ledger)
}

fn add(messages: &[(u64, &str)]) -> Addition {
    let messages = messages.iter().map(|(n, body)| NewMessage {
        n: *n,
        fresh: false,
        body: (*body).to_owned(),
    });
    Addition {
        session: TALK.to_owned(),
        workspace: HERE.into(),
        messages: messages.collect(),
        call: 3,
        ..Addition::default()
    }
}

/// Puts all notifications in one message with this number, with a fact for each.
fn told(n: u64) -> impl FnOnce(News) -> (Told, News) {
    move |news| {
        let seqs: Vec<u64> = news.drained.iter().map(|told| told.seq).collect();
        let body = format!("told {seqs:?}");
        let message = (!seqs.is_empty()).then_some(NewMessage { n, fresh: false, body });
        let facts = news.drained.iter().enumerate().map(|(i, told)| NewFact {
            n: 10 + i as u64,
            at: Timestamp(5),
            task: Some(told.task.id),
            fact: "told".to_owned(),
        });
        (Told { message, facts: facts.collect() }, news)
    }
}

fn bodies(ledger: &Ledger) -> Vec<(u64, String)> {
    let messages = ledger.messages(TALK).expect("read").into_iter();
    messages.map(|message| (message.n, message.body)).collect()
}

#[test]
fn what_is_told_is_appended_and_acknowledged_at_once() {
    let (_dir, mut ledger) = made();
    for n in 1..=3 {
        end(&mut ledger, n, TALK);
    }
    end(&mut ledger, 4, "other");
    let addition = Addition { drain: 2, ..add(&[(1, "prompt")]) };
    let news = ledger.append(&addition, &|_| true, told(2)).expect("appended").expect("news");
    assert_eq!((news.drained.len(), news.remaining), (2, 1));
    assert_eq!(bodies(&ledger), [(1, "prompt".to_owned()), (2, "told [1, 2]".to_owned())]);
    let task = ledger.task(Path::new(HERE), id(1)).expect("read").expect("there");
    let Some(Delivered { by, turn, .. }) = task.delivered else { panic!("told: {task:?}") };
    assert_eq!((by, turn), (DeliveredBy::Drain, Some(3)));
    assert_eq!(ledger.waiting(Path::new(HERE), TALK).expect("read"), 1);
    let traced = ledger.traced(Path::new(HERE), TALK, 0, 10).expect("read").expect("there");
    assert_eq!(traced.of_tasks.len(), 2);
    assert_eq!(seqs(&drain(&mut ledger, "other")), [1], "another queue is left alone");
}

#[test]
fn a_step_that_fails_leaves_everything_as_it_was() {
    let (_dir, mut ledger) = made();
    end(&mut ledger, 1, TALK);
    ledger.append(&add(&[(1, "prompt")]), &|_| true, told(2)).expect("appended");
    // The number is used already: no part of the step may be stored.
    let addition = Addition {
        drain: 10,
        seen: vec![(id(1), DeliveredBy::Check)],
        claims: vec![("t".to_owned(), id(7))],
        ..add(&[(2, "x"), (1, "again")])
    };
    ledger.append(&addition, &|_| true, told(3)).expect_err("the number is taken");
    assert_eq!(ledger.token(Path::new(HERE), "t").expect("read"), None);
    assert_eq!(bodies(&ledger), [(1, "prompt".to_owned())]);
    assert_eq!(ledger.waiting(Path::new(HERE), TALK).expect("read"), 1);
    let missing = Addition { session: "missing".to_owned(), ..add(&[]) };
    ledger.append(&missing, &|_| true, told(1)).expect_err("there is no such session");
}

#[test]
fn what_an_answer_asks_for_is_claimed_with_it() {
    let (_dir, mut ledger) = made();
    let claims = vec![("a".to_owned(), id(7)), ("b".to_owned(), id(8))];
    let answer = Addition { claims, ..add(&[(1, "answer")]) };
    ledger.append(&answer, &|_| true, told(2)).expect("appended");
    let of = |token: &str| ledger.token(Path::new(HERE), token).expect("read");
    assert_eq!((of("a"), of("b")), (Some(id(7)), Some(id(8))));
    let holder = ledger.claim_token(Path::new(HERE), "a", id(9)).expect("asked");
    assert_eq!(holder, id(7), "a second spawn of the call finds the first one's task");
}

#[test]
fn without_news_there_may_be_nothing() {
    let (_dir, mut ledger) = made();
    let addition = Addition { drain: 10, only_with_news: true, ..add(&[(1, "x")]) };
    assert_eq!(ledger.append(&addition, &|_| true, told(2)).expect("asked"), None);
    assert_eq!(bodies(&ledger), []);
    end(&mut ledger, 1, TALK);
    assert!(ledger.append(&addition, &|_| true, told(2)).expect("asked").is_some());
    assert_eq!(bodies(&ledger).len(), 2);
}

#[test]
fn what_is_seen_is_not_told_and_only_its_owner_sees_it() {
    let (_dir, mut ledger) = made();
    end(&mut ledger, 1, TALK);
    end(&mut ledger, 2, TALK);
    end(&mut ledger, 3, "other");
    ledger.insert(&[new_task(4, TALK)]).expect("inserted");
    let seen = [3, 1, 4].map(|n| (id(n), DeliveredBy::Check)).to_vec();
    let addition = Addition { drain: 10, seen, ..add(&[]) };
    let news = ledger.append(&addition, &|_| true, told(1)).expect("appended").expect("news");
    assert_eq!(news.seen, [Seen { task: id(1), seq: 1, by: DeliveredBy::Check }]);
    let drained: Vec<TaskId> = news.drained.iter().map(|told| told.task.id).collect();
    assert_eq!(drained, [id(2)]);
    assert_eq!(ledger.waiting(Path::new(HERE), "other").expect("read"), 1);
}

#[test]
fn what_another_process_is_handing_out_is_left_to_it_while_it_lives() {
    let (_dir, mut ledger) = made();
    end(&mut ledger, 1, TALK);
    let here = Path::new(HERE);
    let how = Drain::Auto { holder: "other" };
    assert_eq!(
        ledger.drain(here, TALK, 10, how, &|_| true).expect("drained").notifications.len(),
        1
    );
    let addition = Addition { drain: 10, only_with_news: true, ..add(&[]) };
    assert_eq!(ledger.append(&addition, &|_| true, told(1)).expect("asked"), None);
    let news = ledger.append(&addition, &|_| false, told(1)).expect("asked").expect("news");
    assert_eq!(news.drained.len(), 1);
}

#[test]
fn a_session_has_one_holder_at_a_time() {
    let (_dir, mut ledger) = made();
    let here = Path::new(HERE);
    let claim = |ledger: &mut Ledger, id: &str, holder: &str, alive: bool| {
        ledger.claim_session(here, id, (holder, 8), &|_| alive).expect("asked")
    };
    assert_eq!(claim(&mut ledger, TALK, "other", true), Claim::Held { pid: 7 });
    assert_eq!(claim(&mut ledger, TALK, HOLDER, false), Claim::Held { pid: 7 });
    assert_eq!(claim(&mut ledger, "missing", "other", false), Claim::Unknown);
    assert!(matches!(claim(&mut ledger, TALK, "other", false), Claim::Taken(_)), "it is dead");
    ledger.release_session(TALK, HOLDER).expect("not its own to release");
    assert_eq!(claim(&mut ledger, TALK, HOLDER, true), Claim::Held { pid: 8 });
    ledger.release_session(TALK, "other").expect("released");
    assert!(matches!(claim(&mut ledger, TALK, HOLDER, true), Claim::Taken(_)));
    let elsewhere = ledger.claim_session(Path::new("/other"), TALK, ("x", 1), &|_| false);
    assert_eq!(elsewhere.expect("asked"), Claim::Unknown);
}

#[test]
fn a_session_is_listed_with_its_title_where_it_belongs() {
    let (_dir, mut ledger) = made();
    let second = "0b1e7c3a-0000-4000-8000-000000000002";
    ledger.create_session(Path::new(HERE), second, "script/x", (HOLDER, 7)).expect("made");
    let titled = |title: &str| Addition { title: Some(title.to_owned()), ..add(&[]) };
    for title in ["first", "a later one"] {
        ledger.append(&titled(title), &|_| true, told(1)).expect("appended");
    }
    let list = |skip, limit| ledger.sessions(Path::new(HERE), skip, limit).expect("read");
    let titles: Vec<_> = list(0, 9).into_iter().map(|row| (row.id, row.title)).collect();
    assert_eq!(titles.len(), 2);
    assert!(titles.contains(&(TALK.to_owned(), Some("first".to_owned()))), "{titles:?}");
    assert_eq!((list(1, 9).len(), list(0, 1).len(), list(2, 9).len()), (1, 1, 0));
    assert_eq!(ledger.sessions(Path::new("/other"), 0, 9).expect("read"), []);
}

#[test]
fn sessions_are_listed_by_what_was_last_said_in_them() {
    let (_dir, mut ledger) = made();
    let name = |n: u32| format!("0b1e7c3a-0000-4000-8000-00000000000{n}");
    for n in [2, 3] {
        ledger.create_session(Path::new(HERE), &name(n), "script/x", (HOLDER, 7)).expect("made");
    }
    ledger.append(&add(&[(1, "old"), (2, "new")]), &|_| true, told(3)).expect("appended");
    ledger.connection.execute_batch("UPDATE sessions SET created_at = n * 100").expect("set");
    let said = |at: [i64; 2], expected: [(u32, i64); 3]| {
        for (n, at) in [1, 2].into_iter().zip(at) {
            let sql = "UPDATE messages SET at = ?2 WHERE id = (1 << 32) + ?1";
            ledger.connection.execute(sql, [n, at]).expect("set");
        }
        let all = ledger.sessions(Path::new(HERE), 0, 9).expect("read");
        let shown: Vec<_> = all.iter().map(|row| (row.id.clone(), row.updated_at.0)).collect();
        assert_eq!(shown, expected.map(|(n, at)| (name(n), at)));
        for (skip, row) in all.iter().enumerate() {
            let one = ledger.sessions(Path::new(HERE), skip as u64, 1).expect("read");
            assert_eq!(one.as_slice(), std::slice::from_ref(row));
            assert_eq!(ledger.session(Path::new(HERE), &row.id).expect("read").as_ref(), Some(row));
        }
        assert_eq!(ledger.sessions(Path::new(HERE), u64::MAX, 9).expect("read"), []);
    };
    // The last message counts, not the latest time: a clock may be set back.
    said([900, 250], [(3, 300), (1, 250), (2, 200)]);
    said([150, 200], [(3, 300), (2, 200), (1, 200)]);
    said([0, 400], [(1, 400), (3, 300), (2, 200)]);
}

#[test]
fn a_trace_is_read_piece_by_piece_and_by_task() {
    let (_dir, mut ledger) = made();
    let fact = |n: u64, task: Option<u32>| NewFact {
        n,
        at: Timestamp(n as i64),
        task: task.map(id),
        fact: n.to_string(),
    };
    ledger.append_facts(TALK, &[fact(1, None), fact(2, Some(9)), fact(4, None)]).expect("appended");
    ledger.append_facts("missing", &[fact(1, None)]).expect("a trace of no session");
    let numbers = |after: u64, limit: u32| -> [Vec<u64>; 2] {
        let traced = ledger.traced(Path::new(HERE), TALK, after, limit);
        let traced = traced.expect("read").expect("there");
        [traced.facts, traced.of_tasks].map(|facts| facts.iter().map(|fact| fact.n).collect())
    };
    // Of tasks always all.
    assert_eq!(numbers(0, 9), [vec![1, 2, 4], vec![2]]);
    assert_eq!(numbers(1, 1), [vec![2], vec![2]]);
    assert_eq!(numbers(u64::MAX, 9), [vec![], vec![2]]);
    assert_eq!(numbers(4, 9), [vec![], vec![2]]);
    assert!(ledger.traced(Path::new(HERE), "missing", 0, 9).expect("read").is_none());
    let all = ledger.trace(TALK).expect("read");
    assert_eq!(all.iter().map(|fact| fact.n).collect::<Vec<_>>(), [1, 2, 4]);
}

#[test]
fn a_removed_task_of_a_session_keeps_its_journey_and_no_other_does() {
    let (_dir, mut ledger) = made();
    let here = Path::new(HERE);
    end(&mut ledger, 1, TALK);
    end(&mut ledger, 2, "q");
    ledger.insert(&[new_task(3, TALK)]).expect("inserted");
    let wanted = Remove { ids: Some(vec![id(1), id(2)]), ended_before: None };
    assert_eq!(ledger.remove(here, &wanted).expect("removed"), [id(1), id(2)]);
    let journeys = |ledger: &Ledger| -> Vec<(TaskId, Option<u64>, bool)> {
        let found = ledger.journeys(here, TALK, &[id(1), id(2), id(77)]).expect("read");
        let row = |journey: &Journey| {
            let seq = journey.queued.map(|queued| queued.1);
            (journey.task.id, seq, journey.task.delivered.is_some())
        };
        found.iter().map(row).collect()
    };
    let q = (id(2), Some(1), false);
    assert_eq!(journeys(&ledger), [(id(1), Some(1), false), q, (id(3), None, false)]);
    // Once it is delivered, the row of an ordinary task is deleted; this one is only hidden.
    ledger.append(&Addition { drain: 9, ..add(&[]) }, &|_| true, told(1)).expect("appended");
    ledger.ack(here, "q", 9).expect("acked");
    assert_eq!(journeys(&ledger), [(id(1), Some(1), true), (id(3), None, false)]);
    assert_eq!(ledger.task(here, id(1)).expect("read"), None);
    let ids: Vec<TaskId> =
        ledger.tasks(here, None, 9, true).expect("read").iter().map(|t| t.id).collect();
    assert_eq!(ids, [id(3)]);
    // A suspended daemon that reports it a second time changes nothing.
    let (again, _) = finish(&mut ledger, finish_of(new_task(1, TALK), Outcome::Exited));
    assert_eq!(again, Finished::Known);
    assert_eq!(ledger.waiting(here, TALK).expect("read"), 0);
}

#[test]
fn rules_are_remembered_once_and_for_their_workspace() {
    let (_dir, mut ledger) = open();
    let here = Path::new(HERE);
    for rules in [["b", "a"], ["a", "c"]] {
        ledger.remember_rules(here, &rules.map(str::to_owned)).expect("remembered");
    }
    assert_eq!(ledger.rules(here).expect("read"), ["b", "a", "c"]);
    assert!(ledger.rules(Path::new("/other")).expect("read").is_empty());
}

#[test]
fn a_store_of_version_1_gets_the_tables_and_keeps_what_it_has() {
    let (dir, mut ledger) = open();
    end(&mut ledger, 1, "q");
    ledger
        .connection
        .execute_batch(
            "DROP TABLE sessions; DROP TABLE messages; DROP TABLE trace; DROP TABLE rules;
             PRAGMA user_version = 1",
        )
        .expect("as an older program made it");
    drop(ledger);
    let mut ledger = Ledger::open(dir.path(), false).expect("migrated");
    ledger.create_session(Path::new(HERE), TALK, "m", (HOLDER, 7)).expect("made");
    assert_eq!(seqs(&drain(&mut ledger, "q")), [1]);
}

#[test]
fn old_sessions_go_with_all_they_hold() {
    let (_dir, mut ledger) = made();
    end(&mut ledger, 1, TALK);
    let addition = Addition { drain: 2, ..add(&[(1, "prompt")]) };
    ledger.append(&addition, &|_| true, told(2)).expect("appended");
    let day = Duration::from_secs(24 * 3_600);
    let count = |ledger: &Ledger, table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        ledger.connection.query_row(&sql, [], |row| row.get(0)).expect("counted")
    };
    let mut prune_while = |alive: bool, after: Duration, expected: [i64; 4]| {
        let now = Timestamp(Timestamp::now().0 + i64::try_from(after.as_millis()).expect("small"));
        ledger.prune(Path::new(HERE), 2 * day, 500, now, &|_| alive).expect("pruned");
        let left = ["sessions", "messages", "trace", "tasks"].map(|table| count(&ledger, table));
        assert_eq!(left, expected, "{} days later", after.as_secs() / day.as_secs());
    };
    prune_while(false, day, [1, 2, 1, 1]);
    // The task is removed, but only hidden because of the session.
    prune_while(false, 80 * day, [1, 2, 1, 1]);
    // Its holder is alive, so the session stays.
    prune_while(true, 91 * day, [1, 2, 1, 1]);
    prune_while(false, 91 * day, [0, 0, 0, 0]);
    ledger.create_session(Path::new(HERE), TALK, "script/x", (HOLDER, 7)).expect("made");
    let mut prune = |holder: &'static str, after: Duration| {
        let now = Timestamp(Timestamp::now().0 + i64::try_from(after.as_millis()).expect("small"));
        let is_alive = |bell: &str| bell == holder;
        ledger.prune(Path::new(HERE), 2 * day, 500, now, &is_alive).expect("pruned");
        count(&ledger, "sessions")
    };
    assert_eq!(prune("other", day / 2), 1);
    assert_eq!(prune(HOLDER, 2 * day), 1, "it was left at its prompt over night");
    assert_eq!(prune("other", 2 * day), 0, "nothing was ever said in it");
    ledger.create_session(Path::new(HERE), TALK, "script/x", (HOLDER, 7)).expect("made");
    ledger.release_session(TALK, HOLDER).expect("released");
    let later = Timestamp(Timestamp::now().0 + 2 * 24 * 3_600_000);
    ledger.prune(Path::new(HERE), 2 * day, 500, later, &|_| true).expect("pruned");
    assert_eq!(count(&ledger, "sessions"), 0, "no process has it open");
}
