//! One plan, played and judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::disturbance::Armed;
use super::plan::Plan;
use super::stage::{NAMESPACES, Stage};
use super::workload::Workload;
use crate::harness::{AuditEvent, Identity, Observer};

/// Namespace and name of a policy.
pub type PolicyKey = (String, String);

/// How often a policy was created, replaced and deleted by the controller.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// POST.
    pub created: usize,
    /// PUT.
    pub replaced: usize,
    /// DELETE.
    pub deleted: usize,
}

/// What a workload comes to when nothing disturbs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Every policy, without what differs from run to run.
    pub policies: BTreeMap<PolicyKey, Value>,
    /// The controller's successful writes since the change.
    pub writes: BTreeMap<PolicyKey, Counts>,
}

/// Where a namespace may be that a workload makes.
const EVERY_NAMESPACE: [&str; 4] = [NAMESPACES[0], NAMESPACES[1], NAMESPACES[2], "delta"];

/// Plays a workload without a fault.
///
/// # Errors
/// When it does not converge, or the observer saw what must not be.
pub async fn reference(stage: &mut Stage, workload: Workload) -> Result<Outcome, String> {
    let outcome = play(stage, workload, None).await?;
    let writes: usize = outcome
        .writes
        .values()
        .map(|counts| counts.created + counts.replaced + counts.deleted)
        .sum();
    if writes == workload.writes() {
        Ok(outcome)
    } else {
        Err(format!(
            "{workload:?} makes {writes} writes, {} are declared: {:#?}",
            workload.writes(),
            outcome.writes
        ))
    }
}

/// Plays a plan and gives what is wrong with it.
pub async fn play_plan(stage: &mut Stage, plan: Plan, reference: &Outcome) -> Result<Duration, String> {
    let start = Instant::now();
    let outcome = play(stage, plan.workload, Some(plan)).await?;
    if outcome.policies != reference.policies {
        return Err(format!(
            "the end is not the reference's:\n{}",
            differing(&outcome.policies, &reference.policies)
        ));
    }
    let counted = |writes: &BTreeMap<PolicyKey, Counts>| {
        let mut writes = writes.clone();
        if plan.workload.is_raced_by_the_garbage_collector() {
            writes
                .values_mut()
                .for_each(|counts| counts.replaced = counts.replaced.min(1));
            writes
                .values_mut()
                .filter(|counts| counts.deleted > 0)
                .for_each(|counts| counts.replaced = 0);
        }
        writes
    };
    let as_often = counted(&outcome.writes) == counted(&reference.writes);
    if !as_often && !plan.disturbance.may_write_more() {
        return Err(format!(
            "other writes than the reference's:\n{}",
            differing(&outcome.writes, &reference.writes)
        ));
    }
    Ok(start.elapsed())
}

async fn play(stage: &mut Stage, workload: Workload, plan: Option<Plan>) -> Result<Outcome, String> {
    let begin = stage.wipe().await;
    workload.set_up(stage).await;
    let in_order = plan.is_none_or(|plan| plan.disturbance.wants_writes_in_order());
    let mut arguments = plan.map_or(Vec::new(), |plan| plan.disturbance.arguments().to_vec());
    arguments.extend(workload.arguments());
    if in_order {
        arguments.extend(["--concurrency", "1"]);
    }
    stage.start_controller(&arguments).await;
    stage
        .settle()
        .await
        .map_err(|error| format!("before the change: {error}"))?;
    let changed_at = settled(stage).await.len();
    let armed = match plan {
        Some(plan) => Some(plan.disturbance.arm(stage).await),
        None => None,
    };
    workload.change(stage).await;
    stage.settle().await?;
    if let Some(armed) = armed.filter(|armed| armed.struck() == 0) {
        comes(&armed).await?;
        stage.settle().await?;
    }
    let events = settled(stage).await;
    let violations = Observer::of(EVERY_NAMESPACE).since(begin).violations_in(&events);
    if !violations.is_empty() {
        return Err(format!(
            "the observer saw what must never be:\n{}",
            violations.join("\n")
        ));
    }
    Ok(Outcome {
        policies: policies(stage).await,
        writes: writes(&events[changed_at..]),
    })
}

/// What settles a stage is what tells of policies; a status may be written a second later.
async fn comes(armed: &Armed) -> Result<(), String> {
    let came = async {
        while armed.struck() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(10), came).await;
    came.map_err(|_| String::from("the fault never came"))
}

async fn settled(stage: &Stage) -> Vec<Arc<AuditEvent>> {
    stage.control_plane.audit_log().settled(&stage.control_plane).await
}

async fn policies(stage: &Stage) -> BTreeMap<PolicyKey, Value> {
    let mut found = BTreeMap::new();
    for namespace in EVERY_NAMESPACE {
        let list = stage
            .policies(namespace)
            .list(&ListParams::default())
            .await
            .expect("as the admin");
        for policy in list {
            let owners: Vec<_> = policy
                .owner_references()
                .iter()
                .map(|owner| (&owner.kind, &owner.name))
                .collect();
            let told = json!({
                "spec": policy.spec,
                "labels": policy.labels(),
                "annotations": policy.annotations(),
                "owners": owners,
            });
            found.insert((namespace.to_owned(), policy.name_any()), told);
        }
    }
    found
}

fn writes(events: &[Arc<AuditEvent>]) -> BTreeMap<PolicyKey, Counts> {
    let mut writes: BTreeMap<PolicyKey, Counts> = BTreeMap::new();
    let ours = events.iter().filter(|event| {
        event.user == Identity::Controller.user()
            && event.stage == "ResponseComplete"
            && event.resource == "networkpolicies"
            && event.is_write()
            && event.succeeded()
    });
    for event in ours {
        let counts = writes.entry((event.namespace.clone(), event.name.clone())).or_default();
        match event.verb.as_str() {
            "create" => counts.created += 1,
            "delete" => counts.deleted += 1,
            _ => counts.replaced += 1,
        }
    }
    writes
}

fn differing<T: PartialEq + std::fmt::Debug>(
    found: &BTreeMap<PolicyKey, T>,
    expected: &BTreeMap<PolicyKey, T>,
) -> String {
    let keys: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differing = keys.into_iter().filter(|key| found.get(*key) != expected.get(*key));
    let lines = differing.map(|key| {
        format!(
            "  {key:?}: found {:?}, expected {:?}",
            found.get(key),
            expected.get(key)
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}
