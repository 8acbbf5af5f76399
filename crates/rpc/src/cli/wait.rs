//! `meanwhile wait`: until tasks end.

use std::collections::BTreeSet;

use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Event, Mode, Waited, Which};
use meanwhile_core::limits;

use super::args;
use super::failure::Failure;
use super::live::{self, Live};
use super::out::note;
use super::session::Session;
use super::{ids, json, show, spawn};

pub(crate) async fn run(session: &mut Session, args: args::Wait) -> Result<u8, Failure> {
    let Session { background, events, out, .. } = session;
    let ids = ids::resolve(background, &args.ids).await?;
    let mut tasks = Vec::with_capacity(ids.len());
    for id in &ids {
        tasks.push(background.get(*id).await?);
    }
    let mut live = match args.json {
        true => None,
        false => Live::new(background, &tasks).await?,
    };
    let mut told = BTreeSet::new();
    let mode = if args.any { Mode::Any } else { Mode::All };
    let timeout = args.timeout.unwrap_or(limits::TIME_MAX);
    let mut tick = tokio::time::interval(live::TICK);
    let mut wait = std::pin::pin!(background.wait(Which::Ids(ids.clone()), mode, timeout));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let waited = loop {
        tokio::select! {
            waited = &mut wait => break waited?,
            event = events.next(), if live.is_some() => if let (Some(live), Some(event)) =
                (&mut live, event)
            {
                show_event(live, event, &ids, &mut told);
            },
            _ = tick.tick(), if live.is_some() => if let Some(live) = &mut live {
                live.tick();
            },
            _ = &mut interrupt => {
                drop(live);
                let mut running = Vec::new();
                for id in ids {
                    let is_over = background.get(id).await.is_ok_and(|task| task.end().is_some());
                    if !is_over {
                        running.push(id);
                    }
                }
                return Ok(spawn::interrupted(&running));
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

fn show_event(live: &mut Live, event: Event, ids: &[TaskId], told: &mut BTreeSet<TaskId>) {
    match event {
        Event::Progress { id, progress } => live.progress(id, progress),
        Event::Exited(notification) => {
            let task = &notification.task;
            if ids.contains(&task.id) && told.insert(task.id) {
                live.ended(task);
            }
        }
        Event::Started(_) | Event::Output { .. } | Event::Notified(_) | Event::Changed { .. } => {}
    }
}

fn still_running(tasks: &[Task], timeout: std::time::Duration) -> String {
    let running: Vec<&str> =
        tasks.iter().filter(|task| task.end().is_none()).map(|task| task.id.as_str()).collect();
    let verb = if running.len() == 1 { "runs" } else { "run" };
    format!("after {} {} still {verb}", show::elapsed(timeout), running.join(", "))
}

/// The highest exit code of those that ended; 124 where the time was up.
fn exit_code(waited: &Waited) -> u8 {
    if waited.timed_out {
        return show::TIMED_OUT;
    }
    waited.tasks.iter().filter_map(Task::end).map(show::exit_code).max().unwrap_or(0)
}
