//! A namespace that a tier of its own governs, what is ours in it, and how somebody else changes that.

use std::collections::BTreeMap;

use cofferdam::api::names::{MANAGED_BY_LABEL, RENDERED_ANNOTATION, TIER_LABEL};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::controller::Controller;
use super::eventually::{PATIENCE, eventually};
use super::identity::Identity;
use super::observer::{Observer, is_reserved_name};
use super::scenario_namespaces::{create_namespace, let_tenant_edit, unique_name};
use super::scenario_tiers::{apply_tier, eventually_status, policies_of, selecting};

/// Two base rules a direction, and one policy for some pods only. No preset: facts are another scenario's question.
pub const ALLOWANCES: &str = "
mode: Enforce
allow:
- {name: same, preset: SameNamespace}
- {name: from-gateway, from: [{namespaceSelector: {matchLabels: {gateway: 'yes'}}}], ports: [{port: 8080}]}
- {name: to-registry, to: [{ipBlock: {cidr: 10.20.0.0/16}}], ports: [{port: 5000}]}
- {name: to-mail, to: [{ipBlock: {cidr: 10.30.0.0/16}}], podSelector: {matchLabels: {mail: 'yes'}}}
";

/// The policies that [`ALLOWANCES`] come to, sorted.
pub const POLICIES: [&str; 3] = [
    "cofferdam-allow-to-mail-egress",
    "cofferdam-baseline-egress",
    "cofferdam-baseline-ingress",
];

/// The field manager of everything that a scenario's tenant does.
pub const OTHER_MANAGER: &str = "another-manager";

/// A namespace and the tier that governs it, which have the same name.
pub struct Governed<'a> {
    /// Where it is.
    pub control_plane: &'a ControlPlane,
    /// Name of the namespace and of the tier.
    pub name: String,
    /// May do everything.
    pub admin: Client,
    /// The tenant's view of the namespace's policies.
    pub tenant: Api<NetworkPolicy>,
    /// What stood there once the controller was done.
    pub rendered: BTreeMap<String, Value>,
}

impl Governed<'static> {
    /// One on the shared control plane.
    pub async fn on_shared(prefix: &str) -> (Self, &'static Controller) {
        let control_plane = ControlPlane::shared().await;
        let controller = Controller::shared().await;
        (Self::on(control_plane, prefix).await, controller)
    }
}

impl<'a> Governed<'a> {
    /// Creates tier and namespace, and waits until a running controller has protected it and says so.
    pub async fn on(control_plane: &'a ControlPlane, prefix: &str) -> Self {
        let admin = control_plane.admin().await;
        let name = unique_name(prefix);
        apply_tier(&admin, &name, &selecting(&name, ALLOWANCES)).await;
        create_namespace(&admin, &name, &[("scenario", &name)]).await;
        let_tenant_edit(&admin, &name).await;
        let mut governed = Self {
            control_plane,
            tenant: Api::namespaced(control_plane.client(Identity::Tenant).await, &name),
            rendered: BTreeMap::new(),
            name,
            admin,
        };
        governed.is_protected().await;
        governed.rendered = ours_in(&governed.admin, &governed.name).await.expect("as the admin");
        let names: Vec<&str> = governed.rendered.keys().map(String::as_str).collect();
        assert_eq!(names, POLICIES);
        governed
    }

    /// Waits until the tier says that its one namespace is protected.
    pub async fn is_protected(&self) {
        eventually_status(&self.admin, &self.name, "one namespace, protected", |status| {
            let counts = status.namespaces.unwrap_or_default();
            (counts.selected, counts.protected, counts.drifted, counts.failed) == (1, 1, 0, 0)
        })
        .await;
    }

    /// Waits until everything of ours stands again as it was rendered, and nothing more does.
    pub async fn is_as_rendered(&self) {
        let description = format!("the policies of {} are as rendered", self.name);
        eventually(&description, PATIENCE, || async {
            let found = ours_in(&self.admin, &self.name).await?;
            if found == self.rendered {
                Ok(())
            } else {
                Err(format!("{found:#?}"))
            }
        })
        .await;
    }

    /// Waits until the namespace is as rendered and `count` drifts of this kind, and none of another, were found and healed.
    pub async fn is_healed(&self, controller: &Controller, kind: &str, count: u32) {
        self.drift_is(controller, &[(kind, count)]).await;
        self.is_as_rendered().await;
        // Counting may come after the write, but never twice.
        self.drift_is(controller, &[(kind, count)]).await;
    }

    /// Waits until exactly these drifts were found and healed, by kind.
    pub async fn drift_is(&self, controller: &Controller, expected: &[(&str, u32)]) {
        let description = format!("drift of tier {} is {expected:?}", self.name);
        controller
            .eventually_metrics(&description, |metrics| {
                let mut wrong = Vec::new();
                for kind in ["missing", "modified", "disowned", "surplus"] {
                    let wanted = expected.iter().find(|(wanted, _)| *wanted == kind);
                    let wanted = f64::from(wanted.map_or(0, |(_, count)| *count));
                    for name in ["cofferdam_drift_detected_total", "cofferdam_drift_corrected_total"] {
                        let found = metrics.value(name, &[("tier", &self.name), ("kind", kind)]);
                        // A tier of which nothing was counted has its series too.
                        if found != Some(wanted) {
                            wrong.push(format!("{name} {kind} is {found:?}"));
                        }
                    }
                }
                if wrong.is_empty() {
                    Ok(())
                } else {
                    Err(wrong.join("; "))
                }
            })
            .await;
    }

    /// Waits for an Event with this reason about the policy, and for one about the tier, whose notes hold `words`.
    pub async fn is_announced(&self, policy: &str, reason: &str, words: &str) {
        let places = [
            (self.name.as_str(), "NetworkPolicy", policy),
            // Where Events about what is cluster-wide are kept.
            ("default", "IsolationTier", self.name.as_str()),
        ];
        for (namespace, kind, name) in places {
            let events: Api<Event> = Api::namespaced(self.admin.clone(), namespace);
            eventually(&format!("an Event {reason} about {kind} {name}"), PATIENCE, || async {
                let list = events
                    .list(&ListParams::default())
                    .await
                    .map_err(|error| error.to_string())?;
                let about: Vec<(Option<String>, Option<String>)> = list
                    .items
                    .into_iter()
                    .filter(|event| {
                        event.regarding.as_ref().is_some_and(|regarding| {
                            regarding.kind.as_deref() == Some(kind) && regarding.name.as_deref() == Some(name)
                        })
                    })
                    .map(|event| (event.reason, event.note))
                    .collect();
                let found = about.iter().any(|(found, note)| {
                    found.as_deref() == Some(reason)
                        && note
                            .as_deref()
                            .is_some_and(|note| note.contains(policy) && note.contains(words))
                });
                if found { Ok(()) } else { Err(format!("{about:?}")) }
            })
            .await;
        }
    }

    /// Merges `change` into the policy, as the tenant.
    pub async fn merge(&self, policy: &str, change: Value) -> NetworkPolicy {
        self.tenant
            .patch(
                policy,
                &PatchParams {
                    field_manager: Some(OTHER_MANAGER.into()),
                    ..PatchParams::default()
                },
                &Patch::Merge(change),
            )
            .await
            .unwrap_or_else(|error| panic!("the tenant may not change {policy}: {error}"))
    }

    /// The live object.
    pub async fn get(&self, policy: &str) -> NetworkPolicy {
        let policies: Api<NetworkPolicy> = Api::namespaced(self.admin.clone(), &self.name);
        policies
            .get(policy)
            .await
            .unwrap_or_else(|error| panic!("cannot read {policy}: {error}"))
    }

    /// The judge of this namespace.
    pub fn observer(&self) -> Observer {
        Observer::of([&self.name])
    }

    /// Its verdict; call it last.
    pub async fn verdict(&self) {
        self.observer().verdict(self.control_plane).await;
    }
}

/// A way to change a spec.
#[derive(Clone, Copy, Debug)]
pub enum Means {
    /// The whole object, as `kubectl replace` sends it.
    Put,
    /// As `kubectl patch --type=merge`.
    MergePatch,
    /// As `kubectl apply --server-side --force-conflicts`.
    ForcedApply,
}

impl Means {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Put, Self::MergePatch, Self::ForcedApply];

    /// Changes fields of the spec.
    pub async fn change_spec(self, policies: &Api<NetworkPolicy>, name: &str, change: &Value) {
        let manager = format!("{OTHER_MANAGER}-{self:?}").to_lowercase();
        let parameters = PatchParams {
            field_manager: Some(manager.clone()),
            ..PatchParams::default()
        };
        let result = match self {
            Self::Put => {
                let mut object = serde_json::to_value(policies.get(name).await.expect("a policy that stands")).unwrap();
                for (field, value) in change.as_object().expect("fields of a spec") {
                    object["spec"][field] = value.clone();
                }
                let parameters = PostParams {
                    field_manager: Some(manager),
                    ..PostParams::default()
                };
                policies
                    .replace(name, &parameters, &serde_json::from_value(object).unwrap())
                    .await
            }
            Self::MergePatch => {
                policies
                    .patch(name, &parameters, &Patch::Merge(json!({"spec": change})))
                    .await
            }
            Self::ForcedApply => {
                let object = json!({
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "NetworkPolicy",
                    "metadata": {"name": name},
                    "spec": change,
                });
                policies.patch(name, &parameters.force(), &Patch::Apply(object)).await
            }
        };
        result.unwrap_or_else(|error| panic!("{self:?} of {name} was refused: {error}"));
    }
}

/// What we answer for in the reserved names of a namespace: the specs and our marks, nothing that others wrote beside.
pub async fn ours_in(admin: &Client, namespace: &str) -> Result<BTreeMap<String, Value>, String> {
    let policies = policies_of(admin, namespace).await?;
    let ours = policies.into_iter().filter(|(name, _)| is_reserved_name(name));
    Ok(ours.map(|(name, policy)| (name, what_is_ours(&policy))).collect())
}

fn what_is_ours(policy: &NetworkPolicy) -> Value {
    json!({
        "spec": policy.spec,
        "managed-by": policy.labels().get(MANAGED_BY_LABEL),
        "tier": policy.labels().get(TIER_LABEL),
        "rendered": policy.annotations().get(RENDERED_ANNOTATION),
        "owners": policy.owner_references(),
        "deleting": policy.metadata.deletion_timestamp.is_some(),
    })
}
