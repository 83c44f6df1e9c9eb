//! The mass-change brake: no mistake opens many namespaces, and nothing that is meant takes more than a confirmation.

mod hanging;
mod heirs;
mod held_or_released;
mod late_word;
mod pruned;
mod takeover;
mod tampered;

use std::collections::BTreeSet;

use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use cofferdam::api::{IsolationTier, IsolationTierStatus};

use self::held_or_released::{
    are_held, are_held_or_released, are_within_the_limit, both_directions, held_releases, run_the_command_of, verdict,
};
use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{
    apply_tier, condition, eventually_ready, eventually_status, mark, selecting, set_labels,
};
use crate::harness::{ControlPlaneOptions, Controller, Identity, OwnControlPlane, eventually};

const NAMESPACES: usize = 500;
/// What ten percent of them are.
const LIMIT: usize = 50;
const BRAKE: [&str; 1] = ["--max-unprotected=10%"];

/// 500 namespaces under tier `floor`.
struct Crowd {
    control_plane: OwnControlPlane,
    controller: Controller,
    admin: Client,
    names: Vec<String>,
}

impl Crowd {
    async fn under_floor(arguments: &[&str]) -> Self {
        let control_plane = OwnControlPlane::start(ControlPlaneOptions {
            controller_manager: false,
            ..ControlPlaneOptions::default()
        })
        .await;
        let controller = Controller::start(&control_plane, arguments).await;
        let admin = control_plane.admin().await;
        apply_tier(&admin, "floor", &selecting("crowd", "mode: Enforce\n")).await;
        let mut names = create_namespaces(&admin, "a", &[("scenario", "crowd"), ("half", "a")], NAMESPACES / 2).await;
        names.extend(create_namespaces(&admin, "b", &[("scenario", "crowd"), ("half", "b")], NAMESPACES / 2).await);
        let crowd = Self {
            control_plane,
            controller,
            admin,
            names,
        };
        crowd.is_protected_by("floor", NAMESPACES).await;
        crowd
    }

    async fn is_protected_by(&self, tier: &str, count: usize) {
        eventually_status(&self.admin, tier, &format!("{count} protected"), |status| {
            status.namespaces.is_some_and(|counts| counts.protected == count as i64)
        })
        .await;
    }

    async fn are_held(&self, tier: &str, count: usize) -> IsolationTierStatus {
        are_held(&self.admin, tier, count).await
    }

    fn confirm(&self, status: &IsolationTierStatus) {
        run_the_command_of(&self.control_plane, status);
    }

    /// The bases that the controller deleted since a [`mark`], by namespace and name.
    async fn released_since(&self, mark: usize) -> BTreeSet<(String, String)> {
        let events = self
            .control_plane
            .audit_log()
            .settled(&self.control_plane)
            .await
            .split_off(mark);
        let deleted = events.iter().filter(|event| {
            event.user == Identity::Controller.user() && event.resource == "networkpolicies" && event.verb == "delete"
        });
        deleted
            .map(|event| (event.namespace.clone(), event.name.clone()))
            .collect()
    }

    /// Waits until exactly these were released since a [`mark`].
    async fn are_released(&self, mark: usize, expected: &BTreeSet<(String, String)>) {
        eventually("all that is meant is released", PATIENCE, || async {
            let released = self.released_since(mark).await;
            if released == *expected {
                Ok(())
            } else {
                Err(format!("{} released, not {}", released.len(), expected.len()))
            }
        })
        .await;
    }

    /// Waits until that many namespaces, and no fewer, were released in each direction since a [`mark`] or wait to be.
    async fn are_held_or_released(&self, tier: &str, mark: usize, count: usize) {
        are_held_or_released(&self.controller, tier, 2 * count, || self.released_since(mark)).await;
    }

    async fn verdict(&self, released: &BTreeSet<(String, String)>) {
        verdict(&self.control_plane, &self.names, released).await;
    }

    fn held_releases(&self, tier: &str) -> Option<f64> {
        held_releases(&self.controller, tier)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typo_that_would_release_500_namespaces_releases_none_and_a_confirmation_exactly_its_list() {
    let crowd = Crowd::under_floor(&BRAKE).await;
    let start = mark(&crowd.control_plane).await;
    apply_tier(&crowd.admin, "floor", &selecting("crwod", "mode: Enforce\n")).await;
    let first = crowd.are_held("floor", NAMESPACES).await;
    assert_eq!(condition(&first, "Stalled").unwrap().status, "True");
    assert_eq!(crowd.held_releases("floor"), Some(2.0 * NAMESPACES as f64));
    let events = crowd
        .control_plane
        .kubectl(&["get", "events.events.k8s.io", "--all-namespaces", "--output=json"])
        .expect_success();
    assert!(events.contains(r#""reason": "Held""#), "{events}");

    // Put right, and wrong again for one half.
    apply_tier(&crowd.admin, "floor", &selecting("crowd", "mode: Enforce\n")).await;
    eventually_ready(&crowd.admin, "floor").await;
    crowd.is_protected_by("floor", NAMESPACES).await;
    assert_eq!(crowd.held_releases("floor"), Some(0.0));
    let one_half = "namespaceSelector: {matchLabels: {half: a}}\nmode: Enforce\n";
    apply_tier(&crowd.admin, "floor", one_half).await;
    let status = crowd.are_held("floor", NAMESPACES / 2).await;
    // The command of the first mistake confirms the first mistake.
    run_the_command_of(&crowd.control_plane, &first);
    crowd.are_held("floor", NAMESPACES / 2).await;
    assert_eq!(crowd.released_since(start).await, BTreeSet::new());

    crowd.confirm(&status);
    let left_out = crowd.names.iter().filter(|name| name.starts_with('b'));
    let expected = both_directions(left_out);
    crowd.are_released(start, &expected).await;
    eventually_ready(&crowd.admin, "floor").await;
    // The annotation still stands; the next mistake is another list.
    apply_tier(&crowd.admin, "floor", &selecting("crwod", "mode: Enforce\n")).await;
    crowd.are_held("floor", NAMESPACES / 2).await;
    assert_eq!(crowd.released_since(start).await, expected);
    crowd.verdict(&expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_relabels_500_namespaces_releases_no_more_than_the_limit() {
    let crowd = Crowd::under_floor(&BRAKE).await;
    let start = mark(&crowd.control_plane).await;
    for name in &crowd.names {
        set_labels(&crowd.admin, name, json!({"scenario": null})).await;
    }
    crowd.are_held_or_released("floor", start, NAMESPACES).await;
    let released = crowd.released_since(start).await;
    // Not quite so many where the loop is faster than the controller: what waits counts too.
    assert!(!released.is_empty());
    are_within_the_limit(&released, LIMIT);
    crowd.verdict(&released).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_does_not_open_the_window_anew() {
    let mut crowd = Crowd::under_floor(&BRAKE).await;
    let start = mark(&crowd.control_plane).await;
    let names = crowd.names.clone();
    let (first, next) = names[..80].split_at(40);
    for name in first {
        set_labels(&crowd.admin, name, json!({"scenario": null})).await;
    }
    let expected = both_directions(first);
    crowd.are_released(start, &expected).await;
    // As many again are less than the limit by themselves.
    crowd.controller.signal_kill9();
    crowd.controller = Controller::start(&crowd.control_plane, &BRAKE).await;
    for name in next {
        set_labels(&crowd.admin, name, json!({"scenario": null})).await;
    }
    crowd
        .are_held_or_released("floor", start, first.len() + next.len())
        .await;
    let released = crowd.released_since(start).await;
    are_within_the_limit(&released, LIMIT);
    crowd.verdict(&released).await;
}

// It counted as if nothing had been released.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_no_controller_wrote_opened_the_window_anew() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let mut controller = Controller::start(&control_plane, &BRAKE).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "floor", &selecting("forged", "mode: Enforce\n")).await;
    let names = create_namespaces(&admin, "forged", &[("scenario", "forged")], 3).await;
    let all = |status: &IsolationTierStatus| status.namespaces.is_some_and(|counts| counts.protected == 3);
    eventually_status(&admin, "floor", "all are protected", all).await;
    controller.signal_kill9();
    let tiers: Api<IsolationTier> = Api::all(admin.clone());
    let now = k8s_openapi::jiff::Timestamp::now().to_string();
    let forged = json!({"status": {"releases": {"ingress": -1, "egress": 0, "latestTime": now}}});
    let stored = tiers
        .patch_status("floor", &PatchParams::default(), &Patch::Merge(forged))
        .await;
    stored.expect("the schema takes it");

    // One alone may always go.
    controller = Controller::start(&control_plane, &BRAKE).await;
    set_labels(&admin, &names[0], json!({"scenario": null})).await;
    let told = "status.releases of IsolationTier floor does not tell";
    let held = |status: &IsolationTierStatus| {
        condition(status, "Ready").is_some_and(|ready| ready.reason == "Held" && ready.message.contains(told))
    };
    let status = eventually_status(&admin, "floor", "it says why it holds", held).await;
    assert!(controller.log().contains("found -1"), "{}", controller.log());
    run_the_command_of(&control_plane, &status);
    eventually_ready(&admin, "floor").await;
    verdict(&control_plane, &names, &both_directions(&names[..1])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_that_move_between_tiers_are_never_held_up() {
    let crowd = Crowd::under_floor(&["--max-unprotected=0"]).await;
    let start = mark(&crowd.control_plane).await;
    // By a tier that outranks it, by its deletion, by an edit of both, and one by one.
    apply_tier(
        &crowd.admin,
        "upper",
        &selecting("crowd", "mode: Enforce\nprecedence: 5\n"),
    )
    .await;
    crowd.is_protected_by("upper", NAMESPACES).await;
    crowd
        .control_plane
        .kubectl(&["delete", "itier", "upper"])
        .expect_success();
    crowd.is_protected_by("floor", NAMESPACES).await;
    let by_label = |value: &str| selecting(value, "mode: Enforce\n");
    apply_tier(&crowd.admin, "next", &by_label("moved")).await;
    let labels = json!({"scenario": "moved"});
    for some in crowd.names.chunks(16) {
        join_all(some.iter().map(|name| set_labels(&crowd.admin, name, labels.clone()))).await;
    }
    crowd.is_protected_by("next", NAMESPACES).await;
    assert_eq!(crowd.held_releases("next"), Some(0.0));
    assert_eq!(crowd.released_since(start).await, BTreeSet::new());
    crowd.verdict(&BTreeSet::new()).await;
}
