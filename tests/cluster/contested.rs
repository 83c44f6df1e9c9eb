//! Somebody undoes every heal: that one policy waits longer and longer, up to a bound, and nothing else does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::policy_history::{Revision, policy_histories};
use crate::harness::scenario_policies::Governed;
use crate::harness::scenario_tiers::{condition, eventually_status, eventually_status_within, is_condition, mark};
use crate::harness::{Controller, Identity};

const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";
const SURPLUS: &str = "cofferdam-allow-everyone-ingress";
const OPPONENT: &str = "stubborn-tool";

/// Heals that are made at once; the last of them makes the policy contested.
const AT_ONCE: usize = 6;
/// How long a heal is remembered.
const WINDOW: Duration = Duration::from_secs(60);
/// The bound on what may be open, from heal to heal.
const LONGEST_HOLD_OPEN: SignedDuration = SignedDuration::from_secs(5);
/// For a machine that does much else. A bound of 30 s, or none, would show all the same.
const NOISE: SignedDuration = SignedDuration::from_secs(8);

#[derive(Clone, Copy)]
enum Way {
    Open,
    Delete,
    Create,
}

/// Somebody who does the same again after each heal.
struct Opponent {
    stop: Arc<AtomicBool>,
    fighting: JoinHandle<()>,
}

impl Way {
    fn policy(self) -> &'static str {
        match self {
            Self::Open | Self::Delete => INGRESS,
            Self::Create => SURPLUS,
        }
    }

    async fn act(self, policies: &Api<NetworkPolicy>) {
        let everyone = json!({"spec": {"ingress": [{}]}});
        let surplus = json!({
            "metadata": {"name": SURPLUS},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
        });
        match self {
            Self::Open => {
                let parameters = PatchParams {
                    field_manager: Some(OPPONENT.into()),
                    ..PatchParams::default()
                };
                let opened = policies.patch(INGRESS, &parameters, &Patch::Merge(everyone)).await;
                opened.expect("the tenant may edit");
            }
            Self::Delete => {
                let deleted = policies.delete(INGRESS, &DeleteParams::default()).await;
                deleted.expect("the tenant may delete");
            }
            Self::Create => {
                let parameters = PostParams {
                    field_manager: Some(OPPONENT.into()),
                    ..PostParams::default()
                };
                let policy = serde_json::from_value(surplus).unwrap();
                let created = policies.create(&parameters, &policy).await;
                created.expect("the tenant may create");
            }
        }
    }

    async fn is_undone(self, policies: &Api<NetworkPolicy>) -> bool {
        let live = policies.get_opt(self.policy()).await.expect("the tenant may read");
        match self {
            Self::Open => live.is_some_and(|policy| policy.spec.unwrap().ingress.unwrap().len() > 1),
            Self::Delete => live.is_some(),
            Self::Create => live.is_none(),
        }
    }
}

impl Opponent {
    fn begin(way: Way, policies: &Api<NetworkPolicy>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, policies) = (Arc::clone(&stop), policies.clone());
        let fighting = tokio::spawn(async move {
            loop {
                way.act(&policies).await;
                while !way.is_undone(&policies).await {
                    if told.load(Ordering::Relaxed) {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
        Self { stop, fighting }
    }

    /// The policy stays as the opponent left it.
    async fn gives_up(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.fighting.await.expect("the opponent fought to the end");
    }
}

async fn history(governed: &Governed<'_>, policy: &str) -> Vec<Revision> {
    let events = governed.control_plane.audit_log().settled(governed.control_plane).await;
    let namespaces = [governed.name.clone()].into();
    policy_histories(&events, &namespaces)
        .remove(&(governed.name.clone(), policy.to_owned()))
        .unwrap_or_default()
}

fn is_ours(revision: &Revision) -> bool {
    revision.event.user == Identity::Controller.user()
}

/// When the controller healed it, each time; its first writing of a policy that it wants is none.
async fn heals(governed: &Governed<'_>, policy: &str) -> Vec<Timestamp> {
    let history = history(governed, policy).await;
    let first_of_theirs = history.iter().position(|revision| !is_ours(revision));
    let fight = &history[first_of_theirs.unwrap_or(history.len())..];
    let ours = fight.iter().filter(|revision| is_ours(revision));
    ours.map(|revision| revision.event.stage_at.parse().unwrap()).collect()
}

async fn eventually_healed(governed: &Governed<'_>, policy: &str, count: usize) -> Vec<Timestamp> {
    // Well above what the holds of so many heals come to.
    let patience = PATIENCE + Duration::from_secs(5) * u32::try_from(count).unwrap();
    eventually(&format!("{count} heals of {policy}"), patience, || async {
        let heals = heals(governed, policy).await;
        if heals.len() >= count {
            Ok(heals)
        } else {
            Err(format!("{heals:?}"))
        }
    })
    .await
}

/// From each revision of theirs that follows one of ours to the heal of it, as the API server wrote it down.
async fn open_times(governed: &Governed<'_>, policy: &str) -> Vec<SignedDuration> {
    let (mut open_since, mut times) = (None, Vec::new());
    for revision in history(governed, policy).await {
        let at: Timestamp = revision.event.stage_at.parse().unwrap();
        if is_ours(&revision) {
            times.extend(open_since.take().map(|since| at.duration_since(since)));
        } else {
            open_since.get_or_insert(at);
        }
    }
    assert_eq!(open_since, None, "healed in the end");
    times
}

async fn was_never_open_for_longer_than_the_bound(governed: &Governed<'_>, policy: &str) {
    let times = open_times(governed, policy).await;
    let longest = times.iter().max().copied().unwrap_or_default();
    assert!(longest < LONGEST_HOLD_OPEN + NOISE, "open for {longest:?}: {times:?}");
}

async fn is_said_to_be_contested(governed: &Governed<'_>, controller: &Controller, policy: &str, who: &str) {
    let status = eventually_status(&governed.admin, &governed.name, "contested", |status| {
        condition(status, "Ready").is_some_and(|ready| ready.status == "False" && ready.reason == "Contested")
    })
    .await;
    let mut problems = status.problems.iter();
    let problem = problems.find(|problem| problem.reason == "Contested").unwrap();
    assert_eq!(problem.namespace.as_deref(), Some(governed.name.as_str()));
    assert!(
        problem.message.contains(policy) && problem.message.contains(who),
        "{}",
        problem.message
    );
    governed.is_announced(policy, "Contested", who).await;
    contested_policies_are(governed, controller, 1.0).await;
}

async fn contested_policies_are(governed: &Governed<'_>, controller: &Controller, count: f64) {
    let tier = [("tier", governed.name.as_str())];
    controller
        .eventually_metrics(&format!("{count} contested policies"), |metrics| {
            match metrics.value("cofferdam_contested_policies", &tier) {
                Some(found) if found.total_cmp(&count).is_eq() => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
        .await;
}

// Each edit waits for the heal of the one before: if these heals waited with the contested one, there would be a heal of that
// for each of these.
async fn everything_else_is_healed_meanwhile(fought_over: &Governed<'_>, bystander: &Governed<'_>) {
    let before = heals(fought_over, INGRESS).await.len();
    let edits = 4;
    for _ in 0..edits {
        for (governed, policy) in [(fought_over, EGRESS), (bystander, INGRESS)] {
            let opened = governed
                .merge(policy, json!({"spec": {"egress": null, "ingress": null}}))
                .await;
            eventually("it is healed", PATIENCE, || async {
                let live = governed.get(policy).await;
                if live.spec != opened.spec {
                    Ok(())
                } else {
                    Err(String::new())
                }
            })
            .await;
        }
    }
    let meanwhile = heals(fought_over, INGRESS).await.len() - before;
    assert!(meanwhile < edits, "{meanwhile} heals of the contested policy meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fight_slows_one_policy_names_the_opponent_and_ends_by_itself() {
    let (governed, controller) = Governed::on_shared("fight").await;
    let bystander = Governed::on(governed.control_plane, "bystander").await;
    let opponent = Opponent::begin(Way::Open, &governed.tenant);
    is_said_to_be_contested(&governed, controller, INGRESS, &format!("field manager {OPPONENT}")).await;
    // By now a hold takes 4 s or 5 s.
    eventually_healed(&governed, INGRESS, AT_ONCE + 3).await;
    everything_else_is_healed_meanwhile(&governed, &bystander).await;
    let heals = eventually_healed(&governed, INGRESS, AT_ONCE + 5).await;
    opponent.gives_up().await;

    governed.is_as_rendered().await;
    for (round, seconds) in [(0, 1), (1, 2), (2, 4), (3, 5), (4, 5)] {
        let pause = heals[AT_ONCE + round].duration_since(heals[AT_ONCE + round - 1]);
        assert!(pause >= SignedDuration::from_secs(seconds), "round {round}: {pause:?}");
    }
    was_never_open_for_longer_than_the_bound(&governed, INGRESS).await;
    let start = mark(governed.control_plane).await;
    eventually_status_within(
        &governed.admin,
        &governed.name,
        "Ready once the other is quiet",
        WINDOW + 2 * PATIENCE,
        |status| is_condition(status, "Ready", "True") && status.problems.is_empty(),
    )
    .await;
    contested_policies_are(&governed, controller, 0.0).await;
    let writes = governed
        .control_plane
        .audit_log()
        .writes_since(start, Identity::Controller);
    let own: Vec<_> = writes
        .iter()
        .filter(|write| write.namespace == governed.name && write.resource == "networkpolicies")
        .map(|write| write.summary())
        .collect();
    assert!(own.is_empty(), "the end of a fight needs no write: {own:#?}");
    bystander.verdict().await;
    governed.verdict().await;
}

// Without its base the direction is open: that waits no longer than an edit that opens it.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_deleted_again_and_again_is_back_within_the_bound() {
    let (governed, controller) = Governed::on_shared("deleter").await;
    let opponent = Opponent::begin(Way::Delete, &governed.tenant);
    is_said_to_be_contested(&governed, controller, INGRESS, "an audit log does").await;
    eventually_healed(&governed, INGRESS, AT_ONCE + 4).await;
    opponent.gives_up().await;
    governed.is_as_rendered().await;
    was_never_open_for_longer_than_the_bound(&governed, INGRESS).await;
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_created_again_and_again_is_gone_within_the_bound() {
    let (governed, controller) = Governed::on_shared("creator").await;
    let opponent = Opponent::begin(Way::Create, &governed.tenant);
    is_said_to_be_contested(&governed, controller, SURPLUS, OPPONENT).await;
    eventually_healed(&governed, SURPLUS, AT_ONCE + 4).await;
    opponent.gives_up().await;
    governed.is_as_rendered().await;
    was_never_open_for_longer_than_the_bound(&governed, SURPLUS).await;
    governed.verdict().await;
}
