//! Whose result it is: the session of the agent in whose shell this process runs.
//!
//! An agent (a host) names its session in the environment of the commands that it runs. A task that such
//! a command spawns is the session's, whatever directory the command went to. Where agents run inside
//! each other several ids are set, and the one that was set nearest to this process is meant.

mod notes;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use meanwhile_shim::clock;

use crate::limits;

pub use notes::{Notes, Process};

/// Names the queue of every command, before any host's id.
pub const QUEUE_VARIABLE: &str = "MEANWHILE_QUEUE";

/// Names the session of this project's own agent.
pub const SESSION_VARIABLE: &str = "MEANWHILE_SESSION_ID";

/// The variables in which hosts name their session: this project's own agent, Codex, Claude Code. Where it
/// cannot be seen which was set last, the first counts: a sandbox of Codex hides the processes outside of it.
pub const HOSTS: [&str; 3] = [SESSION_VARIABLE, CODEX_VARIABLE, "CLAUDE_CODE_SESSION_ID"];

/// Names the thread of Codex, which also comes with each of its requests.
const CODEX_VARIABLE: &str = "CODEX_THREAD_ID";

/// How many ancestors are looked at. More processes between an agent and its command were not seen.
const ANCESTORS: usize = 64;

/// Who owns what a command spawns and drains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name of the queue: the id of the session, or what [`QUEUE_VARIABLE`] says.
    pub queue: String,
    /// The variable that names it, in the environment of what the owner runs.
    pub variable: &'static str,
}

/// What the environment says cannot be the name of a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable `{variable}` is {problem}; it names a queue, in 1 to {limit} bytes of UTF-8", limit = limits::NAME_BYTES)]
pub struct BadName {
    variable: &'static str,
    problem: String,
}

impl Owner {
    /// The owner that this process's environment and ancestors name, if they name one. An empty
    /// variable names none.
    ///
    /// # Errors
    ///
    /// The variable that counts is longer than a queue's name may be, or not UTF-8.
    pub fn find() -> Result<Option<Self>, BadName> {
        Self::find_by(|name| std::env::var_os(name), ancestors())
    }

    /// The owner that a host's process above this one is, where its hook has noted its session. For hosts that
    /// name none in the environment of their commands.
    pub fn noted(notes: &Notes) -> Option<Self> {
        if !notes.exist() {
            return None;
        }
        let mut pid = std::os::unix::process::parent_id();
        for _ in 0..ANCESTORS {
            let stat = clock::stat_fields(pid)?;
            if let Some(queue) =
                stat.start_time.and_then(|start| notes.session_of(Process { pid, start }))
            {
                // Its tasks have no host above them: there the queue is named.
                return Some(Self { queue, variable: QUEUE_VARIABLE });
            }
            pid = stat.parent;
        }
        None
    }

    /// The owner that [`QUEUE_VARIABLE`] names, if it is set.
    ///
    /// # Errors
    ///
    /// Its value is longer than a queue's name may be, or not UTF-8.
    pub fn chosen() -> Result<Option<Self>, BadName> {
        let value = std::env::var_os(QUEUE_VARIABLE).filter(|value| !value.is_empty());
        value.map(|value| Self::named((QUEUE_VARIABLE, value))).transpose()
    }

    /// The owner of a request that names a thread of Codex: only [`QUEUE_VARIABLE`] comes before it.
    ///
    /// # Errors
    ///
    /// The name that counts is longer than a queue's name may be, empty, or not UTF-8.
    pub fn of_thread(thread: &str) -> Result<Self, BadName> {
        let queue = std::env::var_os(QUEUE_VARIABLE).filter(|value| !value.is_empty());
        let thread = || (CODEX_VARIABLE, OsString::from(thread));
        Self::named(queue.map_or_else(thread, |queue| (QUEUE_VARIABLE, queue)))
    }

    /// The owner of a request whose host's plugin names the session.
    ///
    /// # Errors
    ///
    /// The name is longer than a queue's name may be, or empty.
    pub fn of_plugin(session: &str) -> Result<Self, BadName> {
        Self::named((QUEUE_VARIABLE, OsString::from(session)))
    }

    fn find_by(
        variable: impl Fn(&str) -> Option<OsString>,
        ancestors: impl Iterator<Item = Vec<u8>>,
    ) -> Result<Option<Self>, BadName> {
        let set = |name: &'static str| {
            variable(name).filter(|value| !value.is_empty()).map(|value| (name, value))
        };
        if let Some(found) = set(QUEUE_VARIABLE) {
            return Self::named(found).map(Some);
        }
        let ids = HOSTS.into_iter().filter_map(set).collect();
        nearest(ids, ancestors).map(Self::named).transpose()
    }

    fn named((variable, value): (&'static str, OsString)) -> Result<Self, BadName> {
        let bad = |problem: String| BadName { variable, problem };
        let queue = value.into_string().map_err(|_| bad("not UTF-8".to_owned()))?;
        match queue.len() {
            1..=limits::NAME_BYTES => Ok(Self { queue, variable }),
            len => Err(bad(format!("{len} bytes long"))),
        }
    }

    /// Whether a person or program named the queue itself, rather than a host its session.
    pub fn is_chosen(&self) -> bool {
        self.variable == QUEUE_VARIABLE
    }

    /// The ids of other hosts. They do not belong into the environment of what this owner runs: there
    /// the processes that set them can no longer be seen.
    pub fn others(&self) -> impl Iterator<Item = &'static str> {
        let own = self.variable;
        HOSTS.into_iter().filter(move |name| own != QUEUE_VARIABLE && *name != own)
    }
}

/// Whether all processes here end with the command that a host runs: it made a namespace of process ids for
/// that one command, as the sandbox of Codex does. Process 1 of it then has the host's id already, which the host
/// sets for its commands only.
pub fn ends_with_command() -> bool {
    let Ok(environment) = std::fs::read("/proc/1/environ") else { return false };
    HOSTS.into_iter().any(|name| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.is_some_and(|value| is_set(&environment, name, &value))
    })
}

/// Whether an environment, as `/proc` has it, sets a variable to this.
fn is_set(environment: &[u8], name: &str, value: &OsStr) -> bool {
    environment.split(|byte| *byte == 0).any(|entry| {
        let rest = entry.strip_prefix(name.as_bytes());
        rest.and_then(|rest| rest.strip_prefix(b"=")) == Some(value.as_bytes())
    })
}

/// The id that was set last: walks up until one of them is missing or different in an ancestor.
fn nearest(
    mut ids: Vec<(&'static str, OsString)>,
    ancestors: impl Iterator<Item = Vec<u8>>,
) -> Option<(&'static str, OsString)> {
    if ids.len() > 1 {
        for environment in ancestors {
            let has = |(name, value): &(&str, OsString)| is_set(&environment, name, value);
            if let Some(at) = ids.iter().position(|id| !has(id)) {
                return Some(ids.swap_remove(at));
            }
        }
    }
    ids.into_iter().next()
}

/// The environments with which the ancestors of this process were executed, the nearest first. Ends
/// where one may not be read.
fn ancestors() -> impl Iterator<Item = Vec<u8>> {
    let mut pid = std::os::unix::process::parent_id();
    std::iter::from_fn(move || {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        pid = clock::stat_fields(pid)?.parent;
        Some(environment)
    })
    .take(ANCESTORS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODEX: &str = "CODEX_THREAD_ID";
    const CLAUDE: &str = "CLAUDE_CODE_SESSION_ID";

    /// The owner in a process with this environment, whose ancestors have those.
    fn owner(own: &[(&str, &str)], ancestors: &[&[u8]]) -> Result<Option<Owner>, BadName> {
        let variable = |name: &str| {
            own.iter().find(|(own, _)| *own == name).map(|(_, value)| OsString::from(value))
        };
        Owner::find_by(variable, ancestors.iter().map(|bytes| bytes.to_vec()))
    }

    fn queue(own: &[(&str, &str)], ancestors: &[&[u8]]) -> Option<String> {
        owner(own, ancestors).unwrap().map(|owner| owner.queue)
    }

    #[test]
    fn without_a_host_there_is_no_owner() {
        assert_eq!(queue(&[], &[]), None);
        assert_eq!(queue(&[(CLAUDE, ""), (QUEUE_VARIABLE, "")], &[]), None);
    }

    #[test]
    fn a_queue_that_is_named_comes_before_every_host() {
        let own = [(CLAUDE, "c"), (QUEUE_VARIABLE, "mine")];
        assert_eq!(queue(&own, &[]).as_deref(), Some("mine"));
    }

    #[test]
    fn the_agent_that_runs_inside_the_other_owns_it() {
        let both = [(CLAUDE, "c"), (CODEX, "x")];
        let shell: &[u8] = b"A=1\0CLAUDE_CODE_SESSION_ID=c\0CODEX_THREAD_ID=x\0";
        let in_claude: &[u8] = b"CLAUDE_CODE_SESSION_ID=c\0";
        let in_codex: &[u8] = b"CODEX_THREAD_ID=x\0";
        assert_eq!(queue(&both, &[shell, in_claude, b""]).as_deref(), Some("x"));
        assert_eq!(queue(&both, &[shell, shell, in_codex, b""]).as_deref(), Some("c"));
    }

    #[test]
    fn an_agent_inside_another_session_of_the_same_host_is_told_apart() {
        let both = [(CLAUDE, "inner"), (CODEX, "x")];
        let outer: &[u8] = b"CLAUDE_CODE_SESSION_ID=outer\0CODEX_THREAD_ID=x\0";
        assert_eq!(queue(&both, &[outer, b""]).as_deref(), Some("inner"));
    }

    #[test]
    fn a_name_that_only_begins_or_ends_alike_is_another() {
        let both = [(CLAUDE, "c"), (CODEX, "x")];
        let parent: &[u8] = b"MY_CODEX_THREAD_ID=x\0CODEX_THREAD_IDS=x\0CODEX_THREAD_ID=xx\0\
            CLAUDE_CODE_SESSION_ID=c\0";
        assert_eq!(queue(&both, &[parent]).as_deref(), Some("x"));
    }

    #[test]
    fn where_no_ancestor_can_be_seen_the_order_of_the_table_decides() {
        let all = [(CLAUDE, "c"), (CODEX, "x"), (SESSION_VARIABLE, "m")];
        assert_eq!(queue(&all, &[]).as_deref(), Some("m"));
        assert_eq!(queue(&all[..2], &[]).as_deref(), Some("x"));
    }

    #[test]
    fn what_cannot_name_a_queue_is_refused_with_its_variable() {
        let long = "x".repeat(limits::NAME_BYTES + 1);
        let error = owner(&[(CODEX, &long)], &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the environment variable `CODEX_THREAD_ID` is 257 bytes long; it names a queue, in 1 \
             to 256 bytes of UTF-8"
        );
    }

    #[test]
    fn the_ids_of_the_others_are_told() {
        let owner = Owner { queue: "x".to_owned(), variable: CODEX };
        assert_eq!(owner.others().collect::<Vec<_>>(), [SESSION_VARIABLE, CLAUDE]);
        let named = Owner { queue: "x".to_owned(), variable: QUEUE_VARIABLE };
        assert_eq!(named.others().count(), 0);
    }

    #[test]
    fn this_process_has_ancestors() {
        assert!(ancestors().next().is_some());
    }
}
