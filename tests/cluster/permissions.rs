//! `config/rbac` grants exactly what the controller uses.

use std::time::Instant;

use futures::future::join_all;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use cofferdam::api::Direction;

use crate::harness::eventually::PATIENCE;
use crate::harness::granted_verbs::unused_verbs;
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_policies::{ALLOWANCES, Governed};
use crate::harness::scenario_tiers::{apply_tier, eventually_status, selecting, set_labels};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Observer};

const INGRESS: &str = "cofferdam-baseline-ingress";
const NAMESPACES: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_roles_grant_what_is_used_and_nothing_else() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    // Frozen in between, for longer than a shorter lease would last on a loaded machine.
    let election = ["--leader-elect=true", "--lease-duration=60s", "--renew-deadline=50s"];
    let controller = Controller::start(&control_plane, &election).await;
    let governed = Governed::on(&control_plane, "verbs").await;
    // The same drift twice: the first is announced by a new Event, the second by a higher count in it.
    for count in 1..=2 {
        governed.tenant.delete(INGRESS, &DeleteParams::default()).await.unwrap();
        governed.is_healed(&controller, "missing", count).await;
    }
    governed.merge(INGRESS, json!({"spec": {"ingress": [{}]}})).await;
    governed.drift_is(&controller, &[("missing", 2), ("modified", 1)]).await;
    let names = meet_a_conflict(&control_plane, &controller).await;
    // A release takes the consistent read of the namespace and the tiers.
    set_labels(&governed.admin, &governed.name, json!({"scenario": null})).await;
    eventually_status(&governed.admin, &governed.name, "nothing selected", |status| {
        status.namespaces.is_some_and(|counts| counts.selected == 0)
    })
    .await;
    let policies: Api<NetworkPolicy> = Api::namespaced(governed.admin.clone(), &governed.name);
    crate::harness::eventually("the namespace is released", PATIENCE, || async {
        let left = policies
            .list(&kube::api::ListParams::default())
            .await
            .map_err(|error| error.to_string())?;
        if left.items.is_empty() {
            Ok(())
        } else {
            Err(format!("{} left", left.items.len()))
        }
    })
    .await;

    // A tier that takes its policies along has a finalizer.
    apply_tier(
        &governed.admin,
        "going",
        &selecting("nobody", "mode: Enforce\ndeletionPolicy: Remove\n"),
    )
    .await;

    crate::harness::eventually("every verb is used", PATIENCE, || async {
        let unused = unused_verbs(&control_plane).await;
        if unused.is_empty() {
            Ok(())
        } else {
            Err(format!("{unused:?} is granted and never used"))
        }
    })
    .await;
    let missing = control_plane.audit_log().missing_permissions_of(Identity::Controller);
    assert!(missing.is_empty(), "{missing:?}");
    Observer::of(names.into_iter().chain([governed.name.clone()]))
        .expect_release(&governed.name, Direction::Ingress)
        .expect_release(&governed.name, Direction::Egress)
        .verdict(&control_plane)
        .await;
}

// A conflict makes the controller read what stands there. Nobody can tell the API server in which order to show a tier and
// some policies that both changed, so this changes many while the controller is frozen, until one comes late.
async fn meet_a_conflict(control_plane: &ControlPlane, controller: &Controller) -> Vec<String> {
    let admin = control_plane.admin().await;
    apply_tier(&admin, "crowd", &selecting("crowd", ALLOWANCES)).await;
    let names = create_namespaces(&admin, "crowd", &[("scenario", "crowd")], NAMESPACES).await;
    let all_protected = async || {
        eventually_status(&admin, "crowd", "all protected", |status| {
            status
                .namespaces
                .is_some_and(|counts| counts.protected == NAMESPACES as i64)
        })
        .await;
    };
    all_protected().await;
    let deadline = Instant::now() + PATIENCE;
    for round in 0.. {
        controller.stop();
        let port = 6000 + round;
        let one_more =
            format!("{ALLOWANCES}- {{name: more, from: [{{podSelector: {{}}}}], ports: [{{port: {port}}}]}}\n");
        apply_tier(&admin, "crowd", &selecting("crowd", &one_more)).await;
        let note = Patch::Merge(json!({"metadata": {"annotations": {"example.com/round": round.to_string()}}}));
        join_all(names.iter().map(|name| {
            let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), name);
            let note = &note;
            async move { policies.patch(INGRESS, &PatchParams::default(), note).await.unwrap() }
        }))
        .await;
        controller.cont();
        all_protected().await;
        let used = control_plane.audit_log().verbs_used_by(Identity::Controller);
        if used.contains(&("networking.k8s.io/networkpolicies".into(), "get".into())) {
            break;
        }
        assert!(Instant::now() < deadline, "no conflict in {round} rounds");
    }
    names
}
