//! An admission policy that says no to one policy of ours.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::control_plane::ControlPlane;
use super::eventually::{PATIENCE, eventually};

/// The policy that is refused.
pub const DENIED: &str = "cofferdam-allow-denied-egress";

/// Against [`super::scenario_policies::ALLOWANCES`]: the policy for mail gone, the rule for the gateway too, and one more
/// policy for some pods, [`DENIED`].
pub const NARROWER: &str = "
mode: Enforce
allow:
- {name: same, preset: SameNamespace}
- {name: to-registry, to: [{ipBlock: {cidr: 10.20.0.0/16}}], ports: [{port: 5000}]}
- {name: denied, to: [{ipBlock: {cidr: 10.40.0.0/16}}], podSelector: {matchLabels: {denied: 'yes'}}}
";

/// Waits until a policy of that name is refused, with the message that admission policies of the tests have.
pub async fn denial_begins(control_plane: &ControlPlane, namespace: &str, name: &str) {
    let policies: Api<NetworkPolicy> = Api::namespaced(control_plane.admin().await, namespace);
    let object: NetworkPolicy = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the denial has begun", PATIENCE, || async {
        match policies.create(&dry_run, &object).await {
            Err(kube::Error::Api(status)) if status.message.contains("ask the network team") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Refuses every write to the policy [`DENIED`] of one namespace until [`Denial::ends`].
pub struct Denial<'a> {
    control_plane: &'a ControlPlane,
    namespace: String,
}

impl<'a> Denial<'a> {
    /// The namespace need not exist yet, but then nothing there can show that the denial has begun: `proof` is one that does.
    pub async fn of(control_plane: &'a ControlPlane, namespace: &str, proof: &str) -> Self {
        let manifest = format!(
            "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {namespace}}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [networkpolicies]}}
  validations:
  - {{expression: \"object.metadata.name != '{DENIED}'\", message: ask the network team first}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {namespace}}}
spec:
  policyName: {namespace}
  validationActions: [Deny]
  matchResources:
    namespaceSelector:
      matchExpressions: [{{key: kubernetes.io/metadata.name, operator: In, values: [{namespace}, {proof}]}}]
"
        );
        control_plane
            .kubectl_with_input(&["apply", "-f", "-"], &manifest)
            .expect_success();
        denial_begins(control_plane, proof, DENIED).await;
        let namespace = namespace.to_owned();
        Self {
            control_plane,
            namespace,
        }
    }

    /// The policy may be written again.
    pub fn ends(self) {
        let name = &self.namespace;
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            self.control_plane.kubectl(&["delete", kind, name]).expect_success();
        }
    }
}
