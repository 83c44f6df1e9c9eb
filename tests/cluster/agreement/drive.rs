//! A random life of a small cluster. Only what can happen side by side without one deciding what the other means happens
//! in one round.

use cofferdam::api::names::MANAGED_BY_LABEL;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

use super::count::{Rule, Seen, name};
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, delete_tier, set_labels};

const TIERS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const TEAMS: [&str; 3] = ["a", "b", "c"];
/// More heals of one policy within a minute would make it contested, and when that ends depends on the clock.
const HEALS_OF_ONE_POLICY: u32 = 4;

/// SplitMix64: the same seed, the same life.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// What was done in a round, as far as the counts depend on it.
#[derive(Debug, Eq, PartialEq)]
pub enum Round {
    /// Namespaces appeared.
    Created(Vec<String>),
    /// A namespace is being deleted.
    Deleted(String),
    /// A tier is gone.
    TierDeleted(String),
    /// Namespaces or a tier are others than they were.
    Changed,
    /// So many releases are wanted and none may be made.
    Held(usize),
    /// A tenant changed policies, and nobody anything else.
    Tampered,
    /// The controller ended and started.
    Restarted,
}

pub struct Drive {
    random: Random,
    admin: Client,
    /// How often each policy was tampered with.
    tampered: BTreeMap<(String, String), u32>,
    /// What was tampered with in this round: twice, and which difference the controller saw would be chance.
    this_round: BTreeSet<(String, String)>,
    created: usize,
    rounds: usize,
}

impl Drive {
    pub fn new(seed: u64, admin: Client) -> Self {
        Self {
            random: Random(seed),
            admin,
            tampered: BTreeMap::new(),
            this_round: BTreeSet::new(),
            created: 0,
            rounds: 0,
        }
    }

    /// Does something, which `seen` decides with the dice.
    pub async fn round(&mut self, seen: &Seen) -> (Round, String) {
        self.rounds += 1;
        let ours: Vec<&str> = seen
            .namespaces
            .iter()
            .map(name)
            .filter(|name| name.starts_with("life-"))
            .collect();
        // Something to live with first.
        if seen.tiers.len() < 2 && self.rounds < 6 {
            return self.apply().await;
        }
        match self.random.below(16) {
            0 | 1 => self.create().await,
            2 if ours.len() > 6 => {
                let gone = ours[self.random.below(ours.len())].to_owned();
                let namespaces: Api<Namespace> = Api::all(self.admin.clone());
                namespaces.delete(&gone, &DeleteParams::default()).await.unwrap();
                let words = format!("deleted {gone}");
                (Round::Deleted(gone), words)
            }
            3 | 4 if !ours.is_empty() => {
                let (mut moved, mut once) = (Vec::new(), BTreeSet::new());
                for _ in 0..=self.random.below(3) {
                    let namespace = ours[self.random.below(ours.len())];
                    let team = self.team();
                    if !once.insert(namespace) {
                        continue;
                    }
                    set_labels(&self.admin, namespace, json!({"team": team})).await;
                    moved.push(format!("{namespace} to {team:?}"));
                }
                (Round::Changed, format!("moved {}", moved.join(", ")))
            }
            5 if !seen.tiers.is_empty() => {
                let tier = name(&seen.tiers[self.random.below(seen.tiers.len())]).to_owned();
                delete_tier(&self.admin, &tier, PropagationPolicy::Background).await;
                let words = format!("deleted tier {tier}");
                (Round::TierDeleted(tier), words)
            }
            6..=8 => self.apply().await,
            _ if ours.len() < 4 => self.create().await,
            _ => self.tamper(seen).await,
        }
    }

    async fn create(&mut self) -> (Round, String) {
        let mut created = Vec::new();
        for _ in 0..=self.random.below(4) {
            self.created += 1;
            let prefix = if self.random.below(8) == 0 { "vault" } else { "life" };
            let namespace = format!("{prefix}-{}", self.created);
            let team = self.team();
            let labels: Vec<_> = team.iter().map(|team| ("team", *team)).collect();
            create_namespace(&self.admin, &namespace, &labels).await;
            created.push(namespace);
        }
        let words = format!("created {}", created.join(", "));
        (Round::Created(created), words)
    }

    fn team(&mut self) -> Option<&'static str> {
        let team = self.random.below(TEAMS.len() + 1);
        TEAMS.get(team).copied()
    }

    async fn apply(&mut self) -> (Round, String) {
        let tier = TIERS[self.random.below(TIERS.len())];
        let team = TEAMS[self.random.below(TEAMS.len())];
        let mode = if self.random.below(5) == 0 {
            "Observe"
        } else {
            "Enforce"
        };
        let isolate = ["[Ingress]", "[Egress]", "[Ingress, Egress]"][self.random.below(3)];
        // Few values, so that ties occur.
        let precedence = self.random.below(3);
        let mut allow = Vec::new();
        for allowance in [
            "{name: in, from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: PORT}]}",
            "{name: out, to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: PORT}]}",
            "{name: web, from: [{ipBlock: {cidr: 10.1.0.0/16}}], ports: [{port: PORT}], podSelector: {matchLabels: {app: web}}}",
        ] {
            if self.random.below(2) == 0 {
                let port = 8000 + self.random.below(3);
                allow.push(allowance.replace("PORT", &port.to_string()));
            }
        }
        let allow = match allow.is_empty() {
            true => String::new(),
            false => format!("allow: [{}]\n", allow.join(", ")),
        };
        let spec = format!(
            "namespaceSelector: {{matchLabels: {{team: {team}}}}}\nmode: {mode}\nisolate: {isolate}\nprecedence: {precedence}\n{allow}"
        );
        apply_tier(&self.admin, tier, &spec).await;
        (
            Round::Changed,
            format!("applied tier {tier}: {}", spec.replace('\n', "; ")),
        )
    }

    async fn tamper(&mut self, seen: &Seen) -> (Round, String) {
        let mut done = Vec::new();
        self.this_round.clear();
        let ours = seen
            .namespaces
            .iter()
            .filter(|namespace| name(namespace).starts_with("life-"));
        let ours: Vec<_> = ours.collect();
        for _ in 0..=self.random.below(8) {
            let namespace = ours[self.random.below(ours.len())];
            let is_governed = matches!(seen.rule(namespace), Rule::Tier(_));
            let namespace = name(namespace);
            let policies: Api<NetworkPolicy> = Api::namespaced(self.admin.clone(), namespace);
            let reserved: Vec<&str> = seen.reserved_in(namespace).into_keys().collect();
            let what = match self.random.below(6) {
                0 => self.open_or_shut_a_door(seen, namespace, &policies).await,
                1 if is_governed => self.forge(namespace, &policies).await,
                _ if reserved.is_empty() => continue,
                kind => {
                    let policy = reserved[self.random.below(reserved.len())];
                    self.change(namespace, policy, kind, is_governed, &policies).await
                }
            };
            done.extend(what.map(|what| format!("{what} in {namespace}")));
        }
        (Round::Tampered, done.join(", "))
    }

    /// A policy of the tenant's own, which lets everybody in.
    async fn open_or_shut_a_door(
        &mut self,
        seen: &Seen,
        namespace: &str,
        policies: &Api<NetworkPolicy>,
    ) -> Option<String> {
        let door = format!("door-{}", self.random.below(2));
        if !self.once(namespace, &door, 1000) {
            return None;
        }
        if seen.open_doors(namespace).contains(door.as_str()) {
            policies.delete(&door, &DeleteParams::default()).await.ok()?;
            return Some(format!("shut {door}"));
        }
        policies
            .create(&PostParams::default(), &open_policy(&door))
            .await
            .ok()?;
        Some(format!("opened {door}"))
    }

    /// A policy under a reserved name that no tier wants.
    async fn forge(&mut self, namespace: &str, policies: &Api<NetworkPolicy>) -> Option<String> {
        let policy = format!("cofferdam-allow-forged-{}", self.random.below(3));
        if !self.once(namespace, &policy, HEALS_OF_ONE_POLICY) {
            return None;
        }
        policies
            .create(&PostParams::default(), &open_policy(&policy))
            .await
            .ok()?;
        Some(format!("forged {policy}"))
    }

    /// Ours. Where nobody heals it is only deleted: what would be found there later is not of one round.
    async fn change(
        &mut self,
        namespace: &str,
        policy: &str,
        kind: usize,
        is_governed: bool,
        policies: &Api<NetworkPolicy>,
    ) -> Option<String> {
        if !self.once(namespace, policy, HEALS_OF_ONE_POLICY) {
            return None;
        }
        let patch = match kind {
            2 | 3 if is_governed => json!({"spec": open_policy(policy).spec}),
            4 if is_governed => json!({"metadata": {"labels": {MANAGED_BY_LABEL: null}}}),
            _ => {
                policies.delete(policy, &DeleteParams::default()).await.ok()?;
                return Some(format!("deleted {policy}"));
            }
        };
        let parameters = PatchParams {
            field_manager: Some(String::from("tenant")),
            ..PatchParams::default()
        };
        policies.patch(policy, &parameters, &Patch::Merge(patch)).await.ok()?;
        Some(format!("changed {policy} (way {kind})"))
    }

    fn once(&mut self, namespace: &str, policy: &str, at_most: u32) -> bool {
        let key = (namespace.to_owned(), policy.to_owned());
        let count = self.tampered.entry(key.clone()).or_default();
        if !self.this_round.insert(key) {
            return false;
        }
        *count += 1;
        *count <= at_most
    }
}

fn open_policy(name: &str) -> NetworkPolicy {
    let policy: Value = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
    });
    serde_json::from_value(policy).unwrap()
}
