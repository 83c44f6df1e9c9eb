//! A namespace, as far as the core needs it, and which ones are never touched.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::api::names::SYSTEM_NAMESPACES;

/// A namespace of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; a namespace deleted and recreated under the same name has another one.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.creationTimestamp`, to the second.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted: such a namespace is left alone.
    pub terminating: bool,
}

impl From<ObjectMeta> for Namespace {
    fn from(metadata: ObjectMeta) -> Self {
        Self {
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
            created: metadata.creation_timestamp.map(|time| time.0),
            terminating: metadata.deletion_timestamp.is_some(),
        }
    }
}

/// Namespaces that are never touched, by name: a label could be forged by whoever may edit a namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exemptions {
    exact: Vec<String>,
    prefixes: Vec<String>,
}

impl Exemptions {
    /// The system namespaces, the controller's own, and `patterns`: names, where a trailing `*` stands for
    /// any ending.
    pub fn new<'a>(own_namespace: &'a str, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut exemptions = Self { exact: Vec::new(), prefixes: Vec::new() };
        for pattern in SYSTEM_NAMESPACES.into_iter().chain([own_namespace]).chain(patterns) {
            match pattern.strip_suffix('*') {
                Some(prefix) => exemptions.prefixes.push(prefix.to_owned()),
                None => exemptions.exact.push(pattern.to_owned()),
            }
        }
        exemptions
    }

    /// Whether the namespace of that name is never touched.
    pub fn contains(&self, namespace: &str) -> bool {
        self.exact.iter().any(|exact| exact == namespace)
            || self.prefixes.iter().any(|prefix| namespace.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemption_is_by_name_with_a_trailing_star() {
        let exemptions = Exemptions::new("cofferdam-system", ["openshift-*", "vault"]);
        for name in ["kube-system", "kube-public", "kube-node-lease", "cofferdam-system", "openshift-dns", "vault"] {
            assert!(exemptions.contains(name), "{name}");
        }
        for name in ["kube", "vault-2", "my-openshift-dns", "default"] {
            assert!(!exemptions.contains(name), "{name}");
        }
    }
}
