//! One look at one namespace, and what the core says of it: everything of a reconcile that needs no request.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::cache::View;
use crate::policy::brake::Release;
use crate::policy::contest::{Contest, contests_after};
use crate::policy::plan::{plan_assigned, plan_governed};
use crate::policy::record::{Outcome, Shadow};
use crate::policy::{Assignment, NamespaceRecord, ObservedPolicies, Plan, PolicyName, RankedTier, assign};

/// A namespace as it is seen at one moment, who governs it, and what is remembered of it.
pub(super) struct Visit<'view> {
    pub(super) view: &'view View,
    /// Of this namespace, never of one that had its name before.
    pub(super) record: Option<Arc<NamespaceRecord>>,
    assignment: Assignment<'view>,
}

impl<'view> Visit<'view> {
    pub(super) fn of(view: &'view View, record: Option<Arc<NamespaceRecord>>) -> Self {
        let record = record.filter(|record| record.namespace_uid == view.namespace.uid);
        let assignment = assign(&view.world, &view.namespace, &view.observed, record.as_deref());
        Self {
            view,
            record,
            assignment,
        }
    }

    /// Who governs, if a tier does.
    pub(super) fn governor(&self) -> Option<&'view RankedTier> {
        self.assignment.governor.tier()
    }

    /// Whether its tier is gone or going, and it is not known yet what that means: that comes with the tier's event.
    pub(super) fn waits_for_its_tier(&self) -> bool {
        let governor = self.governor().map(|governor| &*governor.tier.identity().uid);
        self.view.ending.is_some() && governor == self.view.ending.as_deref()
    }

    /// What is to be done now. `now` is of the clock that contests are told by.
    pub(super) fn plan(&self, now: Duration) -> Plan {
        let View {
            world,
            namespace,
            observed,
            ..
        } = self.view;
        let record = self.record.as_deref();
        let mut plan = plan_assigned(world, &self.assignment, namespace, observed, record);
        if let Some(record) = record.filter(|record| !record.contests.is_empty()) {
            plan.put_off_contested(&record.contests, now);
        }
        plan
    }

    /// The directions that the plan opens.
    pub(super) fn releases(&self, plan: &Plan) -> Vec<Release> {
        plan.releases(&self.view.world, &self.assignment, &self.view.namespace)
    }

    /// For how long a drift that an earlier visit saw is not healed.
    pub(super) fn drifted_for(&self, policy: &PolicyName, now: Timestamp) -> Option<Duration> {
        let drift = self.record.as_ref()?.drifted.get(policy)?;
        Some(Duration::try_from(now.duration_since(drift.since)).unwrap_or_default())
    }

    /// The fights that began with this visit.
    pub(super) fn newly_contested<'after>(
        &self,
        after: &'after NamespaceRecord,
    ) -> impl Iterator<Item = (&'after PolicyName, &'after Contest)> {
        let before = |policy| Some(self.record.as_ref()?.contests.get(policy)?.is_contested());
        let contested = after.contests.iter().filter(|(_, contest)| contest.is_contested());
        contested.filter(move |(policy, _)| before(policy) != Some(true))
    }

    /// What is to be remembered. `observed` is what stands after the writes: nothing makes us look again to mend a
    /// report made from what stood before.
    pub(super) fn record_after(
        &self,
        plan: &Plan,
        outcome: &Outcome,
        observed: &ObservedPolicies,
        now: Duration,
    ) -> NamespaceRecord {
        let View { world, namespace, .. } = self.view;
        let record = self.record.as_deref();
        let shadows = self.assignment.shadows.iter().map(|shadow| {
            let would = plan_governed(world, shadow, namespace, observed, record);
            Shadow::of(shadow.tier.identity(), &would)
        });
        let shadows = shadows.collect();
        let assignment = &self.assignment;
        NamespaceRecord {
            contests: contests_after(record, plan, &outcome.committed, &self.view.observed, now),
            ..NamespaceRecord::after(record, assignment, namespace, plan, outcome, shadows, Timestamp::now())
        }
    }

    /// From the event that showed the namespace. Where it was created while no controller ran, from its creation, which
    /// has whole seconds; what stands there already was protected before, if not quite as it should be.
    pub(super) fn time_to_protection(&self, plan: &Plan, now: Timestamp) -> Option<Duration> {
        if let Some(appeared) = self.view.appeared {
            return Some(appeared.elapsed());
        }
        let tier_created = self.governor()?.tier.identity().created?;
        let created = self.view.namespace.created.filter(|created| tier_created <= *created)?;
        let bare = !self.view.observed.keys().any(PolicyName::is_base);
        // The clock of the API server may be ahead of ours.
        (self.record.is_none() && bare && !plan.bases.is_empty())
            .then(|| Duration::try_from(now.duration_since(created)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
