//! One engine with two workspaces, and the orders that a task accepts.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use meanwhile_core::background::task::{Actor, Cause, Exit, Outcome, Task, TaskId};
use meanwhile_core::background::{
    Command, Engine, Events, Filter, Mode, Recipient, Role, SendSignal, Settings, Size, Spawn,
    Stdin, Which,
};
use meanwhile_core::{Background, Error};

/// Longer than any step takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Lab {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl Lab {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(&dir.path().join("state"), Settings::default()).await.unwrap();
        Self { dir, engine }
    }

    async fn workspace(&self, name: &str) -> (Background, Events) {
        let path: PathBuf = self.dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        self.engine.workspace(path, Role::Daemon).await.unwrap()
    }
}

async fn spawn(background: &Background, line: &str, stdin: Stdin) -> TaskId {
    let spawned = background.spawn(Spawn {
        command: Command::Shell(line.to_owned()),
        cwd: None,
        env: BTreeMap::new(),
        label: None,
        queue: "default".to_owned(),
        deadline: None,
        linger: None,
        stdin,
        watches: Vec::new(),
        client_token: None,
        service: false,
        confine: None,
        is_step: false,
        on: None,
        resources: Default::default(),
        line: Default::default(),
    });
    spawned.await.unwrap().task.id
}

async fn ended(background: &Background, id: TaskId) -> Task {
    let waited = background.wait(Which::Ids(vec![id]), Mode::All, PATIENCE).await.unwrap();
    assert!(!waited.timed_out);
    waited.tasks.into_iter().next().unwrap()
}

async fn read_until(background: &Background, id: TaskId, wanted: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let chunk = background.read(id, 0, 10_000).await.unwrap();
        let text = String::from_utf8_lossy(&chunk.data).into_owned();
        if text.contains(wanted) {
            return;
        }
        assert!(Instant::now() < end, "only {text:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn send(signal: i32, to: Recipient) -> SendSignal {
    let cause = Cause { actor: Actor::Agent, message: "no longer needed".to_owned() };
    SendSignal { signal, to, cause }
}

#[tokio::test]
async fn workspaces_of_one_engine_see_their_own_tasks_only() {
    let lab = Lab::new().await;
    let (one, _one_events) = lab.workspace("one").await;
    let (two, _two_events) = lab.workspace("two").await;
    let (a, b) =
        (spawn(&one, "exit 1", Stdin::Null).await, spawn(&two, "exit 2", Stdin::Null).await);
    for (background, id, other, code) in [(&one, a, b, 1), (&two, b, a, 2)] {
        let end = ended(background, id).await.end().cloned().unwrap();
        assert_eq!(end.exit, Exit::Code(code));
        let listed = background.list(Filter::default()).await.unwrap();
        assert_eq!(listed.iter().map(|task| task.id).collect::<Vec<_>>(), [id]);
        let stranger = background.get(other).await;
        assert!(matches!(stranger, Err(Error::UnknownTask(_))), "{stranger:?}");
    }
    one.close().await;
    let c = spawn(&two, "exit 3", Stdin::Null).await;
    assert_eq!(ended(&two, c).await.end().unwrap().exit, Exit::Code(3), "the other goes on");
    two.close().await;
    lab.engine.close().await;
}

#[tokio::test]
async fn an_end_by_a_signal_that_was_sent_has_a_cause() {
    let lab = Lab::new().await;
    let (background, _events) = lab.workspace("w").await;
    let id = spawn(&background, "echo up; exec sleep 1000", Stdin::Null).await;
    read_until(&background, id, "up").await;
    background.signal(id, send(libc::SIGUSR1, Recipient::Leader)).await.unwrap();
    let end = ended(&background, id).await.end().cloned().unwrap();
    assert_eq!((end.outcome, end.exit), (Outcome::Exited, Exit::Signal(libc::SIGUSR1)));
    assert_eq!(end.cause, Some(send(0, Recipient::Leader).cause));
    let late = background.signal(id, send(libc::SIGUSR1, Recipient::Leader)).await.unwrap_err();
    assert!(matches!(late, Error::NotRunning { .. }), "{late:?}");
    background.close().await;
    lab.engine.close().await;
}

#[tokio::test]
async fn a_signal_goes_to_the_group_or_to_the_leader_alone() {
    let lab = Lab::new().await;
    let (background, _events) = lab.workspace("w").await;
    let line = "trap 'echo leader' USR1; \
                sh -c 'trap \"echo child\" USR1; echo up; while :; do sleep 0.01; done' & \
                while :; do wait; done";
    let id = spawn(&background, line, Stdin::Null).await;
    read_until(&background, id, "up").await;
    background.signal(id, send(libc::SIGUSR1, Recipient::Leader)).await.unwrap();
    read_until(&background, id, "leader").await;
    let chunk = background.read(id, 0, 1_000).await.unwrap();
    assert!(!String::from_utf8_lossy(&chunk.data).contains("child"), "the leader alone");
    background.signal(id, send(libc::SIGUSR1, Recipient::Group)).await.unwrap();
    read_until(&background, id, "child").await;
    background.signal(id, send(libc::SIGKILL, Recipient::Group)).await.unwrap();
    let end = ended(&background, id).await.end().cloned().unwrap();
    assert_eq!(end.exit, Exit::Signal(libc::SIGKILL));
    background.close().await;
    lab.engine.close().await;
}

#[tokio::test]
async fn a_terminal_takes_another_size() {
    let lab = Lab::new().await;
    let (background, _events) = lab.workspace("w").await;
    let line = "trap 'stty size' WINCH; stty size; while :; do read x; done";
    let id = spawn(&background, line, Stdin::Pty { rows: 24, cols: 80 }).await;
    read_until(&background, id, "24 80").await;
    background.resize(id, Size { rows: 50, cols: 132 }).await.unwrap();
    // A shell handles the signal once its builtin returns.
    background.write(id, b"\n".to_vec(), false).await.unwrap();
    read_until(&background, id, "50 132").await;
    background.signal(id, send(libc::SIGKILL, Recipient::Group)).await.unwrap();
    ended(&background, id).await;
    let none = spawn(&background, "sleep 1000", Stdin::Null).await;
    let refused = background.resize(none, Size { rows: 1, cols: 1 }).await.unwrap_err();
    assert!(refused.to_string().contains("has no terminal"), "{refused}");
    background.signal(none, send(libc::SIGKILL, Recipient::Group)).await.unwrap();
    ended(&background, none).await;
    background.close().await;
    lab.engine.close().await;
}

/// A task that exits after reading its input may be gone before the end of input can be sent.
#[tokio::test]
async fn the_last_input_of_a_task_is_taken_though_it_ends_of_it() {
    let lab = Lab::new().await;
    let (background, _events) = lab.workspace("w").await;
    for _ in 0..40 {
        let id = spawn(&background, "read x; exit 5", Stdin::Pipe).await;
        background.write(id, b"last\n".to_vec(), true).await.unwrap();
        assert_eq!(ended(&background, id).await.end().unwrap().exit, Exit::Code(5));
    }
    background.close().await;
    lab.engine.close().await;
}
