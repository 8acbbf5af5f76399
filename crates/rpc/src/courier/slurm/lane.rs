//! Tasks on their way to Slurm: their folders are made and found again, and they are handed in one after the other.

use std::io;

use meanwhile_core::background::words::reason;
use meanwhile_shim::record::Outcome;
use meanwhile_shim::spec::Spec;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::folder::{self, Made};
use super::job::{self, Job};
use super::submit::{self, Refusal};
use super::words::Word;
use super::{Done, INVALID, NOT_NOW, NOT_STARTED, Work};

impl Work {
    /// Takes a task: it is in its folder from here on, and is handed in after the answer.
    pub(super) fn spawn(&mut self, number: i64, params: &Value) {
        let Some(shared) = self.shared.clone() else {
            return self.refuse(number, NOT_NOW, "the shared directory is not known yet");
        };
        let spec = match job::spec(params) {
            Ok(spec) => spec,
            Err(why) => return self.refuse(number, INVALID, &why),
        };
        let id = spec.id.clone();
        if !self.jobs.contains_key(&id) {
            match folder::make(&shared, &spec) {
                Ok(made) => self.take(&id, spec, made),
                Err(error) => {
                    let dir = shared.task(&id);
                    let is_taken = error.kind() == io::ErrorKind::AlreadyExists;
                    let (code, why) = match is_taken {
                        true => (NOT_STARTED, "it is another task's; spawn it again".to_owned()),
                        false => (NOT_NOW, reason(&error)),
                    };
                    return self.refuse(number, code, &format!("`{}`: {why}", dir.display()));
                }
            }
        }
        self.note_stopped(&id, params);
        let task = self.jobs.get(&id).map(|job| job.task(&self.silence));
        self.answer(number, Ok(json!({"task": task})));
        self.carry_out(&id);
        self.hand_in();
    }

    /// Takes a task up from its folder, where it is not known yet.
    pub(super) fn find(&mut self, id: &str, params: &Value) -> io::Result<()> {
        if !self.jobs.contains_key(id) {
            let dir = self.shared.as_ref().ok_or(io::ErrorKind::NotConnected)?.task(id);
            let spec = folder::spec(&dir)?;
            self.take(id, spec, Made::Before);
            self.look_at(id);
        }
        self.note_stopped(id, params);
        self.carry_out(id);
        Ok(())
    }

    /// Notes that the courier has the order to stop a task: it must not be handed in.
    fn note_stopped(&mut self, id: &str, params: &Value) {
        if params["stop"].is_object() {
            self.order_stop(id, &params["stop"]);
        }
    }

    fn take(&mut self, id: &str, spec: Spec, made: Made) {
        let Some(shared) = &self.shared else { return };
        let dir = shared.task(id);
        let note = folder::note(&dir);
        let mut job = Job::new(id.to_owned(), dir, note.number, spec.resources.clone());
        if job.number.is_empty() && !folder::is_claimed(&job.dir) {
            (job.spec, job.is_new) = (Some(spec), made == Made::New);
            self.lane.push_back(id.to_owned());
        } else {
            if let Some((outcome, message)) = folder::closed(&job.dir) {
                (job.is_closed, job.end) =
                    (true, Some(super::words::without_end(outcome, message)));
            }
            job.known_at =
                folder::job_age(&job.dir).and_then(|age| Instant::now().checked_sub(age));
        }
        self.add(job);
    }

    fn add(&mut self, job: Job) {
        self.turns.push_back(job.id.clone());
        self.jobs.insert(job.id.clone(), job);
        self.changed_at = Instant::now();
    }

    /// Hands in the next task.
    pub(super) fn hand_in(&mut self) {
        let Some(shared) = self.shared.clone().filter(|_| self.submitting.is_none()) else {
            return;
        };
        while let Some(id) = self.lane.pop_front() {
            let Some(job) = self.jobs.get(&id) else { continue };
            // A task that is to be stopped ends without a job, in `carry_out`.
            let spec = job.spec.clone().filter(|_| job.stop.is_none());
            let Some(spec) = spec else { continue };
            let (is_new, options) = (job.is_new, self.slurm.options.clone());
            self.submitting = Some(id.clone());
            return self.start(async move {
                Done::Submitted(id, submit::submit(shared, spec, is_new, options).await)
            });
        }
    }

    pub(super) fn handed_in(&mut self, id: &str, outcome: Result<String, Refusal>) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.is_new = false;
        match outcome {
            Ok(number) => {
                (job.number, job.spec, job.why) = (number, None, None);
                (job.since, job.known_at) = (Instant::now(), Some(Instant::now()));
                self.silence = None;
                self.changed_at = Instant::now();
                self.look_at(id);
            }
            Err(Refusal::Never(why)) => {
                let (outcome, message) = match (&job.stop, job.number_before.is_empty()) {
                    (Some(_), _) => (Outcome::Stopped, why),
                    (None, true) => (Outcome::Exited, why),
                    (None, false) => {
                        let lost = &job.number_before;
                        let message =
                            format!("Slurm has lost job {lost}, and refuses the task now: {why}");
                        (Outcome::Exited, message)
                    }
                };
                self.end_before(id, outcome, message);
            }
            Err(Refusal::NotNow(why)) => {
                tracing::warn!("task {id}: {why}");
                job.why = Some(why);
                self.again.push(id.to_owned());
                self.tell_news(id);
            }
        }
        self.carry_out(id);
    }

    /// Ends a task that Slurm does not have, once no keeper can start it any more.
    pub(super) fn end_before(&mut self, id: &str, outcome: Outcome, message: String) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        if let Err(error) = job.end_before(outcome, message) {
            tracing::warn!("task {id}: {}", reason(&error));
            if !self.again.iter().any(|it| it == id) {
                self.again.push(id.to_owned());
            }
            return;
        }
        self.lane.retain(|it| it != id);
        self.again.retain(|it| it != id);
        self.look_at(id);
    }

    /// Hands in a task whose job was lost before it began.
    pub(super) fn hand_in_again(&mut self, id: &str) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let Ok(spec) = folder::spec(&job.dir) else { return };
        tracing::warn!("task {id}: Slurm has lost job {}, which is submitted again", job.number);
        // Where this fails Slurm is asked for that job again, and has lost it once more.
        if folder::note_job(&job.dir, "").is_ok() {
            job.spec = Some(spec);
            job.hears(Word::Silent);
            job.again += 1;
            job.number_before = std::mem::take(&mut job.number);
            self.lane.push_back(id.to_owned());
            self.hand_in();
        }
    }

    /// Removes what earlier couriers left in the shared directory: folders of tasks of this installation other than
    /// these, once nothing writes them any more, and shims that no task names.
    pub(super) fn keep(&mut self, params: &Value) {
        let Some(shared) = self.shared.clone() else { return };
        let Some(installation) = params["installation"].as_str() else { return };
        let owns = |spec: &Spec| {
            let token = spec.client_token.as_deref().and_then(|it| it.strip_prefix(installation));
            // A folder that is newer than the list is that of a task of another place with the same directory.
            let is_listed = params["at"].as_i64().is_none_or(|at| spec.created_ms < at);
            is_listed && token.is_some_and(|rest| rest.starts_with('-'))
        };
        let is_kept =
            |id: &str| params["ids"].as_array().is_some_and(|ids| ids.iter().any(|it| it == id));
        let Ok(folders) = shared.folders() else { return };
        let mut shims = Some(Vec::new());
        for (id, dir) in folders {
            self.is_alive();
            let note = folder::note(&dir);
            match (&mut shims, note.shim.is_empty()) {
                (Some(shims), false) => shims.push(note.shim),
                // A folder of a version that did not note its shim.
                (_, true) => shims = None,
                (None, false) => {}
            }
            if self.jobs.contains_key(&id) || is_kept(&id) {
                continue;
            }
            match folder::spec(&dir) {
                Ok(spec) if owns(&spec) => {
                    let mut job = Job::new(id, dir, note.number, spec.resources);
                    job.forget = true;
                    self.add(job);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => folder::remove_old(&dir),
                Ok(_) | Err(_) => {}
            }
        }
        if let Some(shims) = shims {
            shared.remove_shims(&shims);
        }
    }
}
