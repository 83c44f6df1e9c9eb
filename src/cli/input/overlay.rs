//! Files over a live cluster: what applying them would make of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::identities::{NAMESPACE_KIND, placeholder};
use super::snapshot::Snapshot;
use crate::api::names::TIER_KIND;

/// Puts the tiers and namespaces of `files` over those of `cluster`. Those of one name stay the same object: they keep
/// their uid and age. What only the cluster has stays, as with `kubectl apply`.
pub fn apply(files: Snapshot, cluster: &mut Snapshot) {
    for (name, mut tier) in files.tiers {
        tier.metadata = match cluster.tiers.get(&name) {
            Some(live) => live.metadata.clone(),
            None => as_new(tier.metadata, TIER_KIND),
        };
        cluster.tiers.insert(name, tier);
    }
    for (name, metadata) in files.namespaces {
        match cluster.namespaces.get_mut(&name) {
            Some(live) => add_labels(metadata, live),
            None => _ = cluster.namespaces.insert(name, as_new(metadata, NAMESPACE_KIND)),
        }
    }
}

fn add_labels(from: ObjectMeta, to: &mut ObjectMeta) {
    to.labels
        .get_or_insert_default()
        .extend(from.labels.unwrap_or_default());
}

/// What is not there yet gets a uid that no policy can carry: it is not the object of that name whose policies were
/// retained, nor the one that a uid in the file speaks of.
fn as_new(metadata: ObjectMeta, kind: &str) -> ObjectMeta {
    ObjectMeta {
        uid: Some(placeholder(kind, metadata.name.as_deref().unwrap_or_default())),
        name: metadata.name,
        labels: metadata.labels,
        ..ObjectMeta::default()
    }
}
