//! The lesson's timing: which model call gets which result.

use meanwhile_core::agent::session::{Session, TurnEnd, Update};
use meanwhile_core::agent::trace::{Fact, Origin};
use meanwhile_core::background::task::DeliveredBy;

use super::lab::{Lab, gated, run};

/// An answer that starts commands in the background, each of which waits for its gate.
fn starts(gates: &[&str]) -> String {
    let calls: String = gates
        .iter()
        .map(|gate| {
            format!(
                "[[turn.call]]\ntool = 'background_run'\ninput = {{ command = '{}' }}\n\
                 save = {{ {gate} = 'task ([0-9a-f]{{8}})' }}\n",
                gated(gate, &format!("said by {gate}"))
            )
        })
        .collect();
    format!("[[turn]]\nmessages = ['prompt']\ntext = 'I start. '\n{calls}")
}

const LOOK: &str = "[[turn.call]]\ntool = 'glob'\ninput = { pattern = '*' }\n";

#[test]
fn what_ends_during_a_call_is_in_the_next_one() {
    run(async |lab: &mut Lab| {
        let script = format!(
            "{}[[turn]]\nhold = '@/second'\nmessages = ['tool_results']\nabsent = ['said by']\n{LOOK}\
             [[turn]]\nmessages = ['tool_results', 'background']\n\
             expect = ['<background-results>', '[bg:{{{{a}}}}] exited 0', 'said by a', 'No human input']\n\
             text = 'Seen.'\n",
            starts(&["a"])
        );
        let mut talk = lab.session(&script).await;
        let end = talk.begin("go");
        talk.call_began(2).await;
        lab.open_gate("a");
        lab.waiting(&talk, 1).await;
        lab.open_gate("second");
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::EndTurn);
        assert_eq!(talk.said(), "I start. Seen.");
        let task = talk.tasks()[0];
        assert_eq!(talk.delivered().await, [(task, 3, DeliveredBy::Drain)]);
        // The task itself and the session's trace agree.
        let delivered = lab.background.get(task).await.unwrap().delivered.unwrap();
        assert_eq!(delivered.turn, Some(3));
        let journey = talk.trace().await.journeys.remove(0);
        assert_eq!((journey.spawned_in_call, journey.delivered.map(|d| d.0)), (Some(1), Some(3)));
        assert!(journey.queued.is_some() && journey.tool_call_id.is_some());
        talk.close().await;
    });
}

#[test]
fn two_in_one_window_are_one_message_in_order_of_ending() {
    run(async |lab: &mut Lab| {
        let script = format!(
            "{}[[turn]]\nhold = '@/second'\nmessages = ['tool_results']\n{LOOK}\
             [[turn]]\nmessages = ['tool_results', 'background']\n\
             expect = ['[bg:{{{{b}}}}] exited 0', '[bg:{{{{a}}}}] exited 0']\ntext = 'Both.'\n",
            starts(&["a", "b"])
        );
        let mut talk = lab.session(&script).await;
        let end = talk.begin("go");
        talk.call_began(2).await;
        lab.open_gate("b");
        lab.waiting(&talk, 1).await;
        lab.open_gate("a");
        lab.waiting(&talk, 2).await;
        lab.open_gate("second");
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::EndTurn);
        assert_eq!(talk.results().len(), 1, "{:?}", talk.results());
        let calls: Vec<u64> = talk.delivered().await.into_iter().map(|told| told.1).collect();
        assert_eq!(calls, [3, 3]);
        talk.close().await;
    });
}

#[test]
fn what_ends_while_idle_or_during_the_last_call_starts_one_turn() {
    run(async |lab: &mut Lab| {
        let script = format!(
            "{}[[turn]]\nhold = '@/last'\nmessages = ['tool_results']\ntext = 'I wait. '\n\
             [[turn]]\nmessages = ['background']\n\
             expect = ['[bg:{{{{a}}}}] exited 0', '[bg:{{{{b}}}}] exited 0']\ntext = 'Woken. '\n\
             [[turn]]\nmessages = ['background']\nexpect = ['[bg:{{{{c}}}}] exited 0']\ntext = 'Again.'\n",
            starts(&["a", "b", "c"])
        );
        let mut talk = lab.session(&script).await;
        let end = talk.begin("go");
        talk.call_began(2).await;
        for (gate, waiting) in [("a", 1), ("b", 2)] {
            lab.open_gate(gate);
            lab.waiting(&talk, waiting).await;
        }
        lab.open_gate("last");
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::EndTurn);
        // During the last call: a new turn starts by itself and gets both.
        talk.turn_ended().await;
        assert_eq!(talk.said(), "I wait. Woken. ".replace("I wait", "I start. I wait"));
        // While idle.
        talk.session.idle().await.unwrap();
        lab.open_gate("c");
        talk.turn_ended().await;
        talk.session.idle().await.unwrap();
        assert_eq!(talk.said(), "I start. I wait. Woken. Again.");
        assert_eq!(talk.ends(), vec![TurnEnd::EndTurn; 3]);
        let origins: Vec<Origin> = talk
            .told
            .iter()
            .filter_map(|update| match update {
                Update::TurnStarted { origin, .. } => Some(*origin),
                _ => None,
            })
            .collect();
        assert_eq!(origins, [Origin::Prompt, Origin::Background, Origin::Background]);
        assert_eq!(talk.session.unfinished().await.unwrap(), (Vec::new(), 0));
        talk.close().await;
    });
}

#[test]
fn what_a_check_has_shown_is_not_told_again() {
    run(async |lab: &mut Lab| {
        let script = format!(
            "{}[[turn]]\nhold = '@/second'\n[[turn.call]]\ntool = 'check_background'\n\
             input = {{ task_id = '{{{{a}}}}' }}\n\
             [[turn]]\nmessages = ['tool_results']\nexpect = ['said by a']\n{LOOK}\
             [[turn]]\nmessages = ['tool_results']\ntext = 'Done.'\n",
            starts(&["a"])
        );
        let mut talk = lab.session(&script).await;
        let end = talk.begin("go");
        talk.call_began(2).await;
        lab.open_gate("a");
        lab.waiting(&talk, 1).await;
        lab.open_gate("second");
        talk.turn_ended().await;
        assert_eq!(end.await.unwrap(), TurnEnd::EndTurn);
        assert_eq!(talk.delivered().await, [(talk.tasks()[0], 3, DeliveredBy::Check)]);
        talk.session.idle().await.unwrap();
        assert_eq!((talk.ends().len(), talk.results().len()), (1, 0));
        let journey = talk.trace().await.journeys.remove(0);
        assert_eq!(journey.delivered.map(|told| told.0), Some(3));
        talk.close().await;
    });
}

#[test]
fn a_failed_call_loses_and_repeats_nothing() {
    run(async |lab: &mut Lab| {
        let script = format!(
            "{}[[turn]]\nhold = '@/second'\n{LOOK}\
             [[turn]]\nfault = '401'\ntimes = 1\nexpect = ['[bg:{{{{a}}}}] exited 0']\ntext = 'Here.'\n",
            starts(&["a"])
        );
        let mut talk = lab.session(&script).await;
        let end = talk.begin("go");
        talk.call_began(2).await;
        lab.open_gate("a");
        lab.waiting(&talk, 1).await;
        lab.open_gate("second");
        talk.turn_ended().await;
        let TurnEnd::Failed(why) = end.await.unwrap() else { panic!("it failed") };
        assert!(why.contains("ANTHROPIC_API_KEY"), "it says what to do: {why}");
        talk.session.idle().await.unwrap();
        assert_eq!(talk.ends().len(), 1, "results that were told wake no agent");
        assert_eq!(talk.prompt("go on").await, TurnEnd::EndTurn);
        assert_eq!(talk.results().len(), 1);
        assert_eq!(talk.said(), "I start. Here.");
        let failed = talk.trace().await.events.into_iter().find_map(|event| match event.fact {
            Fact::CallEnded { call, error: Some(_), .. } => Some(call),
            _ => None,
        });
        assert_eq!(failed, Some(3));
        talk.close().await;
    });
}

#[test]
fn sessions_side_by_side_hear_of_their_own_tasks_only() {
    run(async |lab: &mut Lab| {
        let script = |gate: &str, other: &str| {
            format!(
                "{}[[turn]]\ntext = 'I wait. '\n[[turn]]\nmessages = ['background']\n\
                 expect = ['said by {gate}']\nabsent = ['said by {other}']\ntext = '{gate}'\n",
                starts(&[gate])
            )
        };
        let mut one = lab.session(&script("a", "b")).await;
        let mut two = lab.session(&script("b", "a")).await;
        for talk in [&mut one, &mut two] {
            assert_eq!(talk.prompt("go").await, TurnEnd::EndTurn);
        }
        lab.open_gate("b");
        two.turn_ended().await;
        lab.open_gate("a");
        one.turn_ended().await;
        assert_eq!(
            (one.said().as_str(), two.said().as_str()),
            ("I start. I wait. a", "I start. I wait. b")
        );
        // Without a handle a session closes by itself, and can be opened again.
        let id = one.id();
        drop(one);
        super::lab::eventually(async || {
            let options = lab.options("[[turn]]\ntext = 'x'\n");
            Session::load(lab.background.clone(), options, &id).await.is_ok()
        })
        .await;
        two.close().await;
    });
}
