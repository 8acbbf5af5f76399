//! What handlers work with: the engine, the open sessions, and the defaults of the connection.
//!
//! The engine is opened in the background after the handshake, so that a handshake is answered at once and succeeds
//! even if the state directory cannot be used. A request that needs the engine waits for it and, if it did not open,
//! tries again.

mod asks;
mod connection;
mod events;
mod lanes;
mod reading;
mod sessions;
mod watches;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use meanwhile_core::Background;
use meanwhile_core::agent::session::{self, Chosen, Updates, Wake, Watch};
use meanwhile_core::agent::story::{Story, Timeline};
use meanwhile_core::agent::tools::Editor;
use meanwhile_core::agent::{NoModel, Provider};
use meanwhile_core::background::task::Task;
use meanwhile_core::background::{Engine, Role, Settings};
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell, OwnedRwLockReadGuard, RwLock};

use crate::convert::from_wire::Defaults;
use crate::convert::{error, to_wire};
use crate::peer::{Client, Jobs};
use crate::setup::Setup;
use crate::wire::{self, Error, acp};

pub(crate) use connection::Connection;
pub(crate) use reading::Start;
pub(crate) use sessions::{Open, Sessions};
pub(crate) use watches::{Answering, Watches};

type Result<T> = std::result::Result<T, Error>;

/// The settings that the command line determines before the connection starts.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The state directory, or the reason why there is none.
    pub(crate) state_dir: std::result::Result<PathBuf, String>,
    /// Why it is not the usual directory, if it is not.
    pub(crate) state_moved: Option<wire::StateMoved>,
    /// The settings for retention and size.
    pub(crate) store: Settings,
    /// The settings of agent sessions.
    pub(crate) agent: Setup,
}

/// The desk of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Desk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    client: Client,
    jobs: Jobs,
    connection: OnceLock<Connection>,
    /// Shared by the desks of one connection, so that the ledger is opened once.
    house: Arc<OnceCell<Engine>>,
    engine: OnceCell<Background>,
    /// The models that a person may choose.
    models: Arc<OnceCell<Vec<String>>>,
    /// Access to files through the client, if the client offers it.
    editor: Arc<OnceLock<Editor>>,
    /// Locked while the workspace is being opened, so that it is not closed at the same time.
    opening: Mutex<()>,
    sessions: Sessions,
    watches: Watches,
    /// Held for reading by a request for a subscription or a timeline until it is answered, and for writing by a push
    /// of output or of a timeline, so that the reply comes first.
    output_gate: Arc<RwLock<()>>,
}

impl Desk {
    /// Creates a desk before the handshake.
    pub(crate) fn new(options: Options, client: Client, jobs: Jobs) -> Self {
        Self(Arc::new(Shared {
            options,
            client,
            jobs,
            connection: OnceLock::new(),
            house: Arc::default(),
            engine: OnceCell::new(),
            models: Arc::default(),
            editor: Arc::default(),
            opening: Mutex::default(),
            sessions: Sessions::default(),
            watches: Watches::default(),
            output_gate: Arc::default(),
        }))
    }

    /// Creates a desk of the same client for another workspace. Both know the same sessions.
    pub(crate) fn beside(&self, connection: Connection) -> Self {
        Self(Arc::new(Shared {
            options: self.0.options.clone(),
            client: self.0.client.clone(),
            jobs: self.0.jobs.clone(),
            connection: OnceLock::from(connection),
            house: self.0.house.clone(),
            engine: OnceCell::new(),
            models: self.0.models.clone(),
            editor: self.0.editor.clone(),
            opening: Mutex::default(),
            sessions: self.0.sessions.clone(),
            watches: self.0.watches.clone(),
            output_gate: self.0.output_gate.clone(),
        }))
    }

    /// Stores the result of the handshake. Returns false if there was one before.
    pub(crate) fn settle(&self, connection: Connection) -> bool {
        self.0.connection.set(connection).is_ok()
    }

    /// Why the state is not in the usual directory, if it is not.
    pub(crate) fn state_moved(&self) -> Option<wire::StateMoved> {
        self.0.options.state_moved.clone()
    }

    /// Runs work in the background until the connection ends.
    pub(crate) fn aside(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.jobs.beside(work);
    }

    /// Starts to open the engine before the first request needs it.
    pub(crate) fn open_early(&self) {
        let desk = self.clone();
        self.0.jobs.beside(async move {
            if let Err(error) = desk.engine().await {
                tracing::error!(%error, "cannot open the store; the next request tries again");
            }
        });
    }

    /// The engine: the background manager of the workspace. The first caller opens it.
    ///
    /// # Errors
    ///
    /// 1005 if the store cannot be opened, -32002 before the handshake.
    pub(crate) async fn engine(&self) -> Result<&Background> {
        self.0.engine.get_or_try_init(|| self.open()).await
    }

    /// The values for requests that do not set them.
    ///
    /// # Errors
    ///
    /// -32002 before the handshake.
    pub(crate) fn defaults(&self) -> Result<&Defaults> {
        self.connection().map(|connection| &connection.defaults)
    }

    /// A task in the form that this client knows.
    pub(crate) fn shown(&self, task: &Task) -> wire::Task {
        let shown = to_wire::task(task);
        match self.defaults().is_ok_and(|defaults| defaults.knows_queued) {
            true => shown,
            false => shown.without_queued_state(),
        }
    }

    /// The state directory, if there is one.
    pub(crate) fn state_dir(&self) -> Option<&Path> {
        self.0.options.state_dir.as_deref().ok()
    }

    /// The workspace of the connection.
    ///
    /// # Errors
    ///
    /// -32002 before the handshake.
    pub(crate) fn workspace(&self) -> Result<&Path> {
        self.connection().map(|connection| connection.workspace.as_path())
    }

    /// Whether the client shows the progress of each task that it spawns.
    pub(crate) fn shows_progress(&self) -> bool {
        self.0.connection.get().is_some_and(|connection| connection.shows_progress)
    }

    /// The agent sessions that are open on this connection.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// The settings of agent sessions: those from the handshake take precedence over the configured ones.
    fn setup(&self) -> Setup {
        // A client with several workspaces also asks at a desk without a connection.
        let said = self.0.connection.get().map(|connection| connection.model.clone());
        self.0.options.agent.clone().preferring(said.unwrap_or_default())
    }

    /// The terms of a new or loaded session. This is when the model is looked up.
    ///
    /// # Errors
    ///
    /// 1006 if no model can be used.
    pub(crate) async fn session_terms(&self, wake: Option<Wake>) -> Result<session::Terms> {
        let provider = self.setup().provider().await.map_err(|error| error::no_model(&error))?;
        let mut terms = self.terms(provider);
        terms.policy.wake = wake.unwrap_or(terms.policy.wake);
        Ok(terms)
    }

    /// The terms of an existing session: the values that were chosen for it apply, unless the client overrides them.
    ///
    /// # Errors
    ///
    /// 1006 if no model can be used, 1005 if the store cannot be used.
    pub(crate) async fn terms_of(&self, id: &str, wake: Option<Wake>) -> Result<session::Terms> {
        let chosen = Chosen::of(self.engine().await?, id).await;
        let chosen = chosen.map_err(|error| error::from_session(&error))?;
        let mut terms = match chosen.model {
            None => self.session_terms(None).await?,
            Some(setting) => match self.setup().provider_named(&setting).await {
                Ok(provider) => self.terms(provider),
                Err(error) => {
                    // The key of the chosen model may be gone; it is better to use another model than to fail.
                    tracing::warn!(%error, "session `{id}` continues with another model");
                    self.session_terms(None).await?
                }
            },
        };
        terms.policy.wake = wake.or(chosen.wake).unwrap_or(terms.policy.wake);
        terms.rules = terms.rules.leaving(chosen.permissions.unwrap_or_default());
        Ok(terms)
    }

    fn terms(&self, provider: Provider) -> session::Terms {
        let mut terms = self.0.options.agent.terms(provider, true);
        terms.editor = self.0.editor.get().cloned();
        terms
    }

    /// From now on, opened sessions read and write files through the client.
    pub(crate) fn use_editor(&self, editor: Editor) {
        // A second handshake has no effect.
        let _ = self.0.editor.set(editor);
    }

    /// The model that a setting names.
    ///
    /// # Errors
    ///
    /// The setting does not name a usable model; the text says what was expected.
    pub(crate) async fn model_named(
        &self,
        setting: &str,
    ) -> std::result::Result<Provider, NoModel> {
        self.setup().provider_named(setting).await
    }

    /// The models that a person may choose; empty until [`Desk::learn_models`] has found some.
    pub(crate) fn models(&self) -> &[String] {
        self.0.models.get().map_or(&[], Vec::as_slice)
    }

    /// Asks the servers for their models, once. Returns whether there are any.
    pub(crate) async fn learn_models(&self) -> bool {
        let models = self.0.models.get_or_init(async || self.setup().models().await).await;
        !models.is_empty()
    }

    /// Whether a client may offer images.
    pub(crate) fn takes_images(&self) -> bool {
        self.setup().takes_images()
    }

    /// Adds an opened session with its story so far, and sends the client its updates.
    pub(crate) fn take_in(
        &self,
        session: session::Session,
        updates: Updates,
        past: Timeline,
        start: Start,
    ) -> Open {
        let gate = &self.0.output_gate;
        let gate = self.defaults().is_ok_and(|it| it.tells_timeline).then(|| gate.clone());
        let name = session.id().to_string();
        let (open, reading) = self.0.sessions.open(session, updates, past, gate, start);
        // Right after the open, so that a session is not both watched and open.
        self.0.watches.cut(&name);
        let asks = self.0.sessions.asks().clone();
        self.0.jobs.beside(reading.run(self.0.client.clone(), asks));
        self.0.jobs.beside(open.clone().catch_up(self.0.client.clone()));
        open
    }

    /// The sessions of other processes that are watched on this connection.
    pub(crate) fn watches(&self) -> &Watches {
        &self.0.watches
    }

    /// Starts to send the client a session that another process has open, with its story so far. Returns false if
    /// that has already been started.
    pub(crate) fn watch(&self, session: &str, watch: Watch, story: Story, told: Answering) -> bool {
        let reading = self.0.watches.begin(&self.0.sessions, session, watch, story, told);
        reading.map(|reading| self.0.jobs.beside(reading.run(self.0.client.clone()))).is_some()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Sends the client an update about a session that does not come from the session itself.
    pub(crate) fn tell(&self, session: &str, update: acp::SessionUpdate) {
        let update = acp::SessionNotification::new(session.to_owned(), update);
        self.0.client.push(&wire::Push::Session(Box::new(update)));
    }

    /// Handles the client's response to the server's request `id`. Returns whether that was a session's question.
    pub(crate) fn answered(&self, id: &str, outcome: &std::result::Result<Value, Value>) -> bool {
        self.0.sessions.asks().answered(id, outcome)
    }

    /// Holds back the pushes of output and of timelines until a request is answered.
    pub(crate) async fn hold_output(&self) -> OwnedRwLockReadGuard<()> {
        self.0.output_gate.clone().read_owned().await
    }

    /// Asks the questions of a session again: the client may have missed one that arrived when it did not expect any.
    pub(crate) fn ask_again(&self, session: &str) {
        self.0.sessions.asks().again(session, &self.0.client);
    }

    /// Detaches from the workspace. Tasks keep running.
    pub(crate) async fn leave(&self) {
        let _opened = self.0.opening.lock().await;
        if let Some(engine) = self.0.engine.get() {
            engine.close().await;
        }
    }

    /// Detaches from the workspace and closes the ledger; with several desks, only the last one calls this.
    pub(crate) async fn close(&self) {
        self.leave().await;
        if let Some(house) = self.0.house.get() {
            house.close().await;
        }
    }

    fn connection(&self) -> Result<&Connection> {
        self.0.connection.get().ok_or_else(error::not_initialized)
    }

    /// The engine that the desks of one connection share.
    ///
    /// # Errors
    ///
    /// 1005 if the store cannot be used.
    pub(crate) async fn house(&self) -> Result<&Engine> {
        let Options { state_dir, store, .. } = &self.0.options;
        let unavailable =
            |why| meanwhile_core::Error::unavailable(meanwhile_core::StoreFaultKind::Other, why);
        let state_dir = state_dir.clone().map_err(|why| error::from_core(&unavailable(why)))?;
        let open = || Engine::open(&state_dir, store.clone());
        self.0.house.get_or_try_init(open).await.map_err(|error| error::from_core(&error))
    }

    async fn open(&self) -> Result<Background> {
        let _opening = self.0.opening.lock().await;
        let workspace = self.connection()?.workspace.clone();
        let opened = self.house().await?.workspace(workspace, Role::Daemon).await;
        let (engine, events) = opened.map_err(|error| error::from_core(&error))?;
        let client = self.0.client.clone();
        let (gate, defaults) = (self.0.output_gate.clone(), self.defaults()?.clone());
        let sessions = self.0.sessions.clone();
        self.0.jobs.vital(events::run(events, client, gate, sessions, defaults));
        Ok(engine)
    }
}

#[cfg(test)]
impl Options {
    /// Options without a store: requests that need one return 1005.
    pub(crate) fn without_store() -> Self {
        Self {
            state_dir: Err("there is none in this test".to_owned()),
            state_moved: None,
            store: Settings::default(),
            agent: Setup::default(),
        }
    }
}

#[cfg(test)]
impl Desk {
    /// A desk without a store, after a handshake with default options.
    pub(crate) fn without_store() -> Self {
        let desk = Self::new(Options::without_store(), crate::peer::mute(), Jobs::none());
        let workspace = std::env::current_dir().expect("a test has a directory");
        let defaults = Defaults::default();
        assert!(desk.settle(Connection::of(workspace, defaults)));
        desk
    }
}
