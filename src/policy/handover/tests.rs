use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::policy::Facts;
use crate::policy::fixture::{known_facts, namespace, observed, tier, tier_metadata, tier_spec, world};
use crate::policy::plan;
use crate::policy::record::Failure;

fn departing(spec: Value) -> ParsedTier {
    let mut metadata = tier_metadata("x");
    metadata.deletion_timestamp = metadata.creation_timestamp.clone();
    ParsedTier::parse(&metadata, &tier_spec(&spec))
}

#[test]
fn the_finalizer_is_there_as_long_as_it_is_needed() {
    let remove = || json!({"deletionPolicy": "Remove"});
    let (add, take) = (Some(FinalizerChange::Add), Some(FinalizerChange::Remove));
    for (tier, has_our_finalizer, definition_ends, outstanding, change) in [
        (tier("x", json!({})), false, false, 0, None),
        (tier("x", json!({})), true, false, 1, take),
        (tier("x", remove()), false, false, 0, add),
        (tier("x", remove()), true, false, 0, None),
        // Whatever stands, nothing keeps the definition.
        (tier("x", remove()), true, true, 1, take),
        (tier("x", remove()), false, true, 0, None),
        // No server takes a finalizer now.
        (departing(remove()), false, false, 1, None),
        (departing(remove()), true, false, 1, None),
        (departing(remove()), true, false, 0, take),
        (departing(remove()), true, true, 1, take),
        // Whoever does not want to wait says so.
        (departing(json!({"deletionPolicy": "Retain"})), true, false, 1, take),
        (
            departing(json!({"deletionPolicy": "Remov", "mode": "?"})),
            true,
            false,
            1,
            take,
        ),
    ] {
        let found = finalizer_change(&tier, has_our_finalizer, definition_ends, || outstanding);
        assert_eq!(
            found, change,
            "{tier:?} {has_our_finalizer} {definition_ends} {outstanding}"
        );
    }
}

fn record(governor: Option<&ParsedTier>, state: NamespaceState) -> NamespaceRecord {
    NamespaceRecord {
        namespace_uid: String::from("uid-n"),
        governor: governor.map(|tier| Arc::clone(tier.identity())),
        state,
        ..NamespaceRecord::default()
    }
}

#[test]
fn a_tier_waits_for_what_nobody_would_do_without_it() {
    let x = departing(json!({"deletionPolicy": "Remove"}));
    let n = namespace("n", &[]);
    let before = world([tier("x", json!({}))], known_facts());
    let written = plan(&before, &n, &ObservedPolicies::new(), None);
    let standing = observed(&n, written.writes());
    let none = ObservedPolicies::new();
    let alone = world([x.clone()], known_facts());
    let ungoverned = record(None, NamespaceState::Ungoverned);
    assert!(
        is_outstanding(&alone, &x, &n, &standing, Some(&ungoverned)),
        "not released yet"
    );
    assert!(!is_outstanding(&alone, &x, &n, &none, Some(&ungoverned)), "released");
    assert!(is_outstanding(&alone, &x, &n, &none, None), "not looked at yet");
    let under_way = record(Some(&x), NamespaceState::Protected);
    assert!(
        is_outstanding(&alone, &x, &n, &none, Some(&under_way)),
        "a write may be on its way"
    );
    let mut deleting = standing.clone();
    deleting.values_mut().for_each(|policy| policy.deleting = true);
    assert!(
        !is_outstanding(&alone, &x, &n, &deleting, Some(&ungoverned)),
        "a tenant's finalizer"
    );

    let next = tier("next", json!({}));
    let handed_over = world([x.clone(), next.clone()], known_facts());
    for (state, waits) in [
        (NamespaceState::Protected, true),
        (NamespaceState::Waiting, false),
        (
            NamespaceState::Failed(Failure {
                reason: "Forbidden",
                message: String::new(),
                retry_after: None,
            }),
            false,
        ),
    ] {
        let record = record(Some(&next), state);
        assert_eq!(
            is_outstanding(&handed_over, &x, &n, &standing, Some(&record)),
            waits,
            "{record:?}"
        );
        assert!(!is_outstanding(&handed_over, &x, &n, &none, Some(&record)));
    }

    let observing = world([x.clone(), tier("next", json!({"mode": "Observe"}))], known_facts());
    assert!(
        !is_outstanding(&observing, &x, &n, &standing, None),
        "it keeps what it has"
    );
    let exempt = namespace("kube-system", &[]);
    assert!(!is_outstanding(&alone, &x, &exempt, &standing, None));
}

// Nobody would let the tier go before somebody else mends another one.
#[test]
fn a_tier_does_not_wait_for_a_hand_over_that_keeps_what_stands() {
    let allow_dns = || json!([{"name": "dns", "preset": "DNS"}]);
    let x = departing(json!({"deletionPolicy": "Remove", "allow": allow_dns()}));
    let n = namespace("n", &[]);
    let before = world([tier("x", json!({"allow": allow_dns()}))], known_facts());
    let none = ObservedPolicies::new();
    let standing = observed(&n, plan(&before, &n, &none, None).writes());
    let broken = tier("next", json!({"isolate": []}));
    let unresolved = tier("next", json!({"allow": allow_dns()}));
    let narrower = tier("next", json!({"isolate": ["Ingress"], "allow": allow_dns()}));
    let (protected, unfinished) = (NamespaceState::Protected, NamespaceState::Unfinished);
    for (next, facts, state, waits) in [
        (broken, known_facts(), protected.clone(), false),
        (unresolved.clone(), Facts::unread(), protected.clone(), false),
        (unresolved, known_facts(), unfinished, true),
        // Its base of the other direction is a release, which somebody may have to confirm.
        (narrower, Facts::unread(), protected, true),
    ] {
        let handed_over = world([x.clone(), next.clone()], facts);
        let planned = plan(&handed_over, &n, &standing, None);
        let written = planned.in_place.clone().into_iter().chain(planned.unsettled.clone());
        let record = NamespaceRecord {
            written: written.collect(),
            ..record(Some(&next), state)
        };
        let found = is_outstanding(&handed_over, &x, &n, &standing, Some(&record));
        assert_eq!(found, waits, "{next:?}: {record:?}");
    }
}
