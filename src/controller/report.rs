//! What is said of the tiers: their status, at most once a second, and the gauges at each scrape. Both are
//! computed from the caches and the ledger by one function, so that they cannot disagree.

mod gauges;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;

use super::brake::ReleaseBrake;
use super::cache::{Cache, KnownTier};
use super::events::Events;
use super::handover::Handover;
use super::ledger::Ledger;
use super::patience::{Patience, Patiences};
use super::tier_writer::{Landed, TierWriter};
use super::widening::WideningLedger;
use crate::api::IsolationTierStatus;
use crate::policy::brake::Held;
use crate::policy::status::{departing_status, stalls_at, tier_status};
use crate::policy::tally::{Tally, TierTally, tally};
use crate::policy::{RankedTier, TierIdentity, World, words};

/// A status is written at most this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// For so long statuses wait for what earlier processes released. Then they say what is known without it.
const LEARN_BEFORE_REPORTING: Duration = Duration::from_secs(30);

/// What waits, by the uid of the tier.
type HeldByTier = BTreeMap<Arc<str>, Held>;

/// Reports on tiers.
pub(super) struct Reporter {
    cache: Arc<Cache>,
    ledger: Arc<Ledger>,
    widenings: Arc<WideningLedger>,
    brake: Arc<ReleaseBrake>,
    handover: Handover,
    changed: Notify,
    /// Whether what failed may be tried again at once.
    retry_now: AtomicBool,
}

impl Reporter {
    pub(super) fn new(
        cache: Arc<Cache>,
        ledger: Arc<Ledger>,
        widenings: Arc<WideningLedger>,
        brake: Arc<ReleaseBrake>,
    ) -> Self {
        let handover = Handover {
            cache: Arc::clone(&cache),
            ledger: Arc::clone(&ledger),
            brake: Arc::clone(&brake),
        };
        Self {
            cache,
            ledger,
            widenings,
            brake,
            handover,
            changed: Notify::new(),
            retry_now: AtomicBool::new(false),
        }
    }

    /// Something changed that a status may speak of.
    pub(super) fn look(&self) {
        self.changed.notify_one();
    }

    /// The API server was away: what failed meanwhile need not wait as long as it was.
    pub(super) fn retry_now(&self) {
        self.retry_now.store(true, Ordering::Relaxed);
        self.brake.learn_now();
        self.look();
    }

    /// Writes statuses when something changed, for ever.
    pub(super) async fn run(self: Arc<Self>, tiers: TierWriter, events: Events) {
        // What is held, and what was confirmed already, is not known before.
        let _ = tokio::time::timeout(LEARN_BEFORE_REPORTING, self.brake.learned()).await;
        let (mut next_look, mut patience, mut knew) = (None, Patiences::default(), self.brake.has_learned());
        loop {
            self.wait_for_news(next_look, knew).await;
            knew = self.brake.has_learned();
            if self.retry_now.swap(false, Ordering::Relaxed) {
                patience.retry_now();
            }
            let began = tokio::time::Instant::now();
            self.handover.settle(&tiers, &mut patience.finalizers).await;
            let stalls = self.report(&tiers, &events, &mut patience.statuses).await;
            // After the report: that is what reads the annotations.
            self.brake.tend(&tiers, &mut patience.releases).await;
            patience.keep(|uid| self.cache.tier_of_uid(uid).is_some());
            tiers.keep(|uid| self.cache.tier_of_uid(uid).is_some());
            next_look = stalls.into_iter().chain(patience.next(began)).min();
            tokio::time::sleep(STATUS_INTERVAL).await;
        }
    }

    /// Until something changed, it is time for the next look, or it came to be known what earlier processes released.
    async fn wait_for_news(&self, next_look: Option<tokio::time::Instant>, knew: bool) {
        let look = async {
            match next_look {
                Some(at) => tokio::time::sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.changed.notified() => {}
            () = look => {}
            () = self.brake.learned(), if !knew => {}
        }
    }

    /// Writes the statuses that differ from what stands. Returns when to look again although nothing happens.
    async fn report(
        &self,
        tiers: &TierWriter,
        events: &Events,
        patience: &mut Patience,
    ) -> Option<tokio::time::Instant> {
        let held = self.brake.held();
        let (world, tally) = self.tally(&held);
        let now = Timestamp::now();
        let mut next_look = None;
        self.report_departing(tiers, events, &world, &held, patience).await;
        for ranked in world.tiers() {
            let Some(known) = self.cache.tier(&ranked.tier.identity().name) else {
                continue;
            };
            let (before, status) = status_of(ranked, &tally, &known, now);
            if is_preliminary(ranked, &tally, before.as_ref()) {
                self.look();
                continue;
            }
            if let Some(at) = stalls_at(&status) {
                let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default() + STATUS_INTERVAL;
                let at = tokio::time::Instant::now() + wait;
                next_look = Some(next_look.map_or(at, |other: tokio::time::Instant| other.min(at)));
            }
            let identity = ranked.tier.identity();
            if before.as_ref() == Some(&status) {
                patience.succeeded(&identity.uid);
            } else if self.knows_more_than(before.as_ref()) {
                write(tiers, events, identity, before.as_ref(), &status, patience).await;
            }
        }
        next_look
    }

    /// Says of each tier that takes its policies along what is still to be done.
    async fn report_departing(
        &self,
        tiers: &TierWriter,
        events: &Events,
        world: &World,
        held: &HeldByTier,
        patience: &mut Patience,
    ) {
        for tier in world.departing() {
            let identity = tier.identity();
            let Some(known) = self.cache.tier(&identity.name).filter(KnownTier::has_our_finalizer) else {
                continue;
            };
            let before = IsolationTierStatus::deserialize(&known.status).ok();
            let outstanding = self.handover.outstanding(&known);
            let held = held.get(&identity.uid);
            let status = departing_status(identity, outstanding, held, before.as_ref(), Timestamp::now());
            if before.as_ref() == Some(&status) {
                patience.succeeded(&identity.uid);
            } else if self.knows_more_than(before.as_ref()) {
                write(tiers, events, identity, before.as_ref(), &status, patience).await;
            }
        }
    }

    /// Whether something waits is not known before it is known what earlier processes released: what says so stands.
    fn knows_more_than(&self, before: Option<&IsolationTierStatus>) -> bool {
        let ready = before.and_then(|status| status.condition(words::READY));
        self.brake.has_learned() || ready.is_none_or(|ready| ready.reason != words::HELD)
    }

    /// The brake is asked once for one report: what it says of one tier and of another has to fit together.
    fn tally(&self, held: &HeldByTier) -> (Arc<World>, Tally) {
        let world = self.cache.world();
        let namespaces = self.cache.namespaces();
        let records = self.ledger.all();
        let summaries = self.widenings.summaries();
        let known = namespaces.iter().map(|namespace| {
            let record = records.get(namespace.name.as_str()).map(Arc::as_ref);
            (
                &**namespace,
                record,
                summaries.get(namespace.name.as_str()).map(Arc::as_ref),
            )
        });
        let mut tally = tally(&world, known);
        tally.hold(&world, held);
        (world, tally)
    }
}

/// What fails is tried again when the tier's patience ends.
async fn write(
    tiers: &TierWriter,
    events: &Events,
    tier: &TierIdentity,
    before: Option<&IsolationTierStatus>,
    status: &IsolationTierStatus,
    patience: &mut Patience,
) {
    if !patience.may_try(&tier.uid) {
        return;
    }
    match tiers.write_status(tier, status_patch(status)).await {
        Ok(landed) => {
            patience.succeeded(&tier.uid);
            if landed == Landed::Yes {
                announce(events, tier, before, status);
            }
        }
        Err(failure) => patience.failed(&tier.uid, &tier.name, &failure),
    }
}

fn status_of(
    ranked: &RankedTier,
    tally: &Tally,
    known: &KnownTier,
    now: Timestamp,
) -> (Option<IsolationTierStatus>, IsolationTierStatus) {
    let before = IsolationTierStatus::deserialize(&known.status).ok();
    let status = tier_status(ranked, &own_tally(ranked, tally), before.as_ref(), now);
    (before, status)
}

/// Lent, since it lists every namespace that drifts.
fn own_tally<'tally>(ranked: &RankedTier, tally: &'tally Tally) -> Cow<'tally, TierTally> {
    let own = tally.tiers.get(&ranked.tier.identity().name);
    own.map_or_else(|| Cow::Owned(TierTally::default()), Cow::Borrowed)
}

/// Whether what stands was said of this very spec and not every namespace was looked at yet: a process that has just
/// started would report all of them as pending, and a moment later as protected again.
fn is_preliminary(ranked: &RankedTier, tally: &Tally, before: Option<&IsolationTierStatus>) -> bool {
    let identity = ranked.tier.identity();
    let unplanned = tally.tiers.get(&identity.name).map_or(0, |tally| tally.unplanned);
    unplanned > 0 && before.is_some_and(|before| before.observed_generation == identity.generation)
}

/// Names what is empty, too: a merge patch keeps what it does not name. `releases` is the brake's to write.
fn status_patch(status: &IsolationTierStatus) -> serde_json::Value {
    json!({
        "observedGeneration": status.observed_generation,
        "conditions": status.conditions,
        "namespaces": status.namespaces,
        "problems": status.problems,
    })
}

fn announce(events: &Events, tier: &TierIdentity, before: Option<&IsolationTierStatus>, status: &IsolationTierStatus) {
    let before = before.and_then(|status| status.condition(words::READY));
    if let Some(now) = status.condition(words::READY)
        && before.is_none_or(|before| (&before.status, &before.reason) != (&now.status, &now.reason))
        && now.status != "Unknown"
    {
        events.condition_changed(tier, now.status == "True", &now.reason, &now.message);
    }
}

#[cfg(test)]
mod tests;
