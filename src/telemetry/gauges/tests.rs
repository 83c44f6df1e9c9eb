use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::policy::widening::Severity;
use crate::telemetry::metrics::{KnownSeries, Metrics};

/// The gauges of a snapshot, a line each, without comments.
fn exported(snapshot: Option<GaugeSnapshot>, drift_series: usize) -> Vec<String> {
    let metrics = Metrics::new(KnownSeries::default()).unwrap();
    metrics
        .serve_gauges(Arc::new(move || snapshot.clone()), drift_series)
        .unwrap();
    let gauges = [
        "tier_",
        "namespaces",
        "namespace_drift",
        "policies",
        "contested",
        "widening",
        "held_releases",
        "drift_oldest",
        "last_audit",
    ];
    let is_gauge = |line: &&str| {
        line.strip_prefix("cofferdam_")
            .is_some_and(|line| gauges.iter().any(|name| line.starts_with(name)))
    };
    metrics
        .encode()
        .unwrap()
        .lines()
        .filter(is_gauge)
        .map(str::to_owned)
        .collect()
}

fn drift(tier: &str, namespace: &str, kind: DriftKind) -> DriftedNamespace {
    DriftedNamespace {
        tier: tier.into(),
        target_namespace: namespace.into(),
        kind,
    }
}

fn assert_exported(lines: &[String], expected: &[&str]) {
    for line in expected {
        assert!(
            lines.iter().any(|exported| exported == line),
            "{line} is not in {lines:#?}"
        );
    }
}

#[test]
fn exports_the_state_of_each_tier() {
    let mut widening = PoliciesBySeverity::default();
    for severity in [Severity::Open, Severity::Port, Severity::Port] {
        widening.add(severity);
    }
    let tier = TierGauges {
        tier: "restricted".into(),
        conditions: TierConditions {
            ready: ConditionStatus::False,
            reconciling: true,
            stalled: false,
        },
        namespaces: NamespaceCounts {
            selected: 15,
            protected: 1,
            observed: 2,
            pending: 3,
            drifted: 4,
            failed: 5,
        },
        policies: PolicyCounts {
            in_sync: 6,
            drifted: BTreeMap::from([
                (DriftKind::Missing, 7),
                (DriftKind::Modified, 8),
                (DriftKind::Surplus, 10),
            ]),
        },
        contested: 12,
        widening,
        held_releases: 14,
        drift_oldest: Some(UNIX_EPOCH + Duration::from_millis(1_500)),
    };
    let lines = exported(
        Some(GaugeSnapshot {
            tiers: vec![tier],
            retained_policies: 11,
            ..GaugeSnapshot::default()
        }),
        10,
    );
    let expected = [
        r#"cofferdam_tier_condition{tier="restricted",type="Ready",status="True"} 0"#,
        r#"cofferdam_tier_condition{tier="restricted",type="Ready",status="False"} 1"#,
        r#"cofferdam_tier_condition{tier="restricted",type="Ready",status="Unknown"} 0"#,
        r#"cofferdam_tier_condition{tier="restricted",type="Reconciling",status="True"} 1"#,
        r#"cofferdam_tier_condition{tier="restricted",type="Stalled",status="False"} 1"#,
        r#"cofferdam_tier_namespaces{tier="restricted",state="protected"} 1"#,
        r#"cofferdam_tier_namespaces{tier="restricted",state="observed"} 2"#,
        r#"cofferdam_tier_namespaces{tier="restricted",state="pending"} 3"#,
        r#"cofferdam_tier_namespaces{tier="restricted",state="drifted"} 4"#,
        r#"cofferdam_tier_namespaces{tier="restricted",state="failed"} 5"#,
        r#"cofferdam_policies{tier="restricted",state="in_sync"} 6"#,
        r#"cofferdam_policies{tier="restricted",state="missing"} 7"#,
        r#"cofferdam_policies{tier="restricted",state="modified"} 8"#,
        r#"cofferdam_policies{tier="restricted",state="disowned"} 0"#,
        r#"cofferdam_policies{tier="restricted",state="surplus"} 10"#,
        r#"cofferdam_policies{tier="",state="retained"} 11"#,
        r#"cofferdam_contested_policies{tier="restricted"} 12"#,
        r#"cofferdam_widening_policies{tier="restricted",severity="open"} 1"#,
        r#"cofferdam_widening_policies{tier="restricted",severity="external"} 0"#,
        r#"cofferdam_widening_policies{tier="restricted",severity="cluster"} 0"#,
        r#"cofferdam_widening_policies{tier="restricted",severity="port"} 2"#,
        r#"cofferdam_held_releases{tier="restricted"} 14"#,
        r#"cofferdam_drift_oldest_timestamp_seconds{tier="restricted"} 1.5"#,
    ];
    assert_exported(&lines, &expected);
    let conditions = lines
        .iter()
        .filter(|line| line.starts_with("cofferdam_tier_condition"))
        .count();
    assert_eq!(conditions, 9);
}

#[test]
fn exports_the_namespaces_of_the_cluster() {
    let namespaces = NamespaceTotals {
        governed: 1,
        exempt: 2,
        ungoverned: 3,
        observed: 4,
        retained: 5,
        terminating: 6,
    };
    let lines = exported(
        Some(GaugeSnapshot {
            namespaces,
            ..GaugeSnapshot::default()
        }),
        10,
    );
    let expected = [
        r#"cofferdam_namespaces{state="governed"} 1"#,
        r#"cofferdam_namespaces{state="exempt"} 2"#,
        r#"cofferdam_namespaces{state="ungoverned"} 3"#,
        r#"cofferdam_namespaces{state="observed"} 4"#,
        r#"cofferdam_namespaces{state="retained"} 5"#,
        r#"cofferdam_namespaces{state="terminating"} 6"#,
        r#"cofferdam_policies{tier="",state="retained"} 0"#,
        "cofferdam_namespace_drift_omitted 0",
    ];
    assert_exported(&lines, &expected);
}

#[test]
fn a_replica_that_does_not_lead_exports_no_state() {
    assert_eq!(exported(None, 10), Vec::<String>::new());
}

#[test]
fn a_timestamp_is_absent_while_nothing_applies() {
    let tier = TierGauges {
        tier: "open".into(),
        ..TierGauges::default()
    };
    let lines = exported(
        Some(GaugeSnapshot {
            tiers: vec![tier],
            ..GaugeSnapshot::default()
        }),
        10,
    );
    for absent in ["drift_oldest", "last_audit"] {
        assert!(!lines.iter().any(|line| line.contains(absent)), "{lines:#?}");
    }
    let audited = GaugeSnapshot {
        last_audit: Some(UNIX_EPOCH + Duration::from_millis(2_500)),
        ..GaugeSnapshot::default()
    };
    assert_exported(
        &exported(Some(audited), 10),
        &["cofferdam_last_audit_timestamp_seconds 2.5"],
    );
}

#[test]
fn the_series_of_drifted_namespaces_are_bounded_and_stable() {
    let drifted = vec![
        drift("b", "shop", DriftKind::Missing),
        drift("a", "web", DriftKind::Modified),
        drift("a", "shop", DriftKind::Missing),
        drift("a", "shop", DriftKind::Missing), // two policies of one namespace
        drift("a", "shop", DriftKind::Disowned),
    ];
    let snapshot = GaugeSnapshot {
        drifted,
        ..GaugeSnapshot::default()
    };
    let shown = |limit| -> Vec<String> {
        let lines = exported(Some(snapshot.clone()), limit);
        lines
            .into_iter()
            .filter(|line| line.starts_with("cofferdam_namespace_drift"))
            .collect()
    };
    let all = [
        r#"cofferdam_namespace_drift{tier="a",target_namespace="shop",kind="disowned"} 1"#,
        r#"cofferdam_namespace_drift{tier="a",target_namespace="shop",kind="missing"} 1"#,
        r#"cofferdam_namespace_drift{tier="a",target_namespace="web",kind="modified"} 1"#,
        r#"cofferdam_namespace_drift{tier="b",target_namespace="shop",kind="missing"} 1"#,
    ];
    assert_eq!(shown(4), [&all[..], &["cofferdam_namespace_drift_omitted 0"]].concat());
    assert_eq!(shown(2), [&all[..2], &["cofferdam_namespace_drift_omitted 2"]].concat());
    assert_eq!(shown(0), ["cofferdam_namespace_drift_omitted 4"]);
}

#[test]
fn reads_the_status_of_a_condition() {
    let cases = [
        ("True", ConditionStatus::True),
        ("False", ConditionStatus::False),
        ("Unknown", ConditionStatus::Unknown),
        ("true", ConditionStatus::Unknown),
    ];
    for (text, status) in cases {
        assert_eq!(ConditionStatus::parse(text), status, "{text}");
    }
}
