use serde_json::{Value, json};

use super::*;
use crate::api::Direction;
use crate::policy::fixture::{known_facts, namespace, observed, older_namespace, open_policy, stored, tier, world};
use crate::policy::observed::{Marks, TierOwner};
use crate::policy::{Fact, Facts, ParsedTier};

mod ungoverned;

const BASE_EGRESS: &str = "cofferdam-baseline-egress";
const BASE_INGRESS: &str = "cofferdam-baseline-ingress";

fn name(name: &str) -> PolicyName {
    PolicyName::reserved(name).unwrap()
}

/// What stands once a first plan was carried out.
fn protected(world: &World, namespace: &Namespace) -> ObservedPolicies {
    observed(namespace, plan(world, namespace, &ObservedPolicies::new(), None).writes())
}
