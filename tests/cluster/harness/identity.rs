//! Who speaks to the API server. Nobody but the admin is in `system:masters`: that group skips RBAC and hides a missing verb.

use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

/// User name of the controller, as its ServiceAccount would authenticate.
pub const CONTROLLER_USER: &str = "system:serviceaccount:cofferdam-system:cofferdam";

/// A user with a token and a kubeconfig.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// May do everything.
    Admin,
    /// The controller's ServiceAccount: may do what `config/rbac` grants.
    Controller,
    /// A person with the role `edit` in the namespaces that a scenario gives them.
    Tenant,
    /// kube-controller-manager; its own controllers are not what is tested, so it may do everything.
    ControllerManager,
}

impl Identity {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Controller, Self::Tenant, Self::ControllerManager];

    /// User name as audit events show it.
    pub fn user(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Controller => CONTROLLER_USER,
            Self::Tenant => "tenant",
            Self::ControllerManager => "system:kube-controller-manager",
        }
    }

    /// Groups, with commas between.
    pub fn groups(self) -> &'static str {
        match self {
            Self::Admin | Self::ControllerManager => "system:masters",
            Self::Controller => "system:serviceaccounts,system:serviceaccounts:cofferdam-system,system:authenticated",
            Self::Tenant => "system:authenticated",
        }
    }

    /// The bearer token.
    // Fixed, and no secret: the server listens on loopback and lives as long as the test process.
    pub fn token(self) -> String {
        format!("token-of-{self:?}")
    }

    /// File name of the kubeconfig in the control plane's directory.
    pub fn kubeconfig_file(self) -> String {
        format!("{self:?}.kubeconfig").to_lowercase()
    }
}

/// The content of `--token-auth-file`.
pub fn token_auth_file() -> String {
    Identity::ALL
        .iter()
        .map(|identity| {
            format!(
                "{},{},{},\"{}\"\n",
                identity.token(),
                identity.user(),
                identity.user(),
                identity.groups()
            )
        })
        .collect()
}

/// A kubeconfig; YAML is a superset of JSON.
pub fn kubeconfig(identity: Identity, server: &str, certificate_authority: &Path) -> String {
    kubeconfig_of(
        identity,
        &json!({"server": server, "certificate-authority": certificate_authority}),
    )
}

/// A kubeconfig for a server that speaks plain HTTP.
pub fn kubeconfig_without_tls(identity: Identity, server: &str) -> String {
    kubeconfig_of(identity, &json!({"server": server}))
}

fn kubeconfig_of(identity: Identity, cluster: &Value) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": identity.user(), "user": {"token": identity.token()}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": identity.user()}}],
        "current-context": "test",
    })
    .to_string()
}

/// A client from a kubeconfig file, bound to the runtime that calls this: a client's worker task ends with its runtime,
/// so tests, each with a runtime of its own, must not share one.
pub async fn client_from(kubeconfig: &Path) -> Result<Client, String> {
    // Several crypto providers may be compiled in; an error says that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = Kubeconfig::read_from(kubeconfig).map_err(|error| error.to_string())?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(|error| error.to_string())?;
    Client::try_from(config).map_err(|error| error.to_string())
}
