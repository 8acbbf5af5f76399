//! An executor that does nothing but what a test says: it proves that the supervisor needs no more
//! than requests and reports.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use meanwhile_shim::record::{self, HEADER_BYTES, Record};

use super::local::Woken;
use super::reading::Reading;
use super::{Report, Request, SendSignal, Size};
use crate::background::task::{Port, TaskId};

/// The executor, and the test's hold on it.
#[derive(Debug, Clone, Default)]
pub struct Scripted {
    state: Arc<Mutex<State>>,
    shelf: Shelf,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<String>,
    /// What tasks listen on, and how often that was asked.
    ports: HashMap<TaskId, Vec<Port>>,
    looks: u32,
    reports: VecDeque<Report>,
    unsettled: bool,
}

impl Scripted {
    /// Notes what is asked.
    pub fn ask(&mut self, request: Request) {
        // Who asks for tasks that are not there is told of none.
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

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("no test panics with it").asked)
    }

    /// What a task listens on from now on.
    pub fn listen(&self, id: TaskId, ports: &[Port]) {
        let mut state = self.state.lock().expect("no test panics with it");
        state.ports.insert(id, ports.to_vec());
    }

    /// How often ports were looked at since the last time.
    pub fn looks(&self) -> u32 {
        std::mem::take(&mut self.state.lock().expect("no test panics with it").looks)
    }

    /// Has this reported.
    pub fn say(&self, report: Report) {
        self.state.lock().expect("no test panics with it").reports.push_back(report);
    }

    /// The next report.
    pub fn report(&mut self) -> Option<Report> {
        self.state.lock().expect("no test panics with it").reports.pop_front()
    }

    /// Says whether tasks stand as they were reported.
    pub fn settle(&self, settled: bool) {
        self.state.lock().expect("no test panics with it").unsettled = !settled;
    }

    /// What was said.
    pub fn is_settled(&self) -> bool {
        !self.state.lock().expect("no test panics with it").unsettled
    }

    /// Nothing happens by itself.
    pub async fn wait(&mut self) -> Woken {
        std::future::pending().await
    }

    /// What is kept.
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
    /// Puts a task's record and output on the shelf.
    pub fn put(&self, id: TaskId, record: Record, output: &[u8]) {
        let mut record = record;
        record.extent.total = output.len() as u64;
        record.extent.head_len = output.len() as u64;
        record.extent.head_cap = 1 << 20;
        self.0.lock().expect("no test panics with it").insert(id, (record, output.to_vec()));
    }

    /// Reads a task.
    pub fn read(&self, id: TaskId) -> io::Result<Reading> {
        let shelf = self.0.lock().expect("no test panics with it");
        let (record, output) = shelf.get(&id).ok_or(io::ErrorKind::NotFound)?;
        Ok(Reading::of_memory(record.clone(), output.clone()))
    }

    /// Takes a task off the shelf.
    pub fn delete(&self, id: TaskId) {
        self.0.lock().expect("no test panics with it").remove(&id);
    }
}

/// The record of a task that has just begun.
pub fn blank_record() -> Record {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..8].copy_from_slice(b"MWTASK01");
    record::parse(&bytes).expect("an idle shim's record")
}
