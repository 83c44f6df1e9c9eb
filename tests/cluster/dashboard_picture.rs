//! Not a test: a minute in the life of a cluster, drawn by the dashboard. `make dashboard-picture` runs it.

use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::harness::own_control_plane::OwnControlPlane;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, set_labels};
use crate::harness::{ControlPlaneOptions, Controller, PrometheusServer};
use crate::prometheus::take_the_right_to_update_away;

const RULES: &str = include_str!("../../config/prometheus/rules.yaml");
const PICTURE: &str = "docs/images/dashboard.png";
const TIERS: [(&str, &str); 3] = [
    (
        "baseline",
        "allow: [{name: dns, preset: DNS}, {name: same, preset: SameNamespace}]",
    ),
    ("open-egress", "isolate: [Ingress]"),
    ("restricted", "allow: [{name: dns, preset: DNS}]"),
];
const STAGES: [&str; 4] = ["dev", "test", "staging", "prod"];
const TEAMS: [&str; 13] = [
    "billing",
    "builds",
    "catalog",
    "checkout",
    "identity",
    "ledger",
    "mail",
    "orders",
    "payments",
    "reports",
    "search",
    "shipping",
    "storefront",
];
const INGRESS: &str = "cofferdam-baseline-ingress";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "draws docs/images/dashboard.png; run by make dashboard-picture"]
async fn draw_the_dashboard() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &["--audit-interval=5s", "--max-unprotected=10%"]).await;
    let prometheus = PrometheusServer::start(control_plane.directory(), controller.port(), RULES).await;
    let start = Instant::now();
    let admin = control_plane.admin().await;
    for (tier, rest) in TIERS {
        let selector = format!("namespaceSelector: {{matchLabels: {{cofferdam.dev/tier: {tier}}}}}");
        apply_tier(&admin, tier, &format!("{selector}\nmode: Enforce\n{rest}")).await;
    }
    // The pace of the story, not a wait for anything.
    let mut clock = tokio::time::interval(Duration::from_millis(500));
    let namespaces: Vec<String> = STAGES
        .iter()
        .flat_map(|stage| TEAMS.iter().map(move |team| format!("{team}-{stage}")))
        .collect();
    for (number, namespace) in namespaces.iter().enumerate() {
        clock.tick().await;
        let tier = if forgot_the_label(number) {
            "none"
        } else {
            TIERS[number % TIERS.len()].0
        };
        create_namespace(&admin, namespace, &[("cofferdam.dev/tier", tier)]).await;
        if let Some(earlier) = number.checked_sub(6).filter(|earlier| !forgot_the_label(*earlier)) {
            tamper(&admin, &namespaces[earlier], number).await;
        }
    }
    for (number, namespace) in namespaces.iter().enumerate() {
        clock.tick().await;
        // One whom no heal discourages.
        if number % 2 == 0 {
            widen(&policies(&admin, "identity-dev")).await;
        }
        if !forgot_the_label(number) {
            tamper(&admin, namespace, number + 3).await;
        } else if number < 40 {
            set_labels(&admin, namespace, json!({"cofferdam.dev/tier": "baseline"})).await;
        }
    }
    // A script that takes a label away from too many.
    for namespace in namespaces
        .iter()
        .filter(|name| name.starts_with("mail") || name.starts_with("ledger"))
    {
        set_labels(&admin, namespace, json!({"cofferdam.dev/tier": null})).await;
    }
    for _ in 0..8 {
        clock.tick().await;
    }
    take_the_right_to_update_away(&control_plane).await;
    for namespace in ["orders-prod", "search-prod", "storefront-staging"] {
        widen(&policies(&admin, namespace)).await;
    }
    for _ in 0..16 {
        clock.tick().await;
    }
    draw(&prometheus.url(), start.elapsed().as_secs());
}

fn forgot_the_label(number: usize) -> bool {
    number % 7 == 5
}

fn policies(admin: &Client, namespace: &str) -> Api<NetworkPolicy> {
    Api::namespaced(admin.clone(), namespace)
}

// Whatever people and tools do to policies, one after the other.
async fn tamper(admin: &Client, namespace: &str, number: usize) {
    let policies = policies(admin, namespace);
    match number % 6 {
        0 | 3 => {
            policies
                .delete(INGRESS, &DeleteParams::default())
                .await
                .expect("it stands");
        }
        1 => widen(&policies).await,
        2 => merge(&policies, json!({"metadata": {"labels": null}})).await,
        4 => create(&policies, "cofferdam-allow-all-ingress", json!([{}])).await,
        _ => {
            let anybody = json!({"from": [{"namespaceSelector": {}}], "ports": [{"port": 9090}]});
            let rule = if number % 4 == 1 { json!({}) } else { anybody };
            create(&policies, "allow-monitoring", json!([rule])).await;
        }
    }
}

async fn widen(policies: &Api<NetworkPolicy>) {
    merge(policies, json!({"spec": {"ingress": [{}]}})).await;
}

async fn merge(policies: &Api<NetworkPolicy>, change: Value) {
    let patch = Patch::Merge(change);
    policies
        .patch(INGRESS, &PatchParams::default(), &patch)
        .await
        .expect("it stands");
}

async fn create(policies: &Api<NetworkPolicy>, name: &str, ingress: Value) {
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress},
    });
    let apply = PatchParams::apply("somebody").force();
    policies
        .patch(name, &apply, &Patch::Apply(policy))
        .await
        .expect("an admin may");
}

fn draw(prometheus: &str, seconds: u64) {
    let output = Command::new("target/tools/picture/bin/python")
        .args([
            "tests/dashboard/render.py",
            "dashboards/cofferdam.json",
            prometheus,
            &seconds.to_string(),
            PICTURE,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("what make dashboard-picture installs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let size = std::fs::metadata(PICTURE).expect("the picture").len();
    assert!((20_000..200_000).contains(&size), "{size} bytes");
}
