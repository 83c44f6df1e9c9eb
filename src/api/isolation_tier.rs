//! `IsolationTier`: what a platform team writes.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowance, IsolationTierStatus, LabelSelector};

/// A tier of isolation: which namespaces it governs, which directions it closes, and what it lets through.
#[derive(Clone, CustomResource, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "cofferdam.dev",
    version = "v1alpha1",
    kind = "IsolationTier",
    shortname = "itier",
    category = "cofferdam",
    status = "IsolationTierStatus"
)]
#[serde(rename_all = "camelCase")]
pub struct IsolationTierSpec {
    /// For people: what the tier is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// 0 to 1000, default 0. The highest matching tier governs a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precedence: Option<i32>,
    /// The namespaces; `{}` selects every one.
    pub namespace_selector: LabelSelector,
    /// Enforce, or Observe: report what would change and write nothing.
    pub mode: Mode,
    /// The directions that are closed; both where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolate: Option<Vec<Direction>>,
    /// What is let through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Allowance>>,
}

/// Whether a tier writes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Mode {
    /// Write and heal.
    Enforce,
    /// Report what it would change; write nothing.
    Observe,
}

/// A direction of traffic, seen from the pods of the namespace.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Direction {
    /// Connections to the pods.
    Ingress,
    /// Connections from the pods.
    Egress,
}
