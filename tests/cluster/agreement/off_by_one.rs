//! The test of the test: once all numbers agree, each of them is changed in turn, and each time that is found.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::drive::Round;
use super::released::wrong_releases;
use super::{Life, report};
use crate::harness::{AuditEvent, Metrics};

/// What off by one may still be within its bounds, which [`super::bounded`] gives: a part of the series. That one of them is
/// left out, or that one of a tier that is gone stands there, has to be found all the same.
const BOUNDED: [&str; 5] = [
    // A look more in a round with something to look at.
    "cofferdam_reconcile_total{controller=\"namespace\",result=\"success\"}",
    "cofferdam_reconcile_total{controller=\"namespace\",result=\"requeue\"}",
    // Times.
    "_bucket{",
    "_sum",
    "cofferdam_last_audit_timestamp_seconds",
];
/// Times, words and whatever the test does not tell.
const UNTOLD: [&str; 7] = [
    "since",
    "message",
    "lastTransitionTime",
    "detail",
    "by",
    "auditQuery",
    "releases",
];

impl Life {
    /// As of now, when everything agrees.
    pub(super) async fn every_lie_is_found(&mut self) {
        self.round_begins().await;
        self.agrees(&Round::default(), "before lies are told").await;
        self.round_begins().await;
        let metrics = self.controller.metrics();
        let told = report(&self.control_plane).expect("it was told a moment ago");
        let events = self.control_plane.audit_log().settled(&self.control_plane).await;
        let is_believed = |metrics: &Metrics, told: &Value| {
            let round = Round::default();
            let wrong = self.wrong(&self.seen, &self.counters, &events, &round, metrics, Some(told));
            wrong.expect("nobody fights").is_empty()
        };
        assert!(is_believed(&metrics, &told), "nothing is wrong yet");

        let of_metrics = lies_of_metrics(metrics.text());
        let believed = of_metrics
            .iter()
            .filter(|(_, page)| is_believed(&Metrics::parse(page.clone()), &told));
        let believed: BTreeSet<&str> = believed.map(|(lie, _)| lie.as_str()).collect();
        assert_eq!(believed, BTreeSet::new(), "lies of /metrics that were believed");

        let of_the_report = lies_about(&told, "");
        let believed = of_the_report.iter().filter(|(_, lie)| is_believed(&metrics, lie));
        let believed: BTreeSet<&str> = believed.map(|(lie, _)| lie.as_str()).collect();
        assert_eq!(believed, BTreeSet::new(), "lies of cofferdam status that were believed");

        let of_statuses = self.lies_of_statuses_are_found();
        let of_releases = self.lies_of_releases_are_found(&events);
        let lies = of_metrics.len() + of_the_report.len() + of_statuses + of_releases;
        println!("{lies} lies, each of them found");
    }

    /// Returns how many there are.
    fn lies_of_statuses_are_found(&mut self) -> usize {
        let mut lies = 0;
        let seen = std::mem::take(&mut self.seen.tiers);
        for (index, tier) in seen.iter().enumerate() {
            for (what, status) in lies_about(&tier["status"], "status") {
                lies += 1;
                self.seen.tiers.clone_from(&seen);
                self.seen.tiers[index]["status"] = status;
                let wrong = super::statuses::wrong_statuses(&self.seen, &no_troubles());
                assert!(!wrong.is_empty(), "a lie that was believed: {what} of a tier");
            }
        }
        self.seen.tiers = seen;
        lies
    }

    /// What is within bounds is no lie: more than were ever made, and fewer than none. Returns how many there are.
    fn lies_of_releases_are_found(&mut self, events: &[Arc<AuditEvent>]) -> usize {
        let mut lies = 0;
        for index in 0..self.seen.tiers.len() {
            for field in ["ingress", "egress"] {
                for lie in [json!(events.len() + 1), json!(-1), json!("1")] {
                    let before = self.seen.tiers[index].clone();
                    self.seen.tiers[index]["status"]["releases"][field] = lie;
                    let wrong = wrong_releases(&self.seen, events);
                    assert_eq!(wrong.len(), 1, "a lie that was believed: releases.{field} of a tier");
                    self.seen.tiers[index] = before;
                    lies += 1;
                }
            }
        }
        lies
    }
}

/// The page with one sample of ours changed, in every way, and what that is; without what may be within bounds.
fn lies_of_metrics(page: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = page.lines().collect();
    let mut lies = Vec::new();
    for (index, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("cofferdam_"))
    {
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        let value: f64 = value.parse().expect("a number");
        let mut tell = |lie: &str, text: &str| lies.push((format!("{series}: {lie}"), with_line(&lines, index, text)));
        tell("left out", "");
        if let Some(stale) = series_of_a_tier_that_is_gone(line) {
            tell("of a tier that is gone", &format!("{line}\n{stale}"));
        }
        if !BOUNDED.iter().any(|bounded| series.contains(bounded)) {
            tell("one more", &format!("{series} {}", value + 1.0));
            tell("one less", &format!("{series} {}", value - 1.0));
        }
    }
    lies
}

fn no_troubles() -> super::statuses::Troubles<'static> {
    super::statuses::Troubles {
        contested: std::collections::BTreeMap::new(),
        standing: &[],
    }
}

fn with_line(lines: &[&str], index: usize, text: &str) -> String {
    let mut lines = lines.to_vec();
    lines[index] = text;
    lines.join("\n")
}

/// Nothing for a sample that is of no tier.
fn series_of_a_tier_that_is_gone(line: &str) -> Option<String> {
    let (before, rest) = line.split_once("tier=\"")?;
    let (_, after) = rest.split_once('"')?;
    Some(format!("{before}tier=\"gone\"{after}"))
}

/// The value with one number, word or item changed, in every way, and where.
fn lies_about(value: &Value, path: &str) -> Vec<(String, Value)> {
    let untold = |key: &String| UNTOLD.contains(&key.as_str());
    match value {
        Value::Object(fields) => {
            let mut lies = Vec::new();
            for (key, field) in fields.iter().filter(|(key, _)| !untold(key)) {
                for (path, lie) in lies_about(field, &format!("{path}.{key}")) {
                    let mut whole = fields.clone();
                    whole.insert(key.clone(), lie);
                    lies.push((path, Value::Object(whole)));
                }
                // A list that is absent is an empty one.
                if field.as_array().is_none_or(|items| !items.is_empty()) {
                    let mut fewer = fields.clone();
                    fewer.remove(key);
                    lies.push((format!("{path} without {key}"), Value::Object(fewer)));
                }
            }
            lies
        }
        Value::Array(items) => {
            let mut lies = Vec::new();
            for (index, item) in items.iter().enumerate() {
                for (path, lie) in lies_about(item, &format!("{path}[]")) {
                    let mut whole = items.clone();
                    whole[index] = lie;
                    lies.push((path, Value::Array(whole)));
                }
                let mut fewer = items.clone();
                fewer.remove(index);
                lies.push((format!("{path}[] without one"), Value::Array(fewer)));
            }
            lies
        }
        Value::Number(number) => vec![(path.to_owned(), Value::from(number.as_i64().unwrap_or_default() + 1))],
        Value::Bool(word) => vec![(path.to_owned(), Value::Bool(!word))],
        Value::String(word) => vec![(path.to_owned(), Value::String(format!("{word}x")))],
        Value::Null => Vec::new(),
    }
}
