//! Every revision of every NetworkPolicy, in order, from the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::audit_event::AuditEvent;

/// One change of a policy.
#[derive(Clone, Debug)]
pub struct Revision {
    /// The request that made it.
    pub event: Arc<AuditEvent>,
    /// The object afterwards; nothing once it is gone.
    pub object: Option<Value>,
    uid: String,
    resource_version: u64,
}

/// Namespace and name of a policy.
pub type PolicyKey = (String, String);

/// The history of each policy of `namespaces`, oldest revision first.
///
/// The log is in the order of the answers, which is not quite the order of the commits: within one uid the
/// resourceVersion orders, a removal comes last, and uids follow each other.
pub fn policy_histories(
    events: &[Arc<AuditEvent>],
    namespaces: &BTreeSet<String>,
) -> BTreeMap<PolicyKey, Vec<Revision>> {
    let mut histories: BTreeMap<PolicyKey, Vec<Revision>> = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| changed_a_policy(event) && namespaces.contains(&event.namespace))
    {
        for (name, revision) in revisions_of(event) {
            histories
                .entry((event.namespace.clone(), name))
                .or_default()
                .push(revision);
        }
    }
    for history in histories.values_mut() {
        let mut birth: BTreeMap<String, u64> = BTreeMap::new();
        for revision in history.iter().filter(|revision| revision.object.is_some()) {
            let first = birth.entry(revision.uid.clone()).or_insert(revision.resource_version);
            *first = (*first).min(revision.resource_version);
        }
        history.sort_by_key(|revision| {
            let birth = birth.get(&revision.uid).copied().unwrap_or_default();
            (birth, revision.uid.clone(), revision.resource_version)
        });
        // A write that changed nothing is no revision.
        history.dedup_by_key(|revision| (revision.uid.clone(), revision.resource_version));
    }
    histories
}

fn changed_a_policy(event: &AuditEvent) -> bool {
    event.stage == "ResponseComplete"
        && event.resource == "networkpolicies"
        && event.subresource.is_empty()
        && event.is_write()
        && event.succeeded()
}

// A delete answers with a Status that holds the uid, or with the object where a finalizer keeps it; a delete of many
// answers with a list of what it removed.
fn revisions_of(event: &Arc<AuditEvent>) -> Vec<(String, Revision)> {
    let Some(answer) = &event.response_object else {
        return Vec::new();
    };
    if let Some(items) = answer["items"].as_array() {
        return items
            .iter()
            .map(|item| (name_of(item, event), removal(event, &item["metadata"]["uid"])))
            .collect();
    }
    if answer["kind"] == "Status" {
        return vec![(event.name.clone(), removal(event, &answer["details"]["uid"]))];
    }
    let metadata = &answer["metadata"];
    let held = metadata["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty());
    if !metadata["deletionTimestamp"].is_null() && !held {
        return vec![(name_of(answer, event), removal(event, &metadata["uid"]))];
    }
    let stored = Revision {
        event: event.clone(),
        object: Some(answer.clone()),
        uid: metadata["uid"].as_str().unwrap_or_default().to_owned(),
        resource_version: metadata["resourceVersion"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default(),
    };
    vec![(name_of(answer, event), stored)]
}

fn name_of(object: &Value, event: &AuditEvent) -> String {
    object["metadata"]["name"].as_str().unwrap_or(&event.name).to_owned()
}

fn removal(event: &Arc<AuditEvent>, uid: &Value) -> Revision {
    let uid = uid.as_str().unwrap_or_default().to_owned();
    Revision {
        event: event.clone(),
        object: None,
        uid,
        resource_version: u64::MAX,
    }
}
