//! What is exported as gauges: plain data, asked for at each scrape. What is gone from the snapshot is
//! gone from the metrics, and no increment can be forgotten.

mod collector;
mod family;
mod samples;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

pub(super) use collector::GaugeCollector;

use crate::api::NamespaceCounts;
use crate::policy::DriftKind;
use crate::policy::widening::PoliciesBySeverity;

/// Gives the state of now. `None` while another replica speaks for the cluster: two that export the
/// same gauges would be summed.
pub type GaugeSource = Arc<dyn Fn() -> Option<GaugeSnapshot> + Send + Sync>;

/// The state of everything that is exported as a gauge.
#[derive(Clone, Debug, Default)]
pub struct GaugeSnapshot {
    /// The live tiers, each once.
    pub tiers: Vec<TierGauges>,
    /// Policies of ours whose tier is gone.
    pub retained_policies: u64,
    /// All namespaces of the cluster.
    pub namespaces: NamespaceTotals,
    /// When every namespace had last been looked at although nothing was known to have happened.
    pub last_audit: Option<SystemTime>,
    /// What drifts right now. Order and repetition do not matter.
    pub drifted: Vec<DriftedNamespace>,
}

/// The state of a live tier.
#[derive(Clone, Debug, Default)]
pub struct TierGauges {
    /// The tier's name.
    pub tier: String,
    /// Its conditions.
    pub conditions: TierConditions,
    /// The namespaces that it selects.
    pub namespaces: NamespaceCounts,
    /// The policies that it wants or has.
    pub policies: PolicyCounts,
    /// Policies that somebody fights over.
    pub contested: u64,
    /// Other people's policies that allow what it does not.
    pub widening: PoliciesBySeverity,
    /// Releases from it that wait for a confirmation: a direction of a namespace each.
    pub held_releases: u64,
    /// Since when its oldest drift is not healed.
    pub drift_oldest: Option<SystemTime>,
}

/// The conditions of a tier.
#[derive(Clone, Copy, Debug, Default)]
pub struct TierConditions {
    /// `Ready`.
    pub ready: ConditionStatus,
    /// `Reconciling`, which is present only while true.
    pub reconciling: bool,
    /// `Stalled`, which is present only while true.
    pub stalled: bool,
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// The controller has not said yet.
    #[default]
    Unknown,
}

/// Policies by state.
#[derive(Clone, Debug, Default)]
pub struct PolicyCounts {
    /// Present and as rendered.
    pub in_sync: u64,
    /// Not healed yet, by how they differ; a kind that is not there counts as 0.
    pub drifted: BTreeMap<DriftKind, u64>,
}

/// Namespaces by what happens to them; each is in one state.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamespaceTotals {
    /// Governed by a tier that enforces.
    pub governed: u64,
    /// Never touched, by name.
    pub exempt: u64,
    /// Selected by no tier.
    pub ungoverned: u64,
    /// Selected only by tiers that observe.
    pub observed: u64,
    /// Without a tier, with policies of ours that outlived theirs.
    pub retained: u64,
    /// On their way out.
    pub terminating: u64,
}

/// A namespace that differs from what its tier wants.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct DriftedNamespace {
    /// The tier.
    pub tier: Arc<str>,
    /// The namespace.
    pub target_namespace: String,
    /// How it differs.
    pub kind: DriftKind,
}

impl ConditionStatus {
    /// Reads the status of a Kubernetes condition; whatever is neither True nor False is unknown.
    pub fn parse(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
