//! A write as the object that is sent.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{Action, Write};
use crate::api::names::{API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, RENDERED_ANNOTATION, TIER_KIND, TIER_LABEL};
use crate::policy::Namespace;
use crate::policy::drift::Written;
use crate::policy::observed::ForeignMetadata;

impl Write {
    /// The complete object. Labels come from a fixed list, never from tier or namespace: a copied tracking
    /// label would make a GitOps tool prune it.
    pub fn object(&self, namespace: &Namespace) -> NetworkPolicy {
        let (foreign, uid, resource_version) = match &self.action {
            Action::Create => (ForeignMetadata::default(), None, None),
            Action::Replace {
                resource_version,
                uid,
                foreign,
            } => {
                let foreign = foreign.as_deref().cloned().unwrap_or_default();
                (foreign, Some(uid.to_string()), Some(resource_version.to_string()))
            }
        };
        let mut labels = foreign.labels;
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
        labels.insert(TIER_LABEL.to_owned(), self.tier.name.to_string());
        let mut annotations = foreign.annotations;
        annotations.insert(RENDERED_ANNOTATION.to_owned(), self.policy.digest.to_string());
        NetworkPolicy {
            metadata: ObjectMeta {
                name: Some(self.name.to_string()),
                namespace: Some(namespace.name.clone()),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(owner_references(
                    (&self.tier.name, &self.tier.uid),
                    (&namespace.name, &namespace.uid),
                )),
                finalizers: (!foreign.finalizers.is_empty()).then_some(foreign.finalizers),
                uid,
                resource_version,
                ..ObjectMeta::default()
            },
            spec: Some(self.policy.spec.clone()),
        }
    }

    /// What is remembered once this is written.
    pub fn written(&self) -> Written {
        Written {
            spec: self.policy.digest,
            tier: Arc::clone(&self.tier),
        }
    }
}

/// The tier and the namespace itself, each by name and uid: the garbage collector deletes only what has no owner left, so deleting
/// the tier, in whichever cascade mode, or the CRD leaves the policy in place. `blockOwnerDeletion` stays
/// unset: OwnerReferencesPermissionEnforcement would refuse it.
pub fn owner_references(
    (tier_name, tier_uid): (&str, &str),
    (namespace, namespace_uid): (&str, &str),
) -> Vec<OwnerReference> {
    vec![
        OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: TIER_KIND.to_owned(),
            name: tier_name.to_owned(),
            uid: tier_uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        },
        OwnerReference {
            api_version: String::from("v1"),
            kind: String::from("Namespace"),
            name: namespace.to_owned(),
            uid: namespace_uid.to_owned(),
            ..OwnerReference::default()
        },
    ]
}
