//! What a handler may ask: the engine, the open sessions, the defaults of the connection.
//!
//! The engine is opened in the background once the handshake is over, so that a handshake answers at
//! once and succeeds where the state directory is not usable; a request that needs the engine waits
//! for it, and where it did not open tries again.

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

/// What the command line settles before the first byte is read.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The state directory, or why there is none.
    pub(crate) state_dir: std::result::Result<PathBuf, String>,
    /// Why it is not the usual one.
    pub(crate) state_moved: Option<wire::StateMoved>,
    /// Retention and size settings.
    pub(crate) store: Settings,
    /// What agent sessions are made with.
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
    /// What the desks of one connection share: the ledger is opened once.
    house: Arc<OnceCell<Engine>>,
    engine: OnceCell<Background>,
    /// The models that may be chosen.
    models: Arc<OnceCell<Vec<String>>>,
    /// The client's files, where it has an editor that says so.
    editor: Arc<OnceLock<Editor>>,
    /// Held while the workspace is opened: what is being opened is not closed under it.
    opening: Mutex<()>,
    sessions: Sessions,
    watches: Watches,
    /// Held for reading by a subscription, or a request for a timeline, that is not answered yet; taken for
    /// writing before a push of output or of a timeline: the reply comes first.
    output_gate: Arc<RwLock<()>>,
}

impl Desk {
    /// A desk before the handshake.
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

    /// A desk of the same client for another workspace. Sessions are known at both.
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

    /// The handshake settled this. Returns whether it was the first to settle anything.
    pub(crate) fn settle(&self, connection: Connection) -> bool {
        self.0.connection.set(connection).is_ok()
    }

    /// Why the state is not where it usually is.
    pub(crate) fn state_moved(&self) -> Option<wire::StateMoved> {
        self.0.options.state_moved.clone()
    }

    /// Does something beside the requests, until the connection ends.
    pub(crate) fn aside(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.jobs.beside(work);
    }

    /// Opens the engine ahead of the first request that needs it.
    pub(crate) fn open_early(&self) {
        let desk = self.clone();
        self.0.jobs.beside(async move {
            if let Err(error) = desk.engine().await {
                tracing::error!(%error, "cannot open the store; the next request tries again");
            }
        });
    }

    /// The engine: the background manager of the workspace. The first to ask opens it.
    ///
    /// # Errors
    ///
    /// 1005 where the store cannot be opened, -32002 before the handshake.
    pub(crate) async fn engine(&self) -> Result<&Background> {
        self.0.engine.get_or_try_init(|| self.open()).await
    }

    /// What requests mean where they say nothing.
    ///
    /// # Errors
    ///
    /// -32002 before the handshake.
    pub(crate) fn defaults(&self) -> Result<&Defaults> {
        self.connection().map(|connection| &connection.defaults)
    }

    /// A task as the client is shown it.
    pub(crate) fn shown(&self, task: &Task) -> wire::Task {
        let shown = to_wire::task(task);
        match self.defaults().is_ok_and(|defaults| defaults.knows_queued) {
            true => shown,
            false => shown.without_queued_state(),
        }
    }

    /// The state directory, where there is one.
    pub(crate) fn state_dir(&self) -> Option<&Path> {
        self.0.options.state_dir.as_deref().ok()
    }

    /// The workspace.
    ///
    /// # Errors
    ///
    /// -32002 before the handshake.
    pub(crate) fn workspace(&self) -> Result<&Path> {
        self.connection().map(|connection| connection.workspace.as_path())
    }

    /// Whether the client shows the progress of each task it spawns.
    pub(crate) fn shows_progress(&self) -> bool {
        self.0.connection.get().is_some_and(|connection| connection.shows_progress)
    }

    /// The agent sessions that are open on this connection.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// What agent sessions are made with: what the client said at the handshake, over what is set.
    fn setup(&self) -> Setup {
        // A client that works in several workspaces asks at a desk without a connection, too.
        let said = self.0.connection.get().map(|connection| connection.model.clone());
        self.0.options.agent.clone().preferring(said.unwrap_or_default())
    }

    /// What a new or loaded session is made with. The model is looked for now.
    ///
    /// # Errors
    ///
    /// 1006: there is no model.
    pub(crate) async fn session_terms(&self, wake: Option<Wake>) -> Result<session::Terms> {
        let provider = self.setup().provider().await.map_err(|error| error::no_model(&error))?;
        let mut terms = self.terms(provider);
        terms.policy.wake = wake.unwrap_or(terms.policy.wake);
        Ok(terms)
    }

    /// The same of a session that was there before: what was chosen for it holds again, unless the client says
    /// otherwise.
    ///
    /// # Errors
    ///
    /// 1006: there is no model; 1005: the store.
    pub(crate) async fn terms_of(&self, id: &str, wake: Option<Wake>) -> Result<session::Terms> {
        let chosen = Chosen::of(self.engine().await?, id).await;
        let chosen = chosen.map_err(|error| error::from_session(&error))?;
        let mut terms = match chosen.model {
            None => self.session_terms(None).await?,
            Some(setting) => match self.setup().provider_named(&setting).await {
                Ok(provider) => self.terms(provider),
                Err(error) => {
                    // Its key may be gone. A session that cannot be opened would be worse.
                    tracing::warn!(%error, "session `{id}` goes on with another model");
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

    /// Sessions that are opened from here on read and write files through the client.
    pub(crate) fn use_editor(&self, editor: Editor) {
        // A second handshake changes nothing.
        let _ = self.0.editor.set(editor);
    }

    /// The model of a setting.
    ///
    /// # Errors
    ///
    /// It names none that can be used; the text says what was expected.
    pub(crate) async fn model_named(
        &self,
        setting: &str,
    ) -> std::result::Result<Provider, NoModel> {
        self.setup().provider_named(setting).await
    }

    /// The models that may be chosen; none before [`Desk::learn_models`] has found any.
    pub(crate) fn models(&self) -> &[String] {
        self.0.models.get().map_or(&[], Vec::as_slice)
    }

    /// Asks the servers which models there are, the first time. Returns whether there are some.
    pub(crate) async fn learn_models(&self) -> bool {
        let models = self.0.models.get_or_init(async || self.setup().models().await).await;
        !models.is_empty()
    }

    /// Whether a client may offer images.
    pub(crate) fn takes_images(&self) -> bool {
        self.setup().takes_images()
    }

    /// Takes a session in, of which this is the past. The client is told what it says.
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
        // With nothing between: a session is not watched and open at once.
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

    /// Has the client told of a session that another process has open, of which this is the story so far. `false`: it is
    /// told already.
    pub(crate) fn watch(&self, session: &str, watch: Watch, story: Story, told: Answering) -> bool {
        let reading = self.0.watches.begin(&self.0.sessions, session, watch, story, told);
        reading.map(|reading| self.0.jobs.beside(reading.run(self.0.client.clone()))).is_some()
    }

    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Tells the client something about a session that the session did not say itself.
    pub(crate) fn tell(&self, session: &str, update: acp::SessionUpdate) {
        let update = acp::SessionNotification::new(session.to_owned(), update);
        self.0.client.push(&wire::Push::Session(Box::new(update)));
    }

    /// The client answered the server's request `id`. Returns whether it was a session's question.
    pub(crate) fn answered(&self, id: &str, outcome: &std::result::Result<Value, Value>) -> bool {
        self.0.sessions.asks().answered(id, outcome)
    }

    /// Holds back the pushes of output and of timelines until a request is answered.
    pub(crate) async fn hold_output(&self) -> OwnedRwLockReadGuard<()> {
        self.0.output_gate.clone().read_owned().await
    }

    /// The questions of a session are asked again: the client may have passed over one that came when it
    /// waited for nothing.
    pub(crate) fn ask_again(&self, session: &str) {
        self.0.sessions.asks().again(session, &self.0.client);
    }

    /// Detaches from the workspace. Tasks go on.
    pub(crate) async fn leave(&self) {
        let _opened = self.0.opening.lock().await;
        if let Some(engine) = self.0.engine.get() {
            engine.close().await;
        }
    }

    /// Detaches from the workspace, and closes the ledger: of several desks the last one does.
    pub(crate) async fn close(&self) {
        self.leave().await;
        if let Some(house) = self.0.house.get() {
            house.close().await;
        }
    }

    fn connection(&self) -> Result<&Connection> {
        self.0.connection.get().ok_or_else(error::not_initialized)
    }

    /// What the desks of one connection share.
    ///
    /// # Errors
    ///
    /// 1005: the store cannot be used.
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
        let (gate, tells_began) = (self.0.output_gate.clone(), self.defaults()?.tells_began);
        let sessions = self.0.sessions.clone();
        self.0.jobs.vital(events::run(events, client, gate, sessions, tells_began));
        Ok(engine)
    }
}

#[cfg(test)]
impl Options {
    /// Where no store can be opened: what needs one answers 1005.
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
    /// A desk after a handshake that asked for nothing, without a store.
    pub(crate) fn without_store() -> Self {
        let desk = Self::new(Options::without_store(), crate::peer::mute(), Jobs::none());
        let workspace = std::env::current_dir().expect("a test has a directory");
        let defaults = Defaults::default();
        assert!(desk.settle(Connection::of(workspace, defaults)));
        desk
    }
}
