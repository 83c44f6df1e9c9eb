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

#[test]
fn a_release_that_is_not_planned_again_takes_nothing_along() {
    let removal = |name: &str, uid: &str| Removal {
        name: PolicyName::reserved(name).unwrap(),
        uid: uid.into(),
        resource_version: "7".into(),
        cause: Cause::Pending,
        releases_from: None,
    };
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
