//! The end of a tier that takes its policies along: what is still to be done before it may go.

use super::assign::{Governor, assign};
use super::{Namespace, NamespaceRecord, NamespaceState, ObservedPolicies, ParsedTier, PolicyName, RankedTier, World};
use crate::api::DeletionPolicy;

/// What has to be done about our finalizer on a tier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FinalizerChange {
    /// The tier must not go before its policies are handed over or removed.
    Add,
    /// It may go, or it leaves its policies behind anyway.
    Remove,
}

/// What has to be done about our finalizer on `tier`, where `has_our_finalizer` says whether it is there. `outstanding` tells
/// in how many namespaces something is still to be done; it is asked only where that decides. Where the definition of tiers
/// ends, all of them count as `Retain`: the API server waits with it until the last finalizer is gone.
pub fn finalizer_change(
    tier: &ParsedTier,
    has_our_finalizer: bool,
    definition_ends: bool,
    outstanding: impl FnOnce() -> usize,
) -> Option<FinalizerChange> {
    let removes = tier.deletion_policy() == DeletionPolicy::Remove && !definition_ends;
    let terminating = tier.identity().terminating;
    match has_our_finalizer {
        // The API server takes no new finalizer once the tier is being deleted.
        false => (removes && !terminating).then_some(FinalizerChange::Add),
        true if !removes || (terminating && outstanding() == 0) => Some(FinalizerChange::Remove),
        true => None,
    }
}

/// Whether something is still to be done in a namespace before `tier`, which departs, may go.
///
/// A hand-over that fails, waits for an allowance, or goes to a tier that does not parse, does not keep it: its policies
/// stay, and the next tier takes them over when it can. A release that is held or fails does: nobody would make it later.
pub fn is_outstanding(
    world: &World,
    tier: &ParsedTier,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> bool {
    let record = record.filter(|record| record.namespace_uid == namespace.uid);
    let governor = assign(world, namespace, observed, record).governor;
    if matches!(
        governor,
        Governor::Exempt | Governor::Terminating | Governor::ObserveOnly
    ) {
        return false;
    }
    let uid = &tier.identity().uid;
    // A write of the time when it governed may be on its way.
    let not_planned_since = match record {
        None => tier.claim().is_none_or(|claim| claim.selects(namespace)),
        Some(record) => record.governor.as_ref().is_some_and(|governor| governor.uid == *uid),
    };
    let stands = observed.iter().filter(|(_, live)| !live.deleting).any(|(name, live)| {
        let owned = live.marks.tier_owner.as_ref().is_some_and(|owner| *owner.uid == **uid);
        match governor {
            Governor::Tier(governor) => owned && !is_kept(governor, record, name, uid),
            _ => {
                let owner = world.departing_owner(namespace, &live.marks);
                owner.is_some_and(|owner| owner.uid == *uid)
            }
        }
    });
    let put_off = matches!(governor, Governor::Tier(_))
        && record.is_some_and(|record| matches!(record.state, NamespaceState::Failed(_) | NamespaceState::Waiting));
    not_planned_since || (stands && !put_off)
}

/// Whether the tier that governs by now leaves a policy of the departing one as it is: it does not parse, or does not know
/// yet what it is to allow. A base that it does not want is a release.
fn is_kept(governor: &RankedTier, record: Option<&NamespaceRecord>, name: &PolicyName, departing: &str) -> bool {
    let Some(record) = record.filter(|record| record.state == NamespaceState::Protected) else {
        return false;
    };
    let written = record.written.get(name);
    let rendered = &governor.rendered;
    written.is_some_and(|written| *written.tier.uid == *departing)
        && (rendered.keeps_everything || rendered.policies.contains_key(name) || !name.is_base())
}

#[cfg(test)]
mod tests;
