//! `meanwhile ps`: the tasks of a workspace.

use std::time::Duration;

use meanwhile_core::background::task::{State, Task, Timestamp};
use meanwhile_core::background::{Filter, Look};
use meanwhile_core::limits;

use super::args;
use super::failure::Failure;
use super::out::{remark, style};
use super::session::Session;
use super::table::{Cell, Column, Fit, Table};
use super::{json, show};

/// The maximum number of ended tasks to list without `--all`, so that they fit on a screen with the running ones.
const RECENT_MAX: usize = 15;
/// How long an end counts as recent: one day.
const RECENT: Duration = Duration::from_secs(24 * 3_600);

pub(crate) async fn run(session: &mut Session, args: args::Ps) -> Result<u8, Failure> {
    let now = Timestamp::now();
    let filter = Filter {
        state: args.state.map(Into::into),
        limit: Some(limits::LIST_LIMIT_MAX),
        steps: args.steps,
    };
    let tasks = match args.everywhere {
        true => session.engine.tasks(filter, Look::Twice).await?,
        false => {
            session.background.settle().await?;
            session.background.list_after(filter, Look::Twice).await?
        }
    };
    let (tasks, older) = match args.all || args.state.is_some() {
        true => (tasks, 0),
        false => recent(tasks, now),
    };
    if args.json {
        session.out.json(&json::tasks(&tasks))?;
        return Ok(0);
    }
    if tasks.is_empty() && older == 0 {
        remark("no tasks here; `meanwhile spawn -- CMD` starts one");
    } else if !tasks.is_empty() {
        let text =
            table(&tasks, now, args.everywhere).render(session.out.width, session.out.colour);
        session.out.raw(text.as_bytes())?;
        session.out.flush()?;
    }
    if older > 0 {
        remark(format_args!("{older} older; `meanwhile ps --all` lists them too"));
    }
    Ok(0)
}

/// The running and recently ended tasks, and how many more there are.
fn recent(mut tasks: Vec<Task>, now: Timestamp) -> (Vec<Task>, usize) {
    let all = tasks.len();
    let mut ended = 0;
    tasks.retain(|task| match &task.state {
        State::Queued(_) | State::Running | State::Stopping { .. } => true,
        State::Ended(end) => {
            ended += 1;
            ended <= RECENT_MAX && now.since(end.at) <= RECENT
        }
    });
    let older = all - tasks.len();
    (tasks, older)
}

fn table(tasks: &[Task], now: Timestamp, everywhere: bool) -> Table {
    let labelled = tasks.iter().any(|task| task.label.is_some());
    let mut columns = vec![
        Column { title: "ID", fit: Fit::Fixed },
        Column { title: "STATE", fit: Fit::Fixed },
        Column { title: "TIME", fit: Fit::Optional(1) },
        Column { title: "STARTED", fit: Fit::Optional(4) },
        Column { title: "OUTPUT", fit: Fit::Optional(3) },
    ];
    if labelled {
        columns.push(Column { title: "LABEL", fit: Fit::Optional(2) });
    }
    let serves = tasks.iter().any(|task| !task.serving.ports.is_empty());
    if serves {
        columns.push(Column { title: "PORTS", fit: Fit::Optional(1) });
    }
    let elsewhere = tasks.iter().any(|task| task.on.is_some());
    if elsewhere {
        columns.push(Column { title: "PLACE", fit: Fit::Optional(0) });
    }
    if everywhere {
        columns.push(Column { title: "WORKSPACE", fit: Fit::Fixed });
    }
    columns.push(Column { title: "COMMAND", fit: Fit::Stretch });
    let rows = tasks.iter().map(|task| {
        let (mut state, look) = show::state(task);
        if let survivors @ 1.. = task.survivors.len() {
            state = format!("{state} +{survivors} alive");
        }
        let mut row = vec![
            Cell::new(task.id.to_string(), style::BOLD),
            Cell::new(state, look),
            Cell::new(show::elapsed(show::age(task, now)), style::PLAIN),
            Cell::new(format!("{} ago", show::elapsed(now.since(task.created_at))), style::DIM),
            Cell::new(show::bytes(task.output.total), style::DIM),
        ];
        if labelled {
            let label = task.label.as_deref().map(show::one_line).unwrap_or_default();
            row.push(Cell::new(label, style::PLAIN));
        }
        if serves {
            let ports: Vec<String> = task.serving.ports.iter().map(u16::to_string).collect();
            row.push(Cell::new(ports.join(" "), style::PLAIN));
        }
        if elsewhere {
            row.push(Cell::new(task.on.clone().unwrap_or_default(), style::PLAIN));
        }
        if everywhere {
            let workspace = show::one_line(&task.workspace.to_string_lossy());
            row.push(Cell::new(workspace, style::PLAIN));
        }
        row.push(Cell::new(show::one_line(&task.command), style::PLAIN));
        row
    });
    Table { columns, rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    use meanwhile_core::background::task::{End, Exit, Outcome, TaskId};

    use super::*;

    fn task(ended_ago: Option<Duration>) -> Task {
        let at = |ago: Duration| Timestamp(NOW.0 - ago.as_millis() as i64);
        let state = match ended_ago {
            None => State::Running,
            Some(ago) => State::Ended(End {
                outcome: Outcome::Exited,
                exit: Exit::Code(0),
                cause: None,
                at: at(ago),
                duration: Duration::ZERO,
            }),
        };
        Task {
            id: TaskId::random(),
            workspace: "/w".into(),
            queue: "default".to_owned(),
            label: None,
            command: "make".to_owned(),
            cwd: "/w".into(),
            pid: None,
            state,
            created_at: Timestamp(0),
            deadline: None,
            output: Default::default(),
            progress: None,
            survivors: Vec::new(),
            is_step: false,
            on: None,
            contact: None,
            job: None,
            delivered: None,
            serving: Default::default(),
            waits_for_input: false,
        }
    }

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    #[test]
    fn what_runs_and_what_ended_lately_is_recent() {
        let check = |running: usize, ended: &[u64], shown: usize, older: usize| {
            let minutes = |minutes: &u64| task(Some(Duration::from_secs(minutes * 60)));
            let running = (0..running).map(|_| task(None));
            let tasks = running.chain(ended.iter().map(minutes)).collect();
            let (recent, left) = recent(tasks, NOW);
            assert_eq!((recent.len(), left), (shown, older), "{ended:?}");
        };
        check(0, &[], 0, 0);
        check(40, &[1, 2, 3], 43, 0);
        check(1, &[1, 24 * 60, 24 * 60 + 1], 3, 1);
        check(1, &[1; 20], 1 + RECENT_MAX, 20 - RECENT_MAX);
    }

    #[test]
    fn labels_have_a_column_only_where_there_are_some() {
        let mut one = task(None);
        let titles = |task: &Task| {
            table(std::slice::from_ref(task), NOW, false)
                .render(None, false)
                .lines()
                .next()
                .map(str::to_owned)
        };
        assert!(titles(&one).is_some_and(|line| !line.contains("LABEL")));
        one.label = Some("web".to_owned());
        assert!(titles(&one).is_some_and(|line| line.contains("LABEL")));
    }
}
