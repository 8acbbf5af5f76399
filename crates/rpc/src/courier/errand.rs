//! One task at a place, and its folder on this machine, which only this process writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meanwhile_core::background::task::TaskId;
use meanwhile_shim::ctl::{self, Order};
use meanwhile_shim::log::{self, Extent};
use meanwhile_shim::record::{self, LAST_BYTES, Sheet, elsewhere};
use meanwhile_shim::spec::{Spec, Stdin};
use meanwhile_shim::{layout, lock};
use serde_json::Value;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The most bytes of standard input in one request.
const INPUT_BYTES: usize = 64 << 10;

/// What a client sends through the FIFOs in a task's folder.
#[derive(Debug)]
pub(super) enum Asked {
    /// An order from the `ctl` FIFO.
    Order(Order),
    /// Standard input; the sender is dropped once the place has received it.
    Input(Vec<u8>, oneshot::Sender<()>),
}

/// A piece of standard input. The next one is read once the place has received this one, or it is dropped.
#[derive(Debug)]
pub(super) struct Writing {
    /// The bytes to send; `None` once they were sent.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) _taken: oneshot::Sender<()>,
}

/// An order to stop a task.
#[derive(Debug, Clone)]
pub(super) struct StopOrder {
    pub(super) signal: i32,
    pub(super) grace: Duration,
    pub(super) cause: record::Cause,
    /// Whether it was sent over the current connection.
    pub(super) sent: bool,
    /// Whether an earlier courier received it: its signal and grace period are then unknown.
    pub(super) inherited: bool,
}

/// A task at a place.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) id: TaskId,
    pub(super) spec: Spec,
    pub(super) workspace: u64,
    record: File,
    pub(super) sheet: Sheet,
    extent: Extent,
    last: Vec<u8>,
    /// The spawn may have been sent.
    pub(super) sent: bool,
    /// The task's id at the place.
    pub(super) remote: Option<String>,
    /// What the place's batch system last reported about the task.
    engine: record::Engine,
    /// The pid of its leader is recorded.
    pub(super) started: bool,
    /// Its end is recorded.
    pub(super) ended: bool,
    /// The ended task and its preview, while its output is fetched first because a watch may match in it, or until
    /// the notification of its end arrives.
    pub(super) end: Option<(Value, Value)>,
    /// The order to stop it, until the place has answered it.
    pub(super) stop: Option<StopOrder>,
    /// A read is under way.
    pub(super) reading: bool,
    /// The read under way was requested before the end was known.
    stale: bool,
    stalled: bool,
    holding: Arc<AtomicBool>,
    /// The place pushes its output as it is written.
    pub(super) subscribed: bool,
    /// A client reads its output, until this time.
    pub(super) followed_until: Option<Instant>,
    /// How many bytes of output the task has written at the place, as far as is known.
    pub(super) there: u64,
    /// Input that is to be sent, or was sent and not yet acknowledged.
    pub(super) writing: Option<Writing>,
    pub(super) end_input: bool,
    /// No more of the output's head can be fetched.
    head_done: bool,
    /// The range of the output's tail that was fetched after the end of the task.
    filled_from: u64,
    filled_to: u64,
    fetches: u64,
    taken: u64,
    armed: Option<u64>,
    input: Option<File>,
    _readers: JoinSet<()>,
}

impl Errand {
    /// Takes over a task that has not ended. `None` if another process holds its record.
    ///
    /// # Errors
    ///
    /// The task's folder cannot be read.
    pub(super) fn take(
        folder: &Path,
        id: TaskId,
        spec: Spec,
        asked: &mpsc::UnboundedSender<(TaskId, Asked)>,
    ) -> io::Result<Option<Self>> {
        let both = |path: &Path| {
            let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
        };
        let record = both(&folder.join(layout::RECORD))?;
        if !lock::exclusive(&record)? {
            return Ok(None);
        }
        let mut readers = JoinSet::new();
        readers.spawn(orders(both(&folder.join(layout::CTL))?, id, asked.clone()));
        let input = match spec.stdin {
            Stdin::Null => None,
            Stdin::Pipe | Stdin::Pty { .. } => Some(both(&folder.join(layout::STDIN))?),
        };
        let holding = Arc::new(AtomicBool::new(false));
        if let Some(input) = &input {
            readers.spawn(feed(input.try_clone()?, id, asked.clone(), holding.clone()));
        }
        Self::of(record, id, spec, (input, holding), readers).map(Some)
    }

    /// Takes over the record of an ended task whose output is incomplete. `None` if another process holds it.
    ///
    /// # Errors
    ///
    /// The record cannot be read.
    pub(super) fn complete(record: &Path, id: TaskId, spec: Spec) -> io::Result<Option<Self>> {
        let record = OpenOptions::new().read(true).write(true).open(record)?;
        if !lock::exclusive(&record)? {
            return Ok(None);
        }
        Self::of(record, id, spec, (None, Arc::default()), JoinSet::new()).map(Some)
    }

    fn of(
        record: File,
        id: TaskId,
        spec: Spec,
        (input, holding): (Option<File>, Arc<AtomicBool>),
        readers: JoinSet<()>,
    ) -> io::Result<Self> {
        let found = record::read(&record)?;
        let place = found.elsewhere.ok_or(io::ErrorKind::InvalidData)?;
        let mut sheet = Sheet::open(&record)?;
        sheet.introduce(ctl::KNOWN_ELSEWHERE);
        let remote = place.remote.map(|id| String::from_utf8_lossy(&id).into_owned());
        // The record has who ordered the stop, but not the signal and the grace period.
        let stop = found.stop.filter(|_| found.end.is_none());
        Ok(Self {
            id,
            workspace: layout::workspace_hash(&spec.workspace),
            spec,
            sheet,
            extent: found.extent,
            last: found.last,
            sent: place.sent || remote.is_some(),
            remote,
            engine: found.engine.unwrap_or_default(),
            started: found.leader_pid != 0,
            ended: found.end.is_some(),
            end: None,
            stop: stop.map(|cause| StopOrder {
                signal: libc::SIGTERM,
                grace: STOP_GRACE,
                cause,
                sent: false,
                inherited: true,
            }),
            reading: false,
            stale: false,
            stalled: found.stalled,
            holding,
            subscribed: false,
            followed_until: None,
            there: found.extent.total,
            writing: None,
            end_input: place.input_ended,
            head_done: false,
            filled_from: 0,
            filled_to: 0,
            fetches: place.fetches,
            taken: found.shim.taken,
            armed: None,
            input,
            record,
            _readers: readers,
        })
    }

    /// The number of output bytes up to the end of what was fetched.
    pub(super) fn total(&self) -> u64 {
        self.extent.total
    }

    /// Records that the task may be at the place from now on.
    pub(super) fn note_sent(&mut self) {
        self.sent = true;
        self.sheet.sent();
    }

    /// Who ordered the task to stop, from its record.
    pub(super) fn sheet_stop(&self) -> Option<record::Cause> {
        record::read(&self.record).ok()?.stop
    }

    /// Records the task's id at the place.
    pub(super) fn note_remote(&mut self, remote: &str) {
        if let Ok(bytes) = remote.as_bytes().try_into() {
            self.sheet.remote(bytes);
            self.remote = Some(remote.to_owned());
        }
    }

    /// Records what the place's batch system reports about the task; returns whether something changed.
    pub(super) fn note_engine(&mut self, engine: record::Engine) -> bool {
        // A field that is missing from a later report still holds.
        let known = &self.engine;
        let or = |said: String, known: &String| if said.is_empty() { known.clone() } else { said };
        let engine = record::Engine {
            name: or(engine.name, &known.name),
            job: or(engine.job, &known.job),
            node: or(engine.node, &known.node),
            reason: engine.reason,
            sources: or(engine.sources, &known.sources),
        };
        if engine == self.engine {
            return false;
        }
        self.sheet.engine(&engine);
        self.engine = engine;
        true
    }

    /// The state of the sources here at the spawn, if it is still to be compared with that at the place.
    pub(super) fn to_compare(&self) -> Option<&str> {
        self.spec.sources.as_deref().filter(|_| !self.ended && self.engine.sources.is_empty())
    }

    /// Records how the sources differ, or [`record::SAME`].
    pub(super) fn note_sources(&mut self, sources: String) -> bool {
        self.note_engine(record::Engine { sources, ..self.engine.clone() })
    }

    /// Stores a piece of input until the place has received it.
    pub(super) fn hold(&mut self, writing: Writing) {
        self.writing = Some(writing);
        // From here on `writing` shows that there is input.
        self.holding.store(false, Ordering::Relaxed);
    }

    /// Records whether the task waits for input; returns whether that changed.
    pub(super) fn note_stalled(&mut self, stalled: bool) -> bool {
        if self.stalled == stalled {
            return false;
        }
        self.stalled = stalled;
        self.sheet.stalled(stalled);
        true
    }

    /// Records whether the end of the input must still be sent to the place.
    pub(super) fn note_end_input(&mut self, ended: bool) {
        self.end_input = ended;
        self.sheet.input_ended(ended);
    }

    /// Whether the response was requested before the end was known; resets this.
    pub(super) fn is_stale(&mut self) -> bool {
        std::mem::take(&mut self.stale)
    }

    /// Marks what was sent over a closed connection and not answered, to be sent again.
    pub(super) fn renew(&mut self) {
        if let Some(stop) = &mut self.stop {
            stop.sent = false;
        }
        self.end_input |= record::read(&self.record)
            .is_ok_and(|record| record.elsewhere.is_some_and(|place| place.input_ended));
    }

    /// Counts an order.
    pub(super) fn count_order(&mut self) {
        self.taken += 1;
        self.sheet.took(self.taken);
    }

    /// Counts a fetch: the output so far was fetched, or cannot be fetched.
    pub(super) fn count_fetch(&mut self) {
        self.fetches += 1;
        self.sheet.fetched(self.fetches);
    }

    /// Asks for one ring when there is output after this offset; returns whether there is some already.
    pub(super) fn arm(&mut self, offset: u64) -> bool {
        self.armed = Some(offset);
        self.rings()
    }

    /// Whether the ring that a client asked for is due; true once.
    pub(super) fn rings(&mut self) -> bool {
        self.armed.take_if(|offset| self.extent.total > *offset).is_some()
    }

    /// Appends output that starts at `offset`. Returns `false` if output before it is missing.
    pub(super) fn output(&mut self, offset: u64, data: &[u8]) -> bool {
        let known = self.extent.total.saturating_sub(offset);
        let Some(data) = usize::try_from(known).ok().and_then(|known| data.get(known..)) else {
            return true;
        };
        if offset > self.extent.total {
            self.there = self.there.max(offset + data.len() as u64);
            return false;
        }
        let sheet = &self.sheet;
        log::append(&self.record, &mut self.extent, data, |extent| sheet.extent(extent));
        self.there = self.there.max(self.extent.total);
        self.last.extend_from_slice(data);
        self.last.drain(..self.last.len().saturating_sub(LAST_BYTES));
        self.sheet.last(&self.last);
        true
    }

    /// Continues at `offset`, because the place no longer keeps the output before it.
    pub(super) fn skip_to(&mut self, offset: u64) {
        elsewhere::end_extent(&mut self.extent, offset);
        self.sheet.extent(&self.extent);
    }

    /// Records the end. `last` is the end of its output, of which not all may have been fetched.
    pub(super) fn finish(&mut self, end: &record::End, last: &[u8]) {
        let partial = self.extent.total < end.total;
        self.stale = self.reading;
        elsewhere::end_extent(&mut self.extent, end.total);
        self.sheet.extent(&self.extent);
        if partial {
            self.sheet.last(last);
            self.sheet.partial(true);
        }
        self.sheet.end(end);
        if self.spec.sync {
            // If this fails and a power failure loses the end, the next courier asks the place for it again.
            let _ = self.record.sync_data();
        }
        self.ended = true;
    }

    /// The next range of an ended task's output to fetch.
    pub(super) fn missing(&self) -> Option<std::ops::Range<u64>> {
        elsewhere::next_missing(&self.extent, self.head_done, self.filled_to)
    }

    /// Stores output that was requested from `asked` on after the end. It covers `from` to `to`; the place no longer
    /// keeps what is before `from`.
    pub(super) fn fill(&mut self, asked: u64, from: u64, data: &[u8], to: u64) {
        if asked < self.extent.head_cap {
            // The head must not have a gap.
            let failed = from != asked
                || data.is_empty()
                || elsewhere::fill(&self.record, &mut self.extent, from, data).is_err();
            self.head_done |= failed;
        } else {
            if from != asked || self.filled_to == 0 {
                self.filled_from = from;
            }
            if elsewhere::fill(&self.record, &mut self.extent, from, data).is_err() {
                self.filled_from = to;
            }
            self.filled_to = to;
            if to >= self.extent.total {
                elsewhere::end_filled(&mut self.extent, self.filled_from);
            }
        }
        self.sheet.extent(&self.extent);
    }

    /// Records that all output that can be fetched was fetched.
    pub(super) fn whole(&mut self) {
        self.sheet.partial(false);
        self.count_fetch();
    }

    /// Whether all of its input was read from the FIFO.
    pub(super) fn input_is_empty(&self) -> bool {
        let Some(input) = &self.input else { return true };
        if self.holding.load(Ordering::Relaxed) {
            return false;
        }
        let mut fds =
            [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(input), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).is_ok_and(|ready| ready == 0)
    }
}

/// The grace period of a stop that was ordered from a courier that has since been killed.
const STOP_GRACE: Duration = meanwhile_core::limits::STOP_GRACE;

async fn orders(fifo: File, id: TaskId, asked: mpsc::UnboundedSender<(TaskId, Asked)>) {
    let Ok(fifo) = pipe::Receiver::from_file(fifo) else { return };
    let (mut buffer, mut bytes) = (Vec::new(), [0; 4_096]);
    while fifo.readable().await.is_ok() {
        if let Ok(len) = fifo.try_read(&mut bytes) {
            buffer.extend_from_slice(&bytes[..len]);
            for order in ctl::take(&mut buffer, id.as_bytes()) {
                let _ = asked.send((id, Asked::Order(order)));
            }
        }
    }
}

/// Passes standard input on, each piece once the place has received the previous one.
async fn feed(
    fifo: File,
    id: TaskId,
    asked: mpsc::UnboundedSender<(TaskId, Asked)>,
    holding: Arc<AtomicBool>,
) {
    let Ok(fifo) = pipe::Receiver::from_file(fifo) else { return };
    let mut bytes = vec![0; INPUT_BYTES];
    while fifo.readable().await.is_ok() {
        // Set from before the read until the courier holds the input, so that the end of the input cannot overtake it.
        holding.store(true, Ordering::Relaxed);
        if let Ok(len @ 1..) = fifo.try_read(&mut bytes) {
            let (done, taken) = oneshot::channel();
            if asked.send((id, Asked::Input(bytes[..len].to_vec(), done))).is_err() {
                return;
            }
            // The courier clears it when it has the piece.
            let _ = taken.await;
        } else {
            holding.store(false, Ordering::Relaxed);
        }
    }
}
