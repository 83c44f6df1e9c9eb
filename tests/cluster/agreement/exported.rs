//! What every sample of `/metrics` has to be, and which are not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::count::{Rule, Seen, isolates, name};
use super::told::{counts_of, governed_by, namespaces_by_state};
use crate::harness::{AuditEvent, Identity, Metrics};

pub const KINDS: [&str; 4] = ["missing", "modified", "disowned", "surplus"];
/// The caches of the controller.
const CACHES: [&str; 7] = [
    "isolationtiers",
    "namespaces",
    "networkpolicies",
    "dns_service",
    "dns_endpointslices",
    "api_server_service",
    "api_server_endpointslices",
];

/// What happened since the controller started, counted from the audit log and from what the test did.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Healed drift of live tiers, by tier and kind.
    pub drift: BTreeMap<(String, String), u64>,
    /// Healed drift, by kind.
    pub heals: BTreeMap<String, u64>,
    /// Namespaces that a live tier governed from their creation on.
    pub protected: BTreeMap<String, u64>,
    /// When the controller started, in Unix seconds.
    pub started: f64,
    /// Where the audit log stood then.
    pub requests_from: usize,
}

impl Counters {
    /// Counts what the controller wrote in a round in which only a tenant changed something.
    pub fn count_heals(&mut self, seen: &Seen, events: &[Arc<AuditEvent>]) {
        let mut last_by_others: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
        let policies = events
            .iter()
            .filter(|event| event.resource == "networkpolicies" && event.succeeded());
        for event in policies.filter(|event| event.is_write()) {
            let key = (event.namespace.as_str(), event.name.as_str());
            let spec = event.response_object.as_ref().map(|object| &object["spec"]);
            if event.user != Identity::Controller.user() {
                last_by_others.extend(spec.map(|spec| (key, spec)));
                continue;
            }
            let kind = match event.verb.as_str() {
                "create" => "missing",
                "delete" => "surplus",
                _ if last_by_others.get(&key).copied() == spec => "disowned",
                _ => "modified",
            };
            let namespace = seen
                .namespaces
                .iter()
                .find(|namespace| name(namespace) == event.namespace);
            let Some(Rule::Tier(tier)) = namespace.map(|namespace| seen.rule(namespace)) else {
                continue;
            };
            *self.drift.entry((name(tier).to_owned(), kind.to_owned())).or_default() += 1;
            *self.heals.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// Series go with their tier.
    pub fn forget(&mut self, tier: &str) {
        self.drift.retain(|(of, _), _| of != tier);
        self.protected.remove(tier);
    }
}

type Series = (String, BTreeMap<String, String>);

#[derive(Default)]
struct Expected(BTreeMap<Series, f64>);

impl Expected {
    fn is(&mut self, metric: &str, labels: &[(&str, &str)], value: f64) {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.0.insert((format!("cofferdam_{metric}"), labels.collect()), value);
    }
}

/// Everything in `/metrics` that is not as it was counted, a line each.
pub fn wrong_metrics(metrics: &Metrics, seen: &Seen, counters: &Counters, events: &[Arc<AuditEvent>]) -> Vec<String> {
    let mut expected = Expected::default();
    expected.is("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    expected.is("leader", &[], 1.0);
    for cache in CACHES {
        expected.is("cache_synced", &[("resource", cache)], 1.0);
    }
    expect_gauges(&mut expected, seen);
    expect_counters(&mut expected, seen, counters);
    expect_requests(&mut expected, events);
    let mut wrong = Vec::new();
    let mut unseen: BTreeSet<_> = expected.0.keys().cloned().collect();
    for (metric, labels, value) in metrics.samples().filter(|(name, ..)| name.starts_with("cofferdam_")) {
        let series = (metric.to_owned(), labels.clone());
        unseen.remove(&series);
        let fault = match expected.0.get(&series) {
            Some(expected) if *expected == value => None,
            Some(expected) => Some(format!("the API says {expected}")),
            None => uncounted(metrics, metric, labels, value, seen, counters),
        };
        wrong.extend(fault.map(|fault| format!("{metric}{labels:?} is {value}: {fault}")));
    }
    wrong.extend(
        unseen
            .into_iter()
            .map(|(metric, labels)| format!("{metric}{labels:?} is not exported")),
    );
    wrong
}

/// Samples whose value nothing outside the controller tells exactly: what must be true of them nevertheless. Any other is
/// one that this test does not know.
fn uncounted(
    metrics: &Metrics,
    metric: &str,
    labels: &BTreeMap<String, String>,
    value: f64,
    seen: &Seen,
    counters: &Counters,
) -> Option<String> {
    let fails = |right: bool, fault: &str| (!right).then(|| fault.to_owned());
    let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
    if let Some(histogram) = metric.strip_suffix("_bucket").or_else(|| metric.strip_suffix("_sum")) {
        let of: Vec<_> = labels.iter().filter(|(key, _)| *key != "le").collect();
        let of: Vec<_> = of
            .into_iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let count = metrics.value(&format!("{histogram}_count"), &of).unwrap_or(f64::NAN);
        return match label("le") {
            "+Inf" => fails(value == count, "not the count"),
            "" => fails(
                value >= 0.0 && (value > 0.0) == (count > 0.0),
                "no sum of so many times",
            ),
            _ => fails(value <= count, "more than the count"),
        };
    }
    match metric {
        // What finds nothing to do leaves no trace outside.
        "cofferdam_reconcile_total" if label("result") == "success" => {
            fails(value >= seen.namespaces.len() as f64, "fewer than there are namespaces")
        }
        "cofferdam_reconcile_total" if label("result") == "requeue" => None,
        "cofferdam_reconcile_duration_seconds_count" => {
            let all = metrics.sum("cofferdam_reconcile_total", &[("controller", label("controller"))]);
            fails(value == all, "not all reconciles")
        }
        "cofferdam_reconcile_errors_total" => fails(value == 0.0, "nothing failed"),
        // Which namespaces were loud is a matter of time.
        "cofferdam_events_dropped_total" if label("reason") == "namespace" => {
            let heals: u64 = counters.heals.values().sum();
            fails(value <= heals as f64, "more than was healed")
        }
        "cofferdam_events_dropped_total" => fails(value == 0.0, "nobody was that loud"),
        "cofferdam_last_audit_timestamp_seconds" => {
            fails((counters.started..=unix_now()).contains(&value), "not since the start")
        }
        _ => Some(String::from("this test does not know how to count it")),
    }
}

pub fn unix_now() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}

fn expect_gauges(expected: &mut Expected, seen: &Seen) {
    let mut states = namespaces_by_state(seen);
    // Nobody selects what was left either.
    let left = states.remove("left").unwrap_or_default();
    *states.entry("ungoverned").or_default() += left;
    for (state, count) in states.into_iter().filter(|(state, _)| *state != "protected") {
        expected.is("namespaces", &[("state", state)], count as f64);
    }
    let governed = seen
        .namespaces
        .iter()
        .filter(|namespace| matches!(seen.rule(namespace), Rule::Tier(_)));
    expected.is("namespaces", &[("state", "governed")], governed.count() as f64);
    let unruled = seen
        .namespaces
        .iter()
        .filter(|namespace| matches!(seen.rule(namespace), Rule::Nobody));
    let retained: usize = unruled.map(|namespace| seen.retained_in(name(namespace))).sum();
    expected.is("policies", &[("tier", ""), ("state", "retained")], retained as f64);
    expected.is("namespace_drift_omitted", &[], 0.0);
    for tier in &seen.tiers {
        let of = name(tier);
        let counts = counts_of(tier, seen);
        for state in ["protected", "observed", "pending", "drifted", "failed"] {
            let count = counts[state].as_f64().expect("a number");
            expected.is("tier_namespaces", &[("tier", of), ("state", state)], count);
        }
        let governed = governed_by(tier, seen);
        let in_place: usize = governed.iter().map(|namespace| seen.in_place(tier, namespace)).sum();
        expected.is("policies", &[("tier", of), ("state", "in_sync")], in_place as f64);
        for kind in KINDS {
            expected.is("policies", &[("tier", of), ("state", kind)], 0.0);
        }
        expected.is("contested_policies", &[("tier", of)], 0.0);
        let held = seen.held(tier);
        expected.is("held_releases", &[("tier", of)], held as f64);
        let doors = governed.iter().map(|namespace| seen.open_doors(namespace).len());
        let doors: usize = if isolates(tier, "Ingress") { doors.sum() } else { 0 };
        for (severity, count) in [("open", doors), ("external", 0), ("cluster", 0), ("port", 0)] {
            expected.is(
                "widening_policies",
                &[("tier", of), ("severity", severity)],
                count as f64,
            );
        }
        for condition in ["Ready", "Reconciling", "Stalled"] {
            let holds = match condition {
                "Ready" => held == 0,
                "Stalled" => held > 0,
                _ => false,
            };
            let right = if holds { "True" } else { "False" };
            for status in ["True", "False", "Unknown"] {
                let labels = [("tier", of), ("type", condition), ("status", status)];
                expected.is("tier_condition", &labels, f64::from(u8::from(status == right)));
            }
        }
    }
}

fn expect_counters(expected: &mut Expected, seen: &Seen, counters: &Counters) {
    for tier in seen.tiers.iter().map(name) {
        for kind in KINDS {
            let count = counters
                .drift
                .get(&(tier.to_owned(), kind.to_owned()))
                .copied()
                .unwrap_or_default();
            for metric in ["drift_detected_total", "drift_corrected_total"] {
                expected.is(metric, &[("tier", tier), ("kind", kind)], count as f64);
            }
        }
        let protected = counters.protected.get(tier).copied().unwrap_or_default();
        expected.is("time_to_protection_seconds_count", &[("tier", tier)], protected as f64);
    }
    for kind in KINDS {
        let count = counters.heals.get(kind).copied().unwrap_or_default();
        expected.is("drift_heal_duration_seconds_count", &[("kind", kind)], count as f64);
    }
    for controller in ["namespace", "tier"] {
        let labels = [("controller", controller), ("result", "error")];
        expected.is("reconcile_total", &labels, 0.0);
    }
}

/// By the audit log, a request each: a watch has one line when it begins and one when it ends.
fn expect_requests(expected: &mut Expected, events: &[Arc<AuditEvent>]) {
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
