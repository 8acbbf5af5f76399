//! Tasks that run at a place. A courier does for them what a shim does for a task on this machine: the folder
//! of such a task has the same files, which the courier writes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use meanwhile_shim::bell::{self, Kind, Message};
use meanwhile_shim::layout;
use meanwhile_shim::log::Extent;
use meanwhile_shim::place;
use meanwhile_shim::record::{HEADER_BYTES, Sheet};
use meanwhile_shim::spec::{Spec, Stdin};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::time::Instant;

use super::{Local, Origin};
use crate::background::executor::{Report, What};
use crate::background::home::io_error;
use crate::background::task::TaskId;
use crate::background::{convert, places};

/// The first and the longest delay between two starts of a courier.
const CALL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Local {
    /// Publishes a task of a place. From here on the task exists, whether the place can be reached or not.
    pub(super) fn send(&mut self, id: TaskId, spec: &Spec, name: &str) {
        let folder = self.home.root().join(layout::LIVE).join(format!(".{id}.{}", self.bell.name));
        let published = DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .and_then(|()| fill(&folder, spec, place::bell_hash(name)))
            .and_then(|()| fs::rename(&folder, self.home.live(id)));
        let report = match published {
            Ok(()) => {
                self.hold(id, convert::stdin_of(spec), Origin::Others);
                self.call_courier(id, name);
                Report::Acknowledged(id, What::Start)
            }
            Err(error) => {
                layout::remove_folder(&folder);
                Report::Refused(id, What::Start, io_error(self.home.root(), &error))
            }
        };
        self.reports.push_back(report);
    }

    /// Notifies the courier of a place about a task; starts a courier if there is none.
    pub(super) fn call_courier(&mut self, id: TaskId, name: &str) {
        let message =
            Message { kind: Kind::Queued, id: *id.as_bytes(), workspace: place::bell_hash(name) };
        bell::ring(&self.home.bells(), message, None);
        if place::has_courier(self.home.root(), name) {
            self.calls.remove(name);
            return;
        }
        // One start at a time, with growing delays if the courier does not start.
        let now = Instant::now();
        let before = self.calls.get(name).copied();
        // A courier that ran for a while is started again at once.
        let before = before.filter(|(at, pause)| now < *at + *pause);
        let (at, pause) = before.unwrap_or((now, CALL.0));
        if now < at {
            return;
        }
        self.calls.insert(name.to_owned(), (now + pause, (pause * 2).min(CALL.1)));
        let (root, name) = (self.home.root().to_owned(), name.to_owned());
        self.chores.spawn_blocking(move || places::start_courier(&root, &name));
    }

    /// The place of a task that has not ended; `None` if it runs on this machine.
    pub(super) fn place_of(&self, id: TaskId) -> Option<String> {
        self.home.spec(id).ok()?.place
    }
}

fn fill(folder: &Path, spec: &Spec, place: u64) -> io::Result<()> {
    let private = |name: &str| -> io::Result<File> {
        let path = folder.join(name);
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    };
    private(layout::SPEC)?.write_all(&spec.to_bytes())?;
    let fifo = |name: &str| mkfifo(&folder.join(name), Mode::S_IRUSR | Mode::S_IWUSR);
    fifo(layout::CTL)?;
    match spec.stdin {
        Stdin::Null => {}
        Stdin::Pipe | Stdin::Pty { .. } => fifo(layout::STDIN)?,
    }
    let record = private(layout::RECORD)?;
    record.set_len(HEADER_BYTES as u64)?;
    let sheet = Sheet::create(&record)?;
    sheet.elsewhere(place);
    sheet.extent(&Extent { head_cap: spec.head_cap, tail_cap: spec.tail_cap, ..Extent::default() });
    if spec.sync { record.sync_all() } else { Ok(()) }
}
