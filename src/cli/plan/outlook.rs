//! What would change, namespace by namespace: the controller's own plan, applied to what stands.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::NetworkPolicy;

use crate::api::Direction;
use crate::cli::input::snapshot::Snapshot;
use crate::policy::digest::normalise;
use crate::policy::plan::{plan_assigned, plan_governed};
use crate::policy::{
    Assignment, Namespace, ObservedPolicies, ObservedPolicy, Plan, PolicyName, RankedTier, World, assign,
};

/// What would become of one namespace.
#[derive(Debug)]
pub struct Outlook<'world> {
    /// The namespace.
    pub namespace: Namespace,
    /// Who governs it.
    pub assignment: Assignment<'world>,
    /// What stands under reserved names.
    pub observed: ObservedPolicies,
    /// What would be done.
    pub changes: Changes,
    /// What each Observe tier above would do in mode Enforce.
    pub shadows: Vec<(&'world RankedTier, Changes)>,
}

/// A plan with the policies before and after it.
#[derive(Debug)]
pub struct Changes {
    /// The controller's plan.
    pub plan: Plan,
    /// Reserved names only.
    before: BTreeMap<PolicyName, NetworkPolicy>,
    /// Reserved names only.
    after: BTreeMap<PolicyName, NetworkPolicy>,
    isolated_before: BTreeSet<Direction>,
    isolated_after: BTreeSet<Direction>,
}

/// Plans every namespace of a snapshot.
pub fn outlooks<'world>(world: &'world World, snapshot: &Snapshot) -> Vec<Outlook<'world>> {
    let outlook = |namespace: Namespace| Outlook::new(world, snapshot.policies_in(&namespace.name), namespace);
    snapshot.core_namespaces().map(outlook).collect()
}

impl<'world> Outlook<'world> {
    fn new(world: &'world World, policies: &[NetworkPolicy], namespace: Namespace) -> Self {
        let observed: ObservedPolicies = policies.iter().cloned().filter_map(ObservedPolicy::read).collect();
        let assignment = assign(world, &namespace, &observed, None);
        let plan = plan_assigned(world, &assignment, &namespace, &observed, None);
        let shadows = assignment.shadows.iter().map(|shadow| {
            let plan = plan_governed(world, shadow, &namespace, &observed, None);
            (*shadow, Changes::new(plan, &namespace, policies))
        });
        Self {
            shadows: shadows.collect(),
            changes: Changes::new(plan, &namespace, policies),
            assignment,
            observed,
            namespace,
        }
    }

    /// The other tiers that the standing policies were written for, where a tier governs.
    pub fn comes_from(&self) -> impl Iterator<Item = &str> {
        let governor = self.assignment.governor.tier();
        let governor = governor.map(|ranked| &*ranked.tier.identity().name);
        let owners = self.observed.values().filter(|policy| policy.marks.managed_by);
        let tiers: BTreeSet<_> = owners.filter_map(|policy| policy.marks.tier.as_deref()).collect();
        tiers
            .into_iter()
            .filter(move |tier| governor.is_some_and(|governor| governor != *tier))
    }
}

impl Changes {
    fn new(plan: Plan, namespace: &Namespace, policies: &[NetworkPolicy]) -> Self {
        let mut before = BTreeMap::new();
        let mut foreign = Vec::new();
        for policy in policies {
            match policy.metadata.name.as_deref().and_then(PolicyName::reserved) {
                Some(name) => _ = before.insert(name, policy.clone()),
                None => foreign.push(policy),
            }
        }
        let mut after = before.clone();
        for removal in &plan.removals {
            after.remove(&removal.name);
        }
        after.extend(plan.writes().map(|write| (write.name.clone(), write.object(namespace))));
        Self {
            isolated_before: isolated(foreign.iter().copied().chain(before.values())),
            isolated_after: isolated(foreign.iter().copied().chain(after.values())),
            plan,
            before,
            after,
        }
    }

    /// The policies that differ: name, as it stands, as it would stand.
    pub fn changed(&self) -> impl Iterator<Item = (&PolicyName, Option<&NetworkPolicy>, Option<&NetworkPolicy>)> {
        let writes = self.plan.writes().map(|write| &write.name);
        let names: BTreeSet<_> = writes
            .chain(self.plan.removals.iter().map(|removal| &removal.name))
            .collect();
        names
            .into_iter()
            .map(|name| (name, self.before.get(name), self.after.get(name)))
    }

    /// Everything that would stand under reserved names.
    pub fn resulting(&self) -> impl Iterator<Item = &NetworkPolicy> {
        self.after.values()
    }

    /// Directions that become isolated for every pod of the namespace, and were not.
    pub fn closes(&self) -> BTreeSet<Direction> {
        &self.isolated_after - &self.isolated_before
    }

    /// Directions that were isolated for every pod of the namespace, and no longer are.
    pub fn opens(&self) -> BTreeSet<Direction> {
        &self.isolated_before - &self.isolated_after
    }
}

/// The directions that some policy closes for every pod, ours or anybody's.
fn isolated<'a>(policies: impl Iterator<Item = &'a NetworkPolicy>) -> BTreeSet<Direction> {
    let mut isolated = BTreeSet::new();
    for policy in policies {
        let spec = normalise(policy.spec.clone().unwrap_or_default());
        let selector = spec.pod_selector.unwrap_or_default();
        if selector.match_labels.is_some() || selector.match_expressions.is_some() {
            continue;
        }
        let types = spec.policy_types.unwrap_or_default();
        let closed = Direction::ALL
            .into_iter()
            .filter(|direction| types.iter().any(|word| word == direction.as_str()));
        isolated.extend(closed);
    }
    isolated
}
