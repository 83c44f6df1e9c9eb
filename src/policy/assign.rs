//! Who governs a namespace.

use std::sync::Arc;

use kube::core::SelectorExt;

use super::{Namespace, NamespaceRecord, ObservedPolicies, ObservedPolicy, RankedTier, World};
use crate::api::ForeignPolicies;

/// What rules in a namespace.
#[derive(Clone, Debug)]
pub struct Assignment<'world> {
    /// Who governs.
    pub governor: Governor<'world>,
    /// The Observe tiers that would govern if they enforced: they outrank the governor, or there is none.
    pub shadows: Vec<&'world RankedTier>,
    /// Every tier that selects the namespace, highest rank first.
    pub selected_by: Vec<&'world RankedTier>,
    /// Enforce tiers of the governor's precedence that lost to it by name only.
    pub tied_with: Vec<&'world RankedTier>,
}

/// Who governs a namespace.
#[derive(Clone, Copy, Debug)]
pub enum Governor<'world> {
    /// Exempt by name: nothing there is ours.
    Exempt,
    /// Being deleted: left alone.
    Terminating,
    /// A tier, whole or broken.
    Tier(&'world RankedTier),
    /// Only Observe tiers select it: it keeps what it has.
    ObserveOnly,
    /// No tier selects it.
    Nobody,
}

/// Finds who governs `namespace`. `observed` and `record` matter only for tiers whose selector cannot be read: those
/// keep the namespaces that they governed when these were last planned. Only where that is not remembered do the marks on
/// the policies tell: a tenant may write them, and strip them.
pub fn assign<'world>(
    world: &'world World,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Assignment<'world> {
    let nobody = |governor| Assignment {
        governor,
        shadows: Vec::new(),
        selected_by: Vec::new(),
        tied_with: Vec::new(),
    };
    if world.exemptions().contains(&namespace.name) {
        return nobody(Governor::Exempt);
    }
    if namespace.terminating {
        return nobody(Governor::Terminating);
    }
    let record = record.filter(|record| record.namespace_uid == namespace.uid);
    let governed_by = record.and_then(|record| record.governor.as_ref().map(|governor| Arc::clone(&governor.uid)));
    let selected_by: Vec<_> = world
        .candidates(namespace)
        .filter(|ranked| selects(world, ranked, namespace, observed, governed_by.as_deref()))
        .collect();
    let first_enforcing = selected_by.iter().position(|ranked| !ranked.tier.is_observe());
    let outranking = first_enforcing.unwrap_or(selected_by.len());
    let shadows = selected_by[..outranking].to_vec();
    let (governor, tied_with) = match first_enforcing.map(|index| selected_by[index]) {
        Some(governor) => (
            Governor::Tier(governor),
            tied_with(governor, &selected_by[outranking + 1..]),
        ),
        None if shadows.is_empty() => (Governor::Nobody, Vec::new()),
        None => (Governor::ObserveOnly, Vec::new()),
    };
    Assignment {
        governor,
        shadows,
        selected_by,
        tied_with,
    }
}

fn selects(
    world: &World,
    ranked: &RankedTier,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    governed_by: Option<&str>,
) -> bool {
    let uid = &ranked.tier.identity().uid;
    let owns = |policy: &ObservedPolicy| {
        world
            .agreed_owner(&policy.marks)
            .is_some_and(|owner| owner.tier.identity().uid == *uid)
    };
    match (ranked.tier.claim(), governed_by) {
        (Some(claim), _) => claim.selector.matches(&namespace.labels),
        (None, Some(governed_by)) => *governed_by == **uid,
        (None, None) => observed.values().any(owns),
    }
}

fn tied_with<'world>(governor: &RankedTier, lower: &[&'world RankedTier]) -> Vec<&'world RankedTier> {
    let precedence = |ranked: &RankedTier| ranked.tier.claim().map(|claim| claim.precedence);
    let tied = lower
        .iter()
        .filter(|ranked| !ranked.tier.is_observe() && precedence(ranked) == precedence(governor));
    tied.copied().collect()
}

impl<'world> Governor<'world> {
    /// The governing tier, if one governs.
    pub fn tier(&self) -> Option<&'world RankedTier> {
        match self {
            Self::Tier(ranked) => Some(ranked),
            _ => None,
        }
    }

    /// The governing tier, if one governs that reports what other people's policies allow beyond it.
    pub fn reporting_tier(&self) -> Option<&'world RankedTier> {
        self.tier()
            .filter(|ranked| ranked.tier.foreign_policies() == ForeignPolicies::Report)
    }

    /// The name of the governing tier, if one governs.
    pub fn tier_name(&self) -> Option<Arc<str>> {
        self.tier().map(|ranked| Arc::clone(&ranked.tier.identity().name))
    }
}

#[cfg(test)]
mod tests;
