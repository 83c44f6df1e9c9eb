//! What the sweep, the histories and the scenarios of this directory found: each bug has a test with its name.

use std::time::{Duration, Instant};

use kube::api::DeleteParams;

use super::stage::Stage;
use super::workload::Workload;
use crate::harness::Observer;
use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::fault_proxy::{Answer, Fault, Moment, Nth, RequestRule, Requests};

const INGRESS: &str = "cofferdam-baseline-ingress";

async fn settled_on(workload: Workload) -> (Stage, usize) {
    let mut stage = Stage::start().await;
    let begin = stage.wipe().await;
    workload.set_up(&stage).await;
    stage.start_controller(&[]).await;
    stage.settle().await.unwrap();
    (stage, begin)
}

/// In the right state, and in none that is wrong before.
async fn ends_well(stage: &mut Stage, begin: usize) {
    stage.settle().await.unwrap();
    let events = stage.control_plane.audit_log().settled(&stage.control_plane).await;
    assert_eq!(
        Observer::of(["alpha", "beta"]).since(begin).violations_in(&events),
        [""; 0]
    );
}

async fn struck(rule: &RequestRule, times: usize) {
    eventually(&format!("the fault came {times} times"), PATIENCE, || async {
        if rule.struck() >= times {
            Ok(())
        } else {
            Err(format!("{} times", rule.struck()))
        }
    })
    .await;
}

// Found by killing the API server under load: what had failed meanwhile waited for its back-off, up to 30 s, with the
// direction open and the server there.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_stayed_open_for_the_rest_of_its_back_off_after_an_outage_had_ended() {
    let (mut stage, begin) = settled_on(Workload::Edit).await;
    let unavailable = || Fault::Answer(Answer::usual(503));
    let writes = Requests::writes().of("networkpolicies");
    let refused = stage.proxy.on(writes, Nth::every(), unavailable());
    stage
        .policies("alpha")
        .delete(INGRESS, &DeleteParams::default())
        .await
        .unwrap();
    // After nine failures the next attempt is more than nine seconds away.
    struck(&refused, 9).await;
    let outage = stage.proxy.on(Requests::any(), Nth::every(), unavailable());
    stage.proxy.close_watches(Requests::watches());
    struck(&outage, 1).await;

    stage.proxy.lift_all();
    let ended = Instant::now();
    let policies = stage.policies("alpha");
    eventually("the namespace is closed again", PATIENCE, || async {
        let found = policies.get_opt(INGRESS).await.map_err(|error| error.to_string())?;
        found.map(|_| ()).ok_or_else(String::new)
    })
    .await;
    let took = ended.elapsed();
    // Watches are opened again every two seconds at the latest.
    assert!(took < Duration::from_secs(5), "closed {took:?} after the outage");
    ends_well(&mut stage, begin).await;
}

// Found by reading what a stale API server made of a release: between the read that confirmed it and the delete, other
// writes of the same plan took as long as they liked. Six seconds are more than such a read is good for, and less than a
// request may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_was_made_on_a_read_that_a_slow_write_had_made_old() {
    let (mut stage, _) = settled_on(Workload::Edit).await;
    // The ingress rules change and egress ends, in one plan: a write first, then the release.
    let slow = stage.proxy.on(
        Requests::with(&["update"])
            .of("networkpolicies")
            .named(INGRESS)
            .in_namespace("alpha"),
        Nth::only(1),
        Fault::Stall(Moment::BeforeForwarding),
    );
    Workload::apply_ingress_alone(&stage).await;
    struck(&slow, 1).await;
    Workload::Edit.set_up(&stage).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    slow.lift();
    stage.settle().await.unwrap();
    let events = stage.control_plane.audit_log().settled(&stage.control_plane).await;
    let released = events
        .iter()
        .filter(|event| event.verb == "delete" && event.namespace == "alpha");
    let released: Vec<_> = released
        .filter(|event| event.resource == "networkpolicies" && event.name == "cofferdam-baseline-egress")
        .map(|event| event.summary())
        .collect();
    assert_eq!(released, [""; 0]);
}

// Found by a plan: a 404, once, to the question whether the definition stands, and no tier was enforced any more until
// somebody touched one.
#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_answer_about_the_definition_of_tiers_ended_the_government_of_all() {
    let (mut stage, begin) = settled_on(Workload::HandOver).await;
    let definition = Requests::with(&["get"]).of("customresourcedefinitions");
    let wrong = stage
        .proxy
        .on(definition, Nth::only(1), Fault::Answer(Answer::usual(404)));
    Workload::HandOver.change(&mut stage).await;
    struck(&wrong, 1).await;
    ends_well(&mut stage, begin).await;
}

// Found by a plan: after the crash the rest of the list was another list, with another digest.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_release_that_a_crash_cut_short_was_held_again() {
    let mut stage = Stage::start().await;
    stage.wipe().await;
    Workload::Confirm.set_up(&stage).await;
    let arguments = [Workload::Confirm.arguments(), &["--concurrency", "1"]].concat();
    stage.start_controller(&arguments).await;
    stage.settle().await.unwrap();
    let writes = Requests::writes().of("networkpolicies");
    stage
        .proxy
        .on(writes, Nth::only(5), Fault::Crash(Moment::BeforeForwarding));
    Workload::Confirm.change(&mut stage).await;
    stage.settle().await.unwrap();
}
