//! A policy as a person should see it: without what only the server cares for, and without uids that were made up here.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::identities::is_placeholder;
use crate::policy::digest::normalise;

/// Metadata that says nothing about what a policy does.
const BOOKKEEPING: [&str; 5] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];

/// For a diff: owners that do not exist yet are named without their uid.
pub fn for_diff(policy: &NetworkPolicy) -> Value {
    let mut object = without_bookkeeping(policy);
    let owners = object
        .pointer_mut("/metadata/ownerReferences")
        .and_then(Value::as_array_mut);
    for owner in owners.into_iter().flatten().filter_map(Value::as_object_mut) {
        if owner.get("uid").and_then(Value::as_str).is_some_and(is_placeholder) {
            owner.remove("uid");
        }
    }
    object
}

/// For another program: owners that do not exist yet are left out together, since an API server refuses an owner
/// without a uid, and one of the two alone would be collected with its owner.
pub fn for_output(policy: &NetworkPolicy) -> Value {
    let mut object = without_bookkeeping(policy);
    let owners = policy.metadata.owner_references.iter().flatten();
    let unknown = owners.into_iter().any(|owner| is_placeholder(&owner.uid));
    if let Some(metadata) = object["metadata"].as_object_mut().filter(|_| unknown) {
        metadata.remove("ownerReferences");
    }
    object
}

fn without_bookkeeping(policy: &NetworkPolicy) -> Value {
    // The types hold only strings, numbers and string-keyed maps, which always serialise.
    let mut metadata = serde_json::to_value(&policy.metadata).unwrap_or_default();
    if let Some(fields) = metadata.as_object_mut() {
        fields.retain(|field, _| !BOOKKEEPING.contains(&field.as_str()));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        // What the server defaults is no difference.
        "spec": normalise(policy.spec.clone().unwrap_or_default()),
    })
}
