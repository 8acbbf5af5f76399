//! `meanwhile stop`: stops tasks with all processes that they started.

use meanwhile_core::Error;
use meanwhile_core::background::task::{Actor, Cause, Task, TaskId};
use meanwhile_core::background::{Stop, left};
use tokio::task::JoinSet;

use super::args;
use super::failure::{FAILED, Failure};
use super::ids::{self, Place};
use super::json;
use super::live::result_line;
use super::out::{note, remark};
use super::session::Session;

pub(crate) async fn run(session: &mut Session, args: args::Stop) -> Result<u8, Failure> {
    let places = match args.all {
        true => {
            let tasks = ids::list(&session.background).await?;
            let is_left = |task: &&Task| task.end().is_none() || !task.survivors.is_empty();
            let ids = tasks.iter().filter(is_left).map(|task| task.id);
            vec![Place { elsewhere: None, ids: ids.collect() }]
        }
        false => ids::resolve(session, &args.ids).await?,
    };
    let Session { background, out, .. } = session;
    let how = Stop {
        signal: args.signal,
        grace: args.grace,
        cause: Cause { actor: Actor::Client, message: "stopped from the command line".to_owned() },
    };
    // In parallel, so that ten tasks that use their grace period do not take ten times as long.
    let mut stops = JoinSet::new();
    for Place { elsewhere, ids } in &places {
        let background = elsewhere.as_ref().map_or(&*background, |(background, _)| background);
        for id in ids {
            let (background, id, how) = (background.clone(), *id, how.clone());
            stops.spawn(async move { (id, background.stop(id, how).await) });
        }
    }
    let ids: Vec<TaskId> = places.into_iter().flat_map(|place| place.ids).collect();
    let mut stopped: Vec<Task> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    while let Some(joined) = stops.join_next().await {
        let (_, result) =
            joined.map_err(|error| Failure::new(format!("a stop failed: {error}")))?;
        match result {
            Ok(task) => {
                if !args.json {
                    out.line(result_line(&task, out.colour))?;
                    out.flush()?;
                }
                stopped.push(task);
            }
            // It ended between the list and the stop.
            Err(Error::NotRunning { .. }) if args.all => {}
            Err(error) => failures.push(error.into()),
        }
    }
    stopped.sort_by_key(|task| ids.iter().position(|id| *id == task.id));
    if args.json {
        out.json(&json::tasks(&stopped))?;
    } else if ids.is_empty() {
        remark("no task is running here");
    }
    for failure in &failures {
        failure.tell();
    }
    let alive: Vec<_> = stopped.iter().flat_map(|task| &task.survivors).collect();
    for survivor in &alive {
        note(format_args!(
            "process {} could not be ended: {} ({})",
            survivor.pid,
            super::show::one_line(&survivor.command),
            left::why(survivor)
        ));
    }
    Ok(if failures.is_empty() && alive.is_empty() { 0 } else { FAILED })
}
