//! Writing to a task's standard input.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use meanwhile_shim::ctl::Order;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;

use crate::background::home::{Home, io_error};
use crate::background::task::TaskId;
use crate::error::Error;

/// Write access to a task's standard input. Cheap to clone; concurrent writes do not interleave.
#[derive(Debug, Clone)]
pub enum Input {
    /// A task on this machine.
    Local(LocalInput),
}

impl Input {
    /// Writes `data`; returns when the task's pipe has accepted all of it. With `eof`, closes the input
    /// afterwards.
    pub async fn write(&self, data: &[u8], eof: bool) -> Result<(), Error> {
        match self {
            Self::Local(input) => input.write(data, eof).await,
        }
    }
}

/// The standard input of a task on this machine.
#[derive(Debug, Clone)]
pub struct LocalInput {
    id: TaskId,
    home: Home,
    state: Arc<Mutex<State>>,
}

/// The state of the input pipe.
#[derive(Debug)]
enum State {
    /// No client has written yet.
    Unopened,
    /// Open for writing.
    Open(pipe::Sender),
    /// A client has sent end-of-file, or the pipe is broken.
    Ended,
}

impl LocalInput {
    pub(super) fn new(id: TaskId, home: Home) -> Self {
        Self { id, home, state: Arc::new(Mutex::new(State::Unopened)) }
    }

    async fn write(&self, data: &[u8], eof: bool) -> Result<(), Error> {
        let ended = || Error::NotRunning {
            id: self.id,
            message: "its standard input is closed; nothing more can be written".to_owned(),
        };
        let mut state = self.state.lock().await;
        if let State::Unopened = *state {
            *state = State::Open(open(&self.home, self.id).await.map_err(|_| ended())?);
        }
        let State::Open(sender) = &mut *state else { return Err(ended()) };
        if let Err(error) = sender.write_all(data).await {
            *state = State::Ended;
            return Err(if error.kind() == io::ErrorKind::BrokenPipe {
                ended()
            } else {
                io_error(&self.home.live(self.id), &error)
            });
        }
        if eof {
            *state = State::Ended;
            // A task that has read everything may have ended already, and its shim too.
            let has_ended =
                || self.home.record(self.id).map_or(true, |record| record.end.is_some());
            if self.home.order(self.id, &Order::EndInput).is_err() && !has_ended() {
                return Err(ended());
            }
        }
        Ok(())
    }
}

/// Opens a task's standard input. Retries for a second, because the task may just be starting.
async fn open(home: &Home, id: TaskId) -> io::Result<pipe::Sender> {
    let mut patience = 200;
    loop {
        match home.open_input(id).and_then(pipe::Sender::from_file) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) && patience > 0 => {
                patience -= 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            result => return result,
        }
    }
}
