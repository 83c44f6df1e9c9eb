//! What the API says of a cluster, counted without the controller's help: selectors are label equality and allowances
//! literal, because the test wrote the tiers.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam::api::names::{MANAGED_BY, MANAGED_BY_LABEL, RENDERED_ANNOTATION, SYSTEM_NAMESPACES, TIER_LABEL};
use kube::Client;
use serde_json::{Value, json};

use crate::harness::observer::is_reserved_name;

/// Everything that was listed at one moment.
pub struct Seen {
    pub tiers: Vec<Value>,
    pub namespaces: Vec<Value>,
    pub policies: Vec<Value>,
}

/// Who rules in a namespace.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'seen> {
    Exempt,
    Terminating,
    Tier(&'seen Value),
    /// Only Observe tiers select it.
    Observed,
    Nobody,
}

/// How many policies a tier would create, replace and delete.
pub type Would = (usize, usize, usize);

impl Seen {
    pub async fn now(admin: &Client) -> Result<Self, String> {
        let list = |path: &'static str| async move {
            let request = http::Request::get(path)
                .body(Vec::new())
                .map_err(|error| error.to_string())?;
            let list: Value = admin.request(request).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(list["items"].as_array().cloned().unwrap_or_default())
        };
        Ok(Self {
            tiers: list("/apis/cofferdam.dev/v1alpha1/isolationtiers").await?,
            namespaces: list("/api/v1/namespaces").await?,
            policies: list("/apis/networking.k8s.io/v1/networkpolicies").await?,
        })
    }

    /// The tiers that select a namespace, the strongest first.
    pub fn selecting(&self, namespace: &Value) -> Vec<&Value> {
        let selects = |tier: &&Value| team_of(namespace) == Some(team_of_tier(tier));
        let mut selecting: Vec<_> = self.tiers.iter().filter(selects).collect();
        selecting.sort_by_key(|tier| (-precedence(tier), name(tier).to_owned()));
        selecting
    }

    pub fn names(&self) -> BTreeSet<&str> {
        self.namespaces.iter().map(name).collect()
    }

    pub fn tier(&self, named: &str) -> &Value {
        let tier = self.tiers.iter().find(|tier| name(tier) == named);
        tier.unwrap_or_else(|| panic!("expected tier {named}"))
    }

    pub fn rule(&self, namespace: &Value) -> Rule<'_> {
        let named = name(namespace);
        if SYSTEM_NAMESPACES.contains(&named) || named == "cofferdam-system" || named.starts_with("vault-") {
            return Rule::Exempt;
        }
        if !namespace["metadata"]["deletionTimestamp"].is_null() {
            return Rule::Terminating;
        }
        let selecting = self.selecting(namespace);
        match selecting.iter().find(|tier| enforces(tier)) {
            Some(tier) => Rule::Tier(tier),
            None if selecting.is_empty() => Rule::Nobody,
            None => Rule::Observed,
        }
    }

    /// The Observe tiers that come before whoever enforces.
    pub fn shadows(&self, namespace: &Value) -> Vec<&Value> {
        match self.rule(namespace) {
            Rule::Exempt | Rule::Terminating => Vec::new(),
            _ => self
                .selecting(namespace)
                .into_iter()
                .take_while(|tier| !enforces(tier))
                .collect(),
        }
    }

    /// The policies of a namespace.
    pub fn policies_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Value> {
        self.policies
            .iter()
            .filter(move |policy| policy["metadata"]["namespace"] == namespace)
    }

    /// Those with reserved names, by name.
    pub fn reserved_in<'a>(&'a self, namespace: &'a str) -> BTreeMap<&'a str, &'a Value> {
        let policies = self.policies_in(namespace).map(|policy| (name(policy), policy));
        policies.filter(|(name, _)| is_reserved_name(name)).collect()
    }

    /// How many policies stand exactly as a tier wants them.
    pub fn in_place(&self, tier: &Value, namespace: &str) -> usize {
        let reserved = self.reserved_in(namespace);
        let wanted = wanted(tier);
        let stands = |(name, spec): &(&String, &Value)| {
            reserved
                .get(name.as_str())
                .is_some_and(|policy| is_as_wanted(policy, tier, spec))
        };
        wanted.iter().filter(stands).count()
    }

    pub fn would(&self, tier: &Value, namespace: &str) -> Would {
        let (reserved, wanted) = (self.reserved_in(namespace), wanted(tier));
        let create = wanted
            .keys()
            .filter(|name| !reserved.contains_key(name.as_str()))
            .count();
        let delete = reserved.keys().filter(|name| !wanted.contains_key(**name)).count();
        (create, wanted.len() - create - self.in_place(tier, namespace), delete)
    }

    /// The policies of a namespace that outlived their tier.
    pub fn retained_in(&self, namespace: &str) -> usize {
        let live: BTreeSet<_> = self.tiers.iter().map(uid).collect();
        let outlived = |policy: &&&Value| {
            let metadata = &policy["metadata"];
            let owner = owner(policy);
            metadata["labels"][MANAGED_BY_LABEL] == MANAGED_BY
                && metadata["labels"][TIER_LABEL].is_string()
                && metadata["annotations"][RENDERED_ANNOTATION].is_string()
                && owner.is_none_or(|owner| !live.contains(owner))
        };
        self.reserved_in(namespace).values().filter(outlived).count()
    }

    /// Whether no tier selects a namespace and policies of a live one stand there: they are to go, or held.
    pub fn is_left(&self, namespace: &Value) -> bool {
        matches!(self.rule(namespace), Rule::Nobody) && self.tiers.iter().any(|tier| self.held_in(tier, namespace) > 0)
    }

    /// How many directions of a namespace that nobody selects a tier still isolates.
    pub fn held_in(&self, tier: &Value, namespace: &Value) -> usize {
        if !matches!(self.rule(namespace), Rule::Nobody) {
            return 0;
        }
        let reserved = self.reserved_in(name(namespace)).into_iter();
        reserved
            .filter(|(name, policy)| name.starts_with("cofferdam-baseline-") && owner(policy) == Some(uid(tier)))
            .count()
    }

    /// How many of all namespaces.
    pub fn held(&self, tier: &Value) -> usize {
        self.namespaces
            .iter()
            .map(|namespace| self.held_in(tier, namespace))
            .sum()
    }

    /// The policies by which other people let everybody in.
    pub fn open_doors<'a>(&'a self, namespace: &'a str) -> BTreeSet<&'a str> {
        let foreign = self.policies_in(namespace).map(name);
        foreign.filter(|name| !is_reserved_name(name)).collect()
    }
}

/// What a tier wants to stand, as the API server gives it back. Of the shapes of allowances that the test writes.
fn wanted(tier: &Value) -> BTreeMap<String, Value> {
    let mut wanted = BTreeMap::new();
    for (direction, rules, peers) in [("Ingress", "ingress", "from"), ("Egress", "egress", "to")] {
        if !isolates(tier, direction) {
            continue;
        }
        let mut base = json!({"podSelector": {}, "policyTypes": [direction]});
        for allowance in allowances(tier).filter(|allowance| !allowance[peers].is_null()) {
            let rule =
                json!({peers: allowance[peers], "ports": [{"port": allowance["ports"][0]["port"], "protocol": "TCP"}]});
            if allowance["podSelector"].is_null() {
                base[rules] = json!([rule]);
            } else {
                let spec = json!({"podSelector": allowance["podSelector"], "policyTypes": [direction], rules: [rule]});
                wanted.insert(format!("cofferdam-allow-{}-{rules}", name_of(allowance)), spec);
            }
        }
        wanted.insert(format!("cofferdam-baseline-{rules}"), base);
    }
    wanted
}

/// The allowances of a tier for a direction that it does not isolate.
pub fn without_effect(tier: &Value) -> usize {
    let speaks_of = |allowance: &&Value| {
        if allowance["from"].is_null() {
            "Egress"
        } else {
            "Ingress"
        }
    };
    allowances(tier)
        .filter(|allowance| !isolates(tier, speaks_of(allowance)))
        .count()
}

fn allowances(tier: &Value) -> impl Iterator<Item = &Value> {
    tier["spec"]["allow"].as_array().into_iter().flatten()
}

pub fn isolates(tier: &Value, direction: &str) -> bool {
    let listed = tier["spec"]["isolate"].as_array();
    listed.is_none_or(|listed| listed.iter().any(|listed| listed == direction))
}

fn is_as_wanted(policy: &Value, tier: &Value, spec: &Value) -> bool {
    policy["spec"] == *spec
        && owner(policy) == Some(uid(tier))
        && policy["metadata"]["labels"][TIER_LABEL] == name(tier)
        && policy["metadata"]["labels"][MANAGED_BY_LABEL] == MANAGED_BY
}

/// The uid of the tier that owns a policy.
pub fn owner(policy: &Value) -> Option<&str> {
    let mut owners = policy["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.find(|owner| owner["kind"] == "IsolationTier")?["uid"].as_str()
}

/// The team of a namespace, by which the tiers of this test select.
pub fn team_of(namespace: &Value) -> Option<&str> {
    namespace["metadata"]["labels"]["team"].as_str()
}

/// The team whose namespaces a tier selects.
pub fn team_of_tier(tier: &Value) -> &str {
    let team = tier["spec"]["namespaceSelector"]["matchLabels"]["team"].as_str();
    team.unwrap_or_default()
}

pub fn enforces(tier: &Value) -> bool {
    tier["spec"]["mode"] == "Enforce"
}

pub fn precedence(tier: &Value) -> i64 {
    tier["spec"]["precedence"].as_i64().unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    name_of(&object["metadata"])
}

fn name_of(object: &Value) -> &str {
    object["name"].as_str().unwrap_or_default()
}

pub fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}
