//! Questions to Slurm about all jobs at once, and what follows from the answers.

use std::time::Duration;

use tokio::time::Instant;

use super::job::{self, Job, Stop};
use super::words::{self, Row, Word};
use super::{Done, Work, commands};

/// Between two questions to Slurm: as a rule, while something changes, and where an order or an end waits for it.
const QUESTIONS: (Duration, Duration, Duration) =
    (Duration::from_secs(30), Duration::from_secs(5), Duration::from_secs(2));
/// How long after a change more of them are expected.
const LIVELY: Duration = Duration::from_secs(30);
/// Jobs that the accounting is asked for at once.
const REMEMBERED: usize = 1_000;

/// Jobs that the controller has forgotten, as tasks and numbers, and what the accounting has of them.
pub(super) struct Remembered {
    pub(super) jobs: Vec<(String, String)>,
    pub(super) rows: Vec<Row>,
}

/// Whether Slurm's word on a job is still to come.
fn waits(job: &Job) -> bool {
    job.spec.is_none() && !job.word.is_last()
}

impl Work {
    /// Asks Slurm for the states of the jobs, where it is time.
    pub(super) fn ask(&mut self) {
        let now = Instant::now();
        if self.is_asking || !self.jobs.values().any(waits) && self.again.is_empty() {
            return;
        }
        let hurry = |job: &Job| waits(job) && (job.stop.is_some() || job.ended_at.is_some());
        let pause = match () {
            () if self.silence.is_some() => QUESTIONS.1,
            () if self.jobs.values().any(hurry) => QUESTIONS.2,
            () if now < self.changed_at + LIVELY || !self.again.is_empty() => QUESTIONS.1,
            () => QUESTIONS.0,
        };
        if self.asked_at.is_some_and(|at| now < at + pause) {
            return;
        }
        (self.is_asking, self.asked_at) = (true, Some(now));
        self.start(async { Done::Asked(commands::jobs(None).await) });
    }

    /// Slurm has answered, or not.
    pub(super) fn heard(&mut self, outcome: Result<Vec<Row>, String>) {
        let rows = match outcome {
            Ok(rows) => rows,
            Err(why) => {
                self.silence = Some(why);
                return;
            }
        };
        self.silence = None;
        self.lane.extend(std::mem::take(&mut self.again));
        self.hand_in();
        let asked_at = self.asked_at;
        let (mut changed, mut forgotten) = (Vec::new(), Vec::new());
        for job in self.jobs.values_mut().filter(|job| waits(job)) {
            let name = job::name(&job.id);
            let own = || rows.iter().filter(|row| row.name == name);
            let row = match job.number.is_empty() {
                true => words::current(own()),
                false => own().find(|row| row.number == job.number),
            };
            match row {
                Some(row) => {
                    job.number.clone_from(&row.number);
                    let word = Word::of(row.clone());
                    if word != job.word {
                        changed.push(job.id.clone());
                    }
                    job.hears(word);
                    job.known_at = Some(Instant::now());
                    if job.is_closed && !job.word.is_last() {
                        // It would find its task taken away.
                        job.stop.get_or_insert_with(Stop::usual);
                    }
                }
                // It may have been handed in after the question.
                None if asked_at.is_some_and(|at| at <= job.since) => {}
                None => forgotten.push((job.id.clone(), job.number.clone())),
            }
        }
        for id in changed {
            self.look_at(&id);
        }
        self.remember(forgotten);
    }

    /// Asks the accounting for jobs that the controller does not list: one question at a time, for all of them.
    fn remember(&mut self, forgotten: Vec<(String, String)>) {
        let (unnamed, mut jobs): (Vec<_>, Vec<_>) =
            forgotten.into_iter().partition(|(_, number)| number.is_empty());
        self.remembered(Remembered { jobs: unnamed, rows: Vec::new() });
        jobs.truncate(REMEMBERED);
        if self.is_remembering || jobs.is_empty() {
            return;
        }
        self.is_remembering = true;
        self.start(async move {
            let numbers: Vec<&str> = jobs.iter().map(|(_, number)| number.as_str()).collect();
            let rows = commands::remembered(&numbers).await;
            Done::Remembered(Remembered { jobs, rows })
        });
    }

    pub(super) fn remembered(&mut self, Remembered { jobs, rows }: Remembered) {
        for (id, number) in jobs {
            // The answer may be about a job that was replaced meanwhile.
            let is_about = |job: &&mut Job| job.number == number && waits(job);
            let Some(job) = self.jobs.get_mut(&id).filter(is_about) else { continue };
            // The controller does not list it: only its end is to be had from the accounting, which calls a job
            // that was lost with the controller pending or running for ever.
            let name = job::name(&id);
            let row = rows.iter().find(|row| row.number == number && row.name == name);
            job.hears(match row.cloned().map(Word::of) {
                Some(over @ Word::Over(_)) => over,
                Some(Word::Silent | Word::Goes(_) | Word::Forgotten) | None => Word::Forgotten,
            });
            match job.is_missing() {
                true => self.hand_in_again(&id),
                false => self.look_at(&id),
            }
        }
    }
}
