//! What a tier released is told by another once it is gone.

use kube::{Api, ResourceExt};
use serde_json::json;

use cofferdam::api::{IsolationTier, IsolationTierStatus};

use super::held_or_released::{are_held, both_directions, verdict};
use crate::harness::eventually::PATIENCE;
use crate::harness::fault_proxy::{Fault, FaultProxy, Moment, Nth, Requests};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{apply_tier, delete_tier, eventually_status, policies_of, selecting, set_labels};
use crate::harness::{ControlPlaneOptions, Controller, OwnControlPlane, eventually};

const LIMIT: [&str; 1] = ["--max-unprotected=2"];

// The finalizer came off, and the next process found nobody who told of what the tier had released.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_as_soon_as_a_tier_may_go_forgot_what_it_had_released() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let admin = control_plane.admin().await;
    let proxy = FaultProxy::start(&control_plane).await;
    let mut controller = Controller::start_through(&proxy, &LIMIT).await;
    let mut names = Vec::new();
    for (tier, rest) in [("stays", ""), ("going", "deletionPolicy: Remove\n")] {
        apply_tier(&admin, tier, &selecting(tier, &format!("mode: Enforce\n{rest}"))).await;
        names.extend(create_namespaces(&admin, tier, &[("scenario", tier)], 2).await);
        let both = |status: &IsolationTierStatus| status.namespaces.is_some_and(|counts| counts.protected == 2);
        eventually_status(&admin, tier, "both are protected", both).await;
    }
    let tiers: Api<IsolationTier> = Api::all(admin.clone());
    eventually("the finalizer is there", PATIENCE, || async {
        let going = tiers.get_metadata("going").await.map_err(|error| error.to_string())?;
        (!going.finalizers().is_empty()).then_some(()).ok_or_else(String::new)
    })
    .await;
    let of_the_finalizer = Requests::with(&["patch"]).of("isolationtiers").named("going");
    let crash = proxy.on(of_the_finalizer, Nth::only(1), Fault::Crash(Moment::AfterCommit));
    delete_tier(&admin, "going", kube::api::PropagationPolicy::Background).await;
    controller.wait_until_ended().await;
    assert_eq!(crash.struck(), 1);

    let (stays, gone) = names.split_at(2);
    controller = Controller::start_through(&proxy, &LIMIT).await;
    for name in stays {
        set_labels(&admin, name, json!({"scenario": null})).await;
    }
    are_held(&admin, "stays", 2).await;
    for name in stays {
        assert_eq!(policies_of(&admin, name).await.unwrap().len(), 2, "{name}");
    }
    drop(controller);
    verdict(&control_plane, &names, &both_directions(gone)).await;
}
