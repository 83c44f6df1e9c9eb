//! Namespaces of one scenario, named so that scenarios can run side by side.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::identity::Identity;
use super::permission::{Permission, wait_for_permission};

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// `prefix-7`: a name (of a namespace, a tier, a label value) that nothing else of this run has.
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Creates a namespace with these labels and gives back what the server stored.
pub async fn create_namespace(admin: &Client, name: &str, labels: &[(&str, &str)]) -> Namespace {
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    let metadata = ObjectMeta {
        name: Some(name.into()),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    let namespace = Namespace {
        metadata,
        ..Namespace::default()
    };
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap_or_else(|error| panic!("cannot create namespace {name}: {error}"))
}

/// Gives the tenant what the role `edit` holds in a namespace: among much else, every verb on its NetworkPolicies.
pub async fn let_tenant_edit(admin: &Client, namespace: &str) {
    // The parts of `edit`; nobody here runs the controller that puts them together.
    for part in ["system:aggregate-to-view", "system:aggregate-to-edit"] {
        let binding = RoleBinding {
            metadata: ObjectMeta {
                name: Some(format!("tenant:{part}")),
                ..ObjectMeta::default()
            },
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".into(),
                kind: "ClusterRole".into(),
                name: part.into(),
            },
            subjects: Some(vec![Subject {
                api_group: Some("rbac.authorization.k8s.io".into()),
                kind: "User".into(),
                name: Identity::Tenant.user().into(),
                namespace: None,
            }]),
        };
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), namespace);
        bindings
            .create(&PostParams::default(), &binding)
            .await
            .expect("binding the tenant as the admin");
    }
    for verb in ["get", "update"] {
        let permission = Permission {
            verb,
            group: "networking.k8s.io",
            resource: "networkpolicies",
            namespace,
        };
        wait_for_permission(admin, Identity::Tenant, permission).await;
    }
}
