//! Orders to tasks: to stop, and signals.

use std::path::Path;
use std::time::Duration;

use meanwhile_core::background::words::reason;
use meanwhile_core::limits;
use meanwhile_shim::ctl::{Order, Recipient};
use meanwhile_shim::node;
use meanwhile_shim::record::{Actor, Cause, Outcome};
use serde_json::Value;
use tokio::time::Instant;

use super::job::Stop;
use super::{Done, RETRY, Work, commands, folder};
use crate::convert::signal;

impl Work {
    /// Notes the order to stop a task.
    pub(super) fn order_stop(&mut self, id: &str, params: &Value) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let usual = Stop::usual();
        let signal = params["signal"].as_str().and_then(signal::number).unwrap_or(usual.signal);
        let grace = params["graceMs"].as_u64().map_or(usual.grace, Duration::from_millis);
        job.stop = Some(Stop { signal, grace, ..usual });
    }

    /// Carries out the order to stop a task, again where it has not helped.
    pub(super) fn carry_out(&mut self, id: &str) {
        let now = Instant::now();
        let is_submitting = self.submitting.as_deref() == Some(id);
        let Some(job) = self.jobs.get_mut(id) else { return };
        let is_waiting = job.spec.is_some();
        let is_due = match is_waiting {
            // Once `sbatch` has answered there is a job to cancel, or there is none.
            true => !is_submitting,
            false => !job.number.is_empty() && (job.end.is_none() || job.is_closed),
        };
        let has_begun = job.has_begun();
        let Some(stop) = job.stop.as_mut().filter(|stop| is_due && now >= stop.again_at) else {
            return;
        };
        stop.tries += 1;
        stop.again_at = now + RETRY.max(stop.grace);
        if is_waiting {
            let message = "it was stopped before Slurm had it".to_owned();
            return self.end_before(id, Outcome::Stopped, message);
        }
        let (signal, grace, tries) = (stop.signal, stop.grace, stop.tries);
        if job.word.is_last() {
            return self.stop_without_slurm(id);
        }
        let (number, id) = (job.number.clone(), id.to_owned());
        if self.silence.is_some() {
            // The controller has not answered lately, so the command may take long to fail.
            self.stop_without_slurm(&id);
        }
        let is_usual = signal == libc::SIGTERM && grace == limits::STOP_GRACE;
        if has_begun && tries == 1 && !is_usual {
            let cause = Cause { actor: Actor::Client, message: String::new() };
            return self.order(&id, &Order::Stop { signal, grace, cause });
        }
        // The keeper alone first: it ends the tree and leaves a record. Then Slurm ends what it has not ended.
        let keeper_alone = has_begun && tries <= 1 + u32::from(!is_usual);
        self.start(async move { Done::Ordered(id, commands::cancel(&number, keeper_alone).await) });
    }

    /// Leaves the order to stop in the folder of the task, where its keeper finds it: Slurm does not answer, or takes
    /// the job for over although the keeper lives.
    pub(super) fn stop_without_slurm(&mut self, id: &str) {
        let Some(job) = self.jobs.get(id).filter(|job| job.end.is_none() && job.has_begun()) else {
            return;
        };
        let Some(stop) = &job.stop else { return };
        if let Err(error) = folder::order_stop(&job.dir, stop.signal, stop.grace) {
            tracing::warn!("task {id}: {}", reason(&error));
        }
    }

    /// Sends a signal to a task that runs.
    pub(super) fn signal(&mut self, id: &str, params: &Value) -> Result<(), &'static str> {
        let Some(signal) = params["signal"].as_str().and_then(signal::number) else {
            return Err("unknown signal");
        };
        if !self.jobs.get(id).is_some_and(|job| job.has_begun() && job.end.is_none()) {
            // `srun` would wait for the start of the job, and send it then.
            return Err("the task does not run; expected a task that has started");
        }
        let to = if params["to"] == "leader" { Recipient::Leader } else { Recipient::Group };
        let message = "sent from another machine".to_owned();
        let cause = Cause { actor: Actor::Client, message };
        self.order(id, &Order::Signal { signal, to, cause });
        Ok(())
    }

    /// Hands an order to the shim, on its own node.
    fn order(&mut self, id: &str, order: &Order) {
        let (Some(job), Some(shared)) = (self.jobs.get(id), &self.shared) else { return };
        let Ok(name) = id.as_bytes().try_into() else { return };
        let digits: String = order.to_bytes(name).iter().map(|it| format!("{it:02x}")).collect();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let argv = [text(&shared.shim), node::ORDER.to_owned(), text(&job.dir), digits];
        let (number, host, id) = (job.number.clone(), job.host().to_owned(), id.to_owned());
        self.start(async move { Done::Ordered(id, commands::beside(&number, &host, &argv).await) });
    }
}
