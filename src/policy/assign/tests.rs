use serde_json::{Value, json};

use super::*;
use crate::policy::fixture::{known_facts, namespace, observed, tier, tier_metadata, world};
use crate::policy::observed::Marks;
use crate::policy::{ParsedTier, plan};

/// A tier for namespaces labelled `a: b`.
fn for_ab(name: &str, precedence: i32, mode: &str) -> ParsedTier {
    let selector = json!({"matchLabels": {"a": "b"}});
    tier(
        name,
        json!({"precedence": precedence, "mode": mode, "namespaceSelector": selector}),
    )
}

fn enforce(name: &str, precedence: i32) -> ParsedTier {
    for_ab(name, precedence, "Enforce")
}

fn observe(name: &str, precedence: i32) -> ParsedTier {
    for_ab(name, precedence, "Observe")
}

fn names(tiers: &[&RankedTier]) -> Vec<String> {
    tiers
        .iter()
        .map(|ranked| ranked.tier.identity().name.to_string())
        .collect()
}

/// Governor, shadows and ties in a namespace labelled `a: b`.
fn assigned(tiers: &[ParsedTier]) -> (String, Vec<String>, Vec<String>) {
    let world = world(tiers.iter().cloned(), known_facts());
    let assignment = assign(&world, &namespace("n", &[("a", "b")]), &ObservedPolicies::new());
    let governor = match assignment.governor {
        Governor::Tier(ranked) => ranked.tier.identity().name.to_string(),
        other => format!("{other:?}"),
    };
    (governor, names(&assignment.shadows), names(&assignment.tied_with))
}

#[test]
fn who_governs() {
    let all = json!({"namespaceSelector": {}});
    let none: [&str; 0] = [];
    for (tiers, governor, shadows, tied) in [
        (vec![], "Nobody", &none[..], &none[..]),
        (vec![enforce("x", 1), enforce("y", 2)], "y", &none, &none),
        (
            vec![enforce("y", 1), enforce("x", 1), enforce("z", 1)],
            "x",
            &none,
            &["y", "z"],
        ),
        (vec![enforce("x", 1), observe("y", 1)], "x", &none, &none),
        (vec![observe("x", 1), enforce("y", 1)], "y", &["x"], &none),
        (
            vec![observe("above", 9), enforce("x", 5), observe("below", 1)],
            "x",
            &["above"],
            &none,
        ),
        (
            vec![observe("a", 9), observe("b", 5)],
            "ObserveOnly",
            &["a", "b"],
            &none,
        ),
        (vec![tier("all", all), enforce("x", 0)], "all", &none, &["x"]),
    ] {
        let expected = (governor.to_owned(), shadows, tied);
        let (governor, shadowing, ties) = assigned(&tiers);
        assert_eq!(
            (governor, shadowing.as_slice(), ties.as_slice()),
            (expected.0, &*owned(shadows), &*owned(tied))
        );
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn exempt_and_terminating_namespaces_have_no_governor() {
    let world = world([tier("all", json!({}))], known_facts());
    for name in ["kube-system", "cofferdam-system", "openshift-dns"] {
        let assignment = assign(&world, &namespace(name, &[]), &ObservedPolicies::new());
        assert!(
            matches!(assignment.governor, Governor::Exempt) && assignment.selected_by.is_empty(),
            "{name}"
        );
    }
    let terminating = Namespace {
        terminating: true,
        ..namespace("n", &[])
    };
    assert!(matches!(
        assign(&world, &terminating, &ObservedPolicies::new()).governor,
        Governor::Terminating
    ));
}

#[test]
fn a_terminating_tier_governs_nothing() {
    let mut metadata = tier_metadata("x");
    metadata.deletion_timestamp = metadata.creation_timestamp.clone();
    let going = ParsedTier::parse(
        &metadata,
        &json!({"namespaceSelector": {}, "mode": "Enforce", "precedence": 1000}),
    );
    assert_eq!(assigned(&[going.clone(), enforce("y", 1)]).0, "y");
    assert_eq!(assigned(&[going]).0, "Nobody");
}

#[test]
fn a_broken_tier_with_a_claim_keeps_its_rank() {
    let broken = |precedence: i32, mode: Value| {
        tier(
            "broken",
            json!({"precedence": precedence, "mode": mode, "allow": [{"name": "a"}]}),
        )
    };
    assert_eq!(assigned(&[broken(5, json!("Enforce")), enforce("y", 1)]).0, "broken");
    assert_eq!(assigned(&[broken(1, json!("Enforce")), enforce("y", 5)]).0, "y");
    assert_eq!(assigned(&[broken(5, json!("Observ")), enforce("y", 1)]).0, "broken");
    assert_eq!(assigned(&[broken(5, json!("Observe")), enforce("y", 1)]).0, "y");
}

#[test]
fn a_broken_tier_without_a_claim_keeps_what_carries_its_uid_and_nothing_else() {
    let namespace = namespace("n", &[("a", "b")]);
    let before = world([enforce("x", 1)], known_facts());
    let standing = observed(
        &namespace,
        plan(&before, &namespace, &ObservedPolicies::new(), None).writes(),
    );
    let broken = tier("x", json!({"precedence": "high"}));
    let after = world([broken, enforce("y", 5)], known_facts());
    let governor = |observed: &ObservedPolicies| assign(&after, &namespace, observed).governor.tier_name().unwrap();
    assert_eq!(&*governor(&standing), "x");
    assert_eq!(&*governor(&ObservedPolicies::new()), "y");
    // A name, a label and the uid of a live tier have to agree: otherwise it is forged.
    let forgeries: [fn(&mut Marks); 4] = [
        |marks| marks.managed_by = false,
        |marks| marks.tier = Some("y".into()),
        |marks| {
            marks
                .tier_owner
                .iter_mut()
                .for_each(|owner| owner.uid = "uid-other".into())
        },
        |marks| {
            marks.tier = Some("other".into());
            marks
                .tier_owner
                .iter_mut()
                .for_each(|owner| owner.name = "other".into());
        },
    ];
    for forge in forgeries {
        let mut forged = standing.clone();
        forged.values_mut().for_each(|policy| forge(&mut policy.marks));
        assert_eq!(&*governor(&forged), "y");
    }
}
