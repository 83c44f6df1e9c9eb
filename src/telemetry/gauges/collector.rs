//! Turns a snapshot into metric families.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::Family;
use super::samples::number;
use super::{DriftedNamespace, GaugeSnapshot, GaugeSource, TierGauges};

/// Turns a snapshot into metrics at each scrape.
pub(in crate::telemetry) struct GaugeCollector {
    source: GaugeSource,
    drift_series: usize,
    tier_condition: Family<3>,
    tier_namespaces: Family<2>,
    policies: Family<2>,
    namespaces: Family<1>,
    namespace_drift: Family<3>,
    namespace_drift_omitted: Family<0>,
    contested_policies: Family<1>,
    widening_policies: Family<2>,
    held_releases: Family<1>,
    drift_oldest: Family<1>,
    last_audit: Family<0>,
}

impl GaugeCollector {
    pub(in crate::telemetry) fn new(source: GaugeSource, drift_series: usize) -> prometheus::Result<Self> {
        Ok(Self {
            source,
            drift_series,
            tier_condition: Family::new(
                "tier_condition",
                "1 for the status that a condition of a tier has, 0 for the other two.",
                ["tier", "type", "status"],
            )?,
            tier_namespaces: Family::new(
                "tier_namespaces",
                "Namespaces that a tier selects, by state.",
                ["tier", "state"],
            )?,
            policies: Family::new(
                "policies",
                "Policies, by state; those that outlived their tier are retained, under no tier.",
                ["tier", "state"],
            )?,
            namespaces: Family::new("namespaces", "Namespaces of the cluster, by state.", ["state"])?,
            namespace_drift: Family::new(
                "namespace_drift",
                "1 while a namespace differs from what its tier wants.",
                ["tier", "target_namespace", "kind"],
            )?,
            namespace_drift_omitted: Family::new(
                "namespace_drift_omitted",
                "Series of cofferdam_namespace_drift that are left out to bound their number.",
                [],
            )?,
            contested_policies: Family::new(
                "contested_policies",
                "Policies that somebody changes as often as they are healed; their heals wait for up to 30 s, or 5 s where they may be open.",
                ["tier"],
            )?,
            widening_policies: Family::new(
                "widening_policies",
                "NetworkPolicies of others that allow what the tier of their namespace does not, by the worst that they do.",
                ["tier", "severity"],
            )?,
            held_releases: Family::new(
                "held_releases",
                "Directions of namespaces that would be opened and wait for a confirmation, by the tier they come from.",
                ["tier"],
            )?,
            drift_oldest: Family::new(
                "drift_oldest_timestamp_seconds",
                "Unix time since when the oldest drift of a tier is not healed; absent without drift.",
                ["tier"],
            )?,
            last_audit: Family::new(
                "last_audit_timestamp_seconds",
                "Unix time when the last full audit was complete; absent before the first.",
                [],
            )?,
        })
    }

    fn namespace_drift(&self, drifted: &[DriftedNamespace]) -> [MetricFamily; 2] {
        // In a fixed order, so that the same namespaces are left out from one scrape to the next.
        let mut drifted: Vec<&DriftedNamespace> = drifted.iter().collect();
        drifted.sort_unstable();
        drifted.dedup();
        let omitted = drifted.len().saturating_sub(self.drift_series);
        let shown = drifted.into_iter().take(self.drift_series).map(|drift| {
            let DriftedNamespace {
                tier,
                target_namespace,
                kind,
            } = drift;
            ([&**tier, target_namespace.as_str(), kind.as_str()], 1.0)
        });
        [
            self.namespace_drift.with(shown),
            self.namespace_drift_omitted.with([([], number(omitted as u64))]),
        ]
    }
}

impl Collector for GaugeCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![
            &self.tier_condition.desc,
            &self.tier_namespaces.desc,
            &self.policies.desc,
            &self.namespaces.desc,
            &self.namespace_drift.desc,
            &self.namespace_drift_omitted.desc,
            &self.contested_policies.desc,
            &self.widening_policies.desc,
            &self.held_releases.desc,
            &self.drift_oldest.desc,
            &self.last_audit.desc,
        ]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // All fields, so that a new one cannot be left out of the metrics.
        let Some(GaugeSnapshot {
            tiers,
            retained_policies,
            namespaces,
            last_audit,
            drifted,
        }) = (self.source)()
        else {
            return Vec::new();
        };
        let retained = [(["", "retained"], number(retained_policies))];
        let oldest = tiers
            .iter()
            .filter_map(|tier| Some(([tier.tier.as_str()], unix_time(tier.drift_oldest?)?)));
        let contested = tiers.iter().map(|tier| ([tier.tier.as_str()], number(tier.contested)));
        let held = tiers
            .iter()
            .map(|tier| ([tier.tier.as_str()], number(tier.held_releases)));
        let mut families = vec![
            self.tier_condition
                .with(tiers.iter().flat_map(TierGauges::condition_samples)),
            self.tier_namespaces
                .with(tiers.iter().flat_map(TierGauges::namespace_samples)),
            self.policies
                .with(tiers.iter().flat_map(TierGauges::policy_samples).chain(retained)),
            self.namespaces.with(namespaces.samples()),
            self.contested_policies.with(contested),
            self.widening_policies
                .with(tiers.iter().flat_map(TierGauges::widening_samples)),
            self.held_releases.with(held),
            self.drift_oldest.with(oldest),
            self.last_audit.with(last_audit.and_then(unix_time).map(|at| ([], at))),
        ];
        families.extend(self.namespace_drift(&drifted));
        families
    }
}

/// Nothing for a clock that is set before 1970.
fn unix_time(at: SystemTime) -> Option<f64> {
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

impl fmt::Debug for GaugeCollector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GaugeCollector").finish_non_exhaustive()
    }
}
