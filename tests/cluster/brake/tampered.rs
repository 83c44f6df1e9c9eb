//! Bases that are held while other people change them, and nobody remembers what they were.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::held_or_released::{are_held, run_the_command_of, verdict};
use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{apply_tier, eventually_status, policies_of, selecting};
use crate::harness::{ControlPlaneOptions, Controller, OwnControlPlane, eventually};

const LIMIT: [&str; 1] = ["--max-unprotected=1"];
const TIER: &str = "narrowed";
const EGRESS: &str = "cofferdam-baseline-egress";

/// Namespaces of one tier.
struct Scene {
    control_plane: OwnControlPlane,
    admin: Client,
    controller: Controller,
    names: Vec<String>,
}

impl Scene {
    /// So many of them, isolated in both directions.
    async fn with(count: usize) -> Self {
        let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
        let admin = control_plane.admin().await;
        let controller = Controller::start(&control_plane, &LIMIT).await;
        apply_tier(&admin, TIER, &selecting(TIER, "mode: Enforce\n")).await;
        let names = create_namespaces(&admin, TIER, &[("scenario", TIER)], count).await;
        eventually_status(&admin, TIER, "all are protected", |status| {
            status.namespaces.is_some_and(|counts| counts.protected == count as i64)
        })
        .await;
        Self {
            control_plane,
            admin,
            controller,
            names,
        }
    }

    async fn isolate_only_ingress(&self, mode: &str) {
        let rest = format!("mode: {mode}\nisolate: [Ingress]\n");
        apply_tier(&self.admin, TIER, &selecting(TIER, &rest)).await;
    }

    async fn patch_egress(&self, name: &str, patch: &Value) {
        let policies: Api<NetworkPolicy> = Api::namespaced(self.admin.clone(), name);
        policies
            .patch(EGRESS, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    async fn is_released(&self, name: &str) {
        eventually("the egress base is gone", PATIENCE, || async {
            let left = policies_of(&self.admin, name).await?.len();
            (left == 1).then_some(()).ok_or_else(|| format!("{left} policies"))
        })
        .await;
    }

    async fn verdict(self) {
        let released = self.names.iter().map(|name| (name.clone(), EGRESS.to_owned()));
        verdict(&self.control_plane, &self.names, &released.collect()).await;
    }
}

fn lets_everybody_in() -> Value {
    json!({"spec": {"policyTypes": ["Egress", "Ingress"], "ingress": [{}]}})
}

// A process that started took what had lost a label for somebody else's, and opened all of them at once. Held, a base kept what
// a tenant wrote into it: everybody was let in, under a name of ours.
#[tokio::test(flavor = "multi_thread")]
async fn bases_that_lost_a_label_are_held_and_one_that_lets_everybody_in_is_closed() {
    let mut scene = Scene::with(4).await;
    scene.controller.signal_kill9();
    scene.controller.wait_until_ended().await;
    for name in &scene.names {
        let unlabelled = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
        scene.patch_egress(name, &unlabelled).await;
    }
    scene.isolate_only_ingress("Enforce").await;
    scene.controller = Controller::start(&scene.control_plane, &LIMIT).await;
    are_held(&scene.admin, TIER, 4).await;
    let tampered = &scene.names[0];
    scene.patch_egress(tampered, &lets_everybody_in()).await;
    eventually("what lets everybody in is closed", PATIENCE, || async {
        let standing = policies_of(&scene.admin, tampered).await?;
        let spec = standing.get(EGRESS).and_then(|base| base.spec.as_ref()).ok_or("gone")?;
        let is_closed = spec.policy_types == Some(vec![String::from("Egress")]) && spec.ingress.is_none();
        is_closed.then_some(()).ok_or_else(|| format!("{spec:?}"))
    })
    .await;
    let status = are_held(&scene.admin, TIER, 4).await;
    for name in &scene.names {
        assert_eq!(policies_of(&scene.admin, name).await.unwrap().len(), 2, "{name}");
    }
    run_the_command_of(&scene.control_plane, &status);
    for name in &scene.names {
        scene.is_released(name).await;
    }
    scene.verdict().await;
}

// Far before the next audit: nobody wants the direction shut.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_was_closed_goes_at_once_where_nothing_holds_it() {
    let scene = Scene::with(1).await;
    // While it only observes, nobody wants anything of it.
    scene.isolate_only_ingress("Observe").await;
    eventually_status(&scene.admin, TIER, "it observes", |status| {
        status.namespaces.is_some_and(|counts| counts.protected == 0)
    })
    .await;
    scene.patch_egress(&scene.names[0], &lets_everybody_in()).await;
    scene.isolate_only_ingress("Enforce").await;
    scene.is_released(&scene.names[0]).await;
    scene.verdict().await;
}
