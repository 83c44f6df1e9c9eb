//! What the status of tiers and `cofferdam status` have to say, and what of it they do not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::count::{Rule, Seen, enforces, isolates, name, precedence, without_effect};

/// The most problems that a status lists.
const PROBLEMS: usize = 10;

/// Everything in the status of the tiers that is not as it was counted.
pub fn wrong_statuses(seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    for tier in &seen.tiers {
        let status = &tier["status"];
        let mut differs = |what: &str, found: &Value, expected: Value| {
            if *found != expected {
                wrong.push(format!(
                    "{what} of tier {} is {found}, the API says {expected}",
                    name(tier)
                ));
            }
        };
        let generation = &tier["metadata"]["generation"];
        differs("observedGeneration", &status["observedGeneration"], generation.clone());
        differs("namespaces", &status["namespaces"], counts_of(tier, seen));
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let conditions: Vec<_> = conditions
            .map(|condition| {
                json!([
                    condition["type"],
                    condition["status"],
                    condition["reason"],
                    condition["observedGeneration"]
                ])
            })
            .collect();
        differs(
            "conditions",
            &json!(conditions),
            match seen.held(tier) {
                0 => json!([["Ready", "True", "ReconcileSucceeded", generation]]),
                _ => json!([
                    ["Ready", "False", "Held", generation],
                    ["Stalled", "True", "Held", generation]
                ]),
            },
        );
        let problems = status["problems"].as_array().into_iter().flatten();
        let problems: Vec<_> = problems.map(problem_in_short).collect();
        differs("problems", &json!(problems), json!(problems_of(tier, seen)));
    }
    wrong
}

/// Namespace, reason and, where the message has numbers, those.
fn problem_in_short(problem: &Value) -> Value {
    let message = problem["message"].as_str().unwrap_or_default();
    let numbers = message
        .split(|character: char| !character.is_ascii_digit())
        .filter(|digits| !digits.is_empty());
    let numbers: Vec<usize> = match problem["reason"].as_str() {
        Some("WouldChange") => numbers.filter_map(|digits| digits.parse().ok()).collect(),
        _ => Vec::new(),
    };
    json!([problem["namespace"], problem["reason"], numbers])
}

fn problems_of(tier: &Value, seen: &Seen) -> Vec<Value> {
    let mut problems = vec![json!([null, "AllowanceHasNoEffect", []]); without_effect(tier)];
    let mut by_namespace = Vec::new();
    for namespace in &seen.namespaces {
        let of = name(namespace);
        if seen.shadows(namespace).iter().any(|shadow| name(shadow) == name(tier)) {
            let (create, replace, delete) = seen.would(tier, of);
            if create + replace + delete > 0 {
                by_namespace.push((of, "WouldChange", vec![create, replace, delete]));
            }
        }
        if let Rule::Tier(governor) = seen.rule(namespace) {
            let selecting = seen.selecting(namespace);
            let rivals = selecting.iter().filter(|rival| {
                enforces(rival) && precedence(rival) == precedence(governor) && name(rival) != name(governor)
            });
            let rivals: Vec<_> = rivals.map(|rival| name(rival)).collect();
            let ties = match name(tier) == name(governor) {
                true => rivals.len(),
                false => usize::from(rivals.contains(&name(tier))),
            };
            by_namespace.extend(vec![(of, "PrecedenceTie", Vec::new()); ties]);
        }
    }
    by_namespace.sort();
    problems.extend(by_namespace.into_iter().map(|problem| json!(problem)));
    if isolates(tier, "Ingress") {
        let mut widened = governed_by(tier, seen);
        widened.retain(|namespace| !seen.open_doors(namespace).is_empty());
        widened.sort();
        problems.extend(widened.into_iter().map(|namespace| json!([namespace, "Widened", []])));
    }
    problems.truncate(PROBLEMS);
    problems
}

/// The counts in the status of a tier.
pub fn counts_of(tier: &Value, seen: &Seen) -> Value {
    let is_it = |other: &&Value| name(other) == name(tier);
    let touched = seen.namespaces.iter();
    let touched = touched.filter(|namespace| !matches!(seen.rule(namespace), Rule::Exempt | Rule::Terminating));
    let selected = touched
        .clone()
        .filter(|namespace| seen.selecting(namespace).iter().any(is_it))
        .count();
    let observed = touched
        .filter(|namespace| seen.shadows(namespace).iter().any(is_it))
        .count();
    let protected = governed_by(tier, seen).len();
    json!({"selected": selected, "protected": protected, "observed": observed, "pending": 0, "drifted": 0, "failed": 0})
}

/// The namespaces that a tier governs.
pub fn governed_by<'a>(tier: &Value, seen: &'a Seen) -> Vec<&'a str> {
    let governed = seen
        .namespaces
        .iter()
        .filter(|namespace| matches!(seen.rule(namespace), Rule::Tier(governor) if name(governor) == name(tier)));
    governed.map(name).collect()
}

/// In the words of `cofferdam status`.
fn state_of(namespace: &Value, seen: &Seen) -> &'static str {
    match seen.rule(namespace) {
        Rule::Exempt => "exempt",
        Rule::Terminating => "terminating",
        Rule::Tier(_) => "protected",
        Rule::Observed => "observed",
        Rule::Nobody if seen.is_left(namespace) => "left",
        Rule::Nobody if seen.retained_in(name(namespace)) > 0 => "retained",
        Rule::Nobody => "ungoverned",
    }
}

/// In the words of `cofferdam status`.
pub fn namespaces_by_state(seen: &Seen) -> BTreeMap<&'static str, usize> {
    let states = [
        "protected",
        "observed",
        "retained",
        "ungoverned",
        "exempt",
        "terminating",
        "left",
    ];
    let mut counts: BTreeMap<_, _> = states.into_iter().map(|state| (state, 0)).collect();
    for namespace in &seen.namespaces {
        *counts.entry(state_of(namespace, seen)).or_default() += 1;
    }
    counts
}

/// Everything that `cofferdam status -o json` says and that is not as it was counted.
pub fn wrong_report(report: &Value, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expected: BTreeMap<&str, usize> = namespaces_by_state(seen);
    expected.extend(["contested", "drifted", "failed", "pending"].map(|state| (state, 0)));
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
        .map(|namespace| line_of(namespace, seen))
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
    for widening in line["widenedBy"].as_array_mut().into_iter().flatten() {
        *widening = json!([widening["policy"], widening["direction"], widening["severity"]]);
    }
    for problem in line["problems"].as_array_mut().into_iter().flatten() {
        *problem = problem["reason"].clone();
    }
    line
}

fn line_of(namespace: &Value, seen: &Seen) -> Value {
    let of = name(namespace);
    let state = state_of(namespace, seen);
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
    let told = governor
        .and_then(|tier| tier["status"]["problems"].as_array())
        .into_iter()
        .flatten();
    let told = told
        .filter(|problem| problem["namespace"] == of)
        .map(|problem| problem["reason"].clone());
    let mut line = json!({
        "namespace": of,
        "state": state,
        "unprotected": !matches!(state, "protected" | "exempt" | "terminating"),
        "drift": [],
        "changes": {"create": 0, "replace": 0, "delete": if state == "left" { seen.reserved_in(of).len() } else { 0 }},
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
