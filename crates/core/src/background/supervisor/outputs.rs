//! Output of running tasks: progress, watched lines, subscribers, waiting for input.
//!
//! A shim rings once when there is output after the offset that it was given. The supervisor gives the next
//! offset only after a while, which limits the rate of events.

use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use crate::background::Event;
use crate::background::events::Signal;
use crate::background::executor::Request;
use crate::background::executor::reading::Reading;
use crate::background::ledger::{About, Notice};
use crate::background::live::{Audience, Live};
use crate::background::progress::read_progress;
use crate::background::task::{Progress, TaskId};
use crate::background::watch::{Hit, Scanner};

/// Bytes at the end of an output that are searched for progress.
const PROGRESS_BYTES: u64 = 4_096;
/// Bytes of output scanned at a time while a task runs: a millisecond's work, 20 times a second.
const SCAN_BYTES: u64 = 1 << 20;
/// How long a task must be silent before an incomplete last line is matched: a prompt, or a server that is
/// ready. Longer than a slow writer takes for one line.
const SILENCE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Handles new output of a task.
    pub(super) fn output(&mut self, id: TaskId) {
        let Ok(mut reading) = self.archive.read(id) else { return };
        let Some(live) = self.tasks.get_mut(&id) else { return };
        if !live.life.may_write() {
            return;
        }
        live.seen = reading.total();
        live.arm_at = Some(Instant::now() + live.round());
        let notices = scan(live, &mut reading);
        let is_open = live.scanner.as_ref().is_some_and(Scanner::has_open_line);
        live.silent_at = is_open.then(|| Instant::now() + SILENCE);
        let progress = progress_of(&mut reading).filter(|new| live.progress.as_ref() != Some(new));
        if let Some(progress) = &progress {
            live.progress = Some(progress.clone());
        }
        let audience = live.audience;
        let matched = !notices.is_empty();
        self.batch.notices.extend(notices);
        self.expect_words(id);
        if matched {
            self.watch_matched(id);
        }
        if audience == Audience::Subscriber {
            self.tell(Signal::Output(id));
        }
        if let Some(progress) = progress {
            self.tell_event(id, Event::Progress { id, progress });
        }
    }

    /// Asks the executor to report the next output of tasks for which this is due.
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
            let followed = live.audience == Audience::Subscriber && live.facts.place.is_some();
            if followed {
                self.executor.ask(Request::Follow(id));
            }
            if lags {
                self.output(id);
            } else {
                self.executor.ask(Request::Arm(id, seen));
            }
        }
    }

    /// Matches the incomplete last lines of tasks that have been silent.
    pub(super) fn look_at_silence(&mut self, now: Instant) {
        let is_due = |live: &Live| live.silent_at.is_some_and(|at| now >= at);
        let mut matched = Vec::new();
        for (id, live) in self.tasks.iter_mut().filter(|(_, live)| is_due(live)) {
            live.silent_at = None;
            let Some(hits) = live.scanner.as_mut().map(Scanner::pause) else { continue };
            if let (false, Ok(reading)) = (hits.is_empty(), self.archive.read(*id)) {
                let told = |hit: Hit| notice(live, &reading, About::Matched(hit.found));
                self.batch.notices.extend(hits.into_iter().map(told));
                matched.push(*id);
            }
        }
        for id in matched {
            self.watch_matched(id);
        }
    }

    /// Subscribes the client to a task's output.
    pub(super) fn subscribe(&mut self, id: TaskId, offset: Option<u64>) {
        let total = self.archive.read(id).map_or(0, |reading| reading.total());
        self.tell(Signal::Subscribe(id, offset.unwrap_or(total)));
        if let Some(live) = self.find(id)
            && !live.life.has_ended()
        {
            live.audience = Audience::Subscriber;
            live.arm_at = Some(Instant::now());
        }
    }

    /// Queues a notification that a task waits for input.
    pub(super) fn stalled(&mut self, id: TaskId) {
        let Ok(reading) = self.archive.read(id) else { return };
        let Some(live) = self.tasks.get_mut(&id) else { return };
        let about = About::Stalled { offset: reading.total() };
        let notice = notice(live, &reading, about);
        self.batch.notices.push(notice);
    }
}

fn notice(live: &Live, reading: &Reading, about: About) -> Notice {
    let standing = reading.standing();
    Notice {
        task: live.facts.clone(),
        about,
        pid: standing.pid,
        stopping: standing.stopping,
        output: standing.output,
        progress: live.progress.clone(),
        preview: reading.preview(),
    }
}

/// Searches the next piece of output for watched lines.
fn scan(live: &mut Live, reading: &mut Reading) -> Vec<Notice> {
    let Some(scanner) = &mut live.scanner else { return Vec::new() };
    let Some(range) = reading.next_kept(scanner.position()) else { return Vec::new() };
    let range = range.start..range.end.min(range.start + SCAN_BYTES);
    // If the range was overwritten during the read, the next round continues where output is retained.
    let Ok(Some(bytes)) = reading.read(range.clone()) else { return Vec::new() };
    let hits = scanner.push(range.start, &bytes);
    hits.into_iter().map(|hit| notice(live, reading, About::Matched(hit.found))).collect()
}

fn progress_of(reading: &mut Reading) -> Option<Progress> {
    let range = reading.next_kept(reading.total().saturating_sub(PROGRESS_BYTES))?;
    let bytes = reading.read(range).ok().flatten()?;
    read_progress(&String::from_utf8_lossy(&bytes))
}
