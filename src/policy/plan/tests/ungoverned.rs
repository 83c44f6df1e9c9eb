//! Where nobody governs: only what agrees in name, label and the uid of a live tier is ours.

use super::*;
use crate::policy::fixture::tier_metadata;

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

/// A tier that is being deleted.
fn terminating(name: &str, spec: Value) -> ParsedTier {
    let mut whole = json!({"namespaceSelector": {"matchLabels": {"a": "b"}}, "mode": "Enforce"});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut metadata = tier_metadata(name);
    metadata.deletion_timestamp = metadata.creation_timestamp.clone();
    ParsedTier::parse(&metadata, &whole)
}

#[test]
fn what_a_departing_tier_leaves_is_removed_only_if_it_takes_it_along() {
    let deleted = |policy: &str| vec![terminating("x", json!({"deletionPolicy": policy}))];
    assert_eq!(left(deleted("Remove"), |_| {}), [name(BASE_EGRESS), name(BASE_INGRESS)]);
    assert_eq!(left(deleted("Retain"), |_| {}), []);
    assert_eq!(left(vec![terminating("x", json!({}))], |_| {}), []);
    assert_eq!(
        left(vec![terminating("y", json!({"deletionPolicy": "Remove"}))], |_| {}),
        []
    );
    // One that does not parse can be deleted too, and says with what is left of it what it wants.
    let broken = json!({"deletionPolicy": "Remove", "mode": "Enforc"});
    assert_eq!(left(vec![terminating("x", broken)], |_| {}).len(), 2);
    let unreadable = json!({"deletionPolicy": "Removed"});
    assert_eq!(left(vec![terminating("x", unreadable)], |_| {}), []);
}

// The garbage collector may strip the reference to a tier that is deleted in the foreground before anybody looks.
#[test]
fn what_was_stripped_of_a_departing_tier_goes_where_that_tier_selected() {
    let x = world([terminating("x", json!({"deletionPolicy": "Remove"}))], known_facts());
    let before = world([selective("x", json!({}))], known_facts());
    let selected = namespace("n", &[("a", "b")]);
    let mut standing = protected(&before, &selected);
    standing.values_mut().for_each(|policy| policy.marks.tier_owner = None);
    assert_eq!(plan(&x, &selected, &standing, None).removals.len(), 2);
    // Elsewhere it may be of an earlier tier of that name.
    assert!(plan(&x, &namespace("n", &[]), &standing, None).is_empty());
    standing.values_mut().for_each(|policy| policy.marks.rendered = None);
    assert!(plan(&x, &selected, &standing, None).is_empty());
}

#[test]
fn a_departing_tier_hands_over_in_place_and_releases_what_the_next_does_not_isolate() {
    let x = selective("x", json!({}));
    let standing = protected(&world([x], known_facts()), &namespace("n", &[("a", "b")]));
    let next = tier("next", json!({"isolate": ["Ingress"]}));
    let departed = terminating("x", json!({"deletionPolicy": "Remove"}));
    let after = world([next, departed], known_facts());
    let plan = plan(&after, &namespace("n", &[("a", "b")]), &standing, None);
    let written: Vec<_> = plan
        .writes()
        .map(|write| (write.name.clone(), &*write.tier.name))
        .collect();
    assert_eq!(written, [(name(BASE_INGRESS), "next")]);
    let released: Vec<_> = plan
        .removals
        .iter()
        .map(|removal| removal.releases_from.as_ref())
        .collect();
    assert_eq!(released.len(), 1);
    assert_eq!(&*released[0].unwrap().name, "x");
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
