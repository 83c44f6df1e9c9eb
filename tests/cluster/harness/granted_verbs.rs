//! What a ClusterRole grants, in the words of [`super::AuditLog::verbs_used_by`].

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, Client};

use super::control_plane::ControlPlane;
use super::identity::Identity;

/// Every (qualified resource, verb) of a ClusterRole's rules.
pub async fn granted_verbs(admin: Client, cluster_role: &str) -> BTreeSet<(String, String)> {
    let role = Api::<ClusterRole>::all(admin)
        .get(cluster_role)
        .await
        .expect("the ClusterRole, as the admin");
    let mut granted = BTreeSet::new();
    for rule in role.rules.unwrap_or_default() {
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

/// What the shipped ClusterRole grants and the controller has not used so far. For a control plane of its own, at the end
/// of a scenario that makes the controller do everything it ever does: on the shared one others borrow its identity.
pub async fn unused_verbs(control_plane: &ControlPlane) -> BTreeSet<(String, String)> {
    control_plane.audit_log().settled(control_plane).await;
    let used = control_plane.audit_log().verbs_used_by(Identity::Controller);
    let granted = granted_verbs(control_plane.admin().await, "cofferdam-controller").await;
    granted.difference(&used).cloned().collect()
}
