//! The command lines of the servers, and the files that they read.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::control_plane::ControlPlaneOptions;
use super::free_port::free_port;
use super::identity::{self, Identity};
use super::owned_process::OwnedProcess;

/// Path of a server or of kubectl.
pub fn binary(name: &str) -> PathBuf {
    let directory = std::env::var_os("COFFERDAM_CONTROL_PLANE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/control-plane"),
        PathBuf::from,
    );
    directory.join(name)
}

/// Fails, with the command that helps, where a binary lacks.
pub fn require_binaries() {
    for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"] {
        let path = binary(name);
        assert!(
            path.is_file(),
            "expected the test control plane at {}, found nothing. Build it: make control-plane",
            path.display()
        );
    }
}

/// Writes what kube-apiserver reads at its start.
pub fn write_server_files(directory: &Path) {
    let write = |name: &str, content: &str| {
        std::fs::write(directory.join(name), content).unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
    };
    write("tokens.csv", &identity::token_auth_file());
    write("audit-policy.yaml", include_str!("audit-policy.yaml"));
}

/// Writes a kubeconfig for each identity.
// The server certificate that kube-apiserver makes for itself comes in a file with the authority that signed it.
pub fn write_kubeconfigs(directory: &Path, port: u16) {
    for identity in Identity::ALL {
        let content = identity::kubeconfig(
            identity,
            &format!("https://127.0.0.1:{port}"),
            &directory.join("certificates/apiserver.crt"),
        );
        std::fs::write(directory.join(identity.kubeconfig_file()), content).expect("writing a kubeconfig");
    }
}

// `--name=value` where the value may be a path.
fn flag(command: &mut Command, name: &str, value: impl AsRef<OsStr>) {
    let mut argument = OsString::from(format!("--{name}="));
    argument.push(value);
    command.arg(argument);
}

/// Starts etcd for clients on `port`.
pub fn start_etcd(directory: &Path, port: u16) -> OwnedProcess {
    let client_url = format!("http://127.0.0.1:{port}");
    let peer_url = format!("http://127.0.0.1:{}", free_port());
    let mut command = Command::new(binary("etcd"));
    flag(&mut command, "data-dir", directory.join("etcd"));
    flag(&mut command, "listen-client-urls", &client_url);
    flag(&mut command, "advertise-client-urls", &client_url);
    flag(&mut command, "listen-peer-urls", &peer_url);
    flag(&mut command, "initial-advertise-peer-urls", &peer_url);
    flag(&mut command, "initial-cluster", format!("default={peer_url}"));
    flag(&mut command, "log-level", "warn");
    // Nothing here has to survive the machine.
    command.arg("--unsafe-no-fsync");
    OwnedProcess::spawn("etcd", &command, directory.join("etcd.log"))
}

/// Starts kube-apiserver with RBAC on `port`.
pub fn start_api_server(directory: &Path, port: u16, etcd_port: u16, options: &ControlPlaneOptions) -> OwnedProcess {
    let certificates = directory.join("certificates");
    let mut command = Command::new(binary("kube-apiserver"));
    flag(&mut command, "etcd-servers", format!("http://127.0.0.1:{etcd_port}"));
    flag(&mut command, "bind-address", "127.0.0.1");
    flag(&mut command, "secure-port", port.to_string());
    flag(&mut command, "cert-dir", &certificates);
    flag(&mut command, "service-cluster-ip-range", "10.0.0.0/24");
    flag(&mut command, "allow-privileged", "true");
    flag(&mut command, "authorization-mode", "RBAC");
    flag(&mut command, "token-auth-file", directory.join("tokens.csv"));
    // Pods would wait for ServiceAccounts that no controller makes here.
    flag(&mut command, "disable-admission-plugins", "ServiceAccount");
    flag(&mut command, "service-account-issuer", "https://kubernetes.default.svc");
    // The server insists on a key for tokens that nobody here asks for; the one of its certificate will do.
    flag(
        &mut command,
        "service-account-key-file",
        certificates.join("apiserver.key"),
    );
    flag(
        &mut command,
        "service-account-signing-key-file",
        certificates.join("apiserver.key"),
    );
    // Its own address would be a loopback one, which no EndpointSlice may hold: cluster_facts creates a plausible one.
    flag(&mut command, "endpoint-reconciler-type", "none");
    if options.audit {
        flag(&mut command, "audit-policy-file", directory.join("audit-policy.yaml"));
        flag(&mut command, "audit-log-path", directory.join("audit.log"));
        flag(&mut command, "audit-log-mode", "blocking-strict");
        // Rotation would take the file away from under its reader.
        flag(&mut command, "audit-log-maxsize", "0");
    }
    command.args(&options.api_server_flags);
    OwnedProcess::spawn("kube-apiserver", &command, directory.join("kube-apiserver.log"))
}

/// Starts the namespace and garbage-collector controllers.
pub fn start_controller_manager(directory: &Path) -> OwnedProcess {
    let kubeconfig = directory.join(Identity::ControllerManager.kubeconfig_file());
    let mut command = Command::new(binary("kube-controller-manager"));
    flag(&mut command, "kubeconfig", &kubeconfig);
    flag(
        &mut command,
        "controllers",
        "namespace-controller,garbage-collector-controller",
    );
    flag(&mut command, "leader-elect", "false");
    flag(&mut command, "use-service-account-credentials", "false");
    // Nobody asks it anything, so no port that could collide.
    flag(&mut command, "secure-port", "0");
    // The default of 20 a second makes a scenario that deletes many namespaces wait for nothing.
    flag(&mut command, "kube-api-qps", "200");
    flag(&mut command, "kube-api-burst", "400");
    OwnedProcess::spawn(
        "kube-controller-manager",
        &command,
        directory.join("kube-controller-manager.log"),
    )
}
