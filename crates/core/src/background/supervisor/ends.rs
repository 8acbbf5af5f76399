//! Ends: from a task's record to a stored notification.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::reports::About;
use super::{Batch, RETRY, Recorded, Supervisor};
use crate::background::Event;
use crate::background::executor::Request;
use crate::background::executor::reading::Reading;
use crate::background::ledger::{Cursor, Finish};
use crate::background::live::Live;
use crate::background::live::life::{Life, Step};
use crate::background::store::Store;
use crate::background::task::{NotificationKind, Task, TaskId};
use crate::background::watch::Scanner;
use crate::error::{Error, StoreFault, StoreFaultKind};

/// How long the rows of new tasks wait to be written together with others.
const INSERT_DELAY: Duration = Duration::from_millis(2);
/// Maximum number of ends in one transaction: a thousand at once must not delay a `task/check`.
const FINISHES: usize = 64;
/// Maximum number of notifications sent at a time, for the same reason.
const NEWS: usize = 256;
/// Bytes of output scanned at a time at a task's end.
const SCAN_BYTES: u64 = 1 << 20;

impl Supervisor {
    /// Sends a task's end to the ledger.
    pub(super) fn record(&mut self, id: TaskId, reading: Reading) {
        let Some(live) = self.tasks.get_mut(&id) else { return };
        let Some(finish) = reading.finish(live.facts.clone()) else { return };
        (live.arm_at, live.silent_at) = (None, None);
        let finish = Finish { progress: live.progress.clone(), ..finish };
        match live.scanner.take().filter(|scanner| !scanner.is_done()) {
            Some(scanner) => {
                // There may be megabytes of output left to scan.
                self.scans.spawn_blocking(move || scan_rest(finish, reading, scanner));
            }
            None => self.batch.finishes.push(finish),
        }
    }

    /// Starts a transaction if there is something to write and none is running.
    pub(super) fn start_write(&mut self, now: Instant) {
        if self.write.is_some() || self.batch.is_empty() {
            return;
        }
        if !self.batch.is_urgent() {
            // A task's row is written after the processors have done what its spawner waits for; until then its
            // folder is what counts.
            let at = *self.insert_at.get_or_insert(now + INSERT_DELAY);
            if now < at {
                return;
            }
        }
        self.insert_at = None;
        if self.write_after.is_some_and(|at| now < at) {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        if batch.finishes.len() > FINISHES {
            self.batch.finishes = batch.finishes.split_off(FINISHES);
        }
        self.writing = Some(batch.clone());
        let workspace = self.workspace.clone();
        self.write = Some(Box::pin(write(self.store.clone(), workspace, self.cursor, batch)));
    }

    /// Handles the result of a transaction.
    pub(super) fn recorded(&mut self, result: Result<Recorded, Error>) {
        let written = self.writing.take().unwrap_or_default();
        let recorded = match result {
            Ok(recorded) => recorded,
            Err(error) => return self.not_recorded(written, &error),
        };
        self.degraded = None;
        self.write_after = None;
        self.picture_wanted |= !written.insert.is_empty();
        self.cursor = recorded.cursor;
        // The batch is full: there may be more.
        self.batch.look |= recorded.more;
        for notification in recorded.news {
            let id = notification.task.id;
            self.queued.more(&notification.queue);
            match notification.kind {
                NotificationKind::Exited => {
                    self.picture_wanted = true;
                    self.ends += 1;
                    self.tell_event(id, Event::Exited(notification));
                    self.told(id);
                }
                NotificationKind::Matched(_) | NotificationKind::Stalled => {
                    let mut notification = notification;
                    if let Some(live) = self.tasks.get(&id) {
                        notification.task.serving = live.serving();
                    }
                    let is_stall = notification.kind == NotificationKind::Stalled;
                    self.tell_event(id, Event::Notified(notification));
                    // It may have gone on while this was stored, and that was told before.
                    let goes_on = |task: &Task| !task.waits_for_input && task.end().is_none();
                    let task = is_stall.then(|| self.task(id)).flatten();
                    if let Some(task) = task.filter(goes_on) {
                        self.tell_event(id, Event::State(task));
                    }
                }
            }
        }
        for finish in &written.finishes {
            self.step(finish.task.id, Step::Recorded, About::Nothing);
        }
        if !recorded.more {
            // Every end has now been reported, or was before, or its task was removed first.
            let is_recorded = |live: &Live| matches!(live.life, Life::Recorded(_));
            let recorded = self.tasks.iter().filter(|(_, live)| is_recorded(live));
            for id in recorded.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.told(id);
            }
        }
        self.tell_waiters();
    }

    /// A task's end has been reported.
    fn told(&mut self, id: TaskId) {
        if self.tasks.contains_key(&id) {
            self.step(id, Step::Told, About::Nothing);
            self.answer_left(id);
        } else {
            // Another process started and ended it before the executor reported it here. Drop the late report.
            self.executor.ask(Request::Release(id));
        }
    }

    /// The ledger cannot be written: the tasks' files keep everything. New tasks are refused meanwhile.
    fn not_recorded(&mut self, mut written: Batch, error: &Error) {
        let fault = match error {
            Error::StoreUnavailable(fault) => fault.clone(),
            Error::Invalid { .. }
            | Error::UnknownTask(_)
            | Error::SpawnFailed { .. }
            | Error::LimitReached { .. }
            | Error::NotRunning { .. }
            | Error::CannotConfine(_) => {
                StoreFault { kind: StoreFaultKind::Other, reason: error.to_string() }
            }
        };
        // Writes are retried four times a second; only log when the reason changes.
        if self.degraded.as_ref() != Some(&fault) {
            tracing::error!("the ledger cannot be written: {error}");
        }
        self.degraded = Some(fault);
        self.write_after = Some(Instant::now() + RETRY);
        let newer = std::mem::take(&mut self.batch);
        written.insert.extend(newer.insert);
        written.started.extend(newer.started);
        written.notices.extend(newer.notices);
        written.finishes.extend(newer.finishes);
        written.look |= newer.look;
        self.batch = written;
    }
}

async fn write(
    store: Store,
    workspace: PathBuf,
    cursor: Cursor,
    batch: Batch,
) -> Result<Recorded, Error> {
    let job = store.write(move |ledger| {
        ledger.record(&batch.insert, &batch.started, &batch.notices, &batch.finishes)?;
        let (news, cursor) = ledger.news(&workspace, cursor, NEWS as u32)?;
        Ok(Recorded { more: news.len() == NEWS, news, cursor })
    });
    job.await
}

/// Searches the rest of an output for watched lines.
fn scan_rest(mut finish: Finish, mut reading: Reading, mut scanner: Scanner) -> Finish {
    let mut hits = Vec::new();
    while let Some(range) = reading.next_kept(scanner.position()) {
        let range = range.start..range.end.min(range.start + SCAN_BYTES);
        match reading.read(range.clone()) {
            Ok(Some(bytes)) => hits.extend(scanner.push(range.start, &bytes)),
            // Survivors overwrote the range.
            Ok(None) => {}
            Err(_) => break,
        }
        if scanner.is_done() {
            break;
        }
    }
    hits.extend(scanner.finish());
    finish.matches = hits.into_iter().map(|hit| hit.found).collect();
    finish
}
