//! The connection to one server: handshake, list of tools, and end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, JsonObject, PaginatedRequestParams, Tool,
};
use rmcp::service::{
    ClientInitializeError, NotificationContext, Peer, RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpError,
};
use rmcp::{ClientHandler, RoleClient, ServiceExt};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Way;
use super::http::{Tie, Tied};
use super::lines::Lines;
use super::process::{self, Ties};
use crate::agent::provider::{Secret, plain_client, root};
use crate::agent::tools::clean;
use crate::background::words::{one_line, reason, seconds, shorten};
use crate::limits;

/// The state of a connection.
#[derive(Debug)]
pub(super) enum State {
    /// The server has not answered yet.
    Connecting,
    /// The server is ready, with these tools.
    Serves(Listed),
    /// The server could not be used or has ended; the text says why.
    Gone(String),
}

/// The tools of a server, and the state of the list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) peer: Peer<RoleClient>,
    pub(super) tools: Vec<Described>,
    /// How many tools are left out because of the limits.
    pub(super) left_out: usize,
    /// Whether the list has changed and is being requested again.
    pub(super) is_stale: bool,
    /// When the list was received.
    pub(super) at: Instant,
    /// How many earlier lists in a row came within [`LIST_ROUND`] of the one before.
    pub(super) in_a_row: u32,
    /// Whether the server reported a change but did not send the new list. Model calls do not wait for it then.
    pub(super) is_unlisted: bool,
}

/// The parts of a tool's description that a request to a model contains.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) schema: Arc<JsonObject>,
}

impl Described {
    fn of(tool: Tool) -> Self {
        let description = tool.description.as_deref().unwrap_or_default();
        Self {
            name: tool.name.into_owned(),
            description: shorten(&clean(description.as_bytes()), limits::SERVER_DESCRIPTION_BYTES),
            schema: tool.input_schema,
        }
    }

    fn bytes(&self) -> usize {
        let schema = serde_json::to_string(&self.schema).map_or(usize::MAX, |it| it.len());
        schema.saturating_add(self.name.len() + self.description.len())
    }
}

impl State {
    /// Whether the tools are known, or the connection has failed.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::Connecting | Self::Serves(Listed { is_stale: true, .. }) => false,
            Self::Serves(_) | Self::Gone(_) => true,
        }
    }
}

/// A list that comes sooner than this after the previous one counts as in a row with it.
const LIST_ROUND: Duration = Duration::from_secs(1);
/// After this many lists in a row, model calls do not wait for a changed list, and it is requested at most once per
/// [`LIST_ROUND`].
const LISTS_IN_A_ROW: u32 = 4;

/// The handler for requests of the server. It supports none.
struct Ours {
    /// Notified when the server's list of tools has changed.
    changed: Arc<Notify>,
    says: watch::Sender<State>,
}

impl ClientHandler for Ours {
    fn get_info(&self) -> ClientConfig {
        let about = Implementation::new("meanwhile", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), about)
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        // Does not wake the receivers: they are notified when the new list is there.
        self.says.send_if_modified(|state| {
            if let State::Serves(listed) = state {
                // A server that sends this repeatedly must not delay model calls.
                listed.is_stale = !listed.is_unlisted && listed.in_a_row < LISTS_IN_A_ROW;
            }
            false
        });
        self.changed.notify_one();
    }
}

type Service = RunningService<RoleClient, Ours>;

/// Connects, and runs until the server is gone. If dropped, the connection closes and the program ends.
pub(super) async fn run(way: Way, workspace: PathBuf, says: watch::Sender<State>) {
    let changed = Arc::new(Notify::new());
    let mut bonds = Bonds::default();
    let begun = async {
        let ours = Ours { changed: changed.clone(), says: says.clone() };
        let service = connect(way, &workspace, ours, &mut bonds).await?;
        let listed = list(service.peer()).await?;
        Ok::<_, String>((service, listed))
    };
    let begun = match tokio::time::timeout(limits::SERVER_START, begun).await {
        Ok(begun) => begun,
        Err(_) => Err(format!("it did not answer within {}", seconds(limits::SERVER_START))),
    };
    let (service, listed) = match begun {
        Ok(begun) => begun,
        Err(why) => return gone(&says, why, bonds).await,
    };
    let peer = service.peer().clone();
    says.send_replace(State::Serves(listed));
    let ended = service.waiting();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            _ = &mut ended => return gone(&says, "it has ended".to_owned(), bonds).await,
            () = changed.notified() => {}
        }
        let (at, before) = match &*says.borrow() {
            State::Serves(listed) => (listed.at, listed.in_a_row),
            State::Connecting | State::Gone(_) => (Instant::now(), 0),
        };
        let in_a_row = if at.elapsed() < LIST_ROUND { before + 1 } else { 0 };
        if in_a_row >= LISTS_IN_A_ROW {
            tokio::select! {
                _ = &mut ended => return gone(&says, "it has ended".to_owned(), bonds).await,
                () = tokio::time::sleep_until(at + LIST_ROUND) => {}
            }
        }
        // If no list comes, the previous one stays in use.
        let again = tokio::time::timeout(limits::SERVER_LIST_AGAIN, list(&peer)).await;
        says.send_if_modified(|state| match (again, state) {
            (Ok(Ok(listed)), state) => {
                *state = State::Serves(Listed { in_a_row, ..listed });
                true
            }
            (Ok(Err(_)) | Err(_), State::Serves(listed)) => {
                listed.is_stale = false;
                !std::mem::replace(&mut listed.is_unlisted, true)
            }
            (Ok(Err(_)) | Err(_), State::Connecting | State::Gone(_)) => false,
        });
    }
}

/// Dropping these ends the program and the requests of a connection.
#[derive(Default)]
struct Bonds {
    program: Option<Ties>,
    requests: Option<Tie>,
}

async fn gone(says: &watch::Sender<State>, mut why: String, bonds: Bonds) {
    if let Some(mut ties) = bonds.program
        && let Some(words) = ties.last_words().await
    {
        why = format!("{why} (it wrote: {words})");
    }
    says.send_replace(State::Gone(why));
}

async fn connect(
    way: Way,
    workspace: &Path,
    ours: Ours,
    bonds: &mut Bonds,
) -> Result<Service, String> {
    let served = match way {
        Way::None(why) => return Err(why),
        Way::Program { program, args, env } => {
            let workspace = workspace.to_owned();
            let runtime = tokio::runtime::Handle::current();
            let start = tokio::task::spawn_blocking(move || {
                let _entered = runtime.enter();
                process::start(&program, &args, &env, &workspace)
            });
            let started = start.await.map_err(|_| "the agent is shutting down".to_owned())?;
            let program =
                started.map_err(|error| format!("it cannot be started: {}", reason(&error)))?;
            bonds.program = Some(program.ties);
            let lines = Lines::new(program.stdout, limits::SERVER_MESSAGE_BYTES);
            ours.serve(AsyncRwTransport::new_client(lines, program.stdin)).await
        }
        Way::Http { url, headers } => {
            let url = reqwest::Url::parse(&url)
                .map_err(|error| format!("its URL is not valid: {error}"))?;
            let client = plain_client(&url).map_err(|error| error.to_string())?;
            let (client, tie) = Tied::new(client);
            bonds.requests = Some(tie);
            let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
                .max_json_response_size(limits::SERVER_MESSAGE_BYTES)
                .custom_headers(sent(headers)?);
            ours.serve(StreamableHttpClientTransport::with_client(client, config)).await
        }
    };
    served.map_err(|error| unconnected(&error))
}

fn sent(headers: Vec<(String, Secret)>) -> Result<HashMap<HeaderName, HeaderValue>, String> {
    let header = |(name, value): (String, Secret)| {
        let bad = || format!("`{}` is not a header that can be sent", one_line(&name));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        Ok((key, value.header("").map_err(|_| bad())?))
    };
    headers.into_iter().map(header).collect()
}

/// The current tools of a server, up to the limits.
async fn list(peer: &Peer<RoleClient>) -> Result<Listed, String> {
    let (mut tools, mut left_out, mut room) = (Vec::new(), 0, limits::SERVER_LIST_BYTES);
    let mut cursor = None;
    loop {
        let params = PaginatedRequestParams::default().with_cursor(cursor.take());
        let page = peer.list_tools(Some(params)).await.map_err(|error| why(&error))?;
        for tool in page.tools.into_iter().map(Described::of) {
            let bytes = tool.bytes();
            match tools.len() < limits::SERVER_TOOLS && bytes <= room {
                true => {
                    room -= bytes;
                    tools.push(tool);
                }
                false => left_out += 1,
            }
        }
        cursor = page.next_cursor;
        let is_over = tools.len() == limits::SERVER_TOOLS || left_out >= limits::SERVER_TOOLS;
        if is_over && cursor.is_some() {
            // At least one more is on the pages that are not read.
            left_out += 1;
        }
        if cursor.is_none() || is_over {
            return Ok(Listed {
                peer: peer.clone(),
                tools,
                left_out,
                at: Instant::now(),
                in_a_row: 0,
                is_stale: false,
                is_unlisted: false,
            });
        }
    }
}

/// The error of a call, as text for a person and for the model.
pub(super) fn why(error: &ServiceError) -> String {
    if let ServiceError::McpError(said) = error {
        return brief(&said.message);
    }
    if let ServiceError::TransportSend(error) = error {
        return brief(&innermost(&*error.error));
    }
    match matches!(error, ServiceError::TransportClosed) {
        true => "the server is gone".to_owned(),
        false => brief(&error.to_string()),
    }
}

/// Why the connection could not be made.
fn unconnected(error: &ClientInitializeError) -> String {
    if let ClientInitializeError::JsonRpcError(said) = error {
        return brief(&said.message);
    }
    let ClientInitializeError::TransportError { error, .. } = error else {
        return match matches!(error, ClientInitializeError::ConnectionClosed(_)) {
            true => ENDED_EARLY.to_owned(),
            false => brief(&error.to_string()),
        };
    };
    let is_broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    match error.error.downcast_ref().is_some_and(is_broken) {
        true => ENDED_EARLY.to_owned(),
        false => brief(&innermost(&*error.error)),
    }
}

/// The innermost error. For a failed HTTP request, rmcp's error does not return it as `source`.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(StreamableHttpError::Client(error)) = error.downcast_ref() {
        return root(error as &reqwest::Error);
    }
    error.source().map_or_else(|| root(error), innermost)
}

const ENDED_EARLY: &str = "it ended before it answered";

fn brief(text: &str) -> String {
    shorten(&clean(one_line(text).as_bytes()), 500)
}
