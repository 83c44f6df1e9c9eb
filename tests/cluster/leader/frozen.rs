//! A leader that is frozen past its lease and thawed with work before it sends nothing: over and over.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::{NOISE, only_leaders_wrote};
use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::replica::{LEASE, RETRY_PERIOD, start_two};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_policies::{ALLOWANCES, POLICIES};
use crate::harness::scenario_tiers::{apply_tier, eventually_ready, selecting};
use crate::harness::{AuditEvent, ControlPlane, ControlPlaneOptions, Observer, OwnControlPlane, Replica};

const NAMESPACES: usize = 20;
const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";

/// Runs with everything else; `make faults` runs all hundred.
const ROUNDS: usize = 5;
const ALL_ROUNDS: usize = 100;

/// What one round showed, by the API server's clock.
struct Round {
    /// From the freeze to the lease in the hands of the other.
    failover: Duration,
    /// From the freeze to the last write of the frozen one that arrived: what the kernel had taken already.
    last_arrival: Option<Duration>,
    /// Writes that it tried after the thaw and that its gate held back, as far as its log says.
    held_back: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thawed_leader_sends_nothing() {
    rounds(ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "seven minutes: make faults"]
async fn a_leader_thawed_a_hundred_times_sends_nothing() {
    rounds(ALL_ROUNDS).await;
}

async fn rounds(count: usize) {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let (mut leader, mut standby) = start_two(&control_plane).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "frozen", &selecting("frozen", ALLOWANCES)).await;
    let names = create_namespaces(&admin, "frozen", &[("scenario", "frozen")], NAMESPACES).await;
    all_stand(&admin).await;
    let mut seen = Vec::new();
    for number in 1..=count {
        let round = frozen_and_thawed(&control_plane, &names, leader, &standby).await;
        eprintln!("round {number}: {}", round.summary());
        seen.push(round);
        leader = standby;
        standby = Replica::start(&control_plane).await;
    }
    only_leaders_wrote(&control_plane).await;
    report(&seen);
    eventually_ready(&admin, "frozen").await;
    Observer::of(names).verdict(&control_plane).await;
}

/// One round: the leader is frozen at work, the other takes over and heals, the frozen one is thawed with work before it.
async fn frozen_and_thawed(
    control_plane: &ControlPlane,
    names: &[String],
    mut leader: Replica,
    standby: &Replica,
) -> Round {
    let admin = control_plane.admin().await;
    let mark = control_plane.audit_log().mark();
    let mut frozen_at = Timestamp::now();
    change_all(&admin, names, || {
        leader.controller.stop();
        frozen_at = Timestamp::now();
    })
    .await;
    standby.eventually_leads().await;
    all_stand(&admin).await;
    change_all(&admin, names, || leader.controller.cont()).await;
    assert_eq!(
        leader.controller.ends_by_itself().await,
        2,
        "{}",
        leader.controller.log()
    );
    all_stand(&admin).await;

    let events = control_plane.audit_log().settled(control_plane).await.split_off(mark);
    let taken_over = events
        .iter()
        .find(|event| standby.sent(event) && event.is_of_own_lease() && event.is_write());
    let taken_over = time(&taken_over.expect("the other took the lease").stage_at);
    let late: Vec<&Arc<AuditEvent>> = events
        .iter()
        .filter(|event| leader.sent(event) && event.is_write() && time(&event.received_at) > frozen_at)
        .collect();
    let too_late: Vec<String> = late
        .iter()
        .filter(|event| time(&event.received_at) >= taken_over)
        .map(|event| event.summary())
        .collect();
    assert!(too_late.is_empty(), "the frozen leader wrote:\n{}", too_late.join("\n"));
    assert!(
        events
            .iter()
            .any(|event| standby.sent(event) && event.resource == "networkpolicies" && event.is_write()),
        "there was nothing to write"
    );
    let failover = duration(frozen_at, taken_over);
    assert!(failover < LEASE + RETRY_PERIOD + NOISE, "{failover:?}");
    Round {
        failover,
        last_arrival: late
            .iter()
            .map(|event| duration(frozen_at, time(&event.received_at)))
            .max(),
        held_back: leader.controller.log().matches("this replica does not lead").count(),
    }
}

/// Changes a policy in each namespace, every other time one that a tenant deletes; `midway` comes while that goes on.
async fn change_all(admin: &Client, names: &[String], midway: impl FnOnce()) {
    let mut midway = Some(midway);
    let mut changes = stream::iter(
        names
            .iter()
            .enumerate()
            .map(|(number, name)| change(admin, name, number)),
    )
    .buffered(4);
    let mut done = 0;
    while changes.next().await.is_some() {
        done += 1;
        if done >= names.len() / 2
            && let Some(midway) = midway.take()
        {
            midway();
        }
    }
}

async fn change(admin: &Client, namespace: &str, number: usize) {
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), namespace);
    if number.is_multiple_of(2) {
        let open = Patch::Merge(json!({"spec": {"ingress": [{}]}}));
        policies.patch(INGRESS, &PatchParams::default(), &open).await.unwrap();
    } else {
        policies.delete(EGRESS, &DeleteParams::default()).await.unwrap();
    }
}

/// Waits until every policy is there and none is open.
async fn all_stand(admin: &Client) {
    let policies: Api<NetworkPolicy> = Api::all(admin.clone());
    eventually("every policy stands as rendered", PATIENCE, || async {
        let list = policies
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?;
        let open = list
            .items
            .iter()
            .filter(|policy| is_open(policy))
            .map(ResourceExt::name_any)
            .count();
        match (list.items.len(), open) {
            (standing, 0) if standing == NAMESPACES * POLICIES.len() => Ok(()),
            (standing, open) => Err(format!("{standing} stand, {open} of them are open")),
        }
    })
    .await;
}

fn is_open(policy: &NetworkPolicy) -> bool {
    let rules = policy.spec.as_ref().and_then(|spec| spec.ingress.as_ref());
    rules.is_some_and(|rules| rules.iter().any(|rule| rule.from.as_ref().is_none_or(Vec::is_empty)))
}

impl Round {
    fn summary(&self) -> String {
        format!(
            "failover {:?}; last write on its way arrived {:?} after the freeze; {} writes held back",
            self.failover, self.last_arrival, self.held_back
        )
    }
}

fn report(rounds: &[Round]) {
    let mut failovers: Vec<Duration> = rounds.iter().map(|round| round.failover).collect();
    failovers.sort_unstable();
    let within = failovers
        .iter()
        .filter(|failover| **failover <= LEASE + RETRY_PERIOD)
        .count();
    eprintln!(
        "{} rounds, no write by who had lost the lease; failover median {:?}, longest {:?}, {within} of them within {:?}; \
         {} rounds held writes back; the last write on its way arrived {:?} after a freeze",
        rounds.len(),
        failovers[failovers.len() / 2],
        failovers[failovers.len() - 1],
        LEASE + RETRY_PERIOD,
        rounds.iter().filter(|round| round.held_back > 0).count(),
        rounds.iter().filter_map(|round| round.last_arrival).max(),
    );
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time of the audit log")
}

fn duration(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
