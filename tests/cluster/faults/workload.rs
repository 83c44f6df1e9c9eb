//! What happens in a plan beside the fault. Each is a state to begin with and one change of it; the writes that the change
//! brings about are counted by [`super::reference`], which holds this file to its numbers.

use std::pin::pin;
use std::time::Duration;

use cofferdam::api::IsolationTierStatus;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PropagationPolicy};
use serde_json::json;

use super::stage::Stage;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, condition, eventually_status, selecting, set_labels};

/// A change of the cluster that the controller has to follow.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Workload {
    /// A tier is created over two namespaces.
    Create,
    /// Its rules change: one policy more, one less, two others.
    Edit,
    /// One of its directions ends.
    Narrow,
    /// It gets a second direction.
    Widen,
    /// A tier of higher precedence comes.
    Outrank,
    /// The tier is deleted, and the next one takes over.
    HandOver,
    /// The tier is replaced by one of the same name.
    Recreate,
    /// The tier goes from Observe to Enforce.
    Enforce,
    /// Both namespaces leave every tier.
    Leave,
    /// Both namespaces go to another tier.
    Relabel,
    /// A tenant deletes, opens, strips and adds policies under our names.
    Drift,
    /// A tenant was there before the tier.
    TakeOver,
    /// A namespace appears.
    NewNamespace,
    /// The cluster's DNS moves to another port.
    Facts,
    /// The tier is deleted and takes its policies along.
    Remove,
    /// As [`Self::Remove`], and the next tier takes over.
    RemoveToNext,
    /// Both namespaces leave every tier, are held, and a confirmation releases them.
    Confirm,
}

const STRICT: &str = "
precedence: 10
mode: Enforce
allow:
- {name: dns, preset: DNS}
- {name: same, preset: SameNamespace}
- {name: from-gateway, from: [{namespaceSelector: {matchLabels: {gateway: 'yes'}}}], podSelector: {matchLabels: {web: 'yes'}}}
- {name: to-mail, to: [{ipBlock: {cidr: 10.30.0.0/16}}], podSelector: {matchLabels: {mail: 'yes'}}}
";

const EDITED: &str = "
precedence: 10
mode: Enforce
allow:
- {name: dns, preset: DNS}
- {name: same, preset: SameNamespace}
- {name: to-registry, to: [{ipBlock: {cidr: 10.20.0.0/16}}], ports: [{port: 5000}]}
- {name: from-proxy, from: [{namespaceSelector: {matchLabels: {proxy: 'yes'}}}], podSelector: {matchLabels: {web: 'yes'}}}
- {name: to-mail, to: [{ipBlock: {cidr: 10.40.0.0/16}}], podSelector: {matchLabels: {mail: 'yes'}}}
";

const OTHER: &str = "
mode: Enforce
allow:
- {name: to-registry, to: [{ipBlock: {cidr: 10.20.0.0/16}}], ports: [{port: 5000}]}
- {name: from-anywhere, from: [{namespaceSelector: {}}]}
";

const GOVERNED: [&str; 2] = ["alpha", "beta"];
const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";

impl Workload {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::Create,
        Self::Edit,
        Self::Narrow,
        Self::Widen,
        Self::Outrank,
        Self::HandOver,
        Self::Recreate,
        Self::Enforce,
        Self::Leave,
        Self::Relabel,
        Self::Drift,
        Self::TakeOver,
        Self::NewNamespace,
        Self::Facts,
    ];

    /// Those that came after plans had numbers.
    pub const LATER: [Self; 3] = [Self::Remove, Self::RemoveToNext, Self::Confirm];

    /// How many policies its change makes the controller write.
    pub const fn writes(self) -> usize {
        match self {
            Self::Create | Self::Edit | Self::Outrank | Self::HandOver | Self::Recreate => 8,
            Self::Enforce | Self::Leave | Self::Relabel | Self::Remove | Self::RemoveToNext | Self::Confirm => 8,
            Self::Narrow | Self::Widen | Self::Drift | Self::NewNamespace => 4,
            Self::TakeOver => 9,
            Self::Facts => 2,
        }
    }

    /// Whether a status surely says something else afterwards; a drift may be healed before it is told, and as many
    /// namespaces come as go.
    pub const fn changes_a_status(self) -> bool {
        !matches!(
            self,
            Self::HandOver | Self::Drift | Self::Facts | Self::Relabel | Self::Remove | Self::RemoveToNext
        )
    }

    /// Whether the garbage collector strips the reference to a deleted tier from policies, maybe before the controller has
    /// heard of the deletion: then it puts them right once more.
    pub const fn is_raced_by_the_garbage_collector(self) -> bool {
        matches!(
            self,
            Self::HandOver | Self::Recreate | Self::Remove | Self::RemoveToNext
        )
    }

    /// What the controller is told.
    pub const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Confirm => &["--max-unprotected=0"],
            _ => &[],
        }
    }

    /// Makes the state that it begins with; the controller has yet to follow.
    pub async fn set_up(self, stage: &Stage) {
        let admin = &stage.admin;
        for namespace in GOVERNED {
            set_labels(admin, namespace, json!({"scenario": "strict"})).await;
        }
        match self {
            Self::Create => {}
            Self::Widen => _ = apply_tier(admin, "strict", &Self::strict("isolate: [Ingress]")).await,
            Self::Enforce => {
                let shadow = STRICT.replace("mode: Enforce", "mode: Observe");
                apply_tier(admin, "strict", &selecting("strict", &shadow)).await;
            }
            Self::TakeOver => squat(stage).await,
            Self::HandOver => {
                apply_tier(admin, "strict", &Self::strict("")).await;
                apply_tier(admin, "other", &selecting("strict", OTHER)).await;
            }
            Self::Remove => _ = apply_tier(admin, "strict", &Self::strict("deletionPolicy: Remove")).await,
            Self::RemoveToNext => {
                apply_tier(admin, "strict", &Self::strict("deletionPolicy: Remove")).await;
                apply_tier(admin, "other", &selecting("strict", OTHER)).await;
            }
            Self::Relabel => {
                apply_tier(admin, "strict", &Self::strict("")).await;
                apply_tier(admin, "other", &selecting("other", OTHER)).await;
            }
            _ => _ = apply_tier(admin, "strict", &Self::strict("")).await,
        }
    }

    /// Makes the change.
    pub async fn change(self, stage: &mut Stage) {
        let admin = &stage.admin.clone();
        match self {
            Self::Create | Self::Widen | Self::Enforce | Self::TakeOver => {
                apply_tier(admin, "strict", &Self::strict("isolate: [Ingress, Egress]")).await;
            }
            Self::Edit => _ = apply_tier(admin, "strict", &selecting("strict", EDITED)).await,
            Self::Narrow => _ = apply_tier(admin, "strict", &Self::strict("isolate: [Ingress]")).await,
            Self::Outrank => {
                let above = format!("precedence: 20\n{OTHER}");
                apply_tier(admin, "other", &selecting("strict", &above)).await;
            }
            Self::HandOver | Self::Remove | Self::RemoveToNext => delete_strict(stage).await,
            Self::Confirm => {
                for namespace in GOVERNED {
                    set_labels(admin, namespace, json!({"scenario": null})).await;
                }
                confirm_what_is_held(stage).await;
            }
            Self::Recreate => {
                delete_strict(stage).await;
                apply_tier(admin, "strict", &Self::strict("")).await;
            }
            Self::Leave | Self::Relabel => {
                let label = if self == Self::Leave {
                    json!(null)
                } else {
                    json!("other")
                };
                for namespace in GOVERNED {
                    set_labels(admin, namespace, json!({"scenario": label})).await;
                }
            }
            Self::Drift => drift(stage).await,
            Self::NewNamespace => _ = create_namespace(admin, "delta", &[("scenario", "strict")]).await,
            Self::Facts => {
                stage.facts_changed = true;
                move_dns(stage).await;
            }
        }
    }

    /// The tier of most workloads with other rules and without egress, in one edit.
    pub async fn apply_ingress_alone(stage: &Stage) {
        let rules = "mode: Enforce\nprecedence: 10\nisolate: [Ingress]\nallow:\n- {name: same, preset: SameNamespace, ports: [{port: 80}]}\n";
        apply_tier(&stage.admin, "strict", &selecting("strict", rules)).await;
    }

    fn strict(more: &str) -> String {
        selecting("strict", &format!("{more}\n{STRICT}"))
    }
}

async fn delete_strict(stage: &Stage) {
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    stage
        .tiers()
        .delete("strict", &parameters)
        .await
        .expect("a tier that stands");
}

async fn confirm_what_is_held(stage: &mut Stage) {
    let both = |status: &IsolationTierStatus| {
        let ready = condition(status, "Ready").filter(|ready| ready.reason == "Held");
        ready.is_some_and(|ready| GOVERNED.iter().all(|namespace| ready.message.contains(namespace)))
    };
    let admin = stage.admin.clone();
    let status = eventually_status(&admin, "strict", "both are held", both);
    let mut status = pin!(status);
    let status = loop {
        // The crash may be at the status that is waited for.
        match tokio::time::timeout(Duration::from_millis(100), status.as_mut()).await {
            Ok(status) => break status,
            Err(_) => stage
                .bring_to_life()
                .await
                .expect("a controller that does not end by itself"),
        }
    };
    let message = &condition(&status, "Ready").expect("a condition that was found").message;
    let (_, rest) = message
        .split_once("cofferdam.dev/confirm=")
        .expect("a command that confirms");
    let digest: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    let confirmation = json!({"metadata": {"annotations": {"cofferdam.dev/confirm": digest}}});
    stage
        .tiers()
        .patch_metadata("strict", &PatchParams::default(), &Patch::Merge(confirmation))
        .await
        .expect("a tier that stands");
}

async fn squat(stage: &Stage) {
    let open = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]});
    let hole = json!({"podSelector": {"matchLabels": {"mail": "yes"}}, "policyTypes": ["Egress"], "egress": [{}]});
    for (namespace, name, spec) in [
        ("alpha", INGRESS, &open),
        ("beta", "cofferdam-allow-to-mail-egress", &hole),
        ("alpha", "cofferdam-exception-mine-egress", &hole),
    ] {
        let policy = json!({"metadata": {"name": name, "labels": {"mine": "yes"}}, "spec": spec});
        stage.create_policy(namespace, policy).await;
    }
}

async fn drift(stage: &Stage) {
    let deleted = stage.policies("alpha").delete(INGRESS, &DeleteParams::default()).await;
    deleted.expect("a policy that stands");
    stage
        .patch_policy("beta", EGRESS, json!({"spec": {"egress": [{}]}}))
        .await;
    let stripped = json!({"metadata": {"labels": {"cofferdam.dev/tier": null}, "ownerReferences": null}});
    stage
        .patch_policy("alpha", "cofferdam-allow-to-mail-egress", stripped)
        .await;
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]});
    let surplus = json!({"metadata": {"name": "cofferdam-allow-hole-ingress"}, "spec": spec});
    stage.create_policy("beta", surplus).await;
}

async fn move_dns(stage: &Stage) {
    let slices: Api<EndpointSlice> = Api::namespaced(stage.admin.clone(), "kube-system");
    let ports = json!([
        {"name": "dns", "port": 5353, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 5353, "protocol": "TCP"},
    ]);
    slices
        .patch(
            "kube-dns-a",
            &PatchParams::default(),
            &Patch::Merge(json!({"ports": ports})),
        )
        .await
        .expect("the slice of the cluster's facts");
}
