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

#[test]
fn versions_that_are_no_numbers_are_taken_as_news() {
    assert!(is_older("9", "10"));
    assert!(!is_older("10", "9"));
    assert!(!is_older("abc", "10"));
    assert!(!is_older("9", "abc"));
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
