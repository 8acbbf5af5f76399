//! Spawning: from a request to a task.

use meanwhile_shim::spec::Spec;

use super::Supervisor;
use crate::background::convert;
use crate::background::executor::Request;
use crate::background::live::life::{Answer, Life};
use crate::background::live::{Live, Reply};
use crate::background::task::TaskId;
use crate::background::watch::Scanner;
use crate::error::{Error, Limit};
use crate::limits::RUNNING_MAX;

impl Supervisor {
    pub(super) fn spawn(&mut self, mut spec: Box<Spec>, reply: Reply) {
        let id = match spec.id.parse() {
            Ok(claimed) => claimed,
            Err(_) => self.free_id(),
        };
        spec.id = id.to_string();
        let facts = convert::facts(id, &spec);
        let scanner = match self.admit().and_then(|()| Scanner::for_task(&facts.watches)) {
            Ok(scanner) => scanner,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let answer = if spec.checked { Answer::Executed } else { Answer::Accepted };
        let live = Live::new(facts, scanner, Life::Asked(reply, answer));
        self.tasks.insert(id, live);
        self.executor.ask(Request::Start(id, spec));
    }

    fn free_id(&self) -> TaskId {
        loop {
            let id = TaskId::random();
            if !self.tasks.contains_key(&id) && self.archive.is_free(id) {
                return id;
            }
        }
    }

    /// Whether a further task may be started now.
    fn admit(&self) -> Result<(), Error> {
        if let Some(fault) = &self.degraded {
            return Err(Error::StoreUnavailable(fault.clone()));
        }
        if self.over_quota {
            let message = format!(
                "the store takes more than its quota of {} bytes, all of it running or recent \
                 tasks",
                self.settings.quota
            );
            return Err(Error::LimitReached { limit: Limit::StoreQuota, message });
        }
        let running = self.tasks.values().filter(|live| !live.life.has_ended()).count();
        if running >= RUNNING_MAX {
            let message = format!("{RUNNING_MAX} tasks run in this workspace");
            return Err(Error::LimitReached { limit: Limit::RunningTasks, message });
        }
        Ok(())
    }

    /// Drops waiting starts whose spawner has disconnected.
    pub(super) fn withdraw_unwanted(&mut self) {
        let is_unwanted =
            |live: &Live| matches!(&live.life, Life::Asked(reply, _) if reply.is_closed());
        let unwanted = self.tasks.extract_if(|_, live| is_unwanted(live));
        for id in unwanted.map(|(id, _)| id).collect::<Vec<_>>() {
            self.executor.ask(Request::Release(id));
        }
    }
}
