//! The compiled `cofferdam run`, as a child, under the role that `config/rbac` grants.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::OnceCell;

use super::control_plane::ControlPlane;
use super::eventually::{PATIENCE, eventually};
use super::fault_proxy::FaultProxy;
use super::free_port::free_port;
use super::identity::Identity;
use super::metrics::Metrics;
use super::owned_process::OwnedProcess;

/// A running controller; killed on drop.
pub struct Controller {
    process: OwnedProcess,
    port: u16,
}

static SHARED: OnceCell<Controller> = OnceCell::const_new();
static STARTED: AtomicUsize = AtomicUsize::new(0);

impl Controller {
    /// The one controller of [`ControlPlane::shared`]: two would govern the same namespaces. It ends with the process.
    pub async fn shared() -> &'static Self {
        let control_plane = ControlPlane::shared().await;
        SHARED.get_or_init(|| Self::start(control_plane, &[])).await
    }

    /// Starts `cofferdam run` with more `arguments` and waits until it is ready.
    pub async fn start(control_plane: &ControlPlane, arguments: &[&str]) -> Self {
        let mut controller = Self::spawn(control_plane, arguments);
        controller.wait_until_ready().await;
        controller
    }

    /// Starts it without waiting, for scenarios in which it cannot become ready.
    ///
    /// Without an election unless `arguments` say otherwise: a scenario that kills its one controller and starts another
    /// would wait for the lease of the first.
    pub fn spawn(control_plane: &ControlPlane, arguments: &[&str]) -> Self {
        let kubeconfig = control_plane.kubeconfig(Identity::Controller);
        Self::spawn_with(&kubeconfig, control_plane.directory(), arguments)
    }

    /// As [`Self::start`], with the proxy between it and the API server.
    pub async fn start_through(proxy: &FaultProxy, arguments: &[&str]) -> Self {
        let mut controller = Self::spawn_through(proxy, arguments);
        controller.wait_until_ready().await;
        controller
    }

    /// As [`Self::start_through`] without waiting: it may be one that a fault kills first.
    pub fn spawn_through(proxy: &FaultProxy, arguments: &[&str]) -> Self {
        let directory = proxy.kubeconfig().parent().expect("a file in a directory");
        let controller = Self::spawn_with(proxy.kubeconfig(), directory, arguments);
        proxy.threatens(controller.pid());
        controller
    }

    /// Starts it for the API server of any kubeconfig, without waiting; its log goes to `directory`.
    pub fn spawn_with(kubeconfig: &Path, directory: &Path, arguments: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new(binary());
        command.args([
            "run",
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--namespace",
            "cofferdam-system",
        ]);
        if !arguments.iter().any(|argument| argument.starts_with("--leader-elect")) {
            command.arg("--leader-elect=false");
        }
        // Scenarios open namespaces without a confirmation, unless they are about that.
        if !arguments
            .iter()
            .any(|argument| argument.starts_with("--max-unprotected"))
        {
            command.arg("--max-unprotected=100%");
        }
        command.args(arguments);
        command.env("KUBECONFIG", kubeconfig);
        command.env("RUST_BACKTRACE", "1");
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = directory.join(format!("cofferdam-{number}.log"));
        Self {
            process: OwnedProcess::spawn("cofferdam", &command, log),
            port,
        }
    }

    /// Waits until `/readyz` answers 200; a controller that ended is reported with its log.
    pub async fn wait_until_ready(&mut self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let seen = match self.get("/readyz") {
                Ok((200, _)) => return,
                Ok((status, body)) => format!("{status} {body}"),
                Err(error) => error.to_string(),
            };
            let ended = self.process.exit_status();
            assert!(
                ended.is_none() && tokio::time::Instant::now() < deadline,
                "expected the controller to be ready within {PATIENCE:?}; ended: {ended:?}; last seen: {seen}\n{}",
                self.process.log_tail(40)
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// GET on the controller's own port: status and body.
    pub fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        http_get(self.port, path)
    }

    /// A scrape of `/metrics`.
    pub fn metrics(&self) -> Metrics {
        let (status, text) = self.get("/metrics").expect("the controller serves /metrics");
        assert_eq!(status, 200, "{text}");
        Metrics::parse(text)
    }

    /// Waits until the metrics satisfy `condition`, whose `Err` says what it saw.
    pub async fn eventually_metrics<T>(
        &self,
        description: &str,
        condition: impl Fn(&Metrics) -> Result<T, String>,
    ) -> T {
        eventually(description, PATIENCE, || async { condition(&self.metrics()) }).await
    }

    /// Asks it to end, as the kubelet does, and gives its exit code; -1 after a signal.
    pub async fn sigterm(mut self) -> i32 {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(PATIENCE).await.code().unwrap_or(-1)
    }

    /// Waits until it has ended, however it did.
    pub async fn wait_until_ended(&mut self) -> ExitStatus {
        self.process.wait(PATIENCE).await
    }

    /// Waits until it ends without being asked to, and gives its exit code; -1 after a signal.
    pub async fn ends_by_itself(&mut self) -> i32 {
        self.process.wait(PATIENCE).await.code().unwrap_or(-1)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.exit_status()
    }

    /// Ends it between any two instructions.
    pub fn kill9(mut self) {
        self.process.kill9();
    }

    /// As [`Self::kill9`], where another takes its place.
    pub fn signal_kill9(&mut self) {
        self.process.kill9();
    }

    /// Freezes it: what happens now, it sees only after [`Self::cont`].
    pub fn stop(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Thaws it.
    pub fn cont(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The last of it.
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.log_tail(lines)
    }

    /// Address of a page that it serves.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The port of `/metrics`, `/livez` and `/readyz`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

// Another one to show that a check finds what it looks for: COFFERDAM_TEST_BINARY names it.
pub fn binary() -> PathBuf {
    let other = std::env::var_os("COFFERDAM_TEST_BINARY");
    other.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_cofferdam")), PathBuf::from)
}

impl Drop for Controller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.process.log_tail(40));
        }
    }
}

/// GET on a loopback port: status and body.
// By hand, because a client with a pool would keep a connection open across SIGSTOP and SIGTERM.
pub fn http_get(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // 1.0: the answer ends where the connection does, never in chunks.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let malformed = || std::io::Error::other(format!("not an HTTP answer: {answer}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(malformed)?;
    Ok((status, body.to_owned()))
}
