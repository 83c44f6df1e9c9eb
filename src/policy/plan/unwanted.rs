//! What stands and is not wanted: it goes, or stays for a reason.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use super::{Action, Plan, Removal, Write};
use crate::api::Direction;
use crate::policy::drift::{Cause, DriftKind, Written};
use crate::policy::render::{closed, emptied};
use crate::policy::{
    Namespace, ObservedPolicies, ObservedPolicy, ParsedTier, PolicyName, RankedTier, RenderedPolicy, TierIdentity,
    World,
};

/// In a namespace that no tier selects: the policies whose owning uid is a live tier, which therefore no
/// longer selects it, or one that takes its policies along when it is deleted. Those of other deleted tiers are
/// retained, and those of a tier that does not parse stay until it does.
pub(super) fn left_behind(world: &World, namespace: &Namespace, observed: &ObservedPolicies) -> Vec<Removal> {
    let left = observed.iter().filter(|(_, live)| !live.deleting);
    left.filter_map(|(name, live)| {
        let owner = match world.agreed_owner(&live.marks).map(|owner| &owner.tier) {
            Some(ParsedTier::Whole(tier)) => &tier.identity,
            Some(ParsedTier::Broken(_)) => return None,
            None => world.departing_owner(namespace, &live.marks)?,
        };
        Some(removal(name, live, Cause::Pending, Some(owner)))
    })
    .collect()
}

/// What stands for a direction that is not isolated any more and lost some of its marks, where nobody remembers it: its base
/// isolates all the same, and is taken for the governor's for want of a better. It is as written only if the mark that tells of
/// its spec says so.
pub(super) fn taken_for_the_governors(
    governor: &RankedTier,
    name: &PolicyName,
    live: &ObservedPolicy,
) -> Option<Written> {
    let direction = name.direction()?;
    if governor.tier.isolate().contains(&direction) || live.marks.is_none() {
        return None;
    }
    let as_marked = live.marks.rendered.filter(|rendered| *rendered == live.spec);
    Some(Written {
        spec: as_marked.unwrap_or_else(|| closed(direction).digest),
        tier: Arc::clone(governor.tier.identity()),
    })
}

/// `from` is the tier that the opening of its direction counts for, if it was ours.
fn removal(name: &PolicyName, live: &ObservedPolicy, cause: Cause, from: Option<&Arc<TierIdentity>>) -> Removal {
    Removal {
        name: name.clone(),
        uid: live.uid.clone(),
        resource_version: live.resource_version.clone(),
        cause,
        releases_from: from.filter(|_| name.is_base()).map(Arc::clone),
    }
}

impl Removal {
    /// Whether it is the base of one of these directions, or what we allow beside one: without that, a base that stays would
    /// cut off the pods that it is for. What somebody else put there goes by itself.
    pub(in crate::policy) fn goes_with(&self, directions: &BTreeSet<Direction>) -> bool {
        let ours = self.releases_from.is_some() || self.cause == Cause::Pending;
        ours && self
            .name
            .direction()
            .is_none_or(|direction| directions.contains(&direction))
    }
}

impl Plan {
    /// Takes out the removals that have no part in the opening of a direction, so that they need not wait for it.
    pub fn take_what_opens_nothing(&mut self) -> Vec<Removal> {
        let opened = self.removals.iter();
        let opened: BTreeSet<_> = opened.filter_map(|removal| removal.name.baseline_direction()).collect();
        if opened.is_empty() {
            return mem::take(&mut self.removals);
        }
        let waits = |removal: &Removal| removal.name.is_base() || removal.goes_with(&opened);
        self.removals.extract_if(.., |removal| !waits(removal)).collect()
    }

    /// What to do about a policy that stands under a reserved name and is not wanted; `written` is what we last wrote there.
    pub(super) fn clear_away(
        &mut self,
        world: &World,
        governor: &RankedTier,
        name: &PolicyName,
        live: &ObservedPolicy,
        written: Option<&Written>,
    ) {
        if let Some(written) = written.filter(|written| self.keeps(governor, name, live, written)) {
            self.in_place.insert(name.clone(), written.clone());
            return;
        }
        let as_written = written.is_some_and(|written| written.spec == live.spec);
        let cause = if as_written && live.only_its_direction {
            Cause::Pending
        } else {
            Cause::Drift(DriftKind::Surplus)
        };
        let ours = name.baseline_direction().zip(written);
        match ours {
            // Deleting it opens one direction, which may have to wait, and leaving it as it is may open the other.
            Some((direction, written)) if !live.only_its_direction => {
                let tiers = world.tiers().iter().map(|ranked| &ranked.tier);
                let mut tiers = tiers.chain(world.departing()).map(ParsedTier::identity);
                let written_for = tiers.find(|tier| tier.uid == written.tier.uid);
                let tier = written_for.unwrap_or_else(|| governor.tier.identity());
                let modified = Cause::Drift(DriftKind::Modified);
                self.closings.push(over(name, live, closed(direction), tier, modified));
            }
            _ if !live.deleting => {
                let from = written.map(|written| &written.tier);
                self.removals.push(removal(name, live, cause, from));
            }
            // A finalizer can hold it for ever, and it has its effect as long as it stands.
            _ => {
                let policy = emptied(name.direction().unwrap_or(Direction::Ingress));
                let tier = governor.tier.identity();
                if live.spec == policy.digest {
                    let tier = Arc::clone(tier);
                    self.in_place.insert(name.clone(), Written { spec: live.spec, tier });
                } else {
                    self.extras.push(over(name, live, policy, tier, cause));
                }
            }
        }
    }

    /// Without what we allow beside it, a base that was closed and has yet to go would cut off the pods that that is for.
    pub(super) fn keep_beside_closings(&mut self) {
        let bases = self.closings.iter().map(|write| &write.name);
        self.hold_back(&bases.filter_map(PolicyName::baseline_direction).collect());
    }

    /// Whether a policy of ours stays although it is not wanted.
    fn keeps(&self, governor: &RankedTier, name: &PolicyName, live: &ObservedPolicy, written: &Written) -> bool {
        // Of a base, what somebody else made of it can open no direction but its own, which is not to be isolated.
        let harmless = live.only_its_direction && (written.spec == live.spec || name.is_base());
        // It was deleted already, but emptying it opens its direction.
        let held_base = live.deleting && name.is_base();
        // A hand-over that waits for an allowance leaves the set of the other tier whole: without its extras, its
        // base would cut off the pods that they are for.
        let handed_over = |(base, kept): (&PolicyName, &Written)| {
            let other = kept.tier.uid != governor.tier.identity().uid && kept.tier.uid == written.tier.uid;
            other && base.is_base()
        };
        harmless && (governor.rendered.keeps_everything || held_base || self.in_place.iter().any(handed_over))
    }
}

fn over(
    name: &PolicyName,
    live: &ObservedPolicy,
    policy: RenderedPolicy,
    tier: &Arc<TierIdentity>,
    cause: Cause,
) -> Write {
    Write {
        name: name.clone(),
        policy: Arc::new(policy),
        tier: Arc::clone(tier),
        action: Action::over(live),
        cause,
    }
}
