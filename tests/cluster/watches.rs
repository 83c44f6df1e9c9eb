//! Watches that end, stall or fail: `/readyz` says so, they are opened again, and nothing that happened meanwhile is lost.

use std::time::Duration;

use serde_json::json;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::fault_proxy::{Answer, EventFault, Events, Fault, Nth, Requests};
use crate::harness::scenario_policies::Governed;
use crate::harness::{ControlPlaneOptions, Controller, FaultProxy, OwnControlPlane};

async fn readiness_is(controller: &Controller, expected: u16, words: &str) {
    let description = format!("/readyz answers {expected} {words}");
    eventually(&description, PATIENCE, || async {
        let (status, body) = controller.get("/readyz").map_err(|error| error.to_string())?;
        if status == expected && body.contains(words) {
            Ok(())
        } else {
            Err(format!("{status} {body}"))
        }
    })
    .await;
}

// Of the DNS Service nothing more comes for days: that the watch works again must not wait for its next event.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_is_ready_again_as_soon_as_it_is_open() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let proxy = FaultProxy::start(&control_plane).await;
    let controller = Controller::start_through(&proxy, &[]).await;
    let governed = Governed::on(&control_plane, "quiet-watch").await;
    for resource in ["services", "networkpolicies"] {
        let refused = proxy.on(
            Requests::watches().of(resource),
            Nth::every(),
            Fault::Answer(Answer::usual(503)),
        );
        proxy.close_watches(Requests::watches().of(resource));
        readiness_is(&controller, 503, "unable to handle the request").await;
        if resource == "networkpolicies" {
            governed
                .merge("cofferdam-baseline-ingress", json!({"spec": {"ingress": [{}]}}))
                .await;
        }
        refused.lift();
        readiness_is(&controller, 200, "ok").await;
    }
    governed.is_healed(&controller, "modified", 1).await;
    governed.verdict().await;
}

// Longer than a watch may be silent: then it is dead, and opened again.
const AFTER_SILENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_watch_of_policies_the_event_it_ended_with_is_not_lost() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let proxy = FaultProxy::start(&control_plane).await;
    let controller = Controller::start_through(&proxy, &[]).await;
    let governed = Governed::on(&control_plane, "ending-watch").await;
    let policies = || Requests::watches().of("networkpolicies");
    let edited = || Events::of_kind("MODIFIED").in_namespace(&governed.name);
    for (fault, healed) in [
        EventFault::Close,
        EventFault::Reset,
        EventFault::Truncate,
        EventFault::Expired,
        EventFault::Silence,
    ]
    .into_iter()
    .zip(1..)
    {
        let rule = proxy.on_events(policies(), edited(), Nth::only(1), fault);
        // Where the watch is opened again from a version that has expired meanwhile, too.
        let expired = proxy.on(policies(), Nth::only(1), Fault::Answer(Answer::usual(410)));
        governed
            .merge("cofferdam-baseline-egress", json!({"spec": {"egress": [{}]}}))
            .await;
        let description = format!("healed after {fault:?}");
        eventually(&description, AFTER_SILENCE, || async {
            let healed_now = controller
                .metrics()
                .sum("cofferdam_drift_corrected_total", &[("tier", &governed.name)]);
            if healed_now >= f64::from(healed) {
                Ok(())
            } else {
                Err(format!("{healed_now} heals"))
            }
        })
        .await;
        governed.is_healed(&controller, "modified", healed).await;
        assert_eq!(rule.struck(), 1, "{fault:?}");
        readiness_is(&controller, 200, "ok").await;
        rule.lift();
        expired.lift();
    }
    governed.verdict().await;
}
