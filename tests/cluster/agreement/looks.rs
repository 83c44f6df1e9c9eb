//! How often the controller looked at a namespace, and how often it had to look again.
//!
//! A look that finds nothing to do leaves no trace in the API, and looks that are asked for while one waits are one. So the
//! number is bounded, round by round, from both sides: each namespace that a watch event concerned was looked at, and nothing
//! but watch events, retries, fights and audits brings looks about. In a round without any of those both bounds are 0.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde_json::Value;

use super::counters::is_refused;
use super::log::{is_ours, is_policy_write, seconds};
use super::seen::{Seen, name, owner, team_of, team_of_tier, uid};
use crate::harness::AuditEvent;
use crate::harness::observer::is_reserved_name;

/// Between two looks at a namespace whose release is held.
const HELD_LOOK: f64 = 5.0;

/// What a round did besides what the audit log tells.
pub struct Circumstances {
    pub restarted: bool,
    /// Looks that fights bring about.
    pub of_fights: u64,
    /// Retries that waited when the round began.
    pub waiting: u64,
    /// Whether every namespace was audited.
    pub audited: bool,
    /// Seconds that the round took.
    pub took: f64,
}

/// How many looks at namespaces a round brought about. `events` are of the round.
pub fn looks(
    before: &Seen,
    now: &Seen,
    events: &[Arc<AuditEvent>],
    circumstances: &Circumstances,
) -> RangeInclusive<u64> {
    let all = before.names().union(&now.names()).count() as u64;
    let least = concerned(before, now, events, circumstances.restarted).len() as u64;
    let mut most = circumstances.of_fights + circumstances.waiting;
    if circumstances.restarted {
        most += all;
    }
    if circumstances.audited {
        most += all;
    }
    let held = |seen: &Seen| {
        let held = |namespace: &&Value| seen.tiers.iter().any(|tier| seen.held_in(tier, namespace) > 0);
        seen.namespaces.iter().filter(held).count() as u64
    };
    most += held(before).max(held(now)) * (1 + (circumstances.took / HELD_LOOK) as u64);
    let written: u64 = events.iter().map(|event| brings_about(event, before, now)).sum();
    let answered = retries(events);
    let refused = events.iter().filter(|event| is_refused(event)).count() as u64;
    least..=most + written + answered.end() + refused
}

/// Namespaces that had to be looked at, and still stand.
fn concerned<'now>(before: &Seen, now: &'now Seen, events: &[Arc<AuditEvent>], restarted: bool) -> BTreeSet<&'now str> {
    let written = events.iter().filter(|event| is_policy_write(event) && !is_ours(event));
    let written: BTreeSet<&str> = written
        .filter(|event| is_reserved_name(&event.name))
        .map(|event| event.namespace.as_str())
        .collect();
    let changed: Vec<&Value> = changed_tiers(before, now);
    let is_concerned = |namespace: &&Value| {
        let known = before.namespaces.iter().find(|known| uid(known) == uid(namespace));
        let stands = namespace["metadata"]["deletionTimestamp"].is_null();
        let changes = known.is_none_or(|known| known["metadata"]["labels"] != namespace["metadata"]["labels"]);
        let selected = changed
            .iter()
            .any(|tier| Some(team_of_tier(tier)) == team_of(namespace));
        stands && (restarted || changes || selected || written.contains(name(namespace)))
    };
    now.namespaces.iter().filter(is_concerned).map(name).collect()
}

/// As they were and as they are.
fn changed_tiers<'seen>(before: &'seen Seen, now: &'seen Seen) -> Vec<&'seen Value> {
    let same = |tier: &Value, other: &Value| {
        uid(tier) == uid(other) && tier["metadata"]["generation"] == other["metadata"]["generation"]
    };
    let mut changed = Vec::new();
    for (tiers, others) in [(&before.tiers, &now.tiers), (&now.tiers, &before.tiers)] {
        changed.extend(
            tiers
                .iter()
                .filter(|tier| !others.iter().any(|other| same(tier, other))),
        );
    }
    changed
}

/// How many looks the watch events of a request ask for at most.
fn brings_about(event: &AuditEvent, before: &Seen, now: &Seen) -> u64 {
    if !event.is_write() || !event.succeeded() || event.stage != "ResponseComplete" {
        return 0;
    }
    match event.resource.as_str() {
        "namespaces" => 1,
        "networkpolicies" if event.verb == "deletecollection" => {
            let stood = before.reserved_in(&event.namespace).into_keys();
            let stood: BTreeSet<_> = stood.chain(now.reserved_in(&event.namespace).into_keys()).collect();
            // And what the controller had made meanwhile.
            2 * stood.len().max(1) as u64
        }
        "networkpolicies" if is_reserved_name(&event.name) => 1,
        "isolationtiers" if event.subresource.is_empty() => {
            let of_tier = |seen: &Seen| {
                let tier = seen.tiers.iter().find(|tier| name(tier) == event.name);
                let mine = |namespace: &&Value| tier.is_some_and(|tier| is_of(seen, tier, namespace));
                let names = seen
                    .namespaces
                    .iter()
                    .filter(mine)
                    .map(|namespace| name(namespace).to_owned());
                names.collect::<BTreeSet<_>>()
            };
            of_tier(before).union(&of_tier(now)).count() as u64
        }
        _ => 0,
    }
}

/// Whether a tier selects a namespace, or owns something there.
fn is_of(seen: &Seen, tier: &Value, namespace: &Value) -> bool {
    let owns = |policy: &&Value| owner(policy) == Some(uid(tier));
    team_of(namespace) == Some(team_of_tier(tier)) || seen.reserved_in(name(namespace)).values().any(owns)
}

/// How many looks ended with "look again", since the beginning of `events`: something else stood there than was planned
/// against, which the controller then reads, or a consistent read did not confirm a release. Two policies that met another
/// revision may have been of one look, or of two.
pub fn retries(events: &[Arc<AuditEvent>]) -> RangeInclusive<u64> {
    let mut met: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    let mut reads: BTreeMap<&str, Vec<&AuditEvent>> = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| is_ours(event) && event.stage == "ResponseComplete")
    {
        match (event.verb.as_str(), event.resource.as_str()) {
            ("get", "networkpolicies") => {
                let namespace = met.entry(&event.namespace).or_default();
                *namespace.entry(&event.name).or_default() += 1;
            }
            ("get", "namespaces") => reads.entry(&event.name).or_default().push(event),
            ("delete", "networkpolicies") if event.succeeded() && event.name.starts_with("cofferdam-baseline-") => {
                reads.entry(&event.namespace).or_default().push(event);
            }
            _ => {}
        }
    }
    let least = met.values().filter_map(|policies| policies.values().max()).sum();
    let most: u64 = met.values().flat_map(BTreeMap::values).sum();
    let unconfirmed: u64 = reads.into_values().map(not_followed_by_a_deletion).sum();
    least..=most + unconfirmed
}

/// How many of the reads of one namespace confirmed nothing: such a read is two requests, unless the first finds nothing.
fn not_followed_by_a_deletion(mut requests: Vec<&AuditEvent>) -> u64 {
    requests.sort_by(|left, right| seconds(&left.received_at).total_cmp(&seconds(&right.received_at)));
    let (mut unconfirmed, mut asked, mut waits) = (0, 0, false);
    for request in requests {
        if request.verb == "delete" {
            waits = false;
            asked = 0;
            continue;
        }
        if asked == 0 {
            unconfirmed += u64::from(waits);
            waits = true;
        }
        asked = if asked == 0 && request.code == 200 { 1 } else { 0 };
    }
    unconfirmed + u64::from(waits)
}
