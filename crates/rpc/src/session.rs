//! One connection: what the handshake settled, and the way to the background manager.
//!
//! The store is opened in the background at the handshake, so that `initialize` answers at once
//! and succeeds where the state directory is not usable; whoever needs the store waits for it, and
//! where it did not open tries again.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use meanwhile_core::Background;
use meanwhile_core::agent::session::{self, Updates, Wake};
use meanwhile_core::agent::vendor::secret_variables;
use meanwhile_core::background::{Events, Options, Role, Settings};
use tokio::sync::{OnceCell, RwLock, mpsc};
use tokio::time::timeout;
use tower_lsp::LanguageServer;
use tower_lsp::jsonrpc::{Error, Result};
use tower_lsp::ls_types::{
    ExecuteCommandOptions, ExecuteCommandParams, InitializeParams, InitializeResult, LSPAny,
    ServerCapabilities, ServerInfo,
};

use crate::agent::Setup;
use crate::convert::from_wire::{self, Defaults};
use crate::convert::{error, to_wire};
use crate::handlers::{execute_command, params};
use crate::methods::{COMMANDS, METHODS};
use crate::sessions::{self, Open, Reading, Sessions};
use crate::wire::{self, Push};
use crate::workspace;

/// How long sessions have to end their turns at `shutdown`.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What the command line settles before the first byte is read.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// The state directory, or why there is none.
    pub(crate) state_dir: std::result::Result<PathBuf, String>,
    /// Retention and size settings.
    pub(crate) settings: Settings,
    /// What agent sessions are made with.
    pub(crate) agent: Setup,
}

/// Something that a task of the serve loop is to read to its end.
#[derive(Debug)]
pub(crate) enum Stream {
    /// The events of the workspace.
    Events(Box<Events>),
    /// The updates of an agent session.
    Session(Box<Reading>),
}

/// The server of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    start: Start,
    session: OnceLock<Session>,
    background: OnceCell<Background>,
    sessions: Sessions,
    /// Takes what is to be read to the loop, which owns the readers.
    streams: mpsc::UnboundedSender<Stream>,
    /// Held for reading by a subscription that is not answered yet, taken for writing before a push
    /// of output: the reply comes first.
    output_gate: Arc<RwLock<()>>,
    shut_down: AtomicBool,
}

/// What `initialize` settled.
#[derive(Debug)]
struct Session {
    workspace: PathBuf,
    defaults: Defaults,
    /// The client shows progress by `window/workDoneProgress/create`.
    shows_progress: bool,
    /// The process to live with.
    parent: Option<u32>,
}

impl Server {
    /// A server before its handshake.
    pub(crate) fn new(start: Start, streams: mpsc::UnboundedSender<Stream>) -> Self {
        Self(Arc::new(Shared {
            start,
            session: OnceLock::new(),
            background: OnceCell::new(),
            sessions: Sessions::default(),
            streams,
            output_gate: Arc::default(),
            shut_down: AtomicBool::new(false),
        }))
    }

    /// The background manager, opened by whoever comes first.
    ///
    /// # Errors
    ///
    /// 1005 where the store cannot be opened, -32002 before the handshake.
    pub(crate) async fn background(&self) -> Result<&Background> {
        self.0.background.get_or_try_init(|| self.open()).await
    }

    /// What requests mean where they say nothing.
    ///
    /// # Errors
    ///
    /// -32002 before the handshake.
    pub(crate) fn defaults(&self) -> Result<&Defaults> {
        self.session().map(|session| &session.defaults)
    }

    /// The workspace.
    ///
    /// # Errors
    ///
    /// -32002 before the handshake.
    pub(crate) fn workspace(&self) -> Result<&Path> {
        self.session().map(|session| session.workspace.as_path())
    }

    /// The agent sessions that are open on this connection.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// What a new or loaded session is made with. The model is looked for now.
    ///
    /// # Errors
    ///
    /// 1006: there is no model.
    pub(crate) async fn session_terms(&self, wake: Option<Wake>) -> Result<session::Terms> {
        let setup = &self.0.start.agent;
        let provider = setup.provider().await.map_err(|error| error::no_model(&error))?;
        let mut terms = setup.terms(provider, true);
        terms.policy.wake = wake.unwrap_or(terms.policy.wake);
        Ok(terms)
    }

    /// Takes a session in. A task of the loop tells the client what it says.
    pub(crate) fn take_in(
        &self,
        session: session::Session,
        updates: Updates,
        start: sessions::Start,
    ) -> Open {
        let (open, reading) = self.0.sessions.open(session, updates, start);
        // The loop does not listen any more only when it is ending.
        let _ = self.0.streams.send(Stream::Session(Box::new(reading)));
        open
    }

    /// Whether the client shows progress that we begin.
    pub(crate) fn shows_progress(&self) -> bool {
        self.0.session.get().is_some_and(|session| session.shows_progress)
    }

    /// The process to live with, once the handshake named one.
    pub(crate) fn parent(&self) -> Option<u32> {
        self.0.session.get().and_then(|session| session.parent)
    }

    /// What holds pushes of output back while a subscription is not answered.
    pub(crate) fn output_gate(&self) -> Arc<RwLock<()>> {
        self.0.output_gate.clone()
    }

    /// Whether `shutdown` was answered.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.0.shut_down.load(Ordering::Relaxed)
    }

    /// Detaches from the workspace. Tasks go on.
    pub(crate) async fn close(&self) {
        if let Some(background) = self.0.background.get() {
            background.close().await;
        }
    }

    fn session(&self) -> Result<&Session> {
        self.0.session.get().ok_or_else(error::not_initialized)
    }

    async fn open(&self) -> Result<Background> {
        let unavailable = |why: String| {
            meanwhile_core::Error::unavailable(meanwhile_core::StoreFaultKind::Other, why)
        };
        let state_dir =
            self.0.start.state_dir.clone().map_err(|why| error::from_core(&unavailable(why)))?;
        let options = Options {
            state_dir,
            workspace: self.session()?.workspace.clone(),
            role: Role::Daemon,
            settings: self.0.start.settings.clone(),
        };
        let (background, events) =
            Background::open(options).await.map_err(|error| error::from_core(&error))?;
        // The loop does not listen any more only when it is ending.
        let _ = self.0.streams.send(Stream::Events(Box::new(events)));
        Ok(background)
    }
}

impl LanguageServer for Server {
    async fn initialize(&self, params: InitializeParams) -> Result<InitializeResult> {
        let options: wire::InitializationOptions =
            params::within("initializationOptions", params.initialization_options.clone())?;
        let shows_progress = params
            .capabilities
            .window
            .as_ref()
            .and_then(|window| window.work_done_progress)
            .unwrap_or(false);
        let session = Session {
            workspace: workspace::of(&params)?,
            defaults: from_wire::defaults(options)?,
            shows_progress,
            parent: params.process_id,
        };
        // The router lets a second handshake through only where the first one failed.
        self.0.session.set(session).map_err(|_| Error::invalid_request())?;
        Ok(result())
    }

    async fn execute_command(&self, params: ExecuteCommandParams) -> Result<Option<LSPAny>> {
        execute_command::run(self, params).await.map(Some)
    }

    async fn shutdown(&self) -> Result<()> {
        // A turn that runs is ended by whoever asked for it, not by a death in the middle; but a
        // command in the foreground may take its time, and can be found again.
        let _ = timeout(LAST_WORDS, self.0.sessions.close()).await;
        self.0.shut_down.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn result() -> InitializeResult {
    let capability = wire::Capability {
        protocol_version: wire::PROTOCOL_VERSION,
        methods: METHODS.to_vec(),
        notifications: Push::METHODS.to_vec(),
        limits: to_wire::limits(),
        secret_variables: secret_variables().collect(),
    };
    InitializeResult {
        capabilities: ServerCapabilities {
            execute_command_provider: Some(ExecuteCommandOptions {
                commands: COMMANDS.map(str::to_owned).to_vec(),
                ..ExecuteCommandOptions::default()
            }),
            experimental: Some(serde_json::json!({ "meanwhile": capability })),
            ..ServerCapabilities::default()
        },
        server_info: Some(ServerInfo {
            name: "meanwhile".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }),
        ..InitializeResult::default()
    }
}
