//! From what a person typed to a task's id.
//!
//! An id may be cut to any beginning that names one task of the workspace, as git has it with
//! commits. The choice is a pure function of the text and the tasks there are.

use meanwhile_core::background::task::{Task, TaskId};
use meanwhile_core::background::{Background, Filter};
use meanwhile_core::limits;

use super::failure::Failure;
use super::show;

/// Shortest beginning that is taken: one digit is more often a slip than a name.
const PREFIX_MIN: usize = 2;
/// Candidates an error lists before it only counts them.
const CANDIDATES: usize = 5;

/// The tasks that were named, each once, in the order they were named.
pub(crate) async fn resolve(
    background: &Background,
    names: &[String],
) -> Result<Vec<TaskId>, Failure> {
    let tasks = match names.iter().all(|name| is_whole(name)) {
        true => Vec::new(),
        false => list(background).await?,
    };
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let id = pick(name, &tasks)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Every task of the workspace that one list can hold.
pub(crate) async fn list(background: &Background) -> Result<Vec<Task>, Failure> {
    Ok(background.list(Filter { state: None, limit: Some(limits::LIST_LIMIT_MAX) }).await?)
}

/// Whether this can be no more than one task's name, so that the list says nothing about it.
fn is_whole(name: &str) -> bool {
    name.to_ascii_lowercase().parse::<TaskId>().is_ok()
}

fn pick(name: &str, tasks: &[Task]) -> Result<TaskId, Failure> {
    let wanted = name.to_ascii_lowercase();
    let digits = wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits || wanted.len() < PREFIX_MIN || wanted.len() > 8 {
        let failure = Failure::usage(format!(
            "`{}` is not a task id: expected 8 hex digits, or at least the first {PREFIX_MIN}",
            show::one_line(name)
        ));
        let labelled = tasks.iter().find(|task| task.label.as_deref() == Some(name));
        return Err(match labelled {
            Some(task) => failure.hint(format!("the task labelled so is `{}`", task.id)),
            None => failure.hint("`meanwhile ps` shows the ids"),
        });
    }
    let matching: Vec<&Task> =
        tasks.iter().filter(|task| task.id.as_str().starts_with(&wanted)).collect();
    match matching.as_slice() {
        [task] => Ok(task.id),
        // A whole id may be of a task beyond what one list holds; the store knows.
        [] => wanted.parse().map_err(|_| unknown(&wanted, tasks)),
        several => {
            let failure =
                Failure::usage(format!("`{name}` could be any of {} tasks", several.len()));
            Err(candidates(failure, several.iter().copied()))
        }
    }
}

fn unknown(wanted: &str, tasks: &[Task]) -> Failure {
    let failure = Failure::new(format!("no task of this workspace has an id like `{wanted}`"));
    if tasks.is_empty() {
        return failure.hint("this workspace has no tasks; `--workspace DIR` looks in another");
    }
    candidates(failure, tasks.iter())
        .hint("`meanwhile ps --all` lists all; `--workspace DIR` looks in another")
}

fn candidates<'a>(failure: Failure, tasks: impl Iterator<Item = &'a Task>) -> Failure {
    tasks.take(CANDIDATES).fold(failure, |failure, task| {
        let command: String = show::one_line(&task.command).chars().take(60).collect();
        failure.hint(format!("{}  {}  {command}", task.id, show::state(task).0))
    })
}

#[cfg(test)]
mod tests {
    use meanwhile_core::background::task::{State, Timestamp};

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
            delivered: None,
        }
    }

    #[test]
    fn a_unique_beginning_names_a_task() {
        let tasks = [task("b3f9c2a1", None), task("b3770000", None), task("77e01c44", Some("web"))];
        let check = |name: &str, expected: Result<&str, &str>| match (pick(name, &tasks), expected)
        {
            (Ok(id), Ok(expected)) => assert_eq!(id.as_str(), expected, "{name}"),
            (Err(Failure::Told { message, hints, .. }), Err(expected)) => {
                let told = format!("{message}\n{}", hints.join("\n"));
                assert!(told.contains(expected), "{name}: {told}");
            }
            (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
        };
        check("77", Ok("77e01c44"));
        check("77E0", Ok("77e01c44"));
        check("b3f", Ok("b3f9c2a1"));
        check("b3f9c2a1", Ok("b3f9c2a1"));
        check("00000000", Ok("00000000"));
        check("b3", Err("`b3` could be any of 2 tasks\nb3f9c2a1  running  make\nb3770000"));
        check("0000", Err("no task of this workspace has an id like `0000`"));
        check("7", Err("at least the first 2"));
        check("", Err("is not a task id"));
        check("b3f9c2a11", Err("is not a task id"));
        check("../..", Err("is not a task id"));
        check("web", Err("the task labelled so is `77e01c44`"));
        check("other", Err("`meanwhile ps` shows the ids"));
    }

    #[test]
    fn a_whole_id_needs_no_list() {
        for (name, expected) in [
            ("b3f9c2a1", true),
            ("B3F9C2A1", true),
            ("b3f9c2a", false),
            ("b3f9c2a11", false),
            ("web", false),
            ("", false),
        ] {
            assert_eq!(is_whole(name), expected, "{name}");
            if expected {
                assert_eq!(pick(name, &[]).unwrap().as_str(), "b3f9c2a1");
            }
        }
    }

    #[test]
    fn an_empty_workspace_says_so() {
        let Err(Failure::Told { hints, .. }) = pick("abcd", &[]) else { panic!("nothing to find") };
        assert_eq!(hints, ["this workspace has no tasks; `--workspace DIR` looks in another"]);
    }
}
