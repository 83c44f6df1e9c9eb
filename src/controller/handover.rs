//! Our finalizer on tiers that take their policies along: put on, and taken off when everything is done
//! and another tier tells what was released.
//!
//! A merge patch of `metadata.finalizers` under the resource version that was seen: it names no other field, so that
//! nothing of anybody's spec or metadata is written, and where somebody else changed the list meanwhile it meets a
//! conflict instead of undoing that.

use std::sync::Arc;

use super::brake::ReleaseBrake;
use super::cache::{Cache, KnownTier};
use super::ledger::Ledger;
use super::patience::Patience;
use super::tier_writer::{Landed, TierWriter};
use crate::api::names::HANDOVER_FINALIZER;
use crate::policy::handover::{FinalizerChange, finalizer_change};

/// Looks after the finalizers.
pub(super) struct Handover {
    pub(super) cache: Arc<Cache>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) brake: Arc<ReleaseBrake>,
}

impl Handover {
    /// Puts our finalizer where it has to be and takes it from where it is not needed. What fails is tried again when the
    /// tier's patience ends.
    pub(super) async fn settle(&self, tiers: &TierWriter, patience: &mut Patience) {
        let definition_ends = self.cache.definition_ends();
        for known in self.cache.tiers() {
            if !patience.may_try(&known.parsed.identity().uid) {
                continue;
            }
            let outstanding = || self.outstanding(&known);
            let change = finalizer_change(&known.parsed, known.has_our_finalizer(), definition_ends, outstanding);
            let Some(change) = change else {
                patience.succeeded(&known.parsed.identity().uid);
                continue;
            };
            // Where the definition ends, all that could tell go with it.
            let goes = known.parsed.identity().terminating && !definition_ends;
            if !goes || self.others_tell(tiers, &known, patience).await {
                write(tiers, &known, change, patience).await;
            }
        }
    }

    /// Whether the tier may go without what it released being forgotten. What earlier processes released is not known before
    /// the brake has learned it; that brings another look about.
    async fn others_tell(&self, tiers: &TierWriter, known: &KnownTier, patience: &mut Patience) -> bool {
        let identity = known.parsed.identity();
        if !self.brake.has_learned() {
            return false;
        }
        let told = self.brake.tell_before_it_goes(tiers, identity).await;
        told.inspect_err(|failure| patience.failed(&identity.uid, &identity.name, failure))
            .is_ok()
    }

    /// In how many namespaces something is to be done before the tier may go.
    pub(super) fn outstanding(&self, known: &KnownTier) -> usize {
        self.cache.outstanding(&known.parsed, &self.ledger.all())
    }
}

async fn write(tiers: &TierWriter, known: &KnownTier, change: FinalizerChange, patience: &mut Patience) {
    let identity = known.parsed.identity();
    let others = known
        .finalizers
        .iter()
        .filter(|finalizer| *finalizer != HANDOVER_FINALIZER);
    let ours = (change == FinalizerChange::Add).then_some(HANDOVER_FINALIZER);
    let finalizers: Vec<&str> = others.map(String::as_str).chain(ours).collect();
    match tiers
        .write_finalizers(identity, &known.resource_version, &finalizers)
        .await
    {
        Ok(landed) => {
            patience.succeeded(&identity.uid);
            if landed == Landed::Yes {
                tracing::info!(tier = &*identity.name, ?change, "finalizer {HANDOVER_FINALIZER}");
            }
        }
        Err(failure) => patience.failed(&identity.uid, &identity.name, &failure),
    }
}
