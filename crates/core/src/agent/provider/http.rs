//! One POST request whose answer is a stream of events: connecting, refusals, timeouts, interruptions.
//!
//! Independent of the vendor. A key is a [`Secret`], which goes into a header marked as sensitive and is never
//! shown. Redirects are not followed, because a header with a key must not go to another host. Certificates are
//! only loaded for `https`, so that a local server works on a machine without any.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::super::failure::{Again, Failure, FailureKind, Peer};
use super::super::retry::{Attempt, Patience, judge, persist};
use super::super::vendor::Vendor;
use super::assemble::Assembler;
use super::body::{bytes, read, text};
use super::form::Form;
use super::mask::Mask;
use super::{Call, Sink, Turn};

/// A key or token. Never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret, and trims whitespace that comes from pasting.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// Wraps a text unchanged.
    pub fn verbatim(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// The plain text, for sending.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    pub(crate) fn header(&self, prefix: &str) -> Result<HeaderValue, HttpError> {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", self.0.trim()))
            .map_err(|_| HttpError::BadKey)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a provider cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The base URL is not valid.
    #[error("`{url}` is not a base URL: expected `http://HOST[:PORT][/PATH]` or `https://...`")]
    BadUrl {
        /// The value that was set.
        url: String,
    },
    /// The key contains characters that a header cannot have.
    #[error("the key has a line break or another character that no key has: copy it again")]
    BadKey,
    /// The HTTP client cannot be created: usually because this machine has no certificates.
    #[error(
        "cannot set up https: {0}; install `ca-certificates`, or name a bundle in SSL_CERT_FILE"
    )]
    Client(String),
}

/// How a key is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHeader {
    /// The header `x-api-key: KEY`.
    XApiKey,
    /// The header `authorization: Bearer KEY`.
    Bearer,
}

/// The server, model and account that a provider's requests use.
pub struct Endpoint {
    client: reqwest::Client,
    base: reqwest::Url,
    headers: HeaderMap,
    pub(crate) peer: Peer,
    vendor: &'static Vendor,
    pub(crate) patience: Patience,
    manner: Mutex<Manner>,
    mask: Mask,
}

/// The request form that the server requires.
#[derive(Debug, Default)]
struct Manner {
    form: Form,
    /// The form before the plainest one was tried, after a refusal that was not understood. It is restored if that
    /// did not help.
    before: Option<Form>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The user's settings for a vendor.
#[derive(Debug, Clone)]
pub struct Account<'a> {
    /// The vendor, with its dialect and default server.
    pub vendor: &'static Vendor,
    /// The base URL; `None` for the vendor's own server.
    pub base: Option<&'a str>,
    /// The key, and how it is sent.
    pub key: Option<(KeyHeader, &'a Secret)>,
    /// Headers added to each request.
    pub headers: Vec<(&'static str, &'a str)>,
}

impl Endpoint {
    pub(crate) fn new(
        account: &Account<'_>,
        model: &str,
        patience: Patience,
    ) -> Result<Self, HttpError> {
        let vendor = account.vendor;
        let given = account.base.unwrap_or(vendor.base_url);
        let bad = || HttpError::BadUrl { url: given.to_owned() };
        let mut base = reqwest::Url::parse(given.trim()).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad());
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let key = account.key.filter(|(_, key)| !key.is_empty());
        match key {
            Some((KeyHeader::XApiKey, key)) => {
                headers.insert(HeaderName::from_static("x-api-key"), key.header("")?);
            }
            Some((KeyHeader::Bearer, key)) => {
                headers.insert(reqwest::header::AUTHORIZATION, key.header("Bearer ")?);
            }
            None => {}
        }
        for (name, value) in &account.headers {
            let value = HeaderValue::from_str(value).map_err(|_| HttpError::BadKey)?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let mut shown = base.clone();
        // Cannot fail for http and https; if it did, the password would be shown.
        shown.set_username("").map_err(|()| bad())?;
        shown.set_password(None).map_err(|()| bad())?;
        shown.set_query(None);
        let peer = Peer {
            url: shown.as_str().trim_end_matches('/').to_owned(),
            model: model.to_owned(),
            key_setting: vendor.key_variable(),
            url_setting: vendor.url.name,
            has_key: key.is_some(),
        };
        let client = client(&base, &patience)?;
        let manner = Mutex::default();
        let password = base.password().map(str::to_owned);
        let mask =
            Mask::new(key.map(|(_, key)| key.expose()).into_iter().chain(password.as_deref()));
        Ok(Self { client, base, headers, peer, vendor, patience, manner, mask })
    }

    /// The host of the base URL.
    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// The same for OpenAI's formats, whose URLs usually end in `/v1`, which is added if the URL has no path.
    pub(crate) fn of_openai(
        account: &Account<'_>,
        model: &str,
        patience: Patience,
    ) -> Result<Self, HttpError> {
        let mut endpoint = Self::new(account, model, patience)?;
        if endpoint.path().is_empty() {
            endpoint.set_path("/v1");
        }
        Ok(endpoint)
    }

    /// Whether a model of OpenAI accepts images, by its documentation: <https://platform.openai.com/docs/models>.
    pub(crate) fn takes_images_of_openai(&self) -> Option<bool> {
        let takes = ["gpt-4o", "gpt-4.1", "gpt-5"];
        let model = &self.peer.model;
        (self.is_vendors_own() && takes.iter().any(|it| model.starts_with(it))).then_some(true)
    }

    /// Context size in tokens of the models on OpenAI's own server: the smallest among the current ones. On other
    /// servers it can be anything from 4 096 up.
    pub(crate) fn window_of_openai(&self) -> Option<u64> {
        self.is_vendors_own().then_some(128_000)
    }

    /// The path of the base URL, without a trailing slash.
    pub(crate) fn path(&self) -> &str {
        self.base.path().trim_end_matches('/')
    }

    pub(crate) fn set_path(&mut self, path: &str) {
        self.base.set_path(path);
    }

    /// Whether the server is the vendor's own.
    pub(crate) fn is_vendors_own(&self) -> bool {
        let own = reqwest::Url::parse(self.vendor.base_url).ok();
        own.is_some_and(|own| own.host_str() == Some(self.host()))
    }

    fn route(&self, route: &str) -> reqwest::Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{route}", self.path()));
        url
    }

    fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request form that the server requires, as far as is known.
    pub(crate) fn form(&self) -> Form {
        let manner = self.manner();
        // A form that is only being tried counts once it has helped.
        manner.before.as_ref().unwrap_or(&manner.form).clone()
    }

    pub(crate) fn set_form(&self, form: Form) {
        *self.manner() = Manner { form, before: None };
    }

    /// The form for the next request.
    pub(crate) fn next_form(&self) -> Form {
        self.manner().form.clone()
    }

    /// Switches to a plainer form if a refusal asks for one or, once, if the refusal is not understood.
    fn concede(&self, failure: Failure, asked: Option<u32>) -> Failure {
        let Some(refusal) = &failure.refusal else { return failure };
        // The server itself says that a retry may help.
        if failure.again != Again::Never {
            return failure;
        }
        let mut manner = self.manner();
        let is_overflow = failure.kind == FailureKind::ContextOverflow;
        if let Some(form) = manner.form.after(refusal, is_overflow, asked) {
            tracing::info!("{} asks for a plainer form: {}", self.peer.url, form.to_text());
            *manner = Manner { form, before: None };
            return Failure { again: Again::Plainer, ..failure };
        }
        if is_overflow {
            return failure;
        }
        let plainest = manner.form.plainest();
        match manner.before.take() {
            Some(before) => manner.form = before,
            None if plainest != manner.form => {
                let before = std::mem::replace(&mut manner.form, plainest);
                manner.before = Some(before);
                return Failure { again: Again::Plainer, ..failure };
            }
            None => {}
        }
        failure
    }

    /// The models that the server offers.
    pub(crate) async fn models(&self, route: &str) -> Result<Vec<Listed>, Failure> {
        #[derive(Deserialize)]
        struct Models {
            data: Vec<Listed>,
        }
        let request = self.client.get(self.route(route)).headers(self.headers.clone());
        let response = self.send(request).await?;
        let body = text(response, &self.patience, &self.mask).await;
        match serde_json::from_str::<Models>(&body) {
            Ok(models) => Ok(models.data),
            Err(_) => Err(self.peer.garbage("a body that is not a list of models", &body)),
        }
    }

    /// Sends a request; returns an answer with a success status, or a failure.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Failure> {
        let first_byte = self.patience.first_byte;
        let response = match tokio::time::timeout(first_byte, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.unreachable(&error)),
            Err(_) => {
                return Err(self.peer.silent("after the request", first_byte, Again::Never));
            }
        };
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let (300..=399, Some(to)) = (status, header("location")) {
            let to = self.mask.text(to.as_bytes());
            let to = String::from_utf8_lossy(&to);
            let message = format!("{} answered {status}, a redirect to {to}", self.peer.url);
            return Err(Failure::new(FailureKind::NotFound, Again::Never, message)
                .hint(format!("set {} to the URL that it redirects to", self.peer.url_setting)));
        }
        let body = text(response, &self.patience, &self.mask).await;
        let again = judge(status, header, &body, SystemTime::now());
        Err(self.peer.refused(status, again, &body))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let reason = root(error);
        let Peer { url, url_setting, .. } = &self.peer;
        if reason.contains("certificate") {
            let message = format!("cannot trust {url}: {reason}");
            return Failure::new(FailureKind::Unreachable, Again::Never, message).hint(format!(
                "name the certificates of your own authority in SSL_CERT_FILE, or correct {url_setting}"
            ));
        }
        let hint = if error.is_timeout() || !self.is_loopback() {
            format!("check the network, a proxy, and {url_setting}")
        } else {
            format!("is the server running? {url_setting} says where it is")
        };
        let kind = if error.is_connect() || error.is_timeout() || error.is_builder() {
            FailureKind::Unreachable
        } else {
            FailureKind::Cut
        };
        Failure::new(kind, Again::Later, format!("cannot reach {url}: {reason}")).hint(hint)
    }

    fn is_loopback(&self) -> bool {
        is_loopback(self.host())
    }

    /// Posts `body`, which asks for at most `asked` tokens, and reads the answer. `make` creates an assembler for
    /// each attempt.
    pub(crate) fn call<P, A>(
        provider: Arc<P>,
        route: &'static str,
        body: Vec<u8>,
        asked: Option<u32>,
        make: impl Fn(&P) -> A + Send + 'static,
    ) -> Call
    where
        P: AsRef<Self> + Send + Sync + 'static,
        A: Assembler,
    {
        Call::new(|sink| async move {
            let endpoint: &Self = provider.as_ref().as_ref();
            let patience = endpoint.patience.clone();
            let request = endpoint.client.post(endpoint.route(route));
            let request = request.headers(endpoint.headers.clone()).body(body);
            persist(Post { provider, request, asked, make }, &patience, &sink).await
        })
    }
}

/// A model in a server's list.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Listed {
    /// The model's name, as used in requests.
    pub(crate) id: String,
    /// The context size in tokens, as reported by vLLM.
    max_model_len: Option<u64>,
    /// The same, as reported by OpenRouter.
    context_length: Option<u64>,
    /// The same, as reported by llama.cpp in `meta.n_ctx`.
    meta: Option<Meta>,
}

#[derive(Debug, Clone, Deserialize)]
struct Meta {
    n_ctx: Option<u64>,
}

impl Listed {
    /// The context size in tokens, if the server reports it.
    pub(crate) fn context_window(&self) -> Option<u64> {
        let meta = self.meta.as_ref().and_then(|meta| meta.n_ctx);
        meta.or(self.max_model_len).or(self.context_length)
    }
}

struct Post<P, F> {
    provider: Arc<P>,
    /// Built once: its clones share the body, which contains the whole history.
    request: reqwest::RequestBuilder,
    /// The requested maximum length of the answer, in tokens.
    asked: Option<u32>,
    make: F,
}

impl<P, A, F> Attempt for Post<P, F>
where
    P: AsRef<Endpoint> + Send + Sync,
    A: Assembler,
    F: Fn(&P) -> A + Send,
{
    async fn attempt(&mut self, sink: &Sink) -> Result<Turn, Failure> {
        let assembler = (self.make)(&self.provider);
        let endpoint: &Endpoint = self.provider.as_ref().as_ref();
        let request = self.request.try_clone();
        let request = request.expect("a URL with a host and a body of bytes can be copied");
        let whole = endpoint.patience.whole;
        let once = async {
            let response = endpoint.send(request).await?;
            let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            // For other types, the body tells more: servers label streams in various ways.
            if let Some(kind) = kind.filter(|kind| kind.starts_with("text/html")) {
                let what = format!("`{kind}` instead of a stream of events");
                let body = text(response, &endpoint.patience, &endpoint.mask).await;
                return Err(endpoint.peer.garbage(&what, &body));
            }
            read(
                bytes(response, &endpoint.patience, &endpoint.mask),
                assembler,
                &endpoint.peer,
                sink,
            )
            .await
        };
        match tokio::time::timeout(whole, once).await {
            Ok(Ok(turn)) => {
                endpoint.manner().before = None;
                Ok(turn)
            }
            Ok(Err(failure)) => Err(endpoint.concede(failure, self.asked)),
            Err(_) => {
                let why = format!("it was not complete after {whole:?}");
                Err(Failure { again: Again::Never, ..endpoint.peer.cut(&why) })
            }
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A client with the same settings as for models: the system's certificates, no redirects, and no proxy for
/// connections to this machine.
pub(crate) fn plain_client(base: &reqwest::Url) -> Result<reqwest::Client, HttpError> {
    client(base, &Patience::default())
}

fn client(base: &reqwest::Url, patience: &Patience) -> Result<reqwest::Client, HttpError> {
    // Fails if a provider is already installed, which is fine: either one works.
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("meanwhile/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(patience.connect);
    if base.scheme() == "http" {
        // llama.cpp announces keep-alive but closes the connection, which makes the next request on it fail. A new
        // connection to a local server costs a tenth of a millisecond.
        builder = builder.tls_certs_only([]).pool_max_idle_per_host(0);
    }
    if base.host_str().is_some_and(is_loopback) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| HttpError::Client(root(&error)))
}

/// The innermost error, which people recognise ("connection refused").
pub(crate) fn root(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    crate::background::words::reason(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hidden_in_its_header_too() {
        let value = Secret::new(" sk-secret\n").header("Bearer ").unwrap();
        assert_eq!(value, "Bearer sk-secret");
        assert_eq!(format!("{value:?}"), "Sensitive");
        assert!(matches!(Secret::new("a\nb").header(""), Err(HttpError::BadKey)));
    }
}
