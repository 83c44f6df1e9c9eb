//! Bases that are held while other people change them, and nobody remembers what they were.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use k8s_openapi::api::networking::v1::NetworkPolicy;

use cofferdam::api::Direction;

use super::held_or_released::are_held;
use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{apply_tier, eventually_status, policies_of, selecting};
use crate::harness::{ControlPlaneOptions, Controller, Observer, OwnControlPlane, eventually};

const LIMIT: [&str; 1] = ["--max-unprotected=1"];
const EGRESS: &str = "cofferdam-baseline-egress";

async fn change(admin: &Client, namespace: &str, change: &Value) {
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), namespace);
    policies
        .patch(EGRESS, &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
}

// A process that started took what had lost a label for somebody else's, and opened all of them at once. Held, a base kept what
// a tenant wrote into it: everybody was let in, under a name of ours.
#[tokio::test(flavor = "multi_thread")]
async fn bases_that_lost_a_label_are_held_and_one_that_lets_everybody_in_is_not() {
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
        change(&admin, name, &unlabelled).await;
    }
    let ingress_only = selecting("narrowed", "mode: Enforce\nisolate: [Ingress]\n");
    apply_tier(&admin, "narrowed", &ingress_only).await;

    controller = Controller::start(&control_plane, &LIMIT).await;
    are_held(&admin, "narrowed", 4).await;
    let (tampered, others) = names.split_first().unwrap();
    let lets_everybody_in = json!({"spec": {"policyTypes": ["Egress", "Ingress"], "ingress": [{}]}});
    change(&admin, tampered, &lets_everybody_in).await;
    eventually("what lets everybody in is gone", PATIENCE, || async {
        let left = policies_of(&admin, tampered).await?.len();
        (left == 1).then_some(()).ok_or_else(|| format!("{left} policies"))
    })
    .await;
    are_held(&admin, "narrowed", 3).await;
    for name in others {
        assert_eq!(policies_of(&admin, name).await.unwrap().len(), 2, "{name}");
    }
    drop(controller);
    let observer = Observer::of(names.iter().cloned()).expect_release(tampered, Direction::Egress);
    observer.verdict(&control_plane).await;
}
