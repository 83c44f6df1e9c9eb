//! `deletionPolicy: Remove`: a deleted tier hands its namespaces over in place, releases what no tier takes, and only then
//! goes.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PropagationPolicy};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use cofferdam::api::{Direction, IsolationTier};

use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{
    BOTH_BASES, ONE_WRITE_A_DIRECTION, apply_tier, delete_tier, eventually_governed, eventually_policies,
    eventually_status_within, is_condition, mark, policies_of, selecting, settled_writes, tier_uid,
};
use crate::harness::{ControlPlaneOptions, Controller, Identity, Observer, OwnControlPlane, eventually};

const CRD: &str = "isolationtiers.cofferdam.dev";
const FINALIZER: &str = "cofferdam.dev/handover";
const REMOVE: &str = "mode: Enforce\nprecedence: 9\ndeletionPolicy: Remove\n";
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

/// A tier over two namespaces, of which another tier takes one over: `taken`, and `left` that none takes.
struct Departure {
    control_plane: OwnControlPlane,
    admin: Client,
}

impl Departure {
    async fn prepare() -> Self {
        let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
        let admin = control_plane.admin().await;
        for name in ["taken", "left"] {
            create_namespace(&admin, name, &[("scenario", "both"), ("name", name)]).await;
        }
        let next = "namespaceSelector: {matchLabels: {name: taken}}\nmode: Enforce\n";
        apply_tier(&admin, "next", next).await;
        Self { control_plane, admin }
    }

    async fn tier_governs(&self) {
        apply_tier(&self.admin, "going", &selecting("both", REMOVE)).await;
        for namespace in ["taken", "left"] {
            eventually_governed(&self.admin, namespace, "going", &BOTH_BASES).await;
        }
        has_finalizer(&self.admin, "going", true).await;
    }

    async fn is_over(&self) {
        is_gone(&self.admin, "going").await;
        eventually_governed(&self.admin, "taken", "next", &BOTH_BASES).await;
        eventually_policies(&self.admin, "left", &[], |_| Ok(())).await;
    }

    fn request_deletion(&self, cascade: &str) {
        self.control_plane
            .kubectl(&[
                "delete",
                "itier",
                "going",
                "--wait=false",
                &format!("--cascade={cascade}"),
            ])
            .expect_success();
    }

    /// The garbage collector has taken its own finalizer off the tier, where the deletion put one there.
    ///
    /// In the cascade `orphan` it has stripped every policy before that. In the foreground it strips a policy only if it
    /// still reads its finalizer on the tier when it comes to that policy. It takes the finalizer off at the same time,
    /// since no policy blocks the deletion, and does not come back to what it left as long as the tier is there
    /// (`attemptToOrphanWorker`, `attemptToDeleteItem` and `processDeletingDependentsItem` of Kubernetes 1.36). So the
    /// references are not what to wait for.
    async fn waits_for_the_handover_alone(&self) {
        eventually("the handover's finalizer is the only one", PATIENCE, || async {
            match finalizers(&self.admin, "going").await? {
                found if found == [FINALIZER] => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
        .await;
    }

    /// Takes the reference to a tier off some policies in `left`, with the garbage collector's request.
    async fn strip(&self, tier_uid: &str, names: &[&str]) {
        let collector = self.control_plane.client(Identity::ControllerManager).await;
        let policies: Api<NetworkPolicy> = Api::namespaced(collector, "left");
        let patch = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": tier_uid}]}});
        for name in names {
            policies
                .patch(name, &PatchParams::default(), &Patch::Strategic(&patch))
                .await
                .unwrap_or_else(|error| panic!("cannot strip {name}: {error}"));
        }
    }

    async fn verdict(&self, releases: usize) {
        let mut observer = Observer::of(["taken", "left"]);
        for _ in 0..releases {
            for direction in Direction::ALL {
                observer = observer.expect_release("left", direction);
            }
        }
        observer.verdict(&self.control_plane).await;
    }
}

async fn finalizers(admin: &Client, tier: &str) -> Result<Vec<String>, String> {
    let tiers: Api<IsolationTier> = Api::all(admin.clone());
    let found = tiers.get_metadata(tier).await.map_err(|error| error.to_string())?;
    Ok(found.metadata.finalizers.unwrap_or_default())
}

/// The names of those that have no reference to a tier.
fn without_owner<'a>(policies: &'a BTreeMap<String, NetworkPolicy>, tier_uid: &str) -> Vec<&'a str> {
    let mut names: Vec<_> = policies.keys().map(String::as_str).collect();
    names.retain(|name| {
        !policies[*name]
            .owner_references()
            .iter()
            .any(|owner| owner.uid == tier_uid)
    });
    names
}

async fn has_finalizer(admin: &Client, tier: &str, expected: bool) {
    eventually(&format!("finalizer on {tier}: {expected}"), PATIENCE, || async {
        let found = finalizers(admin, tier).await?;
        if found.iter().any(|finalizer| finalizer == FINALIZER) == expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
}

async fn is_gone(admin: &Client, tier: &str) {
    let tiers: Api<IsolationTier> = Api::all(admin.clone());
    eventually(&format!("tier {tier} is gone"), PATIENCE, || async {
        match tiers.get_metadata_opt(tier).await {
            Ok(None) => Ok(()),
            Ok(Some(left)) => Err(format!("{:?}", left.metadata)),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

async fn patch_tier(admin: &Client, tier: &str, patch: Value) {
    let tiers: Api<IsolationTier> = Api::all(admin.clone());
    tiers
        .patch_metadata(tier, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap_or_else(|error| panic!("cannot patch tier {tier}: {error}"));
}

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
