//! One task at a place: its folder here, which this process alone writes.

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

/// Bytes of standard input that are sent at once.
const INPUT_BYTES: usize = 64 << 10;

/// What comes from the folder of a task.
#[derive(Debug)]
pub(super) enum Asked {
    /// An order.
    Order(Order),
    /// Standard input; answered once the place has taken it.
    Input(Vec<u8>, oneshot::Sender<()>),
}

/// A piece of standard input. The next one is read once this one is taken, or dropped.
#[derive(Debug)]
pub(super) struct Writing {
    /// What is to be sent; `None`: it was.
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) _taken: oneshot::Sender<()>,
}

/// An order to stop a task.
#[derive(Debug, Clone)]
pub(super) struct StopOrder {
    pub(super) signal: i32,
    pub(super) grace: Duration,
    pub(super) cause: record::Cause,
    /// It was sent on this way.
    pub(super) sent: bool,
    /// A courier before this one took it, which did not write down how long the tree has.
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
    /// It may have been sent.
    pub(super) sent: bool,
    /// Its id there.
    pub(super) remote: Option<String>,
    /// What a batch system there says of it.
    engine: record::Engine,
    /// Its leader was told.
    pub(super) started: bool,
    /// Its end is recorded.
    pub(super) ended: bool,
    /// The task as it ended there, and its preview: where its output is fetched first because a watch may match in
    /// it, or where its end was not told yet.
    pub(super) end: Option<(Value, Value)>,
    /// The order to stop it, until the place has answered it.
    pub(super) stop: Option<StopOrder>,
    /// A read is under way.
    pub(super) reading: bool,
    /// What is read was asked for before the end was known.
    stale: bool,
    stalled: bool,
    holding: Arc<AtomicBool>,
    /// Its output comes as it is written.
    pub(super) subscribed: bool,
    /// Until then a client looks at its output.
    pub(super) followed_until: Option<Instant>,
    /// Bytes that the place has, as far as is known.
    pub(super) there: u64,
    /// Input that is to be sent, or was and is not taken yet.
    pub(super) writing: Option<Writing>,
    pub(super) end_input: bool,
    /// No more of the output's head can be had.
    head_done: bool,
    /// The end of the output that was fetched after the end of the task.
    filled_from: u64,
    filled_to: u64,
    fetches: u64,
    taken: u64,
    armed: Option<u64>,
    input: Option<File>,
    _readers: JoinSet<()>,
}

impl Errand {
    /// Takes a task over. `None`: another process has it, or there is nothing left to do.
    ///
    /// # Errors
    ///
    /// Its folder cannot be read.
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

    /// Takes up the record of a task that has ended and whose output is not whole.
    ///
    /// # Errors
    ///
    /// It cannot be read.
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
        // Who ordered the end before is in the record, how is not.
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

    /// How far its output is here.
    pub(super) fn total(&self) -> u64 {
        self.extent.total
    }

    /// Notes that it may be at the place from now on.
    pub(super) fn note_sent(&mut self) {
        self.sent = true;
        self.sheet.sent();
    }

    /// Who ordered it to stop.
    pub(super) fn sheet_stop(&self) -> Option<record::Cause> {
        record::read(&self.record).ok()?.stop
    }

    /// Notes its name there.
    pub(super) fn note_remote(&mut self, remote: &str) {
        if let Ok(bytes) = remote.as_bytes().try_into() {
            self.sheet.remote(bytes);
            self.remote = Some(remote.to_owned());
        }
    }

    /// Notes what a batch system there says of it; whether that is news.
    pub(super) fn note_engine(&mut self, engine: record::Engine) -> bool {
        // What is not said any more is still so.
        let known = &self.engine;
        let or = |said: String, known: &String| if said.is_empty() { known.clone() } else { said };
        let engine = record::Engine {
            name: or(engine.name, &known.name),
            job: or(engine.job, &known.job),
            node: or(engine.node, &known.node),
            reason: engine.reason,
        };
        if engine == self.engine {
            return false;
        }
        self.sheet.engine(&engine);
        self.engine = engine;
        true
    }

    /// Takes a piece of input, which stays until the place has it.
    pub(super) fn hold(&mut self, writing: Writing) {
        self.writing = Some(writing);
        // It is known here from now on.
        self.holding.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Notes whether it waits for input; whether that is news.
    pub(super) fn note_stalled(&mut self, stalled: bool) -> bool {
        if self.stalled == stalled {
            return false;
        }
        self.stalled = stalled;
        self.sheet.stalled(stalled);
        true
    }

    /// Notes whether the place has still to be told that no more input comes.
    pub(super) fn note_end_input(&mut self, ended: bool) {
        self.end_input = ended;
        self.sheet.input_ended(ended);
    }

    /// Whether what comes was asked for before the end was known.
    pub(super) fn is_stale(&mut self) -> bool {
        std::mem::take(&mut self.stale)
    }

    /// What was sent on a way that is closed is to be sent again.
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

    /// Counts a fetch: what there was is here, or cannot be had.
    pub(super) fn count_fetch(&mut self) {
        self.fetches += 1;
        self.sheet.fetched(self.fetches);
    }

    /// A client wants to hear of output behind this offset. Whether there is some already.
    pub(super) fn arm(&mut self, offset: u64) -> bool {
        self.armed = Some(offset);
        self.rings()
    }

    /// Whether the client that wants to hear of output is to be rung for, once.
    pub(super) fn rings(&mut self) -> bool {
        self.armed.take_if(|offset| self.extent.total > *offset).is_some()
    }

    /// Takes in output from `offset` on. `false`: something before it is missing.
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
        if !data.is_empty() {
            self.note_stalled(false);
        }
        self.last.extend_from_slice(data);
        self.last.drain(..self.last.len().saturating_sub(LAST_BYTES));
        self.sheet.last(&self.last);
        true
    }

    /// What the place does not keep any more.
    pub(super) fn skip_to(&mut self, offset: u64) {
        elsewhere::end_extent(&mut self.extent, offset);
        self.sheet.extent(&self.extent);
    }

    /// Records the end. `last` is the end of its output, which may not be here as a whole.
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
            // Where it fails, a loss of power may take the end back, and the place is asked for it again.
            let _ = self.record.sync_data();
        }
        self.ended = true;
    }

    /// What of an ended task's output is to be fetched next.
    pub(super) fn missing(&self) -> Option<std::ops::Range<u64>> {
        elsewhere::next_missing(&self.extent, self.head_done, self.filled_to)
    }

    /// Takes in output that was asked for after the end from `asked` on, and comes from `from` to `to`: what the place
    /// does not keep is left out.
    pub(super) fn fill(&mut self, asked: u64, from: u64, data: &[u8], to: u64) {
        if asked < self.extent.head_cap {
            // The head has no gap.
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

    /// Its output is here, as far as it can be had.
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

/// How long the tree of a task has whose stop was ordered of a courier that was killed.
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

/// Hands standard input on, the next piece once the place has taken the one before.
async fn feed(
    fifo: File,
    id: TaskId,
    asked: mpsc::UnboundedSender<(TaskId, Asked)>,
    holding: Arc<AtomicBool>,
) {
    let Ok(fifo) = pipe::Receiver::from_file(fifo) else { return };
    let mut bytes = vec![0; INPUT_BYTES];
    while fifo.readable().await.is_ok() {
        // From before it is read until it is taken: else the end of the input could overtake it.
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
