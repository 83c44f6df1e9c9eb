//! Other people's policies that allow what a tier does not: named, counted, said once, and never touched.

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, eventually_governed, eventually_status, is_condition, mark, selecting, settled_writes,
};
use crate::harness::{ControlPlane, Controller, Metrics, Observer, eventually};

const SEVERITIES: [&str; 4] = ["port", "cluster", "external", "open"];

/// Allows the same namespace on one port, and one block of addresses.
const TIER: &str = "mode: Enforce
allow:
- {name: same, preset: SameNamespace, ports: [{port: 80}]}
- {name: office, from: [{ipBlock: {cidr: 10.0.0.0/16}}], ports: [{port: 80}]}
";

/// A policy of each severity under [`TIER`].
fn widening(severity: &str) -> Value {
    let from = match severity {
        "port" => json!([{"podSelector": {}}]),
        "cluster" => json!([{"namespaceSelector": {}}]),
        "external" => json!([{"ipBlock": {"cidr": "10.0.0.0/8"}}]),
        _ => json!([]),
    };
    json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": from, "ports": [{"port": 81}]}]})
}

/// Allows nothing that [`TIER`] does not.
fn harmless() -> Value {
    json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"], "ingress": [
        {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}, {"ipBlock": {"cidr": "10.0.3.0/24"}}], "ports": [{"port": 80}]}]})
}

async fn write_policy(admin: &Client, namespace: &str, name: &str, spec: &Value) {
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    });
    Api::<NetworkPolicy>::namespaced(admin.clone(), namespace)
        .patch(name, &PatchParams::apply("tenant").force(), &Patch::Apply(policy))
        .await
        .unwrap_or_else(|error| panic!("cannot write {namespace}/{name}: {error}"));
}

fn exported(metrics: &Metrics, tier: &str) -> [Option<f64>; 4] {
    SEVERITIES.map(|severity| {
        let labels = [("tier", tier), ("severity", severity)];
        metrics.value("cofferdam_widening_policies", &labels)
    })
}

/// Waits until the metric says so many policies of `port`, `cluster`, `external` and `open`.
async fn eventually_counted(controller: &Controller, tier: &str, expected: [u32; 4]) {
    let expected = expected.map(|count| Some(f64::from(count)));
    let description = format!("widening policies of tier {tier} by severity are {expected:?}");
    controller
        .eventually_metrics(&description, |metrics| match exported(metrics, tier) {
            found if found == expected => Ok(()),
            found => Err(format!("{found:?}")),
        })
        .await;
}

/// Waits until the tier says of a namespace that it is widened, in words that hold all of these, or, where there are
/// none, that it is not; Ready all the while.
async fn eventually_said(admin: &Client, tier: &str, namespace: &str, words: &[&str]) {
    let status = eventually_status(admin, tier, &format!("{words:?} of {namespace}"), |status| {
        let mut problems = status.problems.iter().filter(|problem| problem.reason == "Widened");
        let of_this = problems.find(|problem| problem.namespace.as_deref() == Some(namespace));
        match of_this {
            None => words.is_empty(),
            Some(problem) => !words.is_empty() && words.iter().all(|word| problem.message.contains(word)),
        }
    })
    .await;
    assert!(is_condition(&status, "Ready", "True"), "{status:?}");
}

/// The Events of reason Widened on an object, as notes; one for each time that it was published.
async fn widened_events(admin: &Client, kind: &str, namespace: &str, name: &str) -> Result<Vec<String>, String> {
    let events = Api::<Event>::all(admin.clone());
    let list = events
        .list(&ListParams::default())
        .await
        .map_err(|error| error.to_string())?;
    let about = |event: &&Event| {
        event.reason.as_deref() == Some("Widened")
            && event.regarding.as_ref().is_some_and(|regarding| {
                regarding.kind.as_deref() == Some(kind)
                    && regarding.name.as_deref() == Some(name)
                    && regarding.namespace.as_deref().unwrap_or_default() == namespace
            })
    };
    Ok(list
        .items
        .iter()
        .filter(about)
        .map(|event| {
            assert_eq!(event.type_.as_deref(), Some("Warning"), "{}", event.name_any());
            let times = event.series.as_ref().map_or(1, |series| series.count);
            format!("{times}x {}", event.note.clone().unwrap_or_default())
        })
        .collect())
}

async fn eventually_events(admin: &Client, kind: &str, namespace: &str, name: &str, expected: &[&str]) {
    let description = format!("Events Widened on {kind} {namespace}/{name} that say {expected:?}");
    eventually(&description, PATIENCE, || async {
        let found = widened_events(admin, kind, namespace, name).await?;
        let said = |word: &&&str| {
            found
                .iter()
                .any(|note| note.starts_with("1x ") && note.contains(**word))
        };
        if found.len() == expected.len() && expected.iter().filter(said).count() == expected.len() {
            return Ok(());
        }
        Err(format!("{found:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_severity_is_counted_named_and_said_once() {
    let control_plane = ControlPlane::shared().await;
    let controller = Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("severities");
    apply_tier(&admin, &tier, &selecting(&tier, TIER)).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;
    eventually_counted(controller, &tier, [0; 4]).await;

    let start = mark(control_plane).await;
    write_policy(&admin, &tier, "harmless", &harmless()).await;
    let mut expected = [0; 4];
    for (index, severity) in SEVERITIES.into_iter().enumerate() {
        write_policy(&admin, &tier, &format!("theirs-{severity}"), &widening(severity)).await;
        expected[index] = 1;
        eventually_counted(controller, &tier, expected).await;
        // The worst of them is the one that the problem names.
        let severity_in_words = format!("severity {severity}");
        let name = format!("NetworkPolicy theirs-{severity} widens Ingress");
        eventually_said(
            &admin,
            &tier,
            &tier,
            &[&name, &severity_in_words, "Narrow or delete it"],
        )
        .await;
        eventually_events(
            &admin,
            "NetworkPolicy",
            &tier,
            &format!("theirs-{severity}"),
            &[&severity_in_words],
        )
        .await;
    }
    let none: [&str; 0] = [];
    assert_eq!(settled_writes(control_plane, start, &tier).await, none);
    assert_eq!(
        widened_events(&admin, "NetworkPolicy", &tier, "harmless").await,
        Ok(vec![])
    );
    eventually_events(
        &admin,
        "IsolationTier",
        "",
        &tier,
        &SEVERITIES.map(|_| "widens Ingress"),
    )
    .await;
    Observer::of([tier]).verdict(control_plane).await;
}
