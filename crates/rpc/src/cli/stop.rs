//! `meanwhile stop`: ends tasks, with every process they started.

use meanwhile_core::Error;
use meanwhile_core::background::Stop;
use meanwhile_core::background::task::{Actor, Cause, Task, TaskId};
use tokio::task::JoinSet;

use super::args;
use super::failure::{FAILED, Failure};
use super::live::result_line;
use super::out::{note, remark};
use super::session::Session;
use super::{ids, json};

pub(crate) async fn run(session: &mut Session, args: args::Stop) -> Result<u8, Failure> {
    let Session { background, out, .. } = session;
    let ids: Vec<TaskId> = match args.all {
        true => {
            let tasks = ids::list(background).await?;
            tasks.iter().filter(|task| task.end().is_none()).map(|task| task.id).collect()
        }
        false => ids::resolve(background, &args.ids).await?,
    };
    let how = Stop {
        signal: args.signal,
        grace: args.grace,
        cause: Cause { actor: Actor::Client, message: "stopped from the command line".to_owned() },
    };
    // All at once: ten tasks that need their grace need it together.
    let mut stops = JoinSet::new();
    for id in &ids {
        let (background, id, how) = (background.clone(), *id, how.clone());
        stops.spawn(async move { (id, background.stop(id, how).await) });
    }
    let mut stopped: Vec<Task> = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    while let Some(joined) = stops.join_next().await {
        let (_, result) =
            joined.map_err(|error| Failure::new(format!("a stop was lost: {error}")))?;
        match result {
            Ok(task) => {
                if !args.json {
                    out.line(result_line(&task, out.colour))?;
                    out.flush()?;
                }
                stopped.push(task);
            }
            // It ended by itself between the list and the stop.
            Err(Error::NotRunning { .. }) if args.all => {}
            Err(error) => failures.push(error.into()),
        }
    }
    stopped.sort_by_key(|task| ids.iter().position(|id| *id == task.id));
    if args.json {
        out.json(&json::tasks(&stopped))?;
    } else if ids.is_empty() {
        remark("nothing runs here");
    }
    for failure in &failures {
        failure.tell();
    }
    for survivor in stopped.iter().flat_map(|task| &task.survivors) {
        note(format_args!(
            "process {} could not be ended yet: {}",
            survivor.pid,
            super::show::one_line(&survivor.command)
        ));
    }
    Ok(if failures.is_empty() { 0 } else { FAILED })
}
