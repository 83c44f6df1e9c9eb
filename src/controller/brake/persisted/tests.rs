mod heirs;
mod keeper;
mod late;
mod pruned;
mod slow;

use std::collections::BTreeSet;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::core::DynamicObject;
use serde_json::json;
use tokio::time::Instant;
use tower::service_fn;

use super::super::Begun;
use super::super::told::WORD_HOLDS;
use super::super::writing::REFUSED_AT_MOST;
use super::*;
use crate::api::Direction;
use crate::controller::cache::Cache;
use crate::controller::canned_server::{Asked, answer_to};
use crate::policy::brake::{Brake, Census, Inherited, MaxUnprotected, Release, WINDOW};
use crate::policy::{Exemptions, Plan};
use crate::telemetry::metrics::{KnownSeries, Metrics};

const ROUND_TRIP: Duration = Duration::from_secs(10);

/// An API server that answers every request so, after a while.
pub fn server(code: u16) -> TierWriter {
    let metrics = Metrics::new(KnownSeries::default()).unwrap();
    TierWriter::new(Client::new(service_fn(answer_of(code)), "default"), Arc::new(metrics))
}

fn answer_of(
    code: u16,
) -> impl Fn(Request<Body>) -> futures::future::BoxFuture<'static, Result<Response<Body>, tower::BoxError>> + Clone {
    move |request| {
        Box::pin(async move {
            let asked = Asked::of(request).await?;
            tokio::time::sleep(ROUND_TRIP).await;
            let answer = answer_to(&asked, code).to_string().into_bytes();
            let answer = Response::builder().status(code).body(Body::from(answer));
            answer.map_err(tower::BoxError::from)
        })
    }
}

pub fn brake_with_a_tier() -> Arc<ReleaseBrake> {
    let cache = Cache::new(Exemptions::new("cofferdam-system", []), (String::new(), String::new()));
    let tier: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": "t", "uid": "uid-t", "resourceVersion": "1"},
        "spec": {"namespaceSelector": {}, "mode": "Enforce"},
    }))
    .unwrap();
    cache.tiers_listed(&[tier]);
    let brake = ReleaseBrake::new(Arc::new(cache), Arc::default(), MaxUnprotected::default());
    Arc::new(brake)
}

fn wanted(namespace: &str) -> Release {
    Release {
        namespace: namespace.to_owned(),
        direction: Direction::Egress,
        policy_uid: "uid".into(),
        tier_uid: "uid-t".into(),
    }
}

/// Every one of so many namespaces may go, and does not yet.
pub fn grants(brake: &ReleaseBrake, count: usize) -> Vec<Vec<Grant>> {
    let mut state = brake.state();
    state.brake = Brake::new(MaxUnprotected::Namespaces(count as u64));
    let mut census = Census::default();
    let names: Vec<_> = (0..count).map(|number| format!("n{number:03}")).collect();
    for name in &names {
        census.set(name, [wanted(name)], Vec::new());
    }
    let now = brake.began.elapsed();
    let admit = |name| state.brake.admit(&census, name, now);
    names.iter().map(String::as_str).map(admit).collect()
}

/// As long as anybody waits.
pub fn later() -> Instant {
    Instant::now() + ROUND_TRIP * 100
}

async fn lands(brake: &Arc<ReleaseBrake>, tiers: &TierWriter, grants: &[Grant]) -> bool {
    matches!(brake.write_down(tiers, grants, later()).await, Word::Told)
}

// Where the tier was gone, and no other stood, releases went without a word.
#[tokio::test(start_paused = true)]
async fn nothing_is_released_without_a_word_in_a_status() {
    for code in [404, 409, 403, 500] {
        let brake = brake_with_a_tier();
        let grants = grants(&brake, 1).remove(0);
        assert_eq!(grants.len(), 1);
        assert!(!lands(&brake, &server(code), &grants).await, "{code}");
    }
}

// The releases were made although nobody had been told.
#[tokio::test(start_paused = true)]
async fn who_finds_a_tier_gone_tells_the_next_or_releases_nothing() {
    for (code, written) in [(200, true), (500, false), (404, false)] {
        let brake = brake_with_a_tier();
        brake.cache.tiers_listed(&[tier("t"), tier("u")]);
        let answer = move |request: Request<Body>| {
            let gone = request.uri().path().ends_with("/t/status");
            tower::ServiceExt::oneshot(service_fn(answer_of(if gone { 404 } else { code })), request)
        };
        let tiers = TierWriter::new(Client::new(service_fn(answer), "default"), server(code).metrics);
        let grants = grants(&brake, 1).remove(0);
        assert_eq!(lands(&brake, &tiers, &grants).await, written, "{code}");
        assert_eq!(&*brake.teller_of(&grants[0]) == "uid-u", written, "{code}");
        assert_eq!(brake.is_told(&*brake.persisted.lock().await, &grants[0]), written);
        // Else what the tier released before was told by nobody, for good: no later look found it untold.
        let untold = brake.untold(&*brake.persisted.lock().await);
        assert_eq!(untold.is_empty(), written, "{code}");
    }
}

// What a tier had told before it was gone, or its heir before it was one, was taken for a word.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_gone_tells_of_nothing_and_its_heir_only_of_what_was_counted_since() {
    let brake = brake_with_a_tier();
    brake.cache.tiers_listed(&[tier("t"), tier("u")]);
    let grants = grants(&brake, 1).remove(0);
    let mut other = grants[0].release.clone();
    (other.namespace, other.tier_uid) = (String::from("other"), "uid-u".into());
    assert!(lands(&brake, &server(200), &grants).await);
    let others = {
        let mut census = Census::default();
        census.set("other", [other], Vec::new());
        brake.state().brake = Brake::new(MaxUnprotected::Namespaces(9));
        brake.state().brake.admit(&census, "other", brake.began.elapsed())
    };
    assert!(lands(&brake, &server(200), &others).await);
    assert!(brake.is_told(&*brake.persisted.lock().await, &others[0]));
    let grants = self::grants(&brake, 1).remove(0);
    assert!(lands(&brake, &server(200), &grants).await);
    brake.cache.tiers_listed(&[tier("u")]);
    assert!(!brake.is_told(&*brake.persisted.lock().await, &grants[0]));
    assert!(!tends(&brake, 500).await);
    assert!(!brake.is_told(&*brake.persisted.lock().await, &grants[0]));
    assert!(tends(&brake, 200).await);
    assert!(brake.is_told(&*brake.persisted.lock().await, &grants[0]));
}

/// Every namespace of the list is confirmed.
fn confirmed(brake: &ReleaseBrake, count: usize) -> Vec<Vec<Grant>> {
    let mut state = brake.state();
    state.brake = Brake::new(MaxUnprotected::Namespaces(0));
    let mut census = Census::default();
    let names: Vec<_> = (0..count).map(|number| format!("n{number:03}")).collect();
    for name in &names {
        census.set(name, [wanted(name)], Vec::new());
    }
    let digest = state.brake.held(&census, Duration::ZERO)["uid-t"].digest.clone();
    census.confirmations.insert("uid-t".into(), digest.as_str().into());
    state.brake.held(&census, Duration::ZERO);
    let admit = |name| state.brake.admit(&census, name, Duration::ZERO);
    names.iter().map(String::as_str).map(admit).collect()
}

pub fn tier(name: &str) -> DynamicObject {
    let metadata = json!({"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1"});
    let spec = json!({"namespaceSelector": {}, "mode": "Enforce"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// Whether nothing is left to be written when the server answers so.
async fn tends(brake: &ReleaseBrake, code: u16) -> bool {
    let mut patience = Patience::default();
    brake.tend(&server(code), &mut patience).await;
    patience.longest().is_zero()
}

// One word for the whole list, and no release before it.
#[tokio::test(start_paused = true)]
async fn what_was_confirmed_is_written_down_once_before_the_first_of_it_is_released() {
    let (brake, started) = (brake_with_a_tier(), Instant::now());
    let grants = confirmed(&brake, 3);
    assert!(grants.iter().all(|grants| grants.len() == 1));
    assert!(!lands(&brake, &server(500), &grants[0]).await);
    assert_eq!(started.elapsed(), ROUND_TRIP);
    tokio::time::sleep(REFUSED_AT_MOST).await;
    let started = started + REFUSED_AT_MOST;
    for grants in &grants {
        assert!(lands(&brake, &server(200), grants).await);
    }
    assert_eq!(started.elapsed(), ROUND_TRIP * 2);
    assert!(tends(&brake, 500).await, "nothing to be written");
    // Taken back: that is written once, too.
    brake.state().brake.held(&Census::default(), Duration::ZERO);
    assert!(!tends(&brake, 500).await);
    assert!(tends(&brake, 200).await);
    assert!(tends(&brake, 500).await, "nothing to be written");
}

// What it had released was forgotten with the process.
#[tokio::test(start_paused = true)]
async fn who_deletes_a_tier_opened_the_window_anew_with_the_next_restart() {
    let brake = brake_with_a_tier();
    brake.state().brake.inherit([Inherited {
        tier_uid: "uid-gone".into(),
        direction: Direction::Egress,
        namespaces: 2,
        until: Duration::from_secs(60),
        unreadable: None,
    }]);
    assert!(!tends(&brake, 500).await);
    assert!(tends(&brake, 200).await);
    assert_eq!(brake.state().brake.recent_of("uid-t"), [(Direction::Egress, 2)].into());
    assert!(tends(&brake, 500).await, "nothing to be written");
}

// Every worker waits for the one that writes: one after the other, they would heal nothing for minutes.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_write_that_fails_does_not_try_too() {
    let (brake, tiers, started) = (brake_with_a_tier(), server(500), Instant::now());
    let grants = grants(&brake, 32);
    let all = grants.iter().map(|grants| brake.write_down(&tiers, grants, later()));
    let results = futures::future::join_all(all).await;
    assert!(results.iter().all(|word| matches!(word, Word::Refused(_))));
    assert!(!lands(&brake, &tiers, &grants[0]).await);
    assert_eq!(started.elapsed(), ROUND_TRIP);
    tokio::time::sleep(REFUSED_AT_MOST).await;
    assert!(!lands(&brake, &tiers, &grants[0]).await);
    assert_eq!(
        started.elapsed(),
        ROUND_TRIP * 2 + REFUSED_AT_MOST,
        "a later one tries again"
    );
}

// All of them sat behind one status that was not answered for, and a new namespace waited until one of them was free.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_word_longer_than_the_bound_and_one_is_under_way() {
    let (brake, tiers, started) = (brake_with_a_tier(), server(200), Instant::now());
    let (grants, bound) = (grants(&brake, 32), Duration::from_millis(250));
    let all = grants
        .iter()
        .map(|grants| brake.write_down(&tiers, grants, started + bound));
    let words = futures::future::join_all(all).await;
    assert!(words.iter().all(|word| matches!(word, Word::NotYet)));
    assert_eq!(started.elapsed(), bound);
    // One word, and all of them are told of by it.
    tokio::time::sleep(ROUND_TRIP).await;
    for grants in &grants {
        let word = brake.write_down(&tiers, grants, Instant::now() + bound).await;
        assert!(matches!(word, Word::Told), "{word:?}");
    }
    assert_eq!(started.elapsed(), bound + ROUND_TRIP);
    // What was counted long ago tells too little of what goes now.
    tokio::time::sleep(WORD_HOLDS).await;
    assert!(!brake.is_told(&*brake.persisted.lock().await, &grants[0][0]));
}

// Whoever may write a status may write any number there.
#[test]
fn absurd_numbers_in_a_status_hold_and_end_no_process() {
    let most = |until: u64| Inherited {
        tier_uid: "uid-t".into(),
        direction: Direction::Egress,
        namespaces: u64::MAX / 2 + 1,
        until: Duration::from_secs(until),
        unreadable: None,
    };
    let mut brake = Brake::new(MaxUnprotected::default());
    brake.inherit([most(10), most(20), most(30)]);
    let mut census = Census::default();
    let release = wanted("n");
    census.set("n", [release], Vec::new());
    assert_eq!(brake.admit(&census, "n", Duration::ZERO), []);
    assert_eq!(brake.recent_of("uid-t")[&Direction::Egress], u64::MAX);
    assert_eq!(brake.admit(&census, "n", Duration::from_secs(30)).len(), 1);
}

// One tier whose status was never taken kept the releases of all others waiting, under its name.
#[tokio::test(start_paused = true)]
async fn who_waits_behind_a_write_of_another_tier_that_fails_writes_its_own() {
    let brake = brake_with_a_tier();
    let grants = grants(&brake, 1).remove(0);
    let failure = Failure {
        reason: words::REQUEST_FAILED,
        message: String::from("status of IsolationTier other"),
        retry_after: None,
    };
    let mut held = brake.persisted.lock().await;
    let waits = tokio::spawn({
        let brake = Arc::clone(&brake);
        async move { lands(&brake, &server(200), &grants).await }
    });
    tokio::task::yield_now().await;
    held.note_refusal(&"uid-other".into(), &failure, brake.began.elapsed());
    drop(held);
    assert!(waits.await.unwrap());
}

// The tier that its place had been handed to was deleted by then: another was written to, which told nothing of it.
#[tokio::test(start_paused = true)]
async fn a_place_that_was_handed_on_is_told_by_who_has_it() {
    let going: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": "u", "uid": "uid-u", "resourceVersion": "1", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["f"]},
        "spec": {"namespaceSelector": {}, "mode": "Enforce"},
    }))
    .unwrap();
    for listed in [vec![going, tier("v")], vec![tier("a"), tier("u")]] {
        let brake = brake_with_a_tier();
        let grants = grants(&brake, 1).remove(0);
        brake.state().brake.hand_on("uid-t", &"uid-u".into());
        brake.cache.tiers_listed(&listed);
        assert!(lands(&brake, &server(200), &grants).await);
        let persisted = brake.persisted.lock().await;
        assert!(brake.is_told(&persisted, &grants[0]), "{persisted:?}");
    }
}

// A deletion that was answered late counted from before it was sent.
#[tokio::test(start_paused = true)]
async fn a_release_counts_from_when_its_deletion_was_answered() {
    let brake = brake_with_a_tier();
    let begun = Begun(grants(&brake, 1).remove(0));
    tokio::time::sleep(ROUND_TRIP).await;
    brake.answered(&begun, &Plan::default(), &BTreeSet::new());
    let mut state = brake.state();
    state.brake.held(&Census::default(), WINDOW + ROUND_TRIP / 2);
    assert_eq!(state.brake.recent_of("uid-t"), [(Direction::Egress, 1)].into());
}
