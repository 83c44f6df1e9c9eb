//! What the metrics say of a cluster is what the API says of it.

use std::collections::BTreeMap;

use cofferdam::api::names::TIER_LABEL;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::harness::scenario_mixed_world::{self as mixed_world, FLOOR_POLICIES, TIERS};
use crate::harness::scenario_tiers::{eventually_ready, status_of};
use crate::harness::{ControlPlane, ControlPlaneOptions, Observer};

/// Name, labels and value.
type ExpectedSample<'a> = (&'a str, Vec<(&'a str, String)>, f64);

#[tokio::test(flavor = "multi_thread")]
async fn the_gauges_of_a_mixed_world_agree_with_the_api() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = mixed_world::start_controller(&control_plane).await;
    mixed_world::create(&control_plane).await;
    let admin = control_plane.admin().await;

    let namespaces = Api::<Namespace>::all(admin.clone())
        .list(&ListParams::default())
        .await
        .unwrap();
    let by_state = [
        ("governed", 25),
        // kube-system, kube-public, kube-node-lease, cofferdam-system, vault-0
        ("exempt", 5),
        // default, none-0, none-1
        ("ungoverned", 3),
        ("observed", 2),
        ("retained", 1),
        ("terminating", 1),
    ];
    assert_eq!(
        by_state.iter().map(|(_, count)| count).sum::<usize>(),
        namespaces.items.len()
    );
    let policies = Api::<NetworkPolicy>::all(admin.clone())
        .list(&ListParams::default())
        .await
        .unwrap();
    let mut by_tier: BTreeMap<String, u32> = BTreeMap::new();
    for policy in &policies.items {
        *by_tier.entry(policy.labels()[TIER_LABEL].clone()).or_default() += 1;
    }
    let retained = by_tier.remove("going");
    assert_eq!(retained, Some(2));
    assert_eq!(by_tier["floor"] as usize, 22 * FLOOR_POLICIES.len());

    let mut expected: Vec<ExpectedSample<'_>> = Vec::new();
    for (state, count) in by_state {
        expected.push(("cofferdam_namespaces", vec![("state", state.into())], count as f64));
    }
    for (tier, ..) in TIERS {
        let status = eventually_ready(&admin, tier).await;
        assert_eq!(status_of(&admin, tier).await.unwrap().namespaces, status.namespaces);
        let counts = status.namespaces.unwrap();
        for (state, count) in [
            ("protected", counts.protected),
            ("observed", counts.observed),
            ("pending", counts.pending),
            ("drifted", counts.drifted),
            ("failed", counts.failed),
        ] {
            let labels = vec![("tier", tier.into()), ("state", state.into())];
            expected.push(("cofferdam_tier_namespaces", labels, count as f64));
        }
        for state in ["in_sync", "missing", "modified", "disowned", "surplus"] {
            let count = if state == "in_sync" {
                by_tier.get(tier).copied().unwrap_or_default()
            } else {
                0
            };
            let labels = vec![("tier", tier.into()), ("state", state.into())];
            expected.push(("cofferdam_policies", labels, count.into()));
        }
        for (condition, status, value) in [
            ("Ready", "True", 1.0),
            ("Ready", "False", 0.0),
            ("Stalled", "True", 0.0),
        ] {
            let labels = vec![
                ("tier", tier.into()),
                ("type", condition.into()),
                ("status", status.into()),
            ];
            expected.push(("cofferdam_tier_condition", labels, value));
        }
    }
    expected.push((
        "cofferdam_policies",
        vec![("tier", String::new()), ("state", "retained".into())],
        2.0,
    ));

    let metrics = controller.metrics();
    let mut wrong = Vec::new();
    for (name, labels, value) in expected {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let found = metrics.value(name, &labels);
        if found != Some(value) {
            wrong.push(format!("{name}{labels:?} is {found:?}, the API says {value}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What is gone or only observed leaves no series of its own.
    assert_eq!(metrics.count("cofferdam_policies", &[("tier", "going")]), 0);
    assert_eq!(metrics.count("cofferdam_namespace_drift", &[]), 0);
    assert_eq!(metrics.count("cofferdam_drift_oldest_timestamp_seconds", &[]), 0);
    let names = namespaces.items.iter().map(ResourceExt::name_any);
    Observer::of(names).verdict(&control_plane).await;
}
