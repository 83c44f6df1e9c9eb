//! The dashboard, the alerts and their runbooks ask only for what is exported, and lack nothing that people expect.
//! A renamed metric fails here, not silently on somebody's screen.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a test's own code: a panic is its report

#[path = "dashboard/alerts.rs"]
mod alerts;
#[path = "dashboard/exported_metrics.rs"]
mod exported_metrics;
#[path = "dashboard/expression.rs"]
mod expression;
#[path = "dashboard/panels.rs"]
mod panels;

use std::path::Path;

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

// What a broken copy must be told.
fn assert_found(problems: &[String], expected: &str) {
    assert!(
        problems.iter().any(|problem| problem.contains(expected)),
        "expected `{expected}`, found {problems:#?}"
    );
}
