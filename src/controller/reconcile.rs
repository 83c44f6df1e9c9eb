//! One namespace: look, plan, confirm what would open it, write, remember.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use super::apply::Writer;
use super::cache::{Cache, View};
use super::confirm::plan_from_consistent_read;
use super::error::WriteError;
use super::events::Events;
use super::ledger::Ledger;
use super::report::Reporter;
use super::work::Ticket;
use crate::policy::attribution::explain;
use crate::policy::plan::{plan_assigned, plan_governed};
use crate::policy::record::{Outcome, Shadow};
use crate::policy::{Assignment, NamespaceRecord, Plan, assign};
use crate::telemetry::metrics::{Metrics, ReconcileResult};

/// What a worker needs.
pub(super) struct Reconciler {
    pub(super) client: Client,
    pub(super) cache: Arc<Cache>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) writer: Writer,
    pub(super) events: Events,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reporter: Arc<Reporter>,
}

/// The value of the label `controller`.
pub(super) const CONTROLLER: &str = "namespace";

impl Reconciler {
    /// Brings one namespace to what its tier wants.
    pub(super) async fn reconcile(&self, ticket: Ticket<String>) {
        let started = Instant::now();
        let Some(view) = self.cache.view(ticket.key()) else {
            return self.forget(ticket);
        };
        let record = self.ledger.get(ticket.key());
        let assignment = assign(&view.world, &view.namespace, &view.observed);
        let planned = plan_assigned(
            &view.world,
            &assignment,
            &view.namespace,
            &view.observed,
            current(&view, record.as_deref()),
        );
        let (plan, unconfirmed) = self.confirm(&view, record.as_deref(), planned).await;
        let mut outcome = self.writer.apply(&self.cache, &view.namespace, &plan).await;
        outcome.failure = outcome.failure.or(unconfirmed);
        self.tell(
            &view,
            &assignment,
            record.as_deref(),
            &plan,
            &outcome,
            ticket.queued_since(),
        );
        self.remember(&view, &assignment, record.as_deref(), &plan, &outcome);
        self.finish(ticket, &outcome, started.elapsed());
    }

    fn forget(&self, ticket: Ticket<String>) {
        if self.ledger.forget(ticket.key()) {
            self.reporter.look();
        }
        ticket.succeeded();
    }

    /// Keeps of the removals that open a direction only those that a consistent read confirms.
    async fn confirm(
        &self,
        view: &View,
        record: Option<&NamespaceRecord>,
        mut plan: Plan,
    ) -> (Plan, Option<crate::policy::record::Failure>) {
        if !plan.opens_a_direction() {
            return (plan, None);
        }
        let (confirmed, failure) = match plan_from_consistent_read(&self.client, view, record).await {
            Ok(confirmed) => (confirmed.unwrap_or_default(), None),
            Err(error) => match WriteError::of(
                error,
                &format!("the read that confirms a release of {}", view.namespace.name),
            ) {
                WriteError::Failed(failure) => (Plan::default(), Some(failure)),
                WriteError::NamespaceGone | WriteError::OtherRevision => (Plan::default(), None),
            },
        };
        plan.removals.retain(|removal| {
            !removal.name.is_base()
                || confirmed
                    .removals
                    .iter()
                    .any(|other| other.name == removal.name && other.uid == removal.uid)
        });
        (plan, failure)
    }

    /// Counts and announces what was found and done. Comes after the writes: explaining never delays a heal.
    fn tell(
        &self,
        view: &View,
        assignment: &Assignment<'_>,
        record: Option<&NamespaceRecord>,
        plan: &Plan,
        outcome: &Outcome,
        queued_since: Instant,
    ) {
        let Some(governor) = assignment.governor.tier() else {
            // Whoever governs it later did not leave it open since it appeared.
            return self.cache.settled(&view.namespace.name);
        };
        let took = queued_since.elapsed();
        let tier = governor.tier.identity();
        let record = current(view, record);
        for (policy, kind) in plan.drift() {
            let known = record.is_some_and(|record| record.drifted.contains_key(policy));
            if !known {
                self.metrics.drift_detected(&tier.name, kind);
            }
            if outcome.committed.contains(policy) {
                self.metrics.drift_corrected(&tier.name, kind, took);
                let what = explain(plan, &view.observed, &view.namespace.name, policy, kind);
                tracing::info!(namespace = view.namespace.name, %policy, tier = &*tier.name, kind = kind.as_str(), ?took, "healed: {what}");
                self.events.healed(tier, &view.namespace, policy, kind, &what);
            }
        }
        for policy in plan.taken_over().filter(|policy| outcome.committed.contains(policy)) {
            tracing::warn!(namespace = view.namespace.name, %policy, tier = &*tier.name, "took over a policy that stood under a reserved name");
            self.events.taken_over(tier, &view.namespace, policy);
        }
        let protected = outcome.is_complete() && plan.waiting.is_empty();
        if let Some(took) = self
            .time_to_protection(view, tier.created, record, plan)
            .filter(|_| protected)
        {
            self.metrics.protected(&tier.name, took);
        }
        if protected {
            self.cache.settled(&view.namespace.name);
        }
    }

    /// From the event that showed the namespace. Where it was created while no controller ran, from its
    /// creation, which has whole seconds.
    fn time_to_protection(
        &self,
        view: &View,
        tier_created: Option<Timestamp>,
        record: Option<&NamespaceRecord>,
        plan: &Plan,
    ) -> Option<Duration> {
        if let Some(appeared) = view.appeared {
            return Some(appeared.elapsed());
        }
        let created = view
            .namespace
            .created
            .filter(|created| tier_created.is_some_and(|tier| tier <= *created))?;
        (record.is_none() && !plan.bases.is_empty()).then(|| Timestamp::now().duration_since(created).unsigned_abs())
    }

    fn remember(
        &self,
        view: &View,
        assignment: &Assignment<'_>,
        record: Option<&NamespaceRecord>,
        plan: &Plan,
        outcome: &Outcome,
    ) {
        // As it stands after the writes: nothing makes us look again to mend a report made from what stood before.
        let observed = self.cache.observed(&view.namespace.name);
        let shadows = assignment.shadows.iter().map(|shadow| {
            let would = plan_governed(&view.world, shadow, &view.namespace, &observed, current(view, record));
            Shadow::of(shadow.tier.identity(), &would)
        });
        let shadows = shadows.collect();
        let now = Timestamp::now();
        let after = NamespaceRecord::after(record, assignment, &view.namespace, plan, outcome, shadows, now);
        if self.ledger.record(&view.namespace.name, after) {
            self.reporter.look();
        }
    }

    fn finish(&self, ticket: Ticket<String>, outcome: &Outcome, took: Duration) {
        let result = match &outcome.failure {
            Some(failure) => {
                tracing::warn!(namespace = ticket.key(), reason = failure.reason, "{}", failure.message);
                self.metrics.reconcile_failed(CONTROLLER, failure.reason);
                ReconcileResult::Error
            }
            None if outcome.look_again => ReconcileResult::Requeue,
            None => ReconcileResult::Success,
        };
        self.metrics.reconciled(CONTROLLER, result, took);
        match result {
            ReconcileResult::Success => ticket.succeeded(),
            // What could not be written may be a hole: it comes back as urgently as it came.
            _ => {
                let class = ticket.class();
                ticket.retry(class);
            }
        }
    }
}

/// The record, if it is of this namespace and not of one that had its name before.
fn current<'a>(view: &View, record: Option<&'a NamespaceRecord>) -> Option<&'a NamespaceRecord> {
    record.filter(|record| record.namespace_uid == view.namespace.uid)
}
