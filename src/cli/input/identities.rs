//! What files leave out and a server would fill in: uids and creation times.
//!
//! Without this, every policy would seem to have the wrong owner merely because a tier in git has no uid.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use super::snapshot::Snapshot;
use crate::api::names::{TIER_KIND, TIER_LABEL};
use crate::policy::plan::owner_references;

/// No server gives a uid that begins like this.
const PLACEHOLDER: &str = "placeholder/";
/// Kind of a namespace.
pub const NAMESPACE_KIND: &str = "Namespace";

/// Whether a uid was made up here: it must not be printed.
pub fn is_placeholder(uid: &str) -> bool {
    uid.starts_with(PLACEHOLDER)
}

/// The uid of what does not exist yet.
pub fn placeholder(kind: &str, name: &str) -> String {
    format!("{PLACEHOLDER}{kind}/{name}")
}

/// Gives every tier and namespace a uid and a creation time, and every policy that is a mere manifest its owners.
///
/// A tier or namespace without a uid is taken for the one of its name that owns the policies that stand. One without a
/// creation time does not exist yet, so it is younger than any that does.
pub fn complete(snapshot: &mut Snapshot) {
    let policies = || snapshot.policies.values().flatten();
    for (name, tier) in &mut snapshot.tiers {
        complete_metadata(&mut tier.metadata, TIER_KIND, name, policies());
    }
    for (name, metadata) in &mut snapshot.namespaces {
        let own = snapshot.policies.get(name).into_iter().flatten();
        complete_metadata(metadata, NAMESPACE_KIND, name, own);
    }
    let tiers = snapshot
        .tiers
        .iter()
        .map(|(name, tier)| (name.clone(), tier.metadata.uid.clone().unwrap_or_default()));
    let tier_uids: BTreeMap<_, _> = tiers.collect();
    for (namespace, policies) in &mut snapshot.policies {
        let Some(uid) = snapshot.namespaces.get(namespace).and_then(|found| found.uid.clone()) else {
            continue;
        };
        for policy in policies.iter_mut().filter(|policy| policy.metadata.uid.is_none()) {
            give_owners(policy, &tier_uids, namespace, &uid);
        }
    }
}

fn complete_metadata<'a>(
    metadata: &mut ObjectMeta,
    kind: &str,
    name: &str,
    policies: impl Iterator<Item = &'a NetworkPolicy>,
) {
    if metadata.uid.as_deref().is_none_or(str::is_empty) {
        let known = uid_in_owner_references(kind, name, policies);
        metadata.uid = Some(known.unwrap_or_else(|| placeholder(kind, name)));
    }
    metadata.creation_timestamp.get_or_insert(Time(Timestamp::MAX));
}

/// The uid that most ownerReferences to that object carry.
fn uid_in_owner_references<'a>(
    kind: &str,
    name: &str,
    policies: impl Iterator<Item = &'a NetworkPolicy>,
) -> Option<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for owner in policies.flat_map(|policy| policy.metadata.owner_references.iter().flatten()) {
        if owner.kind == kind && owner.name == name && !owner.uid.is_empty() {
            *counts.entry(&owner.uid).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(uid, _)| uid.to_owned())
}

/// A policy without a uid was never read from a server: what `plan -o yaml` printed, or a file in git. Its owners are
/// those that its tier label asks for.
fn give_owners(policy: &mut NetworkPolicy, tier_uids: &BTreeMap<String, String>, namespace: &str, namespace_uid: &str) {
    let metadata = &mut policy.metadata;
    let tier = metadata.labels.as_ref().and_then(|labels| labels.get(TIER_LABEL));
    let Some((tier, tier_uid)) = tier.and_then(|tier| tier_uids.get_key_value(tier)) else {
        return;
    };
    if metadata
        .owner_references
        .as_ref()
        .is_some_and(|owners| !owners.is_empty())
    {
        return;
    }
    metadata.owner_references = Some(owner_references((tier, tier_uid), (namespace, namespace_uid)));
}
