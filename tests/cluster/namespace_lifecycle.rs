//! Namespaces that end, that come back, and that are none of ours.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::DeleteParams;
use kube::{Api, Client, ResourceExt};

use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, eventually_governed, eventually_status, mark, policies_of, selecting, settled_writes,
};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Observer, OwnControlPlane, eventually};

const NONE: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_recreated_under_its_name_is_protected_anew() {
    let control_plane = ControlPlane::shared().await;
    let controller = Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("recreated");
    apply_tier(&admin, &tier, &selecting(&tier, "mode: Enforce")).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;

    let start = mark(control_plane).await;
    delete_namespace(&admin, &tier).await;
    let uid = create_namespace(&admin, &tier, &[("scenario", &tier)]).await.uid();
    let policies = eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;
    for policy in policies.values() {
        let mut owners = policy.owner_references().iter();
        assert!(
            owners.any(|owner| owner.kind == "Namespace" && Some(&owner.uid) == uid.as_ref()),
            "{:?}",
            policy.metadata
        );
    }
    let mut writes = settled_writes(control_plane, start, &tier).await;
    // The policies go first when a namespace ends; putting one back is refused, and no harm.
    writes.retain(|line| !line.ends_with(" 403"));
    assert_eq!(
        writes,
        ["create cofferdam-baseline-egress", "create cofferdam-baseline-ingress"]
    );
    eventually_status(&admin, &tier, "one namespace, protected", |status| {
        status
            .namespaces
            .is_some_and(|counts| (counts.selected, counts.protected, counts.failed) == (1, 1, 0))
    })
    .await;
    let failures = controller
        .metrics()
        .sum("cofferdam_reconcile_errors_total", &[("reason", "Forbidden")]);
    assert!(
        failures < f64::EPSILON,
        "a terminating namespace is no error: {failures}"
    );
    Observer::of([tier]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_comes_back_without_the_label_is_left_alone() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("recreated-bare");
    apply_tier(&admin, &tier, &selecting(&tier, "mode: Enforce")).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;

    delete_namespace(&admin, &tier).await;
    let start = mark(control_plane).await;
    create_namespace(&admin, &tier, &[]).await;
    eventually_status(&admin, &tier, "no namespace", |status| {
        status
            .namespaces
            .is_some_and(|counts| (counts.selected, counts.protected) == (0, 0))
    })
    .await;
    assert_eq!(settled_writes(control_plane, start, &tier).await, NONE);
    assert!(policies_of(&admin, &tier).await.unwrap().is_empty());
    Observer::of([tier]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn system_namespaces_and_its_own_are_never_touched() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("system");
    let exempt = ["kube-system", "kube-public", "kube-node-lease", "cofferdam-system"];
    let start = mark(control_plane).await;
    create_namespace(&admin, &tier, &[]).await;
    let spec = format!(
        "
namespaceSelector:
  matchExpressions:
  - {{key: kubernetes.io/metadata.name, operator: In, values: [{}, {tier}]}}
mode: Enforce
",
        exempt.join(", ")
    );
    apply_tier(&admin, &tier, &spec).await;
    eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;
    eventually_status(&admin, &tier, "one namespace", |status| {
        status
            .namespaces
            .is_some_and(|counts| (counts.selected, counts.protected) == (1, 1))
    })
    .await;
    for namespace in exempt {
        assert_eq!(settled_writes(control_plane, start, namespace).await, NONE);
        assert!(policies_of(&admin, namespace).await.unwrap().is_empty());
    }
    Observer::of([&tier].into_iter().map(String::as_str).chain(exempt))
        .verdict(control_plane)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_exempt_by_flag_are_never_touched_even_where_our_names_stand_in_them() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions {
        controller_manager: false,
        ..ControlPlaneOptions::default()
    })
    .await;
    let admin = control_plane.admin().await;
    let exempt = ["vault", "openshift-dns"];
    let governed = ["vault-2", "my-openshift-dns", "openshift"];
    for namespace in exempt.iter().chain(&governed) {
        create_namespace(&admin, namespace, &[]).await;
    }
    // As if it had been governed before it became exempt.
    let ours = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: cofferdam-baseline-ingress
  labels: {app.kubernetes.io/managed-by: cofferdam, cofferdam.dev/tier: everywhere}
spec: {podSelector: {}, ingress: [{}]}
";
    for namespace in exempt {
        control_plane
            .kubectl_with_input(&["create", "--namespace", namespace, "--filename=-"], ours)
            .expect_success();
    }
    let before = policies_of(&admin, "vault").await.unwrap();
    let controller = Controller::start(
        &control_plane,
        &["--exempt-namespace", "vault", "--exempt-namespace", "openshift-*"],
    )
    .await;
    apply_tier(&admin, "everywhere", "namespaceSelector: {}\nmode: Enforce").await;
    for namespace in governed {
        eventually_governed(&admin, namespace, "everywhere", &BOTH_BASES).await;
    }
    // Beside these three, `default`.
    eventually_status(&admin, "everywhere", "four namespaces", |status| {
        status
            .namespaces
            .is_some_and(|counts| (counts.selected, counts.protected) == (4, 4))
    })
    .await;
    for namespace in exempt {
        assert_eq!(settled_writes(&control_plane, 0, namespace).await, NONE);
    }
    assert_eq!(policies_of(&admin, "vault").await.unwrap(), before);
    let metrics = controller.metrics();
    let count = metrics.value("cofferdam_namespaces", &[("state", "exempt")]);
    assert_eq!(count, Some(6.0), "{}", metrics.text());
    Observer::of(exempt.into_iter().chain(governed))
        .verdict(&control_plane)
        .await;
}

// With everything in it, as the namespace controller does.
async fn delete_namespace(admin: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces.delete(name, &DeleteParams::default()).await.unwrap();
    eventually(&format!("namespace {name} is gone"), PATIENCE, || async {
        match namespaces.get_metadata_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(left)) => Err(format!("{:?}", left.metadata)),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}
