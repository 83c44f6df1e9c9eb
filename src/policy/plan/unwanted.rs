//! What stands and is not wanted: it goes, or stays for a reason.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use super::{Action, Plan, Removal, Write};
use crate::api::Direction;
use crate::policy::drift::{Cause, DriftKind, Written};
use crate::policy::render::emptied;
use crate::policy::{
    Namespace, ObservedPolicies, ObservedPolicy, ParsedTier, PolicyName, RankedTier, TierIdentity, World,
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

/// A base that is not wanted, and that lost some of its marks where nobody remembers them: what goes with it is isolation all
/// the same, the governor's for want of a better.
pub(super) fn isolated_by(governor: &RankedTier, name: &PolicyName, live: &ObservedPolicy) -> Option<Written> {
    let wanted = governor.rendered.policies.contains_key(name);
    let isolates = name.is_base() && live.only_its_direction && !live.marks.is_none();
    (isolates && !wanted).then(|| Written {
        spec: live.spec,
        tier: Arc::clone(governor.tier.identity()),
    })
}

/// `from` is the tier that it was written for, if it was ours.
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

    /// What to do about a policy that stands under a reserved name and is not wanted.
    pub(super) fn clear_away(
        &mut self,
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
        let cause = if as_written {
            Cause::Pending
        } else {
            Cause::Drift(DriftKind::Surplus)
        };
        if !live.deleting {
            // One that speaks of the other direction, which is isolated, may let everybody in: nothing holds it back.
            let from = written.filter(|_| live.only_its_direction).map(|written| &written.tier);
            self.removals.push(removal(name, live, cause, from));
            return;
        }
        // A finalizer can hold it for ever, and it has its effect as long as it stands.
        let policy = emptied(name.direction().unwrap_or(Direction::Ingress));
        let tier = Arc::clone(governor.tier.identity());
        if live.spec == policy.digest {
            self.in_place.insert(name.clone(), Written { spec: live.spec, tier });
        } else {
            self.extras.push(Write {
                name: name.clone(),
                policy: Arc::new(policy),
                tier,
                action: Action::over(live),
                cause,
            });
        }
    }

    /// Whether a policy that we wrote stays although it is not wanted.
    fn keeps(&self, governor: &RankedTier, name: &PolicyName, live: &ObservedPolicy, written: &Written) -> bool {
        // It was deleted already, but emptying it opens its direction.
        let held_base = live.deleting && live.spec == written.spec && name.is_base();
        // A hand-over that waits for an allowance leaves the set of the other tier whole: without its extras, its
        // base would cut off the pods that they are for.
        let handed_over = |(base, kept): (&PolicyName, &Written)| {
            let other = kept.tier.uid != governor.tier.identity().uid && kept.tier.uid == written.tier.uid;
            other && base.is_base()
        };
        governor.rendered.keeps_everything || held_base || self.in_place.iter().any(handed_over)
    }
}
