//! Tiers end, are replaced and come back, and so does their definition: what they protected stays protected.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, PropagationPolicy};
use kube::{Api, Client, ResourceExt};

use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::scenario_tiers::{
    BOTH_BASES, ONE_WRITE_A_DIRECTION, apply_tier, delete_tier, eventually_governed, eventually_policies,
    eventually_ready, mark, policies_of, selecting, settled_writes, tier_uid,
};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Observer, OwnControlPlane, eventually};

const CRD: &str = "isolationtiers.cofferdam.dev";
const SAME: &str = "mode: Enforce\nallow:\n- {name: same, preset: SameNamespace}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tier_hands_over_to_the_next_in_place() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let namespace = unique_name("handed-over");
    let (first, next) = (format!("{namespace}-first"), format!("{namespace}-next"));
    apply_tier(&admin, &next, &selecting(&namespace, "mode: Enforce")).await;
    apply_tier(
        &admin,
        &first,
        &selecting(&namespace, &format!("precedence: 9\n{SAME}")),
    )
    .await;
    create_namespace(&admin, &namespace, &[("scenario", &namespace)]).await;
    eventually_governed(&admin, &namespace, &first, &BOTH_BASES).await;

    let start = mark(control_plane).await;
    delete_tier(&admin, &first, PropagationPolicy::Background).await;
    eventually_governed(&admin, &namespace, &next, &BOTH_BASES).await;
    assert_eq!(
        committed(settled_writes(control_plane, start, &namespace).await),
        ONE_WRITE_A_DIRECTION
    );
    Observer::of([namespace]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_replaced_by_force_takes_its_policies_over_in_place() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("forced");
    let spec = selecting(&tier, SAME);
    let before = apply_tier(&admin, &tier, &spec).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;

    let start = mark(control_plane).await;
    let indented = spec.replace('\n', "\n  ");
    let manifest = format!(
        "apiVersion: cofferdam.dev/v1alpha1\nkind: IsolationTier\nmetadata: {{name: {tier}}}\nspec:\n  {indented}\n"
    );
    control_plane
        .kubectl_with_input(&["replace", "--force", "--filename=-"], &manifest)
        .expect_success();
    assert_ne!(tier_uid(&admin, &tier).await, before);
    eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;
    assert_eq!(
        committed(settled_writes(control_plane, start, &tier).await),
        ONE_WRITE_A_DIRECTION
    );
    let status = eventually_ready(&admin, &tier).await;
    assert_eq!(status.namespaces.unwrap().protected, 1);
    Observer::of([tier]).verdict(control_plane).await;
}

// The usual single owner would lose every policy to the garbage collector here.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_tier_deleted_in_any_cascade_mode_leaves_its_policies_to_the_next() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let namespace = "payments";
    create_namespace(&admin, namespace, &[("scenario", namespace)]).await;
    let spec = selecting(namespace, SAME);
    let mut uid = apply_tier(&admin, "last", &spec).await;
    let created = eventually_governed(&admin, namespace, "last", &BOTH_BASES).await;

    for cascade in [
        PropagationPolicy::Background,
        PropagationPolicy::Foreground,
        PropagationPolicy::Orphan,
    ] {
        let start = mark(&control_plane).await;
        delete_tier(&admin, "last", cascade.clone()).await;
        eventually_collected(&admin, namespace, &uid).await;
        let none: [&str; 0] = [];
        assert_eq!(
            settled_writes(&control_plane, start, namespace).await,
            none,
            "{cascade:?}"
        );
        assert_same_objects(&created, &policies_of(&admin, namespace).await.unwrap());
        controller
            .eventually_metrics("both policies count as retained", |metrics| {
                match metrics.value("cofferdam_policies", &[("state", "retained")]) {
                    Some(2.0) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;

        uid = apply_tier(&admin, "last", &spec).await;
        let taken_over = eventually_governed(&admin, namespace, "last", &BOTH_BASES).await;
        assert_same_objects(&created, &taken_over);
        assert_eq!(
            settled_writes(&control_plane, start, namespace).await,
            ONE_WRITE_A_DIRECTION,
            "{cascade:?}"
        );
    }
    Observer::of([namespace]).verdict(&control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definition_deleted_leaves_every_policy_and_tiers_that_come_back_take_over() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let namespace = "payments";
    create_namespace(&admin, namespace, &[("scenario", namespace)]).await;
    let spec = selecting(namespace, SAME);
    let uid = apply_tier(&admin, "last", &spec).await;
    let created = eventually_governed(&admin, namespace, "last", &BOTH_BASES).await;

    let start = mark(&control_plane).await;
    Api::<CustomResourceDefinition>::all(admin.clone())
        .delete(CRD, &DeleteParams::default())
        .await
        .unwrap();
    eventually("the controller says what is missing", PATIENCE, || async {
        let (status, body) = controller.get("/readyz").map_err(|error| error.to_string())?;
        if status == 503 && body.contains(CRD) {
            Ok(())
        } else {
            Err(format!("{status} {body}"))
        }
    })
    .await;
    eventually_collected(&admin, namespace, &uid).await;
    // Nobody governs it any more: what comes now is left alone, and what stood there stays.
    create_namespace(&admin, "newcomer", &[("scenario", namespace)]).await;
    let none: [&str; 0] = [];
    assert_eq!(settled_writes(&control_plane, start, namespace).await, none);
    assert_eq!(settled_writes(&control_plane, start, "newcomer").await, none);
    assert_same_objects(&created, &policies_of(&admin, namespace).await.unwrap());

    control_plane.install_config().await;
    apply_tier(&admin, "last", &spec).await;
    let taken_over = eventually_governed(&admin, namespace, "last", &BOTH_BASES).await;
    assert_same_objects(&created, &taken_over);
    eventually_governed(&admin, "newcomer", "last", &BOTH_BASES).await;
    assert_eq!(
        settled_writes(&control_plane, start, namespace).await,
        ONE_WRITE_A_DIRECTION
    );
    eventually_ready(&admin, "last").await;
    Observer::of([namespace, "newcomer"]).verdict(&control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_is_missing_at_the_start_is_waited_for() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions {
        install_config: false,
        controller_manager: false,
        ..ControlPlaneOptions::default()
    })
    .await;
    let admin = control_plane.admin().await;
    create_namespace(&admin, "cofferdam-system", &[]).await;
    control_plane
        .kubectl(&["apply", "--server-side", "-k", "config/rbac"])
        .expect_success();
    create_namespace(&admin, "payments", &[("scenario", "payments")]).await;
    let mut controller = Controller::spawn(&control_plane, &[]);
    eventually("only the definition is missing", PATIENCE, || async {
        let (status, body) = controller.get("/readyz").map_err(|error| error.to_string())?;
        let missing: Vec<_> = body.lines().filter(|line| line.contains(": ")).collect();
        if status == 503 && missing.len() == 1 && missing[0].contains(CRD) {
            Ok(())
        } else {
            Err(format!("{status} {body}"))
        }
    })
    .await;
    assert_eq!(controller.get("/livez").unwrap().0, 200);

    control_plane.install_config().await;
    controller.wait_until_ready().await;
    apply_tier(&admin, "late", &selecting("payments", SAME)).await;
    eventually_governed(&admin, "payments", "late", &BOTH_BASES).await;
    Observer::of(["payments"]).verdict(&control_plane).await;
    assert_eq!(controller.sigterm().await, 0);
}

// The garbage collector has acted once the reference to the tier is gone; the one to the namespace holds the policy.
async fn eventually_collected(admin: &Client, namespace: &str, tier_uid: &str) {
    eventually_policies(admin, namespace, &BOTH_BASES, |policies| {
        let mut owners = policies.values().flat_map(ResourceExt::owner_references);
        match owners.find(|owner| owner.uid == tier_uid) {
            None => Ok(()),
            Some(owner) => Err(format!("still owned by {owner:?}")),
        }
    })
    .await;
}

fn assert_same_objects(before: &BTreeMap<String, NetworkPolicy>, after: &BTreeMap<String, NetworkPolicy>) {
    let identity = |policies: &BTreeMap<String, NetworkPolicy>| -> Vec<_> {
        policies
            .values()
            .map(|policy| (policy.name_any(), policy.uid(), policy.spec.clone()))
            .collect()
    };
    assert_eq!(identity(after), identity(before));
}

// The garbage collector writes to the same objects: a write of ours may meet its revision, and is made again.
fn committed(writes: Vec<String>) -> Vec<String> {
    writes.into_iter().filter(|line| !line.ends_with(" 409")).collect()
}
