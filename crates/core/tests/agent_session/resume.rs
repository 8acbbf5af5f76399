//! A session that is opened again: in this process, and after its process died.

use std::process::{Command, Stdio};
use std::time::Duration;

use meanwhile_core::agent::session::{Error, Session, TurnEnd, Update};
use meanwhile_core::agent::trace::{Event, Fact};

use tokio::time::Instant;

use super::lab::{Lab, Talk, eventually, gated, run};

async fn resumed(talk: &mut Talk) {
    talk.until(|update| matches!(update, Update::Traced(Event { fact: Fact::Resumed {}, .. })))
        .await;
}

#[test]
fn a_session_goes_on_where_it_was_and_its_results_wake_it() {
    run(async |lab: &mut Lab| {
        let script = format!(
            "[[turn]]\ntext = 'I start. '\nthink = 'Hm.'\n[[turn.call]]\ntool = 'background_run'\n\
             input = {{ command = '{}' }}\nsave = {{ a = 'task ([0-9a-f]{{8}})' }}\n\
             [[turn]]\ntext = 'I wait. '\n\
             [[turn]]\nmessages = ['notice', 'prompt']\nexpect = ['[bg:{{{{a}}}}] running for', 'still there']\n\
             text = 'Yes. '\n[[turn]]\nmessages = ['background']\ntext = 'Done.'\n",
            gated("a", "x")
        );
        let mut talk = lab.session(&script).await;
        talk.prompt("go").await;
        let id = talk.id();
        let busy = Session::load(lab.background.clone(), lab.options(&script), &id).await;
        let Err(Error::Busy { pid, .. }) = busy else { panic!("it is open: {busy:?}") };
        assert_eq!(pid, std::process::id());
        talk.close().await;
        lab.restart().await;

        let mut talk = lab.load(&id, lab.options(&script)).await;
        resumed(&mut talk).await;
        // All messages so far, in order.
        let shown: Vec<String> = talk
            .told
            .iter()
            .filter_map(|update| match update {
                Update::Title(text) => Some(format!("title {text}")),
                Update::Prompt(text) => Some(format!("prompt {text}")),
                Update::Answer { call } => Some(format!("call {call}")),
                Update::Thinking(text) => Some(format!("thinking {text}")),
                Update::Text(text) => Some(format!("text {text}")),
                Update::ToolCall { name, .. } => Some(format!("call {name}")),
                Update::ToolEnded { is_error, .. } => Some(format!("ended {is_error}")),
                Update::Traced(_) => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "title go",
                "prompt go",
                "call 1",
                "thinking Hm.",
                "text I start. ",
                "call background_run",
                "ended false",
                "call 2",
                "text I wait. "
            ]
        );
        talk.told.clear();
        assert_eq!(talk.prompt("still there?").await, TurnEnd::EndTurn);
        lab.open_gate("a");
        talk.turn_ended().await;
        assert_eq!(talk.said(), "Yes. Done.");
        let trace = talk.trace().await;
        let numbers: Vec<u64> = trace.events.iter().map(|event| event.n).collect();
        assert_eq!(numbers, (1..=trace.next).collect::<Vec<_>>(), "numbered through");
        let journey = &trace.journeys[0];
        assert_eq!((journey.spawned_in_call, journey.delivered.map(|d| d.0)), (Some(1), Some(4)));
        let unknown = Session::load(lab.background.clone(), lab.options(&script), "missing").await;
        assert!(matches!(unknown, Err(Error::Unknown(_))), "{unknown:?}");
        talk.close().await;
    });
}

#[test]
fn a_plan_is_shown_again_and_the_trace_is_whole_at_once() {
    run(async |lab: &mut Lab| {
        let script = "[[turn]]\n[[turn.call]]\ntool = 'update_plan'\n\
                      input = { plan = [{ step = 'look', status = 'in_progress' }] }\n\
                      [[turn]]\ntext = 'x'\n";
        let mut talk = lab.session(script).await;
        assert_eq!(talk.prompt("go").await, TurnEnd::EndTurn);
        let trace = talk.trace().await;
        assert!(
            matches!(trace.events.last().map(|event| &event.fact), Some(Fact::TurnEnded { .. })),
            "{trace:?}"
        );
        assert_eq!(
            Session::trace(&lab.background, &talk.id(), trace.next).await.unwrap().events,
            []
        );
        let id = talk.id();
        talk.close().await;
        let mut talk = lab.load(&id, lab.options(script)).await;
        resumed(&mut talk).await;
        let plan = talk.told.iter().find_map(|update| match update {
            Update::Plan(plan) => Some(plan[0].content.clone()),
            _ => None,
        });
        assert_eq!(plan.as_deref(), Some("look"));
        talk.close().await;
    });
}

#[test]
fn a_removed_task_stays_on_the_timeline() {
    run(async |lab: &mut Lab| {
        let script = "[[turn]]\n[[turn.call]]\ntool = 'bash'\ninput = { command = 'echo hi' }\n\
                      [[turn]]\nexpect = ['hi']\ntext = 'x'\n";
        let mut talk = lab.session(script).await;
        assert_eq!(talk.prompt("go").await, TurnEnd::EndTurn);
        let task = talk.tasks()[0];
        let what = meanwhile_core::background::Remove { ids: Some(vec![task]), ended_before: None };
        assert_eq!(lab.background.remove(what).await.unwrap(), 1);
        assert!(lab.background.get(task).await.is_err(), "it is gone for other processes too");
        let journey = talk.trace().await.journeys.remove(0);
        assert_eq!((journey.task.id, journey.task.command.as_str()), (task, "echo hi"));
        assert!(journey.task.end().is_some() && journey.queued.is_some());
        assert_eq!(journey.delivered.map(|told| told.0), Some(2));
        talk.close().await;
    });
}

#[test]
fn a_session_that_was_full_makes_room_before_it_asks_again() {
    run(async |lab: &mut Lab| {
        let mut talk = lab.session("[[turn]]\ntext = 'One.'\n").await;
        talk.prompt("go").await;
        let used = talk.told.iter().find_map(|update| match update {
            Update::Usage { used, .. } => Some(*used),
            _ => None,
        });
        let (id, used) = (talk.id(), used.expect("a call takes tokens"));
        talk.close().await;

        let full = |window: u64| {
            format!(
                "context_window = {window}\n[[turn]]\ntext = 'unused'\n\
                 [[turn]]\nwhen = 'Summarise this conversation'\ntext = 'We began.'\n\
                 [[turn]]\nwhen = 'and now'\nmessages = ['notice', 'prompt']\n\
                 expect = ['We began.', 'and now']\ntext = 'Two.'\n\
                 [[turn]]\nwhen = 'and then'\nmessages = ['prompt']\ntext = 'Three.'\n"
            )
        };
        let mut talk = lab.load(&id, lab.options(&full(used))).await;
        resumed(&mut talk).await;
        talk.told.clear();
        assert_eq!(talk.prompt("and now?").await, TurnEnd::EndTurn);
        assert_eq!(talk.said(), "Two.");
        talk.close().await;
        // Only the summary counts from now on: if it fits, no other is made.
        let mut talk = lab.load(&id, lab.options(&full(used * 2))).await;
        resumed(&mut talk).await;
        talk.told.clear();
        assert_eq!(talk.prompt("and then?").await, TurnEnd::EndTurn);
        assert_eq!(talk.said(), "Three.");
        talk.close().await;
    });
}

/// A process that has ended and that its parent does not reap, and the parent.
async fn zombie(lab: &Lab) -> (std::process::Child, u32) {
    // A shell reaps its children; the `sleep` that replaces it does not know about this one.
    let parent = Command::new("/bin/sh")
        .args(["-c", "sleep 0.1 & echo $! > zombie; exec sleep 30"])
        .current_dir(&lab.workspace)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut pid = None;
    eventually(async || {
        let text = std::fs::read_to_string(lab.workspace.join("zombie")).unwrap_or_default();
        pid = text.trim().parse::<u32>().ok();
        let stat = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        stat.is_some_and(|stat| stat.contains(") Z "))
    })
    .await;
    (parent, pid.unwrap())
}

/// A process that was killed while it started another one seems alive by its bell until the other one has
/// closed its copy, and it is a zombie until its parent reaps it.
#[test]
fn a_holder_that_is_a_zombie_is_waited_out() {
    run(async |lab: &mut Lab| {
        let talk = lab.session("[[turn]]\ntext = 'x'\n").await;
        let (id, ledger) = (talk.id(), lab.ledger());
        let holder = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let bell = ledger.query_row("SELECT holder FROM sessions", [], holder).unwrap();
        talk.close().await;
        let free = "SELECT count(*) FROM sessions WHERE holder IS NULL";
        eventually(async || ledger.query_row(free, [], |row| row.get(0)).unwrap_or(0) == 1).await;
        let (mut parent, pid) = zombie(lab).await;
        let hold = "UPDATE sessions SET holder = ?1, holder_pid = ?2";
        ledger.execute(hold, rusqlite::params![bell, pid]).unwrap();
        let released = async {
            // The store works in order: this is done after the first check of the holder.
            Session::trace(&lab.background, &id, 0).await.unwrap();
            ledger.execute("UPDATE sessions SET holder = NULL, holder_pid = NULL", []).unwrap();
        };
        let options = lab.options("[[turn]]\ntext = 'x'\n");
        let load = Session::load(lab.background.clone(), options, &id);
        let (loaded, ()) = tokio::join!(load, released);
        parent.kill().unwrap();
        let (session, _updates) = loaded.unwrap();
        session.close().await;
    });
}

/// The model's server is down for eleven minutes, starting before a task ends, and the daemon is restarted in
/// between: the result is delivered once, in one answer, without a person. The clock is paused.
#[test]
fn an_outage_of_eleven_minutes_and_a_restart_are_outlasted() {
    run(async |lab: &mut Lab| {
        let half = Duration::from_secs(330);
        let script = |times: u32| {
            format!(
                "[[turn]]\n[[turn.call]]\ntool = 'background_run'\ninput = {{ command = '{}' }}\n\
                 [[turn]]\ntext = 'waiting'\n\
                 [[turn]]\nmessages = ['background']\nfault = '503'\ntimes = {times}\n\
                 text = 'it is built'\n",
                gated("built", "built")
            )
        };
        let mut talk = lab.session(&script(9_999)).await;
        assert_eq!(talk.prompt("build it").await, TurnEnd::EndTurn);
        lab.open_gate("built");
        let is_retried = |update: &Update| matches!(update, Update::Retrying { .. });
        talk.until(is_retried).await;
        tokio::time::pause();
        let began = Instant::now();
        talk.outlast(|update| is_retried(update) && began.elapsed() >= half).await;
        tokio::time::resume();
        let id = talk.id();
        talk.close().await;
        lab.restart().await;

        // Ten rounds of three attempts take another six minutes.
        let mut talk = lab.load(&id, lab.options(&script(30))).await;
        talk.until(is_retried).await;
        tokio::time::pause();
        let began = Instant::now();
        talk.outlast(|update| matches!(update, Update::TurnEnded { .. })).await;
        assert!(began.elapsed() >= half, "{:?}", began.elapsed());
        tokio::time::resume();
        assert_eq!(talk.ends(), [TurnEnd::EndTurn]);
        assert_eq!(talk.said().matches("it is built").count(), 1);
        // It was delivered with one call, and the queue is empty.
        assert_eq!(talk.delivered().await.len(), 1);
        talk.session.idle().await.unwrap();
        assert_eq!(talk.session.unfinished().await.unwrap().1, 0);
        talk.close().await;
    });
}
