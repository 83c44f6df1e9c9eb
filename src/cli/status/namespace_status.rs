//! What is said of one namespace, in the form in which it is printed for machines.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use crate::api::Mode;
use crate::cli::columns::printable;
use crate::policy::attribution::audit_query;
use crate::policy::plan::ChangeCounts;
use crate::policy::standing::{Drift, Standing, State, Told};
use crate::policy::widening::Widening;
use crate::policy::{DriftKind, Namespace, ParsedTier, RankedTier};

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub struct StatusReport<'a> {
    /// By name.
    pub namespaces: Vec<&'a NamespaceStatus>,
    /// How many are in which state; every state is there.
    pub counts: BTreeMap<&'static str, usize>,
}

/// One namespace.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceStatus {
    /// Its name.
    pub namespace: String,
    /// The tier that governs it or, where only Observe tiers select it, the highest of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The mode of that tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How it stands, in one word.
    #[serde(serialize_with = "in_a_word")]
    pub state: State,
    /// Whether it makes the exit code 1.
    pub unprotected: bool,
    /// Since when, as far as the API tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What somebody else changed.
    pub drift: Vec<DriftedPolicy>,
    /// What is to be written or deleted.
    pub changes: Changes,
    /// Policies that wait for an allowance to resolve.
    pub waiting: Vec<String>,
    /// Other people's policies that allow more than the tier.
    pub widened_by: Vec<WideningPolicy>,
    /// What Observe tiers above would change.
    pub shadows: Vec<ShadowTier>,
    /// What the controller says of it in the status of the tier.
    pub problems: Vec<Problem>,
}

/// A policy that somebody else changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftedPolicy {
    /// Its name.
    pub policy: String,
    /// missing, modified, disowned or surplus.
    pub kind: &'static str,
    /// Who, where the API tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<FieldManager>,
    /// The fields that differ.
    pub changes: Vec<FieldChange>,
    /// Of a missing policy: what to ask an audit log, since the API does not tell who deleted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_query: Option<String>,
}

/// A field manager: what a client called itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldManager {
    /// Its name.
    pub manager: String,
    /// Apply or Update.
    pub operation: String,
    /// When, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    /// As in `spec.ingress[0].from`.
    pub path: String,
    /// What is wanted there, as JSON; absent for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What stands there, as JSON; absent for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// How many policies are to be created, replaced and deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Changes {
    /// Created.
    pub create: usize,
    /// Replaced.
    pub replace: usize,
    /// Deleted.
    pub delete: usize,
}

/// Somebody else's policy that allows more than the tier, in one direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WideningPolicy {
    /// Its name.
    pub policy: String,
    /// Ingress or Egress.
    pub direction: &'static str,
    /// open, external, cluster or port.
    pub severity: &'static str,
    /// What goes beyond the tier.
    pub detail: String,
}

/// An Observe tier that would govern if it enforced.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowTier {
    /// Its name.
    pub tier: String,
    /// What it would change.
    #[serde(flatten)]
    pub would: Changes,
}

/// What the controller says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// In one word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

impl<'a> StatusReport<'a> {
    /// Of those namespaces.
    pub fn of(namespaces: impl IntoIterator<Item = &'a NamespaceStatus>) -> Self {
        let namespaces: Vec<_> = namespaces.into_iter().collect();
        let mut counts: BTreeMap<_, _> = State::ALL.iter().map(|state| (state.as_str(), 0)).collect();
        for namespace in &namespaces {
            *counts.entry(namespace.state.as_str()).or_default() += 1;
        }
        Self { namespaces, counts }
    }
}

impl NamespaceStatus {
    /// What is said of `namespace`. Whatever others wrote is made printable here, for every form of output.
    pub fn new(namespace: &Namespace, metadata: &ObjectMeta, standing: &Standing<'_>, told: &Told) -> Self {
        let shadow = || standing.shadows.first().map(|(tier, _)| *tier);
        let tier = match standing.state {
            State::Observed => shadow(),
            _ => standing.assignment.governor.tier(),
        };
        let deleted = metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let since = standing
            .since
            .or(deleted.filter(|_| standing.state == State::Terminating));
        let drift = standing.drift.iter();
        let shadows = standing.shadows.iter().map(|(tier, would)| ShadowTier {
            tier: name_of(tier),
            would: (*would).into(),
        });
        let problems = told.problems.iter().map(|problem| Problem {
            reason: printable(&problem.reason),
            message: printable(&problem.message),
        });
        Self {
            namespace: printable(&namespace.name),
            tier: tier.map(name_of),
            mode: tier.and_then(mode_of),
            state: standing.state,
            unprotected: standing.state.is_unprotected(),
            since: since.map(|since| since.to_string()),
            drift: drift.map(|drift| DriftedPolicy::new(drift, &namespace.name)).collect(),
            changes: standing.changes.into(),
            waiting: standing.waiting.iter().map(|name| printable(name.as_str())).collect(),
            widened_by: standing.widenings.iter().map(WideningPolicy::from).collect(),
            shadows: shadows.collect(),
            problems: problems.collect(),
        }
    }
}

impl DriftedPolicy {
    fn new(drift: &Drift, namespace: &str) -> Self {
        let attribution = drift.attribution.as_ref();
        let manager = attribution.and_then(|attribution| attribution.manager.as_ref());
        let changes = attribution.map(|attribution| attribution.changes.as_slice());
        let policy = printable(drift.policy.as_str());
        Self {
            kind: drift.kind.as_str(),
            by: manager.map(|manager| FieldManager {
                manager: printable(&manager.name),
                operation: printable(&manager.operation),
                time: manager.time.map(|time| time.to_string()),
            }),
            changes: changes
                .unwrap_or_default()
                .iter()
                .map(|change| FieldChange {
                    path: printable(&change.path),
                    before: change.before.as_deref().map(printable),
                    after: change.after.as_deref().map(printable),
                })
                .collect(),
            audit_query: (drift.kind == DriftKind::Missing).then(|| audit_query(namespace, &policy)),
            policy,
        }
    }
}

impl From<&Widening> for WideningPolicy {
    fn from(widening: &Widening) -> Self {
        Self {
            policy: printable(&widening.policy),
            direction: widening.direction.as_str(),
            severity: widening.severity.as_str(),
            detail: printable(&widening.detail),
        }
    }
}

impl From<ChangeCounts> for Changes {
    fn from(counts: ChangeCounts) -> Self {
        Self {
            create: counts.create,
            replace: counts.replace,
            delete: counts.delete,
        }
    }
}

fn name_of(tier: &RankedTier) -> String {
    printable(&tier.tier.identity().name)
}

fn mode_of(ranked: &RankedTier) -> Option<Mode> {
    match &ranked.tier {
        ParsedTier::Whole(tier) => Some(tier.mode),
        ParsedTier::Broken(tier) => tier.mode,
    }
}

fn in_a_word<S: serde::Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}
