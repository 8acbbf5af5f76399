//! Which agent session owns what this process spawns: the session in whose shell it runs.
//!
//! An agent (a host) names its session in the environment of the commands that it runs. A task that such a
//! command spawns belongs to the session, whatever directory the command changed to. If agents run inside each
//! other, several ids are set; the one that was set nearest to this process counts.

mod notes;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use meanwhile_shim::clock;

use crate::limits;

pub use notes::{Notes, Process};

/// Sets the queue of every command, with precedence over any host's id.
pub const QUEUE_VARIABLE: &str = "MEANWHILE_QUEUE";

/// Holds the session id of this project's own agent.
pub const SESSION_VARIABLE: &str = "MEANWHILE_SESSION_ID";

/// The variables in which hosts name their session: this project's own agent, Codex, Claude Code. If the order
/// in which they were set cannot be determined, the first counts: Codex's sandbox hides the processes outside
/// of it.
pub const HOSTS: [&str; 3] = [SESSION_VARIABLE, CODEX_VARIABLE, "CLAUDE_CODE_SESSION_ID"];

/// The variable with Codex's thread id, which Codex also sends with each of its requests.
const CODEX_VARIABLE: &str = "CODEX_THREAD_ID";

/// How many ancestors are searched. Longer chains between an agent and its command have not been seen.
const ANCESTORS: usize = 64;

/// The owner of the tasks that a command spawns and of the queue that it drains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name of the queue: the session's id, or the value of [`QUEUE_VARIABLE`].
    pub queue: String,
    /// The variable that holds this name in the environment of the owner's commands.
    pub variable: &'static str,
}

/// The environment's value cannot be the name of a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable `{variable}` is {problem}; it names a queue, in 1 to {limit} bytes of UTF-8", limit = limits::NAME_BYTES)]
pub struct BadName {
    variable: &'static str,
    problem: String,
}

impl Owner {
    /// The owner that the environment of this process or its ancestors names, if any. An empty variable counts
    /// as unset.
    ///
    /// # Errors
    ///
    /// The variable that was chosen is longer than a queue's name may be, or not UTF-8.
    pub fn find() -> Result<Option<Self>, BadName> {
        Self::find_by(|name| std::env::var_os(name), ancestors())
    }

    /// The owner whose host process is an ancestor of this one, if its hook has noted the session. For hosts
    /// that do not name their session in the environment of their commands.
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
                // Tasks do not have the host as an ancestor, so they get the queue by name.
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

    /// The owner of a request that names a thread of Codex. Only [`QUEUE_VARIABLE`] takes precedence.
    ///
    /// # Errors
    ///
    /// The chosen name is longer than a queue's name may be, empty, or not UTF-8.
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

    /// Whether a person or program named the queue itself, rather than a host naming its session.
    pub fn is_chosen(&self) -> bool {
        self.variable == QUEUE_VARIABLE
    }

    /// The variables of other hosts. They must be removed from the environment of this owner's commands: the
    /// processes that set them are not visible from there.
    pub fn others(&self) -> impl Iterator<Item = &'static str> {
        let own = self.variable;
        HOSTS.into_iter().filter(move |name| own != QUEUE_VARIABLE && *name != own)
    }
}

/// Whether all processes here end with the command that a host runs, because the host created a pid namespace
/// for this one command, as Codex's sandbox does. Process 1 of the namespace then already has the host's id,
/// which the host sets only for its commands.
pub fn ends_with_command() -> bool {
    let Ok(environment) = std::fs::read("/proc/1/environ") else { return false };
    HOSTS.into_iter().any(|name| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.is_some_and(|value| is_set(&environment, name, &value))
    })
}

/// Whether an environment in the format of `/proc/PID/environ` sets a variable to this value.
fn is_set(environment: &[u8], name: &str, value: &OsStr) -> bool {
    environment.split(|byte| *byte == 0).any(|entry| {
        let rest = entry.strip_prefix(name.as_bytes());
        rest.and_then(|rest| rest.strip_prefix(b"=")) == Some(value.as_bytes())
    })
}

/// The id that was set last: walks up the ancestors until one lacks an id or has a different one.
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

/// The environments with which the ancestors of this process were executed, the nearest first. Stops at one
/// that may not be read.
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

    /// The owner for a process with this environment, whose ancestors have these.
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
