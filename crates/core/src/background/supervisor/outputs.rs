//! Output of tasks that run: progress, watched lines, subscribers, waiting for input.
//!
//! A shim rings once when there is output behind an offset we name; naming the next one a while
//! later is what keeps a flood from flooding anybody.

use meanwhile_shim::ctl::Order;
use meanwhile_shim::log;
use meanwhile_shim::record::{self, Record};
use tokio::time::Instant;

use super::Supervisor;
use crate::background::Event;
use crate::background::convert;
use crate::background::events::Signal;
use crate::background::ledger::{About, Notice};
use crate::background::live::{Live, Stage};
use crate::background::progress::read_progress;
use crate::background::task::TaskId;

/// Bytes of the end of an output that are looked at for progress.
const PROGRESS_BYTES: u64 = 4_096;
/// Bytes of output scanned at once while a task runs: a millisecond's work. 20 times a second.
const SCAN_BYTES: u64 = 1 << 20;

impl Supervisor {
    /// A task has written something.
    pub(super) fn output(&mut self, id: TaskId) {
        let Ok(file) = self.home.record_file(id) else { return };
        let Ok(record) = record::read(&file) else { return };
        let Some(live) = self.tasks.get_mut(&id) else { return };
        if !matches!(live.stage, Stage::Checked(_) | Stage::Running) {
            return;
        }
        live.seen = record.extent.total;
        live.arm_at = Some(Instant::now() + live.round());
        let notices = scan(live, &file, &record);
        let progress =
            progress_of(&file, &record).filter(|new| live.progress.as_ref() != Some(new));
        if let Some(progress) = &progress {
            live.progress = Some(progress.clone());
        }
        let subscribed = live.subscribed;
        self.batch.notices.extend(notices);
        if subscribed {
            self.tell(Signal::Output(id));
        }
        if let Some(progress) = progress {
            self.tell_event(id, Event::Progress { id, progress });
        }
    }

    /// Asks the shims of tasks whose turn it is to tell of the next output.
    pub(super) fn look_at_outputs(&mut self, now: Instant) {
        let due: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, live)| live.arm_at.is_some_and(|at| now >= at))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(live) = self.tasks.get_mut(&id) else { continue };
            live.arm_at = None;
            let lags = live
                .scanner
                .as_ref()
                .is_some_and(|scanner| !scanner.is_done() && scanner.position() < live.seen);
            let seen = live.seen;
            if lags {
                self.output(id);
            } else {
                self.order(id, &Order::Arm(seen));
            }
        }
    }

    /// The client wants the output of a task.
    pub(super) fn subscribe(&mut self, id: TaskId, offset: Option<u64>) {
        let total = self.home.record(id).map_or(0, |record| record.extent.total);
        self.tell(Signal::Subscribe(id, offset.unwrap_or(total)));
        if let Some(live) = self.find(id)
            && !live.has_ended()
        {
            live.subscribed = true;
            live.arm_at = Some(Instant::now());
        }
    }

    /// A task waits for input.
    pub(super) fn stalled(&mut self, id: TaskId) {
        let Ok(file) = self.home.record_file(id) else { return };
        let Ok(record) = record::read(&file) else { return };
        let Some(live) = self.load(id) else { return };
        let about = About::Stalled { offset: record.extent.total };
        let notice = notice(live, &file, &record, about);
        self.batch.notices.push(notice);
    }
}

fn notice(live: &Live, file: &std::fs::File, record: &Record, about: About) -> Notice {
    Notice {
        task: live.facts.clone(),
        about,
        pid: (record.leader_pid != 0).then_some(record.leader_pid),
        stopping: record.stop.as_ref().map(convert::cause),
        output: convert::output(record),
        progress: live.progress.clone(),
        preview: convert::preview(file, record),
    }
}

/// Looks for watched lines in the next piece of output.
fn scan(live: &mut Live, file: &std::fs::File, record: &Record) -> Vec<Notice> {
    let Some(scanner) = &mut live.scanner else { return Vec::new() };
    let Some(range) = record.extent.next_kept(scanner.position()) else { return Vec::new() };
    let range = range.start..range.end.min(range.start + SCAN_BYTES);
    let Ok(bytes) = log::read(file, &record.extent, range.clone()) else { return Vec::new() };
    let still = record::read(file).ok().and_then(|after| after.extent.next_kept(range.start));
    if still.is_none_or(|kept| kept.start > range.start) {
        // Overwritten while it was read; the next round goes on where output is kept.
        return Vec::new();
    }
    let hits = scanner.push(range.start, &bytes);
    hits.into_iter().map(|hit| notice(live, file, record, About::Matched(hit.found))).collect()
}

fn progress_of(file: &std::fs::File, record: &Record) -> Option<crate::background::task::Progress> {
    let total = record.extent.total;
    let range = record.extent.next_kept(total.saturating_sub(PROGRESS_BYTES))?;
    let bytes = log::read(file, &record.extent, range).ok()?;
    read_progress(&String::from_utf8_lossy(&bytes))
}
