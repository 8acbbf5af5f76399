//! An executor that only does what a test tells it: it shows that the supervisor needs nothing but requests and
//! reports.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use meanwhile_shim::record::{self, HEADER_BYTES, Record};

use super::local::Woken;
use super::reading::Reading;
use super::{Report, Request, SendSignal, Size};
use crate::background::task::{Port, TaskId};

/// The executor and the test's handle on it.
#[derive(Debug, Clone, Default)]
pub struct Scripted {
    state: Arc<Mutex<State>>,
    shelf: Shelf,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<String>,
    /// What tasks listen on, and how often it was requested.
    ports: HashMap<TaskId, Vec<Port>>,
    looks: u32,
    reports: VecDeque<Report>,
    unsettled: bool,
}

impl Scripted {
    /// Records the request.
    pub fn ask(&mut self, request: Request) {
        // The script has no other tasks to list.
        let text = match request {
            Request::List(_) => return,
            Request::Look(ids) => {
                let mut state = self.state.lock().expect("no test panics with it");
                state.looks += 1;
                let of = |id: &TaskId| (*id, state.ports.get(id).cloned().unwrap_or_default());
                let found = Report::Ports(ids.iter().map(of).collect());
                return state.reports.push_back(found);
            }
            Request::Start(_, spec) => format!("start {}", spec.command),
            Request::Release(_) => "release".to_owned(),
            Request::Stop(_, how) => format!("stop {}", how.signal),
            Request::Signal(_, number, SendSignal { signal, to, .. }) => {
                format!("{number}: signal {signal} to {to:?}")
            }
            Request::Resize(_, number, Size { rows, cols }) => {
                format!("{number}: resize {rows}x{cols}")
            }
            Request::Follow(_) => "follow".to_owned(),
            Request::Arm(_, offset) => format!("arm {offset}"),
            Request::Adopt(_) => "adopt".to_owned(),
            Request::Replace(_) => "replace".to_owned(),
            Request::Settle(_) => "settle".to_owned(),
            Request::Announce => "announce".to_owned(),
        };
        self.state.lock().expect("no test panics with it").asked.push(text);
    }

    /// The requests since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("no test panics with it").asked)
    }

    /// Sets the ports that a task listens on.
    pub fn listen(&self, id: TaskId, ports: &[Port]) {
        let mut state = self.state.lock().expect("no test panics with it");
        state.ports.insert(id, ports.to_vec());
    }

    /// How often ports were requested since the last call.
    pub fn looks(&self) -> u32 {
        std::mem::take(&mut self.state.lock().expect("no test panics with it").looks)
    }

    /// Queues this report.
    pub fn say(&self, report: Report) {
        self.state.lock().expect("no test panics with it").reports.push_back(report);
    }

    /// The next report.
    pub fn report(&mut self) -> Option<Report> {
        self.state.lock().expect("no test panics with it").reports.pop_front()
    }

    /// Sets whether tasks are in the state that was reported.
    pub fn settle(&self, settled: bool) {
        self.state.lock().expect("no test panics with it").unsettled = !settled;
    }

    /// The value that the test set.
    pub fn is_settled(&self) -> bool {
        !self.state.lock().expect("no test panics with it").unsettled
    }

    /// Never returns: a script produces no events by itself.
    pub async fn wait(&mut self) -> Woken {
        std::future::pending().await
    }

    /// The stored records and outputs.
    pub fn shelf(&self) -> Shelf {
        self.shelf.clone()
    }
}

/// Records and outputs in memory.
#[derive(Debug, Clone, Default)]
pub struct Shelf(Arc<Mutex<HashMap<TaskId, Kept>>>);

/// A task's record and output.
type Kept = (Record, Vec<u8>);

impl Shelf {
    /// Stores a task's record and output.
    pub fn put(&self, id: TaskId, record: Record, output: &[u8]) {
        let mut record = record;
        record.extent.total = output.len() as u64;
        record.extent.head_len = output.len() as u64;
        record.extent.head_cap = 1 << 20;
        self.0.lock().expect("no test panics with it").insert(id, (record, output.to_vec()));
    }

    /// Reads a task's record and output.
    pub fn read(&self, id: TaskId) -> io::Result<Reading> {
        let shelf = self.0.lock().expect("no test panics with it");
        let (record, output) = shelf.get(&id).ok_or(io::ErrorKind::NotFound)?;
        Ok(Reading::of_memory(record.clone(), output.clone()))
    }

    /// Removes a task.
    pub fn delete(&self, id: TaskId) {
        self.0.lock().expect("no test panics with it").remove(&id);
    }
}

/// The record of a task that is about to start.
pub fn blank_record() -> Record {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..8].copy_from_slice(b"MWTASK01");
    record::parse(&bytes).expect("an idle shim's record")
}
