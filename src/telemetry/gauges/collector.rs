//! Turns a snapshot into metric families.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::{
    ConditionStatus, DriftedNamespace, GaugeSnapshot, GaugeSource, NamespaceTotals, PolicyCounts, TierConditions,
    TierGauges,
};
use crate::api::NamespaceCounts;
use crate::policy::DriftKind;
use crate::policy::widening::Severity;
use crate::telemetry::metrics::PREFIX;

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
        let drifted: BTreeSet<&DriftedNamespace> = drifted.iter().collect();
        let omitted = drifted.len().saturating_sub(self.drift_series);
        let shown = drifted.into_iter().take(self.drift_series).map(|drift| {
            let DriftedNamespace {
                tier,
                target_namespace,
                kind,
            } = drift;
            ([tier.as_str(), target_namespace.as_str(), kind.as_str()], 1.0)
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

impl TierGauges {
    fn condition_samples(&self) -> impl Iterator<Item = ([&str; 3], f64)> {
        let TierConditions {
            ready,
            reconciling,
            stalled,
        } = self.conditions;
        let conditions = [
            ("Ready", ready),
            ("Reconciling", present_while_true(reconciling)),
            ("Stalled", present_while_true(stalled)),
        ];
        let statuses = [
            ("True", ConditionStatus::True),
            ("False", ConditionStatus::False),
            ("Unknown", ConditionStatus::Unknown),
        ];
        conditions.into_iter().flat_map(move |(name, has)| {
            statuses.map(|(label, status)| {
                let holds = if status == has { 1.0 } else { 0.0 };
                ([self.tier.as_str(), name, label], holds)
            })
        })
    }

    fn namespace_samples(&self) -> [([&str; 2], f64); 5] {
        // `selected` is the sum of the others.
        let NamespaceCounts {
            selected: _,
            protected,
            observed,
            pending,
            drifted,
            failed,
        } = self.namespaces;
        [
            ("protected", protected),
            ("observed", observed),
            ("pending", pending),
            ("drifted", drifted),
            ("failed", failed),
        ]
        .map(|(state, count)| ([self.tier.as_str(), state], count as f64))
    }

    fn widening_samples(&self) -> [([&str; 2], f64); Severity::ALL.len()] {
        Severity::ALL.map(|severity| {
            let count = number(self.widening.of(severity));
            ([self.tier.as_str(), severity.as_str()], count)
        })
    }

    fn policy_samples(&self) -> impl Iterator<Item = ([&str; 2], f64)> {
        let PolicyCounts { in_sync, drifted } = &self.policies;
        let of_kind = |kind: DriftKind| (kind.as_str(), drifted.get(&kind).copied().unwrap_or_default());
        [("in_sync", *in_sync)]
            .into_iter()
            .chain(DriftKind::ALL.map(of_kind))
            .map(|(state, count)| ([self.tier.as_str(), state], number(count)))
    }
}

impl NamespaceTotals {
    fn samples(&self) -> [([&'static str; 1], f64); 6] {
        let Self {
            governed,
            exempt,
            ungoverned,
            observed,
            retained,
            terminating,
        } = *self;
        [
            ("governed", governed),
            ("exempt", exempt),
            ("ungoverned", ungoverned),
            ("observed", observed),
            ("retained", retained),
            ("terminating", terminating),
        ]
        .map(|(state, count)| ([state], number(count)))
    }
}

/// A gauge with `LABELS` labels: the compiler counts the values.
#[derive(Debug)]
struct Family<const LABELS: usize> {
    desc: Desc,
    labels: [&'static str; LABELS],
}

impl<const LABELS: usize> Family<LABELS> {
    fn new(name: &str, help: &str, labels: [&'static str; LABELS]) -> prometheus::Result<Self> {
        let names = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Desc::new(format!("{PREFIX}_{name}"), help.to_owned(), names, HashMap::new())?;
        Ok(Self { desc, labels })
    }

    fn with<'a>(&self, samples: impl IntoIterator<Item = ([&'a str; LABELS], f64)>) -> MetricFamily {
        let metrics = samples.into_iter().map(|(values, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_gauge(gauge);
            metric.set_label(self.labels.iter().zip(values).map(label_pair).collect());
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(metrics.collect());
        family
    }
}

fn label_pair((name, value): (&&'static str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn present_while_true(present: bool) -> ConditionStatus {
    if present {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    }
}

/// Nothing for a clock that is set before 1970.
fn unix_time(at: SystemTime) -> Option<f64> {
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

/// A count as Prometheus has it: exact up to 2^53.
fn number(count: u64) -> f64 {
    count as f64
}

impl fmt::Debug for GaugeCollector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GaugeCollector").finish_non_exhaustive()
    }
}
