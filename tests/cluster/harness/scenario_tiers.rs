//! Tiers of one scenario, and what is to be seen of them: policies, status, writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cofferdam::api::names::TIER_LABEL;
use cofferdam::api::{IsolationTier, IsolationTierStatus};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PropagationPolicy, ValidationDirective,
};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::eventually::{PATIENCE, eventually};
use super::identity::Identity;

/// Names of the bases, as [`policies_of`] sorts them.
pub const BOTH_BASES: [&str; 2] = ["cofferdam-baseline-egress", "cofferdam-baseline-ingress"];

// A second write that follows a first one comes at once: its cause is the watch event of the first.
const NO_MORE_WRITES: Duration = Duration::from_millis(500);

/// A spec that selects the namespaces with the label `scenario: VALUE`; `rest` holds more fields of the spec as YAML.
pub fn selecting(value: &str, rest: &str) -> String {
    format!("namespaceSelector: {{matchLabels: {{scenario: {value}}}}}\n{rest}")
}

/// Applies a tier whose spec is this YAML, as the one who owns all of it, and gives back its uid.
pub async fn apply_tier(admin: &Client, name: &str, spec: &str) -> String {
    try_apply_tier(admin, name, spec)
        .await
        .unwrap_or_else(|error| panic!("cannot apply tier {name}: {error}\n{spec}"))
}

/// As [`apply_tier`], for a tier that the API server may refuse.
pub async fn try_apply_tier(admin: &Client, name: &str, spec: &str) -> Result<String, kube::Error> {
    let spec: Value = serde_saphyr::from_str(spec).expect("a scenario's own YAML");
    let tier = json!({
        "apiVersion": "cofferdam.dev/v1alpha1",
        "kind": "IsolationTier",
        "metadata": {"name": name},
        "spec": spec,
    });
    let parameters = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("scenario").force()
    };
    // What is stored may be a tier that does not decode.
    let tiers = Api::<DynamicObject>::all_with(admin.clone(), &ApiResource::erase::<IsolationTier>(&()));
    let stored = tiers.patch(name, &parameters, &Patch::Apply(tier)).await?;
    Ok(stored.uid().expect("the server gives a uid"))
}

/// Deletes a tier and waits until it is gone.
pub async fn delete_tier(admin: &Client, name: &str, cascade: PropagationPolicy) {
    let tiers: Api<IsolationTier> = Api::all(admin.clone());
    let parameters = DeleteParams {
        propagation_policy: Some(cascade),
        ..DeleteParams::default()
    };
    tiers
        .delete(name, &parameters)
        .await
        .unwrap_or_else(|error| panic!("cannot delete tier {name}: {error}"));
    eventually(&format!("tier {name} is gone"), PATIENCE, || async {
        match tiers.get_metadata_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(left)) => Err(format!("{:?}", left.metadata)),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

/// Sets labels of a namespace in one write; null removes one.
pub async fn set_labels(admin: &Client, namespace: &str, labels: Value) {
    let patch = json!({"metadata": {"labels": labels}});
    Api::<Namespace>::all(admin.clone())
        .patch_metadata(namespace, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap_or_else(|error| panic!("cannot label namespace {namespace}: {error}"));
}

/// Every NetworkPolicy of a namespace, by name.
pub async fn policies_of(admin: &Client, namespace: &str) -> Result<BTreeMap<String, NetworkPolicy>, String> {
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), namespace);
    let list = policies
        .list(&ListParams::default())
        .await
        .map_err(|error| error.to_string())?;
    Ok(list
        .items
        .into_iter()
        .map(|policy| (policy.name_any(), policy))
        .collect())
}

/// Waits until exactly these policies stand in a namespace and `condition` holds for them; its `Err` says what it saw.
pub async fn eventually_policies(
    admin: &Client,
    namespace: &str,
    names: &[&str],
    condition: impl Fn(&BTreeMap<String, NetworkPolicy>) -> Result<(), String>,
) -> BTreeMap<String, NetworkPolicy> {
    let expected: BTreeSet<&str> = names.iter().copied().collect();
    let description = format!("{expected:?} in namespace {namespace}");
    eventually(&description, PATIENCE, || async {
        let policies = policies_of(admin, namespace).await?;
        let found: BTreeSet<&str> = policies.keys().map(String::as_str).collect();
        if found != expected {
            return Err(format!("found {found:?}"));
        }
        condition(&policies)?;
        Ok(policies)
    })
    .await
}

/// Waits until exactly these policies stand in a namespace, all of them marked as this tier's.
pub async fn eventually_governed(
    admin: &Client,
    namespace: &str,
    tier: &str,
    names: &[&str],
) -> BTreeMap<String, NetworkPolicy> {
    let uid = tier_uid(admin, tier).await;
    eventually_policies(admin, namespace, names, |policies| {
        match policies.values().find(|policy| !belongs_to(policy, tier, &uid)) {
            None => Ok(()),
            Some(other) => Err(format!(
                "{} has labels {:?} and owners {:?}, not those of {tier} {uid}",
                other.name_any(),
                other.labels(),
                other.owner_references()
            )),
        }
    })
    .await
}

fn belongs_to(policy: &NetworkPolicy, tier: &str, uid: &str) -> bool {
    let owned = policy.owner_references().iter().any(|owner| owner.uid == uid);
    owned && policy.labels().get(TIER_LABEL).is_some_and(|label| label == tier)
}

/// The uid of a tier that exists.
pub async fn tier_uid(admin: &Client, tier: &str) -> String {
    let tiers: Api<IsolationTier> = Api::all(admin.clone());
    let found = tiers
        .get_metadata(tier)
        .await
        .unwrap_or_else(|error| panic!("cannot read tier {tier}: {error}"));
    found.uid().expect("the server gives a uid")
}

/// What the controller says of a tier.
pub async fn status_of(admin: &Client, tier: &str) -> Result<IsolationTierStatus, String> {
    // The spec may be one that does not decode, so only the status is read.
    let path = format!("/apis/cofferdam.dev/v1alpha1/isolationtiers/{tier}");
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let found: Value = admin.request(request).await.map_err(|error| error.to_string())?;
    let status = serde_json::from_value(found["status"].clone()).map_err(|error| error.to_string())?;
    let generation = found["metadata"]["generation"].as_i64();
    match status {
        // Before that it speaks of another spec.
        IsolationTierStatus {
            observed_generation, ..
        } if Some(observed_generation) == generation => Ok(status),
        older => Err(format!("generation is {generation:?}, status is of {older:?}")),
    }
}

/// Waits until the status speaks of the tier's present generation and `condition` holds.
pub async fn eventually_status(
    admin: &Client,
    tier: &str,
    description: &str,
    condition: impl Fn(&IsolationTierStatus) -> bool,
) -> IsolationTierStatus {
    eventually_status_within(admin, tier, description, PATIENCE, condition).await
}

/// As [`eventually_status`], where that takes a time of its own.
pub async fn eventually_status_within(
    admin: &Client,
    tier: &str,
    description: &str,
    timeout: Duration,
    condition: impl Fn(&IsolationTierStatus) -> bool,
) -> IsolationTierStatus {
    eventually(&format!("status of tier {tier}: {description}"), timeout, || async {
        let status = status_of(admin, tier).await?;
        if condition(&status) {
            Ok(status)
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await
}

/// Waits until a tier is `Ready`.
pub async fn eventually_ready(admin: &Client, tier: &str) -> IsolationTierStatus {
    eventually_status(admin, tier, "Ready", |status| is_condition(status, "Ready", "True")).await
}

/// The condition of a type.
pub fn condition<'a>(status: &'a IsolationTierStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type is there and says so.
pub fn is_condition(status: &IsolationTierStatus, type_: &str, value: &str) -> bool {
    condition(status, type_).is_some_and(|condition| condition.status == value)
}

/// Whether a problem of this reason is listed, for this namespace or, where that is `None`, for the tier itself.
pub fn has_problem(status: &IsolationTierStatus, reason: &str, namespace: Option<&str>) -> bool {
    let mut problems = status.problems.iter();
    problems.any(|problem| problem.reason == reason && problem.namespace.as_deref() == namespace)
}

/// Where the audit log stands now: what was answered before this is not in what [`settled_writes`] gives for it.
pub async fn mark(control_plane: &ControlPlane) -> usize {
    control_plane.audit_log().settled(control_plane).await.len()
}

/// What the controller wrote to the policies of a namespace since a [`mark`], as sorted `verb name`, refused writes too; with
/// ` CODE` where it was refused. Waits until no more comes.
pub async fn settled_writes(control_plane: &ControlPlane, mark: usize, namespace: &str) -> Vec<String> {
    let written = || async {
        let events = control_plane.audit_log().settled(control_plane).await.split_off(mark);
        let ours = events.iter().filter(|event| {
            event.stage == "ResponseComplete"
                && event.user == Identity::Controller.user()
                && event.is_write()
                && event.resource == "networkpolicies"
                && event.namespace == namespace
        });
        let mut lines: Vec<String> = ours
            .map(|event| {
                let mut line = format!("{} {}", event.verb, event.name);
                if !event.succeeded() {
                    let _ = write!(line, " {}", event.code);
                }
                line
            })
            .collect();
        lines.sort();
        lines
    };
    let deadline = Instant::now() + PATIENCE;
    let (mut last, mut since) = (written().await, Instant::now());
    while since.elapsed() < NO_MORE_WRITES {
        assert!(Instant::now() < deadline, "the controller goes on writing: {last:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = written().await;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// One PUT a direction: what a namespace that moves from one tier to another may cost.
pub const ONE_WRITE_A_DIRECTION: [&str; 2] = ["update cofferdam-baseline-egress", "update cofferdam-baseline-ingress"];
