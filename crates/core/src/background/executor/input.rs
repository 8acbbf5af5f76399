//! The way into a task's standard input.

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

/// The way into a task's standard input. Cheap to clone; two writes never mix.
#[derive(Debug, Clone)]
pub enum Input {
    /// Of a task on this machine.
    Local(LocalInput),
}

impl Input {
    /// Writes; returns when the task's pipe has taken all of it. With `eof` nothing can follow.
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

/// How far it is.
#[derive(Debug)]
enum State {
    /// No client wrote yet.
    Unopened,
    /// Open.
    Open(pipe::Sender),
    /// Its end was said.
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
            // A task that has read everything may have ended since, and its shim with it.
            let has_ended =
                || self.home.record(self.id).map_or(true, |record| record.end.is_some());
            if self.home.order(self.id, &Order::EndInput).is_err() && !has_ended() {
                return Err(ended());
            }
        }
        Ok(())
    }
}

/// Opens a task's standard input. The task may be about to be started.
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
