//! A throw-away Kubernetes control plane on loopback: etcd, kube-apiserver with RBAC, kube-controller-manager.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{Api, Client};
use tokio::sync::OnceCell;

use super::audit::AuditLog;
use super::cluster_facts;
use super::eventually::{PATIENCE, eventually};
use super::free_port::free_port;
use super::identity::{self, Identity};
use super::kubectl::{self, KubectlOutput};
use super::owned_process::{OwnedProcess, remove_directory_at_exit};
use super::permission::{Permission, wait_for_permission};
use super::server_processes::{
    binary, require_binaries, start_api_server, start_controller_manager, start_etcd, write_kubeconfigs,
    write_server_files,
};

// It takes about 4 s on two idle cores.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// What a scenario needs beside etcd and the API server.
#[derive(Clone, Debug)]
pub struct ControlPlaneOptions {
    /// Run the namespace and garbage-collector controllers.
    pub controller_manager: bool,
    /// Write the audit log. Off for benches: it costs the API server a file write a request.
    pub audit: bool,
    /// Apply `config/default` (CRD, RBAC, namespace) as a person would.
    pub install_config: bool,
    /// Create the DNS Service and the API server's EndpointSlice, which a bare API server lacks.
    pub cluster_facts: bool,
    /// More flags for kube-apiserver; they come last, so they win.
    pub api_server_flags: Vec<String>,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            controller_manager: true,
            audit: true,
            install_config: true,
            cluster_facts: true,
            api_server_flags: Vec::new(),
        }
    }
}

/// A running control plane; everything ends with it, or with this process.
pub struct ControlPlane {
    directory: PathBuf,
    options: ControlPlaneOptions,
    ports: Ports,
    audit_log: Option<AuditLog>,
    controller_manager: Option<OwnedProcess>,
    api_server: OwnedProcess,
    etcd: OwnedProcess,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    etcd: u16,
    api_server: u16,
}

static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
static STARTED: AtomicUsize = AtomicUsize::new(0);

impl ControlPlane {
    /// The one that scenarios share side by side, with the default options. It ends with the process.
    ///
    /// Tiers are cluster-wide: give each a selector that only the scenario's own namespaces match. What concerns every
    /// namespace, deletes the CRD or restarts the controller gets a control plane of its own from [`Self::start`].
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(|| Self::start(ControlPlaneOptions::default())).await
    }

    /// Starts one and waits until it serves.
    pub async fn start(options: ControlPlaneOptions) -> Self {
        require_binaries();
        name_the_logs_on_panic();
        let directory = new_directory();
        write_server_files(&directory);
        let ports = Ports {
            etcd: free_port(),
            api_server: free_port(),
        };
        let etcd = start_etcd(&directory, ports.etcd);
        let api_server = start_api_server(&directory, ports.api_server, ports.etcd, &options);
        write_kubeconfigs(&directory, ports.api_server);
        let audit_log = options.audit.then(|| AuditLog::at(directory.join("audit.log")));
        let mut control_plane = Self {
            directory,
            options: options.clone(),
            ports,
            audit_log,
            controller_manager: None,
            api_server,
            etcd,
        };
        control_plane.wait_until_it_serves().await;
        if options.install_config {
            control_plane.install_config().await;
        }
        if options.cluster_facts {
            cluster_facts::create(&control_plane);
        }
        if options.controller_manager {
            // After the CRD: the garbage collector looks for new kinds only every 30 s.
            control_plane.start_controller_manager();
        }
        control_plane
    }

    /// A client of the runtime that calls this.
    pub async fn client(&self, identity: Identity) -> Client {
        identity::client_from(&self.kubeconfig(identity))
            .await
            .expect("a client from our own kubeconfig")
    }

    /// A client that may do everything.
    pub async fn admin(&self) -> Client {
        self.client(Identity::Admin).await
    }

    /// Path of an identity's kubeconfig.
    pub fn kubeconfig(&self, identity: Identity) -> PathBuf {
        self.directory.join(identity.kubeconfig_file())
    }

    /// Where logs, keys, kubeconfigs and the audit log are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the API server was asked; panics where [`ControlPlaneOptions::audit`] is off.
    pub fn audit_log(&self) -> &AuditLog {
        self.audit_log
            .as_ref()
            .expect("a control plane that was started with audit: true")
    }

    /// Runs kubectl as the admin.
    pub fn kubectl(&self, arguments: &[&str]) -> KubectlOutput {
        self.kubectl_as(Identity::Admin, arguments, None)
    }

    /// Runs `kubectl ARGUMENTS` as the admin with `manifest` as standard input.
    pub fn kubectl_with_input(&self, arguments: &[&str], manifest: &str) -> KubectlOutput {
        self.kubectl_as(Identity::Admin, arguments, Some(manifest))
    }

    /// Runs kubectl as anybody.
    pub fn kubectl_as(&self, identity: Identity, arguments: &[&str], input: Option<&str>) -> KubectlOutput {
        kubectl::run(
            &binary("kubectl"),
            &self.kubeconfig(identity),
            &self.directory,
            arguments,
            input,
        )
    }

    /// The running API server, for a scenario that stops or kills it.
    pub fn api_server(&mut self) -> &mut OwnedProcess {
        &mut self.api_server
    }

    /// Kills etcd between any two instructions.
    pub fn kill_etcd(&mut self) {
        self.etcd.kill9();
    }

    /// Kills the API server between any two instructions.
    pub fn kill_api_server(&mut self) {
        self.api_server.kill9();
    }

    /// Starts what was killed, on the same data and ports, and waits until it serves.
    pub async fn start_what_was_killed(&mut self) {
        if self.etcd.exit_status().is_some() {
            keep_the_log_of("etcd", &self.directory);
            self.etcd = start_etcd(&self.directory, self.ports.etcd);
        }
        if self.api_server.exit_status().is_some() {
            keep_the_log_of("kube-apiserver", &self.directory);
            let Ports { etcd, api_server } = self.ports;
            self.api_server = start_api_server(&self.directory, api_server, etcd, &self.options);
        }
        self.wait_until_it_serves().await;
    }

    /// The port of etcd, for a second API server.
    pub fn etcd_port(&self) -> u16 {
        self.ports.etcd
    }

    /// Starts the namespace and garbage-collector controllers, where the options left them out.
    pub fn start_controller_manager(&mut self) {
        self.controller_manager = Some(start_controller_manager(&self.directory));
    }

    /// Process ids of the servers.
    pub fn pids(&self) -> Vec<u32> {
        let servers = [
            Some(&self.etcd),
            Some(&self.api_server),
            self.controller_manager.as_ref(),
        ];
        servers.into_iter().flatten().map(OwnedProcess::pid).collect()
    }

    /// Applies `config/default` and waits until a controller can start.
    pub async fn install_config(&self) {
        self.kubectl(&["apply", "--server-side", "-k", "config/default"])
            .expect_success();
        self.wait_until_installed().await;
    }

    /// Waits until the API server serves the new kind and lets the controller read it.
    pub async fn wait_until_installed(&self) {
        eventually("the API server serves isolationtiers", PATIENCE, || async {
            let output = self.kubectl(&["get", "isolationtiers", "--output=name"]);
            if output.code == 0 { Ok(()) } else { Err(output.stderr) }
        })
        .await;
        // A controller started a moment too early would be refused, which is what scenarios fail on.
        let permission = Permission {
            verb: "list",
            group: "cofferdam.dev",
            resource: "isolationtiers",
            namespace: "",
        };
        wait_for_permission(&self.admin().await, Identity::Controller, permission).await;
    }

    async fn wait_until_it_serves(&mut self) {
        let kubeconfig = self.kubeconfig(Identity::Admin);
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        loop {
            let Err(state) = serves(&kubeconfig).await else { return };
            let ended = self.etcd.exit_status().or(self.api_server.exit_status());
            assert!(
                ended.is_none() && tokio::time::Instant::now() < deadline,
                "expected the control plane to serve within {START_TIMEOUT:?}; last seen: {state}\n{}\n{}",
                self.api_server.log_tail(40),
                self.etcd.log_tail(20),
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.controller_manager = None;
        self.api_server.kill9();
        self.etcd.kill9();
        // The write-ahead log alone has 64 MB, and a run may start many of these.
        let _ = std::fs::remove_dir_all(self.directory.join("etcd"));
    }
}

// A process that starts begins its log anew.
fn keep_the_log_of(name: &str, directory: &Path) {
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let _ = std::fs::rename(
        directory.join(format!("{name}.log")),
        directory.join(format!("{name}-until-{number}.log")),
    );
}

// The shared control plane is never dropped, and its logs are wanted exactly when a scenario fails.
fn name_the_logs_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default_hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            default_hook(panic);
            let logs = format!("{}/cluster/{}-*", env!("CARGO_TARGET_TMPDIR"), std::process::id());
            eprintln!("logs of the servers and controllers of this run: {logs}/*.log, requests: {logs}/audit.log");
        }));
    });
}

// Ready, and past what readiness does not cover: the first namespaces and its own Service are made in the background.
async fn serves(kubeconfig: &Path) -> Result<(), String> {
    let client = identity::client_from(kubeconfig).await?;
    let request = http::Request::get("/readyz")
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    client.request_text(request).await.map_err(|error| error.to_string())?;
    for namespace in ["default", "kube-system"] {
        Api::<Namespace>::all(client.clone())
            .get(namespace)
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

// Logs stay until the next run, whose tests may be somebody else's: only what belongs to no living process is removed.
fn new_directory() -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster");
    for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            // A run that starts at the same moment may be removing it too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let directory = parent.join(format!("{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory)
        .unwrap_or_else(|error| panic!("cannot create {}: {error}", directory.display()));
    // The only large part.
    remove_directory_at_exit(&directory.join("etcd"));
    directory
}
