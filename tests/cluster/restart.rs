//! What happened while nobody ran, told apart afterwards: what we have to catch up with, and what somebody else did.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_denial::{Denial, NARROWER};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_policies::{ALLOWANCES, Governed, Means, POLICIES};
use crate::harness::scenario_tiers::{apply_tier, eventually_governed, eventually_status, selecting};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Observer};

const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";
const EXTRA: &str = "cofferdam-allow-to-mail-egress";
const DENIED: &str = crate::harness::scenario_denial::DENIED;

async fn left_by_a_controller<'a>(control_plane: &'a ControlPlane, prefix: &str) -> Governed<'a> {
    let controller = Controller::start(control_plane, &[]).await;
    let governed = Governed::on(control_plane, prefix).await;
    assert_eq!(controller.sigterm().await, 0);
    governed
}

async fn is_narrower_and_nothing_drifted(governed: &Governed<'_>, controller: &Controller) {
    let policies = [DENIED, EGRESS, INGRESS];
    eventually_governed(&governed.admin, &governed.name, &governed.name, &policies).await;
    governed.is_protected().await;
    governed.drift_is(controller, &[]).await;
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_changed_while_nobody_ran_is_pending_and_no_drift() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let governed = left_by_a_controller(&control_plane, "pending").await;
    apply_tier(&governed.admin, &governed.name, &selecting(&governed.name, NARROWER)).await;

    let controller = Controller::start(&control_plane, &[]).await;
    is_narrower_and_nothing_drifted(&governed, &controller).await;
}

// The first plan after a restart knows what it prunes; a second one, because the first could not be carried out, has to
// know it too.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_refused_write_holds_up_after_a_restart_is_no_drift_either() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let governed = left_by_a_controller(&control_plane, "held-up").await;
    let denial = Denial::of(&control_plane, &governed.name, &governed.name).await;
    apply_tier(&governed.admin, &governed.name, &selecting(&governed.name, NARROWER)).await;

    let controller = Controller::start(&control_plane, &[]).await;
    controller
        .eventually_metrics("three attempts were refused", |metrics| {
            let errors = metrics.sum("cofferdam_reconcile_errors_total", &[("controller", "namespace")]);
            if errors >= 3.0 {
                Ok(())
            } else {
                Err(format!("{errors} errors"))
            }
        })
        .await;
    denial.ends();
    is_narrower_and_nothing_drifted(&governed, &controller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_while_nobody_ran_is_drift_but_not_what_is_missing() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let governed = left_by_a_controller(&control_plane, "edited").await;
    Means::MergePatch
        .change_spec(&governed.tenant, INGRESS, &json!({"ingress": [{}]}))
        .await;
    governed.merge(EXTRA, json!({"metadata": {"labels": null}})).await;
    governed.tenant.delete(EGRESS, &DeleteParams::default()).await.unwrap();
    let surplus: NetworkPolicy = serde_json::from_value(json!({"metadata": {"name": "cofferdam-allow-x"}})).unwrap();
    governed.tenant.create(&PostParams::default(), &surplus).await.unwrap();

    let controller = Controller::start(&control_plane, &[]).await;
    governed.is_as_rendered().await;
    governed
        .drift_is(&controller, &[("modified", 1), ("disowned", 1), ("surplus", 1)])
        .await;
    governed.is_protected().await;
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_stripped_of_its_marks_and_dropped_while_nobody_ran_is_pruned() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let governed = left_by_a_controller(&control_plane, "stripped").await;
    let nothing = json!({"metadata": {"labels": null, "annotations": null, "ownerReferences": null}});
    governed.merge(EXTRA, nothing).await;
    let without_mail = ALLOWANCES.lines().filter(|line| !line.contains("to-mail"));
    let spec = selecting(&governed.name, &without_mail.collect::<Vec<_>>().join("\n"));
    apply_tier(&governed.admin, &governed.name, &spec).await;

    let controller = Controller::start(&control_plane, &[]).await;
    eventually_governed(&governed.admin, &governed.name, &governed.name, &[EGRESS, INGRESS]).await;
    governed.drift_is(&controller, &[("surplus", 1)]).await;
    governed.is_protected().await;
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_a_cold_start_leaves_nothing_that_the_next_start_does_not_finish() {
    const NAMESPACES: usize = 200;
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "cold", &selecting("cold", ALLOWANCES)).await;
    let names = create_namespaces(&admin, "cold", &[("scenario", "cold")], NAMESPACES).await;
    let creates = || {
        let mut writes = control_plane.audit_log().writes_since(0, Identity::Controller);
        writes.retain(|event| event.resource == "networkpolicies" && event.succeeded());
        writes
    };
    // Twice, so that the second start meets what an interrupted one left.
    for at_least in [NAMESPACES / 2, NAMESPACES] {
        let controller = Controller::spawn(&control_plane, &[]);
        eventually("some policies are written", PATIENCE, || async {
            let written = creates().len();
            if written >= at_least {
                Ok(())
            } else {
                Err(format!("{written} policies"))
            }
        })
        .await;
        controller.kill9();
    }
    let before = control_plane.audit_log().settled(&control_plane).await.len();
    let written = creates().len();
    assert!(
        written < NAMESPACES * POLICIES.len(),
        "{written} policies: the controller was done before it was killed"
    );

    let controller = Controller::start(&control_plane, &[]).await;
    eventually_status(&admin, "cold", "all protected", |status| {
        status
            .namespaces
            .is_some_and(|counts| counts.protected == NAMESPACES as i64)
    })
    .await;
    control_plane.audit_log().settled(&control_plane).await;
    let mut times: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in creates() {
        *times.entry((event.namespace.clone(), event.name.clone())).or_default() += 1;
    }
    times.retain(|_, count| *count != 1);
    assert_eq!(times, BTreeMap::new(), "written more than once");
    // Of a write whose client died on it the log does not say what came of it; the object does.
    let live = Api::<NetworkPolicy>::all(admin)
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(live.items.len(), NAMESPACES * POLICIES.len());
    let rewritten = live.items.iter().filter(|policy| policy.metadata.generation != Some(1));
    assert_eq!(rewritten.count(), 0);
    let refused: Vec<String> = control_plane
        .audit_log()
        .writes_since(before, Identity::Controller)
        .iter()
        .filter(|event| !event.succeeded())
        .map(|event| event.summary())
        .collect();
    assert_eq!(refused, [""; 0], "the last start knew what stood there");
    let drift = controller.metrics().sum("cofferdam_drift_detected_total", &[]);
    assert!(drift < 0.5, "{drift} drifts");
    Observer::of(names).verdict(&control_plane).await;
}
