//! `releases` in the status of tiers: what they left open of late, counted from the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use cofferdam::api::Direction;
use cofferdam::api::names::CONFIRM_ANNOTATION;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::seen::{Seen, name, owner, uid};
use crate::harness::observer::baseline_name;
use crate::harness::{AuditEvent, Identity};

/// Less than the ten minutes for which a release counts: at the edge both numbers are right.
const SURELY_COUNTS: Duration = Duration::from_secs(570);

/// A base policy that the controller deleted.
struct Deleted<'log> {
    namespace: &'log str,
    base: &'log str,
    /// The uid of the tier that owned it.
    owner: Option<String>,
    at: Timestamp,
}

/// Every count in a tier's status that cannot be of what the controller deleted.
pub fn wrong_releases(seen: &Seen, events: &[Arc<AuditEvent>]) -> Vec<String> {
    let deleted = deleted_bases(events);
    let mut wrong = Vec::new();
    for tier in &seen.tiers {
        for (direction, field) in [(Direction::Ingress, "ingress"), (Direction::Egress, "egress")] {
            let found = &tier["status"]["releases"][field];
            let counts = found.as_u64().or_else(|| found.is_null().then_some(0));
            let right = possible(
                tier,
                seen,
                deleted
                    .iter()
                    .filter(|deleted| deleted.base == baseline_name(direction)),
            );
            if counts.is_none_or(|counts| !right.contains(&(counts as usize))) {
                wrong.push(format!(
                    "releases.{field} of tier {} is {found}, the audit log says {right:?}",
                    name(tier)
                ));
            }
        }
    }
    wrong
}

/// A namespace counts once, but once more after a restart, which does not know its name any more. What was confirmed does
/// not count; here all of a tier is, or nothing. What a tier released that is gone, any other may tell of.
fn possible<'log>(
    tier: &Value,
    seen: &Seen,
    deleted: impl Iterator<Item = &'log Deleted<'log>>,
) -> RangeInclusive<usize> {
    let is_confirmed = tier["metadata"]["annotations"][CONFIRM_ANNOTATION].is_string();
    let is_live = |owner: &str| seen.tiers.iter().any(|tier| uid(tier) == owner);
    let since = Timestamp::now() - SURELY_COUNTS;
    let mut of_late = BTreeSet::new();
    let mut at_most = 0;
    for deleted in deleted {
        match deleted.owner.as_deref() {
            Some(owner) if owner == uid(tier) && is_confirmed => {}
            Some(owner) if owner == uid(tier) => {
                at_most += 1;
                if deleted.at >= since {
                    of_late.insert(deleted.namespace);
                }
            }
            Some(owner) if is_live(owner) => {}
            _ => at_most += 1,
        }
    }
    of_late.len()..=at_most
}

fn deleted_bases(events: &[Arc<AuditEvent>]) -> Vec<Deleted<'_>> {
    let mut owners: BTreeMap<(&str, &str), Option<String>> = BTreeMap::new();
    let mut deleted = Vec::new();
    let writes = events
        .iter()
        .filter(|event| event.resource == "networkpolicies" && event.succeeded() && event.is_write());
    for event in writes {
        let key = (event.namespace.as_str(), event.name.as_str());
        if event.verb == "delete" {
            let owner = owners.remove(&key).flatten();
            let is_base = Direction::ALL
                .iter()
                .any(|direction| baseline_name(*direction) == key.1);
            if is_base && event.user == Identity::Controller.user() {
                deleted.push(Deleted {
                    namespace: key.0,
                    base: key.1,
                    owner,
                    at: event.stage_at.parse().expect("the API server's own time"),
                });
            }
        } else if let Some(stored) = &event.response_object {
            owners.insert(key, owner(stored).map(str::to_owned));
        }
    }
    deleted
}
