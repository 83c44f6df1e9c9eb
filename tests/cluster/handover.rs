//! `deletionPolicy: Remove`: a deleted tier hands its namespaces over in place, releases what no tier takes, and only then
//! goes.

mod departure;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;

use cofferdam::api::{Direction, IsolationTier};

use self::departure::{Departure, FINALIZER, REMOVE, finalizers, has_finalizer, is_gone, patch_tier, without_owner};
use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{
    BOTH_BASES, ONE_WRITE_A_DIRECTION, apply_tier, delete_tier, eventually_governed, eventually_policies,
    eventually_status_within, is_condition, mark, policies_of, selecting, settled_writes, tier_uid,
};
use crate::harness::{Controller, Observer, eventually};

const CRD: &str = "isolationtiers.cofferdam.dev";
const CASCADES: [PropagationPolicy; 3] = [
    PropagationPolicy::Background,
    PropagationPolicy::Foreground,
    PropagationPolicy::Orphan,
];
/// How a tier is deleted, and which policies have then lost their reference to it; in the foreground any of them may have.
///
/// As the handover's finalizer keeps the tier, a controller may find the reference on all, on some and on none.
const CASCADES_AND_STRIPPED: [(&str, Option<&[&str]>); 4] = [
    ("background", Some(&[])),
    ("background", Some(&[BOTH_BASES[0]])),
    ("foreground", None),
    ("orphan", Some(&BOTH_BASES)),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tier_hands_over_and_removes_in_every_cascade() {
    let departure = Departure::prepare().await;
    let _controller = Controller::start(&departure.control_plane, &[]).await;
    for cascade in CASCADES {
        departure.tier_governs().await;
        let start = mark(&departure.control_plane).await;
        delete_tier(&departure.admin, "going", cascade.clone()).await;
        departure.is_over().await;
        let writes = settled_writes(&departure.control_plane, start, "taken").await;
        let committed: Vec<_> = writes.into_iter().filter(|line| !line.ends_with(" 409")).collect();
        assert_eq!(committed, ONE_WRITE_A_DIRECTION, "{cascade:?}");
    }
    departure.verdict(CASCADES.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_deleted_while_nobody_runs_waits_for_the_controller() {
    let departure = Departure::prepare().await;
    for (cascade, stripped) in CASCADES_AND_STRIPPED {
        let controller = Controller::start(&departure.control_plane, &[]).await;
        departure.tier_governs().await;
        let going = tier_uid(&departure.admin, "going").await;
        assert_eq!(controller.sigterm().await, 0);
        departure.request_deletion(cascade);
        departure.waits_for_the_handover_alone().await;
        if let ("background", Some(stripped)) = (cascade, stripped) {
            departure.strip(&going, stripped).await;
        }
        let policies = policies_of(&departure.admin, "left").await.unwrap();
        assert_eq!(policies.keys().collect::<Vec<_>>(), BOTH_BASES);
        if let Some(stripped) = stripped {
            assert_eq!(without_owner(&policies, &going), stripped, "{cascade}");
        }
        let controller = Controller::start(&departure.control_plane, &[]).await;
        departure.is_over().await;
        assert_eq!(controller.sigterm().await, 0);
    }
    departure.verdict(CASCADES_AND_STRIPPED.len()).await;
}

// Ended at some write of many, and started again, until everything is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_between_the_writes_goes_on_where_it_was() {
    let departure = Departure::prepare().await;
    let mut controller = Controller::start(&departure.control_plane, &[]).await;
    departure.tier_governs().await;
    let many: Vec<String> = (0..40).map(|number| format!("many-{number}")).collect();
    for name in &many {
        create_namespace(&departure.admin, name, &[("scenario", "both")]).await;
    }
    for name in &many {
        eventually_governed(&departure.admin, name, "going", &BOTH_BASES).await;
    }
    let left = async || {
        let mut left = 0;
        for name in &many {
            left += policies_of(&departure.admin, name).await.unwrap().len();
        }
        left
    };
    // Frozen while it is deleted, so that the first kill comes at the first writes.
    controller.stop();
    departure.request_deletion("background");
    controller.cont();
    for part in [70, 40, 10] {
        while left().await > part {
            tokio::task::yield_now().await;
        }
        controller.kill9();
        controller = Controller::start(&departure.control_plane, &[]).await;
    }
    departure.is_over().await;
    assert_eq!(left().await, 0);
    let mut observer = Observer::of(many.iter().cloned().chain(["taken".to_owned(), "left".to_owned()]));
    for name in many.iter().map(String::as_str).chain(["left"]) {
        for direction in Direction::ALL {
            observer = observer.expect_release(name, direction);
        }
    }
    observer.verdict(&departure.control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_finalizer_comes_and_goes_with_the_policy_and_leaves_others_alone() {
    let departure = Departure::prepare().await;
    let _controller = Controller::start(&departure.control_plane, &[]).await;
    let admin = &departure.admin;
    apply_tier(admin, "going", &selecting("both", "mode: Enforce\nprecedence: 9\n")).await;
    eventually_governed(admin, "left", "going", &BOTH_BASES).await;
    assert_eq!(finalizers(admin, "going").await.unwrap(), [""; 0]);
    departure.tier_governs().await;
    patch_tier(
        admin,
        "going",
        json!({"metadata": {"finalizers": ["example.com/theirs", FINALIZER], "labels": {"theirs": "1"}}}),
    )
    .await;
    departure.request_deletion("background");
    eventually_policies(admin, "left", &[], |_| Ok(())).await;
    has_finalizer(admin, "going", false).await;
    assert_eq!(finalizers(admin, "going").await.unwrap(), ["example.com/theirs"]);
    // A terminating tier is never put back as an owner, however long it stays.
    eventually_governed(admin, "taken", "next", &BOTH_BASES).await;
    patch_tier(admin, "going", json!({"metadata": {"finalizers": null}})).await;
    departure.is_over().await;

    // Whoever changes their mind keeps what is there, also when the tier is on its way out.
    departure.tier_governs().await;
    patch_tier(admin, "going", json!({"spec": {"deletionPolicy": "Retain"}})).await;
    has_finalizer(admin, "going", false).await;
    delete_tier(admin, "going", PropagationPolicy::Background).await;
    eventually_governed(admin, "taken", "next", &BOTH_BASES).await;
    assert_eq!(policies_of(admin, "left").await.unwrap().len(), 2);
    departure.verdict(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_ends_is_not_kept_by_the_finalizer_and_opens_nothing() {
    let departure = Departure::prepare().await;
    let controller = Controller::start(&departure.control_plane, &[]).await;
    let definitions = Api::<CustomResourceDefinition>::all(departure.admin.clone());
    for away in [false, true] {
        if away {
            departure.control_plane.install_config().await;
            let next = "namespaceSelector: {matchLabels: {name: taken}}\nmode: Enforce\n";
            apply_tier(&departure.admin, "next", next).await;
        }
        departure.tier_governs().await;
        if away {
            controller.stop();
        }
        definitions.delete(CRD, &DeleteParams::default()).await.unwrap();
        if away {
            eventually("every tier is being deleted", PATIENCE, || async {
                let tiers: Api<IsolationTier> = Api::all(departure.admin.clone());
                let going = tiers.get_metadata("going").await.map_err(|error| error.to_string())?;
                going
                    .metadata
                    .deletion_timestamp
                    .map(|_| ())
                    .ok_or_else(|| String::from("not yet"))
            })
            .await;
            controller.cont();
        }
        eventually("the definition is gone", PATIENCE, || async {
            match definitions.get_metadata_opt(CRD).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        for namespace in ["taken", "left"] {
            assert_eq!(
                policies_of(&departure.admin, namespace).await.unwrap().len(),
                2,
                "{namespace}"
            );
        }
    }
    departure.verdict(0).await;
}

// Whatever is wrong with a tier, it can be deleted; and one that comes back under the name owns nothing of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_tier_goes_too_and_one_that_comes_back_is_another() {
    let departure = Departure::prepare().await;
    let controller = Controller::start(&departure.control_plane, &[]).await;
    let admin = &departure.admin;
    departure.tier_governs().await;
    crate::broken_tier::weaken_the_schema(&departure.control_plane).await;
    patch_tier(admin, "going", json!({"spec": {"mode": "Enforc"}})).await;
    eventually_status_within(admin, "going", "stalled", PATIENCE, |status| {
        is_condition(status, "Stalled", "True")
    })
    .await;
    departure.request_deletion("background");
    departure.is_over().await;

    departure.tier_governs().await;
    controller.stop();
    departure.request_deletion("foreground");
    patch_tier(admin, "going", json!({"metadata": {"finalizers": null}})).await;
    is_gone(admin, "going").await;
    apply_tier(admin, "going", &selecting("both", REMOVE)).await;
    controller.cont();
    for namespace in ["taken", "left"] {
        eventually_governed(admin, namespace, "going", &BOTH_BASES).await;
    }
    departure.verdict(1).await;
}
