//! `meanwhile wait`: waits until tasks end.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{select_all, try_join_all};
use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Background, Event, Events, Mode, Waited, Which};
use meanwhile_core::{Error, limits};

use super::args;
use super::failure::Failure;
use super::ids::{self, Place};
use super::live::{self, Live};
use super::out::{note, remark};
use super::session::Session;
use super::{json, show, spawn};

pub(crate) async fn run(session: &mut Session, args: args::Wait) -> Result<u8, Failure> {
    let queue = session.queue(args.queue);
    let mut places = match args.ids.is_empty() {
        true => {
            let ids = session.background.in_queue(queue.clone()).await?;
            vec![Place { elsewhere: None, ids }]
        }
        false => ids::resolve(session, &args.ids).await?,
    };
    let Session { background, events, out, .. } = session;
    let mut streams = vec![events];
    let mut waits = Vec::with_capacity(places.len());
    for Place { elsewhere, ids } in &mut places {
        let background = match elsewhere {
            Some((background, events)) => {
                streams.push(events);
                background.clone()
            }
            None => background.clone(),
        };
        waits.push((background, ids.clone()));
    }
    let mut tasks = Vec::new();
    for (background, ids) in &waits {
        for id in ids {
            tasks.push(background.get(*id).await?);
        }
    }
    if tasks.is_empty() && !args.json {
        let queue = show::one_line(&queue);
        remark(format_args!("no task of the queue `{queue}` is running, and the queue is empty"));
    }
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    let mut live = match args.json {
        true => None,
        false => Live::new(background, &tasks).await?,
    };
    let mut told = BTreeSet::new();
    let mode = if args.any { Mode::Any } else { Mode::All };
    let timeout = args.timeout.unwrap_or(limits::TIME_MAX);
    let mut tick = tokio::time::interval(live::TICK);
    let mut wait = std::pin::pin!(wait_everywhere(&waits, mode, timeout));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let waited = loop {
        tokio::select! {
            waited = &mut wait => break waited?,
            event = next_event(&mut streams), if live.is_some() => if let (Some(live), Some(event)) =
                (&mut live, event)
            {
                show_event(live, event, &ids, &mut told);
            },
            _ = tick.tick(), if live.is_some() => if let Some(live) = &mut live {
                live.tick();
            },
            _ = &mut interrupt => {
                drop(live);
                return Ok(spawn::interrupted(&running(&waits).await));
            }
        }
    };
    if let Some(live) = &mut live {
        for task in waited.tasks.iter().filter(|task| task.end().is_some()) {
            if told.insert(task.id) {
                live.ended(task);
            }
        }
    }
    drop(live);
    if args.json {
        out.json(&json::waited(&waited))?;
    } else if waited.timed_out {
        note(still_running(&waited.tasks, timeout));
    }
    Ok(exit_code(&waited))
}

/// The tasks that have not ended.
async fn running(waits: &[(Background, Vec<TaskId>)]) -> Vec<TaskId> {
    let mut running = Vec::new();
    for (background, ids) in waits {
        for id in ids {
            let task = background.get(*id).await;
            if !task.is_ok_and(|task| task.end().is_some()) {
                running.push(*id);
            }
        }
    }
    running
}

/// Waits in each workspace for its tasks.
async fn wait_everywhere(
    waits: &[(Background, Vec<TaskId>)],
    mode: Mode,
    timeout: Duration,
) -> Result<Waited, Error> {
    let waits_for = |timeout| {
        waits.iter().map(move |(background, ids)| {
            Box::pin(background.wait(Which::Ids(ids.clone()), mode, timeout))
        })
    };
    let all = match mode {
        Mode::All => try_join_all(waits_for(timeout)).await?,
        Mode::Any => {
            let timed_out = select_all(waits_for(timeout)).await.0?.timed_out;
            // Get the current state of all tasks.
            let mut all = try_join_all(waits_for(Duration::ZERO)).await?;
            all.iter_mut().for_each(|waited| waited.timed_out = timed_out);
            all
        }
    };
    Ok(Waited {
        timed_out: all.iter().any(|waited| waited.timed_out),
        tasks: all.into_iter().flat_map(|waited| waited.tasks).collect(),
    })
}

/// The next event in any of the workspaces.
async fn next_event(streams: &mut [&mut Events]) -> Option<Event> {
    select_all(streams.iter_mut().map(|events| Box::pin(events.next()))).await.0
}

fn show_event(live: &mut Live, event: Event, ids: &[TaskId], told: &mut BTreeSet<TaskId>) {
    match event {
        Event::Progress { id, progress } => live.progress(id, progress),
        Event::Exited(notification) => {
            let task = &notification.task;
            if ids.contains(&task.id) && told.insert(task.id) {
                live.ended(task);
            }
        }
        Event::Started(_)
        | Event::Began { .. }
        | Event::Output { .. }
        | Event::Listening { .. }
        | Event::State(_)
        | Event::Notified(_)
        | Event::Changed { .. } => {}
    }
}

fn still_running(tasks: &[Task], timeout: Duration) -> String {
    let running: Vec<&str> =
        tasks.iter().filter(|task| task.end().is_none()).map(|task| task.id.as_str()).collect();
    let verb = if running.len() == 1 { "runs" } else { "run" };
    format!("after {} {} still {verb}", show::elapsed(timeout), running.join(", "))
}

/// The highest exit code of the ended tasks; 124 after a timeout.
fn exit_code(waited: &Waited) -> u8 {
    if waited.timed_out {
        return show::TIMED_OUT;
    }
    waited.tasks.iter().filter_map(Task::end).map(show::exit_code).max().unwrap_or(0)
}
