//! What happened since the controller started, by the audit log and by what the test did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cofferdam::policy::words::WRITE_FAILURES;

use super::bounded::too_much_to_say;
use super::drive::{Drifted, Round};
use super::exported::{Expected, KINDS};
use super::log::{Fights, Heal, heals, is_ours, is_policy_write, seconds};
use super::looks::retries;
use super::seen::{Rule, Seen, name};
use super::statuses::Troubles;
use crate::harness::{AuditEvent, Identity, Metrics};

/// Since the controller started, until the present round.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// What a tenant did and the controller undid.
    pub heals: Vec<Heal>,
    /// How many of them were for a tier of now, by tier and kind: series go with their tier.
    pub drift: BTreeMap<(String, String), u64>,
    pub fights: Fights,
    /// What drifts now.
    pub standing: Vec<Standing>,
    /// How many drifts stood when the round began: each waits for its retry.
    pub waiting: u64,
    /// Namespaces that a live tier governed from their creation on, and how many seconds at least and at most the first
    /// policies took.
    pub protected: BTreeMap<String, Vec<(f64, f64)>>,
    /// When the controller started, in Unix seconds.
    pub started: f64,
    /// Where the audit log stood then.
    pub requests_from: usize,
    /// When the round began, in Unix seconds.
    pub round_began: f64,
    /// Looks at namespaces until the round began.
    pub looks: f64,
}

/// Drift that cannot be healed.
#[derive(Clone, Debug)]
pub struct Standing {
    pub namespace: String,
    pub policy: String,
    pub kind: &'static str,
    pub tier: String,
    /// It was first seen at this time at the earliest, in Unix seconds: then somebody asked for the change.
    pub since_at_least: f64,
    /// And at the latest when a write of the controller was refused.
    pub since_at_most: f64,
}

/// What belongs to one moment.
pub struct Moment<'moment> {
    pub metrics: &'moment Metrics,
    /// Before the round.
    pub before: &'moment Seen,
    pub seen: &'moment Seen,
    pub counters: &'moment Counters,
    pub troubles: &'moment Troubles<'moment>,
    /// Since the controller started.
    pub events: &'moment [Arc<AuditEvent>],
    /// Those of the round.
    pub of_the_round: &'moment [Arc<AuditEvent>],
    pub restarted: bool,
}

impl Counters {
    /// Adds what a round did. `events` are of that round.
    pub fn count(&mut self, round: &Round, before: &Seen, now: &Seen, events: &[Arc<AuditEvent>]) {
        for tier in &round.tiers_deleted {
            self.drift.retain(|(of, _), _| of != tier);
            self.protected.remove(tier);
        }
        self.waiting = self.standing.len() as u64;
        self.standing = round
            .stands
            .iter()
            .filter_map(|drift| standing(drift, before, events))
            .collect();
        let heals = heals(round, before, events);
        for heal in &heals {
            let key = (heal.tier.clone(), heal.kind.to_owned());
            *self.drift.entry(key).or_default() += 1;
        }
        self.fights.note(&heals);
        self.heals.extend(heals);
        for namespace in now
            .namespaces
            .iter()
            .filter(|namespace| round.created.contains(name(namespace)))
        {
            if let Rule::Tier(tier) = now.rule(namespace) {
                let took = time_to_protection(name(namespace), events);
                self.protected.entry(name(tier).to_owned()).or_default().push(took);
            }
        }
    }
}

fn standing(drift: &Drifted, before: &Seen, events: &[Arc<AuditEvent>]) -> Option<Standing> {
    let (namespace, policy, kind) = drift;
    let known = before.namespaces.iter().find(|known| name(known) == namespace)?;
    let Rule::Tier(tier) = before.rule(known) else {
        return None;
    };
    let writes = || {
        let writes = events
            .iter()
            .filter(|event| event.resource == "networkpolicies" && event.is_write());
        writes.filter(|event| event.namespace == *namespace && event.name == *policy)
    };
    let asked = writes().find(|event| !is_ours(event))?;
    let refused = writes().find(|event| is_refused(event))?;
    Some(Standing {
        namespace: namespace.clone(),
        policy: policy.clone(),
        kind,
        tier: name(tier).to_owned(),
        since_at_least: seconds(&asked.received_at),
        since_at_most: seconds(&refused.stage_at),
    })
}

/// Whether admission refused what the controller wrote. Of drift that stands there is one policy in a namespace, so that
/// each of these was a look of its own.
pub fn is_refused(event: &AuditEvent) -> bool {
    is_ours(event) && event.resource == "networkpolicies" && event.is_write() && event.code == 422
}

/// From the event that showed a namespace: the last write at least, and from its creation to the end of that at most.
fn time_to_protection(namespace: &str, events: &[Arc<AuditEvent>]) -> (f64, f64) {
    let created = events
        .iter()
        .find(|event| event.resource == "namespaces" && event.verb == "create" && event.name == namespace);
    let created = created.map_or(0.0, |event| seconds(&event.received_at));
    let ours = events
        .iter()
        .filter(|event| is_policy_write(event) && is_ours(event) && event.namespace == namespace);
    let times: Vec<_> = ours
        .map(|event| (seconds(&event.received_at), seconds(&event.stage_at)))
        .collect();
    let longest = times.iter().map(|(asked, done)| done - asked).fold(0.0, f64::max);
    let last = times.iter().map(|(_, done)| *done).fold(created, f64::max);
    (longest, last - created)
}

pub fn expect_counters(expected: &mut Expected, moment: &Moment<'_>) {
    let Moment { seen, counters, .. } = moment;
    for tier in seen.tiers.iter().map(name) {
        for kind in KINDS {
            let key = (tier.to_owned(), kind.to_owned());
            let count = counters.drift.get(&key).copied().unwrap_or_default();
            let labels = [("tier", tier), ("kind", kind)];
            expected.is("drift_corrected_total", &labels, count as f64);
            let stands = counters
                .standing
                .iter()
                .filter(|drift| drift.tier == tier && drift.kind == kind);
            let detected = count + stands.count() as u64;
            expected.is("drift_detected_total", &labels, detected as f64);
        }
        let protected = counters.protected.get(tier).map_or(0, Vec::len);
        expected.is("time_to_protection_seconds_count", &[("tier", tier)], protected as f64);
    }
    for kind in KINDS {
        let count = counters.heals.iter().filter(|heal| heal.kind == kind).count();
        expected.is("drift_heal_duration_seconds_count", &[("kind", kind)], count as f64);
    }
    expect_reconciles(expected, moment);
    for reason in ["namespace", "total", "waiting", "refused"] {
        if reason != "namespace" || too_much_to_say(moment) == 0.0 {
            expected.is("events_dropped_total", &[("reason", reason)], 0.0);
        }
    }
}

fn expect_reconciles(expected: &mut Expected, moment: &Moment<'_>) {
    let refused = moment.events.iter().filter(|event| is_refused(event)).count() as f64;
    for (controller, failed) in [("namespace", refused), ("tier", 0.0)] {
        expected.is(
            "reconcile_total",
            &[("controller", controller), ("result", "error")],
            failed,
        );
        for reason in WRITE_FAILURES {
            let failed = if reason == "AdmissionDenied" { failed } else { 0.0 };
            expected.is(
                "reconcile_errors_total",
                &[("controller", controller), ("reason", reason)],
                failed,
            );
        }
    }
    let retries = retries(moment.events);
    // Where the log leaves no choice, as it nearly always does.
    if retries.start() == retries.end() {
        let labels = [("controller", "namespace"), ("result", "requeue")];
        expected.is("reconcile_total", &labels, *retries.start() as f64);
    }
}

/// By the audit log, a request each: a watch has one line when it begins and one when it ends.
pub fn expect_requests(expected: &mut Expected, events: &[Arc<AuditEvent>]) {
    let mut requests = BTreeMap::new();
    let mut watches = BTreeSet::new();
    for event in events.iter().filter(|event| event.user == Identity::Controller.user()) {
        if event.verb == "watch" && !watches.insert(&event.audit_id) {
            continue;
        }
        let subresource = match event.subresource.as_str() {
            "" => String::new(),
            subresource => format!("/{subresource}"),
        };
        let request = (
            event.verb.clone(),
            format!("{}{subresource}", event.resource),
            event.code.to_string(),
        );
        *requests.entry(request).or_insert(0_u64) += 1;
    }
    let of_tiers =
        |(verb, resource, _): &(String, String, String)| verb == "patch" && resource.starts_with("isolationtiers");
    let of_tiers = requests.iter().filter(|(request, _)| of_tiers(request));
    let written: u64 = of_tiers.map(|(_, count)| count).sum();
    let labels = |result| [("controller", "tier"), ("result", result)];
    expected.is("reconcile_total", &labels("success"), written as f64);
    expected.is("reconcile_total", &labels("requeue"), 0.0);
    for ((verb, resource, code), count) in requests {
        expected.is(
            "api_requests_total",
            &[("verb", &verb), ("resource", &resource), ("code", &code)],
            count as f64,
        );
    }
}

pub fn unix_now() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}
