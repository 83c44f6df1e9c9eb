//! Bases that are held while other people change them, and nobody remembers what they were.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::held_or_released::are_held;
use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{apply_tier, eventually_status, policies_of, selecting};
use crate::harness::{ControlPlaneOptions, Controller, Observer, OwnControlPlane, eventually};

const LIMIT: [&str; 1] = ["--max-unprotected=1"];
const EGRESS: &str = "cofferdam-baseline-egress";

async fn patch_egress(admin: &Client, namespace: &str, patch: &Value) {
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), namespace);
    policies
        .patch(EGRESS, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

// A process that started took what had lost a label for somebody else's, and opened all of them at once. Held, a base kept what
// a tenant wrote into it: everybody was let in, under a name of ours.
#[tokio::test(flavor = "multi_thread")]
async fn bases_that_lost_a_label_are_held_and_one_that_lets_everybody_in_is_closed() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let admin = control_plane.admin().await;
    let mut controller = Controller::start(&control_plane, &LIMIT).await;
    apply_tier(&admin, "narrowed", &selecting("narrowed", "mode: Enforce\n")).await;
    let names = create_namespaces(&admin, "narrowed", &[("scenario", "narrowed")], 4).await;
    eventually_status(&admin, "narrowed", "all are protected", |status| {
        status.namespaces.is_some_and(|counts| counts.protected == 4)
    })
    .await;
    controller.signal_kill9();
    controller.wait_until_ended().await;
    for name in &names {
        let unlabelled = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
        patch_egress(&admin, name, &unlabelled).await;
    }
    let ingress_only = selecting("narrowed", "mode: Enforce\nisolate: [Ingress]\n");
    apply_tier(&admin, "narrowed", &ingress_only).await;

    controller = Controller::start(&control_plane, &LIMIT).await;
    are_held(&admin, "narrowed", 4).await;
    let tampered = &names[0];
    let lets_everybody_in = json!({"spec": {"policyTypes": ["Egress", "Ingress"], "ingress": [{}]}});
    patch_egress(&admin, tampered, &lets_everybody_in).await;
    eventually("what lets everybody in is closed", PATIENCE, || async {
        let standing = policies_of(&admin, tampered).await?;
        let spec = standing.get(EGRESS).and_then(|base| base.spec.as_ref()).ok_or("gone")?;
        let is_closed = spec.policy_types == Some(vec![String::from("Egress")]) && spec.ingress.is_none();
        is_closed.then_some(()).ok_or_else(|| format!("{spec:?}"))
    })
    .await;
    are_held(&admin, "narrowed", 4).await;
    for name in &names {
        assert_eq!(policies_of(&admin, name).await.unwrap().len(), 2, "{name}");
    }
    drop(controller);
    Observer::of(names).verdict(&control_plane).await;
}
