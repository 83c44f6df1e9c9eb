//! A tier that goes, and what it leaves behind until it may.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use cofferdam::api::{Direction, IsolationTier};

use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{BOTH_BASES, apply_tier, eventually_governed, eventually_policies, selecting};
use crate::harness::{ControlPlaneOptions, Identity, Observer, OwnControlPlane, eventually};

pub const FINALIZER: &str = "cofferdam.dev/handover";
pub const REMOVE: &str = "mode: Enforce\nprecedence: 9\ndeletionPolicy: Remove\n";

/// A tier over two namespaces, of which another tier takes one over: `taken`, and `left` that none takes.
pub struct Departure {
    pub control_plane: OwnControlPlane,
    pub admin: Client,
}

impl Departure {
    pub async fn prepare() -> Self {
        let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
        let admin = control_plane.admin().await;
        for name in ["taken", "left"] {
            create_namespace(&admin, name, &[("scenario", "both"), ("name", name)]).await;
        }
        let next = "namespaceSelector: {matchLabels: {name: taken}}\nmode: Enforce\n";
        apply_tier(&admin, "next", next).await;
        Self { control_plane, admin }
    }

    pub async fn tier_governs(&self) {
        apply_tier(&self.admin, "going", &selecting("both", REMOVE)).await;
        for namespace in ["taken", "left"] {
            eventually_governed(&self.admin, namespace, "going", &BOTH_BASES).await;
        }
        has_finalizer(&self.admin, "going", true).await;
    }

    pub async fn is_over(&self) {
        is_gone(&self.admin, "going").await;
        eventually_governed(&self.admin, "taken", "next", &BOTH_BASES).await;
        eventually_policies(&self.admin, "left", &[], |_| Ok(())).await;
    }

    pub fn request_deletion(&self, cascade: &str) {
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
    pub async fn waits_for_the_handover_alone(&self) {
        eventually("the handover's finalizer is the only one", PATIENCE, || async {
            match finalizers(&self.admin, "going").await? {
                found if found == [FINALIZER] => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
        .await;
    }

    /// Takes the reference to a tier off some policies in `left`, with the garbage collector's request.
    pub async fn strip(&self, tier_uid: &str, names: &[&str]) {
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

    pub async fn verdict(&self, releases: usize) {
        let mut observer = Observer::of(["taken", "left"]);
        for _ in 0..releases {
            for direction in Direction::ALL {
                observer = observer.expect_release("left", direction);
            }
        }
        observer.verdict(&self.control_plane).await;
    }
}

pub async fn finalizers(admin: &Client, tier: &str) -> Result<Vec<String>, String> {
    let tiers: Api<IsolationTier> = Api::all(admin.clone());
    let found = tiers.get_metadata(tier).await.map_err(|error| error.to_string())?;
    Ok(found.metadata.finalizers.unwrap_or_default())
}

/// The names of those that have no reference to a tier.
pub fn without_owner<'a>(policies: &'a BTreeMap<String, NetworkPolicy>, tier_uid: &str) -> Vec<&'a str> {
    let mut names: Vec<_> = policies.keys().map(String::as_str).collect();
    names.retain(|name| {
        !policies[*name]
            .owner_references()
            .iter()
            .any(|owner| owner.uid == tier_uid)
    });
    names
}

pub async fn has_finalizer(admin: &Client, tier: &str, expected: bool) {
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

pub async fn is_gone(admin: &Client, tier: &str) {
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

pub async fn patch_tier(admin: &Client, tier: &str, patch: Value) {
    let tiers: Api<IsolationTier> = Api::all(admin.clone());
    tiers
        .patch_metadata(tier, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap_or_else(|error| panic!("cannot patch tier {tier}: {error}"));
}
