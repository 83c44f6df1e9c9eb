//! dashboards/cofferdam.json: what Grafana's own dashboard linter asks for, and that each panel finds its metrics.

use serde_json::Value;

use crate::exported_metrics::ExportedMetrics;
use crate::expression::examine;
use crate::{assert_found, assert_none, file};

fn dashboard() -> Value {
    serde_json::from_str(&file("dashboards/cofferdam.json")).expect("JSON")
}

fn problems_of(dashboard: &Value, exported: &ExportedMetrics) -> Vec<String> {
    let mut problems = Vec::new();
    if dashboard["uid"] != "cofferdam" {
        problems.push("links to it need a fixed uid".to_owned());
    }
    // An id is of one Grafana's database.
    if dashboard.get("id").is_some() {
        problems.push("it has an id".to_owned());
    }
    if dashboard["editable"] != false {
        problems.push("it is editable: changes in the browser would be lost".to_owned());
    }
    if !dashboard["schemaVersion"].is_u64() {
        problems.push("it has no schemaVersion".to_owned());
    }
    problems.extend(variable_problems(dashboard, exported));
    let empty = Vec::new();
    let panels = dashboard["panels"].as_array().unwrap_or(&empty);
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != panels.len() || ids.contains(&None) {
        problems.push("panels need an id each".to_owned());
    }
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().unwrap_or_default();
        let of_panel = panel_problems(panel, exported);
        problems.extend(of_panel.into_iter().map(|problem| format!("{title}: {problem}")));
    }
    problems
}

fn variable_problems(dashboard: &Value, exported: &ExportedMetrics) -> Vec<String> {
    let variable = |name: &str| {
        let variables = dashboard["templating"]["list"].as_array().into_iter().flatten();
        variables
            .into_iter()
            .find(|variable| variable["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    let mut problems = Vec::new();
    let datasource = variable("datasource");
    if datasource["type"] != "datasource" || datasource["query"] != "prometheus" {
        problems.push("no variable chooses the data source".to_owned());
    }
    for name in ["job", "tier"] {
        let variable = variable(name);
        let definition = variable["definition"].as_str().unwrap_or_default();
        let asked = definition
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|rest| rest.rsplit_once(", "));
        let Some((series, label)) = asked.filter(|(_, label)| *label == name) else {
            problems.push(format!("no variable {name} with the values of the label"));
            continue;
        };
        problems.extend(examine(series, exported).problems);
        let metric = series.split('{').next().unwrap_or_default();
        if label != "job" && !exported.has_label(metric, label) {
            problems.push(format!("{metric} has no label {label}"));
        }
        if variable["allValue"] != ".+" || variable["multi"] != true || variable["refresh"] != 2 {
            problems.push(format!("{name} does not offer several, all, or what appeared since"));
        }
        if variable["query"]["query"] != *definition || !uses_the_variable(&variable["datasource"]) {
            problems.push(format!("{name} asks elsewhere"));
        }
    }
    problems
}

fn panel_problems(panel: &Value, exported: &ExportedMetrics) -> Vec<String> {
    let mut problems = Vec::new();
    for field in ["/title", "/description", "/fieldConfig/defaults/unit"] {
        if panel.pointer(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            problems.push(format!("no {field}"));
        }
    }
    if !uses_the_variable(&panel["datasource"]) {
        problems.push("another data source than the variable's".to_owned());
    }
    let targets = panel["targets"].as_array().cloned().unwrap_or_default();
    if targets.is_empty() {
        problems.push("it asks for nothing".to_owned());
    }
    for target in &targets {
        if !uses_the_variable(&target["datasource"]) {
            problems.push("a query of another data source".to_owned());
        }
        let expression = target["expr"].as_str().unwrap_or_default();
        problems.extend(expression_problems(expression, exported));
    }
    problems
}

fn expression_problems(expression: &str, exported: &ExportedMetrics) -> Vec<String> {
    let readable = expression.replace("$__rate_interval", "5m").replace("$__range", "6h");
    let findings = examine(&readable, exported);
    let mut problems = findings.problems;
    for range in expression.split('[').skip(1) {
        // A fixed range shows nothing where the scrape interval is longer, and too little over a week.
        if !range.starts_with("$__rate_interval]") && !range.starts_with("$__range]") {
            problems.push(format!("a fixed range in {expression}"));
        }
    }
    for (metric, matchers) in findings.selectors {
        if !matchers.iter().any(|matcher| matcher == r#"job=~"$job""#) {
            problems.push(format!("{metric} is not of the chosen job in {expression}"));
        }
        let of_tier = exported.has_label(&metric, "tier");
        let asks_for_all = expression.contains("cofferdam_namespaces");
        if of_tier && !asks_for_all && !matchers.iter().any(|matcher| matcher == r#"tier=~"$tier""#) {
            problems.push(format!("{metric} is not of the chosen tiers in {expression}"));
        }
    }
    problems
}

fn uses_the_variable(datasource: &Value) -> bool {
    datasource["type"] == "prometheus" && datasource["uid"] == "${datasource}"
}

#[test]
fn each_panel_explains_itself_and_asks_for_what_is_exported() {
    assert_none(&problems_of(&dashboard(), &ExportedMetrics::new()));
}

#[test]
fn coverage_and_drift_come_first() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut first: Vec<(u64, &str)> = panels
        .iter()
        .filter(|panel| panel["gridPos"]["y"] == 1)
        .map(|panel| {
            let column = panel["gridPos"]["x"].as_u64().expect("a column");
            (column, panel["title"].as_str().expect("a title"))
        })
        .collect();
    first.sort_unstable();
    let titles: Vec<&str> = first.into_iter().map(|(_, title)| title).collect();
    assert_eq!(
        titles,
        [
            "Coverage",
            "Protected",
            "Without a tier",
            "Drifted now",
            "Oldest drift",
            "Healed"
        ]
    );
}

#[test]
fn panels_do_not_lie_on_each_other() {
    let dashboard = dashboard();
    let mut taken = std::collections::BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let at = |side: &str| panel["gridPos"][side].as_u64().expect("a place on the grid");
        assert!(at("x") + at("w") <= 24, "{} leaves the grid", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{} lies on another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn a_broken_dashboard_is_found() {
    let exported = ExportedMetrics::new();
    for (pointer, value, expected) in [
        ("/uid", "", "fixed uid"),
        ("/editable", "yes", "it is editable"),
        ("/schemaVersion", "1", "no schemaVersion"),
        ("/templating/list/0/type", "custom", "no variable chooses"),
        (
            "/templating/list/1/definition",
            "label_values(up, pod)",
            "no variable job",
        ),
        ("/templating/list/1/allValue", "", "does not offer several"),
        ("/templating/list/2/query/query", "", "tier asks elsewhere"),
        ("/panels/1/description", "", "Coverage: no /description"),
        (
            "/panels/1/fieldConfig/defaults/unit",
            "",
            "no /fieldConfig/defaults/unit",
        ),
        ("/panels/1/datasource/uid", "abc", "another data source"),
        (
            "/panels/1/targets/0/datasource/uid",
            "abc",
            "a query of another data source",
        ),
        (
            "/panels/1/targets/0/expr",
            "sum(cofferdam_tier{job=~\"$job\"})",
            "nobody exports",
        ),
        (
            "/panels/1/targets/0/expr",
            "cofferdam_build_info",
            "not of the chosen job",
        ),
        (
            "/panels/1/targets/0/expr",
            "cofferdam_policies{job=~\"$job\"}",
            "not of the chosen tiers",
        ),
        (
            "/panels/1/targets/0/expr",
            "rate(cofferdam_reconcile_total[5m])",
            "a fixed range",
        ),
        ("/panels/1/targets", "", "it asks for nothing"),
        ("/panels/1/id", "1", "panels need an id each"),
    ] {
        let mut broken = dashboard();
        *broken.pointer_mut(pointer).expect(pointer) = value.into();
        assert_found(&problems_of(&broken, &exported), expected);
    }
    let mut exported_by_grafana = dashboard();
    exported_by_grafana["id"] = 7.into();
    assert_found(&problems_of(&exported_by_grafana, &exported), "it has an id");
}
