//! The image is new and the definition of tiers is not: nothing is opened on a word that the API server drops.

use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};

use super::held_or_released::{both_directions, verdict};
use crate::harness::eventually::{PATIENCE, eventually, holds_for};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, eventually_governed, eventually_ready, policies_of, selecting, set_labels,
};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, OwnControlPlane};

fn definition(control_plane: &ControlPlane) -> Value {
    let get = [
        "get",
        "customresourcedefinition",
        "isolationtiers.cofferdam.dev",
        "--output=json",
    ];
    let mut definition: Value = serde_json::from_str(&control_plane.kubectl(&get).expect_success()).unwrap();
    definition["metadata"] = json!({"name": definition["metadata"]["name"]});
    definition
}

fn replace(control_plane: &ControlPlane, definition: &Value) {
    control_plane
        .kubectl_with_input(&["replace", "--filename=-"], &definition.to_string())
        .expect_success();
}

/// As it was before statuses told of releases.
fn without_releases(definition: &Value) -> Value {
    let mut definition = definition.clone();
    let status = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    let releases = status["properties"].as_object_mut().unwrap().remove("releases");
    assert!(releases.is_some(), "{definition}");
    definition
}

async fn releases_are_dropped(control_plane: &ControlPlane) {
    let status = json!({"status": {"releases": {"ingress": 0, "egress": 0, "latestTime": "2026-01-01T00:00:00Z"}}});
    let status = format!("--patch={status}");
    let patch = ["patch", "itier", "floor", "--subresource=status", "--type=merge"];
    let patch = [&patch[..], &["--output=json", &status]].concat();
    eventually("the old definition is served", PATIENCE, || async {
        let kept: Value = serde_json::from_str(&control_plane.kubectl(&patch).expect_success()).unwrap();
        let kept = &kept["status"]["releases"];
        kept.is_null().then_some(()).ok_or(kept.to_string())
    })
    .await;
}

async fn says_what_to_apply(controller: &Controller) {
    eventually("it says what to apply", PATIENCE, || async {
        let (log, metrics) = (controller.log(), controller.metrics());
        let failed = [("controller", "tier"), ("reason", "RequestFailed")];
        let failed = metrics
            .value("cofferdam_reconcile_errors_total", &failed)
            .unwrap_or_default();
        let words = ["found nothing", "CustomResourceDefinition of this release"];
        let told = words.iter().all(|word| log.contains(word)) && failed > 0.0;
        told.then_some(()).ok_or_else(|| controller.log_tail(5))
    })
    .await;
}

async fn has_policies(admin: &Client, namespace: &str, count: usize) -> Result<(), String> {
    let policies = policies_of(admin, namespace).await?;
    let as_expected = (policies.len() == count).then_some(());
    as_expected.ok_or_else(|| format!("{:?}", policies.keys()))
}

// Releases were made, and the next process counted none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_does_not_know_releases_had_them_made_without_a_word() {
    let options = ControlPlaneOptions {
        controller_manager: false,
        ..ControlPlaneOptions::default()
    };
    let control_plane = OwnControlPlane::start(options).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "floor", &selecting("old", "mode: Enforce")).await;
    let names = create_namespaces(&admin, "old", &[("scenario", "old")], 2).await;
    let today = definition(&control_plane);
    replace(&control_plane, &without_releases(&today));
    releases_are_dropped(&control_plane).await;

    let controller = Controller::start(&control_plane, &["--max-unprotected=1"]).await;
    for name in &names {
        eventually_governed(&admin, name, "floor", &BOTH_BASES).await;
    }
    eventually_ready(&admin, "floor").await;
    set_labels(&admin, &names[0], json!({"scenario": null})).await;
    says_what_to_apply(&controller).await;
    let stands = || has_policies(&admin, &names[0], 2);
    holds_for("nothing is opened", Duration::from_secs(2), stands).await;
    replace(&control_plane, &today);
    eventually("it is opened", PATIENCE * 2, || async {
        let opened = has_policies(&admin, &names[0], 0).await;
        opened.map_err(|left| format!("{left}\n{}", controller.log_tail(5)))
    })
    .await;
    verdict(&control_plane, &names, &both_directions(&names[..1])).await;
}
