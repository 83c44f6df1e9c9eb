//! What Cofferdam exports, as a real Prometheus reads it: the page, the rules, and alerts that go off and end.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use serde_json::json;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::own_control_plane::OwnControlPlane;
use crate::harness::prometheus_server::check_metrics;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_policies::Governed;
use crate::harness::scenario_tiers::{apply_tier, selecting};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, PrometheusServer, cluster_facts};

const RULES: &str = include_str!("../../config/prometheus/rules.yaml");

/// The rules that are shipped, with seconds in place of minutes: long enough to see an alert pending before it fires.
fn impatient_rules() -> String {
    let lines = RULES.lines().map(|line| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 3s\n"),
        _ => format!("{line}\n"),
    });
    lines.collect::<String>().replace("> 600", "> 2")
}

fn no_audit() -> ControlPlaneOptions {
    ControlPlaneOptions {
        audit: false,
        ..ControlPlaneOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_say_of_the_metrics() {
    let (governed, controller) = Governed::on_shared("promtool").await;
    let page = controller.metrics();
    assert!(
        page.text().contains(&format!("tier=\"{}\"", governed.name)),
        "{}",
        page.text()
    );
    assert_eq!(check_metrics(page.text()), "");
    let without_help = check_metrics("cofferdam_things 1\n");
    assert!(without_help.contains("cofferdam_things no help text"), "{without_help}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_goes_off_for_a_tier_that_is_not_ready_and_ends_with_it() {
    let without_dns = ControlPlaneOptions {
        cluster_facts: false,
        ..no_audit()
    };
    let control_plane = OwnControlPlane::start(without_dns).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let prometheus = PrometheusServer::start(control_plane.directory(), controller.port(), &impatient_rules()).await;
    let shipped: BTreeSet<String> = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(str::to_owned)
        .collect();
    assert_eq!(prometheus.rules().into_keys().collect::<BTreeSet<_>>(), shipped);

    let admin = control_plane.admin().await;
    for (tier, rest) in [
        ("closed", "mode: Enforce"),
        ("names", "mode: Enforce\nallow: [{name: dns, preset: DNS}]"),
    ] {
        apply_tier(&admin, tier, &selecting(tier, rest)).await;
        create_namespace(&admin, tier, &[("scenario", tier)]).await;
    }
    let of_tier = [("tier", "names"), ("job", "cofferdam-metrics"), ("severity", "warning")];
    prometheus
        .eventually_alert("CofferdamTierNotReady", &of_tier, "pending")
        .await;
    let firing = prometheus
        .eventually_alert("CofferdamTierNotReady", &of_tier, "firing")
        .await;
    assert_eq!(firing.annotations["summary"], "Tier names is not ready.");
    assert_eq!(firing.labels.get("instance"), None);
    // The tier that needs no DNS may have been pending while it was written, no longer.
    let others = prometheus.alerts("CofferdamTierNotReady");
    assert!(
        others
            .iter()
            .all(|alert| alert.state == "pending" || alert.labels["tier"] == "names"),
        "{others:?}"
    );
    assert!(
        prometheus.rules().values().all(|health| health == "ok"),
        "{:?}",
        prometheus.rules()
    );

    cluster_facts::create(&control_plane);
    prometheus.eventually_quiet("CofferdamTierNotReady").await;
    assert!(prometheus.alerts("CofferdamAbsent").is_empty());

    controller.kill9();
    prometheus
        .eventually_alert("CofferdamAbsent", &[("severity", "critical")], "pending")
        .await;
    prometheus
        .eventually_alert("CofferdamAbsent", &[("severity", "critical")], "firing")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_goes_off_for_a_drift_that_may_not_be_healed() {
    let control_plane = OwnControlPlane::start(no_audit()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let prometheus = PrometheusServer::start(control_plane.directory(), controller.port(), &impatient_rules()).await;
    let governed = Governed::on(&control_plane, "refused").await;
    let quiet = ["CofferdamDriftNotHealed", "CofferdamApiForbidden"];
    assert!(quiet.iter().all(|name| prometheus.alerts(name).is_empty()));

    take_the_right_to_update_away(&control_plane).await;
    governed
        .merge("cofferdam-baseline-ingress", json!({"spec": {"ingress": [{}]}}))
        .await;
    let forbidden = [("verb", "update"), ("resource", "networkpolicies"), ("code", "403")];
    prometheus
        .eventually_alert("CofferdamApiForbidden", &forbidden, "firing")
        .await;
    let of_tier = [("tier", governed.name.as_str()), ("severity", "critical")];
    let firing = prometheus
        .eventually_alert("CofferdamDriftNotHealed", &of_tier, "firing")
        .await;
    assert!(
        firing.annotations["summary"].contains(&governed.name),
        "{:?}",
        firing.annotations
    );

    // As the runbook says.
    let put_back = ["apply", "--server-side", "--force-conflicts", "-k", "config/rbac"];
    control_plane.kubectl(&put_back).expect_success();
    governed.is_as_rendered().await;
    prometheus.eventually_quiet("CofferdamDriftNotHealed").await;
}

/// The controller's watches go on, so it sees each drift, and may not heal it.
pub async fn take_the_right_to_update_away(control_plane: &ControlPlane) {
    let rule =
        json!([{"op": "replace", "path": "/rules/1/verbs", "value": ["get", "list", "watch", "create", "delete"]}]);
    let patch = format!("--patch={rule}");
    control_plane
        .kubectl(&["patch", "clusterrole", "cofferdam-controller", "--type=json", &patch])
        .expect_success();
    let controller = format!("--as={}", Identity::Controller.user());
    let question = [
        "auth",
        "can-i",
        "update",
        "networkpolicies.networking.k8s.io",
        &controller,
    ];
    eventually("the right to update is gone", PATIENCE, || async {
        let answer = control_plane.kubectl(&question).stdout;
        if answer.trim() == "no" { Ok(()) } else { Err(answer) }
    })
    .await;
}

// The kinds of Prometheus Operator are not served here, so what is compared is what they point at.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_shipped_for_prometheus_operator_finds_the_service() {
    let control_plane = ControlPlane::shared().await;
    let built = control_plane
        .kubectl(&["kustomize", "config/prometheus"])
        .expect_success();
    assert!(built.contains("kind: PrometheusRule"), "{built}");
    let monitor = built
        .split("---\n")
        .find(|object| object.contains("kind: ServiceMonitor"))
        .expect("a ServiceMonitor");
    let monitor: serde_json::Value = serde_saphyr::from_str(monitor).expect("YAML");
    let namespace = monitor["metadata"]["namespace"].as_str().expect("a namespace");
    let services: Api<Service> = Api::namespaced(control_plane.admin().await, namespace);
    let service = services
        .get("cofferdam-metrics")
        .await
        .expect("the Service of config/default");
    let labels = service.metadata.labels.unwrap_or_default();
    let selected = monitor["spec"]["selector"]["matchLabels"].as_object().expect("labels");
    assert!(!selected.is_empty());
    for (key, value) in selected {
        assert_eq!(labels.get(key).map(String::as_str), value.as_str(), "{key}");
    }
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let port = monitor["spec"]["endpoints"][0]["port"].as_str();
    assert!(
        ports.iter().any(|found| found.name.as_deref() == port),
        "{port:?} in {ports:?}"
    );

    let dashboard = control_plane.kubectl(&["kustomize", "dashboards"]).expect_success();
    assert!(dashboard.contains("grafana_dashboard: \"1\"") && dashboard.contains("cofferdam.json: |"));
}
