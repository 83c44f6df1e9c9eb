//! config/prometheus/rules.yaml against the metrics, and against docs/runbooks. That the alerts fire when they should is
//! tested with promtool, see config/prometheus/rules.test.yaml.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::exported_metrics::ExportedMetrics;
use crate::expression::examine;
use crate::{assert_found, assert_none, file};

const RULES: &str = "config/prometheus/rules.yaml";
const RUNBOOKS: &str = "docs/runbooks";
const SECTIONS: [&str; 4] = ["Meaning", "Impact", "Diagnosis", "Mitigation"];

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Clone, Deserialize)]
struct Alert {
    alert: String,
    expr: String,
    #[serde(rename = "for")]
    holds: String,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    severity: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    summary: String,
    description: String,
    runbook_url: String,
}

fn alerts() -> Vec<Alert> {
    let rules: RuleFile = serde_saphyr::from_str(&file(RULES)).expect("rules with every annotation");
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

fn problems_of(alert: &Alert, exported: &ExportedMetrics) -> Vec<String> {
    let findings = examine(&alert.expr, exported);
    let mut problems = findings.problems;
    let Annotations {
        summary,
        description,
        runbook_url,
    } = &alert.annotations;
    for text in [summary, description] {
        if !text.ends_with('.') {
            problems.push(format!("not a sentence: {text}"));
        }
        for mention in text.split("$labels.").skip(1) {
            let label: String = mention
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect();
            if !findings.kept_labels.contains(&label) {
                problems.push(format!(
                    "the text shows the label {label}, which the expression does not keep"
                ));
            }
        }
    }
    if *runbook_url != format!("https://cofferdam.dev/runbooks/{}", alert.alert) {
        problems.push(format!("another runbook: {runbook_url}"));
    }
    if !["critical", "warning"].contains(&alert.labels.severity.as_str()) {
        problems.push(format!("unknown severity {}", alert.labels.severity));
    }
    // Whatever is true of the cluster would start over with each new replica.
    for label in ["instance", "pod"] {
        if findings.kept_labels.contains(label) {
            problems.push(format!("the alert changes with the replica: it keeps {label}"));
        }
    }
    if !alert.holds.ends_with('m') {
        problems.push(format!("it fires after {}", alert.holds));
    }
    problems
        .into_iter()
        .map(|problem| format!("{}: {problem}", alert.alert))
        .collect()
}

#[test]
fn alerts_ask_for_what_is_exported_and_say_what_to_do() {
    let exported = ExportedMetrics::new();
    let problems: Vec<String> = alerts()
        .iter()
        .flat_map(|alert| problems_of(alert, &exported))
        .collect();
    assert_none(&problems);
}

#[test]
fn every_alert_that_was_promised_is_there() {
    let names: BTreeSet<String> = alerts().into_iter().map(|alert| alert.alert).collect();
    let promised = [
        "Absent",
        "ApiForbidden",
        "AuditStale",
        "ContestedPolicy",
        "DriftFlapping",
        "DriftNotHealed",
        "NoLeader",
        "ReconcileErrors",
        "ReleasesHeld",
        "TierNotReady",
        "WideningOpen",
    ];
    assert_eq!(names, promised.map(|name| format!("Cofferdam{name}")).into());
}

#[test]
fn a_broken_alert_is_found() {
    let exported = ExportedMetrics::new();
    let not_ready = alerts()
        .into_iter()
        .find(|alert| alert.alert == "CofferdamTierNotReady")
        .expect("the alert TierNotReady");
    let broken = |change: fn(&mut Alert)| {
        let mut alert = not_ready.clone();
        change(&mut alert);
        problems_of(&alert, &exported)
    };
    assert_found(&broken(|alert| alert.alert.push('s')), "another runbook");
    assert_found(
        &broken(|alert| alert.annotations.summary = "{{ $labels.reason }}.".into()),
        "shows the label reason",
    );
    assert_found(&broken(|alert| alert.annotations.summary.push('!')), "not a sentence");
    assert_found(
        &broken(|alert| alert.labels.severity = "page".into()),
        "unknown severity",
    );
    assert_found(
        &broken(|alert| alert.expr = "max by (tier, pod) (cofferdam_tier_condition) == 0".into()),
        "it keeps pod",
    );
    assert_found(&broken(|alert| alert.holds = "5s".into()), "it fires after 5s");
}

#[test]
fn every_alert_has_its_runbook_and_every_runbook_its_alert() {
    let names: BTreeSet<String> = alerts()
        .into_iter()
        .map(|alert| format!("{}.md", alert.alert))
        .collect();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(RUNBOOKS);
    let pages: BTreeSet<String> = std::fs::read_dir(directory)
        .expect("the directory of the runbooks")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "README.md")
        .collect();
    assert_eq!(names, pages);
}

#[test]
fn runbooks_have_their_sections_and_queries_that_answer() {
    let exported = ExportedMetrics::new();
    let index = file(&format!("{RUNBOOKS}/README.md"));
    let mut problems = Vec::new();
    let mut queries = 0;
    for alert in alerts() {
        let name = &alert.alert;
        let page = file(&format!("{RUNBOOKS}/{name}.md"));
        let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        if sections != SECTIONS || !page.starts_with(&format!("# {name}\n")) {
            problems.push(format!("{name}: the sections are {sections:?}"));
        }
        if !index.contains(&format!("| [{name}]({name}.md) | {} |", alert.labels.severity)) {
            problems.push(format!("{name} is not in the index with its severity"));
        }
        // `up` is Prometheus' own.
        for query in queries_of(&page).filter(|query| !query.starts_with("up{")) {
            queries += 1;
            problems.extend(examine(query, &exported).problems);
        }
    }
    assert_none(&problems);
    assert!(
        queries >= 15,
        "found only {queries} queries: the pages are read wrongly"
    );
}

fn queries_of(page: &str) -> impl Iterator<Item = &str> {
    page.split("```promql\n")
        .skip(1)
        .flat_map(|block| block.split("```").next().unwrap_or_default().lines())
}
