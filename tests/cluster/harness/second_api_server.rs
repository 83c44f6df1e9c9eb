//! A second API server on the etcd of a control plane: stopped and continued, it is a truly stale one.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::control_plane::{ControlPlane, ControlPlaneOptions};
use super::eventually::{PATIENCE, eventually};
use super::free_port::free_port;
use super::identity::{self, Identity};
use super::owned_process::OwnedProcess;
use super::server_processes::{start_api_server, write_kubeconfigs, write_server_files};

/// A running API server; killed on drop.
pub struct SecondApiServer {
    directory: PathBuf,
    process: OwnedProcess,
}

impl SecondApiServer {
    /// Starts it and waits until it serves what the first one does. Both write the same audit log.
    pub async fn start(control_plane: &ControlPlane) -> Self {
        let directory = control_plane.directory().join("second");
        std::fs::create_dir_all(&directory).expect("a directory of our own");
        write_server_files(&directory);
        let audit_log = control_plane.directory().join("audit.log");
        let options = ControlPlaneOptions {
            // Lines are appended in one write each, so two servers do not mix theirs.
            api_server_flags: vec![format!("--audit-log-path={}", audit_log.display())],
            ..ControlPlaneOptions::default()
        };
        let port = free_port();
        let process = start_api_server(&directory, port, control_plane.etcd_port(), &options);
        write_kubeconfigs(&directory, port);
        let server = Self { directory, process };
        let kubeconfig = server.kubeconfig(Identity::Controller);
        eventually(
            "the second API server serves tiers to the controller",
            PATIENCE * 2,
            || async {
                let client = identity::client_from(&kubeconfig).await?;
                let request = http::Request::get("/apis/cofferdam.dev/v1alpha1/isolationtiers").body(Vec::new());
                let request = request.map_err(|error| error.to_string())?;
                client
                    .request_text(request)
                    .await
                    .map(|_| ())
                    .map_err(|error| error.to_string())
            },
        )
        .await;
        server
    }

    /// Path of an identity's kubeconfig for this server.
    pub fn kubeconfig(&self, identity: Identity) -> PathBuf {
        self.directory.join(identity.kubeconfig_file())
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Freezes it: what it knows grows old.
    pub fn stop(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Thaws it.
    pub fn cont(&self) {
        self.process.signal(Signal::SIGCONT);
    }
}
