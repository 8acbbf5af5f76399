//! `initialize` and `shutdown`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meanwhile_core::agent::ModelChoice;
use meanwhile_core::agent::vendor::secret_variables;
use meanwhile_shim::place;
use tokio::time::timeout;
use tower_lsp::LanguageServer;
use tower_lsp::jsonrpc::{self, Error};
use tower_lsp::ls_types::{
    ExecuteCommandOptions, ExecuteCommandParams, InitializeParams, InitializeResult, LSPAny,
    ServerCapabilities, ServerInfo,
};

use super::commands::{self, COMMANDS};
use super::router::to_lsp;
use super::voice::PUSHES;
use super::workspace;
use crate::convert::{from_wire, params, to_wire};
use crate::desk::{Connection, Desk};
use crate::methods::{FEATURES, METHODS};
use crate::wire;

/// How long sessions may take to end their turns at `shutdown`.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The result of the handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    desk: Desk,
    /// The pid that the client named, whose exit ends the server.
    parent: OnceLock<u32>,
    /// How long the client may be silent, if it sends heartbeats.
    silence: OnceLock<Duration>,
    /// The client's name, if it sent one.
    name: OnceLock<String>,
    shut_down: AtomicBool,
}

impl Handshake {
    /// The state before the handshake.
    pub(super) fn new(desk: Desk) -> Self {
        Self {
            desk,
            parent: OnceLock::new(),
            silence: OnceLock::new(),
            name: OnceLock::new(),
            shut_down: AtomicBool::new(false),
        }
    }

    /// The pid that the client named in the handshake.
    pub(super) fn parent(&self) -> Option<u32> {
        self.parent.get().copied()
    }

    /// How long the client may be silent, if the handshake says that it sends heartbeats.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.silence.get().copied()
    }

    /// The client's name, if the handshake has one.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.get().map(String::as_str)
    }

    /// The name of the store, for a client with a name.
    fn store(&self) -> Option<String> {
        let state = self.name().and(self.desk.state_dir())?;
        place::installation(state).ok()
    }

    /// Whether `shutdown` has been answered.
    pub(super) fn is_shut_down(&self) -> bool {
        self.shut_down.load(Ordering::Relaxed)
    }

    fn settle(&self, params: InitializeParams) -> Result<bool, wire::Error> {
        let options: wire::InitializationOptions =
            params::within("initializationOptions", params.initialization_options.clone())?;
        let silence = from_wire::silence(options.heartbeat_ms)?;
        let name = from_wire::client_name(options.client.as_deref())?.map(str::to_owned);
        let workspace = workspace::of(&params)?;
        let shows_progress =
            params.capabilities.window.and_then(|window| window.work_done_progress);
        let model = ModelChoice::from_env(|name| options.secrets.get(name));
        let connection = Connection {
            workspace,
            defaults: from_wire::defaults(options)?,
            shows_progress: shows_progress.unwrap_or(false),
            model,
        };
        if let Some(pid) = params.process_id {
            // Fails only on the second handshake after a failed one, which has set nothing.
            let _ = self.parent.set(pid);
        }
        let _ = silence.map(|it| self.silence.set(it));
        let _ = name.map(|it| self.name.set(it));
        Ok(self.desk.settle(connection))
    }
}

impl LanguageServer for Handshake {
    async fn initialize(&self, params: InitializeParams) -> jsonrpc::Result<InitializeResult> {
        // The router accepts a second handshake only if the first one failed.
        match self.settle(params).map_err(to_lsp)? {
            true => Ok(result(self.desk.state_moved(), self.store())),
            false => Err(Error::invalid_request()),
        }
    }

    async fn execute_command(
        &self,
        params: ExecuteCommandParams,
    ) -> jsonrpc::Result<Option<LSPAny>> {
        commands::resolve(params).map(Some).map_err(to_lsp)
    }

    async fn shutdown(&self) -> jsonrpc::Result<()> {
        // End running turns in an orderly way before the process exits. A command in the foreground may take longer;
        // a later load finds it again.
        let _ = timeout(LAST_WORDS, self.desk.sessions().close()).await;
        self.shut_down.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn result(state_moved: Option<wire::StateMoved>, store: Option<String>) -> InitializeResult {
    let capability = wire::Capability {
        protocol_version: wire::PROTOCOL_VERSION,
        methods: METHODS.iter().map(|method| method.name).collect(),
        notifications: PUSHES.iter().map(|(name, _)| *name).collect(),
        features: FEATURES.to_vec(),
        confine: to_wire::confine(),
        limits: to_wire::limits(),
        secret_variables: secret_variables().collect(),
        store,
        state_moved,
    };
    InitializeResult {
        capabilities: ServerCapabilities {
            execute_command_provider: Some(ExecuteCommandOptions {
                commands: COMMANDS.iter().map(|(command, _)| (*command).to_owned()).collect(),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::desk::Options;
    use crate::peer::{Jobs, mute};

    #[tokio::test]
    async fn initialization_options_are_checked() {
        for (options, expect) in [
            (json!(null), Ok(())),
            (json!({"queue": "q", "lingerMs": null, "theirs": 1}), Ok(())),
            (json!({"lingerMs": 0}), Ok(())),
            (json!({"lingerMs": -1}), Err("initializationOptions.lingerMs")),
            (json!({"lingerMs": "x"}), Err("initializationOptions.lingerMs")),
            (json!({"lingerMs": u64::MAX}), Err("initializationOptions.lingerMs")),
            (json!({"queue": ""}), Err("initializationOptions.queue")),
            (json!({"queue": 5}), Err("initializationOptions.queue")),
            (json!([]), Ok(())),
            (json!([1]), Err("initializationOptions")),
            (json!({"secrets": {"OPENAI_API_KEY": "sk"}}), Ok(())),
            (json!({"secrets": "sk-secret"}), Err("initializationOptions.secrets")),
            (json!({"secrets": {"sk-secret": "x"}}), Err("initializationOptions.secrets")),
            (
                json!({"secrets": {"OPENAI_API_KEY": ["sk-secret"]}}),
                Err("initializationOptions.secrets"),
            ),
        ] {
            let desk = Desk::new(Options::without_store(), mute(), Jobs::none());
            let params = InitializeParams {
                initialization_options: Some(options.clone()),
                ..InitializeParams::default()
            };
            let got = Handshake::new(desk).initialize(params).await.map(drop);
            let got = got.map_err(|error| {
                assert!(!format!("{error:?}").contains("sk-secret"), "{error:?}");
                error.data.unwrap()["field"].as_str().unwrap().to_owned()
            });
            assert_eq!(got, expect.map_err(str::to_owned), "{options}");
        }
    }
}
