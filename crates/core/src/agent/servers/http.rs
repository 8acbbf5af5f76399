//! Requests to a server over HTTP, which end with the connection.
//!
//! rmcp ends its requests itself once the session is initialized. Before that, it waits for a server without a
//! limit, and dropping it does not end the request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::common::client_side_sse::BoxedSseResponse;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use tokio::sync::watch;

/// How long the final request that closes the session may take.
const LEAVE: Duration = Duration::from_secs(1);

type Failed = StreamableHttpError<reqwest::Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

/// An HTTP client whose requests end with a [`Tie`].
#[derive(Debug, Clone)]
pub(super) struct Tied {
    client: reqwest::Client,
    tie: watch::Receiver<()>,
}

/// Ends the requests of its client a moment after it is dropped.
#[derive(Debug)]
pub(super) struct Tie(Option<watch::Sender<()>>);

impl Drop for Tie {
    fn drop(&mut self) {
        let tie = self.0.take();
        // Outside a runtime there are no requests.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(LEAVE).await;
                drop(tie);
            });
        }
    }
}

impl Tied {
    pub(super) fn new(client: reqwest::Client) -> (Self, Tie) {
        let (sender, tie) = watch::channel(());
        (Self { client, tie }, Tie(Some(sender)))
    }

    /// Returns once the connection has ended.
    fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut tie = self.tie.clone();
        async move {
            // Nothing is ever sent on the channel: this resolves when the sender is dropped.
            let _ = tie.changed().await;
        }
    }

    async fn unless_over<T>(
        &self,
        request: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        tokio::select! {
            biased;
            done = request => done,
            () = self.over() => Err(Failed::TransportChannelClosed),
        }
    }
}

impl StreamableHttpClient for Tied {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(
            uri,
            message,
            session_id,
            auth_header,
            headers,
            limits,
        )
        .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let post = self.client.post_message_with_response_limits(
            uri,
            message,
            session_id,
            auth_header,
            headers,
            limits,
        );
        let mut posted = self.unless_over(post).await?;
        if let StreamableHttpPostResponse::Sse(stream, _) = &mut posted {
            let whole = std::mem::replace(stream, futures_util::stream::empty().boxed());
            *stream = whole.take_until(Box::pin(self.over())).boxed();
        }
        Ok(posted)
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        headers: Headers,
    ) -> Result<(), Failed> {
        let delete = self.client.delete_session(uri, session_id, auth_header, headers);
        self.unless_over(delete).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: Headers,
    ) -> Result<BoxedSseResponse, Failed> {
        let most = StreamableHttpResponseLimits::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            headers,
            most,
        )
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: Headers,
        most: usize,
    ) -> Result<BoxedSseResponse, Failed> {
        let get = self.client.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            headers,
            most,
        );
        let stream = self.unless_over(get).await?;
        Ok(stream.take_until(Box::pin(self.over())).boxed())
    }
}
