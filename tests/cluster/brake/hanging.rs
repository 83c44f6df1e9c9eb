//! The API server does not answer for what a release takes: no other namespace waits for it, and what is released in the end is
//! what was to be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::held_or_released::{both_directions, verdict};
use crate::harness::eventually::PATIENCE;
use crate::harness::fault_proxy::{Fault, Moment, Nth, RequestRule, Requests};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, eventually_governed, eventually_status, policies_of, selecting, set_labels,
};
use crate::harness::{ControlPlaneOptions, Controller, FaultProxy, OwnControlPlane, eventually};

/// More than there are workers.
const RELEASED: usize = 48;
const NEW: usize = 8;
const EGRESS: &str = BOTH_BASES[0];
const INGRESS: &str = BOTH_BASES[1];
/// A request is given up after ten seconds.
const FAR_BELOW_THE_DEADLINE: Duration = Duration::from_secs(3);

/// Namespaces under tier `floor` that are about to leave it, one under tier `half`, and tier `other` for new ones.
struct Stage {
    control_plane: OwnControlPlane,
    controller: Controller,
    proxy: FaultProxy,
    admin: Client,
    leaving: Vec<String>,
}

impl Stage {
    async fn with(leaving: usize, arguments: &[&str]) -> Self {
        let options = ControlPlaneOptions {
            controller_manager: false,
            ..ControlPlaneOptions::default()
        };
        let control_plane = OwnControlPlane::start(options).await;
        let proxy = FaultProxy::start(&control_plane).await;
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--max-unprotected=100%"]).collect();
        let controller = Controller::start_through(&proxy, &arguments).await;
        let admin = control_plane.admin().await;
        apply_tier(&admin, "floor", &selecting("floor", "mode: Enforce")).await;
        apply_tier(&admin, "other", &selecting("other", "mode: Enforce")).await;
        apply_tier(&admin, "half", &selecting("half", "mode: Enforce")).await;
        let leaving = create_namespaces(&admin, "leaving", &[("scenario", "floor")], leaving).await;
        create_namespace(&admin, "half", &[("scenario", "half")]).await;
        for name in &leaving {
            eventually_governed(&admin, name, "floor", &BOTH_BASES).await;
        }
        eventually_governed(&admin, "half", "half", &BOTH_BASES).await;
        Self {
            control_plane,
            controller,
            proxy,
            admin,
            leaving,
        }
    }

    async fn leave(&self) {
        for some in self.leaving.chunks(16) {
            join_all(
                some.iter()
                    .map(|name| set_labels(&self.admin, name, json!({"scenario": null}))),
            )
            .await;
        }
    }

    /// One direction of namespace `half` is to be released.
    async fn narrow_half(&self) {
        let narrower = selecting("half", "mode: Enforce\nisolate: [Ingress]");
        apply_tier(&self.admin, "half", &narrower).await;
    }

    fn hang(&self, requests: Requests) -> Arc<RequestRule> {
        self.proxy
            .on(requests, Nth::every(), Fault::Stall(Moment::BeforeForwarding))
    }

    async fn hang_at_least(&self, hang: &RequestRule, at_least: usize) {
        eventually(&format!("{at_least} requests hang"), PATIENCE, || async {
            let struck = hang.struck();
            (struck >= at_least).then_some(()).ok_or(format!("{struck}"))
        })
        .await;
    }

    async fn keeps_no_new_namespace_waiting(&self, hang: &RequestRule, at_least: usize) {
        self.hang_at_least(hang, at_least).await;
        let meanwhile = self.slowest_protection("meanwhile").await;
        eprintln!("open for at most {meanwhile:?}");
        assert!(
            meanwhile < FAR_BELOW_THE_DEADLINE,
            "a new namespace waited {meanwhile:?}"
        );
    }

    /// How long the slowest of some new namespaces is open.
    async fn slowest_protection(&self, prefix: &str) -> Duration {
        let mut slowest = Duration::ZERO;
        for number in 0..NEW {
            let (name, began) = (format!("{prefix}-{number}"), Instant::now());
            create_namespace(&self.admin, &name, &[("scenario", "other")]).await;
            eventually_governed(&self.admin, &name, "other", &BOTH_BASES).await;
            slowest = slowest.max(began.elapsed());
        }
        slowest
    }

    /// How long an edit of what stays of namespace `half` lives.
    async fn heal_of_half(&self) -> Duration {
        let policies: Api<NetworkPolicy> = Api::namespaced(self.admin.clone(), "half");
        let (edit, began) = (Patch::Merge(json!({"spec": {"ingress": [{}]}})), Instant::now());
        policies.patch(INGRESS, &PatchParams::default(), &edit).await.unwrap();
        eventually("the edit is healed", PATIENCE, || async {
            let ingress = policies.get(INGRESS).await.map_err(|error| error.to_string())?;
            match ingress.spec.and_then(|spec| spec.ingress).unwrap_or_default()[..] {
                [] => Ok(()),
                _ => Err(String::from("open")),
            }
        })
        .await;
        began.elapsed()
    }

    /// How long a policy lives that nobody wants, under a reserved name and with our label.
    async fn life_of_a_surplus_in(&self, namespace: &str) -> Duration {
        let (policies, name) = (
            Api::<NetworkPolicy>::namespaced(self.admin.clone(), namespace),
            "cofferdam-allow-hole-ingress",
        );
        let surplus = json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "cofferdam"}},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
        });
        let (surplus, began) = (serde_json::from_value(surplus).unwrap(), Instant::now());
        policies.create(&PostParams::default(), &surplus).await.unwrap();
        eventually("what nobody wants is gone", PATIENCE, || async {
            match policies.get_opt(name).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        began.elapsed()
    }

    async fn bases_left(&self) -> usize {
        let left = join_all(self.leaving.iter().map(|name| policies_of(&self.admin, name))).await;
        left.into_iter().map(|policies| policies.expect("a list").len()).sum()
    }

    async fn all_are_released(&self) {
        // Whoever waited for a status that was refused in the end waits for its back-off.
        eventually("all are released", PATIENCE * 3, || async {
            match self.bases_left().await {
                0 => Ok(()),
                left => Err(format!("{left} bases are left\n{}", self.controller.log_tail(5))),
            }
        })
        .await;
    }

    /// All that leaves, one direction of `half`, and nothing else.
    async fn is_released_as_it_was_to_be(&self) {
        self.all_are_released().await;
        eventually_governed(&self.admin, "half", "half", &[INGRESS]).await;
        let mut released = both_directions(&self.leaving);
        released.insert((String::from("half"), String::from(EGRESS)));
        let names: Vec<String> = self.leaving.iter().cloned().chain([String::from("half")]).collect();
        verdict(&self.control_plane, &names, &released).await;
    }
}

fn status_writes() -> Requests {
    Requests::with(&["patch"]).of_subresource("isolationtiers", "status")
}

// Every worker sat behind the one status that was not answered for, ten seconds each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_hangs_kept_new_namespaces_and_heals_waiting() {
    let stage = Stage::with(RELEASED, &[]).await;
    let undisturbed = stage.slowest_protection("before").await;
    let hang = stage.hang(status_writes());
    stage.leave().await;
    stage.narrow_half().await;
    stage.hang_at_least(&hang, 1).await;
    let meanwhile = stage.slowest_protection("meanwhile").await;
    let healed = stage.heal_of_half().await;
    eprintln!("open for at most {undisturbed:?} before, {meanwhile:?} meanwhile; healed after {healed:?}");
    assert_eq!(stage.bases_left().await, 2 * RELEASED, "nobody was told");
    assert!(
        meanwhile < FAR_BELOW_THE_DEADLINE,
        "a new namespace waited {meanwhile:?}"
    );
    assert!(healed < FAR_BELOW_THE_DEADLINE, "a heal waited {healed:?}");
    hang.lift();
    stage.is_released_as_it_was_to_be().await;
}

// Each look renewed its place, which the word that was under way by then did not tell of.
#[tokio::test(flavor = "multi_thread")]
async fn statuses_that_take_longer_than_anybody_waits_let_every_release_go() {
    let stage = Stage::with(RELEASED, &[]).await;
    let slow = stage
        .proxy
        .on(status_writes(), Nth::every(), Fault::Delay(Duration::from_millis(1500)));
    stage.leave().await;
    stage.narrow_half().await;
    stage.is_released_as_it_was_to_be().await;
    assert!(slow.struck() > 0);
}

/// Those hang, so many at least, while everybody leaves.
async fn leaving_keeps_no_new_namespace_waiting(hanging: Requests, at_least: usize) {
    let stage = Stage::with(RELEASED, &[]).await;
    let hang = stage.hang(hanging);
    stage.leave().await;
    stage.narrow_half().await;
    stage.keeps_no_new_namespace_waiting(&hang, at_least).await;
    hang.lift();
    stage.is_released_as_it_was_to_be().await;
}

// A webhook that does not answer took all workers, one request each.
#[tokio::test(flavor = "multi_thread")]
async fn deletions_that_hang_kept_new_namespaces_waiting() {
    leaving_keeps_no_new_namespace_waiting(Requests::with(&["delete"]).of("networkpolicies"), 16).await;
}

// Nothing is opened by those, so that they waited for no turn: half of the workers hung in them, and the others behind them.
#[tokio::test(flavor = "multi_thread")]
async fn deletions_of_allowances_that_hang_kept_new_namespaces_waiting() {
    let stage = Stage::with(RELEASED, &[]).await;
    let mail = "mode: Enforce
allow:
- {name: mail, to: [{ipBlock: {cidr: 10.30.0.0/16}}], podSelector: {matchLabels: {mail: 'yes'}}}
";
    apply_tier(&stage.admin, "floor", &selecting("floor", mail)).await;
    for name in &stage.leaving {
        let policies = ["cofferdam-allow-mail-egress", EGRESS, INGRESS];
        eventually_governed(&stage.admin, name, "floor", &policies).await;
    }
    let deletions = Requests::with(&["delete"]).of("networkpolicies");
    let hang = stage.hang(deletions);
    apply_tier(&stage.admin, "floor", &selecting("floor", "mode: Enforce")).await;
    stage.keeps_no_new_namespace_waiting(&hang, 8).await;
    hang.lift();
    for name in &stage.leaving {
        eventually_governed(&stage.admin, name, "floor", &BOTH_BASES).await;
    }
    verdict(&stage.control_plane, &stage.leaving, &BTreeSet::new()).await;
}

fn reads_before_releases() -> Requests {
    Requests::with(&["get"]).of("namespaces")
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_before_releases_that_hang_kept_new_namespaces_waiting() {
    leaving_keeps_no_new_namespace_waiting(reads_before_releases(), 16).await;
}

// A heal that is a deletion waited for a turn behind them, in whatever namespace, and one in a namespace that waits for its own
// release behind that.
#[tokio::test(flavor = "multi_thread")]
async fn reads_before_releases_that_hang_kept_what_nobody_wants_standing() {
    let stage = Stage::with(RELEASED, &[]).await;
    create_namespace(&stage.admin, "quiet", &[("scenario", "other")]).await;
    eventually_governed(&stage.admin, "quiet", "other", &BOTH_BASES).await;
    let hang = stage.hang(reads_before_releases());
    stage.leave().await;
    // As many as may be in flight.
    stage.hang_at_least(&hang, 16).await;
    stage.narrow_half().await;
    eventually_status(&stage.admin, "half", "narrower", |_| true).await;
    let (beside, with_a_release) =
        tokio::join!(stage.life_of_a_surplus_in("quiet"), stage.life_of_a_surplus_in("half"));
    eprintln!("stood for {beside:?}, and for {with_a_release:?} where a release waits");
    for life in [beside, with_a_release] {
        assert!(life < FAR_BELOW_THE_DEADLINE, "what nobody wants stood for {life:?}");
    }
    hang.lift();
    stage.is_released_as_it_was_to_be().await;
}
