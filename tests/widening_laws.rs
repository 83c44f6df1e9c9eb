//! What must hold of widenings whatever the policies are, against every connection of a small world.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a test's own code: a panic is its report

#[path = "widening_laws/generated_policies.rs"]
mod generated_policies;
#[path = "widening_laws/naive_evaluation.rs"]
mod naive_evaluation;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam::api::Direction;
use cofferdam::policy::widening::{AllowedByTier, ForeignPolicy, ForeignSpec, Severity, Widening, widenings};
use cofferdam::policy::{Namespace, PolicyName, Rendered, RenderedPolicy, SpecDigest};
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use generated_policies::{policy, rule, tier, tier_and_policy};
use naive_evaluation::{Enforcer, HERE, Worst, here, worst_beyond};

const CASES: u32 = 300;

fn namespace() -> Namespace {
    Namespace {
        name: HERE.to_owned(),
        uid: String::from("1"),
        labels: here(),
        created: None,
        terminating: false,
    }
}

fn rendered(specs: &[NetworkPolicySpec]) -> Rendered {
    let policy = |(index, spec): (usize, &NetworkPolicySpec)| {
        let policy = RenderedPolicy {
            direction: Direction::Ingress,
            spec: spec.clone(),
            digest: SpecDigest::of(spec),
            unresolved: Vec::new(),
        };
        let name = PolicyName::allow(&index.to_string(), Direction::Ingress);
        (name, Arc::new(policy))
    };
    Rendered {
        policies: specs.iter().enumerate().map(policy).collect(),
        ..Rendered::default()
    }
}

fn foreign(spec: &NetworkPolicySpec) -> ForeignPolicy {
    // Past the limit of what is kept, which would hide how long it takes to compare.
    let text = serde_json::to_string(spec).unwrap();
    ForeignPolicy {
        name: String::from("theirs"),
        spec: ForeignSpec::Kept(text.into()),
    }
}

fn both_directions() -> BTreeSet<Direction> {
    BTreeSet::from([Direction::Ingress, Direction::Egress])
}

fn reported(tier: &[NetworkPolicySpec], spec: &NetworkPolicySpec) -> Vec<Widening> {
    widenings(&rendered(tier), &both_directions(), &namespace(), &foreign(spec))
}

/// Of a policy for one direction.
fn reported_severity(tier: &[NetworkPolicySpec], spec: &NetworkPolicySpec) -> Option<Severity> {
    let reported = reported(tier, spec);
    assert!(reported.len() <= 1, "{reported:?}");
    reported.first().map(|widening| widening.severity)
}

/// The least severity that tells the truth about what is beyond.
fn least_severity(worst: Worst) -> Severity {
    match worst {
        Worst::Ports => Severity::Port,
        Worst::Pods => Severity::Cluster,
        Worst::Addresses => Severity::External,
    }
}

fn run<S: Strategy>(strategy: &S, cases: u32, law: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    if let Err(failure) = TestRunner::new(config).run(strategy, law) {
        panic!("{failure}");
    }
}

fn either_direction<S: Strategy>(of: impl Fn(bool) -> S) -> impl Strategy<Value = (bool, S::Value)> {
    prop_oneof![(Just(false), of(false)), (Just(true), of(true))]
}

/// How often each answer was given, so that a law that holds by chance does not pass for one that was tried.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    harmless: u32,
    by_severity: [u32; 4],
    /// Reported, where an enforcer lets nothing more through; by enforcer.
    reported_in_vain: [u32; 4],
}

// Both at once: no policy that widens is called harmless or less bad than the worst enforcer makes it, and none is
// reported in vain.
#[test]
fn what_is_reported_is_what_an_exhaustive_search_finds() {
    let counts = Cell::new(Counts::default());
    run(&either_direction(tier_and_policy), CASES, |(egress, (tier, theirs))| {
        let by_enforcer = Enforcer::ALL.map(|enforcer| worst_beyond(&tier, &theirs, egress, enforcer));
        let worst = by_enforcer.into_iter().max().flatten();
        let severity = reported_severity(&tier, &theirs);
        prop_assert!(
            severity >= worst.map(least_severity),
            "{severity:?} reported, {worst:?} found"
        );
        if severity == Some(Severity::Open) {
            prop_assert!(worst > Some(Worst::Ports), "{severity:?} reported, {worst:?} found");
        } else {
            prop_assert_eq!(severity, worst.map(least_severity));
        }
        let mut counted = counts.get();
        match severity {
            None => counted.harmless += 1,
            Some(severity) => {
                counted.by_severity[severity as usize] += 1;
                for (in_vain, worst) in counted.reported_in_vain.iter_mut().zip(by_enforcer) {
                    *in_vain += u32::from(worst.is_none());
                }
            }
        }
        counts.set(counted);
        Ok(())
    });
    let counts = counts.get();
    println!("{CASES} policies: {counts:?}");
    assert!(counts.harmless > CASES / 10, "{counts:?}");
    assert!(counts.by_severity.iter().all(|count| *count > CASES / 40), "{counts:?}");
    assert!(
        counts.reported_in_vain.iter().all(|count| *count < CASES / 20),
        "{counts:?}"
    );
}

#[test]
fn another_rule_of_theirs_hides_nothing() {
    let with_rule = |egress| (tier_and_policy(egress), rule(egress), any::<bool>());
    run(
        &either_direction(with_rule),
        4 * CASES,
        |(egress, ((tier, theirs), rule, first))| {
            let mut more = theirs.clone();
            let rule: Value = rule;
            if egress {
                let rules = more.egress.get_or_insert_default();
                rules.insert(
                    if first { 0 } else { rules.len() },
                    serde_json::from_value(rule).unwrap(),
                );
            } else {
                let rules = more.ingress.get_or_insert_default();
                rules.insert(
                    if first { 0 } else { rules.len() },
                    serde_json::from_value(rule).unwrap(),
                );
            }
            prop_assert!(reported_severity(&tier, &theirs) <= reported_severity(&tier, &more));
            Ok(())
        },
    );
}

#[test]
fn another_policy_of_the_tier_adds_nothing() {
    let with_policy = |egress| (tier_and_policy(egress), policy(egress), any::<bool>());
    run(
        &either_direction(with_policy),
        4 * CASES,
        |(_, ((tier, theirs), policy, first))| {
            let mut more = tier.clone();
            more.insert(if first { 0 } else { tier.len() }, policy);
            prop_assert!(reported_severity(&more, &theirs) <= reported_severity(&tier, &theirs));
            Ok(())
        },
    );
}

#[test]
fn a_tier_does_not_widen_itself_and_the_order_of_rules_decides_nothing() {
    run(&either_direction(tier), 4 * CASES, |(_, tier)| {
        for theirs in &tier {
            prop_assert_eq!(reported(&tier, theirs), []);
        }
        if let Some((theirs, rest)) = tier.split_first() {
            prop_assert_eq!(reported(rest, theirs), reported(rest, theirs));
            let mut turned = theirs.clone();
            turned.ingress.iter_mut().for_each(|rules| rules.reverse());
            turned.egress.iter_mut().for_each(|rules| rules.reverse());
            let mut others = rest.to_vec();
            others.reverse();
            prop_assert_eq!(reported_severity(rest, theirs), reported_severity(&others, &turned));
        }
        Ok(())
    });
}

// The bounds on time are for a build without optimisation on a busy machine; the printed figures are what counts.
#[test]
fn a_thousand_policies_of_a_namespace_take_no_time() {
    let allow = |index: usize| {
        let namespaces = json!({"matchLabels": {"kubernetes.io/metadata.name": format!("team-{index}")}});
        json!({"from": [{"namespaceSelector": namespaces}, {"ipBlock": {"cidr": format!("10.{index}.0.0/16")}}], "ports": [{"port": 8080}, {"port": "metrics"}]})
    };
    let rules: Vec<_> = (0..31)
        .map(allow)
        .chain([json!({"from": [{"podSelector": {}}]})])
        .collect();
    let tier: NetworkPolicySpec = serde_json::from_value(json!({"podSelector": {}, "ingress": rules})).unwrap();
    let theirs = |index: usize| {
        let port = if index.is_multiple_of(2) { 8080 } else { 8081 };
        let peers = json!([{"podSelector": {"matchLabels": {"app": format!("app-{index}")}}},
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": format!("team-{}", index % 31)}}},
            {"ipBlock": {"cidr": format!("10.{}.{}.0/24", index % 31, index % 256)}}]);
        let spec = json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": peers, "ports": [{"port": port}]}]});
        foreign(&serde_json::from_value(spec).unwrap())
    };
    let theirs: Vec<_> = (0..1_000).map(theirs).collect();
    let (rendered, namespace, isolate) = (rendered(&[tier]), namespace(), both_directions());
    let start = Instant::now();
    let allowed = AllowedByTier::new(&rendered, &isolate, &namespace);
    let widening = theirs
        .iter()
        .filter(|theirs| !allowed.widenings(theirs).is_empty())
        .count();
    let took = start.elapsed();
    println!("1,000 policies against a tier of 32 rules: {took:?}");
    assert_eq!(widening, 500);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

// Each of these is as large as the API server takes, and written to be hard to compare.
#[test]
fn a_policy_that_is_made_to_be_expensive_is_reported_in_bounded_time() {
    let namespaces = |index: usize| {
        json!({"namespaceSelector": {"matchExpressions": [{"key": format!("k{index}"), "operator": "NotIn", "values": ["x"]},
            {"key": format!("l{index}"), "operator": "NotIn", "values": ["x"]}]}})
    };
    let tier: Vec<_> = (0..32).map(namespaces).collect();
    let web: Vec<_> = (0..16).map(|index| json!({"port": index * 2 + 1})).collect();
    let tier: NetworkPolicySpec =
        serde_json::from_value(json!({"podSelector": {}, "ingress": [{"from": tier, "ports": web}]})).unwrap();
    let values: Vec<_> = (0..50_000).map(|index| format!("v{index}")).collect();
    let ports: Vec<_> = (1..30_000).map(|index| json!({"port": index * 2})).collect();
    let names: Vec<_> = (0..20_000).map(|index| json!({"port": format!("n{index}")})).collect();
    for (what, rule) in [
        (
            "every namespace",
            json!({"from": [{"namespaceSelector": {}}], "ports": [{"port": 1}]}),
        ),
        (
            "values",
            json!({"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": values}]}}], "ports": [{"port": 1}]}),
        ),
        (
            "peers and ports",
            json!({"from": vec![json!({"podSelector": {}}); 20_000], "ports": ports}),
        ),
        (
            "peers and names",
            json!({"from": vec![json!({"podSelector": {}}); 20_000], "ports": names}),
        ),
        (
            "blocks",
            json!({"from": (0..20_000).map(|index| json!({"ipBlock": {"cidr": format!("10.{}.{}.{}/32", index >> 16, index >> 8 & 255, index & 255)}})).collect::<Vec<_>>()}),
        ),
    ] {
        let spec: NetworkPolicySpec = serde_json::from_value(json!({"podSelector": {}, "ingress": [rule]})).unwrap();
        let start = Instant::now();
        let reported = reported(std::slice::from_ref(&tier), &spec);
        let took = start.elapsed();
        println!("{what}: {took:?}: {}", reported[0].detail);
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
    }
}
