use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::policy::fixture::{known_facts, namespace, observed, older_namespace, open_policy, stored, tier, world};
use crate::policy::observed::{Marks, TierOwner};
use crate::policy::{Fact, Facts, ParsedTier};

mod drift_causes;
mod hostile;
mod partly_marked;
mod put_off;
mod ungoverned;
mod unresolved;

const BASE_EGRESS: &str = "cofferdam-baseline-egress";
const BASE_INGRESS: &str = "cofferdam-baseline-ingress";
const API_EGRESS: &str = "cofferdam-allow-api-egress";

fn name(name: &str) -> PolicyName {
    PolicyName::reserved(name).unwrap()
}

/// DNS for every pod, the API server for some.
fn tier_x() -> ParsedTier {
    tier(
        "x",
        json!({"allow": [{"name": "dns", "preset": "DNS"},
        {"name": "api", "preset": "KubeAPIServer", "podSelector": {"matchLabels": {"needs-api": "true"}}}]}),
    )
}

/// What stands once a first plan was carried out.
fn protected(world: &World, namespace: &Namespace) -> ObservedPolicies {
    observed(
        namespace,
        plan(world, namespace, &ObservedPolicies::new(), None).writes(),
    )
}

/// What is remembered when every change of a plan succeeded.
fn record_of(world: &World, namespace: &Namespace, plan: &Plan) -> NamespaceRecord {
    let mut written = plan.in_place.clone();
    written.extend(plan.writes().map(|write| (write.name.clone(), write.written())));
    let governor = assign(world, namespace, &ObservedPolicies::new(), None).governor.tier();
    NamespaceRecord {
        namespace_uid: namespace.uid.clone(),
        governor: governor.map(|ranked| Arc::clone(ranked.tier.identity())),
        written,
        ..NamespaceRecord::default()
    }
}

/// Names with causes, of every change.
fn causes(plan: &Plan) -> Vec<(&str, Cause)> {
    let writes = plan.writes().map(|write| (write.name.as_str(), write.cause));
    writes
        .chain(
            plan.removals
                .iter()
                .map(|removal| (removal.name.as_str(), removal.cause)),
        )
        .collect()
}

/// Somebody changed the spec of what stands under that name.
fn tamper(standing: &mut ObservedPolicies, policy: &str, spec: Value) {
    let mut changed = open_policy(policy);
    changed.spec = Some(serde_json::from_value(spec).unwrap());
    let live = standing.get_mut(&name(policy)).unwrap();
    *live = ObservedPolicy {
        marks: live.marks.clone(),
        deleting: live.deleting,
        ..stored(changed).1
    };
}

fn removal(name: &str, uid: &str) -> Removal {
    Removal {
        name: PolicyName::reserved(name).unwrap(),
        uid: uid.into(),
        resource_version: "7".into(),
        cause: Cause::Pending,
        releases_from: None,
    }
}

#[test]
fn a_release_that_is_not_planned_again_takes_nothing_along() {
    let (base, extra) = (
        removal("cofferdam-baseline-egress", "a"),
        removal("cofferdam-allow-x-egress", "b"),
    );
    let planned = Plan {
        removals: vec![base.clone(), extra.clone()],
        ..Plan::default()
    };
    for (again, kept) in [
        (vec![base, extra.clone()], 2),
        (vec![], 0),
        (vec![removal("cofferdam-baseline-egress", "another"), extra], 1),
    ] {
        let mut plan = planned.clone();
        let all = plan.keep_removals_also_in(&Plan {
            removals: again,
            ..Plan::default()
        });
        assert_eq!((plan.removals.len(), all), (kept, kept == 2));
    }
}

#[test]
fn only_the_bases_and_what_we_allow_beside_them_wait_for_a_release() {
    const FOREIGN: &str = "cofferdam-allow-theirs-egress";
    let (base, allowance, other) = (BASE_EGRESS, API_EGRESS, "cofferdam-allow-web-ingress");
    for (planned, waits) in [
        (vec![base], vec![base]),
        (vec![allowance, FOREIGN, other], vec![]),
        (vec![allowance, base, FOREIGN, other], vec![allowance, base]),
        (
            vec![allowance, base, BASE_INGRESS, FOREIGN, other],
            vec![allowance, base, BASE_INGRESS, other],
        ),
        (
            vec!["cofferdam-allow-nowhere", base],
            vec!["cofferdam-allow-nowhere", base],
        ),
    ] {
        let removals = planned.iter().map(|name| Removal {
            cause: if *name == FOREIGN {
                Cause::Drift(DriftKind::Surplus)
            } else {
                Cause::Pending
            },
            ..removal(name, "uid")
        });
        let mut plan = Plan {
            removals: removals.collect(),
            ..Plan::default()
        };
        let all = plan.removals.len();
        let goes = plan.take_what_opens_nothing();
        let names = plan.removals.iter().map(|removal| removal.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), waits, "of {planned:?}");
        assert_eq!(goes.len() + plan.removals.len(), all);
        // What a brake keeps is what waits, but for bases of others.
        let mut braked = Plan {
            removals: goes.clone(),
            ..Plan::default()
        };
        braked.hold_back(
            &plan
                .removals
                .iter()
                .filter_map(|removal| removal.name.baseline_direction())
                .collect(),
        );
        assert_eq!(braked.removals, goes);
    }
}
