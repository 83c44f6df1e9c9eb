//! The whole: what has to be written in one namespace, in which order, and why.

mod object;
mod put_off;
mod unwanted;
mod wanted;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::object::owner_references;
pub use self::put_off::PutOff;
use self::unwanted::{left_behind, taken_for_the_governors};
use self::wanted::{Decision, Wanted};
use super::assign::{Assignment, Governor, assign};
use super::drift::{self, Cause, DriftKind, Written};
use super::observed::ForeignMetadata;
use super::{
    Namespace, NamespaceRecord, ObservedPolicies, ObservedPolicy, PolicyName, RankedTier, Rendered, RenderedPolicy,
    TierIdentity, World,
};

/// What has to change in a namespace. Nothing, where everything is right.
///
/// The order is part of it: extras, then bases and closings, then removals, so that a base is never narrowed before the
/// extra allowances stand, and nothing is pruned unless every write succeeded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Policies for some pods only, and what is emptied because it cannot be deleted.
    pub extras: Vec<Write>,
    /// Base policies. One that is missing is written whatever else fails.
    pub bases: Vec<Write>,
    /// Bases that are not wanted and may open the other direction: closed before they go. Another visit removes them.
    pub closings: Vec<Write>,
    /// Policies that are no longer wanted.
    pub removals: Vec<Removal>,
    /// Policies that are in place, or kept: as they were last written or, of a base, as it may stand. With what is written
    /// now, everything we answer for.
    pub in_place: BTreeMap<PolicyName, Written>,
    /// What was last written under names that are not in place: still remembered while a change to them did
    /// not succeed.
    pub unsettled: BTreeMap<PolicyName, Written>,
    /// Directions that wait for an allowance to resolve, because a running workload would be cut off.
    pub waiting: Vec<PolicyName>,
    /// Drift whose heal is put off because somebody fights over the object; see [`super::contest`].
    pub put_off: Vec<PutOff>,
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
    /// The tier that the opening of the direction counts for; `None` for extras, and for what was never ours.
    pub releases_from: Option<Arc<TierIdentity>>,
}

/// How many policies a plan creates, replaces and deletes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ChangeCounts {
    /// Created.
    pub create: usize,
    /// Replaced.
    pub replace: usize,
    /// Deleted.
    pub delete: usize,
}

/// Plans one namespace. `record` is what is remembered of it; `None` before the first plan of this process.
pub fn plan(
    world: &World,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    plan_assigned(
        world,
        &assign(world, namespace, observed, record),
        namespace,
        observed,
        record,
    )
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
        Governor::Nobody => Plan {
            removals: left_behind(world, namespace, observed),
            ..Plan::default()
        },
        Governor::Tier(governor) => plan_governed(world, governor, namespace, observed, record),
    }
}

/// What changes where `governor` governs, or would if it did: for a shadow, and for the command line.
pub fn plan_governed(
    world: &World,
    governor: &RankedTier,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    let mut plan = Plan::default();
    let last_written = last_written(governor, namespace, observed, record);
    let Rendered {
        policies, heals_only, ..
    } = &*governor.rendered;
    let (bases, extras): (Vec<_>, Vec<_>) = policies.iter().partition(|(name, _)| name.is_base());
    for (name, policy) in bases.into_iter().chain(extras) {
        let (live, written) = (observed.get(name), last_written.get(name));
        let tier = governor.tier.identity();
        let wanted = Wanted {
            world,
            tier,
            namespace,
            name,
            policy,
            live,
            written,
            heals_only: *heals_only,
        };
        plan.settle(&wanted);
    }
    for (name, live) in observed.iter().filter(|(name, _)| !policies.contains_key(name)) {
        plan.clear_away(world, governor, name, live, last_written.get(name));
    }
    plan.keep_beside_closings();
    let standing = |name: &PolicyName| policies.contains_key(name) || observed.contains_key(name);
    let unsettled = last_written
        .iter()
        .filter(|(name, _)| standing(name) && !plan.in_place.contains_key(*name));
    plan.unsettled = unsettled
        .map(|(name, written)| (name.clone(), written.clone()))
        .collect();
    plan
}

/// What was last written under each name: remembered, if an earlier plan of this process governed the
/// namespace, and otherwise what the marks tell; some of them are enough for a direction that is not isolated any more.
fn last_written<'a>(
    governor: &RankedTier,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&'a NamespaceRecord>,
) -> Cow<'a, BTreeMap<PolicyName, Written>> {
    // A recreated namespace starts anew, and one that nobody governed meanwhile was not looked after.
    let record = record.filter(|record| record.namespace_uid == namespace.uid && record.governor.is_some());
    let by_marks = |(name, live): (&PolicyName, &ObservedPolicy)| {
        let written = drift::written_by_marks(live, &namespace.uid);
        Some((
            name.clone(),
            written.or_else(|| taken_for_the_governors(governor, name, live))?,
        ))
    };
    match record {
        Some(record) => Cow::Borrowed(&record.written),
        None => Cow::Owned(observed.iter().filter_map(by_marks).collect()),
    }
}

impl Write {
    /// Of a base: whether it must be written although an extra is missing, since its direction is open or was changed.
    pub fn cannot_wait(&self) -> bool {
        self.action == Action::Create || self.cause != Cause::Pending
    }
}

impl Action {
    fn over(live: &ObservedPolicy) -> Self {
        Self::Replace {
            resource_version: live.resource_version.clone(),
            uid: live.uid.clone(),
            foreign: live.foreign.clone(),
        }
    }
}

impl Plan {
    /// What to do about a policy that is wanted; bases come before extras.
    fn settle(&mut self, wanted: &Wanted<'_>) {
        let (name, base) = (wanted.name, wanted.name.is_base());
        let base_waits = self.waiting.contains(&PolicyName::baseline(wanted.policy.direction));
        match wanted.decide() {
            // Alone, an extra would isolate its pods from what their base allows.
            _ if !base && base_waits && wanted.live.is_none() => {}
            Decision::Keep(in_place) => _ = self.in_place.insert(name.clone(), in_place),
            Decision::Wait if base => self.waiting.push(name.clone()),
            Decision::Wait => {}
            Decision::Write(write) if base => self.bases.push(write),
            Decision::Write(write) => self.extras.push(write),
        }
    }

    /// Whether nothing is to be written or deleted.
    pub fn is_empty(&self) -> bool {
        self.writes().next().is_none() && self.removals.is_empty()
    }

    /// How many of which change.
    pub fn counts(&self) -> ChangeCounts {
        let create = self.writes().filter(|write| write.action == Action::Create).count();
        ChangeCounts {
            create,
            replace: self.writes().count() - create,
            delete: self.removals.len(),
        }
    }

    /// Every write, in the order in which they are made.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.extras.iter().chain(&self.bases).chain(&self.closings)
    }

    /// Keeps of the removals those that `again`, planned from a consistent read, makes too. Returns whether these are all.
    ///
    /// Where a base has to stay so do its extras: without them it would cut off the pods that they are for.
    pub fn keep_removals_also_in(&mut self, again: &Self) -> bool {
        let planned = self.removals.len();
        let again: BTreeSet<_> = again
            .removals
            .iter()
            .map(|removal| (&removal.name, &removal.uid))
            .collect();
        self.removals
            .retain(|removal| again.contains(&(&removal.name, &removal.uid)));
        self.removals.len() == planned
    }

    /// The drift among the changes and among what is put off.
    pub fn drift(&self) -> impl Iterator<Item = (&PolicyName, DriftKind)> {
        let writes = self.writes().map(|write| (&write.name, write.cause));
        let removals = self.removals.iter().map(|removal| (&removal.name, removal.cause));
        let changes = writes.chain(removals).filter_map(|(name, cause)| match cause {
            Cause::Drift(kind) => Some((name, kind)),
            Cause::Pending | Cause::TakenOver => None,
        });
        changes.chain(self.put_off.iter().map(|put_off| (&put_off.name, put_off.kind)))
    }
}

#[cfg(test)]
mod tests;
