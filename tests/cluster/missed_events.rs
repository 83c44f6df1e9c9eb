//! An event that no watch shows: what it told of is found by the list beside the watch, counted as the drift that it is, and
//! healed.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::eventually::{PATIENCE, eventually, holds_for};
use crate::harness::fault_proxy::{EventFault, Events, Nth, Requests};
use crate::harness::scenario_policies::Governed;
use crate::harness::{ControlPlaneOptions, Controller, FaultProxy, OwnControlPlane};

const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_swallowed_event_told_of_is_found_counted_and_healed() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let proxy = FaultProxy::start(&control_plane).await;
    // Rarely enough that what heals here is not the first list, which may come at once.
    let patient = Controller::start_through(&proxy, &["--relist-interval", "24h"]).await;
    let governed = Governed::on(&control_plane, "swallowed").await;
    let swallow = |kind: &'static str, name: &str| {
        let event = Events::of_kind(kind).in_namespace(&governed.name).named(name);
        proxy.on_events(
            Requests::watches().of("networkpolicies"),
            event,
            Nth::only(1),
            EventFault::Swallow,
        )
    };
    let policies: Api<NetworkPolicy> = Api::namespaced(governed.admin.clone(), &governed.name);

    // Without a list it would stay: this is what the rest of the scenario is about.
    let swallowed = swallow("MODIFIED", INGRESS);
    governed.merge(INGRESS, json!({"spec": {"ingress": [{}]}})).await;
    eventually("the event is swallowed", PATIENCE, || async {
        match swallowed.struck() {
            1 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await;
    holds_for("nobody knows", std::time::Duration::from_secs(3), || async {
        let ingress = policies.get(INGRESS).await.map_err(|error| error.to_string())?;
        let rules = ingress.spec.and_then(|spec| spec.ingress).unwrap_or_default();
        match rules.first() {
            Some(rule) if rule.from.is_none() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(patient.sigterm().await, 0);

    let controller = Controller::start_through(&proxy, &["--relist-interval", "1s", "--audit-interval", "1s"]).await;
    governed.is_healed(&controller, "modified", 1).await;

    let swallowed = [swallow("MODIFIED", EGRESS), swallow("DELETED", INGRESS)];
    governed.merge(EGRESS, json!({"spec": {"egress": [{}]}})).await;
    governed.drift_is(&controller, &[("modified", 2)]).await;
    policies.delete(INGRESS, &DeleteParams::default()).await.unwrap();
    governed.drift_is(&controller, &[("modified", 2), ("missing", 1)]).await;
    governed.is_as_rendered().await;
    governed.drift_is(&controller, &[("modified", 2), ("missing", 1)]).await;
    assert_eq!(swallowed.map(|rule| rule.struck()), [1, 1], "{:#?}", proxy.story());
    governed.verdict().await;
}
