//! A workspace with a background manager and the tools of one session.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use meanwhile_core::Background;
use meanwhile_core::agent::ToolCall;
use meanwhile_core::agent::message::Arguments;
use meanwhile_core::agent::tools::{Budget, Intent, Outcome, Progress, Toolbox};
use meanwhile_core::background::task::{Actor, Cause, NotificationKind, Task, TaskId};
use meanwhile_core::background::{
    self, Ack, Events, Filter, Mode, Options, Role, StateFilter, Stop, Token, Which,
};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// Only one background manager at a time in a process, because it reaps every child.
static ONE: Mutex<()> = Mutex::new(());

pub struct Lab {
    pub background: Background,
    pub toolbox: Toolbox,
    pub workspace: PathBuf,
    _events: Events,
    keys: AtomicU32,
}

/// Runs `work` while there is no background manager that would reap its children.
pub fn alone<T>(work: impl FnOnce() -> T) -> T {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// Runs a test in a new workspace and cleans up afterwards.
pub fn lab(test: impl AsyncFnOnce(&Lab)) {
    lab_with(background::Settings::default(), test);
}

/// The same with these settings of the store.
pub fn lab_with(settings: background::Settings, test: impl AsyncFnOnce(&Lab)) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let workspace = dir.path().canonicalize().unwrap().join("project");
    std::fs::create_dir(&workspace).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let options = Options {
            state_dir: dir.path().join("state"),
            workspace: workspace.clone(),
            role: Role::Daemon,
            settings,
        };
        let (background, events) = Background::open(options).await.unwrap();
        let lab = Lab {
            toolbox: toolbox(&background, "mine", Budget::default()),
            background,
            workspace,
            _events: events,
            keys: AtomicU32::new(0),
        };
        let result = AssertUnwindSafe(test(&lab)).catch_unwind().await;
        // No command outlives its test, however that ends.
        lab.stop_all().await;
        lab.background.close().await;
        result
    });
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

pub fn toolbox(background: &Background, queue: &str, settings: Budget) -> Toolbox {
    Toolbox::new(background.clone(), queue.to_owned(), settings)
}

pub fn call(name: &str, input: &Value) -> ToolCall {
    let raw = RawValue::from_string(input.to_string()).unwrap();
    ToolCall { id: "1".into(), name: name.into(), input: Arguments::Object(raw) }
}

impl Lab {
    pub fn key(&self) -> Token {
        Token::New(format!("key:{}", self.keys.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn read(&self, name: &str, input: Value) -> Intent {
        match self.toolbox.read(&call(name, &input)) {
            Ok(intent) => intent,
            Err(error) => panic!("{name} {input}: {error}"),
        }
    }

    /// The error for a call that cannot be parsed.
    pub fn refused(&self, name: &str, input: Value) -> String {
        match self.toolbox.read(&call(name, &input)) {
            Ok(intent) => panic!("{name} {input}: {intent:?}"),
            Err(error) => error,
        }
    }

    /// A toolbox that waits this long for a command.
    pub fn patient(&self, yield_after: Duration) -> Toolbox {
        toolbox(&self.background, "mine", Budget { yield_after, ..Budget::default() })
    }

    pub async fn run(&self, name: &str, input: Value) -> Outcome {
        self.run_by(&self.toolbox, name, input).await.0
    }

    /// The result of a call that must succeed.
    pub async fn ok(&self, name: &str, input: Value) -> String {
        let outcome = self.run(name, input.clone()).await;
        assert!(!outcome.is_error, "{name} {input}: {}", outcome.content);
        outcome.content
    }

    /// The error of a call that must fail.
    pub async fn fails(&self, name: &str, input: Value) -> String {
        let outcome = self.run(name, input.clone()).await;
        assert!(outcome.is_error, "{name} {input}: {}", outcome.content);
        outcome.content
    }

    pub async fn run_by(
        &self,
        toolbox: &Toolbox,
        name: &str,
        input: Value,
    ) -> (Outcome, Vec<Progress>) {
        let (tell, mut told) = mpsc::unbounded_channel();
        let intent = self.read(name, input);
        let outcome = toolbox.run(intent, self.key(), tell).await;
        let mut progress = Vec::new();
        while let Some(step) = told.recv().await {
            progress.push(step);
        }
        (outcome, progress)
    }

    /// Starts a command in the background.
    pub async fn start(&self, command: &str) -> TaskId {
        let input = serde_json::json!({ "command": command });
        let (outcome, progress) = self.run_by(&self.toolbox, "background_run", input).await;
        let [Progress::Spawned(task)] = &progress[..] else { panic!("{outcome:?} {progress:?}") };
        assert!(outcome.content.contains(task.id.as_str()), "{outcome:?}");
        task.id
    }

    pub async fn end(&self, id: TaskId) -> Task {
        let wait = self.background.wait(Which::Ids(vec![id]), Mode::All, Duration::from_secs(30));
        let waited = wait.await.unwrap();
        assert!(!waited.timed_out, "{waited:?}");
        waited.tasks.into_iter().next().unwrap()
    }

    /// Waits until a task has written `wanted`.
    pub async fn output(&self, id: TaskId, wanted: &str) {
        for _ in 0..3_000 {
            let chunk = self.background.read(id, 0, 1 << 20).await.unwrap();
            if String::from_utf8_lossy(&chunk.data).contains(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("task {id} never wrote `{wanted}`");
    }

    /// Waits until a check of the task's ports has found one.
    pub async fn listens(&self, id: TaskId) {
        for _ in 0..3_000 {
            if !self.background.get(id).await.unwrap().serving.ports.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("task {id} never listened");
    }

    /// The ends in the session's queue.
    pub async fn queued(&self) -> Vec<TaskId> {
        let drained = self.background.drain("mine".into(), 100, Ack::Manual).await.unwrap();
        let ends = drained.notifications.into_iter();
        ends.filter(|n| n.kind == NotificationKind::Exited).map(|n| n.task.id).collect()
    }

    pub async fn running(&self) -> Vec<Task> {
        let filter = Filter { state: Some(StateFilter::NotStopping), limit: None, steps: true };
        self.background.list(filter).await.unwrap()
    }

    async fn stop_all(&self) {
        for task in self.running().await {
            let cause = Cause { actor: Actor::Client, message: "the test is over".into() };
            let how = Stop { signal: libc::SIGKILL, grace: Duration::ZERO, cause };
            let _ = self.background.stop(task.id, how).await;
        }
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.workspace.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn text(&self, name: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.workspace.join(name)).unwrap()
    }
}

/// The id of the one task whose end the outcome contains.
#[track_caller]
pub fn seen_one(outcome: &Outcome) -> TaskId {
    let [(id, _)] = outcome.seen[..] else { panic!("{outcome:?}") };
    id
}
