use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::json;

use super::*;

fn policy(uid: &str, resource_version: u64) -> (PolicyName, ObservedPolicy) {
    let policy: NetworkPolicy = serde_json::from_value(json!({
        "metadata": {
            "name": "cofferdam-baseline-ingress", "namespace": "a",
            "uid": uid, "resourceVersion": resource_version.to_string(),
        },
        "spec": {"podSelector": {}},
    }))
    .unwrap();
    ObservedPolicy::read(policy).unwrap()
}

fn shown(index: &mut PolicyIndex, uid: &str, resource_version: u64) -> bool {
    let (name, policy) = policy(uid, resource_version);
    index.shown("a", name, policy)
}

fn written(index: &mut PolicyIndex, uid: &str, resource_version: u64) {
    let (name, policy) = policy(uid, resource_version);
    index.written("a", name, policy);
}

fn deleted(index: &mut PolicyIndex, uid: &str) {
    index.deleted("a", policy(uid, 0).0, uid);
}

fn shown_deleted(index: &mut PolicyIndex, uid: &str, resource_version: u64) -> bool {
    let (name, policy) = policy(uid, resource_version);
    index.shown_deleted("a", name, &policy)
}

fn version(index: &PolicyIndex) -> Option<String> {
    index
        .observed("a")
        .values()
        .next()
        .map(|policy| policy.resource_version.to_string())
}

#[test]
fn the_echo_of_our_own_write_is_no_news() {
    let mut index = PolicyIndex::default();
    written(&mut index, "one", 5);
    assert!(!shown(&mut index, "one", 5));
    assert!(shown(&mut index, "one", 6), "somebody else's edit is news");
}

#[test]
fn an_echo_that_comes_before_the_answer_leaves_nothing_to_wait_for() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 5);
    written(&mut index, "one", 5);
    assert!(index.acknowledged.is_empty());
}

#[test]
fn only_the_very_revision_that_is_known_is_an_echo() {
    let mut index = PolicyIndex::default();
    written(&mut index, "one", 5);
    let name = policy("one", 5).0;
    for (uid, version) in [("one", "4"), ("one", "6"), ("two", "5")] {
        assert!(!index.is_echo("a", &name, uid, version), "{uid} {version}");
    }
    assert!(index.is_echo("a", &name, "one", "5"));
    assert!(index.acknowledged.is_empty(), "it is shown now");
    assert!(shown(&mut index, "one", 6), "and what follows is news");
}

#[test]
fn an_event_from_before_our_write_is_dropped() {
    let mut index = PolicyIndex::default();
    assert!(shown(&mut index, "one", 3));
    written(&mut index, "one", 5);
    assert!(!shown(&mut index, "one", 4));
    assert_eq!(version(&index).as_deref(), Some("5"));
}

#[test]
fn the_deletion_that_our_create_answered_does_not_remove_what_we_created() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 3);
    written(&mut index, "two", 7);
    assert!(!shown_deleted(&mut index, "one", 6));
    assert_eq!(version(&index).as_deref(), Some("7"));
    assert!(shown_deleted(&mut index, "two", 8));
    assert_eq!(version(&index), None);
}

#[test]
fn what_we_deleted_does_not_come_back_with_late_events() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 3);
    deleted(&mut index, "one");
    assert!(!shown(&mut index, "one", 3));
    assert_eq!(version(&index), None);
    assert!(shown(&mut index, "two", 9), "another object under the name is news");
}

#[test]
fn a_delete_of_an_object_that_is_no_longer_there_removes_nothing_else() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "two", 9);
    deleted(&mut index, "one");
    assert_eq!(version(&index).as_deref(), Some("9"));
}

#[test]
fn a_list_replaces_what_was_known_and_names_what_differs() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 3);
    let (name, other) = policy("other", 2);
    index.shown("gone", name, other);
    index.list_begins();
    let (name, same) = policy("one", 3);
    index.listed("a", name, same);
    assert_eq!(index.list_ends(), ["gone"]);
    assert_eq!(version(&index).as_deref(), Some("3"));
}

#[test]
fn a_write_during_a_list_is_not_undone_by_an_older_page() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 3);
    index.list_begins();
    let (name, page) = policy("one", 3);
    index.listed("a", name, page);
    written(&mut index, "one", 5);
    index.list_ends();
    assert_eq!(version(&index).as_deref(), Some("5"));
    assert!(
        !shown(&mut index, "one", 4),
        "and the watch that follows may still be behind it"
    );
}

// A tenant's automation deletes what it sees appear, and the answer to our create is read only after both events.
#[test]
fn an_answer_that_comes_after_the_end_was_shown_brings_nothing_back() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 5);
    shown_deleted(&mut index, "one", 6);
    written(&mut index, "one", 5);
    assert_eq!(version(&index), None);
    assert!(index.acknowledged.is_empty());
    written(&mut index, "two", 7);
    assert_eq!(version(&index).as_deref(), Some("7"), "what comes later is news");
}

#[test]
fn versions_that_a_list_takes_back_are_news_again() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 50);
    shown_deleted(&mut index, "one", 60);
    // An etcd restored from a backup counts from where the backup ends.
    index.list_begins();
    index.list_ends();
    written(&mut index, "two", 20);
    assert_eq!(version(&index).as_deref(), Some("20"));
}

/// A list beside the watch, made at this version, with these objects of the namespace: uid and version.
fn relist(index: &mut PolicyIndex, version: u64, objects: &[(&str, u64)]) -> Vec<String> {
    index.relist_begins();
    relist_on(index, version, objects)
}

fn relist_on(index: &mut PolicyIndex, version: u64, objects: &[(&str, u64)]) -> Vec<String> {
    index.relist_continues(&version.to_string()).unwrap();
    let mut found = Vec::new();
    for (uid, version) in objects {
        let (name, policy) = policy(uid, *version);
        if index.relist_shows("a", &name, uid, &version.to_string()) {
            index.relist_finds("a", name, policy);
            found.push(String::from("a"));
        }
    }
    found.extend(index.relist_ends());
    found
}

fn relist_is_refused(index: &mut PolicyIndex, version: u64, object: (&str, u64)) -> bool {
    index.relist_begins();
    let refused = index.relist_continues(&version.to_string()) == Err(OlderThanTheWatch);
    let (name, policy) = policy(object.0, object.1);
    let is_news = index.relist_shows("a", &name, object.0, &object.1.to_string());
    index.relist_finds("a", name, policy);
    refused && !is_news && index.relist_ends().is_empty()
}

#[test]
fn a_list_beside_the_watch_that_shows_what_is_known_finds_nothing() {
    let mut index = PolicyIndex::default();
    assert_eq!(relist(&mut index, 9, &[]), [""; 0]);
    shown(&mut index, "one", 5);
    assert_eq!(relist(&mut index, 9, &[("one", 5)]), [""; 0]);
    assert_eq!(version(&index).as_deref(), Some("5"));
    assert!(index.relisting.is_none() && index.acknowledged.is_empty());
}

#[test]
fn what_the_watch_did_not_show_is_found_by_a_list() {
    // An edit, although the watch has shown later events of others.
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 5);
    index.shown("b", policy("other", 8).0, policy("other", 8).1);
    index.relist_begins();
    index.relist_shows("b", &policy("other", 8).0, "other", "8");
    assert_eq!(relist_on(&mut index, 9, &[("one", 7)]), ["a"]);
    assert_eq!(version(&index).as_deref(), Some("7"));
    // A deletion.
    assert!(
        shown_deleted(&mut index, "other", 10),
        "of the one that stands under the name"
    );
    shown(&mut index, "one", 11);
    index.shown("b", policy("other", 12).0, policy("other", 12).1);
    index.relist_begins();
    index.relist_shows("b", &policy("other", 12).0, "other", "12");
    assert_eq!(relist_on(&mut index, 13, &[]), ["a"]);
    assert_eq!(version(&index), None);
    // A creation.
    assert_eq!(relist(&mut index, 15, &[("two", 14)]), ["a", "b"]);
    assert_eq!(version(&index).as_deref(), Some("14"));
}

#[test]
fn what_is_shown_or_acknowledged_while_a_list_is_made_is_not_taken_back() {
    type Change = fn(&mut PolicyIndex, &str, u64);
    let put_shown: Change = |index, name, version| _ = shown(index, name, version);
    let take_shown: Change = |index, name, version| _ = shown_deleted(index, name, version);
    let take_acknowledged: Change = |index, name, _| deleted(index, name);
    for (put, take) in [(put_shown, take_shown), (written, take_acknowledged)] {
        let mut index = PolicyIndex::default();
        shown(&mut index, "one", 5);
        // An edit after the list was made, and before it was read.
        index.relist_begins();
        put(&mut index, "one", 12);
        assert_eq!(relist_on(&mut index, 9, &[("one", 5)]), [""; 0]);
        assert_eq!(version(&index).as_deref(), Some("12"));
        // A deletion, which the list has not seen.
        index.relist_begins();
        take(&mut index, "one", 14);
        assert_eq!(relist_on(&mut index, 13, &[("one", 12)]), [""; 0]);
        assert_eq!(version(&index), None);
        // A creation, which the list has not seen.
        index.relist_begins();
        put(&mut index, "two", 16);
        assert_eq!(relist_on(&mut index, 15, &[]), [""; 0]);
        assert_eq!(version(&index).as_deref(), Some("16"));
    }
}

// The list was ahead of the watch: it was not missed at all.
#[test]
fn what_the_watch_shows_after_a_list_found_it_is_no_news() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 5);
    assert_eq!(relist(&mut index, 9, &[("one", 8)]), ["a"]);
    assert!(!shown(&mut index, "one", 7), "older than what the list showed");
    assert_eq!(version(&index).as_deref(), Some("8"));
    assert!(index.is_echo("a", &policy("one", 8).0, "one", "8"));
    assert!(shown(&mut index, "one", 10));
    // The same for a deletion.
    assert_eq!(relist(&mut index, 12, &[]), ["a"]);
    assert!(!shown(&mut index, "one", 11));
    assert!(!shown_deleted(&mut index, "one", 12));
    assert_eq!(version(&index), None);
    assert!(shown(&mut index, "two", 13));
}

#[test]
fn a_list_that_is_older_than_the_watch_changes_nothing() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 20);
    assert!(relist_is_refused(&mut index, 9, ("other", 5)));
    assert_eq!(version(&index).as_deref(), Some("20"));
    shown_deleted(&mut index, "one", 21);
    assert!(relist_is_refused(&mut index, 20, ("one", 20)));
    assert_eq!(version(&index), None);
    assert_eq!(relist(&mut index, 21, &[]), [""; 0]);
}

#[test]
fn a_list_that_the_watch_makes_meanwhile_ends_the_one_beside_it() {
    let mut index = PolicyIndex::default();
    shown(&mut index, "one", 5);
    index.relist_begins();
    index.list_begins();
    let (name, same) = policy("one", 5);
    index.listed("a", name, same);
    index.list_ends();
    assert_eq!(relist_on(&mut index, 9, &[]), [""; 0]);
    assert_eq!(version(&index).as_deref(), Some("5"));
}

fn bloated(number: usize) -> (PolicyName, ObservedPolicy) {
    let rules: Vec<_> = (0..300).map(|port| json!({"ports": [{"port": port + 1}]})).collect();
    let policy: NetworkPolicy = serde_json::from_value(json!({
        "metadata": {
            "name": format!("cofferdam-allow-{number}"), "namespace": "a", "annotations": {"a": "x".repeat(16_000)},
            "uid": format!("uid-{number}"), "resourceVersion": (number + 1).to_string(),
        },
        "spec": {"podSelector": {}, "ingress": rules},
    }))
    .unwrap();
    ObservedPolicy::read(policy).unwrap()
}

// Who may write policies may write thousands, each with as much beside it as is kept of one; and each look at the namespace
// copies all of them.
#[test]
fn many_policies_of_one_namespace_are_kept_in_as_few_bytes_as_a_plan_needs() {
    let (mut by_events, mut by_a_list) = (PolicyIndex::default(), PolicyIndex::default());
    by_a_list.list_begins();
    for number in 0..500 {
        let (name, policy) = bloated(number);
        by_events.shown("a", name.clone(), policy.clone());
        by_a_list.listed("a", name, policy);
    }
    let (name, base) = policy("base", 5_000);
    by_events.shown("a", name.clone(), base.clone());
    by_a_list.listed("a", name.clone(), base.clone());
    by_a_list.list_ends();
    assert!(base.is_detailed());
    for index in [by_events, by_a_list] {
        let observed = index.observed("a");
        assert_eq!(observed.len(), 501);
        assert_eq!(observed.get(&name), Some(&base), "of a base all is kept");
        let bytes = format!("{observed:?}").len();
        assert!(bytes < 6 << 20, "{bytes} bytes");
    }
}
