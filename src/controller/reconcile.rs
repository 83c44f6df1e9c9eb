//! One namespace: look, plan, write, remove what is not wanted any more, tell, remember.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use super::apply::Writer;
use super::audit::Audit;
use super::brake::ReleaseBrake;
use super::cache::Cache;
use super::events::Events;
use super::ledger::Ledger;
use super::process_clock::ProcessClock;
use super::pulse::Pulse;
use super::queue::Class;
use super::removal_turns::RemovalTurns;
use super::report::Reporter;
use super::talk_budget::SharedTalkBudget;
use super::tier_writer::TierWriter;
use super::visit::Visit;
use super::work::{Ticket, WorkQueue};
use crate::policy::Plan;
use crate::policy::attribution::explain;
use crate::policy::contest::next_look;
use crate::policy::record::Outcome;
use crate::telemetry::metrics::{Metrics, ReconcileResult};

/// What a worker needs.
pub(super) struct Reconciler {
    pub(super) client: Client,
    pub(super) tiers: TierWriter,
    pub(super) cache: Arc<Cache>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) audit: Arc<Audit>,
    pub(super) brake: Arc<ReleaseBrake>,
    pub(super) writer: Writer,
    /// Of workers, who may wait for long where a removal hangs.
    pub(super) removals: RemovalTurns,
    pub(super) events: Events,
    /// Of failures the log tells, status and metrics have them all.
    pub(super) failures_said: SharedTalkBudget,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reporter: Arc<Reporter>,
    /// Contests are told by it.
    pub(super) clock: ProcessClock,
    /// Beats whenever a worker gets on.
    pub(super) pulse: Arc<Pulse>,
}

/// The value of the label `controller`.
pub(super) const CONTROLLER: &str = "namespace";

impl Reconciler {
    /// One worker: takes one namespace after the other, until the queue is closed.
    pub(super) async fn work(self: Arc<Self>, namespaces: WorkQueue<String>) {
        while let Some(ticket) = namespaces.next().await {
            self.pulse.beat();
            self.reconcile(ticket).await;
            self.pulse.beat();
        }
    }

    /// Brings one namespace to what its tier wants.
    async fn reconcile(&self, ticket: Ticket<String>) {
        let started = Instant::now();
        let Some(view) = self.cache.view(ticket.key()) else {
            self.audit.planned(ticket.key(), started);
            return self.forget(ticket);
        };
        let visit = Visit::of(&view, self.ledger.get(ticket.key()));
        if visit.waits_for_its_tier() {
            return ticket.succeeded();
        }
        let mut plan = visit.plan(self.clock.now());
        let ruling = self.brake.rule(&visit, &mut plan);
        let mut outcome = self.writer.write(&self.cache, &view.namespace, &plan).await;
        if let Some(wait) = self.remove(&visit, &mut plan, ruling, &mut outcome).await {
            ticket.look_again(Class::Change, tokio::time::Instant::now().into_std() + wait);
        }
        self.tell(&visit, &plan, &outcome, ticket.queued_since());
        self.remember(&visit, &plan, &outcome, &ticket);
        self.audit.planned(ticket.key(), started);
        self.finish(ticket, &plan, &outcome, started.elapsed());
    }

    fn forget(&self, ticket: Ticket<String>) {
        if self.ledger.forget(ticket.key()) {
            self.reporter.look();
        }
        ticket.succeeded();
    }

    /// Counts and announces what was found and done. Comes after the writes: explaining never delays a heal.
    fn tell(&self, visit: &Visit<'_>, plan: &Plan, outcome: &Outcome, queued_since: Instant) {
        let (namespace, observed) = (&visit.view.namespace, &visit.view.observed);
        let Some(governor) = visit.governor() else {
            // Whoever governs it later did not leave it open since it appeared.
            return self.cache.settled(&namespace.name);
        };
        let tier = governor.tier.identity();
        for (policy, kind) in plan.drift() {
            let known_for = visit.drifted_for(policy, Timestamp::now());
            if known_for.is_none() {
                self.metrics.drift_detected(&tier.name, kind);
            }
            let took = queued_since.elapsed().max(known_for.unwrap_or_default());
            if outcome.committed.contains(policy) {
                self.metrics.drift_corrected(&tier.name, kind, took);
                if !self.events.have_room_for(&namespace.name) {
                    continue;
                }
                let what = explain(plan, observed, &namespace.name, policy, kind);
                tracing::info!(namespace = namespace.name, %policy, tier = &*tier.name, kind = kind.as_str(), ?took, "healed: {what}");
                self.events.healed(tier, namespace, policy, kind, &what);
            }
        }
        for policy in plan.taken_over().filter(|policy| outcome.committed.contains(policy)) {
            if !self.events.have_room_for(&namespace.name) {
                break;
            }
            tracing::warn!(namespace = namespace.name, %policy, tier = &*tier.name, "took over a policy that stood under a reserved name");
            self.events.taken_over(tier, namespace, policy);
        }
        if outcome.is_complete() && !outcome.namespace_gone && plan.waiting.is_empty() {
            if let Some(took) = visit.time_to_protection(plan, Timestamp::now()) {
                self.metrics.protected(&tier.name, took);
            }
            self.cache.settled(&namespace.name);
        }
    }

    fn remember(&self, visit: &Visit<'_>, plan: &Plan, outcome: &Outcome, ticket: &Ticket<String>) {
        let (namespace, now) = (&visit.view.namespace, self.clock.now());
        let after = visit.record_after(plan, outcome, &self.cache.observed(&namespace.name), now);
        if let Some(governor) = visit.governor() {
            for (policy, contest) in visit.newly_contested(&after) {
                let tier = governor.tier.identity();
                if !self.events.have_room_for(&namespace.name) {
                    break;
                }
                tracing::warn!(namespace = namespace.name, %policy, tier = &*tier.name, "contested: {}", contest.in_words());
                self.events.contested(tier, namespace, policy, &contest.in_words());
            }
        }
        if let Some(at) = next_look(plan, &after.contests) {
            ticket.look_again(Class::Drift, self.clock.instant(at));
        }
        // Nothing else tells of our own write, and what was closed is to go.
        if plan
            .closings
            .iter()
            .any(|closing| outcome.committed.contains(&closing.name))
        {
            ticket.look_again(Class::Drift, Instant::now());
        }
        if self.ledger.record(&namespace.name, after) {
            self.reporter.look();
        }
    }

    fn finish(&self, ticket: Ticket<String>, plan: &Plan, outcome: &Outcome, took: Duration) {
        let result = match &outcome.failure {
            Some(failure) => {
                if self.failures_said.spend(ticket.key()).is_ok() {
                    tracing::warn!(namespace = ticket.key(), reason = failure.reason, "{}", failure.message);
                }
                self.metrics.reconcile_failed(CONTROLLER, failure.reason);
                ReconcileResult::Error
            }
            None if outcome.must_replan => ReconcileResult::Requeue,
            None => ReconcileResult::Success,
        };
        self.metrics.reconciled(CONTROLLER, result, took);
        match result {
            ReconcileResult::Success => ticket.succeeded(),
            // What could not be written may be a hole: it comes back as urgently as it came, or as what was found.
            _ => {
                let found = plan.drift().next().map(|_| Class::Drift);
                let class = ticket.class().min(found.unwrap_or(Class::Audit));
                let asked = outcome.failure.as_ref().and_then(|failure| failure.retry_after);
                ticket.retry_after(class, asked.unwrap_or_default());
            }
        }
    }
}
