//! What the controller reports on a tier. Follows kstatus, so that GitOps tools read it right.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the controller last saw and did for a tier.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolationTierStatus {
    /// The `metadata.generation` that this status speaks of; -1 before the controller saw the tier.
    pub observed_generation: i64,
    /// `Ready`; `Reconciling` and `Stalled` only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many namespaces are in which state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceCounts>,
    /// At most ten things to look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<NamespaceProblem>,
}

/// Namespaces that a tier selects, by state.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceCounts {
    /// Selected by the tier, exempt and terminating ones left out.
    pub selected: i64,
    /// Governed, with every policy present and as rendered.
    pub protected: i64,
    /// Shadowed by this tier in mode Observe.
    pub observed: i64,
    /// Governed, with a change that is not written yet.
    pub pending: i64,
    /// Governed, with a difference that somebody else made and that is not healed yet.
    pub drifted: i64,
    /// Governed, and the last write failed.
    pub failed: i64,
}

/// One thing to look at, with its fix.
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceProblem {
    /// The namespace, where the problem is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A CamelCase word for machines.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
}
