//! What the controller reports on a tier. Follows kstatus, so that GitOps tools read it right.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What Cofferdam last saw and did for the tier. Written by Cofferdam alone.
///
/// Example:
///
/// ```yaml
/// observedGeneration: 3
/// conditions:
/// - type: Ready
///   status: "True"
///   ...
/// namespaces:
///   selected: 42
///   protected: 42
///   ...
/// ```
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolationTierStatus {
    /// The `metadata.generation` that this status speaks of; -1 before Cofferdam has seen the tier.
    ///
    /// Example: `3`
    pub observed_generation: i64,
    /// `Ready` is True while every governed namespace is as the tier wants it; its message says what is wrong otherwise,
    /// and what to do. `Reconciling` and `Stalled` are there only while true: Cofferdam is writing, or cannot go on by
    /// itself.
    ///
    /// Example: `kubectl wait --for=condition=Ready isolationtier/restricted`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many namespaces are in which state.
    ///
    /// Example: `{selected: 42, protected: 41, observed: 0, pending: 0, drifted: 1, failed: 0}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceCounts>,
    /// What to look at, at most ten entries: where, what is wrong, and how to put it right.
    ///
    /// Example:
    ///
    /// ```yaml
    /// - namespace: payments
    ///   reason: PolicyTooLarge
    ///   message: the rendered policy exceeds 1 MiB; list fewer peers
    /// ```
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<NamespaceProblem>,
    /// How many namespaces this tier left open of late, or one that is gone and that it tells of, and what of a confirmed
    /// list is still to be done. It counts towards `--max-unprotected` for ten minutes; a controller that starts anew counts
    /// all of it until 10 min 32 s after `latestTime`, for 10 minutes at most.
    ///
    /// Example: `{ingress: 3, egress: 3, latestTime: "2026-11-25T18:20:00Z"}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub releases: Option<RecentReleases>,
}

impl IsolationTierStatus {
    /// The condition of that type, if it is there.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }
}

/// Namespaces that the tier selects, by state. Exempt and terminating namespaces are not counted.
///
/// Example: `{selected: 42, protected: 41, observed: 0, pending: 0, drifted: 1, failed: 0}`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceCounts {
    /// Selected by the tier.
    ///
    /// Example: `42`
    pub selected: i64,
    /// Governed by the tier, with every policy present and as rendered. Whether the network plugin enforces them does
    /// not show in the Kubernetes API.
    ///
    /// Example: `41`
    pub protected: i64,
    /// Shadowed by the tier, in mode Observe: nothing is written.
    ///
    /// Example: `0`
    pub observed: i64,
    /// Governed, with a change that is not written yet.
    ///
    /// Example: `0`
    pub pending: i64,
    /// Governed, with a difference that somebody else made and that is not healed yet.
    ///
    /// Example: `1`
    pub drifted: i64,
    /// Governed, and the last write failed.
    ///
    /// Example: `0`
    pub failed: i64,
}

/// Namespaces that were left open of late, or were about to be, without a confirmation.
///
/// Example: `{ingress: 3, egress: 3, latestTime: "2026-11-25T18:20:00Z"}`
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentReleases {
    /// Open for ingress.
    ///
    /// Example: `3`
    pub ingress: i64,
    /// Open for egress.
    ///
    /// Example: `3`
    pub egress: i64,
    /// Up to when they were counted. Where the numbers cannot be read, as long ago as that has been so.
    ///
    /// Example: `2026-11-25T18:20:00Z`
    pub latest_time: Time,
    /// What the annotation `cofferdam.dev/confirm` confirmed and is still to be done, so that a controller that starts anew
    /// goes on with that list and no other.
    ///
    /// Example: `{digest: 5f2d0c8be61c7a90, remaining: ""}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<ConfirmedReleases>,
}

/// A list of releases that was confirmed.
///
/// Example: `{digest: 5f2d0c8be61c7a90, remaining: ""}`
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmedReleases {
    /// What the annotation said.
    ///
    /// Example: `5f2d0c8be61c7a90`
    #[schemars(length(max = 63))]
    pub digest: String,
    /// Eight bytes for each release that is still to be done, in base64; empty once all are.
    ///
    /// Example: `""`
    // Without `format: byte`: the API server refuses the empty string as that.
    #[schemars(with = "String", length(max = 262_144))]
    pub remaining: ByteString,
}

/// One thing to look at, with its fix.
///
/// Example: `{namespace: payments, reason: PolicyTooLarge, message: ...}`
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceProblem {
    /// The namespace; absent where the problem is the tier's.
    ///
    /// Example: `payments`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What kind of problem, in one CamelCase word for machines.
    ///
    /// Example: `PolicyTooLarge`
    pub reason: String,
    /// What is wrong and what to do.
    ///
    /// Example: `the rendered policy exceeds 1 MiB; list fewer peers`
    pub message: String,
}
