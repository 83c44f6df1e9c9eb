mod annotation;

use std::collections::BTreeSet;

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::told::releases_of;
use super::*;
use crate::policy::brake::WINDOW;

/// A tier whose status says this of releases.
fn tier(name: &str, releases: &Value) -> DynamicObject {
    let metadata = json!({"name": name, "uid": name});
    serde_json::from_value(json!({"metadata": metadata, "status": {"releases": releases}})).unwrap()
}

// It counted as if nothing had been released.
#[tokio::test]
async fn a_status_that_cannot_be_read_opened_the_window_anew() {
    let brake = super::super::persisted::tests::brake_with_a_tier();
    assert!(!brake.has_learned());
    let good = json!({"ingress": 2, "egress": 1, "latestTime": Timestamp::now().to_string()});
    brake
        .inherit_from(&[tier("good", &good), tier("bad", &json!({"ingress": -1}))])
        .await;
    assert!(brake.has_learned());
    let state = brake.state();
    let most = [(Direction::Ingress, u64::MAX), (Direction::Egress, u64::MAX)];
    assert_eq!(state.brake.recent_of("bad"), most.into());
    let counted = [(Direction::Ingress, 2), (Direction::Egress, 1)];
    assert_eq!(state.brake.recent_of("good"), counted.into());
    let tiers: BTreeSet<_> = state.brake.tiers_of_late();
    assert_eq!(tiers.len(), 2);
}

// It was written anew by each process, with the time of that: who restarts every nine minutes never released anything again.
#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_read_held_releases_for_ten_minutes_more_with_each_restart() {
    let mut releases = json!({"ingress": -1, "egress": 1, "latestTime": Timestamp::now().to_string()});
    for restarts in 0..4 {
        let brake = super::super::persisted::tests::brake_with_a_tier();
        brake.inherit_from(&[tier("t", &releases)]).await;
        let minutes = |minutes: u64| brake.began.elapsed() + Duration::from_secs(60 * minutes);
        let left = brake.state().brake.unreadable_until("t").unwrap() - brake.began.elapsed();
        let expected = WINDOW - Duration::from_secs(120 * restarts);
        assert!(
            left.abs_diff(expected) < Duration::from_secs(32),
            "{restarts}: {left:?}"
        );
        // The process writes it, which reads the same at the end of its two minutes.
        releases = releases_of(&brake.state().brake, "t", minutes(1));
        assert_eq!(releases["ingress"], json!(i64::MAX));
        let written: Timestamp = serde_json::from_value(releases["latestTime"].clone()).unwrap();
        releases["latestTime"] = json!((written - SignedDuration::from_secs(60)).to_string());
    }
    releases["latestTime"] = json!((Timestamp::now() - SignedDuration::from_secs(633)).to_string());
    let brake = super::super::persisted::tests::brake_with_a_tier();
    brake.inherit_from(&[tier("t", &releases)]).await;
    assert_eq!(brake.state().brake.recent_of("t").values().max(), None);
}

// Thousands that waited were planned ten times a second each, for as long as the list was refused.
#[tokio::test(start_paused = true)]
async fn who_waits_for_what_cannot_be_read_looks_ever_again_without_hurry() {
    let brake = super::super::persisted::tests::brake_with_a_tier();
    assert_eq!(brake.early_look(), EARLY_LOOK);
    tokio::time::advance(EARLY).await;
    assert_eq!(brake.early_look(), HELD_LOOK);
}

#[tokio::test(start_paused = true)]
async fn readiness_says_why_it_is_not_known_what_earlier_processes_released() {
    let brake = super::super::persisted::tests::brake_with_a_tier();
    assert_eq!(brake.why_not_learned(), None);
    let refused = super::super::persisted::tests::server(403).client;
    let learning = Arc::clone(&brake).learn_of_earlier_processes(refused);
    assert!(tokio::time::timeout(Duration::from_secs(60), learning).await.is_err());
    let why = brake.why_not_learned().unwrap();
    assert!(why.contains("cannot list isolationtiers: "), "{why}");
}
