//! What is wrong with a PromQL expression, given what is exported.

use std::collections::BTreeSet;
use std::convert::Infallible;

use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

use crate::exported_metrics::ExportedMetrics;

// What Prometheus adds to each series of a target, and what an installation may add to all of its series.
const TARGET_LABELS: [&str; 5] = ["cluster", "instance", "job", "namespace", "pod"];

/// What an expression names, with what is wrong about it.
#[derive(Default)]
pub struct Findings {
    /// Each in a sentence.
    pub problems: Vec<String>,
    /// The labels that aggregations keep.
    pub kept_labels: BTreeSet<String>,
    /// The metrics, each with the matchers of its selector.
    pub selectors: Vec<(String, Vec<String>)>,
}

/// Reads an expression.
pub fn examine(expression: &str, exported: &ExportedMetrics) -> Findings {
    let mut visitor = Visitor {
        exported,
        findings: Findings::default(),
    };
    match parser::parse(expression) {
        Ok(parsed) => {
            let Ok(_) = walk_expr(&mut visitor, &parsed);
        }
        Err(error) => visitor.findings.problems.push(format!("it does not parse: {error}")),
    }
    let mut findings = visitor.findings;
    for problem in &mut findings.problems {
        *problem = format!("{problem}, in {expression}");
    }
    findings
}

struct Visitor<'a> {
    exported: &'a ExportedMetrics,
    findings: Findings,
}

impl ExprVisitor for Visitor<'_> {
    type Error = Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
        match expression {
            Expr::VectorSelector(selector) => self.selector(selector, false),
            Expr::MatrixSelector(range) => self.selector(&range.vs, true),
            Expr::Aggregate(aggregate) => {
                if let Some(LabelModifier::Include(labels)) = &aggregate.modifier {
                    self.findings.kept_labels.extend(labels.labels.iter().cloned());
                }
                self.labels_exist(aggregate.modifier.as_ref(), expression);
            }
            Expr::Binary(binary) => {
                let matching = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
                self.labels_exist(matching, expression);
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Visitor<'_> {
    fn selector(&mut self, selector: &VectorSelector, over_a_range: bool) {
        let Some(metric) = &selector.name else {
            self.problem(format!("a selector without a metric: {selector}"));
            return;
        };
        let matchers = &selector.matchers.matchers;
        self.findings
            .selectors
            .push((metric.clone(), matchers.iter().map(ToString::to_string).collect()));
        if !self.exported.has(metric) {
            self.problem(format!("nobody exports {metric}"));
            return;
        }
        let counts = ["_total", "_bucket", "_count", "_sum"]
            .iter()
            .any(|end| metric.ends_with(end));
        if counts != over_a_range {
            self.problem(format!(
                "{metric}: of a counter only the rate or increase has a meaning, of a gauge neither"
            ));
        }
        let ours = matchers
            .iter()
            .filter(|matcher| !TARGET_LABELS.contains(&matcher.name.as_str()));
        for matcher in ours {
            let values: Vec<Option<&str>> = match matcher.op {
                MatchOp::Equal | MatchOp::NotEqual => vec![Some(&matcher.value)],
                MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').map(Some).collect(),
            };
            let problems: Vec<String> = values
                .into_iter()
                .filter_map(|value| self.exported.problem_with(metric, &matcher.name, value))
                .collect();
            self.findings.problems.extend(problems);
        }
    }

    /// The labels that are kept or compared have to come from a series below.
    fn labels_exist(&mut self, modifier: Option<&LabelModifier>, expression: &Expr) {
        let labels = modifier.into_iter().flat_map(|modifier| &modifier.labels().labels);
        let metrics = metrics_below(expression);
        for label in labels.filter(|label| !TARGET_LABELS.contains(&label.as_str())) {
            if !metrics.iter().any(|metric| self.exported.has_label(metric, label)) {
                self.problem(format!("none of {metrics:?} has the label {label}"));
            }
        }
    }

    fn problem(&mut self, problem: String) {
        self.findings.problems.push(problem);
    }
}

fn metrics_below(expression: &Expr) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl ExprVisitor for Names {
        type Error = Infallible;

        fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
            match expression {
                Expr::VectorSelector(selector) => self.0.extend(selector.name.clone()),
                Expr::MatrixSelector(range) => self.0.extend(range.vs.name.clone()),
                _ => {}
            }
            Ok(true)
        }
    }
    let mut names = Names(BTreeSet::new());
    let Ok(_) = walk_expr(&mut names, expression);
    names.0
}

#[test]
fn what_nobody_exports_is_found() {
    let exported = ExportedMetrics::new();
    for (expression, expected) in [
        ("sum(cofferdam_tiers)", "nobody exports cofferdam_tiers"),
        ("up", "nobody exports up"),
        (r#"{tier="open"}"#, "a selector without a metric"),
        (r#"cofferdam_namespaces{tier="open"}"#, "has no label tier"),
        (r#"cofferdam_namespaces{state="open"}"#, r#"has no state="open""#),
        (
            r#"cofferdam_namespaces{state=~"governed|lost"}"#,
            r#"has no state="lost""#,
        ),
        ("sum by (tier) (cofferdam_namespaces)", "has the label tier"),
        (
            "cofferdam_policies and on (severity) cofferdam_namespaces",
            "has the label severity",
        ),
        ("sum(cofferdam_drift_detected_total)", "of a counter only the rate"),
        ("rate(cofferdam_namespaces[5m])", "of a counter only the rate"),
        ("rate(cofferdam_reconcile_total{tier=\"a\"}[5m])", "has no label tier"),
        ("sum(cofferdam_namespaces", "it does not parse"),
    ] {
        crate::assert_found(&examine(expression, &exported).problems, expected);
    }
}

#[test]
fn what_is_exported_may_be_asked_for() {
    let exported = ExportedMetrics::new();
    for expression in [
        r#"sum by (job, tier) (rate(cofferdam_drift_detected_total{job="a",kind=~"missing|surplus"}[5m]))"#,
        "histogram_quantile(0.5, sum by (le) (rate(cofferdam_drift_heal_duration_seconds_bucket[5m])))",
        r#"cofferdam_namespaces{state!="exempt"} / on (job) group_left cofferdam_build_info"#,
        "process_resident_memory_bytes",
    ] {
        crate::assert_none(&examine(expression, &exported).problems);
    }
}
