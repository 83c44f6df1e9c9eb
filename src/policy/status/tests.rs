use k8s_openapi::jiff::Timestamp;
use kube::core::ObjectMeta;
use serde_json::{Value, json};

use super::*;
use crate::api::NamespaceCounts;
use crate::policy::{Exemptions, Facts, World};

fn world(spec: Value) -> World {
    let metadata: ObjectMeta =
        serde_json::from_value(json!({"name": "restricted", "uid": "t1", "generation": 3})).unwrap();
    World::new(
        [ParsedTier::parse(&metadata, &spec)],
        Facts::unread(),
        Exemptions::new("cofferdam-system", []),
    )
}

fn status(spec: Value, tally: &TierTally, previous: Option<&IsolationTierStatus>, second: i64) -> IsolationTierStatus {
    tier_status(
        &world(spec).tiers()[0],
        tally,
        previous,
        Timestamp::from_second(second).unwrap(),
    )
}

fn counts(namespaces: NamespaceCounts) -> TierTally {
    TierTally {
        namespaces,
        ..TierTally::default()
    }
}

fn condition<'a>(status: &'a IsolationTierStatus, type_: &str) -> Option<(&'a str, &'a str)> {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    assert_eq!(found.observed_generation, Some(status.observed_generation));
    Some((&found.status, &found.reason))
}

fn plain() -> Value {
    json!({"namespaceSelector": {}, "mode": "Enforce"})
}

#[test]
fn all_in_place_is_ready_and_nothing_else() {
    let tally = counts(NamespaceCounts {
        selected: 2,
        protected: 2,
        ..NamespaceCounts::default()
    });
    let status = status(plain(), &tally, None, 100);
    assert_eq!(status.observed_generation, 3);
    assert_eq!(condition(&status, "Ready"), Some(("True", "ReconcileSucceeded")));
    assert_eq!(condition(&status, "Reconciling"), None);
    assert_eq!(condition(&status, "Stalled"), None);
}

// That all waited for another tier, and that the log said more, was said while somebody else's finalizer kept it.
#[test]
fn a_tier_that_takes_its_policies_along_says_what_it_waits_for() {
    let world = world(plain());
    let says = |outstanding| {
        let now = Timestamp::from_second(100).unwrap();
        let status = departing_status(world.tiers()[0].tier.identity(), outstanding, None, None, now);
        assert_eq!(condition(&status, "Ready"), Some(("False", "HandingOver")));
        assert_eq!(condition(&status, "Reconciling"), Some(("True", "HandingOver")));
        assert_eq!(condition(&status, "Stalled"), None);
        status.condition("Ready").unwrap().message.clone()
    };
    assert_eq!(
        says(0),
        "deleted with deletionPolicy Remove: all is done; it goes once the status of another tier tells what it released of late, \
         if anything, and nobody else's finalizer keeps it; the log of the controller says what fails"
    );
    assert_eq!(
        says(2),
        "deleted with deletionPolicy Remove: 2 namespaces to be handed over to another tier or released; with deletionPolicy \
         Retain its policies would stay"
    );
}

#[test]
fn what_is_still_to_be_written_is_reconciling() {
    let tally = counts(NamespaceCounts {
        selected: 2,
        protected: 1,
        pending: 1,
        ..NamespaceCounts::default()
    });
    let status = status(plain(), &tally, None, 100);
    assert_eq!(condition(&status, "Ready"), Some(("Unknown", "Progressing")));
    assert_eq!(condition(&status, "Reconciling"), Some(("True", "Progressing")));
}

#[test]
fn a_failed_write_is_retried_and_its_message_is_said() {
    let mut tally = counts(NamespaceCounts {
        selected: 1,
        failed: 1,
        ..NamespaceCounts::default()
    });
    tally.problems.push(NamespaceProblem {
        namespace: Some("a".into()),
        reason: "QuotaExceeded".into(),
        message: "raise the quota".into(),
    });
    let status = status(plain(), &tally, None, 100);
    assert_eq!(condition(&status, "Ready"), Some(("False", "ProgressingWithRetry")));
    assert_eq!(
        condition(&status, "Reconciling"),
        Some(("True", "ProgressingWithRetry"))
    );
    assert!(
        status.conditions[0].message.contains("raise the quota"),
        "{}",
        status.conditions[0].message
    );
}

#[test]
fn a_tier_that_does_not_parse_is_stalled_and_says_where() {
    let status = status(
        json!({"namespaceSelector": {}, "mode": "Enforce", "precedence": 5000}),
        &TierTally::default(),
        None,
        100,
    );
    assert_eq!(condition(&status, "Ready"), Some(("False", "InvalidSpec")));
    assert_eq!(condition(&status, "Stalled"), Some(("True", "InvalidSpec")));
    assert!(
        status.problems[0].message.contains("spec.precedence"),
        "{:?}",
        status.problems
    );
}

#[test]
fn an_unresolved_allowance_stalls_after_a_minute_where_it_is_enforced() {
    let spec = json!({"namespaceSelector": {}, "mode": "Enforce", "allow": [{"name": "dns", "preset": "DNS"}]});
    let tally = counts(NamespaceCounts {
        selected: 1,
        protected: 1,
        ..NamespaceCounts::default()
    });
    let first = status(spec.clone(), &tally, None, 100);
    assert_eq!(condition(&first, "Ready"), Some(("False", "AllowanceUnresolved")));
    assert_eq!(condition(&first, "Stalled"), None);
    assert_eq!(stalls_at(&first), Some(Timestamp::from_second(160).unwrap()));
    let later = status(spec.clone(), &tally, Some(&first), 159);
    assert_eq!(later, first, "nothing to write while it waits");
    let stalled = status(spec.clone(), &tally, Some(&first), 160);
    assert_eq!(condition(&stalled, "Stalled"), Some(("True", "AllowanceUnresolved")));
    assert_eq!(condition(&stalled, "Reconciling"), None);
    assert_eq!(stalls_at(&stalled), None);

    let nowhere = status(spec, &TierTally::default(), None, 100);
    assert_eq!(condition(&nowhere, "Ready"), Some(("True", "ReconcileSucceeded")));
    assert_eq!(nowhere.problems[0].reason, "AllowanceUnresolved");
}

#[test]
fn an_allowance_without_effect_is_a_problem_and_never_unready() {
    let spec = json!({"namespaceSelector": {}, "mode": "Enforce", "isolate": ["Ingress"],
        "allow": [{"name": "out", "to": [{"podSelector": {}}]}, {"name": "same", "preset": "SameNamespace"}]});
    let tally = counts(NamespaceCounts {
        selected: 1,
        protected: 1,
        ..NamespaceCounts::default()
    });
    let status = status(spec, &tally, None, 100);
    assert_eq!(condition(&status, "Ready"), Some(("True", "ReconcileSucceeded")));
    let reasons: Vec<_> = status
        .problems
        .iter()
        .map(|problem| (&*problem.reason, &*problem.message))
        .collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].0 == "AllowanceHasNoEffect" && reasons[0].1.contains("out"),
        "{reasons:?}"
    );
}

#[test]
fn a_transition_time_moves_only_with_the_status() {
    let pending = counts(NamespaceCounts {
        selected: 1,
        pending: 1,
        ..NamespaceCounts::default()
    });
    let protected = counts(NamespaceCounts {
        selected: 1,
        protected: 1,
        ..NamespaceCounts::default()
    });
    let at = |status: &IsolationTierStatus| status.conditions[0].last_transition_time.0.as_second();
    let first = status(plain(), &pending, None, 100);
    let second = status(plain(), &protected, Some(&first), 200);
    let third = status(
        plain(),
        &counts(NamespaceCounts {
            selected: 2,
            protected: 2,
            ..NamespaceCounts::default()
        }),
        Some(&second),
        300,
    );
    assert_eq!((at(&first), at(&second), at(&third)), (100, 200, 200));
}

#[test]
fn at_most_ten_problems_are_listed() {
    let mut tally = TierTally::default();
    for number in 0..30 {
        let namespace = Some(format!("namespace-{number}"));
        tally.problems.push(NamespaceProblem {
            namespace,
            reason: "Drifted".into(),
            message: String::new(),
        });
    }
    assert_eq!(status(plain(), &tally, None, 100).problems.len(), 10);
}

#[test]
fn what_was_wrong_before_does_not_count_towards_stalled() {
    let spec = json!({"namespaceSelector": {}, "mode": "Enforce", "allow": [{"name": "dns", "preset": "DNS"}]});
    let failed = counts(NamespaceCounts {
        selected: 1,
        failed: 1,
        ..NamespaceCounts::default()
    });
    let failing = status(plain(), &failed, None, 100);
    let unresolved = status(spec.clone(), &failed, Some(&failing), 1000);
    assert_eq!(condition(&unresolved, "Ready"), Some(("False", "AllowanceUnresolved")));
    let soon = status(spec.clone(), &failed, Some(&unresolved), 1001);
    assert_eq!(condition(&soon, "Stalled"), None);
    assert_eq!(stalls_at(&soon), Timestamp::from_second(1060).ok());
    let late = status(spec, &failed, Some(&soon), 1061);
    assert_eq!(condition(&late, "Stalled"), Some(("True", "AllowanceUnresolved")));
}

// Between two heals nothing differs: Ready must not flap with each of them.
#[test]
fn a_fight_is_said_and_names_the_other() {
    let tally = TierTally {
        contested: 1,
        problems: vec![
            NamespaceProblem {
                namespace: Some(String::from("shop")),
                reason: String::from("Contested"),
                message: String::from("cofferdam-baseline-ingress is changed by field manager helm"),
            },
            NamespaceProblem {
                namespace: Some(String::from("tools")),
                reason: String::from("WouldChange"),
                message: String::from("would create 2"),
            },
        ],
        ..counts(NamespaceCounts {
            selected: 1,
            protected: 1,
            ..NamespaceCounts::default()
        })
    };
    let said = status(plain(), &tally, None, 100);
    assert_eq!(condition(&said, "Ready"), Some(("False", "Contested")));
    assert_eq!(condition(&said, "Stalled"), None);
    let message = &said.condition("Ready").unwrap().message;
    assert!(message.contains("shop") && message.contains("helm"), "{message}");
    let failed = TierTally {
        namespaces: NamespaceCounts {
            failed: 1,
            ..tally.namespaces
        },
        ..tally
    };
    let said = status(plain(), &failed, None, 100);
    assert_eq!(condition(&said, "Ready"), Some(("False", "ProgressingWithRetry")));
}
