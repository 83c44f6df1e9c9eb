//! Who changed one of our policies, and what: read from the object that the watch showed, so that it costs no
//! request, and after the heal, so that it delays none.

use std::fmt;

use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::digest::normalise;
use super::{DriftKind, ObservedPolicies, ObservedPolicy, Plan, PolicyName, TierIdentity};
use crate::api::names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL, RENDERED_ANNOTATION, TIER_LABEL};

/// The largest spec that is kept to be explained, in bytes of JSON: whoever may write policies must not fill
/// our memory.
const MAX_EVIDENCE_BYTES: usize = 16 << 10;
/// The most field managers that are kept.
const MAX_MANAGERS: usize = 16;
/// The most field changes that are named.
const MAX_CHANGES: usize = 8;
/// The most characters of a value that are shown.
const MAX_VALUE_CHARACTERS: usize = 120;

/// What is kept of a live policy while it is not as we wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The normalised live spec as JSON, which takes a tenth of what a tree of values takes; `None` where it is too
    /// large to keep.
    spec: Option<Box<str>>,
    /// Who wrote it, us left out, the latest first.
    managers: Vec<Manager>,
}

/// A field manager, as `metadata.managedFields` tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manager {
    /// Its name, as it gave it: a claim, since any client may call itself anything.
    pub name: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// When it last changed a field that it still owns.
    pub time: Option<Timestamp>,
    /// The paths of `spec` that it owns, by their first step.
    owns: Vec<String>,
}

/// Who and what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attribution {
    /// The other field manager; `None` where the API does not tell: a removed field has no owner.
    pub manager: Option<Manager>,
    /// The fields that differ.
    pub changes: Vec<FieldChange>,
}

/// A field that differs from what we want.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldChange {
    /// As in `spec.ingress[0].from`.
    pub path: String,
    /// What we want there, as JSON; `None` for nothing.
    pub before: Option<String>,
    /// What stood there, as JSON; `None` for nothing.
    pub after: Option<String>,
}

impl Evidence {
    /// Keeps what an attribution needs.
    pub fn read(managed_fields: Option<&[ManagedFieldsEntry]>, spec: &NetworkPolicySpec) -> Self {
        let spec = serde_json::to_string(&normalise(spec.clone())).ok();
        let spec = spec
            .filter(|spec| spec.len() <= MAX_EVIDENCE_BYTES)
            .map(String::into_boxed_str);
        let entries = managed_fields.unwrap_or_default().iter();
        let mut managers: Vec<_> = entries.filter_map(Manager::read).collect();
        managers.sort_by_key(|manager| std::cmp::Reverse(manager.time));
        managers.truncate(MAX_MANAGERS);
        Self { spec, managers }
    }
}

impl Manager {
    fn read(entry: &ManagedFieldsEntry) -> Option<Self> {
        let name = entry.manager.clone().filter(|name| name != FIELD_MANAGER)?;
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        let owned = fields
            .and_then(|fields| fields.get("f:spec"))
            .and_then(Value::as_object);
        let owns = owned
            .into_iter()
            .flatten()
            .filter_map(|(key, _)| key.strip_prefix("f:"))
            .filter(|key| ["podSelector", "policyTypes", "ingress", "egress"].contains(key))
            .map(str::to_owned);
        Some(Self {
            name,
            operation: entry.operation.clone().unwrap_or_default(),
            time: entry.time.as_ref().map(|time| time.0),
            owns: owns.collect(),
        })
    }
}

impl Attribution {
    /// Explains how `live` differs from what `tier` wants.
    pub fn of(live: &ObservedPolicy, wanted: &NetworkPolicySpec, tier: &TierIdentity) -> Self {
        let mut changes = Vec::new();
        let Some(evidence) = live.evidence.as_deref() else {
            return Self { manager: None, changes };
        };
        let spec = evidence
            .spec
            .as_deref()
            .and_then(|spec| serde_json::from_str::<Value>(spec).ok());
        match (spec, serde_json::to_value(wanted)) {
            (Some(spec), Ok(wanted)) => compare("spec", Some(&wanted), Some(&spec), &mut changes),
            _ => changes.push(FieldChange {
                path: String::from("spec"),
                before: None,
                after: Some(String::from("(too large to show)")),
            }),
        }
        compare_marks(live, tier, &mut changes);
        let touched = |manager: &&Manager| {
            let first_step = |change: &FieldChange| {
                let path = change.path.strip_prefix("spec.")?;
                path.split(['.', '[']).next().map(str::to_owned)
            };
            changes
                .iter()
                .filter_map(first_step)
                .any(|step| manager.owns.contains(&step))
        };
        let manager = evidence
            .managers
            .iter()
            .find(touched)
            .or_else(|| evidence.managers.first());
        Self {
            manager: manager.cloned(),
            changes,
        }
    }
}

/// A drift in words: what happened to the policy, by whom, and which fields.
pub fn explain(
    plan: &Plan,
    observed: &ObservedPolicies,
    namespace: &str,
    policy: &PolicyName,
    kind: DriftKind,
) -> String {
    match (kind, attribution(plan, observed, policy)) {
        (DriftKind::Missing, _) | (_, None) => {
            format!(
                "deleted; the API does not tell by whom, an audit log does: {}",
                audit_query(namespace, policy.as_str())
            )
        }
        (DriftKind::Surplus, Some(attribution)) => format!("created under a reserved name {attribution}"),
        (DriftKind::Modified, Some(attribution)) => format!("changed {attribution}"),
        (DriftKind::Disowned, Some(attribution)) => format!("stripped of our marks {attribution}"),
    }
}

/// The field manager behind a difference; `None` where the API does not tell.
pub fn opponent(plan: &Plan, observed: &ObservedPolicies, policy: &PolicyName) -> Option<String> {
    let manager = attribution(plan, observed, policy)?.manager?;
    Some(manager.name)
}

/// Who and what is behind a difference; `None` where nothing stands.
pub fn attribution(plan: &Plan, observed: &ObservedPolicies, policy: &PolicyName) -> Option<Attribution> {
    let live = observed.get(policy)?;
    let write = plan.writes().find(|write| write.name == *policy);
    let closes = plan.closings.iter().any(|write| write.name == *policy);
    Some(match write {
        // What closes it is not what stood there before.
        Some(write) if !closes => Attribution::of(live, &write.policy.spec, &write.tier),
        _ => Attribution {
            manager: live
                .evidence
                .as_deref()
                .and_then(|evidence| evidence.managers.first().cloned()),
            changes: Vec::new(),
        },
    })
}

/// Lists the leaves that differ: lists and maps are followed while both sides have them.
fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for key in before
                .keys()
                .chain(after.keys().filter(|key| !before.contains_key(*key)))
            {
                compare(&format!("{path}.{key}"), before.get(key), after.get(key), changes);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                compare(
                    &format!("{path}[{index}]"),
                    before.get(index),
                    after.get(index),
                    changes,
                );
            }
        }
        (before, after) => changes.push(FieldChange {
            path: path.to_owned(),
            before: before.map(shown),
            after: after.map(shown),
        }),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_VALUE_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn compare_marks(live: &ObservedPolicy, tier: &TierIdentity, changes: &mut Vec<FieldChange>) {
    let marks = &live.marks;
    let mut differs = |path: String, before: &str, after: Option<&str>| {
        if after != Some(before) {
            changes.push(FieldChange {
                path,
                before: Some(before.to_owned()),
                after: after.map(str::to_owned),
            });
        }
    };
    differs(
        format!("metadata.labels[{MANAGED_BY_LABEL}]"),
        MANAGED_BY,
        marks.managed_by.then_some(MANAGED_BY),
    );
    differs(
        format!("metadata.labels[{TIER_LABEL}]"),
        &tier.name,
        marks.tier.as_deref(),
    );
    if marks.rendered.is_none() {
        differs(format!("metadata.annotations[{RENDERED_ANNOTATION}]"), "(digest)", None);
    }
    let owner = marks.tier_owner.as_ref().map(|owner| &*owner.uid);
    let owners = marks.strange_owners || marks.namespace_owner.is_none() || owner != Some(&tier.uid);
    if owners {
        differs(
            String::from("metadata.ownerReferences"),
            "(tier and namespace)",
            Some("(others)"),
        );
    }
}

impl fmt::Display for Attribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.manager {
            Some(manager) => {
                write!(formatter, "by {} ({}", manager.name, manager.operation)?;
                match manager.time {
                    Some(time) => write!(formatter, ", {time})")?,
                    None => formatter.write_str(")")?,
                }
            }
            None => formatter.write_str("by an unknown manager (what only removes a field leaves no trace)")?,
        }
        for (index, change) in self.changes.iter().take(MAX_CHANGES).enumerate() {
            formatter.write_str(if index == 0 { ": " } else { "; " })?;
            let absent = |value: &Option<String>| value.clone().unwrap_or_else(|| String::from("absent"));
            write!(
                formatter,
                "{} was {}, became {}",
                change.path,
                absent(&change.before),
                absent(&change.after)
            )?;
        }
        match self.changes.len().saturating_sub(MAX_CHANGES) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

/// The query of an audit log that names whoever deleted a policy: the API itself does not tell.
pub fn audit_query(namespace: &str, policy: &str) -> String {
    format!(
        "jq 'select(.verb==\"delete\" and .objectRef.resource==\"networkpolicies\" and \
         .objectRef.namespace==\"{namespace}\" and .objectRef.name==\"{policy}\") | .user.username' audit.log"
    )
}

#[cfg(test)]
mod tests;
