//! One step of a random history: an edit of a tier, a namespace or a policy, a fault, or an end of the controller.

use std::time::Duration;

use fastrand::Rng;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::harness::fault_proxy::{Answer, EventFault, Events, Fault, Moment, Nth, Requests};
use crate::harness::scenario_tiers::try_apply_tier;

/// Namespaces that come and go.
pub const NAMESPACES: [&str; 12] = [
    "history-a",
    "history-b",
    "history-c",
    "history-d",
    "history-e",
    "history-f",
    "history-g",
    "history-h",
    "history-i",
    "history-j",
    "history-k",
    "history-l",
];
const TIERS: [&str; 4] = ["tier-a", "tier-b", "tier-c", "tier-d"];
const GROUPS: [&str; 4] = ["red", "green", "blue", "nobodys"];
const NAMES: [&str; 7] = [
    "cofferdam-baseline-ingress",
    "cofferdam-baseline-egress",
    "cofferdam-allow-web-ingress",
    "cofferdam-allow-mail-egress",
    "cofferdam-allow-surplus-egress",
    "cofferdam-exception-mine-ingress",
    "tenants-own",
];
const RESOURCES: [&str; 4] = ["networkpolicies", "isolationtiers", "namespaces", "endpointslices"];

/// A step, with everything that chance decided.
#[derive(Clone, Debug)]
pub enum Step {
    /// A tier gets this spec.
    ApplyTier(&'static str, String),
    /// A tier is deleted.
    DeleteTier(&'static str, PropagationPolicy),
    /// A namespace is created, or gets this label.
    Label(&'static str, &'static str),
    /// A namespace is deleted.
    DeleteNamespace(&'static str),
    /// Somebody writes a policy.
    WritePolicy(&'static str, &'static str, Value),
    /// Somebody changes a policy.
    PatchPolicy(&'static str, &'static str, Value),
    /// Somebody deletes a policy.
    DeletePolicy(&'static str, &'static str),
    /// Requests go wrong.
    Fail(Requests, Nth, Fault),
    /// Events go wrong.
    Disturb(Requests, Nth, EventFault),
    /// Watches end.
    CloseWatches(&'static str),
    /// The controller is killed and started again.
    Restart,
}

impl Step {
    /// What chance brings.
    pub fn by_chance(chance: &mut Rng) -> Self {
        let namespace = any(chance, &NAMESPACES);
        match chance.u32(0..100) {
            0..=17 => Self::ApplyTier(any(chance, &TIERS), spec(chance)),
            18..=23 => Self::DeleteTier(any(chance, &TIERS), cascade(chance)),
            24..=51 => Self::Label(namespace, any(chance, &GROUPS)),
            52..=54 => Self::DeleteNamespace(namespace),
            55..=62 => Self::WritePolicy(namespace, any(chance, &NAMES), policy_spec(chance)),
            63..=72 => Self::PatchPolicy(namespace, any(chance, &NAMES), patch(chance)),
            73..=79 => Self::DeletePolicy(namespace, any(chance, &NAMES)),
            80..=89 => Self::Fail(requests(chance), nth(chance), fault(chance)),
            90..=94 => Self::Disturb(
                Requests::watches().of(any(chance, &RESOURCES)),
                nth(chance),
                event_fault(chance),
            ),
            95..=97 => Self::CloseWatches(any(chance, &RESOURCES)),
            _ => Self::Restart,
        }
    }

    /// Does it. What is refused because an earlier step left nothing to change is no step less.
    pub async fn take(&self, stage: &mut Stage) {
        let admin = stage.admin.clone();
        let fields = PatchParams::default();
        match self {
            // Recorded as refused where it replaces one that is being deleted.
            Self::ApplyTier(tier, spec) => _ = try_apply_tier(&admin, tier, spec).await,
            Self::DeleteTier(tier, cascade) => {
                let parameters = DeleteParams {
                    propagation_policy: Some(cascade.clone()),
                    ..DeleteParams::default()
                };
                let _ = stage.tiers().delete(tier, &parameters).await;
            }
            Self::Label(namespace, group) => label(&admin, namespace, group).await,
            Self::DeleteNamespace(namespace) => {
                let namespaces: Api<Namespace> = Api::all(admin);
                let _ = namespaces.delete(namespace, &DeleteParams::default()).await;
            }
            Self::WritePolicy(namespace, name, spec) => {
                let policy = json!({"metadata": {"name": name}, "spec": spec});
                let policy: NetworkPolicy = serde_json::from_value(policy).expect("a policy of ours");
                let _ = stage.policies(namespace).create(&PostParams::default(), &policy).await;
            }
            Self::PatchPolicy(namespace, name, patch) => {
                let _ = stage
                    .policies(namespace)
                    .patch(name, &fields, &Patch::Merge(patch))
                    .await;
            }
            Self::DeletePolicy(namespace, name) => {
                let _ = stage.policies(namespace).delete(name, &DeleteParams::default()).await;
            }
            Self::Fail(which, nth, fault) => _ = stage.proxy.on(which.clone(), *nth, fault.clone()),
            Self::Disturb(which, nth, fault) => {
                let _ = stage.proxy.on_events(which.clone(), Events::any(), *nth, *fault);
            }
            Self::CloseWatches(resource) => stage.proxy.close_watches(Requests::watches().of(resource)),
            Self::Restart => stage.restart_controller(),
        }
    }
}

async fn label(admin: &Client, namespace: &str, group: &str) {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let labels = json!({"metadata": {"name": namespace, "labels": {"scenario": group}}});
    let patched = namespaces
        .patch_metadata(namespace, &PatchParams::default(), &Patch::Merge(labels.clone()))
        .await;
    if patched.is_err() {
        let created: Namespace = serde_json::from_value(labels).expect("a namespace of ours");
        let _ = namespaces.create(&PostParams::default(), &created).await;
    }
}

fn any<T: Copy>(chance: &mut Rng, of: &[T]) -> T {
    of[chance.usize(0..of.len())]
}

fn spec(chance: &mut Rng) -> String {
    let allowances = [
        "{name: dns, preset: DNS}",
        "{name: same, preset: SameNamespace}",
        "{name: api, preset: KubeAPIServer}",
        "{name: web, from: [{namespaceSelector: {matchLabels: {gateway: 'yes'}}}], podSelector: {matchLabels: {web: 'yes'}}}",
        "{name: mail, to: [{ipBlock: {cidr: 10.30.0.0/16}}], podSelector: {matchLabels: {mail: 'yes'}}}",
        "{name: registry, to: [{ipBlock: {cidr: 10.20.0.0/16}}], ports: [{port: 5000}]}",
        "{name: from-monitoring, from: [{namespaceSelector: {matchLabels: {monitoring: 'yes'}}}], ports: [{port: 9090}]}",
    ];
    let chosen: Vec<&str> = allowances.into_iter().filter(|_| chance.bool()).collect();
    let allow = if chosen.is_empty() {
        String::new()
    } else {
        format!("allow: [{}]", chosen.join(", "))
    };
    let selector = match chance.u32(0..4) {
        0 => String::from("{matchExpressions: [{key: scenario, operator: In, values: [red, green]}]}"),
        _ => format!("{{matchLabels: {{scenario: {}}}}}", any(chance, &GROUPS[..3])),
    };
    let isolate = any(
        chance,
        &["[Ingress, Egress]", "[Ingress, Egress]", "[Ingress]", "[Egress]"],
    );
    let mode = if chance.u32(0..5) == 0 { "Observe" } else { "Enforce" };
    let precedence = chance.u32(0..3);
    format!("namespaceSelector: {selector}\nmode: {mode}\nprecedence: {precedence}\nisolate: {isolate}\n{allow}")
}

fn cascade(chance: &mut Rng) -> PropagationPolicy {
    match chance.u32(0..3) {
        0 => PropagationPolicy::Background,
        1 => PropagationPolicy::Foreground,
        _ => PropagationPolicy::Orphan,
    }
}

fn policy_spec(chance: &mut Rng) -> Value {
    match chance.u32(0..3) {
        0 => json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}),
        1 => json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}),
        _ => json!({"podSelector": {"matchLabels": {"own": "yes"}}, "policyTypes": ["Ingress", "Egress"]}),
    }
}

fn patch(chance: &mut Rng) -> Value {
    match chance.u32(0..5) {
        0 => json!({"spec": {"ingress": [{}]}}),
        1 => json!({"spec": {"podSelector": {"matchLabels": {"none": "here"}}}}),
        2 => json!({"metadata": {"labels": {"cofferdam.dev/tier": null}}}),
        3 => json!({"metadata": {"ownerReferences": null}}),
        _ => json!({"metadata": {"labels": {"mine": chance.u32(0..9).to_string()}}}),
    }
}

fn requests(chance: &mut Rng) -> Requests {
    match chance.u32(0..5) {
        0 | 1 => Requests::writes().of("networkpolicies"),
        2 => Requests::reads().of(any(chance, &RESOURCES)),
        3 => Requests::watches().of(any(chance, &RESOURCES)),
        _ => Requests::writes().of_subresource("isolationtiers", "status"),
    }
}

fn nth(chance: &mut Rng) -> Nth {
    Nth::from(chance.usize(1..5), chance.usize(1..3))
}

fn fault(chance: &mut Rng) -> Fault {
    let moment = any(
        chance,
        &[Moment::BeforeForwarding, Moment::AfterCommit, Moment::AfterAnswer],
    );
    match chance.u32(0..10) {
        0..=2 => Fault::Crash(moment),
        3 | 4 => Fault::Reset(moment),
        5 => Fault::TruncatedJson,
        6 => Fault::AnswerAfterCommit(Answer::usual(any(chance, &[500, 504]))),
        _ => Fault::Answer(Answer::usual(any(chance, &[403, 409, 422, 429, 500, 503, 504]))),
    }
}

fn event_fault(chance: &mut Rng) -> EventFault {
    let delay = Duration::from_millis(chance.u64(50..800));
    match chance.u32(0..6) {
        0 => EventFault::Duplicate,
        1 => EventFault::Delay(delay),
        2 => EventFault::Coalesce(delay),
        3 => EventFault::Reset,
        4 => EventFault::Expired,
        _ => EventFault::Truncate,
    }
}
