//! A cluster with some of everything, on a control plane of its own: for what holds of all namespaces together.

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{PostParams, PropagationPolicy};
use kube::{Api, Client};
use serde_json::json;

use super::control_plane::ControlPlane;
use super::controller::Controller;
use super::scenario_namespaces::create_namespace;
use super::scenario_policies::ALLOWANCES;
use super::scenario_tiers::{
    apply_tier, delete_tier, eventually_governed, eventually_policies, eventually_status, selecting,
};

/// The policies of tier `floor`.
pub const FLOOR_POLICIES: [&str; 4] = [
    "cofferdam-allow-api-egress",
    "cofferdam-allow-to-mail-egress",
    "cofferdam-baseline-egress",
    "cofferdam-baseline-ingress",
];

/// Every tier that is left, with how many namespaces it selects, protects and observes.
pub const TIERS: [(&str, i64, i64, i64); 5] = [
    ("floor", 22, 22, 0),
    ("lone-shadow", 2, 0, 2),
    ("shadow", 2, 0, 2),
    // Of the same precedence and over the same namespaces: the first by name governs.
    ("twin", 3, 3, 0),
    ("upper", 3, 0, 0),
];

/// What the controller has to be told.
pub const ARGUMENTS: [&str; 6] = [
    "--exempt-namespace",
    "vault-*",
    "--audit-interval",
    "2s",
    "--relist-interval",
    "1s",
];

/// Makes it, under a running controller, and waits until every tier says that all is as it should be.
pub async fn create(control_plane: &ControlPlane) {
    let admin = control_plane.admin().await;
    let presets =
        "- {name: dns, preset: DNS}\n- {name: api, preset: KubeAPIServer, podSelector: {matchLabels: {api: 'yes'}}}\n";
    let of_two = "namespaceSelector: {matchExpressions: [{key: scenario, operator: In, values: [floor, shadowed]}]}\n";
    apply_tier(&admin, "floor", &format!("{of_two}{ALLOWANCES}{presets}")).await;
    for (tier, scenario, rest) in [
        ("twin", "upper", "mode: Enforce\nprecedence: 10\n"),
        ("upper", "upper", "mode: Enforce\nprecedence: 10\nisolate: [Ingress]\n"),
        ("shadow", "shadowed", "mode: Observe\nprecedence: 100\n"),
        ("lone-shadow", "observed", "mode: Observe\n"),
        ("going", "retained", "mode: Enforce\n"),
    ] {
        apply_tier(&admin, tier, &selecting(scenario, rest)).await;
    }
    for (scenario, count) in [
        ("floor", 20),
        ("upper", 3),
        ("shadowed", 2),
        ("observed", 2),
        ("retained", 1),
        ("none", 2),
    ] {
        create_namespaces(&admin, scenario, &[("scenario", scenario)], count).await;
    }
    create_namespaces(&admin, "vault", &[("scenario", "floor")], 1).await;

    eventually_governed(&admin, "retained-0", "going", &FLOOR_POLICIES[2..]).await;
    delete_tier(&admin, "going", PropagationPolicy::Background).await;
    create_namespaces(&admin, "ending", &[("scenario", "floor")], 1).await;
    let config_maps: Api<ConfigMap> = Api::namespaced(admin.clone(), "ending-0");
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    config_maps
        .create(&PostParams::default(), &serde_json::from_value(held).unwrap())
        .await
        .unwrap();
    control_plane
        .kubectl(&["delete", "namespace", "ending-0", "--wait=false"])
        .expect_success();
    eventually_policies(&admin, "ending-0", &[], |_| Ok(())).await;
    is_as_it_should_be(&admin).await;
}

/// Waits until every tier says so.
pub async fn is_as_it_should_be(admin: &Client) {
    for (tier, selected, protected, observed) in TIERS {
        eventually_status(admin, tier, "every namespace is as it should be", |status| {
            let counts = status.namespaces.unwrap_or_default();
            (counts.selected, counts.protected, counts.observed) == (selected, protected, observed)
                && counts.pending + counts.drifted + counts.failed == 0
        })
        .await;
    }
}

/// Starts a controller as this world needs it.
pub async fn start_controller(control_plane: &ControlPlane) -> Controller {
    Controller::start(control_plane, &ARGUMENTS).await
}

/// Creates `PREFIX-0`, `PREFIX-1`, ... with these labels, several at a time, and gives back their names.
pub async fn create_namespaces(admin: &Client, prefix: &str, labels: &[(&str, &str)], count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
    for some in names.chunks(16) {
        join_all(some.iter().map(|name| create_namespace(admin, name, labels))).await;
    }
    names
}
