use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus::proto::{MetricFamily, MetricType};

use super::*;
use crate::telemetry::gauges::{DriftedNamespace, GaugeSnapshot, TierGauges};

const KNOWN: KnownSeries = KnownSeries {
    controllers: &["namespace", "tier"],
    error_reasons: &["conflict"],
    caches: &["namespaces", "networkpolicies"],
};

fn tiers(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Every metric with at least one series.
fn full() -> Metrics {
    let metrics = Metrics::new(KNOWN).unwrap();
    metrics.tiers_changed(&tiers(&["open"]));
    metrics.drift_detected("open", DriftKind::Missing);
    metrics.drift_corrected("open", DriftKind::Missing, Duration::from_millis(3));
    metrics.protected("open", Duration::from_millis(3));
    metrics.reconciled("namespace", ReconcileResult::Success, Duration::from_millis(1));
    metrics.reconcile_failed("namespace", "conflict");
    metrics.api_requested("create", "networkpolicies", "201");
    metrics.cache_synced("namespaces", true);
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
            kind: DriftKind::Missing,
        }],
        ..GaugeSnapshot::default()
    };
    metrics
        .serve_gauges(Arc::new(move || Some(snapshot.clone())), 10)
        .unwrap();
    metrics
}

fn lines(metrics: &Metrics) -> BTreeMap<String, String> {
    let text = metrics.encode().unwrap();
    let samples = text.lines().filter(|line| line.starts_with("cofferdam_"));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.to_owned())
        })
        .collect()
}

#[test]
fn is_named_as_documented() {
    let families = full().registry.gather();
    let ours = families.iter().filter(|family| !family.name().starts_with("process_"));
    let names: Vec<&str> = ours.map(MetricFamily::name).collect();
    let documented = [
        "cofferdam_api_requests_total",
        "cofferdam_build_info",
        "cofferdam_cache_synced",
        "cofferdam_contested_policies",
        "cofferdam_drift_corrected_total",
        "cofferdam_drift_detected_total",
        "cofferdam_drift_heal_duration_seconds",
        "cofferdam_drift_oldest_timestamp_seconds",
        "cofferdam_events_dropped_total",
        "cofferdam_held_releases",
        "cofferdam_last_audit_timestamp_seconds",
        "cofferdam_leader",
        "cofferdam_namespace_drift",
        "cofferdam_namespace_drift_omitted",
        "cofferdam_namespaces",
        "cofferdam_policies",
        "cofferdam_reconcile_duration_seconds",
        "cofferdam_reconcile_errors_total",
        "cofferdam_reconcile_total",
        "cofferdam_tier_condition",
        "cofferdam_tier_namespaces",
        "cofferdam_time_to_protection_seconds",
        "cofferdam_widening_policies",
    ];
    assert_eq!(names, documented);
}

#[test]
fn follows_the_conventions_of_prometheus() {
    for family in full().registry.gather() {
        let name = family.name();
        assert!(name.starts_with("cofferdam_") || name.starts_with("process_"), "{name}");
        assert!(family.help().ends_with('.'), "{name} has no help that is a sentence");
        let is_counter = family.get_field_type() == MetricType::COUNTER;
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        if family.get_field_type() == MetricType::HISTOGRAM {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        for metric in family.get_metric() {
            for label in metric.get_label() {
                let label = label.name();
                // Prometheus Operator overwrites these with where the target runs.
                assert!(
                    !["namespace", "pod", "job", "instance"].contains(&label),
                    "{name} {label}"
                );
            }
        }
    }
}

#[test]
fn known_series_start_at_zero() {
    let metrics = Metrics::new(KNOWN).unwrap();
    metrics.tiers_changed(&tiers(&["open"]));
    let lines = lines(&metrics);
    let expected = [
        r#"cofferdam_drift_detected_total{kind="surplus",tier="open"}"#,
        r#"cofferdam_drift_corrected_total{kind="missing",tier="open"}"#,
        r#"cofferdam_drift_heal_duration_seconds_count{kind="disowned"}"#,
        r#"cofferdam_time_to_protection_seconds_count{tier="open"}"#,
        r#"cofferdam_reconcile_total{controller="tier",result="error"}"#,
        r#"cofferdam_reconcile_errors_total{controller="namespace",reason="conflict"}"#,
        r#"cofferdam_reconcile_duration_seconds_count{controller="tier"}"#,
        r#"cofferdam_cache_synced{resource="namespaces"}"#,
    ];
    for series in expected {
        assert_eq!(
            lines.get(series).map(String::as_str),
            Some("0"),
            "{series} in {lines:#?}"
        );
    }
}

#[test]
fn counts_what_it_is_told() {
    let lines = lines(&full());
    let expected = [
        r#"cofferdam_drift_detected_total{kind="missing",tier="open"}"#,
        r#"cofferdam_drift_corrected_total{kind="missing",tier="open"}"#,
        r#"cofferdam_drift_heal_duration_seconds_count{kind="missing"}"#,
        r#"cofferdam_drift_heal_duration_seconds_bucket{kind="missing",le="0.005"}"#,
        r#"cofferdam_time_to_protection_seconds_count{tier="open"}"#,
        r#"cofferdam_reconcile_total{controller="namespace",result="success"}"#,
        r#"cofferdam_reconcile_errors_total{controller="namespace",reason="conflict"}"#,
        r#"cofferdam_reconcile_duration_seconds_count{controller="namespace"}"#,
        r#"cofferdam_api_requests_total{code="201",resource="networkpolicies",verb="create"}"#,
        r#"cofferdam_cache_synced{resource="namespaces"}"#,
        concat!(r#"cofferdam_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""}"#),
    ];
    for series in expected {
        assert_eq!(
            lines.get(series).map(String::as_str),
            Some("1"),
            "{series} in {lines:#?}"
        );
    }
    assert_eq!(
        lines[r#"cofferdam_drift_heal_duration_seconds_bucket{kind="missing",le="0.0025"}"#],
        "0"
    );
}

#[test]
fn only_live_tiers_are_label_values() {
    let metrics = Metrics::new(KNOWN).unwrap();
    let mentions = |tier: &str| metrics.encode().unwrap().contains(&format!("tier=\"{tier}\""));
    let report = |tier: &str| {
        metrics.drift_detected(tier, DriftKind::Missing);
        metrics.drift_corrected(tier, DriftKind::Missing, Duration::from_millis(1));
        metrics.protected(tier, Duration::from_secs(1));
    };
    report("forged");
    assert!(!mentions("forged"));

    metrics.tiers_changed(&tiers(&["open", "restricted"]));
    report("open");
    assert!(mentions("open") && mentions("restricted"));

    metrics.tiers_changed(&tiers(&["restricted"]));
    report("open"); // a reconcile that was under way
    assert!(!mentions("open") && mentions("restricted"));

    metrics.tiers_changed(&tiers(&["open", "restricted"]));
    assert_eq!(
        lines(&metrics)[r#"cofferdam_drift_detected_total{kind="missing",tier="open"}"#],
        "0"
    );
}

#[test]
fn tiers_that_stay_keep_their_counts() {
    let metrics = Metrics::new(KNOWN).unwrap();
    metrics.tiers_changed(&tiers(&["open"]));
    metrics.drift_detected("open", DriftKind::Missing);
    metrics.tiers_changed(&tiers(&["open", "restricted"]));
    assert_eq!(
        lines(&metrics)[r#"cofferdam_drift_detected_total{kind="missing",tier="open"}"#],
        "1"
    );
}

#[test]
fn gauges_are_served_once() {
    assert!(full().serve_gauges(Arc::new(|| None), 10).is_err());
}
