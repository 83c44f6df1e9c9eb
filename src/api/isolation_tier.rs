//! `IsolationTier`: what a platform team writes.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Allowance, IsolationTierStatus, LabelSelector};

/// What the tier isolates, and what it lets through.
///
/// Example:
///
/// ```yaml
/// mode: Observe
/// namespaceSelector: {}
/// allow:
/// - name: dns
///   preset: DNS
/// - name: same-namespace
///   preset: SameNamespace
/// ```
#[derive(Clone, CustomResource, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "cofferdam.dev",
    version = "v1alpha1",
    kind = "IsolationTier",
    plural = "isolationtiers",
    shortname = "itier",
    category = "cofferdam",
    status = "IsolationTierStatus",
    selectable = ".spec.mode",
    doc = "An IsolationTier describes how far a set of namespaces is isolated. Cofferdam keeps a default-deny baseline \
of NetworkPolicies, with what the tier allows, in every namespace that the tier governs; puts back what somebody \
changes or deletes; and reports in status how many namespaces are protected.

Where several tiers select a namespace, the one with the highest precedence governs it. Start with mode Observe: it \
writes nothing and reports what Enforce would do.

Whether the policies are enforced is up to the cluster's network plugin.",
    // A name is a DNS subdomain, so its length is all that can keep it from being the value of a label. The path of the
    // rule stays empty: the API server takes none under metadata.
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message("the name of a tier is also the value of a label: write at most 63 characters"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether every governed namespace is as the tier wants it."
    ),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", description = "Enforce writes; Observe only reports."),
    printcolumn(
        name = "Namespaces",
        type_ = "integer",
        json_path = ".status.namespaces.selected",
        description = "Namespaces that the tier selects, exempt ones left out."
    ),
    printcolumn(
        name = "Protected",
        type_ = "integer",
        json_path = ".status.namespaces.protected",
        description = "Governed namespaces with every policy present and as rendered."
    ),
    printcolumn(
        name = "Drifted",
        type_ = "integer",
        json_path = ".status.namespaces.drifted",
        description = "Governed namespaces that somebody else changed and that are not healed yet."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Precedence",
        type_ = "integer",
        json_path = ".spec.precedence",
        description = "The highest matching tier governs; empty means 0.",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "What is wrong, if anything, and what to do.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct IsolationTierSpec {
    /// What the tier is for, in a sentence or two for the people who meet it.
    ///
    /// Example: `Payment workloads. Nothing in or out unless listed.`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Which tier governs a namespace that several select: the highest precedence, 0 to 1000; on a tie
    /// the first name in alphabetical order. Absent means 0.
    ///
    /// Example: `100`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub precedence: Option<i32>,
    /// The namespaces, by their labels; `{}` selects every one. kube-system, kube-public, kube-node-lease and
    /// Cofferdam's own namespace are never touched.
    ///
    /// Example: `{matchLabels: {cofferdam.dev/tier: restricted}}`
    pub namespace_selector: LabelSelector,
    /// `Enforce` writes the policies and heals them. `Observe` writes nothing: it reports what `Enforce` would
    /// change, while the tiers below keep enforcing. There is no default: cutting traffic is a decision.
    ///
    /// Example: `Observe`
    pub mode: Mode,
    /// The directions that are closed, seen from the pods of the namespace: `Ingress`, `Egress` or both. A direction
    /// not listed is left alone, and what `allow` says about it has no effect. Absent means both.
    ///
    /// Example: `[Ingress]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.size() > 0")
        .message("isolate is empty: list Ingress, Egress or both, or leave isolate out for both")
        .reason(Reason::FieldValueRequired))]
    pub isolate: Option<Vec<Direction>>,
    /// What is let through. Each entry has a name, exactly one of `preset` (resolved from the live cluster), `from`
    /// (ingress) and `to` (egress), and optionally the ports and the pods that it holds for. Absent or empty means
    /// that nothing passes in the isolated directions.
    ///
    /// Example:
    ///
    /// ```yaml
    /// - name: dns
    ///   preset: DNS
    /// - name: from-ingress-nginx
    ///   from:
    ///   - namespaceSelector:
    ///       matchLabels: {kubernetes.io/metadata.name: ingress-nginx}
    ///   ports: [{port: 8080}]
    /// - name: to-registry
    ///   to:
    ///   - ipBlock: {cidr: 10.20.0.0/16, except: [10.20.9.0/24]}
    ///   ports: [{protocol: TCP, port: 5000, endPort: 5010}]
    /// ```
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub allow: Option<Vec<Allowance>>,
    /// What is said of other people's NetworkPolicies in the namespaces that the tier governs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_policies: Option<ForeignPolicies>,
    /// What becomes of the policies when this tier is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

// The schema of an optional enum shows the type's text, not the field's.
/// What is said of other people's NetworkPolicies in the namespaces that the tier governs. NetworkPolicies add up, so
/// whoever may create one can open what the tier closes. `Report` names in `status.problems` those that allow more than
/// the tier does, counts them in the metric `cofferdam_widening_policies`, and publishes an Event when one appears or
/// gets worse; they are never changed, and `Ready` does not depend on them. `Ignore` says nothing, for namespaces whose
/// owners are meant to open them. Absent means `Report`.
///
/// Example: `Ignore`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ForeignPolicies {
    /// Those that allow more than the tier does are reported.
    #[default]
    Report,
    /// Nothing.
    Ignore,
}

// The schema of an optional enum shows the type's text, not the field's.
/// What becomes of the policies when this tier is deleted, in the namespaces that no other tier takes over. `Retain`
/// leaves them as they stand, no longer healed, until another tier selects the namespace or somebody deletes them.
/// `Remove` deletes them, which opens the namespace: the tier stays, held by the finalizer `cofferdam.dev/handover`, until
/// that is done and, where another tier still stands, the status of that one tells what was released. More of it at once
/// than `--max-unprotected` allows waits for a confirmation, as its condition Ready says.
/// Absent means `Retain`, and so does the deletion of the CustomResourceDefinition.
///
/// Example: `Retain`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// They stay as they are.
    #[default]
    Retain,
    /// They are deleted.
    Remove,
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

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The word for it in a tier's `isolate` and a NetworkPolicy's `policyTypes`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }
}
