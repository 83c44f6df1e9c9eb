//! From a snapshot to label values, each with its number.

use super::{ConditionStatus, NamespaceTotals, PolicyCounts, TierConditions, TierGauges};
use crate::api::NamespaceCounts;
use crate::policy::DriftKind;
use crate::policy::widening::Severity;

impl TierGauges {
    pub(super) fn condition_samples(&self) -> impl Iterator<Item = ([&str; 3], f64)> {
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

    pub(super) fn namespace_samples(&self) -> [([&str; 2], f64); 5] {
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

    pub(super) fn widening_samples(&self) -> [([&str; 2], f64); Severity::ALL.len()] {
        Severity::ALL.map(|severity| {
            let count = number(self.widening.of(severity));
            ([self.tier.as_str(), severity.as_str()], count)
        })
    }

    pub(super) fn policy_samples(&self) -> impl Iterator<Item = ([&str; 2], f64)> {
        let PolicyCounts { in_sync, drifted } = &self.policies;
        let of_kind = |kind: DriftKind| (kind.as_str(), drifted.get(&kind).copied().unwrap_or_default());
        [("in_sync", *in_sync)]
            .into_iter()
            .chain(DriftKind::ALL.map(of_kind))
            .map(|(state, count)| ([self.tier.as_str(), state], number(count)))
    }
}

impl NamespaceTotals {
    pub(super) fn samples(&self) -> [([&'static str; 1], f64); 6] {
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

fn present_while_true(present: bool) -> ConditionStatus {
    if present {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    }
}

/// A count as Prometheus has it: exact up to 2^53.
pub(super) fn number(count: u64) -> f64 {
    count as f64
}
