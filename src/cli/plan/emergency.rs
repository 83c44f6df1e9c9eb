//! How to stop, told before it is needed.

use std::collections::BTreeSet;

use crate::api::names::{MANAGED_BY, MANAGED_BY_LABEL, TIER_LABEL};

/// What to type when a tier cuts what it should not. Nothing, where no tier is about to cut.
pub fn instructions(tiers: &BTreeSet<String>, own_namespace: &str) -> Option<String> {
    let tier = match tiers.len() {
        0 => return None,
        1 => tiers.first().map_or("TIER", String::as_str),
        _ => "TIER",
    };
    Some(format!(
        "note: to stop in an emergency:
  one namespace, unless a tier selects every one: change its labels so that no tier selects it; its policies go
  one tier: kubectl patch isolationtier {tier} --type=merge --patch='{{\"spec\":{{\"mode\":\"Observe\"}}}}'
    hands its namespaces to the next Enforce tier; where there is none they keep their policies, unhealed, until
    kubectl delete networkpolicies --all-namespaces --selector={TIER_LABEL}={tier}
  everything: kubectl scale deployment cofferdam --namespace={own_namespace} --replicas=0, then
    kubectl delete networkpolicies --all-namespaces --selector={MANAGED_BY_LABEL}={MANAGED_BY}"
    ))
}
