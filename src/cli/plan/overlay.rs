//! Files over a live cluster: what applying them would make of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::snapshot::Snapshot;

/// Puts the tiers and namespaces of `files` over those of `cluster`. Those of one name stay the same object: they keep
/// their uid and age. What only the cluster has stays, as with `kubectl apply`.
pub fn apply(files: Snapshot, cluster: &mut Snapshot) {
    for (name, mut tier) in files.tiers {
        tier.metadata = match cluster.tiers.get(&name) {
            Some(live) => live.metadata.clone(),
            None => without_identity(tier.metadata),
        };
        cluster.tiers.insert(name, tier);
    }
    for (name, metadata) in files.namespaces {
        match cluster.namespaces.get_mut(&name) {
            Some(live) => add_labels(metadata, live),
            None => _ = cluster.namespaces.insert(name, without_identity(metadata)),
        }
    }
}

fn add_labels(from: ObjectMeta, to: &mut ObjectMeta) {
    to.labels
        .get_or_insert_default()
        .extend(from.labels.unwrap_or_default());
}

/// A uid in a file is of another object than the one that will be created.
fn without_identity(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        labels: metadata.labels,
        ..ObjectMeta::default()
    }
}
