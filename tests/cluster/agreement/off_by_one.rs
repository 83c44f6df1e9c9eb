//! The test of the test: once all numbers agree, each of them is changed in turn, and each time that is found.

use std::collections::BTreeSet;

use serde_json::Value;

use super::drive::Round;
use super::{Life, report};
use crate::harness::Metrics;

/// Off by one these may still be within their bounds, which [`super::bounded`] gives.
const BOUNDED: [&str; 4] = [
    // A look more in a round with something to look at.
    "cofferdam_reconcile_total",
    // Times.
    "_bucket",
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
    "audit",
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
        let wrong = |metrics: &Metrics, told: &Value| {
            let wrong = self.wrong(
                &self.seen,
                &self.counters,
                &events,
                &Round::default(),
                metrics,
                Some(told),
            );
            wrong.expect("nobody fights")
        };
        assert_eq!(wrong(&metrics, &told), Vec::<String>::new(), "nothing is wrong yet");

        let lines: Vec<&str> = metrics.text().lines().collect();
        let ours = |line: &str| line.starts_with("cofferdam_");
        let mut believed = BTreeSet::new();
        let mut lies = 0;
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| ours(line)) {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            let name = series.split('{').next().unwrap_or_default();
            let value: f64 = value.parse().expect("a number");
            let one_more = format!("{series} {}", value + 1.0);
            let one_less = format!("{series} {}", value - 1.0);
            let stale = format!("{line}\n{}", series_of_a_tier_that_is_gone(line));
            for (lie, text) in [
                ("one more", one_more),
                ("one less", one_less),
                ("left out", String::new()),
                ("stale", stale),
            ] {
                if text.ends_with('\n') {
                    continue;
                }
                lies += 1;
                let page = with_line(&lines, index, &text);
                if wrong(&Metrics::parse(page), &told).is_empty() {
                    believed.insert(format!("{name}: {lie}"));
                }
            }
        }
        believed.retain(|lie| !BOUNDED.iter().any(|bounded| lie.contains(bounded)));
        assert_eq!(believed, BTreeSet::new(), "lies of /metrics that were believed");

        let mut believed = BTreeSet::new();
        for lie in lies_about(&told, "") {
            lies += 1;
            if wrong(&metrics, &lie.1).is_empty() {
                believed.insert(lie.0);
            }
        }
        assert_eq!(believed, BTreeSet::new(), "lies of cofferdam status that were believed");
        let seen = std::mem::take(&mut self.seen.tiers);
        for (index, tier) in seen.iter().enumerate() {
            for (what, status) in lies_about(&tier["status"], "status") {
                lies += 1;
                self.seen.tiers.clone_from(&seen);
                self.seen.tiers[index]["status"] = status;
                let wrong = super::told::wrong_statuses(&self.seen, &no_troubles());
                assert!(!wrong.is_empty(), "a lie that was believed: {what} of a tier");
            }
        }
        self.seen.tiers = seen;
        println!("{lies} lies, each found but for those within bounds");
    }
}

fn no_troubles() -> super::told::Troubles<'static> {
    super::told::Troubles {
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
fn series_of_a_tier_that_is_gone(line: &str) -> String {
    let Some((before, rest)) = line.split_once("tier=\"") else {
        return String::new();
    };
    let Some((_, after)) = rest.split_once('"') else {
        return String::new();
    };
    format!("{before}tier=\"gone\"{after}")
}

/// The value with one number, word or item changed, in every way, and where.
fn lies_about(value: &Value, path: &str) -> Vec<(String, Value)> {
    let untold = |key: &String| UNTOLD.iter().any(|untold| key.starts_with(untold));
    match value {
        Value::Object(fields) => {
            let mut lies = Vec::new();
            for (key, field) in fields.iter().filter(|(key, _)| !untold(key)) {
                for (path, lie) in lies_about(field, &format!("{path}.{key}")) {
                    let mut whole = fields.clone();
                    whole.insert(key.clone(), lie);
                    lies.push((path, Value::Object(whole)));
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
