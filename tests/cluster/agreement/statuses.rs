//! What the status of tiers has to say, and what of it it does not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::counters::Standing;
use super::seen::{Rule, Seen, enforces, isolates, name, precedence, without_effect};

/// What is not as it should be, and is said to be so.
pub struct Troubles<'seen> {
    /// Contested policies by namespace.
    pub contested: BTreeMap<&'seen str, usize>,
    /// Drift that cannot be healed.
    pub standing: &'seen [Standing],
}

impl Troubles<'_> {
    /// The drift that stands in a namespace.
    pub fn standing_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Standing> {
        self.standing.iter().filter(move |drift| drift.namespace == namespace)
    }

    pub fn is_drifted(&self, namespace: &str) -> bool {
        self.standing_in(namespace).next().is_some()
    }
}

/// The most problems that a status lists.
const PROBLEMS: usize = 10;

/// Everything in the status of the tiers that is not as it was counted.
pub fn wrong_statuses(seen: &Seen, troubles: &Troubles<'_>) -> Vec<String> {
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
        differs("namespaces", &status["namespaces"], counts_of(tier, seen, troubles));
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
        differs("conditions", &json!(conditions), conditions_of(tier, seen, troubles));
        let problems = status["problems"].as_array().into_iter().flatten();
        let problems: Vec<_> = problems.map(problem_in_short).collect();
        differs("problems", &json!(problems), json!(problems_of(tier, seen, troubles)));
    }
    wrong
}

/// Type, status, reason and generation of each.
fn conditions_of(tier: &Value, seen: &Seen, troubles: &Troubles<'_>) -> Value {
    let generation = &tier["metadata"]["generation"];
    let drifts = || {
        let governed = governed_by(tier, seen);
        governed.iter().any(|namespace| troubles.is_drifted(namespace))
    };
    let not_ready = |reason, beside, why| {
        json!([
            ["Ready", "False", reason, generation],
            [beside, "True", why, generation]
        ])
    };
    match (seen.held(tier), fights_of(tier, seen, troubles)) {
        (0, 0) if drifts() => not_ready("ProgressingWithRetry", "Reconciling", "ProgressingWithRetry"),
        (0, 0) => json!([["Ready", "True", "ReconcileSucceeded", generation]]),
        (0, _) => not_ready("Contested", "Reconciling", "ProgressingWithRetry"),
        _ => not_ready("Held", "Stalled", "Held"),
    }
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

pub fn problems_of(tier: &Value, seen: &Seen, troubles: &Troubles<'_>) -> Vec<Value> {
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
            let fights = name(tier) == name(governor) && troubles.contested.contains_key(of);
            by_namespace.extend(fights.then_some((of, "Contested", Vec::new())));
            if name(tier) == name(governor) && troubles.is_drifted(of) {
                by_namespace.extend(["AdmissionDenied", "Drifted"].map(|reason| (of, reason, Vec::new())));
            }
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
pub fn counts_of(tier: &Value, seen: &Seen, troubles: &Troubles<'_>) -> Value {
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
    let governed = governed_by(tier, seen);
    let drifted = governed
        .iter()
        .filter(|namespace| troubles.is_drifted(namespace))
        .count();
    let protected = governed.len() - drifted;
    json!({"selected": selected, "protected": protected, "observed": observed, "pending": 0, "drifted": drifted, "failed": 0})
}

/// The namespaces that a tier governs.
pub fn governed_by<'a>(tier: &Value, seen: &'a Seen) -> Vec<&'a str> {
    let governed = seen
        .namespaces
        .iter()
        .filter(|namespace| matches!(seen.rule(namespace), Rule::Tier(governor) if name(governor) == name(tier)));
    governed.map(name).collect()
}

/// How many namespaces of a tier somebody fights in.
fn fights_of(tier: &Value, seen: &Seen, troubles: &Troubles<'_>) -> usize {
    let governed = governed_by(tier, seen).into_iter();
    governed
        .filter(|namespace| troubles.contested.contains_key(namespace))
        .count()
}

/// In the words of `cofferdam status`, which knows of a fight what the status of the tier says.
pub fn state_of(namespace: &Value, seen: &Seen, troubles: &Troubles<'_>) -> &'static str {
    match seen.rule(namespace) {
        Rule::Exempt => "exempt",
        Rule::Terminating => "terminating",
        Rule::Tier(_) if troubles.is_drifted(name(namespace)) => "drifted",
        Rule::Tier(tier) => {
            let said = problems_of(tier, seen, troubles);
            match said.contains(&json!([name(namespace), "Contested", []])) {
                true => "contested",
                false => "protected",
            }
        }
        Rule::Observed => "observed",
        Rule::Nobody if seen.is_left(namespace) => "left",
        Rule::Nobody if seen.retained_in(name(namespace)) > 0 => "retained",
        Rule::Nobody => "ungoverned",
    }
}

/// In the words of `cofferdam status`.
pub fn namespaces_by_state(seen: &Seen, troubles: &Troubles<'_>) -> BTreeMap<&'static str, usize> {
    let states = [
        "protected",
        "contested",
        "drifted",
        "observed",
        "retained",
        "ungoverned",
        "exempt",
        "terminating",
        "left",
    ];
    let mut counts: BTreeMap<_, _> = states.into_iter().map(|state| (state, 0)).collect();
    for namespace in &seen.namespaces {
        *counts.entry(state_of(namespace, seen, troubles)).or_default() += 1;
    }
    counts
}
