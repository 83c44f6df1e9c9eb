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
    let said_of = if state == "observed" {
        shadows.first().copied()
    } else {
        governor
    };
    let would = shadows.iter().map(|tier| {
        let (create, replace, delete) = seen.would(tier, of);
        json!({"tier": name(tier), "create": create, "replace": replace, "delete": delete})
    });
    let widened = governor
        .filter(|tier| isolates(tier, "Ingress"))
        .map(|_| seen.open_doors(of));
    let widened = widened
        .into_iter()
        .flatten()
        .map(|door| json!([door, "Ingress", "open"]));
    let told = governor.map(|tier| problems_of(tier, seen, troubles));
    let told = told.into_iter().flatten();
    let told = told
        .filter(|problem| problem[0] == of)
        .map(|problem| problem[1].clone());
    let drift: Vec<_> = troubles.standing_in(of).collect();
    let to_be = |kinds: &[&str]| drift.iter().filter(|drift| kinds.contains(&drift.kind)).count();
    let left = if state == "left" { seen.reserved_in(of).len() } else { 0 };
    let mut line = json!({
        "namespace": of,
        "state": state,
        "unprotected": !matches!(state, "protected" | "exempt" | "terminating"),
        "drift": drift.iter().map(|drift| json!([drift.policy, drift.kind])).collect::<Vec<_>>(),
        "changes": {
            "create": to_be(&["missing"]),
            "replace": to_be(&["modified", "disowned"]),
            "delete": to_be(&["surplus"]) + left,
        },

        "waiting": [],
        "widenedBy": widened.collect::<Vec<_>>(),
        "shadows": would.collect::<Vec<_>>(),
        "problems": told.collect::<Vec<_>>(),
    });
    if let Some(tier) = said_of {
        line["tier"] = json!(name(tier));
        line["mode"] = tier["spec"]["mode"].clone();
    }
    line
}
