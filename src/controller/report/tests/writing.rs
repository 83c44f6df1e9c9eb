//! What is written, and what is not, depending on what the API server answers.

use super::*;
use crate::controller::canned_server::CannedServer;

fn events(server: &CannedServer) -> Events {
    Events::new(server.client(), server.tier_writer().metrics).0
}

/// A minute of a process, for which the server's answer does not change.
async fn a_minute_of(reporter: &Arc<Reporter>, server: &CannedServer) {
    reporter.look();
    let running = Arc::clone(reporter).run(server.tier_writer(), events(server));
    assert!(tokio::time::timeout(Duration::from_secs(60), running).await.is_err());
}

fn statuses(server: &CannedServer) -> Vec<Value> {
    let asked = server.asked().into_iter();
    let statuses = asked.filter(|asked| asked.path.ends_with("/status"));
    statuses.map(|mut asked| asked.body["status"].take()).collect()
}

/// The only tier, with this status; or, on its way out, with this one.
fn with_status(departs: bool, status: Value) -> DynamicObject {
    let mut tier = tier(0);
    tier["status"] = status;
    if departs {
        tier["metadata"]["deletionTimestamp"] = json!("2026-11-25T18:20:00Z");
        tier["metadata"]["finalizers"] = json!(["cofferdam.dev/handover"]);
        tier["spec"]["deletionPolicy"] = json!("Remove");
    }
    read(tier)
}

// Nothing was said of any tier, and no finalizer put on, for as long as the list of tiers was refused.
#[tokio::test(start_paused = true)]
async fn no_status_was_written_while_it_was_not_known_what_earlier_processes_released() {
    let (server, reporter) = (CannedServer::answering(403), Arc::new(built(1, 1, 0)));
    a_minute_of(&reporter, &server).await;
    assert_ne!(statuses(&server), Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn a_status_that_says_held_stands_until_it_is_known_what_earlier_processes_released() {
    for (departs, reason, is_written) in [
        (false, "Held", false),
        (false, "Failed", true),
        (true, "Held", false),
        (true, "Failed", true),
    ] {
        let (server, reporter) = (CannedServer::answering(403), Arc::new(built(1, 1, 0)));
        let ready = json!({"type": "Ready", "status": "False", "reason": reason, "message": "as it was",
            "observedGeneration": 1, "lastTransitionTime": "2026-11-25T18:20:00Z"});
        let stands = json!({"observedGeneration": 1, "conditions": [ready]});
        reporter.cache.tiers_listed(&[with_status(departs, stands)]);
        a_minute_of(&reporter, &server).await;
        let statuses = statuses(&server);
        assert_eq!(!statuses.is_empty(), is_written, "{departs} {reason}: {statuses:?}");
    }
}

/// A tier that lets go of all its namespaces, which is more than may go, with this said of it.
fn held(confirmed: &Value) -> Reporter {
    let reporter = built(1, 100, 0);
    let mut tier = tier(0);
    tier["spec"]["namespaceSelector"] = json!({"matchLabels": {"tier": "none"}});
    tier["metadata"]["annotations"] = json!({"cofferdam.dev/confirm": confirmed});
    reporter.cache.tiers_listed(&[read(tier)]);
    reporter
}

async fn learned(reporter: &Reporter, server: &CannedServer) {
    let learning = Arc::clone(&reporter.brake).learn_of_earlier_processes(server.client());
    tokio::spawn(learning);
    let learned = tokio::time::timeout(Duration::from_secs(60), reporter.brake.learned());
    assert!(learned.await.is_ok());
}

// What was confirmed to an earlier process would be taken for a new confirmation.
#[tokio::test(start_paused = true)]
async fn nothing_is_confirmed_before_it_is_known_what_was_confirmed_to_earlier_processes() {
    let server = CannedServer::answering(200);
    let twin = held(&json!("not yet"));
    learned(&twin, &server).await;
    let digest = twin.brake.held()["t0"].digest.clone();
    let reporter = Arc::new(held(&json!(digest)));
    let releases = || {
        let of_statuses = statuses(&server)
            .into_iter()
            .map(|mut status| status["releases"].take());
        of_statuses.filter(|releases| !releases.is_null()).collect::<Vec<_>>()
    };
    a_minute_of(&reporter, &server).await;
    assert_eq!(releases(), Vec::<Value>::new());
    learned(&reporter, &server).await;
    a_minute_of(&reporter, &server).await;
    assert_eq!(releases()[0]["confirmed"]["digest"], digest);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_is_read_at_once_when_the_api_server_is_back() {
    let (server, reporter) = (CannedServer::answering(403), built(1, 1, 0));
    tokio::spawn(Arc::clone(&reporter.brake).learn_of_earlier_processes(server.client()));
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = server.asked().len();
    while server.asked().len() == asked {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    server.answer(200);
    assert!(!learns_within(&reporter, Duration::from_secs(10)).await, "by itself");
    reporter.retry_now();
    assert!(learns_within(&reporter, Duration::from_secs(1)).await);
}

async fn learns_within(reporter: &Reporter, time: Duration) -> bool {
    tokio::time::timeout(time, reporter.brake.learned()).await.is_ok()
}

/// That something failed is known, or is not any more.
struct Failures {
    began: tokio::time::Instant,
    patiences: Patiences,
}

impl Failures {
    fn none() -> Self {
        Self {
            began: tokio::time::Instant::now(),
            patiences: Patiences::default(),
        }
    }

    /// Until the next may be tried.
    async fn are_known(&mut self) -> bool {
        let next = self.patiences.next(self.began);
        tokio::time::advance(Duration::from_secs(60)).await;
        next.is_some()
    }
}

// Who was refused once would wait longer the next time, months later.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_taken_or_stands_forgives_what_failed() {
    for departs in [false, true] {
        let (server, reporter) = (CannedServer::answering(403), built(1, 1, 0));
        let (tiers, events, mut failures) = (server.tier_writer(), events(&server), Failures::none());
        reporter.cache.tiers_listed(&[with_status(departs, Value::Null)]);
        for (code, fails) in [(403, true), (200, false), (403, true)] {
            server.answer(code);
            reporter.report(&tiers, &events, &mut failures.patiences.statuses).await;
            assert_eq!(failures.are_known().await, fails, "{departs} {code}");
        }
        let landed = statuses(&server).pop().unwrap();
        reporter.cache.tiers_listed(&[with_status(departs, landed)]);
        reporter.report(&tiers, &events, &mut failures.patiences.statuses).await;
        assert!(!failures.are_known().await, "{departs}");
        assert_eq!(statuses(&server).len(), 3, "{departs}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_that_is_taken_or_is_there_forgives_what_failed() {
    let (server, reporter) = (CannedServer::answering(403), built(1, 1, 0));
    let (tiers, mut failures) = (server.tier_writer(), Failures::none());
    let mut takes_along = tier(0);
    takes_along["spec"]["deletionPolicy"] = json!("Remove");
    reporter.cache.tiers_listed(&[read(takes_along.clone())]);
    for (code, fails) in [(403, true), (200, false), (403, true)] {
        server.answer(code);
        reporter
            .handover
            .settle(&tiers, &mut failures.patiences.finalizers)
            .await;
        assert_eq!(failures.are_known().await, fails, "{code}");
    }
    takes_along["metadata"]["finalizers"] = json!(["cofferdam.dev/handover"]);
    reporter.cache.tiers_listed(&[read(takes_along)]);
    reporter
        .handover
        .settle(&tiers, &mut failures.patiences.finalizers)
        .await;
    assert!(!failures.are_known().await);
    assert_eq!(server.asked().len(), 3);
}
