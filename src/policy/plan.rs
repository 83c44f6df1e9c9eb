//! The whole: what has to be written in one namespace, in which order, and why.

mod object;
mod wanted;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use self::wanted::{Decision, Wanted};
use super::assign::{Assignment, Governor, assign};
use super::drift::{self, Cause, DriftKind, Written};
use super::observed::ForeignMetadata;
use super::{
    Namespace, NamespaceRecord, ObservedPolicies, ObservedPolicy, ParsedTier, PolicyName, RankedTier, RenderedPolicy,
    TierIdentity, World,
};

/// What has to change in a namespace. Nothing, where everything is right.
///
/// The order is part of it: extras, then bases, then removals, so that a base is never narrowed before the
/// extra allowances stand, and nothing is pruned unless every write succeeded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Policies for some pods only.
    pub extras: Vec<Write>,
    /// Base policies. One that is missing is written whatever else fails.
    pub bases: Vec<Write>,
    /// Policies that are no longer wanted.
    pub removals: Vec<Removal>,
    /// Wanted policies that are in place: with what was written, everything we answer for.
    pub in_place: BTreeMap<PolicyName, Written>,
    /// Directions that wait for an allowance to resolve, because a running workload would be cut off.
    pub waiting: Vec<PolicyName>,
}

/// A policy to create or to replace.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Its name.
    pub name: PolicyName,
    /// What to write.
    pub policy: Arc<RenderedPolicy>,
    /// For which tier.
    pub tier: Arc<TierIdentity>,
    /// How.
    pub action: Action,
    /// Why.
    pub cause: Cause,
}

/// How a policy is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// POST.
    Create,
    /// PUT over exactly this revision, keeping other people's metadata.
    Replace {
        /// The revision that was planned against.
        resource_version: Box<str>,
        /// The object that was planned against.
        uid: Box<str>,
        /// What is kept.
        foreign: Option<Box<ForeignMetadata>>,
    },
}

/// A policy to delete, if it is still exactly this one.
#[derive(Clone, Debug, PartialEq)]
pub struct Removal {
    /// Its name. Where it is a base, deleting it opens a direction: that takes a consistent read first.
    pub name: PolicyName,
    /// Precondition.
    pub uid: Box<str>,
    /// Precondition.
    pub resource_version: Box<str>,
    /// Why.
    pub cause: Cause,
}

/// Plans one namespace. `record` is what is remembered of it; `None` before the first plan of this process.
pub fn plan(
    world: &World,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    plan_assigned(world, &assign(world, namespace, observed), namespace, observed, record)
}

/// As [`plan`], for an assignment that was already made.
pub fn plan_assigned(
    world: &World,
    assignment: &Assignment<'_>,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    match assignment.governor {
        Governor::Exempt | Governor::Terminating | Governor::ObserveOnly => Plan::default(),
        Governor::Nobody => Plan { removals: left_behind(world, observed), ..Plan::default() },
        Governor::Tier(governor) => plan_governed(world, governor, namespace, observed, record),
    }
}

/// What would change if `tier` governed: for a shadow, and for the command line.
pub fn plan_governed(
    world: &World,
    governor: &RankedTier,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    let mut plan = Plan::default();
    let tier = governor.tier.identity();
    let last_written = last_written(namespace, observed, record);
    for (name, policy) in &governor.rendered.policies {
        let written = last_written.get(name);
        let live = observed.get(name);
        let wanted = Wanted { world, tier, namespace, name, policy, live, written };
        match wanted.decide() {
            Decision::Keep(in_place) => _ = plan.in_place.insert(name.clone(), in_place),
            Decision::Wait if name.baseline_direction().is_some() => plan.waiting.push(name.clone()),
            Decision::Wait => {}
            Decision::Write(write) if name.baseline_direction().is_some() => plan.bases.push(write),
            Decision::Write(write) => plan.extras.push(write),
        }
    }
    if !governor.rendered.keeps_everything {
        let surplus = observed.iter().filter(|(name, _)| !governor.rendered.policies.contains_key(name));
        let surplus = surplus.filter(|(_, live)| !live.deleting);
        plan.removals = surplus
            .map(|(name, live)| {
                let ours = last_written.contains_key(name);
                removal(name, live, if ours { Cause::Pending } else { Cause::Drift(DriftKind::Surplus) })
            })
            .collect();
    }
    plan
}

/// What was last written under each name: remembered, if an earlier plan of this process governed the
/// namespace, and otherwise what the marks tell.
fn last_written<'a>(
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&'a NamespaceRecord>,
) -> Cow<'a, BTreeMap<PolicyName, Written>> {
    // A recreated namespace starts anew, and one that nobody governed meanwhile was not looked after.
    let record = record.filter(|record| record.namespace_uid == namespace.uid && record.governor.is_some());
    let by_marks = |(name, live): (&PolicyName, &ObservedPolicy)| {
        Some((name.clone(), drift::written_by_marks(live, &namespace.uid)?))
    };
    match record {
        Some(record) => Cow::Borrowed(&record.written),
        None => Cow::Owned(observed.iter().filter_map(by_marks).collect()),
    }
}

/// In a namespace that no tier selects: the policies whose owning uid is a live tier, which therefore no
/// longer selects it. Those of deleted tiers are retained, and those of a tier that does not parse stay until
/// it does.
fn left_behind(world: &World, observed: &ObservedPolicies) -> Vec<Removal> {
    let left = observed.iter().filter(|(_, live)| {
        let owner = world.agreed_owner(&live.marks).map(|owner| &owner.tier);
        !live.deleting && matches!(owner, Some(ParsedTier::Whole(_)))
    });
    left.map(|(name, live)| removal(name, live, Cause::Pending)).collect()
}

fn removal(name: &PolicyName, live: &ObservedPolicy, cause: Cause) -> Removal {
    Removal {
        name: name.clone(),
        uid: live.uid.clone(),
        resource_version: live.resource_version.clone(),
        cause,
    }
}

impl Plan {
    /// Whether nothing is to be written or deleted.
    pub fn is_empty(&self) -> bool {
        self.extras.is_empty() && self.bases.is_empty() && self.removals.is_empty()
    }

    /// Every write, in the order in which they are made.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.extras.iter().chain(&self.bases)
    }

    /// Whether a direction would be opened: then a consistent read has to confirm the plan.
    pub fn opens_a_direction(&self) -> bool {
        self.removals.iter().any(|removal| removal.name.baseline_direction().is_some())
    }

    /// The drift among the changes.
    pub fn drift(&self) -> impl Iterator<Item = (&PolicyName, DriftKind)> {
        let writes = self.writes().map(|write| (&write.name, write.cause));
        let removals = self.removals.iter().map(|removal| (&removal.name, removal.cause));
        writes.chain(removals).filter_map(|(name, cause)| match cause {
            Cause::Drift(kind) => Some((name, kind)),
            Cause::Pending | Cause::TakenOver => None,
        })
    }
}

#[cfg(test)]
mod tests;
