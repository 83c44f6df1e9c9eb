//! What every sample of `/metrics` has to be, and which are not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::bounded::out_of_bounds;
use super::counters::{Moment, expect_counters, expect_requests};
use super::seen::{Rule, Seen, isolates, name};
use super::statuses::{Troubles, counts_of, governed_by, namespaces_by_state};

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

type Series = (String, BTreeMap<String, String>);

#[derive(Default)]
pub struct Expected(BTreeMap<Series, f64>);

impl Expected {
    pub fn is(&mut self, metric: &str, labels: &[(&str, &str)], value: f64) {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.0.insert((format!("cofferdam_{metric}"), labels.collect()), value);
    }
}

/// Everything in `/metrics` that is not as it was counted, a line each.
pub fn wrong_metrics(moment: &Moment<'_>) -> Vec<String> {
    let mut expected = Expected::default();
    expected.is("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    expected.is("leader", &[], 1.0);
    for cache in CACHES {
        expected.is("cache_synced", &[("resource", cache)], 1.0);
    }
    expect_gauges(&mut expected, moment.seen, moment.troubles);
    expect_counters(&mut expected, moment);
    expect_requests(&mut expected, moment.events);
    let mut wrong = Vec::new();
    let mut unseen: BTreeSet<_> = expected.0.keys().cloned().collect();
    let samples = moment.metrics.samples();
    for (metric, labels, value) in samples.filter(|(name, ..)| name.starts_with("cofferdam_")) {
        let series = (metric.to_owned(), labels.clone());
        unseen.remove(&series);
        let fault = match expected.0.get(&series) {
            Some(expected) if *expected == value => None,
            Some(expected) => Some(format!("the API says {expected}")),
            None => out_of_bounds(moment, metric, labels, value),
        };
        wrong.extend(fault.map(|fault| format!("{metric}{labels:?} is {value}: {fault}")));
    }
    for drift in &moment.counters.standing {
        if moment
            .metrics
            .value("cofferdam_drift_oldest_timestamp_seconds", &[("tier", &drift.tier)])
            .is_none()
        {
            wrong.push(format!("since when tier {} drifts is not exported", drift.tier));
        }
    }
    let unseen = unseen.into_iter();
    wrong.extend(unseen.map(|(metric, labels)| format!("{metric}{labels:?} is not exported")));
    wrong
}

fn expect_gauges(expected: &mut Expected, seen: &Seen, troubles: &Troubles<'_>) {
    let mut states = namespaces_by_state(seen, troubles);
    // Nobody selects what was left either.
    let left = states.remove("left").unwrap_or_default();
    *states.entry("ungoverned").or_default() += left;
    for (state, count) in states
        .into_iter()
        .filter(|(state, _)| !["protected", "contested", "drifted"].contains(state))
    {
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
        expect_gauges_of(tier, expected, seen, troubles);
    }
}

fn expect_gauges_of(tier: &Value, expected: &mut Expected, seen: &Seen, troubles: &Troubles<'_>) {
    let of = name(tier);
    let counts = counts_of(tier, seen, troubles);
    for state in ["protected", "observed", "pending", "drifted", "failed"] {
        let count = counts[state].as_f64().expect("a number");
        expected.is("tier_namespaces", &[("tier", of), ("state", state)], count);
    }
    let governed = governed_by(tier, seen);
    let in_place: usize = governed.iter().map(|namespace| seen.in_place(tier, namespace)).sum();
    expected.is("policies", &[("tier", of), ("state", "in_sync")], in_place as f64);
    expect_drift_of(of, expected, troubles);
    let drifts = governed.iter().any(|namespace| troubles.is_drifted(namespace));
    let contested = governed
        .iter()
        .filter_map(|namespace| troubles.contested.get(namespace));
    let contested: usize = contested.sum();
    expected.is("contested_policies", &[("tier", of)], contested as f64);
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
    let conditions = [
        ("Ready", held + contested == 0 && !drifts),
        ("Reconciling", held == 0 && (contested > 0 || drifts)),
        ("Stalled", held > 0),
    ];
    expect_conditions_of(of, expected, conditions);
}

fn expect_drift_of(tier: &str, expected: &mut Expected, troubles: &Troubles<'_>) {
    let standing = || troubles.standing.iter().filter(|drift| drift.tier == tier);
    for kind in KINDS {
        let stands = standing().filter(|drift| drift.kind == kind);
        expected.is("policies", &[("tier", tier), ("state", kind)], stands.count() as f64);
    }
    for drift in standing() {
        let labels = [
            ("tier", tier),
            ("target_namespace", &*drift.namespace),
            ("kind", drift.kind),
        ];
        expected.is("namespace_drift", &labels, 1.0);
    }
}

/// Those that hold are `True`, the others `False`.
fn expect_conditions_of(tier: &str, expected: &mut Expected, conditions: [(&str, bool); 3]) {
    for (condition, holds) in conditions {
        let right = if holds { "True" } else { "False" };
        for status in ["True", "False", "Unknown"] {
            let labels = [("tier", tier), ("type", condition), ("status", status)];
            expected.is("tier_condition", &labels, f64::from(u8::from(status == right)));
        }
    }
}
