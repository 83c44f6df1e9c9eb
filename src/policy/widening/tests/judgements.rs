//! Judging policy by policy, and only what changed, comes to the same as judging all anew.

use std::time::Duration;

use super::*;
use crate::policy::{ObservedPolicies, World, assign, fixture};

fn specs() -> [Value; 6] {
    [
        json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
        from(json!([{"podSelector": {}}]), json!([{"port": 81}])),
        from(json!([{"namespaceSelector": {}}]), json!([])),
        from(json!([block("10.0.0.0/8", &[])]), json!([])),
        from(json!([]), json!([])),
        json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}),
    ]
}

fn worlds() -> Vec<World> {
    let same = json!([{"name": "same", "preset": "SameNamespace", "ports": [{"port": 80}]}]);
    let tiers = [
        vec![fixture::tier("t", json!({"allow": same}))],
        vec![fixture::tier("t", json!({"isolate": ["Egress"], "allow": same}))],
        vec![fixture::tier("other", json!({}))],
        vec![fixture::tier("t", json!({"foreignPolicies": "Ignore"}))],
        vec![fixture::tier("t", json!({"mode": "Observe"}))],
    ];
    tiers
        .into_iter()
        .map(|tiers| fixture::world(tiers, Facts::unread()))
        .collect()
}

fn theirs(name: &str, spec: &Value) -> ForeignPolicy {
    ForeignPolicy::new(name, &serde_json::from_value(spec.clone()).unwrap())
}

/// Judges at most `steps` policies and gives back what is to be reported.
fn judge(
    judgements: &mut Judgements,
    world: &World,
    foreign: &[ForeignPolicy],
    steps: usize,
    second: u64,
) -> Option<WideningSummary> {
    let namespace = namespace();
    let governor = assign(world, &namespace, &ObservedPolicies::new(), None).governor;
    judgements.update(governor, &namespace, foreign.to_vec());
    let mut judge = Judge::new(AllowedByTier::of(governor, &namespace)?);
    for _ in 0..steps {
        judgements.judge_next(&mut judge, Duration::from_secs(second));
    }
    judgements.summary(&mut judge, &namespace)
}

fn news(judgements: &mut Judgements) -> Vec<(String, Severity)> {
    let news = judgements.take_news().into_iter();
    news.map(|widening| (widening.policy, widening.severity)).collect()
}

/// What is to be reported, from all policies at once.
fn from_scratch(world: &World, foreign: &[ForeignPolicy]) -> Option<(PoliciesBySeverity, Option<Severity>)> {
    let namespace = namespace();
    let governor = assign(world, &namespace, &ObservedPolicies::new(), None).governor;
    governor.reporting_tier()?;
    let widenings = widenings_of_namespace(governor, &namespace, foreign);
    let (mut counted, mut policies) = (BTreeSet::new(), PoliciesBySeverity::default());
    for widening in &widenings {
        if counted.insert(&widening.policy) {
            policies.add(widening.severity);
        }
    }
    Some((policies, widenings.first().map(|worst| worst.severity)))
}

#[test]
fn after_any_history_the_same_is_reported_as_from_scratch() {
    let (specs, worlds) = (specs(), worlds());
    let mut reported = 0;
    for seed in 0..150_u64 {
        let mut state = seed;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut judgements = Judgements::new(seed % 2 == 0);
        let mut foreign: BTreeMap<usize, ForeignPolicy> = BTreeMap::new();
        for step in 0..12 {
            for _ in 0..random(4) {
                let name = random(5);
                match random(specs.len() + 1) {
                    gone if gone == specs.len() => _ = foreign.remove(&name),
                    spec => _ = foreign.insert(name, theirs(&format!("p{name}"), &specs[spec])),
                }
            }
            let (world, steps) = (&worlds[random(worlds.len())], random(4));
            let stands: Vec<_> = foreign.values().cloned().collect();
            judge(&mut judgements, world, &stands, steps, step);
            let mut finished = judgements.clone();
            let summary = judge(&mut finished, world, &stands, 10, step);
            assert!(finished.is_complete(), "seed {seed}, step {step}");
            let found = summary.map(|summary| (summary.policies, summary.worst.map(|(severity, _)| severity)));
            assert_eq!(found, from_scratch(world, &stands), "seed {seed}, step {step}");
            reported += found.map_or(0, |(policies, _)| policies.total());
        }
    }
    assert!(reported > 1_000, "{reported}");
}

#[test]
fn what_did_not_change_is_not_judged_again() {
    let (specs, worlds) = (specs(), worlds());
    let mut judgements = Judgements::new(false);
    let foreign = [theirs("a", &specs[4]), theirs("b", &specs[2])];
    judge(&mut judgements, &worlds[0], &foreign, 2, 0);
    judge(&mut judgements, &worlds[0], &foreign, 0, 0);
    assert!(judgements.is_complete());
    let foreign = [theirs("a", &specs[4]), theirs("b", &specs[3])];
    judge(&mut judgements, &worlds[0], &foreign, 1, 0);
    assert!(judgements.is_complete(), "one policy changed, one was judged");
    judge(&mut judgements, &worlds[1], &foreign, 1, 0);
    assert!(!judgements.is_complete(), "another rendering concerns both");
}

#[test]
fn whoever_changes_a_policy_again_and_again_does_not_hide_another() {
    let (specs, worlds) = (specs(), worlds());
    let mut judgements = Judgements::new(false);
    for round in 0..3 {
        let foreign = [
            theirs("a", &specs[round % 2]),
            theirs("b", &specs[round % 2]),
            theirs("z", &specs[4]),
        ];
        judge(&mut judgements, &worlds[0], &foreign, 1, 0);
    }
    assert_eq!(news(&mut judgements).last(), Some(&(String::from("z"), Severity::Open)));
}

#[test]
fn what_was_judged_counts_before_all_is_judged() {
    let (specs, worlds) = (specs(), worlds());
    let foreign = [theirs("a", &specs[4]), theirs("b", &specs[4])];
    let summary = judge(&mut Judgements::new(false), &worlds[0], &foreign, 1, 0).unwrap();
    assert_eq!((summary.policies.total(), summary.complete), (1, false));
}

#[test]
fn a_widening_is_said_when_it_appears_and_when_it_gets_worse() {
    let (specs, worlds) = (specs(), worlds());
    let mut judgements = Judgements::new(false);
    let of = |severity| vec![(String::from("a"), severity)];
    // What stands, when, and what is said of it.
    let history = [
        (Some(2), 0, of(Severity::Cluster)),
        (Some(2), 1, vec![]),
        (Some(1), 2, vec![]),
        (Some(2), 3, vec![]),
        (Some(4), 4, of(Severity::Open)),
        (None, 5, vec![]),
        (Some(4), 6, vec![]),
        (Some(0), 7, vec![]),
        (Some(4), 700, of(Severity::Open)),
    ];
    for (spec, second, expected) in history {
        let foreign: Vec<_> = spec.map(|spec: usize| theirs("a", &specs[spec])).into_iter().collect();
        judge(&mut judgements, &worlds[0], &foreign, 5, second);
        assert_eq!(news(&mut judgements), expected, "at {second}");
    }
}

#[test]
fn what_stood_before_is_no_news_until_it_gets_worse() {
    let (specs, worlds) = (specs(), worlds());
    let mut judgements = Judgements::new(true);
    judge(
        &mut judgements,
        &worlds[0],
        &[theirs("a", &specs[2]), theirs("b", &specs[4])],
        1,
        0,
    );
    judge(
        &mut judgements,
        &worlds[0],
        &[theirs("a", &specs[2]), theirs("b", &specs[4])],
        1,
        0,
    );
    assert_eq!(news(&mut judgements), []);
    judge(
        &mut judgements,
        &worlds[0],
        &[theirs("a", &specs[4]), theirs("b", &specs[4])],
        1,
        1,
    );
    assert_eq!(news(&mut judgements), [(String::from("a"), Severity::Open)]);
}

#[test]
fn policies_that_come_and_go_fill_no_memory() {
    let (specs, worlds) = (specs(), worlds());
    let mut judgements = Judgements::new(false);
    for number in 0..1_000 {
        judge(
            &mut judgements,
            &worlds[0],
            &[theirs(&format!("p{number}"), &specs[4])],
            1,
            0,
        );
    }
    assert!(judgements.remembers() <= 110, "{}", judgements.remembers());
}
