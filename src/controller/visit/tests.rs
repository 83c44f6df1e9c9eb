use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::json;

use super::*;
use crate::policy::{Exemptions, Facts, Namespace, ObservedPolicy, ParsedTier, World};

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A tier of second 100 and a namespace of second 200.
fn found_at_the_start(policies: &[&str]) -> View {
    let tier = serde_json::from_value(json!({"name": "t", "uid": "t1", "creationTimestamp": "1970-01-01T00:01:40Z"}));
    let spec = json!({"namespaceSelector": {}, "mode": "Enforce"});
    let world = World::new(
        [ParsedTier::parse(&tier.unwrap(), &spec)],
        Facts::unread(),
        Exemptions::new("cofferdam-system", []),
    );
    let policy = |name: &&str| {
        let metadata = json!({"name": name, "uid": "p", "resourceVersion": "1"});
        let policy = json!({"metadata": metadata, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
        ObservedPolicy::read(serde_json::from_value::<NetworkPolicy>(policy).unwrap()).unwrap()
    };
    let namespace = Namespace {
        name: String::from("n"),
        uid: String::from("n1"),
        labels: [].into(),
        created: Some(second(200)),
        terminating: false,
    };
    View {
        world: Arc::new(world),
        namespace: Arc::new(namespace),
        observed: policies.iter().map(policy).collect::<ObservedPolicies>(),
        ending: None,
        appeared: None,
    }
}

fn took(view: &View, now: i64) -> Option<Duration> {
    let visit = Visit::of(view, None);
    let plan = visit.plan(Duration::ZERO);
    assert!(!plan.bases.is_empty());
    visit.time_to_protection(&plan, second(now))
}

#[test]
fn a_namespace_that_appeared_while_nobody_ran_was_open_since_its_creation() {
    assert_eq!(took(&found_at_the_start(&[]), 260), Some(Duration::from_secs(60)));
    assert_eq!(
        took(&found_at_the_start(&[]), 190),
        Some(Duration::ZERO),
        "two clocks differ"
    );
}

// After a restart with a changed tier, thousands of namespaces would seem to have been open for months.
#[test]
fn a_base_that_is_only_replaced_after_a_restart_says_nothing_of_the_time_to_protection() {
    for stands in ["cofferdam-baseline-ingress", "cofferdam-baseline-egress"] {
        assert_eq!(took(&found_at_the_start(&[stands]), 1_000_000), None, "{stands}");
    }
}
