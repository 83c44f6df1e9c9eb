//! Where nobody governs: only what agrees in name, label and the uid of a live tier is ours.

use super::*;

/// A tier that selects only namespaces labelled `a: b`.
fn selective(name: &str, spec: Value) -> ParsedTier {
    let mut whole = json!({"namespaceSelector": {"matchLabels": {"a": "b"}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    tier(name, whole)
}

fn left(tiers: Vec<ParsedTier>, forge: impl Fn(&mut Marks)) -> Vec<PolicyName> {
    let before = world([selective("x", json!({}))], known_facts());
    let mut standing = protected(&before, &namespace("n", &[("a", "b")]));
    standing.values_mut().for_each(|policy| forge(&mut policy.marks));
    let plan = plan(&world(tiers, known_facts()), &namespace("n", &[]), &standing, None);
    assert!(plan.writes().next().is_none() && plan.drift().next().is_none());
    plan.removals.into_iter().map(|removal| removal.name).collect()
}

#[test]
fn what_a_live_tier_left_behind_is_removed() {
    let x = || vec![selective("x", json!({}))];
    assert_eq!(left(x(), |_| {}), [name(BASE_EGRESS), name(BASE_INGRESS)]);
}

#[test]
fn what_a_deleted_tier_left_behind_is_retained() {
    assert_eq!(left(vec![], |_| {}), []);
    // Decided by uid, never by name.
    let mut replaced = selective("x", json!({}));
    if let ParsedTier::Whole(tier) = &mut replaced {
        tier.identity = Arc::new(TierIdentity {
            uid: "uid-new".into(),
            ..(*tier.identity).clone()
        });
    }
    assert_eq!(left(vec![replaced], |_| {}), []);
}

#[test]
fn what_a_broken_tier_left_behind_stays_until_it_parses() {
    let broken = || vec![selective("x", json!({"allow": [{"name": "a"}]}))];
    assert_eq!(left(broken(), |_| {}), []);
}

#[test]
fn marks_that_do_not_agree_are_nobodys() {
    let x = || vec![selective("x", json!({})), selective("y", json!({}))];
    assert_eq!(left(x(), |marks| marks.managed_by = false), []);
    assert_eq!(left(x(), |marks| marks.tier = None), []);
    assert_eq!(left(x(), |marks| marks.tier = Some("y".into())), []);
    assert_eq!(left(x(), |marks| marks.tier_owner = None), []);
    assert_eq!(
        left(x(), |marks| marks.tier_owner = Some(TierOwner {
            name: "x".into(),
            uid: "uid-y".into()
        })),
        []
    );
    let both = |marks: &mut Marks| {
        marks.tier = Some("y".into());
        marks.tier_owner = Some(TierOwner {
            name: "y".into(),
            uid: "uid-x".into(),
        });
    };
    assert_eq!(left(x(), both), []);
}

#[test]
fn what_is_held_by_a_finalizer_is_not_deleted_again() {
    let x = world([selective("x", json!({}))], known_facts());
    let mut standing = protected(&x, &namespace("n", &[("a", "b")]));
    standing.values_mut().for_each(|policy| policy.deleting = true);
    assert!(plan(&x, &namespace("n", &[]), &standing, None).is_empty());
}

#[test]
fn exempt_terminating_and_observed_namespaces_are_left_alone() {
    let all = tier("all", json!({}));
    let standing = [
        stored(open_policy(BASE_INGRESS)),
        stored(open_policy("cofferdam-allow-hole-egress")),
    ]
    .into();
    let exempt = namespace("kube-system", &[]);
    let terminating = Namespace {
        terminating: true,
        ..namespace("n", &[])
    };
    for namespace in [exempt, terminating] {
        assert!(plan(&world([all.clone()], known_facts()), &namespace, &standing, None).is_empty());
    }
    let observing = world([tier("all", json!({"mode": "Observe"}))], known_facts());
    assert!(plan(&observing, &namespace("n", &[]), &standing, None).is_empty());
}
