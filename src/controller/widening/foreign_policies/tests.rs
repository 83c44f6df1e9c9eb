use serde_json::json;

use super::*;

fn policy(namespace: &str, name: &str, from: usize) -> NetworkPolicy {
    let from: Vec<_> = (0..from)
        .map(|index| json!({"podSelector": {"matchLabels": {"app": format!("app-{index}")}}}))
        .collect();
    let object = json!({
        "metadata": {"namespace": namespace, "name": name, "annotations": {"a": "b"}},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": from}]},
    });
    serde_json::from_value(object).unwrap()
}

fn names(index: &ForeignPolicies, namespace: &str) -> Vec<String> {
    index.of(namespace).into_iter().map(|policy| policy.name).collect()
}

#[test]
fn only_what_changes_in_a_spec_is_news() {
    let index = ForeignPolicies::default();
    assert_eq!(index.see(&Event::Apply(policy("shop", "a", 1))), ["shop"]);
    let mut labelled = policy("shop", "a", 1);
    labelled.metadata.labels = Some([(String::from("x"), String::from("y"))].into());
    labelled.metadata.resource_version = Some(String::from("9"));
    assert_eq!(index.see(&Event::Apply(labelled)), [""; 0]);
    assert_eq!(index.see(&Event::Apply(policy("shop", "a", 2))), ["shop"]);
    assert_eq!(index.see(&Event::Delete(policy("shop", "a", 2))), ["shop"]);
    assert_eq!(index.see(&Event::Delete(policy("shop", "a", 2))), [""; 0]);
    assert!(index.state().namespaces.is_empty());
}

#[test]
fn what_has_a_reserved_name_is_not_kept() {
    let index = ForeignPolicies::default();
    for name in [
        "cofferdam-baseline-ingress",
        "cofferdam-allow-x-egress",
        "cofferdam-exception-mine",
    ] {
        assert_eq!(index.see(&Event::Apply(policy("shop", name, 1))), [""; 0], "{name}");
    }
    assert_eq!(names(&index, "shop"), [""; 0]);
}

#[test]
fn a_list_replaces_what_is_known_and_says_where_it_differs() {
    let index = ForeignPolicies::default();
    for (namespace, name) in [
        ("same", "a"),
        ("gone", "a"),
        ("fewer", "a"),
        ("fewer", "b"),
        ("other", "a"),
    ] {
        index.see(&Event::Apply(policy(namespace, name, 1)));
    }
    index.see(&Event::Init);
    for (namespace, name, from) in [("same", "a", 1), ("fewer", "b", 1), ("other", "a", 2), ("new", "a", 1)] {
        assert_eq!(index.see(&Event::InitApply(policy(namespace, name, from))), [""; 0]);
    }
    // Until it is complete, what was known holds.
    assert_eq!(names(&index, "fewer"), ["a", "b"]);
    let mut changed = index.see(&Event::InitDone);
    changed.sort();
    assert_eq!(changed, ["fewer", "gone", "new", "other"]);
    assert_eq!(names(&index, "fewer"), ["b"]);
    assert_eq!(names(&index, "gone"), [""; 0]);
}

#[test]
fn a_list_that_begins_again_forgets_what_it_showed() {
    let index = ForeignPolicies::default();
    index.see(&Event::Init);
    index.see(&Event::InitApply(policy("shop", "a", 1)));
    index.see(&Event::Init);
    assert_eq!(index.see(&Event::InitDone), [""; 0]);
    assert_eq!(names(&index, "shop"), [""; 0]);
}

#[test]
fn a_spec_that_is_listed_again_is_not_kept_twice() {
    let index = ForeignPolicies::default();
    index.see(&Event::Apply(policy("shop", "a", 5)));
    let before = index.of("shop");
    index.see(&Event::Init);
    index.see(&Event::InitApply(policy("shop", "a", 5)));
    index.see(&Event::InitDone);
    let (ForeignSpec::Kept(before), ForeignSpec::Kept(after)) = (&before[0].spec, &index.of("shop")[0].spec) else {
        panic!("a small spec is kept");
    };
    assert!(std::sync::Arc::ptr_eq(before, after));
}

#[test]
fn a_namespace_takes_no_more_than_its_share_and_gives_it_back() {
    let index = ForeignPolicies::default();
    let kept = |index: &ForeignPolicies| index.state().namespaces["shop"].kept_bytes;
    for number in 0..100 {
        index.see(&Event::Apply(policy("shop", &format!("p{number}"), 400)));
    }
    assert!(kept(&index) <= MAX_NAMESPACE_BYTES);
    let is_kept = |policy: &&ForeignPolicy| matches!(policy.spec, ForeignSpec::Kept(_));
    let policies = index.of("shop");
    assert_eq!(policies.len(), 100, "none is passed over");
    let many = policies.iter().filter(is_kept).count();
    assert!((10..60).contains(&many), "{many}");
    for number in 0..100 {
        index.see(&Event::Apply(policy("shop", &format!("p{number}"), 1)));
    }
    assert_eq!(index.of("shop").iter().filter(is_kept).count(), 100);
    let bytes: usize = index.of("shop").iter().map(|policy| policy.spec.kept_bytes()).sum();
    assert_eq!(kept(&index), bytes);
}

fn at(version: u64, mut policy: NetworkPolicy) -> NetworkPolicy {
    policy.metadata.resource_version = Some(version.to_string());
    policy
}

/// A list beside the watch, with what the watch shows meanwhile.
fn relist(
    index: &ForeignPolicies,
    version: &str,
    page: &[NetworkPolicy],
    meanwhile: Option<Event<NetworkPolicy>>,
) -> Vec<String> {
    index.relist_begins();
    _ = meanwhile.map(|event| index.see(&event));
    index.relisted(version, page);
    let mut concerned = index.relist_ends();
    concerned.sort();
    concerned
}

#[test]
fn a_list_beside_the_watch_finds_what_no_event_showed() {
    let index = ForeignPolicies::default();
    for namespace in ["same", "gone", "other"] {
        index.see(&Event::Apply(at(5, policy(namespace, "a", 1))));
    }
    let page = [policy("same", "a", 1), policy("other", "a", 2), policy("new", "a", 1)];
    assert_eq!(relist(&index, "9", &page, None), ["gone", "new", "other"]);
    assert_eq!(names(&index, "gone"), [""; 0]);
    assert_eq!(names(&index, "new"), ["a"]);
    assert_eq!(relist(&index, "9", &page, None), [""; 0]);
}

#[test]
fn a_list_beside_the_watch_takes_nothing_back_that_the_watch_showed() {
    let index = ForeignPolicies::default();
    index.see(&Event::Apply(at(5, policy("shop", "a", 1))));
    let created = Event::Apply(at(10, policy("shop", "b", 1)));
    assert_eq!(relist(&index, "9", &[policy("shop", "a", 1)], Some(created)), [""; 0]);
    assert_eq!(names(&index, "shop"), ["a", "b"]);
    let deleted = Event::Delete(at(12, policy("shop", "b", 1)));
    let both = [policy("shop", "a", 1), policy("shop", "b", 1)];
    assert_eq!(relist(&index, "11", &both, Some(deleted)), [""; 0]);
    assert_eq!(names(&index, "shop"), ["a"]);
    assert_eq!(relist(&index, "11", &both, None), [""; 0], "it is older than the watch");
    assert_eq!(
        relist(&index, "13", &[], Some(Event::Init)),
        [""; 0],
        "the watch lists itself"
    );
    assert_eq!(names(&index, "shop"), ["a"]);
}

// Of a tenant who writes policies without end no more is kept, and nothing is called harmless that nobody looked at.
#[test]
fn beyond_a_number_of_policies_it_is_known_only_that_there_are_more() {
    let index = ForeignPolicies::default();
    let name = |number: usize| format!("{number:0>253}");
    let apply = |number: usize| index.see(&Event::Apply(policy("shop", &name(number), 1)));
    for number in 0..MOST_POLICIES {
        apply(number);
    }
    let all_are_kept = || {
        let known = index.of("shop");
        assert_eq!(known.len(), MOST_POLICIES);
        known
            .iter()
            .all(|policy| policy.spec != ForeignSpec::unknown(MAX_NAMESPACE_BYTES))
    };
    assert!(all_are_kept());
    assert_eq!(apply(MOST_POLICIES), ["shop"]);
    assert_eq!(apply(MOST_POLICIES), [""; 0], "it is known that there are more");
    for number in MOST_POLICIES..10 * MOST_POLICIES {
        apply(number);
    }
    assert!(!all_are_kept());
    // There is room for one of them now.
    index.see(&Event::Delete(policy("shop", &name(3), 1)));
    apply(MOST_POLICIES);
    assert!(!all_are_kept());
    for number in MOST_POLICIES + 1..10 * MOST_POLICIES {
        index.see(&Event::Delete(policy("shop", &name(number), 1)));
    }
    assert!(all_are_kept());
    for number in 0..=MOST_POLICIES {
        index.see(&Event::Delete(policy("shop", &name(number), 1)));
    }
    assert!(index.state().namespaces.is_empty());
}

// Two thousand harmless ones hid the one that came after them, once they were deleted.
#[test]
fn who_deletes_all_that_are_known_by_name_hid_those_beyond() {
    let index = ForeignPolicies::default();
    let name = |number: usize| format!("p{number}");
    for number in 0..=MOST_POLICIES {
        index.see(&Event::Apply(policy("shop", &name(number), 1)));
    }
    for number in 0..MOST_POLICIES {
        index.see(&Event::Delete(policy("shop", &name(number), 1)));
    }
    let known = index.of("shop");
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].spec, ForeignSpec::unknown(MAX_NAMESPACE_BYTES));
    // Once it is told of, it is known.
    index.see(&Event::Apply(policy("shop", &name(MOST_POLICIES), 1)));
    assert_eq!(names(&index, "shop"), [name(MOST_POLICIES)]);
    index.see(&Event::Delete(policy("shop", &name(MOST_POLICIES), 1)));
    assert_eq!(names(&index, "shop"), [""; 0]);
}

// Under a key that all know, two names of one hash can be searched for at leisure.
#[test]
fn names_are_hashed_under_a_key_that_nobody_knows() {
    use std::hash::{DefaultHasher, Hash, Hasher};

    let mut known_to_all = DefaultHasher::new();
    "open".hash(&mut known_to_all);
    assert_ne!(hash("open"), known_to_all.finish());
    // And always the same one: what was counted is found again.
    assert_eq!(hash("open"), hash("open"));
}
