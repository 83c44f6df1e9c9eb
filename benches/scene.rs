//! What every measurement stands on: the servers, the governed namespaces, the tier, the bytes that the controller writes.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::connection::{Prepared, Server};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity};
use crate::load::send_all;
use crate::policy_bytes::{PolicyBytes, path};
use crate::sightings::{Seen, Sightings};
use crate::table::progress;
use crate::watch_events::Kind;
use crate::write_counts::WriteCounts;

/// Connections of whatever is not measured, and writes in flight of the controller: its default.
pub const CONNECTIONS: usize = 32;
/// Far above what anything takes.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A status is written at most once a second: what comes after a pause twice as long belongs to something else.
const QUIET: Duration = Duration::from_secs(2);

const TIER: &str = "/apis/cofferdam.dev/v1alpha1/isolationtiers/bench";

/// Label of the namespaces that the tier selects.
pub const GOVERNED: &str = "governed";
/// Label of the namespaces that a raw loop protects.
pub const RAW: &str = "raw";

/// One server, one tier, and who looks on.
pub struct Scene {
    /// First, so that its watches end before what they watch.
    pub sightings: Sightings,
    pub control_plane: ControlPlane,
    pub admin: Server,
    /// Raw requests come as the controller, so that the server treats them alike.
    pub raw: Server,
    /// The governed namespaces that every round of the bulk measurements uses.
    pub namespaces: Vec<String>,
    /// What the controller writes, for each state of the tier.
    pub bytes: [PolicyBytes; 2],
    /// Which state the tier is in.
    pub state: usize,
}

impl Scene {
    /// Starts the servers, creates the namespaces and has the controller write once, which is the warm-up too.
    pub async fn set(count: usize) -> Self {
        progress("starting the control plane");
        let control_plane = ControlPlane::start(ControlPlaneOptions {
            controller_manager: false, // its collector and its caches would take from the two that are compared
            audit: false,
            ..ControlPlaneOptions::default()
        })
        .await;
        let admin = Server::of(&control_plane.kubeconfig(Identity::Admin));
        let raw = Server::of(&control_plane.kubeconfig(Identity::Controller));
        let sightings = Sightings::start(&admin).await;
        progress(&format!("creating {count} namespaces"));
        let namespaces: Vec<String> = (0..count).map(|number| format!("governed-{number:05}")).collect();
        create_namespaces(&admin, &namespaces, GOVERNED).await;
        let tier = json!({
            "apiVersion": "cofferdam.dev/v1alpha1",
            "kind": "IsolationTier",
            "metadata": {"name": "bench"},
            "spec": {"namespaceSelector": {"matchLabels": {"bench": GOVERNED}}, "mode": "Enforce", "allow": allow(0)},
        });
        let collection = TIER.trim_end_matches("/bench");
        admin.ask(Method::POST, collection, tier.to_string()).await;
        progress("warming up, and taking the bytes that the controller writes");
        let controller = Controller::start(&control_plane, &[]).await;
        sightings.rate("the warm-up writes", 0, Kind::Added, 2 * count).await;
        let first = PolicyBytes::written_in(&admin, &namespaces[0]).await;
        let mut scene = Self {
            control_plane,
            admin,
            raw,
            sightings,
            namespaces,
            bytes: [first.clone(), first],
            state: 0,
        };
        let mark = scene.sightings.mark();
        scene.edit_tier().await;
        scene
            .sightings
            .rate("the tier edit arrives", mark, Kind::Modified, 2 * count)
            .await;
        scene.bytes[1] = PolicyBytes::written_in(&scene.admin, &scene.namespaces[0]).await;
        assert_ne!(
            scene.bytes[0].specs(),
            scene.bytes[1].specs(),
            "the edit changes both policies"
        );
        scene.quiet().await;
        assert_eq!(controller.sigterm().await, 0, "the controller ends in order");
        scene.clear().await;
        scene
    }

    /// The bytes of the tier as it stands.
    pub fn current_bytes(&self) -> &PolicyBytes {
        &self.bytes[self.state]
    }

    /// The bytes that the next edit of the tier leads to.
    pub fn other_bytes(&self) -> &PolicyBytes {
        &self.bytes[1 - self.state]
    }

    /// Edits the tier so that every policy changes.
    pub async fn edit_tier(&mut self) {
        self.state = 1 - self.state;
        let patch = json!({"spec": {"allow": allow(self.state)}});
        self.admin.ask(Method::PATCH, TIER, patch.to_string()).await;
    }

    /// Starts the controller and waits until every governed namespace is protected and nothing more is written.
    pub async fn start_converged(&self) -> Controller {
        // What a raw loop writes claims our tier as its owner, so the controller would rightly delete it elsewhere.
        let arguments = ["--exempt-namespace", "raw-*"];
        let controller = Controller::start(&self.control_plane, &arguments).await;
        let all = 2 * self.namespaces.len();
        let stand = |seen: &Seen| (seen.policies.len() >= all).then_some(());
        self.sightings
            .wait("all namespaces are protected", PATIENCE, stand)
            .await;
        self.quiet().await;
        controller
    }

    /// Waits until the API server has counted no write for a while, and gives the counts as of then. Not by the tier's
    /// status: what it says may be of a run before.
    pub async fn quiet(&self) -> WriteCounts {
        let deadline = Instant::now() + PATIENCE;
        let (mut counts, mut since) = (WriteCounts::read(&self.admin).await, Instant::now());
        while since.elapsed() < QUIET {
            assert!(Instant::now() < deadline, "writes do not end: {counts:?}");
            tokio::time::sleep(QUIET / 8).await;
            let now = WriteCounts::read(&self.admin).await;
            if now != counts {
                (counts, since) = (now, Instant::now());
            }
        }
        counts
    }

    /// Deletes every policy of the governed namespaces; nobody puts them back while no controller runs.
    pub async fn clear(&self) {
        let delete = |namespace: &String| Prepared {
            method: Method::DELETE,
            path: path(namespace, None),
            body: Default::default(),
        };
        let requests = self.namespaces.iter().map(delete).collect();
        send_all(&self.admin, CONNECTIONS, requests, StatusCode::OK).await;
        let governed = |seen: &Seen| {
            let left = seen
                .policies
                .keys()
                .any(|(namespace, _)| namespace.starts_with("governed-"));
            (!left).then_some(())
        };
        self.sightings.wait("every policy is deleted", PATIENCE, governed).await;
    }
}

/// Creates namespaces as fast as it goes.
pub async fn create_namespaces(admin: &Server, names: &[String], label: &str) {
    let create = |name: &String| Prepared {
        method: Method::POST,
        path: String::from("/api/v1/namespaces"),
        body: json!({"metadata": {"name": name, "labels": {"bench": label}}})
            .to_string()
            .into(),
    };
    let connections = CONNECTIONS.min(names.len());
    send_all(
        admin,
        connections,
        names.iter().map(create).collect(),
        StatusCode::CREATED,
    )
    .await;
}

// Between the two states the ports of one allowance change, which is part of both base policies.
fn allow(state: usize) -> Value {
    json!([
        {"name": "dns", "preset": "DNS"},
        {"name": "api-server", "preset": "KubeAPIServer"},
        {"name": "same-namespace", "preset": "SameNamespace", "ports": [{"port": 8080 + state}]},
        {
            "name": "from-ingress",
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}],
            "ports": [{"port": 8080}],
        },
    ])
}
