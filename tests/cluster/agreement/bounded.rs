//! Samples whose value nothing outside the controller tells exactly: by how much they may be off, and why.
//!
//! - `reconcile_total{controller="namespace", result="success"}`: a look that finds nothing to do leaves no trace, and looks
//!   that are asked for while one waits are one ([`super::looks`]); `result="requeue"` where two policies of a namespace
//!   met another revision, in one look or in two. Together with errors they are bounded in each round from both sides, and
//!   where nothing happened to a namespace the bounds are 0.
//! - `_sum` and `_bucket` of histograms: times. Each lies between what the API server needed for the write alone and what
//!   passed between the cause and the write by its clock, or, for reconciles, within the life of the process; and the
//!   buckets have to agree with the sum. Their `_count` is exact.
//! - `drift_oldest_timestamp_seconds`: between the request that made the first drift and the first write that was refused;
//!   absent without drift.
//! - `last_audit_timestamp_seconds`: between start and now; the audit leaves no trace either.
//! - `events_dropped_total{reason="namespace"}`: whether a namespace was loud is a matter of time; not more than there was to
//!   say of it, and nothing before it said as much as it may at once.
//!
//! [`super::off_by_one`] holds that these are all.

use std::collections::{BTreeMap, BTreeSet};

use super::counters::{Moment, unix_now};
use super::log::{is_ours, is_policy_write};
use super::looks::{Circumstances, looks, retries};
use crate::harness::observer::is_reserved_name;

/// Seconds for each time that is measured: between the answer that the API server wrote down and the moment at which the
/// controller looks at the clock it may have no processor.
const NO_PROCESSOR: f64 = 0.5;
/// What may be said of a namespace at once.
const SAID_AT_ONCE: usize = 20;
/// Reconciles at a time.
const WORKERS: f64 = 32.0;

/// What is wrong with a sample that has no exact expectation; a series that is not known here is wrong itself.
pub fn out_of_bounds(
    moment: &Moment<'_>,
    metric: &str,
    labels: &BTreeMap<String, String>,
    value: f64,
) -> Option<String> {
    if let Some(histogram) = metric.strip_suffix("_bucket") {
        return wrong_bucket(moment, histogram, labels, value);
    }
    if let Some(histogram) = metric.strip_suffix("_sum") {
        return wrong_sum(moment, histogram, labels, value);
    }
    let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
    match metric {
        "cofferdam_reconcile_total" if label("controller") == "namespace" => match label("result") {
            "requeue" => {
                let retries = retries(moment.events);
                not_within(*retries.start() as f64, *retries.end() as f64, value)
            }
            _ => wrong_looks(moment),
        },
        "cofferdam_reconcile_duration_seconds_count" => {
            let of_controller = [("controller", label("controller"))];
            let all = moment.metrics.sum("cofferdam_reconcile_total", &of_controller);
            not_within(all, all, value)
        }
        "cofferdam_drift_oldest_timestamp_seconds" => {
            let (least, most) = oldest_drift(moment, label("tier"));
            not_within(least, most, value)
        }
        "cofferdam_events_dropped_total" => not_within(0.0, too_much_to_say(moment), value),
        "cofferdam_last_audit_timestamp_seconds" => not_within(moment.counters.started, unix_now(), value),
        _ => Some(String::from("this test does not know how to count it")),
    }
}

fn not_within(least: f64, most: f64, value: f64) -> Option<String> {
    (!(least..=most).contains(&value)).then(|| format!("expected {least} to {most}"))
}

fn wrong_sum(moment: &Moment<'_>, histogram: &str, labels: &BTreeMap<String, String>, value: f64) -> Option<String> {
    let of: Vec<_> = labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    if moment.metrics.value(&format!("{histogram}_count"), &of).is_none() {
        return Some(String::from("a sum of times that are not counted"));
    }
    let (least, most) = sum_of(moment, histogram, labels);
    let (by_buckets_least, by_buckets_most) = sum_by_buckets(moment, histogram, labels);
    let (least, most) = (least.max(by_buckets_least), most.min(by_buckets_most));
    not_within(least - 1e-6, most + 1e-6, value)
}

/// Of all results together: which of them a look had, only those that look know.
fn wrong_looks(moment: &Moment<'_>) -> Option<String> {
    let of_namespaces = [("controller", "namespace")];
    let all = moment.metrics.sum("cofferdam_reconcile_total", &of_namespaces);
    let looks = looks_of_the_round(moment);
    let (least, most) = (*looks.start() as f64, *looks.end() as f64);
    let of_the_round = all - moment.counters.looks;
    let fault = || format!("{of_the_round} looks in this round, expected {least} to {most}");
    (!(least..=most).contains(&of_the_round)).then(fault)
}

/// Since when the drift that stands longest may stand; 0 where none does.
fn oldest_drift(moment: &Moment<'_>, tier: &str) -> (f64, f64) {
    let standing = moment.counters.standing.iter().filter(|drift| drift.tier == tier);
    let times = standing.map(|drift| (drift.since_at_least, drift.since_at_most + NO_PROCESSOR));
    let oldest = times.reduce(|one, other| (one.0.min(other.0), one.1.min(other.1)));
    oldest.unwrap_or((0.0, 0.0))
}

fn looks_of_the_round(moment: &Moment<'_>) -> std::ops::RangeInclusive<u64> {
    let began = moment.counters.round_began;
    let audit = moment.metrics.value("cofferdam_last_audit_timestamp_seconds", &[]);
    let circumstances = Circumstances {
        restarted: moment.restarted,
        waiting: moment.counters.waiting,
        of_fights: moment.counters.fights.looks(unix_now()),
        audited: audit.is_some_and(|audit| audit >= began),
        took: unix_now() - began,
    };
    looks(moment.before, moment.seen, moment.of_the_round, &circumstances)
}

/// A heal is one thing to say, that a policy is contested another, and so is each policy that widens.
pub fn too_much_to_say(moment: &Moment<'_>) -> f64 {
    let mut said = BTreeMap::new();
    for heal in &moment.counters.heals {
        *said.entry(heal.namespace.as_str()).or_insert(0) += 2;
    }
    let doors = moment
        .events
        .iter()
        .filter(|event| is_policy_write(event) && event.verb == "create");
    for door in doors.filter(|event| !is_ours(event) && !is_reserved_name(&event.name)) {
        *said.entry(&door.namespace).or_insert(0) += 1;
    }
    let beyond = said.values().map(|said: &usize| said.saturating_sub(SAID_AT_ONCE));
    beyond.sum::<usize>() as f64
}

/// Between which seconds all times of a histogram come to.
fn sum_of(moment: &Moment<'_>, histogram: &str, labels: &BTreeMap<String, String>) -> (f64, f64) {
    let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
    let counters = moment.counters;
    let times: Vec<(f64, f64)> = match histogram {
        "cofferdam_drift_heal_duration_seconds" => {
            let of_kind = counters.heals.iter().filter(|heal| heal.kind == label("kind"));
            of_kind.map(|heal| (heal.took_at_least, heal.took_at_most)).collect()
        }
        "cofferdam_time_to_protection_seconds" => counters.protected.get(label("tier")).cloned().unwrap_or_default(),
        _ => return (0.0, WORKERS * (unix_now() - counters.started)),
    };
    let (least, most) = times
        .iter()
        .fold((0.0, 0.0), |(least, most), time| (least + time.0, most + time.1));
    (least, most + NO_PROCESSOR * times.len() as f64)
}

/// Counts by upper bound, the smallest first.
fn buckets(moment: &Moment<'_>, histogram: &str, labels: &BTreeMap<String, String>) -> Vec<(f64, f64)> {
    let bucket = format!("{histogram}_bucket");
    let samples = moment.metrics.samples().filter(|(name, of, _)| {
        let mut others = labels.iter().filter(|(key, _)| *key != "le");
        *name == bucket && others.all(|(key, value)| of.get(key) == Some(value))
    });
    let mut buckets: Vec<(f64, f64)> = samples
        .filter_map(|(_, of, count)| Some((of.get("le")?.replace("+Inf", "inf").parse().ok()?, count)))
        .collect();
    buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
    buckets
}

/// How many buckets a histogram has.
fn bounds(moment: &Moment<'_>, histogram: &str) -> usize {
    let bucket = format!("{histogram}_bucket");
    let samples = moment.metrics.samples().filter(|(name, ..)| *name == bucket);
    let bounds: BTreeSet<_> = samples.filter_map(|(_, of, _)| of.get("le")).collect();
    bounds.len()
}

/// The sum as the buckets have it.
fn sum_by_buckets(moment: &Moment<'_>, histogram: &str, labels: &BTreeMap<String, String>) -> (f64, f64) {
    let (mut below, mut count_below, mut least, mut most) = (0.0, 0.0, 0.0, 0.0);
    for (bound, count) in buckets(moment, histogram, labels) {
        let inside = count - count_below;
        if inside > 0.0 {
            least += inside * below;
            most += inside * bound;
        }
        (below, count_below) = (bound, count);
    }
    (least, most)
}

/// Never fewer than in the one before, and in the last one all.
fn wrong_bucket(moment: &Moment<'_>, histogram: &str, labels: &BTreeMap<String, String>, value: f64) -> Option<String> {
    let of: Vec<_> = labels
        .iter()
        .filter(|(key, _)| *key != "le")
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let count = moment
        .metrics
        .value(&format!("{histogram}_count"), &of)
        .unwrap_or(f64::NAN);
    if moment.metrics.value(&format!("{histogram}_sum"), &of).is_none() {
        return Some(String::from("times without their sum"));
    }
    let buckets = buckets(moment, histogram, labels);
    let expected = bounds(moment, histogram);
    if buckets.len() != expected {
        return Some(format!("one of {} buckets, others have {expected}", buckets.len()));
    }
    let ascending = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1);
    let complete = buckets
        .last()
        .is_some_and(|(bound, all)| bound.is_infinite() && *all == count);
    match (ascending && value <= count, complete) {
        (true, true) => None,
        (false, _) => Some(String::from("fewer than a smaller bucket, or more than all")),
        (_, false) => Some(format!("the last bucket has not all {count}")),
    }
}
