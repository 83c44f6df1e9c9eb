//! Other people's policies that allow what a tier does not: named, counted, said once, and never touched.

use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, eventually_governed, eventually_policies, eventually_status, is_condition, mark,
    policies_of, selecting, set_labels, settled_writes, status_of,
};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Metrics, Observer, eventually};

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

async fn delete_policy(admin: &Client, namespace: &str, name: &str) {
    Api::<NetworkPolicy>::namespaced(admin.clone(), namespace)
        .delete(name, &DeleteParams::default())
        .await
        .unwrap_or_else(|error| panic!("cannot delete {namespace}/{name}: {error}"));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_widening_goes_when_the_tier_the_policy_or_the_governor_changes() {
    let control_plane = ControlPlane::shared().await;
    let controller = Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("goes");
    let other = format!("{tier}-other");
    apply_tier(&admin, &tier, &selecting(&tier, TIER)).await;
    apply_tier(&admin, &other, &selecting(&other, "mode: Enforce\n")).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;
    write_policy(&admin, &tier, "theirs-cluster", &widening("cluster")).await;
    write_policy(&admin, &tier, "theirs-port", &widening("port")).await;
    eventually_counted(controller, &tier, [1, 1, 0, 0]).await;
    eventually_said(
        &admin,
        &tier,
        &tier,
        &["theirs-cluster", "severity cluster", "1 more policy"],
    )
    .await;

    let wider = TIER.to_owned() + "- {name: everyone, from: [{namespaceSelector: {}}], ports: [{port: 81}]}\n";
    apply_tier(&admin, &tier, &selecting(&tier, &wider)).await;
    eventually_counted(controller, &tier, [0; 4]).await;
    eventually_said(&admin, &tier, &tier, &[]).await;
    apply_tier(
        &admin,
        &tier,
        &selecting(&tier, &format!("{TIER}foreignPolicies: Ignore\n")),
    )
    .await;
    eventually_said(&admin, &tier, &tier, &[]).await;
    eventually_counted(controller, &tier, [0; 4]).await;
    apply_tier(&admin, &tier, &selecting(&tier, TIER)).await;
    eventually_counted(controller, &tier, [1, 1, 0, 0]).await;

    delete_policy(&admin, &tier, "theirs-cluster").await;
    eventually_counted(controller, &tier, [1, 0, 0, 0]).await;
    eventually_said(&admin, &tier, &tier, &["theirs-port", "severity port"]).await;

    // The other tier allows not even the peers.
    set_labels(&admin, &tier, json!({"scenario": other})).await;
    eventually_counted(controller, &other, [0, 1, 0, 0]).await;
    eventually_counted(controller, &tier, [0; 4]).await;
    eventually_said(&admin, &tier, &tier, &[]).await;
    eventually_said(
        &admin,
        &other,
        &tier,
        &["theirs-port", "severity cluster", "the tier allows none of that"],
    )
    .await;
    Observer::of([tier]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_widens_where_only_observe_tiers_select_nor_under_a_reserved_name() {
    let control_plane = ControlPlane::shared().await;
    let controller = Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("reserved");
    let shadow = format!("{tier}-shadow");
    apply_tier(&admin, &tier, &selecting(&tier, TIER)).await;
    apply_tier(
        &admin,
        &shadow,
        &selecting(&shadow, &TIER.replace("Enforce", "Observe")),
    )
    .await;
    for (namespace, scenario) in [(&shadow, &shadow), (&tier, &tier)] {
        create_namespace(&admin, namespace, &[("scenario", scenario)]).await;
        write_policy(&admin, namespace, "cofferdam-exception-mine", &widening("open")).await;
        write_policy(&admin, namespace, "theirs", &widening("external")).await;
    }
    eventually_counted(controller, &tier, [0, 0, 1, 0]).await;
    // The reserved one is pruned where a tier governs, and left where none does.
    let of_ours = ["cofferdam-baseline-egress", "cofferdam-baseline-ingress", "theirs"];
    eventually_policies(&admin, &tier, &of_ours, |_| Ok(())).await;
    eventually_policies(&admin, &shadow, &["cofferdam-exception-mine", "theirs"], |_| Ok(())).await;
    eventually_said(&admin, &tier, &tier, &["theirs", "severity external"]).await;
    eventually_counted(controller, &tier, [0, 0, 1, 0]).await;
    // It was written before the other, and that is counted by now.
    eventually_counted(controller, &shadow, [0; 4]).await;
    eventually_said(&admin, &shadow, &shadow, &[]).await;
    Observer::of([tier, shadow]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_no_number_and_says_nothing_again() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "tier", &selecting("here", TIER)).await;
    create_namespace(&admin, "here", &[("scenario", "here")]).await;
    eventually_governed(&admin, "here", "tier", &BOTH_BASES).await;
    for severity in SEVERITIES {
        write_policy(&admin, "here", &format!("theirs-{severity}"), &widening(severity)).await;
    }
    eventually_counted(&controller, "tier", [1; 4]).await;
    eventually_said(&admin, "tier", "here", &["severity open", "3 more policies"]).await;
    eventually_events(
        &admin,
        "IsolationTier",
        "",
        "tier",
        &SEVERITIES.map(|_| "widens Ingress"),
    )
    .await;
    let before = status_of(&admin, "tier").await.unwrap();
    controller.kill9();
    let start = mark(&control_plane).await;

    let controller = Controller::start(&control_plane, &[]).await;
    eventually_counted(&controller, "tier", [1; 4]).await;
    // An Event of now comes after any that would have been said again.
    write_policy(&admin, "here", "new", &widening("cluster")).await;
    eventually_events(&admin, "NetworkPolicy", "here", "new", &["severity cluster"]).await;
    eventually_events(&admin, "IsolationTier", "", "tier", &["widens Ingress"; 5]).await;
    eventually_counted(&controller, "tier", [1, 2, 1, 1]).await;
    eventually_said(&admin, "tier", "here", &["4 more policies"]).await;
    let after = status_of(&admin, "tier").await.unwrap();
    assert_eq!(
        (&after.conditions, after.namespaces),
        (&before.conditions, before.namespaces)
    );
    // Not once was it unsaid meanwhile: the status changed once, to tell of the new one.
    let writes = status_writes(&control_plane, start).await;
    assert_eq!(writes, 1, "the status was written {writes} times");
    Observer::of(["here"]).verdict(&control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_foreign_policies_brings_no_work_to_those_who_heal() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &["--audit-interval", "30m"]).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "tier", &selecting("here", TIER)).await;
    for namespace in ["noisy", "calm", "quiet"] {
        create_namespace(&admin, namespace, &[("scenario", "here")]).await;
        eventually_governed(&admin, namespace, "tier", &BOTH_BASES).await;
    }
    let start = mark(&control_plane).await;
    // Of a namespace of its own: more heals of one policy would be a fight over it, which waits.
    let calm = heals(&admin, "calm").await;
    let visits = |metrics: &Metrics| metrics.sum("cofferdam_reconcile_total", &[("controller", "namespace")]);
    let before = visits(&controller.metrics());
    let storm = async {
        let mut edits = 0;
        for number in 0..100 {
            write_policy(&admin, "noisy", &format!("theirs-{number}"), &widening("external")).await;
        }
        for round in 0..200 {
            let severity = SEVERITIES[round % SEVERITIES.len()];
            write_policy(&admin, "noisy", "theirs-0", &widening(severity)).await;
            edits += 1;
        }
        edits
    };
    let (edits, stormy) = tokio::join!(storm, heals(&admin, "quiet"));
    assert_eq!(edits, 200);
    eventually_counted(&controller, "tier", [0, 0, 99, 1]).await;
    let visited = visits(&controller.metrics()) - before;
    println!("heals took {calm:?} in the calm, {stormy:?} in the storm, which brought {visited} visits");
    // Some for the heals themselves, and for each namespace of the cluster one by the audit, if it comes just then.
    assert!(visited < 40.0, "300 foreign changes brought {visited} visits");
    assert_eq!(
        settled_writes(&control_plane, start, "quiet").await,
        ["update cofferdam-baseline-ingress"; HEALS]
    );
    let none: [&str; 0] = [];
    assert_eq!(settled_writes(&control_plane, start, "noisy").await, none);
    // 300 changes of 100 policies, said at most once for each policy and each time that it got worse.
    let events = widened_events(&admin, "NetworkPolicy", "noisy", "theirs-0")
        .await
        .unwrap();
    assert!(
        events.len() <= SEVERITIES.len() && events.iter().all(|note| note.starts_with("1x ")),
        "{events:?}"
    );
    Observer::of(["noisy", "calm", "quiet"]).verdict(&control_plane).await;
}

const HEALS: usize = 5;

/// Opens a base again and again, and gives back how long each heal took, the longest last.
async fn heals(admin: &Client, namespace: &str) -> [Duration; HEALS] {
    let mut took = [Duration::ZERO; HEALS];
    for took in &mut took {
        let patch = json!({"spec": {"ingress": [{}]}});
        let policies = Api::<NetworkPolicy>::namespaced(admin.clone(), namespace);
        let begin = Instant::now();
        policies
            .patch(
                "cofferdam-baseline-ingress",
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await
            .unwrap_or_else(|error| panic!("cannot open {namespace}: {error}"));
        eventually("it is healed", PATIENCE, || async {
            let found = policies_of(admin, namespace).await?;
            let spec = found["cofferdam-baseline-ingress"].spec.clone().unwrap_or_default();
            match spec.ingress.map_or(0, |rules| rules.len()) {
                2 => Ok(()),
                rules => Err(format!("{rules} rules")),
            }
        })
        .await;
        *took = begin.elapsed();
    }
    took.sort();
    took
}

async fn status_writes(control_plane: &ControlPlane, start: usize) -> usize {
    let events = control_plane.audit_log().settled(control_plane).await.split_off(start);
    let is_status = |event: &&std::sync::Arc<crate::harness::AuditEvent>| {
        event.stage == "ResponseComplete"
            && event.is_write()
            && event.qualified_resource() == "cofferdam.dev/isolationtiers/status"
    };
    events.iter().filter(is_status).count()
}
