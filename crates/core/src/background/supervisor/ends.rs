//! Ends: from an exit record to a notification that is durable, and orders to stop.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use meanwhile_shim::ctl::Order;
use meanwhile_shim::log;
use meanwhile_shim::record::{self, Record};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::recovery::finish;
use super::{Batch, PAST, RETRY, Recorded, STOP_PATIENCE, Supervisor};
use crate::background::convert;
use crate::background::ledger::{Cursor, Finish};
use crate::background::live::{Live, Stage, Stopping};
use crate::background::store::Store;
use crate::background::task::{NotificationKind, TaskId};
use crate::background::watch::Scanner;
use crate::background::{Event, Role, Stdin, Stop};
use crate::error::{Error, StoreFault, StoreFaultKind};

/// How long the parent of a shim has to take its task over before another daemon does: only the
/// parent can still learn the leader's status.
const PARENT_FIRST: Duration = Duration::from_millis(300);
/// Children whose end was seen before anybody knew whose leader they were.
const STRAYS_MAX: usize = 256;
/// How long the rows of new tasks wait for company.
const INSERT_DELAY: Duration = Duration::from_millis(2);
/// Sweeps that find neither a record nor an end before a task is given up: some seconds, as after
/// each the ledger is looked at.
const MISSED_MAX: u32 = 2;
/// Ends in one transaction: a thousand at once must not keep a `task/check` waiting.
const FINISHES: usize = 64;
/// Notifications told at once, likewise.
const NEWS: usize = 256;
/// Bytes of output scanned at once at a task's end.
const SCAN_BYTES: u64 = 1 << 20;

impl Supervisor {
    /// A task's end is recorded in its folder.
    pub(super) fn ended(&mut self, id: TaskId) {
        if self.past.contains(&id) {
            return;
        }
        let Ok(file) = self.home.record_file(id) else { return self.ended_elsewhere(id) };
        let Ok(record) = record::read(&file) else { return };
        let Some(end) = &record.end else { return };
        if self.refuse_unexecuted(id, end.exit) {
            return;
        }
        match self.load(id).map(|live| (&live.stage, live.started)) {
            None => return self.ended_elsewhere(id),
            Some((Stage::Recording | Stage::Survived, _)) => return,
            Some((Stage::Checked(_) | Stage::Running, started)) => {
                if !started && record.leader_pid != 0 {
                    self.started(id);
                }
            }
        }
        let Some(live) = self.tasks.get_mut(&id) else { return };
        let Some(finish) = finish(live.facts.clone(), &file, &record) else { return };
        live.stage = Stage::Recording;
        live.survives = !end.survivors.is_empty();
        live.arm_at = None;
        live.orphaned = None;
        let finish = Finish { progress: live.progress.clone(), ..finish };
        match live.scanner.take().filter(|scanner| !scanner.is_done()) {
            Some(scanner) => {
                // Some megabytes of output may be left to look at.
                self.scans.spawn_blocking(move || scan_rest(finish, &file, &record, scanner));
            }
            None => self.batch.finishes.push(finish),
        }
    }

    /// The folder is gone: another process has recorded the end, and our client is to hear of it.
    fn ended_elsewhere(&mut self, id: TaskId) {
        self.batch.look = true;
        if let Some(live) = self.tasks.get_mut(&id) {
            live.stage = Stage::Recording;
        }
    }

    /// A task has no record. Another process has told its end, as a rule; if nobody has for a while,
    /// its files were taken away by hand, and nobody will ever know more.
    fn missed(&mut self, id: TaskId) {
        let Some(live) = self.tasks.get_mut(&id) else { return };
        live.missed += 1;
        if live.missed <= MISSED_MAX {
            return self.ended_elsewhere(id);
        }
        live.stage = Stage::Recording;
        // Where its end is in the ledger after all, this one is not recorded.
        self.batch.finishes.push(super::recovery::traceless(live.facts.clone()));
    }

    /// The last survivor of a task is gone, and its shim with it.
    pub(super) fn gone(&mut self, id: TaskId) {
        let Some(live) = self.tasks.get(&id) else { return };
        if let Stage::Survived = live.stage {
            self.put_away(id);
        }
    }

    fn put_away(&mut self, id: TaskId) {
        let mut reusable = false;
        if let Some(live) = self.tasks.remove(&id) {
            // Of our own shim we know that it is through, and of a task without survivors that
            // nobody has its files open.
            reusable = live.was_ours
                && live.facts.stdin == Stdin::Null
                && matches!(live.stage, Stage::Recording)
                && self.role == Role::Daemon;
            for waiter in live.stop_waiters {
                let _ = waiter.send(());
            }
        }
        self.remember(id);
        self.told.push((id, reusable));
    }

    /// Puts the folders of ended tasks away.
    pub(super) fn tidy_up(&mut self) {
        for (id, reusable) in std::mem::take(&mut self.told) {
            if reusable && self.pool.settle(id) {
                continue;
            }
            let home = self.home.clone();
            // Half a dozen system calls that nobody waits for. What a shutdown leaves undone, the
            // next start does.
            self.chores.spawn_blocking(move || home.settle(id));
        }
    }

    /// Begins a transaction, if there is something to write and none under way.
    pub(super) fn start_write(&mut self, now: Instant) {
        if self.write.is_some() || self.batch.is_empty() {
            return;
        }
        if !self.batch.is_urgent() {
            // A task's row follows when the processors have done what its spawner waits for; its
            // folder is the truth until then.
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

    /// A transaction is over.
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
        // As many as fit into one reading: there may be more.
        self.batch.look |= recorded.more;
        for notification in recorded.news {
            let id = notification.task.id;
            self.queued.more(&notification.queue);
            match notification.kind {
                NotificationKind::Exited => {
                    self.picture_wanted = true;
                    self.ends += 1;
                    self.tell_event(id, Event::Exited(notification));
                    self.after_end(id);
                }
                NotificationKind::Matched(_) | NotificationKind::Stalled => {
                    self.tell_event(id, Event::Notified(notification));
                }
            }
        }
        self.finished.extend(written.finishes.iter().map(|finish| finish.task.id));
        if !recorded.more {
            // Every end is told now, or was told before, or was removed before it could be.
            for id in std::mem::take(&mut self.finished) {
                self.after_end(id);
            }
        }
        self.tell_waiters();
    }

    fn after_end(&mut self, id: TaskId) {
        match self.tasks.get_mut(&id) {
            Some(live) if live.survives && self.home.is_supervised(id) => {
                live.stage = Stage::Survived;
            }
            Some(_) => self.put_away(id),
            // Another process started and ended it before its bells were heard here. They ring yet.
            None => self.remember(id),
        }
    }

    /// Nothing is told of a task after its end.
    fn remember(&mut self, id: TaskId) {
        if !self.past.contains(&id) {
            self.past.truncate(PAST - 1);
            self.past.push_front(id);
        }
    }

    /// The ledger cannot be written: nothing is lost, the files keep it. No new tasks meanwhile.
    fn not_recorded(&mut self, mut written: Batch, error: &Error) {
        let fault = match error {
            Error::StoreUnavailable(fault) => fault.clone(),
            Error::Invalid { .. }
            | Error::UnknownTask(_)
            | Error::SpawnFailed { .. }
            | Error::LimitReached { .. }
            | Error::NotRunning { .. } => {
                StoreFault { kind: StoreFaultKind::Other, reason: error.to_string() }
            }
        };
        // It is tried again four times a second; the log is told when the reason changes.
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

    /// Orders a task's tree to be ended; what is returned tells when it is gone.
    pub(super) fn stop(&mut self, id: TaskId, how: Stop) -> Option<oneshot::Receiver<()>> {
        let live = self.find(id)?;
        let (waiter, done) = oneshot::channel();
        live.stop_waiters.push(waiter);
        let since = Instant::now();
        live.stopping = Some(Stopping { how, since, delivered: false });
        self.deliver_stop(id);
        Some(done)
    }

    fn deliver_stop(&mut self, id: TaskId) {
        let Some(Live { stopping: Some(stopping), .. }) = self.tasks.get(&id) else { return };
        let order = Order::Stop {
            signal: stopping.how.signal,
            grace: stopping.how.grace,
            cause: record::Cause {
                actor: convert::actor_to_record(stopping.how.cause.actor),
                message: stopping.how.cause.message.clone(),
            },
        };
        if self.order(id, &order) {
            // A shim that somebody stopped takes no orders.
            if let Ok(record) = self.home.record(id) {
                signal_pid(record.shim_pid, nix::sys::signal::Signal::SIGCONT);
            }
            if let Some(Live { stopping: Some(stopping), .. }) = self.tasks.get_mut(&id) {
                stopping.delivered = true;
            }
        }
    }

    /// Goes on with orders to stop, and with tasks whose shim died.
    pub(super) fn look_at_stops(&mut self, now: Instant) {
        let due = |live: &Live| {
            live.orphaned.is_some_and(|at| now >= at)
                || live.reaped.is_some()
                || live.stopping.as_ref().is_some_and(|stopping| {
                    !stopping.delivered
                        || now >= stopping.since + stopping.how.grace + STOP_PATIENCE
                })
        };
        let ids: Vec<TaskId> =
            self.tasks.iter().filter(|(_, live)| due(live)).map(|(id, _)| *id).collect();
        for id in ids {
            self.look_at_stop(id, now);
        }
    }

    fn look_at_stop(&mut self, id: TaskId, now: Instant) {
        let Some(live) = self.tasks.get_mut(&id) else { return };
        if live.orphaned.is_some_and(|at| now >= at) {
            live.orphaned = None;
            return self.take_over(id);
        }
        if let Some(status) = live.reaped
            && self.home.order(id, &Order::Reaped(status)).is_ok()
        {
            live.reaped = None;
        }
        let Some(stopping) = &mut live.stopping else { return };
        if now >= stopping.since + stopping.how.grace + STOP_PATIENCE {
            // It does not answer; another one will.
            stopping.since = now;
            stopping.delivered = false;
            if let Ok(record) = self.home.record(id)
                && self.home.is_supervised(id)
            {
                signal_pid(record.shim_pid, nix::sys::signal::Signal::SIGKILL);
            }
            return self.suspect(id);
        }
        if !stopping.delivered && live.orphaned.is_none() {
            self.deliver_stop(id);
        }
    }

    /// A task's shim seems to be dead.
    pub(super) fn suspect(&mut self, id: TaskId) {
        let pipe = self.home.open_pipe(id);
        let Some(live) = self.tasks.get_mut(&id) else { return };
        live.pipe = live.pipe.take().or(pipe);
        // Our own child's death is certain, and nobody else can take over as well as we can.
        let patience = if live.shim.is_some() { Duration::ZERO } else { PARENT_FIRST };
        live.orphaned.get_or_insert_with(|| Instant::now() + patience);
    }

    fn take_over(&mut self, id: TaskId) {
        if self.home.is_supervised(id) {
            return;
        }
        let Ok(record) = self.home.record(id) else { return self.ended(id) };
        if record.end.is_some() {
            self.ended(id);
            return self.gone(id);
        }
        let is_ours = self.tasks.get(&id).is_some_and(|live| live.was_ours);
        let adopter = self.pool.start_adopter(id, is_ours);
        let stray = self.strays.iter().position(|(pid, _)| *pid == record.leader_pid);
        let status = stray.and_then(|at| self.strays.remove(at)).map(|(_, status)| status);
        let Some(live) = self.tasks.get_mut(&id) else { return };
        match adopter {
            Ok(pid) => {
                live.shim = Some(pid);
                live.leader = Some(record.leader_pid);
                live.reaped = live.reaped.or(status);
                if let Some(stopping) = &mut live.stopping {
                    stopping.delivered = false;
                }
            }
            Err(_) => live.orphaned = Some(Instant::now() + super::SWEEP),
        }
    }

    /// Children ended: shims, or what those that were killed left to us.
    pub(super) fn reap(&mut self) {
        while let Some((pid, status)) = reap_one() {
            if self.pool.reaped(pid) {
                self.pool_reaped(status);
                continue;
            }
            let task = |is: &dyn Fn(&Live) -> bool| {
                self.tasks.iter().find(|(_, live)| is(live)).map(|(id, _)| *id)
            };
            if let Some(id) = task(&|live| live.shim == Some(pid)) {
                self.shim_ended(id);
            } else if let Some(id) = task(&|live| live.leader == Some(pid)) {
                if let Some(live) = self.tasks.get_mut(&id) {
                    live.reaped = Some(status);
                }
            } else {
                self.strays.truncate(STRAYS_MAX - 1);
                self.strays.push_front((pid, status));
            }
        }
    }

    fn shim_ended(&mut self, id: TaskId) {
        if self.tasks.get(&id).is_some_and(|live| matches!(live.stage, Stage::Recording)) {
            return;
        }
        let ended = self.home.record(id).is_ok_and(|record| record.end.is_some());
        if ended {
            self.ended(id);
            self.gone(id);
        } else {
            self.suspect(id);
        }
        if let Some(live) = self.tasks.get_mut(&id) {
            live.shim = None;
        }
    }

    /// Looks at what no bell tells.
    pub(super) fn sweep(&mut self) {
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        for id in ids {
            let Some(live) = self.tasks.get(&id) else { continue };
            match live.stage {
                Stage::Recording => {
                    // Nothing is on its way into the ledger: another process was to tell the end
                    // and has not. Look at it afresh.
                    let idle = self.write.is_none() && self.batch.is_empty();
                    if idle
                        && self.scans.is_empty()
                        && self.finished.is_empty()
                        && let Some(live) = self.tasks.get_mut(&id)
                    {
                        live.stage = Stage::Running;
                    }
                }
                Stage::Survived => {
                    if !self.home.is_supervised(id) {
                        self.put_away(id);
                    }
                }
                Stage::Checked(_) | Stage::Running => {
                    let stranger = live.shim.is_none();
                    match self.home.record(id) {
                        // A bell that was full.
                        Ok(record) if record.end.is_some() => self.ended(id),
                        Ok(_) if stranger && !self.home.is_supervised(id) => self.suspect(id),
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::NotFound => self.missed(id),
                        // Out of descriptors, say. It is looked at again.
                        Err(_) => {}
                    }
                }
            }
        }
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

/// Finds the watched lines in what is left of an output.
fn scan_rest(
    mut finish: Finish,
    file: &std::fs::File,
    record: &Record,
    mut scanner: Scanner,
) -> Finish {
    let mut hits = Vec::new();
    while let Some(range) = record.extent.next_kept(scanner.position()) {
        let range = range.start..range.end.min(range.start + SCAN_BYTES);
        let Ok(bytes) = log::read(file, &record.extent, range.clone()) else { break };
        hits.extend(scanner.push(range.start, &bytes));
        if scanner.is_done() {
            break;
        }
    }
    hits.extend(scanner.finish());
    finish.matches = hits.into_iter().map(|hit| hit.found).collect();
    finish
}

fn signal_pid(pid: u32, signal: nix::sys::signal::Signal) {
    if let Ok(pid @ 2..) = i32::try_from(pid) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
    }
}

/// Reaps one child that ended. All children of this process are the supervisor's: nothing else in
/// it may wait for any.
#[expect(unsafe_code, reason = "nix's waitpid knows no real-time signal, and gives no raw status")]
fn reap_one() -> Option<(u32, i32)> {
    let mut status = 0;
    // SAFETY: the call writes one integer.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    u32::try_from(pid).ok().filter(|pid| *pid > 0).map(|pid| (pid, status))
}
