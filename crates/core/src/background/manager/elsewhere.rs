//! Tasks at a place: which parameters their spawn may have, and how their output is fetched on request.

use std::path::{Path, PathBuf};
use std::time::Duration;

use meanwhile_shim::bell::{self, Kind, Message};
use meanwhile_shim::{layout, place};

use super::{Background, closed};
use crate::background::places::{self, Check, Place, sbatch};
use crate::background::sources::Sources;
use crate::background::task::{Task, TaskId};
use crate::background::{Line, Resources, Spawn};
use crate::error::Error;

/// How long a read waits for output that is being fetched from a place.
const FETCH_PATIENCE: Duration = Duration::from_secs(2);
/// The interval at which it checks whether the output was fetched.
const FETCH_ROUND: Duration = Duration::from_millis(10);
/// The interval of checks whether a place can be reached.
const REACH_ROUND: Duration = Duration::from_millis(500);

/// Refuses parameters that a task at a place cannot have.
pub(super) fn check(wish: &Spawn) -> Result<(), Error> {
    if wish.on.is_none() {
        return match wish.resources == Resources::default() {
            true => Ok(()),
            false => Err(of_an_engine("leave them out, or name a place in `on`")),
        };
    }
    let Line { slot, after, deadline, .. } = &wish.line;
    let refused = [
        ("confine", wish.confine.is_some()),
        ("slot", slot.is_some()),
        ("after", !after.is_empty()),
        ("queueDeadlineMs", deadline.is_some()),
    ];
    match refused.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((field, _)) => Err(Error::Invalid {
            field: field.to_owned(),
            message: "a task at a place cannot have it; leave it out, or leave `on` out".to_owned(),
        }),
    }
}

/// The error for resources that only a batch system can provide.
fn of_an_engine(advice: &str) -> Error {
    let message = format!("only a batch system provides resources; {advice}");
    Error::Invalid { field: "resources".to_owned(), message }
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

impl Background {
    /// Refuses resources if the place is not a batch system.
    pub(super) fn check_resources(&self, name: &str, asked: &Resources) -> Result<(), Error> {
        let place = places::find(&self.settings.places, name)?;
        if !place.has_resources() && *asked != Resources::default() {
            return Err(of_an_engine(&format!("`{name}` is a command, so leave them out")));
        }
        sbatch::check(&asked.extra)
            .map_err(|message| Error::Invalid { field: "resources.extra".to_owned(), message })
    }

    /// Prepares a spawn at a place, and returns the directory there that corresponds to `cwd`, and the state of the
    /// sources here if it is to be compared.
    pub(super) async fn directory_at(
        &self,
        name: &str,
        cwd: &Path,
    ) -> Result<(PathBuf, Option<String>), Error> {
        let place = places::find(&self.settings.places, name)?;
        let there = places::map(place, &self.workspace, cwd, home().as_deref());
        let there = there.map_err(|message| Error::Invalid { field: "cwd".to_owned(), message })?;
        let sources = self.prepare(name, &there).await?;
        Ok((there, sources))
    }

    /// Runs the `before` command of a place, if it has one. Then reads the state of the sources, if they are to be
    /// compared with those at the place.
    pub(super) async fn prepare(&self, name: &str, there: &Path) -> Result<Option<String>, Error> {
        let place = places::find(&self.settings.places, name)?.clone();
        let check = place.check;
        let here = places::unmap(&place, &self.workspace, there, home().as_deref());
        if !place.before.is_empty() {
            self.run_before(name, place).await?;
        }
        match check {
            None => Ok(None),
            Some(Check::Git) => match Sources::of(here).await {
                Ok(sources) => Ok(serde_json::to_string(&sources).ok()),
                Err(why) => Err(Error::Invalid {
                    field: "on".to_owned(),
                    message: format!(
                        "the sources cannot be compared with those at `{name}`, as its `check` asks, and nothing was \
                         spawned: {why}"
                    ),
                }),
            },
        }
    }

    async fn run_before(&self, name: &str, place: Place) -> Result<(), Error> {
        let (state, name) = (self.archive.root().to_owned(), name.to_owned());
        let workspace = self.workspace.clone();
        let prepared =
            tokio::task::spawn_blocking(move || places::prepare(&state, &name, &place, &workspace));
        prepared.await.map_err(|_| closed())?
    }

    /// Waits until all output that the place has of a task was fetched, or cannot be fetched now.
    pub(super) async fn fetch(&self, task: &Task) {
        let Some(name) = &task.on else { return };
        let id = task.id;
        let Some(before) = self.fetches(id) else { return };
        let listens = self.archive.fetch(id).is_ok();
        if !listens {
            if !self.is_partial(id) {
                return;
            }
            // The folder of the task was removed, so ring the courier: it looks for incomplete output.
            let hash = place::bell_hash(name);
            let message = Message { kind: Kind::Output, id: *id.as_bytes(), workspace: hash };
            let (root, name) = (self.archive.root().to_owned(), name.clone());
            let start = move || places::start_courier(&root, &name);
            let _ = tokio::task::spawn_blocking(start).await;
            bell::ring(&self.archive.root().join(layout::BELLS), message, None);
        }
        let until = tokio::time::Instant::now() + FETCH_PATIENCE;
        while tokio::time::Instant::now() < until {
            // A courier that was rung for this task connects again, so its last contact does not count.
            let lost =
                listens && self.archive.contact(name).is_some_and(|it| it.lost_since.is_some());
            if lost || self.fetches(id).is_none_or(|now| now > before) {
                return;
            }
            tokio::time::sleep(FETCH_ROUND).await;
        }
    }

    /// Returns when the place of a task is out of reach; never for a task on this machine.
    pub(super) async fn until_out_of_reach(&self, task: &Task) {
        let Some(name) = &task.on else { return std::future::pending().await };
        loop {
            // Sleep first: a task that was never sent ends at once.
            tokio::time::sleep(REACH_ROUND).await;
            if self.archive.contact(name).is_some_and(|contact| contact.lost_since.is_some()) {
                return;
            }
        }
    }

    /// How often the output of a task at a place was fetched; `None` if it is complete.
    fn fetches(&self, id: TaskId) -> Option<u64> {
        let reading = self.archive.read(id).ok()?;
        let place = reading.record().elsewhere?;
        (place.partial || !reading.has_ended()).then_some(place.fetches)
    }

    fn is_partial(&self, id: TaskId) -> bool {
        let reading = self.archive.read(id);
        reading.is_ok_and(|it| it.record().elsewhere.is_some_and(|place| place.partial))
    }
}
