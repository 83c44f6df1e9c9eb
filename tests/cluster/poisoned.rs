//! Namespaces in which nothing can be written delay no other: each waits for itself.

use futures::future::join_all;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{apply_tier, eventually_status_within, selecting};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Observer, OwnControlPlane};

const HEALTHY: usize = 40;
const POISONED: usize = 50;
const INGRESS: &str = "cofferdam-baseline-ingress";

/// Edits every healthy namespace once, one after the other, and gives the mean time from the event to the heal, in ms.
async fn mean_heal(admin: &Client, controller: &Controller, healthy: &[String]) -> f64 {
    let so_far = || {
        let metrics = controller.metrics();
        let of = |part: &str| metrics.sum(&format!("cofferdam_drift_heal_duration_seconds_{part}"), &[]);
        (of("count"), of("sum"))
    };
    let (before, seconds_before) = so_far();
    for (name, edited) in healthy.iter().zip(1_u32..) {
        let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), name);
        let open = Patch::Merge(json!({"spec": {"ingress": [{}]}}));
        policies.patch(INGRESS, &PatchParams::default(), &open).await.unwrap();
        eventually("the edit is healed", PATIENCE, || async {
            let (now, _) = so_far();
            if now - before >= f64::from(edited) {
                Ok(())
            } else {
                Err(format!("{} of {edited} heals", now - before))
            }
        })
        .await;
    }
    let (after, seconds_after) = so_far();
    (seconds_after - seconds_before) / (after - before) * 1000.0
}

/// Nothing may be created where this label is.
async fn poison(control_plane: &ControlPlane, admin: &Client, proof: &str) {
    let manifest = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: poison}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [CREATE], resources: [networkpolicies]}
  validations:
  - {expression: 'false', message: nothing may be created here}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: poison}
spec:
  policyName: poison
  validationActions: [Deny]
  matchResources:
    namespaceSelector: {matchLabels: {scenario: poisoned}}
";
    control_plane
        .kubectl_with_input(&["apply", "-f", "-"], manifest)
        .expect_success();
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), proof);
    let object: NetworkPolicy = serde_json::from_value(json!({"metadata": {"name": "proof"}})).unwrap();
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the denial has begun", PATIENCE, || async {
        match policies.create(&dry_run, &object).await {
            Err(kube::Error::Api(status)) if status.message.contains("nothing may be created here") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_namespaces_that_refuse_every_write_delay_no_heal_of_others() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let healthy = create_namespaces(&admin, "healthy", &[("scenario", "healthy")], HEALTHY).await;
    let poisoned = create_namespaces(&admin, "poisoned", &[("scenario", "poisoned")], POISONED).await;
    apply_tier(&admin, "healthy", &selecting("healthy", "mode: Enforce")).await;
    eventually_status_within(&admin, "healthy", "all protected", PATIENCE, |status| {
        status.namespaces.unwrap_or_default().protected == HEALTHY as i64
    })
    .await;
    let alone = mean_heal(&admin, &controller, &healthy).await;

    poison(&control_plane, &admin, &poisoned[0]).await;
    apply_tier(&admin, "poisoned", &selecting("poisoned", "mode: Enforce")).await;
    eventually_status_within(&admin, "poisoned", "all failed", PATIENCE, |status| {
        status.namespaces.unwrap_or_default().failed == POISONED as i64
    })
    .await;
    let errors = || {
        let reason = [("reason", "AdmissionDenied"), ("controller", "namespace")];
        controller.metrics().sum("cofferdam_reconcile_errors_total", &reason)
    };
    let before = errors();
    let beside = mean_heal(&admin, &controller, &healthy).await;
    let retries = errors() - before;
    eprintln!(
        "mean heal of {HEALTHY} namespaces: {alone:.1} ms alone, {beside:.1} ms beside {POISONED} that refuse, \
         retried {retries} times meanwhile"
    );
    assert!(
        retries >= POISONED as f64 / 2.0,
        "they were to be retried meanwhile: {retries}"
    );
    // Noise of a busy machine; behind the retries of fifty namespaces they would wait for seconds.
    assert!(beside <= alone * 2.0 + 25.0, "{alone} ms alone, {beside} ms beside");

    control_plane
        .kubectl(&["delete", "validatingadmissionpolicybinding", "poison"])
        .expect_success();
    eventually_status_within(&admin, "poisoned", "all protected", PATIENCE * 4, |status| {
        status.namespaces.unwrap_or_default().protected == POISONED as i64
    })
    .await;
    let standing = join_all(healthy.iter().map(|name| {
        let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), name);
        async move { policies.get(INGRESS).await.unwrap().spec.unwrap().ingress }
    }))
    .await;
    assert!(
        standing
            .iter()
            .all(|ingress| ingress.as_ref().is_none_or(Vec::is_empty))
    );
    Observer::of(healthy.into_iter().chain(poisoned))
        .verdict(&control_plane)
        .await;
}
