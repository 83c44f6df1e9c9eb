//! Which field of a spec has the wrong type: the reader of types stops at the first and does not name it.

use serde::Deserialize;
use serde_json::Value;

use super::{Problem, field};
use crate::api::{Allowance, DeletionPolicy, Direction, ForeignPolicies, LabelSelector, Mode};

/// A problem for each field of `spec` that is not what the schema says; `error` is what was said of the whole.
pub(super) fn problems(spec: &Value, error: &serde_json::Error) -> Vec<Problem> {
    let mut problems = Vec::new();
    check::<Option<String>>(field(spec, "description"), "spec.description", &mut problems);
    check::<Option<i32>>(field(spec, "precedence"), "spec.precedence", &mut problems);
    check::<LabelSelector>(
        field(spec, "namespaceSelector"),
        "spec.namespaceSelector",
        &mut problems,
    );
    check::<Mode>(field(spec, "mode"), "spec.mode", &mut problems);
    check::<Option<Vec<Direction>>>(field(spec, "isolate"), "spec.isolate", &mut problems);
    check::<Option<ForeignPolicies>>(field(spec, "foreignPolicies"), "spec.foreignPolicies", &mut problems);
    check::<Option<DeletionPolicy>>(field(spec, "deletionPolicy"), "spec.deletionPolicy", &mut problems);
    match field(spec, "allow") {
        Value::Array(allow) => {
            for (index, allowance) in allow.iter().enumerate() {
                let name = allowance.get("name").and_then(Value::as_str);
                let name = name.map_or_else(|| index.to_string(), str::to_owned);
                check::<Allowance>(allowance, &format!("spec.allow[{name}]"), &mut problems);
            }
        }
        other => check::<Option<Vec<Allowance>>>(other, "spec.allow", &mut problems),
    }
    if problems.is_empty() {
        problems.push(problem("spec", error));
    }
    problems
}

fn check<'a, T: Deserialize<'a>>(value: &'a Value, field: &str, problems: &mut Vec<Problem>) {
    if let Err(error) = T::deserialize(value) {
        problems.push(problem(field, &error));
    }
}

fn problem(field: &str, error: &serde_json::Error) -> Problem {
    let explain = field.split('[').next().unwrap_or(field);
    Problem::new(field, format!("{error}; see kubectl explain isolationtier.{explain}"))
}
