//! The calls of one answer: read-only ones run side by side, and those that change something keep their place.

use meanwhile_core::agent::message::Message;
use meanwhile_core::agent::permission::{Effect, Rule, Rules, Scope};
use meanwhile_core::agent::session::{Answer, Terms, TurnEnd, Update};
use meanwhile_core::agent::tools::Builtin;
use meanwhile_core::agent::trace::{Event, Fact};
use meanwhile_core::confine::Mode;
use tokio::task::JoinHandle;

use super::lab::{Lab, Talk, eventually, gated, run};

fn bash(line: &str) -> String {
    format!("[[turn.call]]\ntool = 'bash'\ninput = {{ command = '{line}' }}\n")
}

/// Options with which only read-only calls run without a question.
fn looking(lab: &Lab, script: &str) -> Terms {
    Terms { rules: Rules::new(vec![]), can_ask: true, ..lab.options(script) }
}

/// Whether read-only commands can be confined on this machine; prints a message if they cannot.
#[expect(clippy::print_stdout, reason = "it is for who reads the test's output")]
async fn can_hold(lab: &Lab) -> bool {
    let can = lab.background.can_confine(Mode::Look.into()).await.is_ok();
    if !can {
        println!("skipped: this kernel cannot hold a command to looking");
    }
    can
}

/// Waits until this many commands have started.
async fn spawned(talk: &mut Talk, count: usize) {
    let mut seen = 0;
    talk.until(|update| {
        seen += usize::from(matches!(update, Update::ToolTask { .. }));
        seen == count
    })
    .await;
}

/// A session in which only read-only calls run without a question, its prompt, and `count` of its commands
/// running.
async fn started(lab: &Lab, script: &str, count: usize) -> (Talk, JoinHandle<TurnEnd>) {
    let mut talk = lab.session_of(looking(lab, script)).await;
    let end = talk.begin("go");
    spawned(&mut talk, count).await;
    (talk, end)
}

/// For each call in its order, the positions of its start and its end in the updates.
fn spans(talk: &Talk) -> Vec<(usize, usize)> {
    let told = talk.told.iter().enumerate();
    let begun = told.filter_map(|(at, update)| match update {
        Update::ToolCall { id, .. } => Some((at, id)),
        _ => None,
    });
    let ended = |id: &String| {
        let is_it =
            |update: &Update| matches!(update, Update::ToolEnded { id: it, .. } if it == id);
        talk.told.iter().position(is_it).expect("each call is answered")
    };
    begun.map(|(at, id)| (at, ended(id))).collect()
}

/// The results of the first answer as sent to the model, in order.
fn results(lab: &Lab) -> Vec<String> {
    let sql = "SELECT body FROM messages WHERE body LIKE '%tool_results%' ORDER BY id LIMIT 1";
    let body: String = lab.ledger().query_row(sql, [], |row| row.get(0)).unwrap();
    let Message::ToolResults { results } = Message::from_json(&body).unwrap() else {
        panic!("no results: {body}");
    };
    results.into_iter().map(|result| result.content).collect()
}

#[test]
fn commands_that_look_run_side_by_side_and_are_answered_in_order() {
    run(async |lab: &mut Lab| {
        if !can_hold(lab).await {
            return;
        }
        let script = format!(
            "[[turn]]\n{}{}{}[[turn]]\ntext = 'Seen.'\n",
            bash(&gated("a", "one")),
            bash(&gated("b", "two")),
            "[[turn.call]]\ntool = 'read_file'\ninput = { path = 'three' }\n",
        );
        std::fs::write(lab.workspace.join("three"), "three\n").unwrap();
        let mut talk = lab.session_of(looking(lab, &script)).await;
        let end = talk.begin("go");
        // Each waits for a gate that opens only when all of them run; the last one needs none.
        let mut running = 0;
        let mut ended = 0;
        talk.until(|update| {
            running += usize::from(matches!(update, Update::ToolTask { .. }));
            ended += usize::from(matches!(update, Update::ToolEnded { .. }));
            running == 2 && ended == 1
        })
        .await;
        lab.open_gate("b");
        talk.until(|update| matches!(update, Update::ToolEnded { .. })).await;
        lab.open_gate("a");
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::EndTurn);
        let told = talk.outcomes();
        for (outcome, word) in told.iter().zip(["three", "two", "one"]) {
            assert!(outcome.contains(word), "as they ended: {told:?}");
        }
        let sent = results(lab);
        for (result, word) in sent.iter().zip(["one", "two", "three"]) {
            assert!(result.contains(word), "in the order of the calls: {sent:?}");
        }
        assert_eq!((told.len(), sent.len()), (3, 3));
        // In the trace all started before any ended, and each has its own time of end.
        let trace = talk.trace().await.events.into_iter();
        let tools: Vec<bool> = trace
            .filter_map(|Event { fact, .. }| match fact {
                Fact::ToolStarted { .. } => Some(true),
                Fact::ToolEnded { .. } => Some(false),
                _ => None,
            })
            .collect();
        assert_eq!(tools, [true, true, true, false, false, false]);
        talk.close().await;
    });
}

#[test]
fn waits_for_two_tasks_in_one_answer_take_as_long_as_the_longer() {
    run(async |lab: &mut Lab| {
        let start = |gate: &str, name: &str| {
            format!(
                "[[turn.call]]\ntool = 'background_run'\ninput = {{ command = '{}' }}\n\
                 save = {{ {name} = 'task ([0-9a-f]{{8}})' }}\n",
                gated(gate, name)
            )
        };
        let wait = |name: &str| {
            format!(
                "[[turn.call]]\ntool = 'check_background'\n\
                 input = {{ task_id = '{{{{{name}}}}}', wait_seconds = 60 }}\n"
            )
        };
        let script = format!(
            "[[turn]]\n{}{}[[turn]]\n{}{}[[turn]]\nexpect = ['first', 'second']\n\
             absent = ['background-results', 'something else']\ntext = 'Both.'\n",
            start("a", "first"),
            start("b", "second"),
            wait("first"),
            wait("second"),
        );
        let mut talk = lab.session(&script).await;
        let end = talk.begin("go");
        let mut waits = Vec::new();
        talk.until(|update| {
            if let Update::ToolCall { id, name, .. } = update
                && name == "check_background"
            {
                waits.push(id.clone());
            }
            waits.len() == 2
        })
        .await;
        // The end of one does not end the other's wait.
        lab.open_gate("a");
        talk.until(|update| matches!(update, Update::ToolEnded { id, .. } if *id == waits[0]))
            .await;
        lab.open_gate("b");
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::EndTurn);
        assert_eq!(talk.said(), "Both.");
        talk.close().await;
    });
}

#[test]
fn what_changes_something_keeps_its_place() {
    run(async |lab: &mut Lab| {
        if !can_hold(lab).await {
            return;
        }
        let write =
            "[[turn.call]]\ntool = 'write_file'\ninput = { path = 'made', content = 'new' }\n";
        let read = "[[turn.call]]\ntool = 'read_file'\ninput = { path = 'made' }\n";
        let script = format!(
            "[[turn]]\n{read}{}{write}{read}{}[[turn]]\ntext = 'Done.'\n",
            bash(&gated("a", "looked")),
            bash("cat made"),
        );
        std::fs::write(lab.workspace.join("made"), "old\n").unwrap();
        let mut terms = looking(lab, &script);
        let allow =
            Rule { effect: Effect::Allow, scope: Scope::Tool(Builtin::WriteFile), prefix: None };
        terms.rules = Rules::new(vec![allow]);
        let mut talk = lab.session_of(terms).await;
        let end = talk.begin("go");
        spawned(&mut talk, 1).await;
        assert_eq!(std::fs::read_to_string(lab.workspace.join("made")).unwrap(), "old\n");
        lab.open_gate("a");
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::EndTurn);
        let sent = results(lab);
        let words = ["old", "looked", "made", "new", "new"];
        for (result, word) in sent.iter().zip(words) {
            assert!(result.contains(word), "{word}: {sent:?}");
        }
        let spans = spans(&talk);
        let (write, before, after) = (spans[2], &spans[..2], &spans[3..]);
        assert!(before.iter().all(|(_, end)| *end < write.0), "{spans:?}");
        assert!(after.iter().all(|(begin, _)| write.1 < *begin), "{spans:?}");
        talk.close().await;
    });
}

#[test]
fn a_person_is_asked_once_what_looks_before_it_is_over() {
    run(async |lab: &mut Lab| {
        if !can_hold(lab).await {
            return;
        }
        let script = format!(
            "[[turn]]\n{}{}{}[[turn]]\nexpect = ['refused']\ntext = 'Done.'\n",
            bash(&gated("a", "looked")),
            bash("mkdir asked"),
            bash("mkdir refused"),
        );
        let (mut talk, end) = started(lab, &script, 1).await;
        lab.open_gate("a");
        for answer in [Answer::Allow, Answer::Reject] {
            talk.until(|update| matches!(update, Update::Ask(_))).await;
            let Some(Update::Ask(ask)) = talk.told.pop() else { panic!("it was just told") };
            assert!(talk.outcomes()[0].contains("looked"), "{:?}", talk.outcomes());
            ask.reply.send(answer).unwrap();
        }
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::EndTurn);
        let is_there = |name: &str| lab.workspace.join(name).exists();
        assert_eq!((is_there("asked"), is_there("refused")), (true, false));
        let spans = spans(&talk);
        assert!(spans.is_sorted() && spans.windows(2).all(|two| two[0].1 < two[1].0), "{spans:?}");
        talk.close().await;
    });
}

#[test]
fn a_cancel_stops_all_that_look() {
    run(async |lab: &mut Lab| {
        if !can_hold(lab).await {
            return;
        }
        let script = format!(
            "[[turn]]\n{}{}{}[[turn]]\n\
             expect = ['the command was stopped', 'cancelled by the person', 'next']\n\
             absent = ['background-results']\ntext = 'Well.'\n",
            bash("sleep 600"),
            bash("sleep 601"),
            bash("mkdir third"),
        );
        let (mut talk, end) = started(lab, &script, 2).await;
        talk.session.cancel().await.unwrap();
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::Cancelled);
        let stopped = talk.outcomes().iter().filter(|it| it.contains("was stopped")).count();
        assert_eq!((stopped, talk.outcomes().len()), (2, 3), "{:?}", talk.outcomes());
        for task in talk.tasks() {
            eventually(async || {
                lab.background.get(task).await.is_ok_and(|task| task.end().is_some())
            })
            .await;
        }
        // Their ends start no turn.
        talk.session.idle().await.unwrap();
        assert_eq!(talk.prompt("next").await, TurnEnd::EndTurn);
        assert_eq!(talk.said(), "Well.");
        assert!(!lab.workspace.join("third").exists());
        talk.close().await;
    });
}

#[test]
fn more_than_run_at_once_are_all_answered() {
    run(async |lab: &mut Lab| {
        let reads: String = (0..40)
            .map(|n| format!("[[turn.call]]\ntool = 'read_file'\ninput = {{ path = 'f{n}' }}\n"))
            .collect();
        for n in 0..40 {
            std::fs::write(lab.workspace.join(format!("f{n}")), format!("said by {n}\n")).unwrap();
        }
        let script = format!("[[turn]]\n{reads}[[turn]]\ntext = 'Read.'\n");
        let mut talk = lab.session(&script).await;
        assert_eq!(talk.prompt("go").await, TurnEnd::EndTurn);
        let sent = results(lab);
        assert_eq!(sent.len(), 40);
        for (n, result) in sent.iter().enumerate() {
            assert!(result.ends_with(&format!("said by {n}\n")), "{n}: {result}");
        }
        talk.close().await;
    });
}
