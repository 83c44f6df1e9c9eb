//! What the story stands on: the servers, the controller, two people with a shell each, and waiting for conditions.

use std::collections::BTreeSet;
use std::path::Path;

use cofferdam::api::names::{MANAGED_BY, MANAGED_BY_LABEL, TIER_LABEL};
use cofferdam::api::{IsolationTier, NamespaceCounts};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::harness::eventually::PATIENCE;
use crate::harness::server_processes::binary;
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, eventually};
use crate::narrator::{Narrator, Shell};
use crate::stopwatch::Stopwatch;

/// Everything that runs; dropped, it ends.
pub struct Stage {
    narrator: Narrator,
    admin: Shell,
    tenant: Shell,
    /// The controller, before the servers, so that it ends before them.
    pub controller: Controller,
    /// The servers.
    pub control_plane: ControlPlane,
    /// Sees all that happened.
    pub since_the_start: Stopwatch,
}

impl Stage {
    /// The first step: starts the servers, installs what is shipped, starts the controller.
    pub async fn set(narrator: Narrator) -> Self {
        narrator.step("A Kubernetes control plane to throw away, and Cofferdam on it");
        let options = ControlPlaneOptions {
            install_config: false,
            // After the installation: it looks for new kinds only every 30 s.
            controller_manager: false,
            ..ControlPlaneOptions::default()
        };
        let mut control_plane = ControlPlane::start(options).await;
        let shell = |person, identity| Shell {
            person,
            tools: [binary("kubectl"), env!("CARGO_BIN_EXE_cofferdam").into()],
            kubeconfig: control_plane.kubeconfig(identity),
            home: control_plane.directory().to_owned(),
        };
        let (admin, tenant) = (shell("admin", Identity::Admin), shell("tenant", Identity::Tenant));
        let since_the_start = Stopwatch::start(control_plane.audit_log());
        narrator.say(
            "etcd, API server, namespace and garbage-collector controllers on loopback; no nodes, no network plugin.",
        );
        narrator.say("To look from another terminal meanwhile:");
        narrator.say(&format!(
            "  export KUBECONFIG={}",
            from_here(&admin.kubeconfig).display()
        ));
        narrator
            .run(&admin, "kubectl apply --server-side -k config/default")
            .await;
        control_plane.wait_until_installed().await;
        control_plane.start_controller_manager();
        narrator
            .say("There is no node for that Deployment: the controller runs as a process, with the identity of its");
        narrator.say("ServiceAccount, under the role above.");
        let controller = Controller::start(&control_plane, &[]).await;
        narrator.result(&format!("ready, says {}", controller.url("/readyz")));
        Self {
            narrator,
            admin,
            tenant,
            controller,
            control_plane,
            since_the_start,
        }
    }

    /// The last step: stops everything, and makes sure.
    pub async fn clear(self) {
        self.step("Stop");
        let mut pids = self.control_plane.pids();
        pids.push(self.controller.pid());
        let code = self.controller.sigterm().await;
        assert_eq!(code, 0, "expected the controller to end well when it is asked to");
        drop(self.control_plane);
        let is_alive = |pid: &u32| Path::new("/proc").join(pid.to_string()).exists();
        assert!(!pids.iter().any(is_alive), "expected {pids:?} to have ended");
        let text = format!(
            "the controller ended with exit code {code}; all {} processes are gone",
            pids.len()
        );
        self.narrator.result(&text);
    }

    /// A new step.
    pub fn step(&self, title: &str) {
        self.narrator.step(title);
    }

    /// A sentence about what comes.
    pub fn say(&self, text: &str) {
        self.narrator.say(text);
    }

    /// What came of it.
    pub fn result(&self, text: &str) {
        self.narrator.result(text);
    }

    /// Text as a program printed it.
    pub fn quote(&self, text: &str) {
        self.narrator.quote(text);
    }

    /// The administrator types a command.
    pub async fn admin(&self, command: &str) {
        self.narrator.run(&self.admin, command).await;
    }

    /// Somebody who may edit one namespace types a command.
    pub async fn tenant(&self, command: &str) {
        self.narrator.run(&self.tenant, command).await;
    }

    /// Every policy of ours.
    pub async fn policies(&self) -> Vec<NetworkPolicy> {
        let policies: Api<NetworkPolicy> = Api::all(self.control_plane.admin().await);
        let ours = ListParams::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
        policies.list(&ours).await.expect("listing as the admin").items
    }

    /// Waits until the statuses of baseline, open-egress and restricted count so many namespaces.
    pub async fn wait_for_tiers(&self, count: impl Fn(NamespaceCounts) -> i64, expected: [i64; 3]) {
        let tiers: Api<IsolationTier> = Api::all(self.control_plane.admin().await);
        eventually("the tiers say how many namespaces they have", PATIENCE, || async {
            let listed = tiers
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let counts = listed
                .items
                .into_iter()
                .map(|tier| tier.status.and_then(|status| status.namespaces));
            let counts: Vec<_> = counts.map(|counts| counts.map(&count)).collect();
            let reached = counts == expected.map(Some);
            reached
                .then_some(())
                .ok_or_else(|| format!("{counts:?}, not {expected:?}"))
        })
        .await;
    }

    /// Waits until all policies of a namespace are the tier's, and nothing else is left to write.
    pub async fn wait_for_policies_of(&self, namespace: &str, tier: &str) {
        // Only restricted has one for some pods.
        let expected = if tier == "restricted" { 3 } else { 2 };
        eventually(&format!("{namespace} is governed by {tier}"), PATIENCE, || async {
            let mut found = self.policies().await;
            found.retain(|policy| policy.namespace().as_deref() == Some(namespace));
            let moved = found
                .iter()
                .all(|policy| policy.labels().get(TIER_LABEL).is_some_and(|label| label == tier));
            let reached = moved && found.len() == expected;
            reached.then_some(()).ok_or_else(|| format!("{:?}", names(&found)))
        })
        .await;
        // The answer to the last write reaches the audit log a moment after the policy shows it.
        self.control_plane.audit_log().settled(&self.control_plane).await;
    }

    /// Waits until a namespace has so many Events: they are published beside the work.
    pub async fn wait_for_events(&self, namespace: &str, at_least: usize) {
        let events: Api<Event> = Api::namespaced(self.control_plane.admin().await, namespace);
        eventually("the Events are published", PATIENCE, || async {
            let listed = events
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let count = listed.items.len();
            (count >= at_least)
                .then_some(())
                .ok_or_else(|| format!("{count} Events"))
        })
        .await;
    }
}

/// `namespace/name` of each.
pub fn names(policies: &[NetworkPolicy]) -> BTreeSet<String> {
    let name = |policy: &NetworkPolicy| format!("{}/{}", policy.namespace().unwrap_or_default(), policy.name_any());
    policies.iter().map(name).collect()
}

/// Shorter, where the demo is run in the repository.
fn from_here(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}
