//! Starts a task, once for each token.

use std::time::Duration;

use meanwhile_shim::spec::Spec;

use super::{Background, elsewhere};
use crate::background::demand::Demand;
use crate::background::task::{Task, TaskId};
use crate::background::{Spawn, Spawned, Token};
use crate::error::Error;

/// How often a spawn with a token checks for the task of another spawn with the same token.
const TOKEN_ROUND: Duration = Duration::from_millis(10);
/// How many checks: longer than a spawn takes. After that, the other spawner counts as dead.
const TOKEN_LOOKS: u32 = 100;
/// The maximum total time of the checks, if each one is slow because the machine is busy.
const TOKEN_PATIENCE: Duration = Duration::from_secs(5);

impl Background {
    pub(super) async fn start_task(&self, wish: Spawn) -> Result<Spawned, Error> {
        elsewhere::check(&wish)?;
        let token = match wish.client_token.clone() {
            None => {
                let spec = Box::new(self.whole_spec(wish).await?);
                return self.ask(|reply| Demand::Spawn { spec, reply }).await?;
            }
            Some(Token::Claimed(token, id)) => {
                let spec = self.whole_spec(wish).await?;
                return self.spawn_as(id, token, spec).await;
            }
            Some(Token::New(token)) => token,
        };
        // Claim the token first: a task that already exists is the result, even if a new one could not be
        // created now.
        loop {
            let id = TaskId::random();
            let (workspace, name) = (self.workspace.clone(), token.clone());
            let claim = self.store.write(move |l| l.claim_token(&workspace, &name, id));
            let holder = claim.await?;
            if holder == id {
                let spec = match self.whole_spec(wish).await {
                    Ok(spec) => spec,
                    Err(error) => {
                        let (workspace, name) = (self.workspace.clone(), token);
                        self.store.write(move |l| l.release_token(&workspace, &name, id)).await?;
                        return Err(error);
                    }
                };
                // This took time, during which another spawn may have considered this one dead.
                let (workspace, name) = (self.workspace.clone(), token.clone());
                let claim = self.store.write(move |l| l.claim_token(&workspace, &name, id));
                let holder = claim.await?;
                if holder == id {
                    return self.spawn_as(id, token, spec).await;
                }
                let hold = crate::background::events::Hold::none();
                let task = self.await_token(holder).await?.ok_or(Error::UnknownTask(holder))?;
                return Ok(Spawned { task, hold });
            }
            if let Some(task) = self.await_token(holder).await? {
                let hold = crate::background::events::Hold::none();
                return Ok(Spawned { task, hold });
            }
            let (workspace, name) = (self.workspace.clone(), token.clone());
            self.store.write(move |l| l.release_token(&workspace, &name, holder)).await?;
        }
    }

    /// Spawns the task for which a token was claimed.
    async fn spawn_as(&self, id: TaskId, token: String, mut spec: Spec) -> Result<Spawned, Error> {
        spec.id = id.to_string();
        let spec = Box::new(spec);
        let spawned = self.ask(|reply| Demand::Spawn { spec, reply }).await?;
        if spawned.is_err() {
            let workspace = self.workspace.clone();
            self.store.write(move |l| l.release_token(&workspace, &token, id)).await?;
        }
        spawned
    }

    /// Waits for the task of a token; `None` if its spawn does not complete in time.
    async fn await_token(&self, id: TaskId) -> Result<Option<Task>, Error> {
        let until = tokio::time::Instant::now() + TOKEN_PATIENCE;
        for _ in 0..TOKEN_LOOKS {
            match self.find(id).await {
                Ok(task) => return Ok(Some(task)),
                Err(Error::UnknownTask(_)) if tokio::time::Instant::now() >= until => break,
                Err(Error::UnknownTask(_)) => tokio::time::sleep(TOKEN_ROUND).await,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The complete spec of a task, with its confinement.
    async fn whole_spec(&self, wish: Spawn) -> Result<Spec, Error> {
        let confine = wish.confine.clone();
        let mut spec = self.spec(wish).await?;
        if let Some(confine) = confine {
            spec.confine = Some(confine.mode);
            spec.plan = Some(Box::new(self.plan(confine).await?));
        }
        Ok(spec)
    }
}
