//! Where plans are played: a control plane of its own, the proxy, one controller behind it, and three namespaces that are
//! wiped between two plans.

use std::time::{Duration, Instant};

use cofferdam::api::IsolationTier;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::end_state;
use crate::harness::cluster_facts;
use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::set_labels;
use crate::harness::{ControlPlaneOptions, Controller, FaultProxy, OwnControlPlane};

/// The namespaces of every stage. Tiers of workloads select `alpha` and `beta`; `gamma` is nobody's.
pub const NAMESPACES: [&str; 3] = ["alpha", "beta", "gamma"];

/// A policy of the tenant in each of them, which nobody may touch.
pub const FOREIGN: &str = "tenants-own";

// Past the longest back-off that a handful of failures brings about, two deadlines of a request, and the minute after which
// a watch that has gone silent is opened anew.
const CONVERGES_WITHIN: Duration = Duration::from_secs(120);
/// What follows from a write follows at once; a status is up to a second behind.
const QUIET: Duration = Duration::from_millis(400);

/// A control plane with a proxy and a controller.
pub struct Stage {
    /// The servers.
    pub control_plane: OwnControlPlane,
    /// Between them and the controller.
    pub proxy: FaultProxy,
    /// May do everything, not through the proxy.
    pub admin: Client,
    controller: Option<Controller>,
    arguments: Vec<&'static str>,
    /// Whether a workload changed what presets resolve to.
    pub facts_changed: bool,
}

impl Stage {
    /// Starts the servers and creates the namespaces.
    pub async fn start() -> Self {
        Self::on(OwnControlPlane::start(ControlPlaneOptions::default()).await).await
    }

    /// As [`Self::start`], where nothing but stages runs.
    pub async fn start_beyond_the_places() -> Self {
        Self::on(OwnControlPlane::start_beyond_the_places(ControlPlaneOptions::default()).await).await
    }

    async fn on(control_plane: OwnControlPlane) -> Self {
        let admin = control_plane.admin().await;
        for namespace in NAMESPACES {
            create_namespace(&admin, namespace, &[]).await;
        }
        let proxy = FaultProxy::start(&control_plane).await;
        Self {
            control_plane,
            proxy,
            admin,
            controller: None,
            arguments: Vec::new(),
            facts_changed: false,
        }
    }

    /// The policies of a namespace, for whoever changes them.
    pub fn policies(&self, namespace: &str) -> Api<NetworkPolicy> {
        Api::namespaced(self.admin.clone(), namespace)
    }

    /// Every tier.
    pub fn tiers(&self) -> Api<IsolationTier> {
        Api::all(self.admin.clone())
    }

    /// Ends the controller, removes everything that a plan made, and gives back where the audit log stands.
    pub async fn wipe(&mut self) -> usize {
        self.controller = None;
        self.proxy.lift_all();
        self.proxy.forget_story();
        self.delete_tiers().await;
        self.delete_other_namespaces().await;
        for namespace in NAMESPACES {
            set_labels(&self.admin, namespace, json!({"scenario": null})).await;
            self.delete_policies(namespace).await;
        }
        if self.facts_changed {
            cluster_facts::create(&self.control_plane);
        }
        self.facts_changed = false;
        let mark = self.control_plane.audit_log().settled(&self.control_plane).await.len();
        for namespace in NAMESPACES {
            let foreign =
                json!({"metadata": {"name": FOREIGN}, "spec": {"podSelector": {"matchLabels": {"own": "yes"}}}});
            self.create_policy(namespace, foreign).await;
        }
        mark
    }

    /// Starts the controller with these arguments and waits until it is ready.
    pub async fn start_controller(&mut self, arguments: &[&'static str]) {
        self.arguments = arguments.to_vec();
        self.controller = Some(Controller::start_through(&self.proxy, &self.arguments).await);
    }

    /// Ends the controller and starts it anew, without waiting until it is ready.
    pub fn restart_controller(&mut self) {
        self.controller = None;
        self.controller = Some(Controller::spawn_through(&self.proxy, &self.arguments));
    }

    /// What the controller logged last.
    pub fn controller_log_tail(&self) -> String {
        self.controller
            .as_ref()
            .map(|controller| controller.log_tail(25))
            .unwrap_or_default()
    }

    /// Creates a policy as a tenant would.
    pub async fn create_policy(&self, namespace: &str, policy: Value) {
        let policy = serde_json::from_value(policy).expect("a policy of ours");
        self.policies(namespace)
            .create(&PostParams::default(), &policy)
            .await
            .unwrap_or_else(|error| panic!("cannot create a policy in {namespace}: {error}"));
    }

    /// Changes a policy as a tenant would.
    pub async fn patch_policy(&self, namespace: &str, name: &str, patch: Value) {
        self.policies(namespace)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap_or_else(|error| panic!("cannot patch {namespace}/{name}: {error}"));
    }

    /// Waits until the cluster is what tiers, namespaces and facts ask for, the tiers say so, and the controller is quiet. A
    /// controller that a fault killed is started again.
    ///
    /// # Errors
    /// What differs when patience ends.
    pub async fn settle(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + CONVERGES_WITHIN;
        let mut right_since: Option<Instant> = None;
        loop {
            self.bring_to_life().await?;
            let seen = match end_state::difference(&self.admin).await {
                None => {
                    let since = *right_since.get_or_insert_with(Instant::now);
                    let quiet = self.proxy.quiet_for().min(since.elapsed());
                    if quiet >= QUIET {
                        return Ok(());
                    }
                    format!("right, but the last write was {quiet:?} ago")
                }
                Some(difference) => {
                    right_since = None;
                    difference
                }
            };
            if Instant::now() > deadline {
                return Err(format!(
                    "expected to converge within {CONVERGES_WITHIN:?}; last seen: {seen}"
                ));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Starts a controller that a fault killed again.
    ///
    /// # Errors
    /// When it ended by itself.
    pub async fn bring_to_life(&mut self) -> Result<(), String> {
        let crashed = self.proxy.has_crashed();
        let Some(controller) = self.controller.as_mut() else {
            return Ok(());
        };
        if crashed {
            controller.wait_until_ended().await;
            self.restart_controller();
        } else if let Some(status) = controller.ended() {
            return Err(format!("the controller ended by itself: {status}"));
        }
        Ok(())
    }

    async fn delete_tiers(&self) {
        let tiers = self.tiers();
        // What is stored may have a finalizer, and nobody runs who would take it off.
        let list = tiers
            .list_metadata(&ListParams::default())
            .await
            .expect("listing tiers");
        for tier in list.items {
            let strip = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            let name = tier.name_any();
            let _ = tiers.patch_metadata(&name, &PatchParams::default(), &strip).await;
            let _ = tiers.delete(&name, &DeleteParams::default()).await;
        }
        eventually("no tier is left", PATIENCE, || async {
            let left = tiers
                .list_metadata(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            if left.items.is_empty() {
                Ok(())
            } else {
                Err(format!("{} tiers", left.items.len()))
            }
        })
        .await;
    }

    async fn delete_other_namespaces(&self) {
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let others = || async {
            let list = namespaces
                .list_metadata(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let kept = |name: &String| NAMESPACES.contains(&name.as_str()) || name.starts_with("kube-");
            let names = list.items.into_iter().map(|namespace| namespace.name_any());
            let kept_too = ["default", "cofferdam-system"];
            Ok::<Vec<String>, String>(
                names
                    .filter(|name| !kept(name) && !kept_too.contains(&name.as_str()))
                    .collect(),
            )
        };
        for name in others().await.expect("listing namespaces") {
            let _ = namespaces.delete(&name, &DeleteParams::default()).await;
        }
        eventually("no other namespace is left", PATIENCE, || async {
            let left = others().await?;
            if left.is_empty() { Ok(()) } else { Err(left.join(" ")) }
        })
        .await;
    }

    async fn delete_policies(&self, namespace: &str) {
        let all = (DeleteParams::default(), ListParams::default());
        self.policies(namespace)
            .delete_collection(&all.0, &all.1)
            .await
            .expect("deleting policies as the admin");
    }
}
