//! One request on its way through the proxy.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::watch_stream::WatchStream;
use super::{Answer, ApiRequest, Cut, Fault, Moment, RequestRule, Shared};

type Body = UnsyncBoxBody<Bytes, Cut>;

/// For the answer to be read before its reader is killed: what a kernel takes to carry it over loopback, and more.
const TO_READ_AN_ANSWER: Duration = Duration::from_millis(5);

pub async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Their end, with this task, ends every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _ = stream.set_nodelay(true);
            // What the proxy closes, it resets.
            let _ = stream.set_zero_linger();
            let service = service_fn(|request| serve(Arc::clone(&shared), request));
            // Its errors are the cuts, and the deaths of controllers.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let api_request = ApiRequest::of(request.method(), request.uri());
    if *shared.dying.borrow() {
        return Err(Cut);
    }
    let rule = shared.script.strikes_request(&api_request);
    let struck = rule.as_ref().map(|rule| format!("  <== {}", rule.does().in_words()));
    shared.note(&api_request, &struck.unwrap_or_default());
    let Some(rule) = rule else {
        let (parts, body) = forward(&shared, request).await?.into_parts();
        return Ok(pass_on(&shared, api_request, parts, body));
    };
    match rule.does() {
        Fault::HoldBack => hold_back(shared, request, api_request, rule).await,
        _ => strike(&shared, request, &rule).await,
    }
}

// In a task of its own: a request ends with the connection that it came by.
async fn hold_back(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    api_request: ApiRequest,
    rule: Arc<RequestRule>,
) -> Result<Response<Body>, Cut> {
    let request = prepare(&shared, request).await?;
    let what = String::from_utf8_lossy(request.body()).into_owned();
    let late = tokio::spawn(async move {
        rule.wait_until_lifted().await;
        let (parts, body) = (shared.ask_server)(request.map(Full::new)).await?.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        shared.note(&api_request, &format!("  <== late, answered {}: {what}", parts.status));
        Ok(Response::from_parts(parts, whole(body)))
    });
    late.await.map_err(|_| Cut)?
}

async fn strike(shared: &Arc<Shared>, request: Request<Incoming>, rule: &RequestRule) -> Result<Response<Body>, Cut> {
    match rule.does() {
        Fault::Answer(answer) => return Ok(made_up(answer)),
        Fault::Reset(Moment::BeforeForwarding) => return Err(Cut),
        Fault::Crash(Moment::BeforeForwarding) => return crash(shared),
        Fault::Stall(Moment::BeforeForwarding) => rule.wait_until_lifted().await,
        Fault::Delay(time) => tokio::time::sleep(*time).await,
        _ => {}
    }
    let (mut parts, body) = forward(shared, request).await?.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let half = body.slice(..body.len() / 2);
    parts.headers.remove(TRANSFER_ENCODING);
    match rule.does() {
        Fault::AnswerAfterCommit(answer) => Ok(made_up(answer)),
        Fault::Reset(Moment::AfterCommit) => Err(Cut),
        Fault::Crash(Moment::AfterCommit) => crash(shared),
        Fault::Reset(_) => {
            parts.headers.insert(CONTENT_LENGTH, body.len().into());
            Ok(Response::from_parts(parts, then_cut(half)))
        }
        Fault::TruncatedJson => {
            parts.headers.insert(CONTENT_LENGTH, half.len().into());
            Ok(Response::from_parts(parts, whole(half)))
        }
        Fault::Crash(_) => {
            parts.headers.insert(CONTENT_LENGTH, body.len().into());
            Ok(Response::from_parts(parts, then_crash(shared, body)))
        }
        late => {
            if !matches!(late, Fault::Stall(Moment::BeforeForwarding) | Fault::Delay(_)) {
                rule.wait_until_lifted().await;
            }
            Ok(Response::from_parts(parts, whole(body)))
        }
    }
}

async fn forward(shared: &Shared, request: Request<Incoming>) -> Result<Response<Incoming>, Cut> {
    let request = prepare(shared, request).await?;
    (shared.ask_server)(request.map(Full::new)).await
}

async fn prepare(shared: &Shared, request: Request<Incoming>) -> Result<Request<Bytes>, Cut> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("{}{path}", shared.server).parse().map_err(|_| Cut)?;
    parts.headers.remove(HOST);
    parts.headers.remove(TRANSFER_ENCODING);
    let number = shared.requests.fetch_add(1, Ordering::SeqCst);
    let writer = shared.victim.load(Ordering::SeqCst);
    let audit_id = format!("writer-{writer}-{number}").parse().map_err(|_| Cut)?;
    parts.headers.insert("Audit-ID", audit_id);
    Ok(Request::from_parts(parts, body))
}

// As it comes: a watch never ends by itself.
fn pass_on(shared: &Arc<Shared>, api_request: ApiRequest, mut parts: Parts, body: Incoming) -> Response<Body> {
    if api_request.verb != "watch" || !parts.status.is_success() {
        return Response::from_parts(parts, body.map_err(|_| Cut).boxed_unsync());
    }
    parts.headers.remove(TRANSFER_ENCODING);
    let (to_controller, events) = mpsc::channel(16);
    let stream = WatchStream {
        watch: api_request,
        script: Arc::clone(&shared.script),
        cuts: shared.cuts.subscribe(),
        to_controller,
    };
    tokio::spawn(stream.carry(body));
    let events = stream::unfold(events, async |mut events| Some((events.recv().await?, events)));
    Response::from_parts(parts, StreamBody::new(events).boxed_unsync())
}

fn made_up(answer: &Answer) -> Response<Body> {
    let mut response = Response::new(whole(answer.body.clone()));
    *response.status_mut() = http::StatusCode::from_u16(answer.code).expect("a rule's own code");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if let Some(seconds) = answer.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn then_cut(half: Bytes) -> Body {
    StreamBody::new(stream::iter([Ok(Frame::data(half)), Err(Cut)])).boxed_unsync()
}

fn crash(shared: &Shared) -> Result<Response<Body>, Cut> {
    shared.begin_to_die();
    shared.kill_victim();
    Err(Cut)
}

fn then_crash(shared: &Arc<Shared>, answer: Bytes) -> Body {
    // Before the answer is out: what it brings about is not heard any more.
    shared.begin_to_die();
    let shared = Arc::clone(shared);
    let frame = async move {
        tokio::spawn(async move {
            tokio::time::sleep(TO_READ_AN_ANSWER).await;
            shared.kill_victim();
        });
        Ok(Frame::data(answer))
    };
    StreamBody::new(stream::once(frame)).boxed_unsync()
}
