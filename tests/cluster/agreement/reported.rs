//! What `cofferdam status` has to say, and what of it it does not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::seen::{Rule, Seen, isolates, name};
use super::statuses::{Troubles, namespaces_by_state, problems_of, state_of};

/// Everything that `cofferdam status -o json` says and that is not as it was counted.
pub fn wrong_report(report: &Value, seen: &Seen, troubles: &Troubles<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expected: BTreeMap<&str, usize> = namespaces_by_state(seen, troubles);
    expected.extend(["failed", "pending"].map(|state| (state, 0)));
    if report["counts"] != json!(expected) {
        wrong.push(format!(
            "counts are {}, the API says {}",
            report["counts"],
            json!(expected)
        ));
    }
    let mut namespaces: Vec<_> = seen.namespaces.iter().collect();
    namespaces.sort_by_key(|namespace| name(namespace));
    let expected: Vec<_> = namespaces
        .into_iter()
        .map(|namespace| line_of(namespace, seen, troubles))
        .collect();
    let found = report["namespaces"].as_array().cloned().unwrap_or_default();
    let found: Vec<_> = found.into_iter().map(without_times_and_words).collect();
    for (found, expected) in found
        .iter()
        .zip(&expected)
        .filter(|(found, expected)| found != expected)
    {
        wrong.push(format!("cofferdam status says\n  {found}, the API says\n  {expected}"));
    }
    if found.len() != expected.len() {
        wrong.push(format!("{} namespaces, the API says {}", found.len(), expected.len()));
    }
    wrong
}

fn without_times_and_words(mut line: Value) -> Value {
    if let Some(fields) = line.as_object_mut() {
        fields.remove("since");
    }
    for drift in line["drift"].as_array_mut().into_iter().flatten() {
        *drift = json!([drift["policy"], drift["kind"]]);
    }
    for widening in line["widenedBy"].as_array_mut().into_iter().flatten() {
        *widening = json!([widening["policy"], widening["direction"], widening["severity"]]);
    }
    for problem in line["problems"].as_array_mut().into_iter().flatten() {
        *problem = problem["reason"].clone();
    }
    line
}

fn line_of(namespace: &Value, seen: &Seen, troubles: &Troubles<'_>) -> Value {
    let of = name(namespace);
    let state = state_of(namespace, seen, troubles);
    let governor = match seen.rule(namespace) {
        Rule::Tier(tier) => Some(tier),
        _ => None,
    };
    let shadows = seen.shadows(namespace);
    let would = shadows.iter().map(|tier| {
        let (create, replace, delete) = seen.would(tier, of);
        json!({"tier": name(tier), "create": create, "replace": replace, "delete": delete})
    });
    let drift = troubles.standing_in(of).map(|drift| json!([drift.policy, drift.kind]));
    let mut line = json!({
        "namespace": of,
        "state": state,
        "unprotected": !matches!(state, "protected" | "exempt" | "terminating"),
        "drift": drift.collect::<Vec<_>>(),
        "changes": changes_in(of, state, seen, troubles),
        "waiting": [],
        "widenedBy": widened_by(of, governor, seen),
        "shadows": would.collect::<Vec<_>>(),
        "problems": told_of(of, governor, seen, troubles),
    });
    let said_of = match state {
        "observed" => shadows.first().copied(),
        _ => governor,
    };
    if let Some(tier) = said_of {
        line["tier"] = json!(name(tier));
        line["mode"] = tier["spec"]["mode"].clone();
    }
    line
}

fn changes_in(namespace: &str, state: &str, seen: &Seen, troubles: &Troubles<'_>) -> Value {
    let to_be = |kinds: &[&str]| {
        let drift = troubles.standing_in(namespace);
        drift.filter(|drift| kinds.contains(&drift.kind)).count()
    };
    let left = match state {
        "left" => seen.reserved_in(namespace).len(),
        _ => 0,
    };
    json!({
        "create": to_be(&["missing"]),
        "replace": to_be(&["modified", "disowned"]),
        "delete": to_be(&["surplus"]) + left,
    })
}

fn widened_by(namespace: &str, governor: Option<&Value>, seen: &Seen) -> Vec<Value> {
    let isolated = governor.filter(|tier| isolates(tier, "Ingress"));
    let doors = isolated.map(|_| seen.open_doors(namespace));
    let doors = doors.into_iter().flatten();
    doors.map(|door| json!([door, "Ingress", "open"])).collect()
}

/// The reasons of the governor's problems with it.
fn told_of(namespace: &str, governor: Option<&Value>, seen: &Seen, troubles: &Troubles<'_>) -> Vec<Value> {
    let problems = governor.map(|tier| problems_of(tier, seen, troubles));
    let problems = problems.into_iter().flatten();
    problems
        .filter(|problem| problem[0] == namespace)
        .map(|problem| problem[1].clone())
        .collect()
}
