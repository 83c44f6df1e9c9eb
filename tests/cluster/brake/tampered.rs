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

/// Namespaces whose tier isolates ingress alone, since a change that was made while nobody ran.
struct Narrowed {
    control_plane: OwnControlPlane,
    admin: Client,
    _controller: Controller,
    names: Vec<String>,
}

impl Narrowed {
    /// So many of them, in each of which the egress base was patched meanwhile.
    async fn with(count: usize, patch: &Value) -> Self {
        let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
        let admin = control_plane.admin().await;
        let mut controller = Controller::start(&control_plane, &LIMIT).await;
        apply_tier(&admin, TIER, &selecting(TIER, "mode: Enforce\n")).await;
        let names = create_namespaces(&admin, TIER, &[("scenario", TIER)], count).await;
        eventually_status(&admin, TIER, "all are protected", |status| {
            status.namespaces.is_some_and(|counts| counts.protected == count as i64)
        })
        .await;
        controller.signal_kill9();
        controller.wait_until_ended().await;
        for name in &names {
            patch_egress(&admin, name, patch).await;
        }
        let ingress_only = selecting(TIER, "mode: Enforce\nisolate: [Ingress]\n");
        apply_tier(&admin, TIER, &ingress_only).await;
        Self {
            _controller: Controller::start(&control_plane, &LIMIT).await,
            control_plane,
            admin,
            names,
        }
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

async fn patch_egress(admin: &Client, namespace: &str, patch: &Value) {
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), namespace);
    policies
        .patch(EGRESS, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

fn lets_everybody_in() -> Value {
    json!({"spec": {"policyTypes": ["Egress", "Ingress"], "ingress": [{}]}})
}

// A process that started took what had lost a label for somebody else's, and opened all of them at once. Held, a base kept what
// a tenant wrote into it: everybody was let in, under a name of ours.
#[tokio::test(flavor = "multi_thread")]
async fn bases_that_lost_a_label_are_held_and_one_that_lets_everybody_in_is_closed() {
    let unlabelled = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    let narrowed = Narrowed::with(4, &unlabelled).await;
    let admin = &narrowed.admin;
    are_held(admin, TIER, 4).await;
    let tampered = &narrowed.names[0];
    patch_egress(admin, tampered, &lets_everybody_in()).await;
    eventually("what lets everybody in is closed", PATIENCE, || async {
        let standing = policies_of(admin, tampered).await?;
        let spec = standing.get(EGRESS).and_then(|base| base.spec.as_ref()).ok_or("gone")?;
        let is_closed = spec.policy_types == Some(vec![String::from("Egress")]) && spec.ingress.is_none();
        is_closed.then_some(()).ok_or_else(|| format!("{spec:?}"))
    })
    .await;
    let status = are_held(admin, TIER, 4).await;
    for name in &narrowed.names {
        assert_eq!(policies_of(admin, name).await.unwrap().len(), 2, "{name}");
    }
    run_the_command_of(&narrowed.control_plane, &status);
    for name in &narrowed.names {
        narrowed.is_released(name).await;
    }
    narrowed.verdict().await;
}

// Its own write brings no other look: the direction stayed shut until the next audit.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_was_closed_goes_at_once_where_nothing_holds_it() {
    let narrowed = Narrowed::with(1, &lets_everybody_in()).await;
    narrowed.is_released(&narrowed.names[0]).await;
    narrowed.verdict().await;
}
