//! Which metrics, labels and label values there are, read from what a process that has seen everything exports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cofferdam::telemetry::gauges::{DriftedNamespace, TierGauges};
use cofferdam::telemetry::metrics::{KnownSeries, ReconcileResult};
use cofferdam::telemetry::{GaugeSnapshot, Metrics};
use promql_parser::parser::{self, Expr};

/// What an expression may name.
pub struct ExportedMetrics(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

// Whose values are words of ours, so that a matcher on another word matches nothing. The others hold names or codes.
const CLOSED_LABELS: [&str; 7] = ["kind", "result", "severity", "state", "status", "type", "le"];

impl ExportedMetrics {
    /// Reads them from a real registry.
    pub fn new() -> Self {
        let mut exported = Self(BTreeMap::new());
        for line in full_page().lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').expect("a sample has a value");
            exported.add(series);
        }
        exported
    }

    /// What is wrong with a matcher on a label of a metric; nothing if all is well.
    pub fn problem_with(&self, metric: &str, label: &str, value: Option<&str>) -> Option<String> {
        let labels = self.0.get(metric)?;
        let Some(values) = labels.get(label) else {
            return Some(format!("{metric} has no label {label}, only {:?}", labels.keys()));
        };
        let value = value.filter(|value| CLOSED_LABELS.contains(&label) && !values.contains(*value))?;
        Some(format!("{metric} has no {label}=\"{value}\", only {values:?}"))
    }

    /// Whether there is such a metric.
    pub fn has(&self, metric: &str) -> bool {
        self.0.contains_key(metric)
    }

    /// Whether a metric has the label.
    pub fn has_label(&self, metric: &str, label: &str) -> bool {
        self.0.get(metric).is_some_and(|labels| labels.contains_key(label))
    }

    // A series is written as its selector is.
    fn add(&mut self, series: &str) {
        let Ok(Expr::VectorSelector(selector)) = parser::parse(series) else {
            panic!("not a series: {series}");
        };
        let labels = self.0.entry(selector.name.expect("a metric has a name")).or_default();
        for matcher in selector.matchers.matchers {
            labels.entry(matcher.name).or_default().insert(matcher.value);
        }
    }
}

fn full_page() -> String {
    let metrics = Metrics::new(KnownSeries {
        controllers: &["namespace"],
        error_reasons: &["Forbidden"],
        caches: &["namespaces"],
    })
    .expect("the metrics of a process");
    metrics.tiers_changed(&BTreeSet::from([String::from("open")]));
    metrics.reconciled("namespace", ReconcileResult::Success, Duration::from_millis(1));
    metrics.api_requested("create", "networkpolicies", "201");
    let snapshot = GaugeSnapshot {
        tiers: vec![TierGauges {
            tier: "open".into(),
            drift_oldest: Some(SystemTime::now()),
            ..TierGauges::default()
        }],
        last_audit: Some(SystemTime::now()),
        drifted: vec![DriftedNamespace {
            tier: "open".into(),
            target_namespace: "shop".into(),
            kind: cofferdam::policy::DriftKind::Missing,
        }],
        ..GaugeSnapshot::default()
    };
    metrics
        .serve_gauges(Arc::new(move || Some(snapshot.clone())), 10)
        .expect("the gauges of a process");
    metrics.encode().expect("the page of a scrape")
}
