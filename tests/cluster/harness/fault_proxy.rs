//! An HTTP proxy between the controller and the API server that does to requests and watches what a script says.
//!
//! Plain HTTP on loopback towards the controller, TLS towards the server. The controller's own token passes through, so it
//! stays its ServiceAccount. Each request carries an `Audit-ID` that names the process that made it: see
//! [`super::AuditEvent::writer`].
//!
//! ```ignore
//! let proxy = FaultProxy::start(&control_plane).await;
//! let controller = Controller::start_through(&control_plane, &proxy, &[]).await;
//! let crash = proxy.on(Requests::writes().of("networkpolicies"), Nth::only(2), Fault::Crash(Moment::AfterCommit));
//! ```

pub mod api_request;
mod connection;
pub mod fault;
pub mod script;
mod watch_stream;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

pub use self::api_request::{ApiRequest, Requests};
pub use self::fault::{Answer, EventFault, EventLine, Events, Fault, Moment};
pub use self::script::{EventRule, Nth, RequestRule, Script};
use super::control_plane::ControlPlane;
use super::identity::{self, Identity};

static STARTED: AtomicUsize = AtomicUsize::new(0);

/// A connection that ends without an answer.
#[derive(Debug)]
pub struct Cut;

/// A running proxy; it ends with this.
pub struct FaultProxy {
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

type AskServer = Box<dyn Fn(Request<Full<Bytes>>) -> BoxFuture<'static, Result<Response<Incoming>, Cut>> + Send + Sync>;

struct Shared {
    ask_server: AskServer,
    server: String,
    token: String,
    script: Arc<Script>,
    cuts: broadcast::Sender<Requests>,
    victim: AtomicI32,
    /// Since a crash was triggered: what the dying process still asks for is not heard.
    dying: watch::Sender<bool>,
    requests: AtomicUsize,
    story: Mutex<Vec<String>>,
    last_write: Mutex<Instant>,
    began: Instant,
}

impl FaultProxy {
    /// Starts one that forwards everything, for a controller of `control_plane`.
    pub async fn start(control_plane: &ControlPlane) -> Self {
        Self::to(
            &control_plane.kubeconfig(Identity::Controller),
            control_plane.directory(),
        )
        .await
    }

    /// Starts one in front of the server that a kubeconfig of the controller names; its own kubeconfig goes to `directory`.
    pub async fn to(kubeconfig: &Path, directory: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig of our own");
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .expect("a kubeconfig of our own");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port");
        let port = listener.local_addr().expect("a bound socket").port();
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let own_kubeconfig = directory.join(format!("fault-proxy-{number}.kubeconfig"));
        let content = identity::kubeconfig_without_tls(Identity::Controller, &format!("http://127.0.0.1:{port}"));
        std::fs::write(&own_kubeconfig, content).expect("writing a kubeconfig");
        let shared = Arc::new(Shared {
            ask_server: ask_server(&config),
            server: config.cluster_url.to_string().trim_end_matches('/').to_owned(),
            token: Identity::Controller.token(),
            script: Arc::default(),
            cuts: broadcast::Sender::new(16),
            victim: AtomicI32::new(0),
            dying: watch::Sender::new(false),
            requests: AtomicUsize::new(0),
            story: Mutex::default(),
            last_write: Mutex::new(Instant::now()),
            began: Instant::now(),
        });
        let accepting = tokio::spawn(connection::accept(listener, Arc::clone(&shared)));
        Self {
            kubeconfig: own_kubeconfig,
            shared,
            accepting,
        }
    }

    /// The kubeconfig that leads through the proxy, as the controller's ServiceAccount.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Has this happen to those of these requests.
    pub fn on(&self, which: Requests, nth: Nth, fault: Fault) -> Arc<RequestRule> {
        self.shared.script.on_requests(which, nth, fault)
    }

    /// Has this happen to those of these events of these watches.
    pub fn on_events(&self, watches: Requests, events: Events, nth: Nth, fault: EventFault) -> Arc<EventRule> {
        self.shared.script.on_events(watches, events, nth, fault)
    }

    /// Ends every rule, and what they hold up.
    pub fn lift_all(&self) {
        self.shared.script.lift_all();
    }

    /// Ends these watches, as the server does from time to time.
    pub fn close_watches(&self, which: Requests) {
        // Nobody listens where no watch runs.
        let _ = self.shared.cuts.send(which);
    }

    /// What the API server answers to a list at this moment, to be replayed later.
    pub async fn list_now(&self, path: &str) -> Bytes {
        let request = Request::builder()
            .method(Method::GET)
            .uri(format!("{}{path}", self.shared.server))
            .header(http::header::AUTHORIZATION, format!("Bearer {}", self.shared.token))
            .body(Full::default())
            .expect("a path of ours");
        let answer = (self.shared.ask_server)(request).await.expect("the API server answers");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.into_body().collect().await.expect("a whole answer").to_bytes()
    }

    /// The process that [`Fault::Crash`] kills from now on.
    pub fn threatens(&self, pid: u32) {
        let pid = i32::try_from(pid).expect("process ids fit i32");
        self.shared.victim.store(pid, Ordering::SeqCst);
        self.shared.dying.send_replace(false);
    }

    /// Names the writer in the audit log where no process is behind the proxy; nothing has this process id.
    pub fn threatens_nobody(&self, writer: u32) {
        const BEYOND_EVERY_PID: u32 = 1 << 30;
        self.threatens(BEYOND_EVERY_PID + writer);
    }

    /// Returns once a crash was triggered, for the process that [`Self::threatens`] named last.
    pub async fn crashed(&self) {
        // The sender lives as long as the proxy.
        let _ = self.shared.dying.subscribe().wait_for(|dying| *dying).await;
    }

    /// Whether a crash was triggered, for the process that [`Self::threatens`] named last.
    pub fn has_crashed(&self) -> bool {
        *self.shared.dying.borrow()
    }

    /// How long ago the controller last asked for a change of anything but its Lease.
    pub fn quiet_for(&self) -> Duration {
        self.shared.last_write.lock().expect("no panic holds it").elapsed()
    }

    /// What passed and what was done to it, a line each: for the report of a failure.
    pub fn story(&self) -> Vec<String> {
        self.shared.story.lock().expect("no panic holds it").clone()
    }

    /// Begins a new story.
    pub fn forget_story(&self) {
        self.shared.story.lock().expect("no panic holds it").clear();
    }
}

// Nothing is sent twice: a retry of the proxy would hide a fault of the server.
fn ask_server(config: &Config) -> AskServer {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let connector = config
        .rustls_https_connector_with_connector(connector)
        .expect("the certificate of our own server");
    let client = HttpClient::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .build(connector);
    Box::new(move |request| client.request(request).map(|answer| answer.map_err(|_| Cut)).boxed())
}

impl Shared {
    fn note(&self, request: &ApiRequest, struck: &str) {
        if request.is_write() && request.resource != "leases" {
            *self.last_write.lock().expect("no panic holds it") = Instant::now();
        }
        let line = format!("{request}{struck}");
        let line = format!("{:>9.3} s {line}", self.began.elapsed().as_secs_f64());
        self.story.lock().expect("no panic holds it").push(line);
    }

    /// From now on the process is not heard; the first call tells.
    fn begin_to_die(&self) -> bool {
        !self.dying.send_replace(true)
    }

    fn kill_victim(&self) {
        let pid = self.victim.swap(0, Ordering::SeqCst);
        if pid != 0 {
            // It may have ended by itself; whoever started it finds out.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.lift_all();
        self.accepting.abort();
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the connection is cut")
    }
}

impl std::error::Error for Cut {}
