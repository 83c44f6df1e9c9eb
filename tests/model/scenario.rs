//! What may happen to a small cluster: variants of two tiers, labels of namespaces, moves of a tenant.

use std::collections::BTreeMap;

use cofferdam::api::names::{MANAGED_BY, MANAGED_BY_LABEL, RENDERED_ANNOTATION, TIER_LABEL};
use cofferdam::policy::plan::owner_references;
use cofferdam::policy::{ParsedTier, SpecDigest};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::catalogue::{namespace_name, namespace_uid};
use crate::cluster::{Budgets, Directions, NAMESPACES, POLICIES, Tiers};

pub const INGRESS: Directions = 1;
pub const EGRESS: Directions = 2;

/// The names of the two tiers; the first has the higher precedence.
pub const TIERS: [&str; 2] = ["strong", "weak"];

#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub namespaces: usize,
    pub tiers: [Vec<Variant>; 2],
    /// Values of the label `team`.
    pub labels: Vec<Option<&'static str>>,
    pub tenant: Vec<TenantMove>,
    pub first_tiers: Tiers,
    pub first_labels: [u8; NAMESPACES],
    /// Whether the first tiers are in place, or the controller has yet to start.
    pub starts_at_rest: bool,
    pub left: Budgets,
    /// Whether answers come with the commit, so that no watch event overtakes one.
    pub prompt_answers: bool,
}

/// One state of a tier.
#[derive(Clone, Copy)]
pub struct Variant {
    /// Another uid is another tier of the same name, and a higher one a later.
    pub uid: u8,
    /// The teams that it selects.
    pub teams: &'static [&'static str],
    pub observes: bool,
    pub isolates: Directions,
    /// Whether it has an allowance for some pods only.
    pub extra: bool,
    /// A port that it allows in its ingress base.
    pub port: u16,
    /// Whether an allowance of it does not parse.
    pub broken: bool,
}

/// What a tenant does to one policy.
#[derive(Clone, Copy, Debug)]
pub enum TenantMove {
    Delete(usize),
    /// Opens what stands, or creates it open.
    Open(usize),
    /// Opens what stands, and makes the annotation fit.
    OpenSigned(usize),
    /// Takes all our marks off.
    Strip(usize),
    /// Takes our label off.
    Unlabel(usize),
    /// Creates it open, with our label.
    CreateLabelled(usize),
    /// Creates it open, with every mark of that variant of that tier.
    Forge(usize, usize, usize),
}

impl Scenario {
    pub fn variant(&self, tiers: Tiers, tier: usize) -> Option<&Variant> {
        Some(&self.tiers[tier][usize::from(tiers[tier]?)])
    }

    pub fn parsed(&self, tiers: Tiers) -> Vec<ParsedTier> {
        let parse = |tier: usize| Some(self.variant(tiers, tier)?.parsed(tier));
        (0..TIERS.len()).filter_map(parse).collect()
    }
}

impl Variant {
    pub const fn plain(teams: &'static [&'static str], isolates: Directions) -> Self {
        Self {
            uid: 1,
            teams,
            observes: false,
            isolates,
            extra: false,
            port: 80,
            broken: false,
        }
    }

    pub const fn observing(self) -> Self {
        Self { observes: true, ..self }
    }

    pub const fn with_extra(self) -> Self {
        Self { extra: true, ..self }
    }

    pub const fn at_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    pub const fn broken(self) -> Self {
        Self { broken: true, ..self }
    }

    pub const fn again(self) -> Self {
        Self { uid: 2, ..self }
    }

    pub fn uid(&self, tier: usize) -> String {
        format!("uid-{}-{}", TIERS[tier], self.uid)
    }

    pub fn parsed(&self, tier: usize) -> ParsedTier {
        let metadata = ObjectMeta {
            name: Some(TIERS[tier].to_owned()),
            uid: Some(self.uid(tier)),
            creation_timestamp: Some(Time(Timestamp::from_second(1000).unwrap())),
            ..ObjectMeta::default()
        };
        ParsedTier::parse(&metadata, &self.spec(tier))
    }

    fn spec(&self, tier: usize) -> Value {
        let everybody = json!([{"ipBlock": {"cidr": "10.0.0.0/8"}}]);
        let mut allow = vec![json!({"name": "base", "from": everybody, "ports": [{"port": self.port}]})];
        if self.extra {
            let pods = json!({"matchLabels": {"app": "web"}});
            allow.push(json!({"name": "web", "from": everybody, "podSelector": pods, "ports": [{"port": 443}]}));
        }
        if self.broken {
            allow.push(json!({"name": "neither-preset-nor-peers"}));
        }
        let mut isolate = Vec::new();
        for (bit, direction) in [(INGRESS, "Ingress"), (EGRESS, "Egress")] {
            if self.isolates & bit != 0 {
                isolate.push(direction);
            }
        }
        json!({
            "precedence": 100 * (1 - tier as i32),
            "namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": self.teams}]},
            "mode": if self.observes { "Observe" } else { "Enforce" },
            "isolate": isolate,
            "allow": allow,
        })
    }
}

impl TenantMove {
    pub fn policy(self) -> usize {
        match self {
            Self::Delete(policy)
            | Self::Open(policy)
            | Self::OpenSigned(policy)
            | Self::Strip(policy)
            | Self::Unlabel(policy)
            | Self::CreateLabelled(policy)
            | Self::Forge(policy, ..) => policy,
        }
    }

    /// Nothing if it cannot be made; otherwise what stands afterwards.
    pub fn make(
        self,
        namespace: u8,
        before: Option<&NetworkPolicy>,
        scenario: &Scenario,
    ) -> Option<Option<NetworkPolicy>> {
        let standing = before.cloned();
        let fresh = || open_policy(namespace, POLICIES[self.policy()]);
        match self {
            Self::Delete(_) => standing.map(|_| None),
            Self::Open(_) => {
                let mut policy = standing.unwrap_or_else(fresh);
                policy.spec = fresh().spec;
                Some(Some(policy))
            }
            Self::OpenSigned(_) => {
                let mut policy = standing?;
                policy.spec = fresh().spec;
                sign(&mut policy);
                Some(Some(policy))
            }
            Self::Strip(_) => {
                let mut policy = standing?;
                policy.metadata.labels = None;
                policy.metadata.annotations = None;
                policy.metadata.owner_references = None;
                Some(Some(policy))
            }
            Self::Unlabel(_) => {
                let mut policy = standing?;
                policy.metadata.labels.as_mut()?.remove(MANAGED_BY_LABEL)?;
                Some(Some(policy))
            }
            Self::CreateLabelled(_) | Self::Forge(..) if standing.is_some() => None,
            Self::CreateLabelled(_) => {
                let mut policy = fresh();
                policy.metadata.labels = Some(BTreeMap::from([label(MANAGED_BY_LABEL, MANAGED_BY)]));
                Some(Some(policy))
            }
            Self::Forge(_, tier, variant) => {
                let mut policy = fresh();
                let marks = [label(MANAGED_BY_LABEL, MANAGED_BY), label(TIER_LABEL, TIERS[tier])];
                policy.metadata.labels = Some(marks.into());
                let uid = scenario.tiers[tier][variant].uid(tier);
                let owner = (&*namespace_name(namespace), &*namespace_uid(namespace));
                policy.metadata.owner_references = Some(owner_references((TIERS[tier], &uid), owner));
                sign(&mut policy);
                Some(Some(policy))
            }
        }
    }
}

fn label(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn sign(policy: &mut NetworkPolicy) {
    let digest = SpecDigest::of(policy.spec.as_ref().unwrap()).to_string();
    let annotations = policy.metadata.annotations.get_or_insert_default();
    annotations.insert(RENDERED_ANNOTATION.to_owned(), digest);
}

fn open_policy(namespace: u8, name: &str) -> NetworkPolicy {
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]});
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace_name(namespace)),
            ..ObjectMeta::default()
        },
        spec: Some(serde_json::from_value::<NetworkPolicySpec>(spec).unwrap()),
    }
}
