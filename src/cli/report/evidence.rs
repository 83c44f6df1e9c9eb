//! What is reported, in the form in which it is printed for machines.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::api::Direction;
use crate::api::names::{MANAGED_BY, MANAGED_BY_LABEL, TIER_LABEL};
use crate::cli::columns::printable;
use crate::cli::input::snapshot::Snapshot;
use crate::policy::coverage::{Coverage, NotCounted};
use crate::policy::{Exemptions, Namespace, PolicyName};

/// What an auditor must know of every such report.
const LIMITS: &str = "This is what the Kubernetes API says at that moment. Whether the network plugin enforces NetworkPolicies, \
                      and host-network pods and connections that were open before, do not show there.";

/// Where the uid of a cluster is taken from, by convention.
const CLUSTER_UID_NAMESPACE: &str = "kube-system";

/// The whole report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Which benchmark and recommendation.
    pub benchmark: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Of which cluster.
    pub cluster: Cluster,
    /// When.
    pub generated_at: String,
    /// By which release of Cofferdam.
    pub cofferdam_version: &'static str,
    /// What it does not show.
    pub limits: &'static str,
    /// How many namespaces have which verdict; every verdict is there.
    pub counts: BTreeMap<&'static str, usize>,
    /// By name.
    pub namespaces: Vec<NamespaceEvidence>,
}

/// Which cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The version of its API server; absent for files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// The uid of its namespace kube-system; absent where that was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// One namespace.
#[derive(Debug, Serialize)]
pub struct NamespaceEvidence {
    /// Its name.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Of both directions.
    pub verdict: Word,
    /// Ingress and Egress.
    pub directions: Vec<DirectionEvidence>,
}

/// A namespace in one direction.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectionEvidence {
    /// Ingress or Egress.
    pub direction: &'static str,
    /// Whether it passes.
    pub verdict: Word,
    /// Policies that isolate every pod.
    pub isolated_by: Vec<PolicyEvidence>,
    /// Policies of this direction that do not count, and why.
    pub not_counted: Vec<Uncounted>,
    /// Who lets whom through all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<Opened>,
}

/// A policy that counts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyEvidence {
    /// Its name.
    pub policy: String,
    /// Its uid.
    pub uid: String,
    /// The revision that was judged.
    pub resource_version: String,
    /// The tier that it says to be of, if it has our name and our label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Since when its spec is what it is, as far as the API tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// A policy that does not count.
#[derive(Debug, Serialize)]
pub struct Uncounted {
    /// Its name.
    pub policy: String,
    /// Why.
    pub reason: String,
}

/// What opens an isolated direction.
#[derive(Debug, Serialize)]
pub struct Opened {
    /// The policies that do, together.
    pub policies: Vec<String>,
    /// To whom.
    pub to: String,
}

/// A verdict.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Every pod is isolated.
    Pass,
    /// Not every pod is.
    Fail,
    /// Exempt by name.
    Exempt,
    /// Being deleted.
    Terminating,
}

impl Word {
    const ALL: [Self; 4] = [Self::Pass, Self::Fail, Self::Exempt, Self::Terminating];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Exempt => "exempt",
            Self::Terminating => "terminating",
        }
    }
}

impl Cluster {
    /// Of the cluster that the snapshot is of.
    pub fn new(snapshot: &Snapshot, server_version: Option<String>) -> Self {
        let namespace = snapshot.namespaces.get(CLUSTER_UID_NAMESPACE);
        Self {
            server_version,
            uid: namespace.and_then(|metadata| metadata.uid.as_deref().map(printable)),
        }
    }
}

impl Report {
    /// Judges every namespace of a snapshot.
    pub fn new(snapshot: &Snapshot, exemptions: &Exemptions, cluster: Cluster, now: Timestamp) -> Self {
        let namespaces = snapshot.core_namespaces().map(|namespace| {
            let policies = snapshot.policies_in(&namespace.name);
            NamespaceEvidence::new(&namespace, policies, exemptions, now)
        });
        let namespaces: Vec<_> = namespaces.collect();
        let count = |word: Word| namespaces.iter().filter(|namespace| namespace.verdict == word).count();
        Self {
            benchmark: "CIS Kubernetes Benchmark 5.3.2",
            title: "Ensure that all Namespaces have NetworkPolicies defined",
            cluster,
            generated_at: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            cofferdam_version: env!("CARGO_PKG_VERSION"),
            limits: LIMITS,
            counts: Word::ALL.map(|word| (word.as_str(), count(word))).into(),
            namespaces,
        }
    }

    /// Whether a namespace fails.
    pub fn fails(&self) -> bool {
        self.namespaces.iter().any(|namespace| namespace.verdict == Word::Fail)
    }
}

impl NamespaceEvidence {
    fn new(namespace: &Namespace, policies: &[NetworkPolicy], exemptions: &Exemptions, now: Timestamp) -> Self {
        let excused = match exemptions.contains(&namespace.name) {
            true => Some(Word::Exempt),
            false => namespace.terminating.then_some(Word::Terminating),
        };
        let directions = Direction::ALL.map(|direction| {
            let coverage = Coverage::of(namespace, direction, policies);
            DirectionEvidence::new(&coverage, policies, excused, now)
        });
        let fails = directions.iter().any(|direction| direction.verdict == Word::Fail);
        Self {
            namespace: printable(&namespace.name),
            uid: printable(&namespace.uid),
            verdict: excused.unwrap_or(if fails { Word::Fail } else { Word::Pass }),
            directions: directions.into(),
        }
    }
}

impl DirectionEvidence {
    fn new(coverage: &Coverage, policies: &[NetworkPolicy], excused: Option<Word>, now: Timestamp) -> Self {
        let name = |index: &usize| policies.get(*index).map(name_of).unwrap_or_default();
        let isolated_by = coverage.isolated_by.iter().filter_map(|index| policies.get(*index));
        let not_counted = coverage.not_counted.iter().map(|(index, why)| Uncounted {
            policy: name(index),
            reason: match why {
                NotCounted::SomePods => String::from("isolates only some pods"),
                NotCounted::AllowsEverything(to) => format!("opens to {to}"),
                NotCounted::OpensSomePods(to) => format!("opens some pods to {to}"),
            },
        });
        let opened_by = coverage.opened_by.as_ref().map(|(policies, to)| Opened {
            policies: policies.iter().map(name).collect(),
            to: to.clone(),
        });
        let judged = if coverage.is_isolated() { Word::Pass } else { Word::Fail };
        Self {
            direction: coverage.direction.as_str(),
            verdict: excused.unwrap_or(judged),
            isolated_by: isolated_by.map(|policy| PolicyEvidence::new(policy, now)).collect(),
            not_counted: not_counted.collect(),
            opened_by,
        }
    }
}

impl PolicyEvidence {
    fn new(policy: &NetworkPolicy, now: Timestamp) -> Self {
        let metadata = &policy.metadata;
        let label = |label: &str| metadata.labels.as_ref().and_then(|labels| labels.get(label));
        let ours = PolicyName::reserved(metadata.name.as_deref().unwrap_or_default()).is_some()
            && label(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGED_BY);
        Self {
            policy: name_of(policy),
            uid: metadata.uid.as_deref().map(printable).unwrap_or_default(),
            resource_version: metadata.resource_version.as_deref().map(printable).unwrap_or_default(),
            tier: label(TIER_LABEL).filter(|_| ours).map(|tier| printable(tier)),
            since: spec_stands_since(policy, now).map(|since| since.to_string()),
        }
    }
}

/// The API server counts the changes of a spec in `metadata.generation`: the first one stands since the creation, a later
/// one since the last change of anything, which is what the client says that made it.
fn spec_stands_since(policy: &NetworkPolicy, now: Timestamp) -> Option<Timestamp> {
    let metadata = &policy.metadata;
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0)?;
    if metadata.generation == Some(1) {
        return Some(created);
    }
    let entries = metadata.managed_fields.iter().flatten();
    let times = entries.filter_map(|entry| entry.time.as_ref().map(|time| time.0));
    times.filter(|time| (created..=now).contains(time)).max()
}

fn name_of(policy: &NetworkPolicy) -> String {
    policy.metadata.name.as_deref().map(printable).unwrap_or_default()
}
