//! Finds the tasks that a person names.
//!
//! A task is named by its id, from any directory; by its label, if that is unique; or by any unique start of its id,
//! like a commit in git. Tasks of this workspace take precedence. The choice is a pure function of the text and the
//! existing tasks.

use std::path::PathBuf;

use meanwhile_core::Error;
use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Background, Events, Filter, Look};
use meanwhile_core::limits;

use tokio::sync::OnceCell;

use super::failure::Failure;
use super::session::Session;
use super::show;

/// The shortest accepted start of an id: a single digit is more likely a typing error.
const PREFIX_MIN: usize = 2;
/// The maximum number of candidates that an error lists.
const CANDIDATES: usize = 5;

/// Named tasks of one workspace.
pub(crate) struct Place {
    /// The workspace, if it is not the session's own.
    pub(crate) elsewhere: Option<(Background, Events)>,
    /// The ids without duplicates, in the order in which they were named.
    pub(crate) ids: Vec<TaskId>,
}

/// Finds the named tasks, grouped by workspace.
pub(crate) async fn resolve(
    session: &mut Session,
    names: &[String],
) -> Result<Vec<Place>, Failure> {
    let mut found: Vec<(Option<PathBuf>, Vec<TaskId>)> = Vec::new();
    let lists = Lists::default();
    for name in names {
        let (workspace, id) = find(session, &lists, name).await?;
        match found.iter_mut().find(|(known, _)| *known == workspace) {
            Some((_, ids)) if ids.contains(&id) => {}
            Some((_, ids)) => ids.push(id),
            None => found.push((workspace, vec![id])),
        }
    }
    let mut places = Vec::new();
    for (workspace, ids) in found {
        let elsewhere = match workspace {
            Some(workspace) => Some(session.visit(workspace).await?),
            None => None,
        };
        places.push(Place { elsewhere, ids });
    }
    Ok(places)
}

/// The existing tasks. Each list is loaded at most once, and only if a name is not a full id.
#[derive(Default)]
struct Lists {
    here: OnceCell<Vec<Task>>,
    others: OnceCell<Vec<Task>>,
}

/// Finds one task, and its workspace if that is another one.
async fn find(
    session: &Session,
    lists: &Lists,
    name: &str,
) -> Result<(Option<PathBuf>, TaskId), Failure> {
    let Session { background, engine, .. } = session;
    if let Ok(id) = name.to_ascii_lowercase().parse::<TaskId>() {
        match background.get(id).await {
            Ok(_) => return Ok((None, id)),
            Err(Error::UnknownTask(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(workspace) = engine.workspace_of_task(id).await? {
            return Ok((Some(workspace), id));
        }
    }
    let here = lists.here.get_or_try_init(|| list(background)).await?;
    if let Some(task) = pick(name, here)? {
        return Ok((None, task.id));
    }
    let others = async || {
        let mut tasks = everywhere(session).await?;
        tasks.retain(|task| task.workspace != background.workspace());
        Ok::<_, Failure>(tasks)
    };
    let others = lists.others.get_or_try_init(others).await?;
    match pick(name, others)? {
        Some(task) => Ok((Some(task.workspace.clone()), task.id)),
        None => Err(unknown(name, here)),
    }
}

/// All tasks of the workspace, up to the limit of a list.
pub(crate) async fn list(background: &Background) -> Result<Vec<Task>, Failure> {
    Ok(background
        .list(Filter { state: None, limit: Some(limits::LIST_LIMIT_MAX), steps: true })
        .await?)
}

/// All tasks of the store, up to the limit of a list.
pub(crate) async fn everywhere(session: &Session) -> Result<Vec<Task>, Failure> {
    let filter = Filter { state: None, limit: Some(limits::LIST_LIMIT_MAX), steps: true };
    Ok(session.engine.tasks(filter, Look::Once).await?)
}

/// Whether this may be an id or the start of one.
fn is_beginning(name: &str) -> bool {
    (PREFIX_MIN..=8).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The one of these tasks that the name refers to, if any.
fn pick<'a>(name: &str, tasks: &'a [Task]) -> Result<Option<&'a Task>, Failure> {
    let labelled: Vec<&Task> =
        tasks.iter().filter(|task| task.label.as_deref() == Some(name)).collect();
    if !labelled.is_empty() {
        // Ended tasks with the label of a running one are its predecessors.
        let mut running = labelled.iter().filter(|task| task.end().is_none());
        return match (labelled.as_slice(), running.next(), running.next()) {
            ([task], ..) => Ok(Some(task)),
            (_, Some(task), None) => Ok(Some(task)),
            (several, ..) => Err(ambiguous(name, several)),
        };
    }
    if !is_beginning(name) {
        return Ok(None);
    }
    let wanted = name.to_ascii_lowercase();
    let matching: Vec<&Task> =
        tasks.iter().filter(|task| task.id.as_str().starts_with(&wanted)).collect();
    match matching.as_slice() {
        [] => Ok(None),
        [task] => Ok(Some(task)),
        several => Err(ambiguous(name, several)),
    }
}

fn ambiguous(name: &str, tasks: &[&Task]) -> Failure {
    let name = show::one_line(name);
    let failure = Failure::usage(format!("`{name}` could be any of {} tasks", tasks.len()));
    candidates(failure, tasks.iter().copied())
}

fn unknown(name: &str, here: &[Task]) -> Failure {
    let failure = if is_beginning(name) {
        let failure = format!("no task has an id like `{name}`, and none has this label");
        candidates(Failure::new(failure), here.iter())
    } else {
        Failure::usage(format!(
            "`{}` is not a task id, and no task has this label: expected 8 hex digits, at least \
             the first {PREFIX_MIN}, or a label",
            show::one_line(name)
        ))
    };
    failure.hint("`meanwhile ps --all` lists the tasks here, `meanwhile ps --everywhere` all")
}

fn candidates<'a>(failure: Failure, tasks: impl Iterator<Item = &'a Task>) -> Failure {
    tasks.take(CANDIDATES).fold(failure, |failure, task| {
        let command: String = show::one_line(&task.command).chars().take(60).collect();
        failure.hint(format!("{}  {}  {command}", task.id, show::state(task).0))
    })
}

#[cfg(test)]
mod tests {
    use meanwhile_core::background::task::{End, Exit, Outcome, State, Timestamp};

    use super::*;

    fn task(id: &str, label: Option<&str>) -> Task {
        Task {
            id: id.parse().expect("it is an id"),
            workspace: "/w".into(),
            queue: "default".to_owned(),
            label: label.map(str::to_owned),
            command: "make".to_owned(),
            cwd: "/w".into(),
            pid: None,
            state: State::Running,
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

    fn check(tasks: &[Task], name: &str, expected: Result<Option<&str>, &str>) {
        match (pick(name, tasks), expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found.map(|task| task.id.as_str()), expected, "{name}");
            }
            (Err(Failure::Told { message, hints, .. }), Err(expected)) => {
                let told = format!("{message}\n{}", hints.join("\n"));
                assert!(told.contains(expected), "{name}: {told}");
            }
            (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_label_or_a_unique_beginning_names_a_task() {
        let tasks =
            [task("b3f9c2a1", None), task("b3770000", Some("b3f9")), task("77e01c44", Some("web"))];
        let check = |name, expected| check(&tasks, name, expected);
        check("77", Ok(Some("77e01c44")));
        check("77E0", Ok(Some("77e01c44")));
        check("b3f", Ok(Some("b3f9c2a1")));
        check("b3f9c2a1", Ok(Some("b3f9c2a1")));
        check("b3", Err("`b3` could be any of 2 tasks\nb3f9c2a1  running  make\nb3770000"));
        check("web", Ok(Some("77e01c44")));
        check("b3f9", Ok(Some("b3770000")));
        for none in ["00000000", "0000", "7", "", "b3f9c2a11", "../..", "we", "other"] {
            check(none, Ok(None));
        }
    }

    #[test]
    fn a_label_of_several_names_the_one_that_runs() {
        let ended = |id| {
            let exit = Exit::Code(0);
            let (at, duration) = (Timestamp(0), std::time::Duration::ZERO);
            let end = End { outcome: Outcome::Exited, exit, cause: None, at, duration };
            Task { state: State::Ended(end), ..task(id, Some("web")) }
        };
        let (running, old) = (task("77e01c44", Some("web")), ended("b3f9c2a1"));
        check(&[running.clone(), old.clone()], "web", Ok(Some("77e01c44")));
        check(std::slice::from_ref(&old), "web", Ok(Some("b3f9c2a1")));
        check(&[old.clone(), ended("00000001")], "web", Err("any of 2 tasks"));
        check(&[running.clone(), running, old], "web", Err("any of 3 tasks"));
    }

    #[test]
    fn what_names_no_task_is_told_with_what_would() {
        for (name, expected) in [
            ("7", "is not a task id"),
            ("", "at least the first 2"),
            ("b3f9c2a11", "or a label"),
            ("0000", "no task has an id like `0000`"),
        ] {
            let text = unknown(name, &[]).to_string();
            assert!(text.contains(expected), "{name}: {text}");
        }
    }
}
