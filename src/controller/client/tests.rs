use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Mutex;
use std::time::Instant;

use axum::Router;
use axum::routing::get;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use tokio::net::TcpListener;

use super::*;

const NAMESPACE: &str = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}"#;

/// Serves a namespace, says who asked for it, never answers for another, and refuses the rest.
async fn serve() -> SocketAddr {
    let router = Router::new()
        .route("/api/v1/namespaces/shop", get(|| async { NAMESPACE }))
        .route(
            "/agent",
            get(|headers: http::HeaderMap| async move {
                headers
                    .get(USER_AGENT)
                    .map(|agent| agent.as_bytes().to_vec())
                    .unwrap_or_default()
            }),
        )
        .route(
            "/api/v1/namespaces/slow",
            axum::routing::any(|| async {
                tokio::time::sleep(Duration::from_secs(600)).await;
                NAMESPACE
            }),
        )
        .route(
            "/api/v1/namespaces",
            get(|| async { axum::body::Body::from_stream(slow_watch()) }),
        )
        .route(
            "/api/v1/namespaces/shop/status",
            axum::routing::put(|body: String| async move { body }),
        )
        .fallback(|| async { (http::StatusCode::SERVICE_UNAVAILABLE, "busy") });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The headers at once, the first event long after the deadline of the test.
fn slow_watch() -> impl futures::Stream<Item = Result<String, std::io::Error>> {
    futures::stream::once(async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(format!(r#"{{"type":"ADDED","object":{NAMESPACE}}}"#) + "\n")
    })
}

fn recorder() -> (Arc<Mutex<Vec<ApiCall>>>, ApiCallRecorder) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let record = {
        let calls = Arc::clone(&calls);
        Arc::new(move |call| calls.lock().unwrap().push(call))
    };
    (calls, record)
}

fn config(address: SocketAddr) -> Config {
    Config::new(format!("http://{address}").parse().unwrap())
}

fn get_of_a_namespace(code: ResponseCode) -> ApiCall {
    ApiCall {
        verb: "get",
        resource: "namespaces",
        code,
    }
}

fn is_past_deadline(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(cause) if cause.is::<Elapsed>())
}

#[tokio::test]
async fn requests_are_counted_with_their_answer_and_sent_once() {
    let (calls, record) = recorder();
    let client = build_client(config(serve().await), record, REQUEST_DEADLINE).unwrap();
    let namespaces: Api<Namespace> = Api::all(client);

    let namespace = namespaces.get("shop").await.unwrap();
    assert_eq!(namespace.metadata.name.as_deref(), Some("shop"));
    namespaces.get("gone").await.unwrap_err();

    let codes = [ResponseCode::Http(200), ResponseCode::Http(503)];
    assert_eq!(
        *calls.lock().unwrap(),
        codes.map(get_of_a_namespace),
        "a busy server is asked once"
    );
}

#[tokio::test]
async fn the_server_learns_who_asks() {
    let (_, record) = recorder();
    let client = build_client(config(serve().await), record, REQUEST_DEADLINE).unwrap();
    let request = Request::get("/agent").body(Vec::new()).unwrap();
    let agent = client.request_text(request).await.unwrap();
    assert_eq!(agent, format!("cofferdam/{}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_response_that_does_not_come_meets_the_deadline() {
    let (calls, record) = recorder();
    let deadline = Duration::from_millis(100);
    let client = build_client(config(serve().await), record, deadline).unwrap();
    let start = Instant::now();
    let error = Api::<Namespace>::all(client).get("slow").await.unwrap_err();
    assert!(is_past_deadline(&error), "{error:?}");
    assert!(start.elapsed() >= deadline && start.elapsed() < Duration::from_secs(5));
    assert_eq!(*calls.lock().unwrap(), [get_of_a_namespace(ResponseCode::Deadline)]);
}

#[tokio::test]
async fn a_watch_outlives_the_deadline_of_its_headers() {
    let (calls, record) = recorder();
    let client = build_client(config(serve().await), record, Duration::from_millis(100)).unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    let mut events = pin!(namespaces.watch(&WatchParams::default(), "0").await.unwrap());
    let event = events.next().await.unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Added(_)), "{event:?}");
    let call = ApiCall {
        verb: "watch",
        resource: "namespaces",
        code: ResponseCode::Http(200),
    };
    assert_eq!(*calls.lock().unwrap(), [call]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_deadline() {
    let (calls, record) = recorder();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = build_client(config(address), record, REQUEST_DEADLINE).unwrap();
    let error = Api::<Namespace>::all(client).get("shop").await.unwrap_err();
    assert!(!is_past_deadline(&error), "{error:?}");
    assert_eq!(*calls.lock().unwrap(), [get_of_a_namespace(ResponseCode::NoResponse)]);
}

#[tokio::test]
async fn a_proxy_is_refused_rather_than_gone_around() {
    let mut config = config(([127, 0, 0, 1], 1).into());
    config.proxy_url = Some("http://user:secret@proxy.example:3128".parse().unwrap());
    let error = build_client(config, recorder().1, REQUEST_DEADLINE).err().unwrap();
    assert!(matches!(error, ClientError::Proxy));
    assert!(!error.to_string().contains("secret"));
}

fn a_write() -> Request<Vec<u8>> {
    Request::put("/api/v1/namespaces/shop/status")
        .body(NAMESPACE.into())
        .unwrap()
}

fn is_refused(error: &kube::Error) -> bool {
    let kube::Error::Service(cause) = error else {
        return false;
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&**cause);
    while let Some(error) = cause {
        let inside = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        if error.is::<NotLeading>() || inside.is_some_and(|inside| inside.is::<NotLeading>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn a_client_that_reads_sends_no_write() {
    let client = build_client(config(serve().await), recorder().1, REQUEST_DEADLINE).unwrap();
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPPATCH"] {
        let request = Request::builder().method(method).uri("/api/v1/namespaces/shop/status");
        let error = client
            .request_text(request.body(Vec::new()).unwrap())
            .await
            .unwrap_err();
        assert!(is_refused(&error), "{method}: {error:?}");
    }
    Api::<Namespace>::all(client).get("shop").await.unwrap();
}

#[tokio::test]
async fn a_write_goes_through_while_the_gate_is_open_and_not_after() {
    let gate = WriteGate::opened_by_a_claim(Duration::from_secs(1));
    let client = build_writing_client(config(serve().await), "me", recorder().1, REQUEST_DEADLINE, &gate).unwrap();
    assert!(is_refused(&client.request_text(a_write()).await.unwrap_err()));
    gate.open_until(crate::controller::boot_clock::Moment::now().after(Duration::from_secs(60)));
    assert_eq!(client.request_text(a_write()).await.unwrap(), NAMESPACE);
    let agent = client
        .request_text(Request::get("/agent").body(Vec::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(agent, format!("cofferdam/{} (me)", env!("CARGO_PKG_VERSION")));
    gate.close();
    assert!(is_refused(&client.request_text(a_write()).await.unwrap_err()));
    Api::<Namespace>::all(client).get("shop").await.unwrap();
    assert!(!gate.is_in_doubt(Duration::MAX));
}

// The gate was open when the request was let through and is shut when the connection that it waited for is there: what
// happens to a process that is frozen in between.
#[tokio::test]
async fn a_request_that_waited_for_its_connection_is_not_sent_after_the_claim() {
    let gate = WriteGate::always_open();
    let config = config(serve().await);
    let connector = GatedConnector::new(http_connector(), gate.clone());
    let http: HttpClient<_, kube::client::Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let uri = format!("{}api/v1/namespaces/shop/status", config.cluster_url);
    let request = |uri: &str| {
        Request::put(uri)
            .body(kube::client::Body::from(NAMESPACE.as_bytes().to_vec()))
            .unwrap()
    };
    assert_eq!(http.request(request(&uri)).await.unwrap().status(), 200);
    gate.close();
    // On the connection that stands, and on a fresh one.
    for client in [
        http,
        HttpClient::builder(TokioExecutor::new()).build(GatedConnector::new(http_connector(), gate)),
    ] {
        let error = kube::Error::Service(Box::new(client.request(request(&uri)).await.unwrap_err()));
        assert!(is_refused(&error), "{error:?}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_did_not_come_is_in_doubt() {
    let gate = WriteGate::always_open();
    let config = config(serve().await);
    let client = build_writing_client(config, "me", recorder().1, Duration::from_millis(100), &gate).unwrap();
    let request = Request::put("/api/v1/namespaces/slow").body(Vec::new()).unwrap();
    assert!(is_past_deadline(&client.request_text(request).await.unwrap_err()));
    assert!(gate.is_in_doubt(Duration::from_secs(60)));
}

#[tokio::test]
async fn a_server_that_is_busy_says_for_how_long() {
    let router = Router::new().fallback(|| async {
        let words = "Too many requests, please try again later.\n";
        (http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], words)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = build_client(config(address), recorder().1, REQUEST_DEADLINE).unwrap();
    let error = Api::<Namespace>::all(client).get("shop").await.unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("expected what the server said, found {error:?}");
    };
    assert_eq!(
        (status.code, &*status.message),
        (429, "Too many requests, please try again later.")
    );
    assert_eq!(status.details.unwrap().retry_after_seconds, 7);
}

#[tokio::test]
async fn a_page_that_would_fill_the_memory_is_not_read_and_one_object_always_is() {
    let large = "x".repeat(bounded_pages::MOST_PAGE_BYTES);
    let list = format!(
        r#"{{"apiVersion":"v1","kind":"NamespaceList","metadata":{{}},"items":[{{"metadata":{{"name":"a","annotations":{{"b":"{large}"}}}}}}]}}"#
    );
    let router = Router::new().fallback(move || async move { list });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = build_client(config(address), recorder().1, REQUEST_DEADLINE).unwrap();
    let namespaces = Api::<Namespace>::all(client);
    for (limit, is_read) in [(Some(500), false), (Some(2), false), (Some(1), true), (None, true)] {
        let parameters = kube::api::ListParams {
            limit,
            ..kube::api::ListParams::default()
        };
        let listed = namespaces.list(&parameters).await;
        assert_eq!(listed.is_ok(), is_read, "{limit:?}: {:?}", listed.err());
    }
}
