//! A session with a scripted model on a real background manager, and helpers to inspect it.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use meanwhile_core::Background;
use meanwhile_core::agent::Provider;
use meanwhile_core::agent::permission::{Effect, Rule, Rules, Scope};
use meanwhile_core::agent::provider::Scripted;
use meanwhile_core::agent::retry::Patience;
use meanwhile_core::agent::session::{Policy, Session, Terms, TurnEnd, Update, Updates};
use meanwhile_core::agent::trace::{Event, Fact, Trace};
use meanwhile_core::background::task::{Actor, Cause, DeliveredBy, TaskId};
use meanwhile_core::background::{self, Filter, Role, StateFilter, Stop};

/// Timeout of everything. Nothing takes this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A supervisor reaps all children of its process, so there is one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A workspace and its background manager.
pub struct Lab {
    pub background: Background,
    pub workspace: PathBuf,
    events: background::Events,
    dir: tempfile::TempDir,
}

/// Runs a test in a new workspace.
pub fn run(test: impl AsyncFnOnce(&mut Lab)) {
    let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("work");
        std::fs::create_dir(&workspace).unwrap();
        let (background, events) = open(dir.path(), &workspace).await;
        let mut lab = Lab { background, workspace, events, dir };
        let result = AssertUnwindSafe(test(&mut lab)).catch_unwind().await;
        // No command outlives its test, however that ends.
        lab.stop_all().await;
        lab.background.close().await;
        result
    });
    drop(alone);
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

async fn open(dir: &Path, workspace: &Path) -> (Background, background::Events) {
    let options = background::Options {
        state_dir: dir.join("state"),
        workspace: workspace.to_owned(),
        role: Role::Daemon,
        settings: background::Settings::default(),
    };
    Background::open(options).await.unwrap()
}

/// Rules that allow everything.
pub fn anything() -> Rules {
    Rules::new(vec![Rule { effect: Effect::Allow, scope: Scope::Everything, prefix: None }])
}

impl Lab {
    async fn stop_all(&self) {
        let cause = Cause { actor: Actor::Client, message: "the test is over".to_owned() };
        let how = Stop { signal: 9, grace: Duration::ZERO, cause };
        let running = Filter { state: Some(StateFilter::Running), limit: None, steps: true };
        for task in self.background.list(running).await.unwrap() {
            // It may end by itself meanwhile.
            let _ = self.background.stop(task.id, how.clone()).await;
        }
    }

    /// A session's options, with a model that follows this script, in which `@` stands for the workspace.
    pub fn options(&self, script: &str) -> Terms {
        let patience = Patience { backoff: Duration::from_millis(1), ..Patience::default() };
        let script = script.replace('@', self.workspace.to_str().unwrap());
        let scripted = Scripted::from_text("test.toml", &script, patience).unwrap();
        Terms {
            provider: Provider::Scripted(scripted.into()),
            rules: anything(),
            can_ask: false,
            policy: Policy::default(),
            editor: None,
            servers: Vec::new(),
        }
    }

    pub async fn session(&self, script: &str) -> Talk {
        self.session_of(self.options(script)).await
    }

    pub async fn session_of(&self, options: Terms) -> Talk {
        let made = Session::create(self.background.clone(), options).await.unwrap();
        Talk::new(made, &self.background)
    }

    /// The session as another process opens it, with a model that has not seen anything.
    pub async fn load(&self, id: &str, options: Terms) -> Talk {
        let made = Session::load(self.background.clone(), options, id).await.unwrap();
        Talk::new(made, &self.background)
    }

    /// Closes the background manager and opens it again, as a daemon's restart does.
    pub async fn restart(&mut self) {
        self.background.close().await;
        let (background, events) = open(self.dir.path(), &self.workspace).await;
        self.background = background;
        self.events = events;
    }

    /// Renames a table of the ledger away, so that it cannot be written, or back.
    pub fn rename_table(&self, from: &str, to: &str) {
        self.ledger().execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    }

    /// The ledger's file, on another connection.
    pub fn ledger(&self) -> rusqlite::Connection {
        let store = rusqlite::Connection::open(self.dir.path().join("state/meanwhile.db")).unwrap();
        store.busy_timeout(PATIENCE).unwrap();
        store
    }

    /// Lets a command or an answer that waits for this gate continue.
    pub fn open_gate(&self, name: &str) {
        std::fs::write(self.workspace.join(name), "").unwrap();
    }

    /// Returns once this many results are in the session's queue.
    pub async fn waiting(&self, talk: &Talk, count: u64) {
        eventually(async || talk.session.unfinished().await.unwrap().1 == count).await;
    }
}

/// A command that runs until its gate is open, then prints `words`.
pub fn gated(gate: &str, words: &str) -> String {
    format!("while [ ! -e {gate} ]; do sleep 0.01; done; echo {words}")
}

/// Returns once `is_so` returns true.
pub async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it should have come about");
}

/// A session and its updates so far.
pub struct Talk {
    pub session: Session,
    pub told: Vec<Update>,
    background: Background,
    updates: Updates,
}

impl Talk {
    fn new((session, updates): (Session, Updates), background: &Background) -> Self {
        Self { session, updates, told: Vec::new(), background: background.clone() }
    }

    pub fn id(&self) -> String {
        self.session.id().to_string()
    }

    /// Waits for the next update for which `is_it` is true; keeps those before it.
    pub async fn until(&mut self, is_it: impl FnMut(&Update) -> bool) {
        let found = tokio::time::timeout(PATIENCE, self.outlast(is_it)).await;
        assert!(found.is_ok(), "it did not come after {:#?}", self.told);
    }

    /// The same without a timeout, for a paused clock, which would jump to the timeout.
    pub async fn outlast(&mut self, mut is_it: impl FnMut(&Update) -> bool) {
        loop {
            let update = self.updates.next().await.expect("the session is open");
            let found = is_it(&update);
            self.told.push(update);
            if found {
                return;
            }
        }
    }

    /// Sends a prompt, and returns how the turn ended, with its updates read.
    pub async fn prompt(&mut self, text: &str) -> TurnEnd {
        let end = self.begin(text);
        self.turn_ended().await;
        tokio::time::timeout(PATIENCE, end).await.unwrap().unwrap()
    }

    /// Sends a prompt and does not wait.
    pub fn begin(&self, text: &str) -> tokio::task::JoinHandle<TurnEnd> {
        let (session, text) = (self.session.clone(), text.to_owned());
        tokio::spawn(async move { session.prompt(text).await.unwrap() })
    }

    /// Returns once a turn has ended.
    pub async fn turn_ended(&mut self) {
        self.until(|update| matches!(update, Update::TurnEnded { .. })).await;
    }

    /// Returns once this model call has started.
    pub async fn call_began(&mut self, call: u64) {
        let began = |update: &Update| matches!(update, Update::Traced(Event { fact: Fact::CallStarted { call: n, .. }, .. }) if *n == call);
        self.until(began).await;
    }

    /// How the turns ended, according to the updates.
    pub fn ends(&self) -> Vec<TurnEnd> {
        let end = |update: &Update| match update {
            Update::TurnEnded { end, .. } => Some(end.clone()),
            _ => None,
        };
        self.told.iter().filter_map(end).collect()
    }

    /// The model's text.
    pub fn said(&self) -> String {
        let text = |update: &Update| match update {
            Update::Text(text) => Some(text.clone()),
            _ => None,
        };
        self.told.iter().filter_map(text).collect()
    }

    /// The messages with background results, according to the updates.
    pub fn results(&self) -> Vec<String> {
        let text = |update: &Update| match update {
            Update::Background { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.told.iter().filter_map(text).collect()
    }

    /// The notices to the model.
    pub fn notices(&self) -> Vec<String> {
        let text = |update: &Update| match update {
            Update::Notice(text) => Some(text.clone()),
            _ => None,
        };
        self.told.iter().filter_map(text).collect()
    }

    /// The tool results.
    pub fn outcomes(&self) -> Vec<String> {
        let text = |update: &Update| match update {
            Update::ToolEnded { content, .. } => Some(content.clone()),
            _ => None,
        };
        self.told.iter().filter_map(text).collect()
    }

    /// The tasks that it started, in order.
    pub fn tasks(&self) -> Vec<TaskId> {
        let task = |update: &Update| match update {
            Update::Traced(Event { fact: Fact::TaskSpawned { task_id, .. }, .. }) => {
                Some(task_id.parse().unwrap())
            }
            _ => None,
        };
        self.told.iter().filter_map(task).collect()
    }

    pub async fn trace(&self) -> Trace {
        Session::trace(&self.background, &self.id(), 0).await.unwrap()
    }

    /// The calls whose requests carried notifications, as (task, call, by), in order.
    pub async fn delivered(&self) -> Vec<(TaskId, u64, DeliveredBy)> {
        let told = |event: Event| match event.fact {
            Fact::Delivered { call, task_id, by, .. } => Some((task_id.parse().unwrap(), call, by)),
            _ => None,
        };
        self.trace().await.events.into_iter().filter_map(told).collect()
    }

    /// Waits for everything to end, and closes the session.
    pub async fn close(self) {
        let Self { session, mut updates, .. } = self;
        let close = session.close();
        let read = async { while updates.next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, async { tokio::join!(close, read) }).await.unwrap();
    }
}
