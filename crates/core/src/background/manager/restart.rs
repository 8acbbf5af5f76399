//! Restarts a task with its original parameters.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use meanwhile_shim::clock;
use meanwhile_shim::spec::{self, Kept, Spec};

use super::{Background, check_directory};
use crate::agent::vendor::secret_variables;
use crate::background::demand::Demand;
use crate::background::task::TaskId;
use crate::background::{Spawned, Stop};
use crate::error::Error;

impl Background {
    /// Restarts a task: the same command in the same directory and environment, with a new id. `given` are
    /// variables to set or remove. It must contain the model API keys that the spawn set, because they are not
    /// stored. A running task is stopped first.
    pub async fn restart(
        &self,
        id: TaskId,
        given: BTreeMap<String, Option<String>>,
        how: Stop,
    ) -> Result<Spawned, Error> {
        self.find(id).await?;
        let kept = self.archive.kept(id).map_err(|error| Error::Invalid {
            field: "id".to_owned(),
            message: format!(
                "the parameters of task `{id}` are not stored ({error}); spawn its command instead"
            ),
        })?;
        if kept.spec.confine.is_some() {
            return Err(Error::Invalid {
                field: "id".to_owned(),
                message: format!(
                    "task `{id}` is confined, and its confinement is not stored; spawn its command \
                     again with `confine`"
                ),
            });
        }
        let mut spec = again(kept, given)?;
        self.set_limit(&mut spec.line);
        match &spec.place {
            None => check_directory(&spec.cwd, &spec.command)?,
            Some(place) => spec.sources = self.prepare(place, &spec.cwd).await?,
        }
        match self.stop(id, how).await {
            Ok(task) if !task.survivors.is_empty() => {
                return Err(Error::Invalid {
                    field: "id".to_owned(),
                    message: format!(
                        "task `{id}` could not be stopped completely, so it is not restarted; `task/stop` \
                         names the processes that are still alive"
                    ),
                });
            }
            Ok(task) if task.end().is_none() => {
                return Err(Error::Invalid {
                    field: "id".to_owned(),
                    message: format!(
                        "task `{id}` runs at a place that cannot be reached now; it will be stopped once the \
                         place can be reached, and was not restarted"
                    ),
                });
            }
            Ok(_) | Err(Error::NotRunning { .. }) => {}
            Err(error) => return Err(error),
        }
        let spec = Box::new(Spec { workspace: self.workspace.clone(), ..spec });
        self.ask(|reply| Demand::Spawn { spec, reply }).await?
    }
}

/// The spec of a new task with the same parameters.
fn again(kept: Kept, given: BTreeMap<String, Option<String>>) -> Result<Spec, Error> {
    let Kept { spec, base, mut keys } = kept;
    let is_key = |name: &OsStr| secret_variables().any(|secret| name == secret);
    // The shim sets `PWD`, unless the spawn did.
    let mut env: BTreeMap<OsString, OsString> =
        base.into_iter().filter(|(name, _)| name != "PWD").collect();
    for (name, value) in spec.env {
        match value {
            Some(_) if is_key(&name) => keys.push(name),
            Some(value) => drop(env.insert(name, value)),
            None => drop(env.remove(&name)),
        }
    }
    for (name, value) in given {
        let name = OsString::from(name);
        keys.retain(|key| *key != name);
        match value {
            Some(value) => drop(env.insert(name, value.into())),
            None => drop(env.remove(&name)),
        }
    }
    if !keys.is_empty() {
        let names: Vec<String> = keys.iter().map(|key| format!("`{}`", key.display())).collect();
        return Err(Error::Invalid {
            field: "env".to_owned(),
            message: format!(
                "the spawn set {}, which is not stored because it is an API key; pass it again, or null to \
                 start without it",
                names.join(", ")
            ),
        });
    }
    Ok(Spec {
        id: String::new(),
        created_ms: clock::wall_ms(),
        env: env.into_iter().map(|(name, value)| (name, Some(value))).collect(),
        whole: true,
        client_token: None,
        // No turn of an agent waits for it.
        is_step: false,
        // A person who restarts a task wants neither to wait for the tasks that it followed nor to have it
        // skipped.
        line: spec::Line {
            slot: spec.line.slot,
            deadline: spec.line.deadline,
            ..spec::Line::default()
        },
        ..spec
    })
}
