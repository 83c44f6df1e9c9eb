//! What a ClusterRole grants, in the words of [`super::AuditLog::verbs_used_by`].

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, Client};

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
