//! Shims of version 0.1.0 and of this one, each with the other's records.
//!
//! `data/meanwhile-shim-0.1.0-x86_64.gz` is that version's shim, linked statically and stripped.

#![expect(clippy::unwrap_used, reason = "a test may")]
#![expect(clippy::zombie_processes, reason = "a shim ends with its task")]
#![cfg(target_arch = "x86_64")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meanwhile_core::background::task::{Actor, Cause, Exit, Outcome, State, TaskId};
use meanwhile_core::background::{Engine, Recipient, Role, SendSignal, Settings, Stop};
use meanwhile_core::{Background, Error};
use meanwhile_shim::ctl::{self, Order};
use meanwhile_shim::record::{self, Record};
use meanwhile_shim::spec::{Spec, Stdin};
use meanwhile_shim::{layout, output};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

/// Longer than any step takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Lab {
    dir: tempfile::TempDir,
    /// Unique on this machine: an adopting shim finds a task's processes by it.
    id: TaskId,
}

impl Lab {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), id: TaskId::random() }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn folder(&self) -> PathBuf {
        self.state().join(layout::LIVE).join(self.id.as_str())
    }

    /// Unpacks the shim of version 0.1.0.
    fn first_shim(&self) -> PathBuf {
        let packed =
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/meanwhile-shim-0.1.0-x86_64.gz");
        let unpacked = Command::new("gzip").args(["-dc", packed]).output().unwrap();
        assert!(unpacked.status.success(), "gzip cannot unpack it");
        self.program("first-shim", &unpacked.stdout)
    }

    fn program(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        if !path.exists() {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        }
        path
    }

    /// The shim that this version's engine installs.
    async fn this_shim(&self) -> PathBuf {
        Engine::open(&self.state(), Settings::default()).await.unwrap().close().await;
        let mut entries = fs::read_dir(self.state().join(layout::BIN)).unwrap();
        entries.next().unwrap().unwrap().path()
    }

    /// Creates a task's folder as a daemon of either version does, and starts a shim in it.
    fn run(&self, shim: &Path, script: &str) -> Child {
        fs::create_dir_all(self.folder()).unwrap();
        for folder in [layout::BELLS, layout::DONE, layout::ATTACHED] {
            fs::create_dir_all(self.state().join(folder)).unwrap();
        }
        mkfifo(&self.folder().join(layout::STDIN), Mode::S_IRWXU).unwrap();
        let spec = Spec {
            id: self.id.to_string(),
            workspace: self.workspace(),
            queue: "default".to_owned(),
            command: script.to_owned(),
            argv: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
            cwd: self.workspace(),
            created_ms: meanwhile_shim::clock::wall_ms(),
            stdin: Stdin::Pipe,
            head_cap: 1 << 20,
            tail_cap: 1 << 20,
            ..Spec::default()
        };
        fs::write(self.folder().join(layout::SPEC), spec.to_bytes()).unwrap();
        let child = self.shim(shim, "run");
        self.until(|record| record.leader_pid != 0);
        child
    }

    fn shim(&self, shim: &Path, mode: &str) -> Child {
        let mut command = Command::new(shim);
        command.arg(self.folder()).arg(mode);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn record(&self) -> Option<Record> {
        let open = File::open(self.folder().join(layout::RECORD));
        record::read(
            &open
                .or_else(|_| File::open(self.state().join(layout::DONE).join(self.id.as_str())))
                .ok()?,
        )
        .ok()
    }

    fn until(&self, is: impl Fn(&Record) -> bool) -> Record {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.record() {
                Some(record) if is(&record) => return record,
                record => assert!(Instant::now() < end, "waited for nothing: {record:?}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn order(&self, order: &Order) {
        let fifo = ctl::open(&self.folder().join(layout::CTL)).unwrap();
        order.send(&fifo, self.id.as_bytes()).unwrap();
    }
}

fn cause() -> Cause {
    Cause { actor: Actor::Client, message: "enough".to_owned() }
}

async fn read_until(background: &Background, id: TaskId, wanted: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let chunk = background.read(id, 0, 1_000).await.unwrap();
        let text = String::from_utf8_lossy(&chunk.data).into_owned();
        if text.contains(wanted) {
            return;
        }
        assert!(Instant::now() < end, "only {text:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_shim_of_the_first_version_serves_this_one() {
    let lab = Lab::new();
    let _shim = lab.run(&lab.first_shim(), "trap 'echo bye; exit 7' TERM; cat; sleep 1000 & wait");
    let engine = Engine::open(&lab.state(), Settings::default()).await.unwrap();
    let (background, _events) = engine.workspace(lab.workspace(), Role::Daemon).await.unwrap();
    let task = background.get(lab.id).await.unwrap();
    assert_eq!(task.state, State::Running);
    assert!(task.pid.is_some(), "its record is read");
    background.write(lab.id, b"hello\n".to_vec(), false).await.unwrap();
    read_until(&background, lab.id, "hello").await;
    let what = SendSignal { signal: libc::SIGUSR1, to: Recipient::Group, cause: cause() };
    let refused = background.signal(lab.id, what).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("version 0.1.0") && text.contains("send a signal"), "{text}");
    background.write(lab.id, Vec::new(), true).await.unwrap();
    // Until `sleep` is executed, its process has the shell's trap, which ignores the signal, and the shim of
    // version 0.1.0 does not repeat the signal before the grace period is over.
    let leader = task.pid.unwrap();
    let is_sleep = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    };
    let asleep = async {
        while !meanwhile_shim::tree::children(leader).iter().any(is_sleep) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asleep).await.unwrap();
    let how = Stop { signal: libc::SIGTERM, grace: PATIENCE, cause: cause() };
    let task = background.stop(lab.id, how).await.unwrap();
    let end = task.end().unwrap();
    assert_eq!((end.outcome, end.exit), (Outcome::Stopped, Exit::Code(7)));
    assert_eq!(end.cause, Some(cause()));
    read_until(&background, lab.id, "bye").await;
    background.close().await;
    engine.close().await;
}

/// A daemon of version 0.1.0 reads records with the same code as its shim, and sends orders whose bytes a test
/// next to [`Order`] fixes.
#[tokio::test]
async fn a_record_of_this_version_serves_the_first_one() {
    let lab = Lab::new();
    let shim = lab.run(&lab.this_shim().await, "echo hello; cat; echo bye; sleep 1000");
    lab.order(&Order::Resize { rows: 1, cols: 1 });
    lab.order(&Order::Signal {
        signal: libc::SIGCONT,
        to: meanwhile_shim::ctl::Recipient::Leader,
        cause: record::Cause { actor: record::Actor::Client, message: "go".to_owned() },
    });
    let record = lab.until(|record| record.shim.taken == 2 && record.extent.total == 6);
    assert_eq!(record.signal.unwrap().signal, libc::SIGCONT);
    let leader = record.leader_pid;
    // As its keeper does, so that the task can write while it has no shim.
    let _held = output::find(record.pipe, &[leader], output::End::Both).unwrap();
    kill(Pid::from_raw(shim.id() as i32), Signal::SIGKILL).unwrap();
    let first = lab.shim(&lab.first_shim(), "adopt");
    let adopted = lab.until(|record| record.shim_pid == first.id());
    assert_eq!(adopted.leader_pid, leader);
    assert!(adopted.extent.total >= 6, "what it read before is known");
    let signal = Order::Signal {
        signal: 1,
        to: meanwhile_shim::ctl::Recipient::Group,
        cause: record::Cause { actor: record::Actor::Client, message: String::new() },
    };
    assert!(!adopted.shim.knows(&signal), "the one that does is dead");
    lab.order(&signal);
    lab.order(&Order::EndInput);
    lab.until(|record| record.extent.total == 10);
    lab.order(&Order::Stop {
        signal: libc::SIGTERM,
        grace: Duration::from_secs(1),
        cause: record::Cause { actor: record::Actor::Client, message: "enough".to_owned() },
    });
    let end = lab.until(|record| record.end.is_some()).end.unwrap();
    assert_eq!((end.outcome, end.total), (record::Outcome::Stopped, 10));
}
