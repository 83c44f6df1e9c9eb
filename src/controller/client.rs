//! The client of the API server, put together for this controller.
//!
//! kube's own stack leaves `TCP_NODELAY` off, so that the first requests on a fresh connection stall
//! for some 40 ms, and sends a request up to fifteen times more when the server is busy. Here a
//! request is sent at once and at most once, has a deadline, and is counted: a failure goes back to
//! the queue, which knows by then whether the write is still wanted.

mod api_call;
mod bounded_pages;
mod by_effect;
mod gated_stream;
pub mod readable;
mod retry_after;
mod valid_utf8;
mod write_gate;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{InvalidHeaderValue, USER_AGENT};
use http::{HeaderValue, Request, Response};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt;
use kube::{Client, Config};
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::{BoxError, Layer, Service, ServiceBuilder};

pub use api_call::{ApiCall, ResponseCode};
use bounded_pages::BoundPages;
pub(super) use bounded_pages::PageTooLarge;
use by_effect::ByEffect;
use gated_stream::GatedConnector;
pub use write_gate::{NotLeading, WriteGate};

/// How long a request may take until the headers of its response are here, connecting and
/// authenticating included. A watch answers with its headers at once, so it is held to this too.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Is told of each request when its response, or the failure to get one, is known. Called within
/// the request: it must not block.
pub type ApiCallRecorder = Arc<dyn Fn(ApiCall) + Send + Sync>;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The configuration asks for a proxy. Going around it in silence might leave the cluster's zone.
    #[error("proxies are not supported: remove proxy-url from the kubeconfig, or name the API server in NO_PROXY")]
    Proxy,
    /// The certificates, the credentials or a header of the configuration.
    #[error("the configuration of the cluster cannot be used: {0}")]
    Configuration(kube::Error),
    /// What this process calls itself.
    #[error("the name of this replica does not fit into a header: {0}")]
    Agent(#[from] InvalidHeaderValue),
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One connection carries one request at a time: as many as workers and watches may need at once.
const IDLE_CONNECTIONS: usize = 64;
/// Shorter than the 90 s after which the API server drops an idle connection, so that no request
/// meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection whose other end vanished without a word is given up after 15 s of silence and three
/// unanswered probes, so that a response that stops half-way ends too.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_PROBES: u32 = 3;

/// Builds a client that reads: whatever would change something is refused here, and not sent. `deadline` is
/// [`REQUEST_DEADLINE`] except in tests.
///
/// # Errors
///
/// When the configuration names a proxy, or holds what no request could be made with. Nothing is
/// sent yet: whether the server answers, the first request shows.
pub fn build_client(config: Config, record: ApiCallRecorder, deadline: Duration) -> Result<Client, ClientError> {
    let agent = HeaderValue::from_static(concat!("cofferdam/", env!("CARGO_PKG_VERSION")));
    build(config, agent, record, deadline, &WriteGate::never_open())
}

/// Builds a client that writes while `gate` is open. `replica` goes into the User-Agent, so that the API server's audit
/// log tells replicas apart, which share a ServiceAccount.
///
/// # Errors
///
/// As [`build_client`].
pub(super) fn build_writing_client(
    config: Config,
    replica: &str,
    record: ApiCallRecorder,
    deadline: Duration,
    gate: &WriteGate,
) -> Result<Client, ClientError> {
    let agent = HeaderValue::from_str(&format!("cofferdam/{} ({replica})", env!("CARGO_PKG_VERSION")))?;
    build(config, agent, record, deadline, gate)
}

fn build(
    mut config: Config,
    agent: HeaderValue,
    record: ApiCallRecorder,
    deadline: Duration,
    gate: &WriteGate,
) -> Result<Client, ClientError> {
    if config.proxy_url.is_some() {
        return Err(ClientError::Proxy);
    }
    config.headers.push((USER_AGENT, agent));
    let mut pool = HttpClient::builder(TokioExecutor::new());
    pool.pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS);
    let connector = config
        .rustls_https_connector_with_connector(http_connector())
        .map_err(ClientError::Configuration)?;
    let gated_connector = config
        .rustls_https_connector_with_connector(GatedConnector::new(http_connector(), gate.clone()))
        .map_err(ClientError::Configuration)?;
    let http = ByEffect {
        reading: pool.build(connector),
        writing: pool.build(gated_connector),
        gate: gate.clone(),
    };
    // Outermost first: what is counted is what the caller asked for, and the deadline holds for a
    // credential that has to be fetched first as well.
    let service = ServiceBuilder::new()
        .layer(CountApiCallsLayer { record })
        .layer(TimeoutLayer::new(deadline))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(ClientError::Configuration)?)
        .layer(config.extra_headers_layer().map_err(ClientError::Configuration)?)
        .layer(BoundPages)
        .map_response(valid_utf8::as_text)
        .and_then(retry_after::with_retry_after)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

/// Bounds a whole request, the body of its response included: the client's own deadline ends with the headers.
///
/// # Errors
/// What the request says, or [`Elapsed`] after twice [`REQUEST_DEADLINE`].
pub async fn within_deadline<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    tokio::time::timeout(REQUEST_DEADLINE + REQUEST_DEADLINE, request)
        .await
        .unwrap_or_else(|_late| Err(elapsed()))
}

/// What is said of a request that takes longer than it may.
pub(super) fn elapsed() -> kube::Error {
    kube::Error::Service(Box::new(Elapsed::new()))
}

fn http_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false); // TLS is put around it
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEP_ALIVE_AFTER));
    connector.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
    connector
}

#[derive(Clone)]
struct CountApiCallsLayer {
    record: ApiCallRecorder,
}

#[derive(Clone)]
struct CountApiCalls<S> {
    record: ApiCallRecorder,
    inner: S,
}

impl<S> Layer<S> for CountApiCallsLayer {
    type Service = CountApiCalls<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CountApiCalls {
            record: Arc::clone(&self.record),
            inner,
        }
    }
}

impl<S, Asked, Answer> Service<Request<Asked>> for CountApiCalls<S>
where
    S: Service<Request<Asked>, Response = Response<Answer>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Asked>) -> Self::Future {
        let (verb, resource) = api_call::verb_and_resource(request.method(), request.uri());
        let record = Arc::clone(&self.record);
        let count = move |answer: &Result<Response<Answer>, BoxError>| {
            let code = match answer {
                Ok(response) => ResponseCode::Http(response.status().as_u16()),
                Err(error) if error.is::<Elapsed>() => ResponseCode::Deadline,
                Err(_) => ResponseCode::NoResponse,
            };
            record(ApiCall { verb, resource, code });
        };
        self.inner.call(request).inspect(count).boxed()
    }
}

#[cfg(test)]
mod tests;
