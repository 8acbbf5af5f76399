//! Starting a task again, as it was started.

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
    /// Starts a task again: the same command in the same directory and environment, with a new id.
    /// `given` are variables to set or take out; keys of models that the spawn named are not kept, and
    /// must be among them. A task that runs is stopped first.
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
                "what task `{id}` was started with is not kept ({error}); spawn its command instead"
            ),
        })?;
        if kept.spec.confine.is_some() {
            return Err(Error::Invalid {
                field: "id".to_owned(),
                message: format!(
                    "task `{id}` is confined, and what it may touch is not kept; spawn its command \
                     again with `confine`"
                ),
            });
        }
        let mut spec = again(kept, given)?;
        self.set_limit(&mut spec.line);
        match &spec.place {
            None => check_directory(&spec.cwd, &spec.command)?,
            Some(place) => self.prepare(place).await?,
        }
        match self.stop(id, how).await {
            Ok(task) if !task.survivors.is_empty() => {
                return Err(Error::Invalid {
                    field: "id".to_owned(),
                    message: format!(
                        "task `{id}` could not be ended as a whole, so it is not started again; \
                         `task/stop` names the processes that live on"
                    ),
                });
            }
            Ok(task) if task.end().is_none() => {
                return Err(Error::Invalid {
                    field: "id".to_owned(),
                    message: format!(
                        "task `{id}` runs at a place that cannot be reached now; it is stopped when that is there \
                         again, and is not started again before"
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

/// The spec of another task like this one.
fn again(kept: Kept, given: BTreeMap<String, Option<String>>) -> Result<Spec, Error> {
    let Kept { spec, base, mut keys } = kept;
    let is_key = |name: &OsStr| secret_variables().any(|secret| name == secret);
    // Its shim sets `PWD`, unless the spawn did.
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
                "the spawn named {}, and keys of models are not kept; expected here again, or null \
                 to go on without",
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
        // Who starts it again does not mean to wait for what it followed, or to skip it once more.
        line: spec::Line {
            slot: spec.line.slot,
            deadline: spec.line.deadline,
            ..spec::Line::default()
        },
        ..spec
    })
}
