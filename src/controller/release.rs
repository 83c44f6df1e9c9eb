//! What is not wanted any more goes last, when everything is written, and waits for its turn. What opens a direction has turns
//! of its own, is told in the status of its tier, and is planned again from a consistent read.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::brake::{Ruling, SELDOM_LOOK, Word};
use super::consistent_read::{CONSISTENT_READ_HOLDS, plan_from_consistent_read};
use super::error::WriteError;
use super::reconcile::Reconciler;
use super::visit::Visit;
use crate::api::Direction;
use crate::policy::brake::Grant;
use crate::policy::record::{Failure, Outcome};
use crate::policy::{Plan, Removal};

/// So long a worker waits at most for a turn and for the status to tell of a release: others wait for a worker.
const WAITS: Duration = Duration::from_millis(250);

impl Reconciler {
    /// Removes what the plan removes, if everything was written, and takes out of it what has to stay for now. Returns when to
    /// look again for that.
    pub(super) async fn remove(
        &self,
        visit: &Visit<'_>,
        plan: &mut Plan,
        ruling: Ruling,
        outcome: &mut Outcome,
    ) -> Option<Duration> {
        let Ruling { grants, retry_in } = ruling;
        if !outcome.is_complete() || outcome.namespace_gone || plan.removals.is_empty() {
            self.brake.withdraw(grants);
            return retry_in;
        }
        // First, since a release may take long, and may fail.
        let others = plan.take_what_opens_nothing();
        let for_others = self.clear_away(visit, &others, outcome).await;
        let for_releases = self.release(visit, plan, grants, outcome).await;
        plan.removals.extend(others);
        [retry_in, for_others, for_releases].into_iter().flatten().min()
    }

    /// Removes what opens nothing. It may be a heal: what is left of it does not wait for the back-off.
    async fn clear_away(&self, visit: &Visit<'_>, removals: &[Removal], outcome: &mut Outcome) -> Option<Duration> {
        if removals.is_empty() {
            return None;
        }
        match timeout(WAITS, self.removals.others.acquire()).await {
            Ok(_turn) => {
                let namespace = &visit.view.namespace;
                let remove = self.writer.remove(&self.cache, namespace, removals, None, outcome);
                remove.await;
            }
            Err(_late) => outcome.must_replan = true,
        }
        self.pulse.beat();
        outcome.must_replan.then_some(SELDOM_LOOK)
    }

    /// Removes the bases that the plan removes, and what goes with them.
    async fn release(
        &self,
        visit: &Visit<'_>,
        plan: &mut Plan,
        grants: Vec<Grant>,
        outcome: &mut Outcome,
    ) -> Option<Duration> {
        if plan.removals.is_empty() {
            self.brake.withdraw(grants);
            return None;
        }
        let deadline = Instant::now() + WAITS;
        let Ok(_turn) = timeout_at(deadline, self.removals.releases.acquire()).await else {
            let soon = self.holds(plan, grants, Word::NotYet, outcome);
            // What is left was never ours, so that nobody has to be told of it; but it takes its turn.
            outcome.must_replan |= !plan.removals.is_empty();
            return soon.or(Some(SELDOM_LOOK));
        };
        let (mut told, mut wait) = (Vec::new(), None);
        let word = self.brake.write_down(&self.tiers, &grants, deadline).await;
        self.pulse.beat();
        match word {
            Word::Told => told = grants,
            word => wait = self.holds(plan, grants, word, outcome),
        }
        let holds_until = Instant::now() + CONSISTENT_READ_HOLDS;
        if !plan.removals.is_empty() {
            self.keep_what_a_consistent_read_wants(visit, plan, holds_until, outcome)
                .await;
            self.pulse.beat();
        }
        let begun = self.brake.begin(told, plan);
        let (namespace, until) = (&visit.view.namespace, Some(holds_until.into_std()));
        let remove = self
            .writer
            .remove(&self.cache, namespace, &plan.removals, until, outcome);
        remove.await;
        self.brake.answered(&begun, plan, &outcome.committed);
        wait
    }

    /// Keeps what may not go now though it was granted. Returns when to look again, where that is not a failure.
    fn holds(&self, plan: &mut Plan, grants: Vec<Grant>, word: Word, outcome: &mut Outcome) -> Option<Duration> {
        if grants.is_empty() {
            return None;
        }
        let directions: BTreeSet<Direction> = grants.iter().map(|grant| grant.release.direction).collect();
        plan.hold_back(&directions);
        let Word::Refused(failure) = word else {
            return Some(self.brake.keep_waiting(grants));
        };
        self.brake.withdraw(grants);
        outcome.failure = Some(failure);
        None
    }

    /// Keeps only the removals that a consistent read wants too. Where it does not, the watches are behind, or it was no
    /// answer: nothing else may bring another look about.
    async fn keep_what_a_consistent_read_wants(
        &self,
        visit: &Visit<'_>,
        plan: &mut Plan,
        holds_until: Instant,
        outcome: &mut Outcome,
    ) {
        let (again, failure) = self.plan_again(visit, holds_until).await;
        outcome.must_replan |= !plan.keep_removals_also_in(&again);
        outcome.failure = outcome.failure.take().or(failure);
    }

    /// Plans from a consistent read; without an answer there is nothing to be done. One that comes too late is not waited for:
    /// meanwhile nothing in the namespace is healed.
    async fn plan_again(&self, visit: &Visit<'_>, holds_until: Instant) -> (Plan, Option<Failure>) {
        let what = format!("the read before a release of {}", visit.view.namespace.name);
        let read = plan_from_consistent_read(&self.client, visit.view, visit.record.as_deref());
        let read = timeout_at(holds_until, read).await;
        match read.unwrap_or_else(|late| Err(kube::Error::Service(late.into()))) {
            Ok(again) => (again.unwrap_or_default(), None),
            Err(error) => match WriteError::of(error, &what) {
                WriteError::Failed(failure) => (Plan::default(), Some(failure)),
                WriteError::NamespaceGone | WriteError::ObjectGone | WriteError::OtherRevision => {
                    (Plan::default(), None)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
