//! Unknown is not empty.

use super::*;
use crate::policy::SpecDigest;

fn unknown() -> World {
    world([tier_x()], Facts::unread())
}

fn known() -> World {
    world([tier_x()], known_facts())
}

fn written(plan: &Plan) -> Vec<&str> {
    plan.writes().map(|write| write.name.as_str()).collect()
}

fn waiting(plan: &Plan) -> Vec<&str> {
    plan.waiting.iter().map(PolicyName::as_str).collect()
}

#[test]
fn a_namespace_younger_than_its_tier_is_closed_without_the_allowance() {
    let (world, namespace) = (unknown(), namespace("n", &[]));
    let first = plan(&world, &namespace, &ObservedPolicies::new(), None);
    assert_eq!(
        (written(&first), waiting(&first)),
        (vec![BASE_EGRESS, BASE_INGRESS], vec![])
    );
    assert_eq!(first.bases[0].policy.spec.egress, None);
    // And opens to it once it resolves.
    let standing = observed(&namespace, first.writes());
    let record = record_of(&world, &namespace, &first);
    let second = plan(&known(), &namespace, &standing, Some(&record));
    assert_eq!(
        causes(&second),
        [(API_EGRESS, Cause::Pending), (BASE_EGRESS, Cause::Pending)]
    );
}

#[test]
fn a_namespace_older_than_its_tier_waits() {
    let plan = plan(&unknown(), &older_namespace("n"), &ObservedPolicies::new(), None);
    // Ingress resolves. The extra would isolate its pods before their base allows anything.
    assert_eq!(
        (written(&plan), waiting(&plan)),
        (vec![BASE_INGRESS], vec![BASE_EGRESS])
    );
}

#[test]
fn an_extra_waits_with_its_base() {
    // The API server is known and DNS is not: an extra alone would cut its pods from DNS.
    let facts = Facts {
        api_server: known_facts().api_server,
        ..Facts::unread()
    };
    let plan = plan(
        &world([tier_x()], facts),
        &older_namespace("n"),
        &ObservedPolicies::new(),
        None,
    );
    assert_eq!(
        (written(&plan), waiting(&plan)),
        (vec![BASE_INGRESS], vec![BASE_EGRESS])
    );
}

#[test]
fn a_base_waits_for_its_extras() {
    // DNS is known and the API server is not: the base alone would cut the extra's pods from the API server.
    let facts = Facts {
        dns: known_facts().dns,
        ..Facts::unread()
    };
    let plan = plan(
        &world([tier_x()], facts),
        &older_namespace("n"),
        &ObservedPolicies::new(),
        None,
    );
    assert_eq!(
        (written(&plan), waiting(&plan)),
        (vec![BASE_INGRESS], vec![BASE_EGRESS])
    );
}

#[test]
fn a_namespace_of_unknown_age_waits() {
    let namespace = Namespace {
        created: None,
        ..namespace("n", &[])
    };
    assert_eq!(
        waiting(&plan(&unknown(), &namespace, &ObservedPolicies::new(), None)),
        [BASE_EGRESS]
    );
}

#[test]
fn the_last_good_policy_is_kept() {
    let (known, namespace) = (known(), older_namespace("n"));
    let first = plan(&known, &namespace, &ObservedPolicies::new(), None);
    let standing = observed(&namespace, first.writes());
    let record = record_of(&known, &namespace, &first);
    for record in [Some(&record), None] {
        let kept = plan(&unknown(), &namespace, &standing, record);
        assert!(kept.is_empty() && kept.waiting.is_empty());
        assert_eq!(
            kept.in_place.keys().collect::<Vec<_>>(),
            record_of(&known, &namespace, &first).written.keys().collect::<Vec<_>>()
        );
    }
}

#[test]
fn what_was_tampered_with_meanwhile_is_closed() {
    let (known, namespace) = (known(), older_namespace("n"));
    let first = plan(&known, &namespace, &ObservedPolicies::new(), None);
    let record = record_of(&known, &namespace, &first);
    for policy in [BASE_EGRESS, API_EGRESS] {
        let mut standing = observed(&namespace, first.writes());
        let open = SpecDigest::of(&open_policy(policy).spec.unwrap());
        standing.get_mut(&name(policy)).unwrap().spec = open;
        for record in [Some(&record), None] {
            let healed = plan(&unknown(), &namespace, &standing, record);
            assert_eq!(causes(&healed), [(policy, Cause::Drift(DriftKind::Modified))]);
            assert_eq!(healed.writes().next().unwrap().policy.spec.egress, None);
        }
        // Nor does an annotation that fits the new spec help, as long as we remember ours.
        standing.get_mut(&name(policy)).unwrap().marks.rendered = Some(open);
        let healed = plan(&unknown(), &namespace, &standing, Some(&record));
        assert_eq!(causes(&healed), [(policy, Cause::Drift(DriftKind::Modified))]);
    }
}

#[test]
fn a_base_that_is_deleted_meanwhile_is_closed() {
    let (known, namespace) = (known(), older_namespace("n"));
    let first = plan(&known, &namespace, &ObservedPolicies::new(), None);
    let record = record_of(&known, &namespace, &first);
    let mut standing = observed(&namespace, first.writes());
    standing.remove(&name(BASE_EGRESS));
    let healed = plan(&unknown(), &namespace, &standing, Some(&record));
    assert_eq!(causes(&healed), [(BASE_EGRESS, Cause::Drift(DriftKind::Missing))]);
    // A write that fails does not make us forget that it was there.
    assert!(healed.unsettled.contains_key(&name(BASE_EGRESS)));
}

#[test]
fn a_forged_extra_does_not_pass_for_the_last_good_one() {
    let (world, namespace) = (unknown(), namespace("n", &[]));
    let first = plan(&world, &namespace, &ObservedPolicies::new(), None);
    let record = record_of(&world, &namespace, &first);
    let mut standing = observed(&namespace, first.writes());
    let (extra, mut forged) = stored(open_policy(API_EGRESS));
    forged.marks = Marks {
        rendered: Some(forged.spec),
        ..standing[&name(BASE_EGRESS)].marks.clone()
    };
    standing.insert(extra, forged);
    let healed = plan(&world, &namespace, &standing, Some(&record));
    assert_eq!(written(&healed), [API_EGRESS]);
    assert_eq!(healed.extras[0].policy.spec.egress, None);
}

#[test]
fn a_hand_over_that_has_to_wait_keeps_the_whole_set_that_stands() {
    let namespace = namespace("n", &[]);
    let first = plan(&known(), &namespace, &ObservedPolicies::new(), None);
    let standing = observed(&namespace, first.writes());
    let record = record_of(&known(), &namespace, &first);
    let next = || {
        tier(
            "y",
            json!({"precedence": 1, "isolate": ["Egress"], "allow": [{"name": "dns", "preset": "DNS"}]}),
        )
    };
    let unresolved = world([tier_x(), next()], Facts::unread());
    for record in [Some(&record), None] {
        let kept = plan(&unresolved, &namespace, &standing, record);
        assert_eq!(causes(&kept), []);
        assert_eq!(kept.in_place.len(), 3);
        // What a tenant adds meanwhile is no part of it.
        let mut with_hole = standing.clone();
        with_hole.extend([stored(open_policy("cofferdam-allow-hole-egress"))]);
        let pruned = plan(&unresolved, &namespace, &with_hole, record);
        assert_eq!(
            causes(&pruned),
            [("cofferdam-allow-hole-egress", Cause::Drift(DriftKind::Surplus))]
        );
    }
    let resolved = plan(
        &world([tier_x(), next()], known_facts()),
        &namespace,
        &standing,
        Some(&record),
    );
    assert_eq!(causes(&resolved).len(), 3);
}

/// Changes of what stands, and what has to be done about each while nobody knows what is to be allowed.
fn tampered_with(standing: &ObservedPolicies) -> [(ObservedPolicies, (&'static str, Cause)); 3] {
    let changed = |policy: &str, spec: Value| {
        let mut standing = standing.clone();
        tamper(&mut standing, policy, spec);
        standing
    };
    let open = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]});
    let lets_in = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]});
    let lets_out = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}]});
    let surplus = (API_EGRESS, Cause::Drift(DriftKind::Surplus));
    [
        (changed(API_EGRESS, open), surplus),
        (changed(API_EGRESS, lets_in), surplus),
        (
            changed(BASE_INGRESS, lets_out),
            (BASE_INGRESS, Cause::Drift(DriftKind::Modified)),
        ),
    ]
}

// Whatever somebody made of it stayed, as part of the set.
#[test]
fn a_hand_over_that_has_to_wait_keeps_nothing_that_was_tampered_with() {
    let namespace = namespace("n", &[]);
    let first = plan(&known(), &namespace, &ObservedPolicies::new(), None);
    let record = record_of(&known(), &namespace, &first);
    let next = tier(
        "y",
        json!({"precedence": 1, "isolate": ["Egress"], "allow": [{"name": "dns", "preset": "DNS"}]}),
    );
    let unresolved = world([tier_x(), next], Facts::unread());
    for (standing, expected) in tampered_with(&observed(&namespace, first.writes())) {
        for record in [Some(&record), None] {
            let healing = plan(&unresolved, &namespace, &standing, record);
            assert_eq!(causes(&healing), [expected]);
            // A base that was closed stays with the rest of its set.
            let mut standing = standing.clone();
            standing.extend(observed(&namespace, healing.writes()));
            let removed = healing.removals.iter().map(|removal| &removal.name);
            removed.for_each(|name| _ = standing.remove(name));
            let mut after = record_of(&unresolved, &namespace, &healing);
            after.written.extend(healing.unsettled);
            for record in [Some(&after), None] {
                assert_eq!(causes(&plan(&unresolved, &namespace, &standing, record)), []);
            }
        }
    }
}

mod broken {
    use super::*;

    #[test]
    fn nothing_that_was_tampered_with_is_kept() {
        let namespace = namespace("n", &[]);
        let first = plan(&known(), &namespace, &ObservedPolicies::new(), None);
        let record = record_of(&known(), &namespace, &first);
        for (standing, expected) in tampered_with(&observed(&namespace, first.writes())) {
            for record in [Some(&record), None] {
                let world = broken(json!({"isolate": ["Egress"]}));
                assert_eq!(causes(&plan(&world, &namespace, &standing, record)), [expected]);
            }
        }
    }

    fn broken(spec: Value) -> World {
        let mut whole = json!({"allow": [{"name": "a"}]});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        world([tier("x", whole)], known_facts())
    }

    #[test]
    fn the_last_good_policies_stay_and_are_remembered() {
        let namespace = namespace("n", &[]);
        let first = plan(&known(), &namespace, &ObservedPolicies::new(), None);
        let record = record_of(&known(), &namespace, &first);
        let standing = observed(&namespace, first.writes());
        for spec in [
            json!({}),
            json!({"mode": "Enforc"}),
            json!({"isolate": ["Ingres"]}),
            json!({"precedence": "x"}),
        ] {
            for record in [Some(&record), None] {
                let kept = plan(&broken(spec.clone()), &namespace, &standing, record);
                assert_eq!((causes(&kept), kept.in_place.len()), (vec![], 3), "{spec}");
            }
        }
    }

    #[test]
    fn a_new_namespace_is_closed_and_an_older_one_waits() {
        let none = ObservedPolicies::new();
        assert_eq!(
            written(&plan(&broken(json!({})), &namespace("n", &[]), &none, None)),
            [BASE_EGRESS, BASE_INGRESS]
        );
        assert_eq!(
            waiting(&plan(&broken(json!({})), &older_namespace("n"), &none, None)),
            [BASE_EGRESS, BASE_INGRESS]
        );
    }

    #[test]
    fn a_tier_whose_mode_cannot_be_read_heals_what_it_had_and_closes_nothing_new() {
        let namespace = namespace("n", &[]);
        let world = broken(json!({"mode": "Enforc"}));
        let fresh = plan(&world, &namespace, &ObservedPolicies::new(), None);
        assert_eq!(
            (written(&fresh), waiting(&fresh)),
            (vec![], vec![BASE_EGRESS, BASE_INGRESS])
        );
        let first = plan(&known(), &namespace, &ObservedPolicies::new(), None);
        let record = record_of(&known(), &namespace, &first);
        let mut standing = observed(&namespace, first.writes());
        standing.remove(&name(BASE_INGRESS));
        let healed = plan(&world, &namespace, &standing, Some(&record));
        assert_eq!(causes(&healed), [(BASE_INGRESS, Cause::Drift(DriftKind::Missing))]);
    }

    #[test]
    fn a_hole_that_we_never_wrote_is_pruned_all_the_same() {
        let namespace = namespace("n", &[]);
        let first = plan(&known(), &namespace, &ObservedPolicies::new(), None);
        let record = record_of(&known(), &namespace, &first);
        let mut standing = observed(&namespace, first.writes());
        standing.extend([stored(open_policy("cofferdam-allow-hole-egress"))]);
        for record in [Some(&record), None] {
            let pruned = plan(&broken(json!({})), &namespace, &standing, record);
            assert_eq!(
                causes(&pruned),
                [("cofferdam-allow-hole-egress", Cause::Drift(DriftKind::Surplus))]
            );
        }
    }

    #[test]
    fn an_allowance_that_went_while_the_tier_was_broken_is_not_drift() {
        let namespace = namespace("n", &[]);
        let first = plan(&known(), &namespace, &ObservedPolicies::new(), None);
        let standing = observed(&namespace, first.writes());
        let kept = plan(
            &broken(json!({})),
            &namespace,
            &standing,
            Some(&record_of(&known(), &namespace, &first)),
        );
        let mended = world(
            [tier("x", json!({"allow": [{"name": "dns", "preset": "DNS"}]}))],
            known_facts(),
        );
        let record = record_of(&mended, &namespace, &kept);
        let pruned = plan(&mended, &namespace, &standing, Some(&record));
        assert_eq!(causes(&pruned), [(API_EGRESS, Cause::Pending)]);
    }
}
