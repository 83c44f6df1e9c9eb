//! The very bytes that the controller writes, for raw requests: taken from policies that it wrote.

use bytes::Bytes;
use http::Method;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ObjectMeta;
use serde_json::Value;

use crate::connection::{Prepared, Server};
use crate::watch_events::Metadata;

/// The base policies, as the controller wrote them in one namespace.
#[derive(Clone)]
pub struct PolicyBytes {
    namespace: String,
    policies: Vec<NetworkPolicy>,
}

/// The base policies' names.
pub const BASES: [&str; 2] = ["cofferdam-baseline-egress", "cofferdam-baseline-ingress"];

impl PolicyBytes {
    /// Reads what stands in `namespace` and takes away what the server added.
    pub async fn written_in(server: &Server, namespace: &str) -> Self {
        let mut policies = Vec::new();
        for name in BASES {
            let read = server.get(&path(namespace, Some(name))).await;
            let mut policy: NetworkPolicy = serde_json::from_value(read).expect("a NetworkPolicy");
            policy.metadata = ObjectMeta {
                name: policy.metadata.name,
                namespace: policy.metadata.namespace,
                labels: policy.metadata.labels,
                annotations: policy.metadata.annotations,
                owner_references: policy.metadata.owner_references,
                ..ObjectMeta::default()
            };
            policies.push(policy);
        }
        Self {
            namespace: namespace.to_owned(),
            policies,
        }
    }

    /// How many bytes the larger body has.
    pub fn size(&self) -> usize {
        let sizes = self
            .policies
            .iter()
            .map(|policy| self.body(policy, &self.namespace).len());
        sizes.max().unwrap_or_default()
    }

    /// The specs, in the order of [`BASES`].
    pub fn specs(&self) -> Vec<Value> {
        let specs = self.policies.iter().map(|policy| &policy.spec);
        specs
            .map(|spec| serde_json::to_value(spec).expect("a spec is JSON"))
            .collect()
    }

    /// What creates both policies in `namespace`.
    pub fn posts(&self, namespace: &str) -> Vec<Prepared> {
        let post = |policy| Prepared {
            method: Method::POST,
            path: format!("{}?fieldManager=cofferdam", path(namespace, None)),
            body: self.body(policy, namespace),
        };
        self.policies.iter().map(post).collect()
    }

    /// What replaces the policy that stands there as `standing` says.
    pub fn put(&self, standing: &Metadata) -> Prepared {
        let same_name = |policy: &&NetworkPolicy| policy.metadata.name.as_ref() == Some(&standing.name);
        let mut policy = self.policies.iter().find(same_name).expect("a base policy").clone();
        policy.metadata.uid = Some(standing.uid.clone());
        policy.metadata.resource_version = Some(standing.resource_version.clone());
        let path = path(&standing.namespace, Some(&standing.name));
        Prepared {
            method: Method::PUT,
            path: format!("{path}?fieldManager=cofferdam"),
            body: self.body(&policy, &standing.namespace),
        }
    }

    fn body(&self, policy: &NetworkPolicy, namespace: &str) -> Bytes {
        let text = serde_json::to_string(policy).expect("a policy is JSON");
        text.replace(&format!("\"{}\"", self.namespace), &format!("\"{namespace}\""))
            .into()
    }
}

/// Path of a namespace's policies, or of one.
pub fn path(namespace: &str, name: Option<&str>) -> String {
    let name = name.map(|name| format!("/{name}")).unwrap_or_default();
    format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies{name}")
}
