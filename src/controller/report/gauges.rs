//! What a scrape is told of the tiers.

use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;

use super::{HeldByTier, Reporter, own_tally, status_of};
use crate::api::IsolationTierStatus;
use crate::controller::cache::Watched;
use crate::policy::tally::Tally;
use crate::policy::{ParsedTier, RankedTier, words};
use crate::telemetry::gauges::{
    ConditionStatus, DriftedNamespace, GaugeSnapshot, NamespaceTotals, PolicyCounts, TierConditions, TierGauges,
};

impl Reporter {
    /// The state of now, for a scrape; nothing before the caches are complete.
    pub(in crate::controller) fn gauges(&self) -> Option<GaugeSnapshot> {
        if ![Watched::Tiers, Watched::Namespaces, Watched::Policies]
            .iter()
            .all(|watched| self.cache.is_synced(*watched))
        {
            return None;
        }
        let held = self.brake.held();
        let (world, tally) = self.tally(&held);
        let now = Timestamp::now();
        let tiers = world.tiers().iter().filter_map(|ranked| {
            let known = self.cache.tier(&ranked.tier.identity().name)?;
            Some(tier_gauges(ranked, &tally, &status_of(ranked, &tally, &known, now).1))
        });
        let departing = world.departing().iter().map(|tier| departing_gauges(tier, &held));
        let tiers = tiers.chain(departing).collect();
        let (retained_policies, retained) = self.cache.retained(&world);
        let drifted = tally.tiers.into_iter().flat_map(|(tier, tally)| {
            let drifted = tally.drifted.into_iter();
            drifted.map(move |(target_namespace, kind)| DriftedNamespace {
                tier: Arc::clone(&tier),
                target_namespace,
                kind,
            })
        });
        Some(GaugeSnapshot {
            tiers,
            retained_policies,
            namespaces: NamespaceTotals {
                governed: tally.governed,
                exempt: tally.exempt,
                ungoverned: tally.ungoverned.saturating_sub(retained),
                observed: tally.observed,
                retained,
                terminating: tally.terminating,
            },
            last_audit: None,
            drifted: drifted.collect(),
        })
    }
}

fn departing_gauges(tier: &ParsedTier, held: &HeldByTier) -> TierGauges {
    let identity = tier.identity();
    TierGauges {
        tier: identity.name.to_string(),
        conditions: TierConditions {
            ready: ConditionStatus::parse("False"),
            reconciling: !held.contains_key(&identity.uid),
            stalled: held.contains_key(&identity.uid),
        },
        held_releases: held.get(&identity.uid).map_or(0, |held| held.releases.len() as u64),
        ..TierGauges::default()
    }
}

fn tier_gauges(ranked: &RankedTier, tally: &Tally, status: &IsolationTierStatus) -> TierGauges {
    let own = own_tally(ranked, tally);
    TierGauges {
        tier: ranked.tier.identity().name.to_string(),
        conditions: TierConditions {
            ready: status
                .condition(words::READY)
                .map_or(ConditionStatus::Unknown, |ready| ConditionStatus::parse(&ready.status)),
            reconciling: status.condition(words::RECONCILING).is_some(),
            stalled: status.condition(words::STALLED).is_some(),
        },
        namespaces: own.namespaces,
        policies: PolicyCounts {
            in_sync: own.policies_in_sync,
            drifted: own.policies_drifted.clone(),
        },
        contested: own.contested,
        widening: own.widening,
        held_releases: own.held.as_ref().map_or(0, |held| held.releases.len() as u64),
        drift_oldest: own.drift_oldest.map(SystemTime::from),
    }
}
