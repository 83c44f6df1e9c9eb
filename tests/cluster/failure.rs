//! Writes that the API server refuses: what stands stays, the others go on, and all is well once the refusal ends.

use cofferdam::api::IsolationTierStatus;
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_denial::{DENIED, Denial, NARROWER};
use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::scenario_policies::{ALLOWANCES, Governed, Means, POLICIES, ours_in};
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, eventually_governed, eventually_ready, eventually_status_within, has_problem, mark,
    selecting,
};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Observer};

const INGRESS: &str = "cofferdam-baseline-ingress";

const NARROWER_POLICIES: [&str; 3] = [DENIED, BOTH_BASES[0], BOTH_BASES[1]];

// Beyond the longest back-off: what failed a minute ago is tried again by then.
const AFTER_BACK_OFF: std::time::Duration = std::time::Duration::from_secs(60);

fn counts(status: &IsolationTierStatus) -> (i64, i64, i64) {
    let counts = status.namespaces.unwrap_or_default();
    (counts.selected, counts.protected, counts.failed)
}

async fn another_namespace(governed: &Governed<'_>) -> String {
    let name = unique_name("unaffected");
    create_namespace(&governed.admin, &name, &[("scenario", &governed.name)]).await;
    eventually_governed(&governed.admin, &name, &governed.name, &POLICIES).await;
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_policy_prunes_nothing_and_narrows_nothing_until_it_is_written() {
    let (governed, controller) = Governed::on_shared("refused").await;
    let other = another_namespace(&governed).await;
    let denial = Denial::of(governed.control_plane, &governed.name, &governed.name).await;
    apply_tier(&governed.admin, &governed.name, &selecting(&governed.name, NARROWER)).await;

    let now = eventually_governed(&governed.admin, &other, &governed.name, &NARROWER_POLICIES).await;
    assert_eq!(now[INGRESS].spec.as_ref().unwrap().ingress.as_ref().unwrap().len(), 1);
    let status = eventually_status_within(&governed.admin, &governed.name, "one failed", PATIENCE, |status| {
        counts(status) == (2, 1, 1)
    })
    .await;
    assert!(
        has_problem(&status, "AdmissionDenied", Some(&governed.name)),
        "{status:?}"
    );
    // Several attempts later too.
    let errors = || {
        controller.metrics().value(
            "cofferdam_reconcile_errors_total",
            &[("reason", "AdmissionDenied"), ("controller", "namespace")],
        )
    };
    let first = errors().unwrap_or_default();
    eventually("it is tried again and again", PATIENCE, || async {
        let now = errors().unwrap_or_default();
        if now >= first + 3.0 {
            Ok(())
        } else {
            Err(format!("{now} errors"))
        }
    })
    .await;
    let standing = ours_in(&governed.admin, &governed.name).await.unwrap();
    assert_eq!(standing, governed.rendered);

    denial.ends();
    let status = eventually_status_within(
        &governed.admin,
        &governed.name,
        "two protected",
        AFTER_BACK_OFF,
        |status| counts(status) == (2, 2, 0),
    )
    .await;
    assert_eq!(status.problems, []);
    let specs = async |namespace: &str| {
        let ours = ours_in(&governed.admin, namespace).await.unwrap();
        ours.into_iter()
            .map(|(name, ours)| (name, ours["spec"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(specs(&governed.name).await, specs(&other).await);
    // A refusal is nobody's drift.
    governed.drift_is(controller, &[]).await;
    Observer::of([&governed.name, &other])
        .verdict(governed.control_plane)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_namespace_is_isolated_whatever_else_is_refused() {
    let (governed, _) = Governed::on_shared("isolated-anyway").await;
    let new = unique_name("isolated-anyway");
    let denial = Denial::of(governed.control_plane, &new, &governed.name).await;
    apply_tier(&governed.admin, &new, &selecting(&new, NARROWER)).await;
    create_namespace(&governed.admin, &new, &[("scenario", &new)]).await;
    eventually_governed(&governed.admin, &new, &new, &BOTH_BASES).await;
    let status = eventually_status_within(&governed.admin, &new, "one failed", PATIENCE, |status| {
        counts(status) == (1, 0, 1)
    })
    .await;
    let problem = &status.problems[0];
    assert!(
        problem.message.contains(DENIED) && problem.message.contains("ask the network team first"),
        "{problem:?}"
    );
    denial.ends();
    eventually_governed(&governed.admin, &new, &new, &NARROWER_POLICIES).await;
    eventually_ready(&governed.admin, &new).await;
    Observer::of([new]).verdict(governed.control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_policy_does_not_delay_the_heal_of_another() {
    let (governed, controller) = Governed::on_shared("heals-anyway").await;
    let denial = Denial::of(governed.control_plane, &governed.name, &governed.name).await;
    let with_denied = format!("{ALLOWANCES}{}\n", NARROWER.trim_end().lines().next_back().unwrap());
    apply_tier(
        &governed.admin,
        &governed.name,
        &selecting(&governed.name, &with_denied),
    )
    .await;
    eventually_status_within(&governed.admin, &governed.name, "one failed", PATIENCE, |status| {
        counts(status) == (1, 0, 1)
    })
    .await;
    for (means, count) in Means::ALL.into_iter().zip(1..) {
        means
            .change_spec(&governed.tenant, INGRESS, &json!({"ingress": [{}]}))
            .await;
        governed.is_healed(controller, "modified", count).await;
    }
    governed.tenant.delete(INGRESS, &DeleteParams::default()).await.unwrap();
    governed.drift_is(controller, &[("modified", 3), ("missing", 1)]).await;
    governed.is_as_rendered().await;
    denial.ends();
    eventually_status_within(&governed.admin, &governed.name, "protected", AFTER_BACK_OFF, |status| {
        counts(status) == (1, 1, 0)
    })
    .await;
    governed.verdict().await;
}

// A quota is the cluster's way to say no with a 403 that no role would have prevented.
#[tokio::test(flavor = "multi_thread")]
async fn an_exceeded_quota_is_named_and_told_apart_from_a_missing_permission() {
    const KEY: &str = "count/networkpolicies.networking.k8s.io";
    let (governed, _) = Governed::on_shared("quota").await;
    let quotas: Api<ResourceQuota> = Api::namespaced(governed.admin.clone(), &governed.name);
    let quota = json!({"metadata": {"name": "policies"}, "spec": {"hard": {KEY: "3"}}});
    quotas
        .create(&PostParams::default(), &serde_json::from_value(quota).unwrap())
        .await
        .unwrap();
    // The controller that counts is not running here; admission goes by what the status says.
    let full = Patch::Merge(json!({"status": {"hard": {KEY: "3"}, "used": {KEY: "3"}}}));
    quotas
        .patch_status("policies", &PatchParams::default(), &full)
        .await
        .unwrap();
    let policies: Api<NetworkPolicy> = Api::namespaced(governed.admin.clone(), &governed.name);
    let one_more: NetworkPolicy = serde_json::from_value(json!({"metadata": {"name": "one-more"}})).unwrap();
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the quota is in force", PATIENCE, || async {
        match policies.create(&dry_run, &one_more).await {
            Err(kube::Error::Api(status)) if status.message.contains("exceeded quota") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    apply_tier(&governed.admin, &governed.name, &selecting(&governed.name, NARROWER)).await;
    let status = eventually_status_within(&governed.admin, &governed.name, "one failed", PATIENCE, |status| {
        counts(status) == (1, 0, 1)
    })
    .await;
    assert!(
        has_problem(&status, "QuotaExceeded", Some(&governed.name)),
        "{status:?}"
    );
    assert_eq!(
        ours_in(&governed.admin, &governed.name).await.unwrap(),
        governed.rendered
    );

    quotas.delete("policies", &DeleteParams::default()).await.unwrap();
    eventually_governed(&governed.admin, &governed.name, &governed.name, &NARROWER_POLICIES).await;
    eventually_status_within(&governed.admin, &governed.name, "protected", AFTER_BACK_OFF, |status| {
        counts(status) == (1, 1, 0)
    })
    .await;
    governed.verdict().await;
}

// On a control plane of its own: an error that anybody else causes would be counted too.
#[tokio::test(flavor = "multi_thread")]
async fn terminating_namespaces_are_left_alone_without_an_error() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let tier = unique_name("ending");
    apply_tier(&admin, &tier, &selecting(&tier, ALLOWANCES)).await;
    let names: Vec<String> = (0..8).map(|_| unique_name("ending")).collect();
    for name in &names {
        create_namespace(&admin, name, &[("scenario", &tier)]).await;
        create_held_object(&admin, name).await;
    }
    for name in &names {
        eventually_governed(&admin, name, &tier, &POLICIES).await;
    }
    let start = mark(&control_plane).await;
    // Half of the deletions reach a controller that sees them late, when everything in the namespace is gone already.
    controller.stop();
    let (late, in_time) = names.split_at(4);
    delete_namespaces(&control_plane, late);
    for name in late {
        eventually("its policies are gone", PATIENCE, || async {
            let left = ours_in(&admin, name).await?;
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{:?}", left.keys()))
            }
        })
        .await;
    }
    controller.cont();
    delete_namespaces(&control_plane, in_time);
    controller
        .eventually_metrics("all of them count as terminating", |metrics| {
            let found = metrics.value("cofferdam_namespaces", &[("state", "terminating")]);
            let left = metrics.value("cofferdam_tier_namespaces", &[("tier", &tier), ("state", "protected")]);
            if (found, left) == (Some(8.0), Some(0.0)) {
                Ok(())
            } else {
                Err(format!("{found:?} terminating, {left:?} protected"))
            }
        })
        .await;
    eventually_ready(&admin, &tier).await;
    for name in &names {
        let description = format!("everything in {name} but what is held is gone");
        eventually(&description, PATIENCE, || async {
            let left = ours_in(&admin, name).await?;
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{:?}", left.keys()))
            }
        })
        .await;
    }
    let errors = controller.metrics().sum("cofferdam_reconcile_errors_total", &[]);
    assert!(errors < 0.5, "{}", controller.log());
    let events = control_plane.audit_log().settled(&control_plane).await.split_off(start);
    let stored: Vec<String> = events
        .iter()
        .filter(|event| event.user == Identity::Controller.user() && names.contains(&event.namespace))
        .filter(|event| event.resource == "networkpolicies" && event.is_write() && event.succeeded())
        .map(|event| event.summary())
        .collect();
    assert_eq!(stored, [""; 0]);
    Observer::of(names).verdict(&control_plane).await;
}

async fn create_held_object(admin: &Client, namespace: &str) {
    let config_maps: Api<ConfigMap> = Api::namespaced(admin.clone(), namespace);
    let object = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    config_maps
        .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap();
}

fn delete_namespaces(control_plane: &ControlPlane, names: &[String]) {
    for name in names {
        control_plane
            .kubectl(&["delete", "namespace", name, "--wait=false"])
            .expect_success();
    }
}
