//! Somebody who changes the policies of one namespace.

use std::collections::BTreeSet;
use std::time::Duration;

use cofferdam::api::names::MANAGED_BY_LABEL;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::drive::Random;
use super::seen::Seen;
use crate::harness::eventually;

/// A policy is contested from the sixth heal within a minute on.
pub const ENOUGH_FOR_A_FIGHT: usize = 6;
/// Heals of a contested policy wait, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The policies that were changed in a round, each once; a fight waits for each heal before it goes on.
#[derive(Default)]
pub struct Tenant(BTreeSet<String>);

impl Tenant {
    /// Does something. Where nobody heals, policies of ours are only deleted: what would be found there later is not of one
    /// round.
    pub async fn act(
        &mut self,
        random: &mut Random,
        seen: &Seen,
        namespace: &str,
        is_governed: bool,
        policies: &Api<NetworkPolicy>,
    ) -> Option<String> {
        let reserved: Vec<&str> = seen.reserved_in(namespace).into_keys().collect();
        match random.below(16) {
            0..=2 => self.open_or_shut_a_door(random, seen, namespace, policies).await,
            3 | 4 if is_governed => self.forge(random, policies).await,
            _ if reserved.is_empty() => None,
            5 if is_governed => {
                let rounds = ENOUGH_FOR_A_FIGHT + random.below(3);
                self.fight(reserved[random.below(reserved.len())], rounds, policies)
                    .await
            }
            kind => {
                let policy = reserved[random.below(reserved.len())];
                self.change(policy, kind, is_governed, policies).await
            }
        }
    }

    /// A policy of the tenant's own, which lets everybody in.
    async fn open_or_shut_a_door(
        &mut self,
        random: &mut Random,
        seen: &Seen,
        namespace: &str,
        policies: &Api<NetworkPolicy>,
    ) -> Option<String> {
        let door = format!("door-{}", random.below(2));
        if !self.0.insert(door.clone()) {
            return None;
        }
        if seen.open_doors(namespace).contains(door.as_str()) {
            policies.delete(&door, &DeleteParams::default()).await.ok()?;
            return Some(format!("shut {door}"));
        }
        let created = policies.create(&PostParams::default(), &open_policy(&door)).await;
        created.ok().map(|_| format!("opened {door}"))
    }

    /// A policy under a reserved name that no tier wants.
    async fn forge(&mut self, random: &mut Random, policies: &Api<NetworkPolicy>) -> Option<String> {
        let policy = format!("cofferdam-allow-forged-{}", random.below(3));
        if !self.0.insert(policy.clone()) {
            return None;
        }
        let created = policies.create(&PostParams::default(), &open_policy(&policy)).await;
        created.ok().map(|_| format!("forged {policy}"))
    }

    async fn change(
        &mut self,
        policy: &str,
        kind: usize,
        is_governed: bool,
        policies: &Api<NetworkPolicy>,
    ) -> Option<String> {
        if !self.0.insert(policy.to_owned()) {
            return None;
        }
        match kind {
            6..=9 if is_governed => {
                open(policies, policy).await?;
                Some(format!("changed {policy}"))
            }
            10 | 11 if is_governed => {
                disown(policies, policy).await?;
                Some(format!("disowned {policy}"))
            }
            _ => {
                policies.delete(policy, &DeleteParams::default()).await.ok()?;
                Some(format!("deleted {policy}"))
            }
        }
    }

    /// Opens a policy again after each heal.
    pub async fn fight(&mut self, policy: &str, rounds: usize, policies: &Api<NetworkPolicy>) -> Option<String> {
        if !self.0.insert(policy.to_owned()) {
            return None;
        }
        let right = policies.get(policy).await.ok()?.spec;
        for _ in 0..rounds {
            open(policies, policy).await?;
            eventually(&format!("{policy} is healed"), PATIENCE, || async {
                let live = policies.get(policy).await.map_err(|error| error.to_string())?;
                match live.spec == right {
                    true => Ok(()),
                    false => Err(format!("{:?}", live.spec)),
                }
            })
            .await;
        }
        Some(format!("fought {rounds} times over {policy}"))
    }
}

pub async fn open(policies: &Api<NetworkPolicy>, policy: &str) -> Option<()> {
    patched(policies, policy, &json!({"spec": open_policy(policy).spec})).await
}

pub async fn disown(policies: &Api<NetworkPolicy>, policy: &str) -> Option<()> {
    patched(
        policies,
        policy,
        &json!({"metadata": {"labels": {MANAGED_BY_LABEL: null}}}),
    )
    .await
}

async fn patched(policies: &Api<NetworkPolicy>, policy: &str, patch: &Value) -> Option<()> {
    let parameters = PatchParams {
        field_manager: Some(String::from("tenant")),
        ..PatchParams::default()
    };
    let patched = policies.patch(policy, &parameters, &Patch::Merge(patch)).await;
    patched.ok().map(|_| ())
}

pub fn open_policy(name: &str) -> NetworkPolicy {
    let policy: Value = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
    });
    serde_json::from_value(policy).unwrap()
}
