use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use serde_json::json;
use tokio::time::Instant;
use tower::service_fn;

use super::*;
use crate::policy::{Cause, Exemptions, Facts, ObservedPolicies, ParsedTier, World, plan};

const ROUND_TRIP: Duration = Duration::from_millis(10);

/// An API server that grants everything, each after a round trip.
fn slow_server() -> Client {
    server_that_releases_after(ROUND_TRIP)
}

/// Deletions in namespace `released` take so long.
fn server_that_releases_after(took: Duration) -> Client {
    let answer = move |request: Request<Body>| async move {
        let releases = *request.method() == http::Method::DELETE && request.uri().path().contains("/released/");
        tokio::time::sleep(if releases { took } else { ROUND_TRIP }).await;
        let body = match *request.method() {
            http::Method::DELETE => String::from(r#"{"kind":"Status","apiVersion":"v1","status":"Success"}"#),
            _ => String::from_utf8_lossy(&request.into_body().collect_bytes().await.unwrap()).into_owned(),
        };
        Ok::<_, tower::BoxError>(Response::new(Body::from(body.into_bytes())))
    };
    Client::new(service_fn(answer), "default")
}

fn namespace(name: &str) -> Namespace {
    Namespace {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        labels: [].into(),
        created: None,
        terminating: false,
    }
}

fn clearings(count: usize) -> Plan {
    let removal = |number| Removal {
        name: PolicyName::reserved(&format!("cofferdam-allow-{number}")).unwrap(),
        uid: "uid".into(),
        resource_version: "1".into(),
        cause: Cause::Pending,
        releases_from: None,
    };
    Plan {
        removals: (0..count).map(removal).collect(),
        ..Plan::default()
    }
}

/// What becomes of removals alone.
async fn removed(
    writer: &Writer,
    cache: &Cache,
    namespace: &Namespace,
    plan: &Plan,
    release_until: Option<Instant>,
) -> Outcome {
    let (mut outcome, until) = (Outcome::default(), release_until.map(Instant::into_std));
    let remove = writer.remove(cache, namespace, &plan.removals, until, &mut outcome);
    remove.await;
    outcome
}

fn release() -> Plan {
    Plan {
        removals: vec![Removal {
            name: PolicyName::baseline(crate::api::Direction::Egress),
            ..clearings(1).removals.remove(0)
        }],
        ..Plan::default()
    }
}

/// Both bases are to be created.
fn first_plan_of(namespace: &Namespace) -> Plan {
    let metadata = serde_json::from_value(json!({"name": "t", "uid": "uid-t"})).unwrap();
    let spec = json!({"namespaceSelector": {}, "mode": "Enforce"});
    let tier = ParsedTier::parse(&metadata, &spec);
    let world = World::new([tier], Facts::unread(), Exemptions::new("cofferdam-system", []));
    plan(&world, namespace, &ObservedPolicies::new(), None)
}

// A tenant who creates thousands of policies under reserved names has them deleted, beside the others and not before them.
#[tokio::test(start_paused = true)]
async fn one_namespace_with_thousands_of_changes_keeps_no_other_waiting() {
    let writer = Writer::new(slow_server(), 32);
    let cache = Cache::new(Exemptions::new("cofferdam-system", []), (String::new(), String::new()));
    let (crowded, small) = (namespace("crowded"), namespace("small"));
    let (thousands, one) = (clearings(3000), clearings(1));
    let crowded = removed(&writer, &cache, &crowded, &thousands, None);
    let small = async {
        // The other was there first.
        tokio::time::sleep(ROUND_TRIP / 2).await;
        let started = Instant::now();
        let outcome = removed(&writer, &cache, &small, &one, None).await;
        (outcome, started.elapsed())
    };
    let (crowded, (small, took)) = tokio::join!(crowded, small);
    assert_eq!((crowded.committed.len(), small.committed.len()), (3000, 1));
    assert!(took <= ROUND_TRIP * 2, "waited {took:?}");
}

// All that may be in flight is taken by requests that hang, and the read before the release gets old meanwhile.
#[tokio::test(start_paused = true)]
async fn a_release_that_waited_for_its_turn_is_not_made_on_an_old_read() {
    let writer = Writer::new(slow_server(), 1);
    let cache = Cache::new(Exemptions::new("cofferdam-system", []), (String::new(), String::new()));
    let (crowded, released) = (namespace("crowded"), namespace("released"));
    let release = release();
    for (in_time, committed) in [(ROUND_TRIP * 9, 1), (ROUND_TRIP * 3, 0)] {
        let now = Instant::now();
        let until = Some(now + in_time);
        let some = clearings(5);
        let crowded = removed(&writer, &cache, &crowded, &some, until);
        let (_, outcome) = tokio::join!(crowded, removed(&writer, &cache, &released, &release, until));
        assert_eq!(
            (outcome.committed.len(), outcome.must_replan),
            (committed, committed == 0)
        );
    }
}

// A webhook that hangs took all that may be in flight, and then all that may be deleted.
#[tokio::test(start_paused = true)]
async fn releases_that_hang_leave_room_for_what_closes_and_for_other_deletions() {
    let hangs = Duration::from_secs(9);
    let writer = Writer::new(server_that_releases_after(hangs), 4);
    let cache = Cache::new(Exemptions::new("cofferdam-system", []), (String::new(), String::new()));
    let (released, new, until) = (namespace("released"), namespace("new"), Some(Instant::now() + hangs));
    let mut release = release();
    release.removals.extend(clearings(8).removals);
    let writes = first_plan_of(&namespace("new"));
    let releases = (0..8).map(|_| removed(&writer, &cache, &released, &release, until));
    let closes = async {
        tokio::time::sleep(ROUND_TRIP).await;
        let started = Instant::now();
        let written = writer.write(&cache, &new, &writes).await;
        let deleted = removed(&writer, &cache, &new, &clearings(1), None).await;
        (written, deleted, started.elapsed())
    };
    let (_, (written, deleted, took)) = tokio::join!(futures::future::join_all(releases), closes);
    assert_eq!(
        (written.committed.len(), written.failure),
        (writes.writes().count(), None)
    );
    assert_eq!((deleted.committed.len(), deleted.failure), (1, None));
    assert!(took <= ROUND_TRIP * 5, "waited {took:?}");
}
