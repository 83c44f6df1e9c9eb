//! What the shipped roles grant, in the words of [`super::AuditLog::verbs_used_by`].

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::{Api, Client};

use super::control_plane::ControlPlane;
use super::identity::Identity;

/// Every (qualified resource, verb) of a ClusterRole's rules.
pub async fn granted_verbs(admin: Client, cluster_role: &str) -> BTreeSet<(String, String)> {
    let role = Api::<ClusterRole>::all(admin)
        .get(cluster_role)
        .await
        .expect("the ClusterRole, as the admin");
    verbs_of(role.rules)
}

/// Every (qualified resource, verb) that `config/rbac` grants the controller, in all namespaces or in its own.
async fn all_granted_verbs(admin: Client) -> BTreeSet<(String, String)> {
    let role = Api::<Role>::namespaced(admin.clone(), "cofferdam-system")
        .get("cofferdam-leader-election")
        .await
        .expect("the Role, as the admin");
    let mut granted = verbs_of(role.rules);
    granted.extend(granted_verbs(admin, "cofferdam-controller").await);
    granted
}

fn verbs_of(rules: Option<Vec<PolicyRule>>) -> BTreeSet<(String, String)> {
    let mut granted = BTreeSet::new();
    for rule in rules.unwrap_or_default() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let qualified = if group.is_empty() {
                    resource.clone()
                } else {
                    format!("{group}/{resource}")
                };
                granted.extend(rule.verbs.iter().map(|verb| (qualified.clone(), verb.clone())));
            }
        }
    }
    granted
}

/// What the shipped roles grant and the controller has not used so far. For a control plane of its own, at the end
/// of a scenario that makes the controller do everything it ever does: on the shared one others borrow its identity.
pub async fn unused_verbs(control_plane: &ControlPlane) -> BTreeSet<(String, String)> {
    control_plane.audit_log().settled(control_plane).await;
    let used = control_plane.audit_log().verbs_used_by(Identity::Controller);
    let granted = all_granted_verbs(control_plane.admin().await).await;
    granted.difference(&used).cloned().collect()
}
