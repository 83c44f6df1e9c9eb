//! A namespace as a whole: what it is held to, and what is not known of a policy.

use super::*;
use crate::policy::{ObservedPolicies, assign, fixture};

fn to_everybody() -> Value {
    json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]})
}

fn found_under(tiers: Vec<ParsedTier>, namespace: &Namespace) -> Vec<(String, Direction, Severity)> {
    let policy = |name: &str, spec: &Value| ForeignPolicy::new(name, &serde_json::from_value(spec.clone()).unwrap());
    let foreign = [
        policy("b", &from(json!([{"namespaceSelector": {}}]), json!([]))),
        policy(
            "a",
            &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}),
        ),
        policy("harmless", &json!({"podSelector": {}, "policyTypes": ["Ingress"]})),
        policy("c", &to_everybody()),
    ];
    let world = fixture::world(tiers, Facts::unread());
    let governor = assign(&world, namespace, &ObservedPolicies::new(), None).governor;
    let found = widenings_of_namespace(governor, namespace, &foreign);
    found
        .into_iter()
        .map(|widening| (widening.policy, widening.direction, widening.severity))
        .collect()
}

#[test]
fn the_worst_comes_first_then_the_names_decide() {
    use Direction::{Egress, Ingress};
    let found = found_under(vec![fixture::tier("t", json!({}))], &namespace());
    let of = |name: &str, direction, severity| (String::from(name), direction, severity);
    let expected = [
        of("a", Ingress, Severity::Open),
        of("a", Egress, Severity::Open),
        of("c", Egress, Severity::Open),
        of("b", Ingress, Severity::Cluster),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_direction_that_is_not_isolated_cannot_be_widened() {
    let found = found_under(vec![fixture::tier("t", json!({"isolate": ["Ingress"]}))], &namespace());
    assert!(
        found.iter().all(|(_, direction, _)| *direction == Direction::Ingress),
        "{found:?}"
    );
    assert_eq!(found.len(), 2);
}

#[test]
fn where_no_tier_governs_nothing_is_widened() {
    let observe = || fixture::tier("t", json!({"mode": "Observe"}));
    assert_eq!(found_under(vec![observe()], &namespace()), []);
    assert_eq!(found_under(vec![], &namespace()), []);
    let exempt = Namespace {
        name: String::from("kube-system"),
        ..namespace()
    };
    assert_eq!(found_under(vec![fixture::tier("t", json!({}))], &exempt), []);
}

#[test]
fn what_is_too_large_to_compare_counts_as_open_in_the_directions_that_it_has() {
    let peers: Vec<_> = (0..2_000)
        .map(|index| block(&format!("10.{}.{}.0/24", index / 256, index % 256), &[]))
        .collect();
    let spec: NetworkPolicySpec = serde_json::from_value(from(json!(peers), json!([]))).unwrap();
    let policy = ForeignPolicy::new("large", &spec);
    assert!(matches!(policy.spec, ForeignSpec::NotKept(_)));
    let found = widenings(
        &rendered(&[json!({"podSelector": {}, "ingress": [{}]})]),
        &both(),
        &namespace(),
        &policy,
    );
    let [
        Widening {
            direction: Direction::Ingress,
            severity: Severity::Open,
            detail,
            ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert!(detail.contains("more than the 32768 that are compared"), "{detail}");
}

#[test]
fn what_was_kept_and_is_no_spec_counts_as_open() {
    let policy = ForeignPolicy {
        name: String::from("torn"),
        spec: ForeignSpec::Kept("{\"podSelector\":".into()),
    };
    let found = widenings(&rendered(&[]), &both(), &namespace(), &policy);
    assert_eq!(
        found.iter().map(|widening| widening.severity).collect::<Vec<_>>(),
        [Severity::Open; 2]
    );
}
