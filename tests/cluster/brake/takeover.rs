//! The leader ends in the middle of a mass release, and another goes on: together they open what one may.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use cofferdam::api::IsolationTierStatus;

use super::held_or_released::{
    are_held, are_held_or_released, are_within_the_limit, both_directions, run_the_command_of, verdict,
};
use crate::harness::eventually::PATIENCE;
use crate::harness::replica::start_two_with;
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{apply_tier, condition, eventually_status, mark, selecting, set_labels};
use crate::harness::{AuditEvent, ControlPlaneOptions, Identity, OwnControlPlane, Replica, eventually};

const NAMESPACES: usize = 120;

/// How the leader ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Killed,
    /// And thawed when another leads.
    Frozen,
}

/// Namespaces under tier `floor`, and two replicas that write one after the other.
struct Pair {
    control_plane: OwnControlPlane,
    admin: Client,
    leader: Replica,
    standby: Replica,
    names: Vec<String>,
    start: usize,
}

impl Pair {
    async fn under_floor(limit: &str) -> Self {
        let options = ControlPlaneOptions {
            controller_manager: false,
            ..ControlPlaneOptions::default()
        };
        let control_plane = OwnControlPlane::start(options).await;
        let (leader, standby) = start_two_with(&control_plane, &["--concurrency=1", limit]).await;
        let admin = control_plane.admin().await;
        apply_tier(&admin, "floor", &selecting("crowd", "mode: Enforce\n")).await;
        let names = create_namespaces(&admin, "n", &[("scenario", "crowd")], NAMESPACES).await;
        let all = |status: &IsolationTierStatus| {
            let protected = status.namespaces.map(|counts| counts.protected);
            protected == Some(NAMESPACES as i64)
        };
        eventually_status(&admin, "floor", "all are protected", all).await;
        let start = mark(&control_plane).await;
        Self {
            control_plane,
            admin,
            leader,
            standby,
            names,
            start,
        }
    }

    async fn leave(&self, names: &[String]) {
        for name in names {
            set_labels(&self.admin, name, json!({"scenario": null})).await;
        }
    }

    /// Waits until so many bases are gone.
    async fn are_gone(&self, count: usize) {
        let policies: Api<NetworkPolicy> = Api::all(self.admin.clone());
        eventually(&format!("{count} bases are gone"), PATIENCE, || async {
            let list = policies.list_metadata(&ListParams::default()).await;
            let left = list.map_err(|error| error.to_string())?.items.len();
            if left + count <= 2 * NAMESPACES {
                Ok(())
            } else {
                Err(format!("{left} are left"))
            }
        })
        .await;
    }

    async fn end(&mut self, end: End) {
        match end {
            End::Killed => self.leader.controller.signal_kill9(),
            End::Frozen => self.leader.controller.stop(),
        }
    }

    async fn takes_over(&mut self, end: End) {
        self.standby.eventually_leads().await;
        if end == End::Frozen {
            self.leader.controller.cont();
            assert_eq!(self.leader.controller.ends_by_itself().await, 2);
        }
    }

    /// The bases that are gone, and how many each replica deleted. Not by the answers: a DELETE whose sender is killed is
    /// answered with 504, and carried out all the same.
    async fn released(&self) -> (BTreeSet<(String, String)>, usize, usize) {
        let policies: Api<NetworkPolicy> = Api::all(self.admin.clone());
        let left = policies.list_metadata(&ListParams::default()).await.unwrap().items;
        let left: BTreeSet<_> = left
            .iter()
            .map(|policy| (policy.namespace().unwrap_or_default(), policy.name_any()))
            .collect();
        let mut released = both_directions(&self.names);
        released.retain(|base| !left.contains(base));

        let events = self.control_plane.audit_log().settled(&self.control_plane).await;
        let deleted: Vec<&AuditEvent> = events[self.start..]
            .iter()
            .map(|event| &**event)
            .filter(|event| event.user == Identity::Controller.user() && event.resource == "networkpolicies")
            .filter(|event| event.verb == "delete" && (event.succeeded() || event.code == 504))
            .collect();
        let by = |replica: &Replica| deleted.iter().filter(|event| replica.sent(event)).count();
        (released, by(&self.leader), by(&self.standby))
    }
}

async fn a_takeover_at_the_limit(end: End) {
    let mut pair = Pair::under_floor("--max-unprotected=20").await;
    // Each batch is within the limit, whatever of the first the leader lets go; both together are not.
    let (first, more) = pair.names[..25].split_at(18);
    let (first, more) = (first.to_vec(), more.to_vec());
    pair.leave(&first[..10]).await;
    pair.are_gone(10).await;
    pair.end(end).await;
    pair.leave(&first[10..]).await;
    pair.takes_over(end).await;
    pair.leave(&more).await;
    are_held_or_released(&pair.standby.controller, "floor", 2 * 25, async || {
        pair.released().await.0
    })
    .await;
    let (released, by_leader, by_standby) = pair.released().await;
    eprintln!("{end:?}: {by_leader} released by the leader, {by_standby} by the next");
    assert!(by_leader > 0);
    are_within_the_limit(&released, 20);
    verdict(&pair.control_plane, &pair.names, &released).await;
}

async fn a_takeover_in_the_middle_of_a_confirmed_list(end: End) {
    let mut pair = Pair::under_floor("--max-unprotected=0").await;
    let (list, other) = pair.names.split_at(NAMESPACES - 1);
    let (list, other) = (list.to_vec(), other.to_vec());
    pair.leave(&list).await;
    let status = are_held(&pair.admin, "floor", list.len()).await;
    run_the_command_of(&pair.control_plane, &status);
    pair.are_gone(40).await;
    pair.end(end).await;
    // It was not in the list.
    pair.leave(&other).await;
    pair.takes_over(end).await;
    let expected = both_directions(&list);
    eventually("the rest of the list is released", PATIENCE, || async {
        let (released, by_leader, by_standby) = pair.released().await;
        if released == expected {
            return Ok(());
        }
        Err(format!("{by_leader} and {by_standby} of {}", expected.len()))
    })
    .await;
    let status = are_held(&pair.admin, "floor", other.len()).await;
    let nothing_left = |status: &IsolationTierStatus| {
        let confirmed = status
            .releases
            .as_ref()
            .and_then(|releases| releases.confirmed.as_ref());
        confirmed.is_some_and(|confirmed| confirmed.remaining.0.is_empty())
    };
    eventually_status(&pair.admin, "floor", "nothing is left of the list", nothing_left).await;
    // The annotation stands, and what it confirmed is done: the next one is another.
    let releases = status.releases.clone().expect("what was written down");
    let digest = releases.confirmed.expect("what was confirmed").digest;
    assert!(!condition(&status, "Ready").unwrap().message.contains(&digest));
    let (released, by_leader, by_standby) = pair.released().await;
    eprintln!("{end:?}: {by_leader} released by the leader, {by_standby} by the next");
    assert!(by_leader > 0 && by_standby > 0, "{by_leader} and {by_standby}");
    assert_eq!(released, expected);
    verdict(&pair.control_plane, &pair.names, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_from_a_killed_leader_opens_no_more_than_the_limit_leaves() {
    a_takeover_at_the_limit(End::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_from_a_frozen_leader_opens_no_more_than_the_limit_leaves() {
    a_takeover_at_the_limit(End::Frozen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_from_a_killed_leader_goes_on_with_exactly_what_was_confirmed() {
    a_takeover_in_the_middle_of_a_confirmed_list(End::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_from_a_frozen_leader_goes_on_with_exactly_what_was_confirmed() {
    a_takeover_in_the_middle_of_a_confirmed_list(End::Frozen).await;
}
