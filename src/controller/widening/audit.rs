//! Which of other people's policies allow what the tiers do not: judged beside the work, never on its way.
//!
//! One worker, one namespace at a time, for a moment at a time on a thread that no heal waits for, and for at most a
//! quarter of one processor in all. Whoever writes many policies, or one again and again, only makes their own namespace's
//! report later.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use super::ledger::WideningLedger;
use crate::controller::cache::{Cache, View};
use crate::controller::events::Events;
use crate::controller::ledger::Ledger;
use crate::controller::process_clock::ProcessClock;
use crate::controller::queue::Class;
use crate::controller::report::Reporter;
use crate::controller::work::{Ticket, WorkQueue};
use crate::policy::widening::{AllowedByTier, ForeignPolicy, Judge, Judgements, Widening, WideningSummary};
use crate::policy::{NamespaceRecord, TierIdentity, assign};

/// A namespace is audited so long after the first change: what comes meanwhile is judged at once with it.
pub(in crate::controller) const GATHERING: Duration = Duration::from_secs(1);
/// How long one namespace is worked on before the others have their turn.
const SLICE: Duration = Duration::from_millis(20);
/// After work the audit rests that many times as long.
const REST: u32 = 3;

/// Audits namespaces.
pub(in crate::controller) struct WideningAudit {
    pub(in crate::controller) cache: Arc<Cache>,
    pub(in crate::controller) ledger: Arc<Ledger>,
    pub(in crate::controller) widenings: Arc<WideningLedger>,
    pub(in crate::controller) namespaces: WorkQueue<String>,
    pub(in crate::controller) reporter: Arc<Reporter>,
    pub(in crate::controller) events: Events,
    /// Events are told by it.
    pub(in crate::controller) clock: ProcessClock,
    /// When this replica began to lead: what stood before is no news.
    pub(in crate::controller) leads_since: Timestamp,
}

/// What a slice of work came to.
struct Slice {
    judgements: Judgements,
    summary: Option<WideningSummary>,
    news: Vec<Widening>,
    tier: Option<Arc<TierIdentity>>,
    took: Duration,
}

impl WideningAudit {
    /// Audits what is asked for, until the queue is closed.
    pub(in crate::controller) async fn run(self) {
        while let Some(ticket) = self.namespaces.next().await {
            self.audit(ticket).await;
        }
    }

    async fn audit(&self, ticket: Ticket<String>) {
        let namespace = ticket.key().clone();
        let Some(view) = self.cache.view(&namespace) else {
            if self.widenings.forget(&namespace) {
                self.reporter.look();
            }
            return ticket.succeeded();
        };
        let (record, now) = (self.ledger.get(&namespace), self.clock.now());
        let known = self.widenings.take(&namespace);
        let judgements = known.unwrap_or_else(|| Judgements::new(self.stood_before(&view)));
        let foreign = self.cache.foreign_policies().of(&namespace);
        let judge = move || Slice::of(judgements, &view, record.as_deref(), foreign, now);
        let Ok(slice) = tokio::task::spawn_blocking(judge).await else {
            // What was known is lost with it, so all of the namespace is judged again.
            return ticket.retry(Class::Change);
        };
        self.finish(&namespace, slice, ticket).await;
    }

    /// Whether a namespace was there before this replica led. The time of its creation has whole seconds.
    fn stood_before(&self, view: &View) -> bool {
        let created = view.namespace.created.map(|created| created.as_second());
        created < Some(self.leads_since.as_second())
    }

    async fn finish(&self, namespace: &str, slice: Slice, ticket: Ticket<String>) {
        let complete = slice.judgements.is_complete();
        if let Some(tier) = &slice.tier {
            for widening in &slice.news {
                if !self.events.have_room_for(namespace) {
                    break;
                }
                tracing::warn!(
                    namespace,
                    policy = widening.policy,
                    tier = &*tier.name,
                    "{}",
                    widening.in_words(0)
                );
                self.events.widened(tier, namespace, widening);
            }
        }
        if self.widenings.record(namespace, slice.judgements, slice.summary) {
            self.reporter.look();
        }
        if !complete {
            ticket.look_again(Class::Change, Instant::now());
        }
        ticket.succeeded();
        if slice.took >= Duration::from_millis(1) {
            tokio::time::sleep(slice.took * REST).await;
        }
    }
}

impl Slice {
    fn of(
        mut judgements: Judgements,
        view: &View,
        record: Option<&NamespaceRecord>,
        foreign: Vec<ForeignPolicy>,
        now: Duration,
    ) -> Self {
        let began = Instant::now();
        let governor = assign(&view.world, &view.namespace, &view.observed, record).governor;
        judgements.update(governor, &view.namespace, foreign);
        let mut summary = None;
        if let Some(allowed) = AllowedByTier::of(governor, &view.namespace) {
            let mut judge = Judge::new(allowed);
            while began.elapsed() < SLICE && judgements.judge_next(&mut judge, now) {}
            summary = judgements.summary(&mut judge, &view.namespace);
        }
        Self {
            news: judgements.take_news(),
            judgements,
            summary,
            tier: governor.tier().map(|ranked| Arc::clone(ranked.tier.identity())),
            took: began.elapsed(),
        }
    }
}
