//! A cluster at one moment, as files or a live cluster show it: what a plan is made from.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::api::names::{API_SERVER_SERVICE, SERVICE_NAME_LABEL};
use crate::policy::{ApiServerFacts, DnsFacts, Fact, Facts, Namespace, ParsedTier};

/// A cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By name.
    pub tiers: BTreeMap<String, TierManifest>,
    /// Metadata by name.
    pub namespaces: BTreeMap<String, ObjectMeta>,
    /// Everybody's policies, by namespace.
    pub policies: BTreeMap<String, Vec<NetworkPolicy>>,
    /// Of which two matter: the DNS Service and `default/kubernetes`.
    pub services: Vec<Service>,
    /// Theirs and any others.
    pub endpoint_slices: Vec<EndpointSlice>,
}

/// A tier as it is written.
#[derive(Clone, Debug)]
pub struct TierManifest {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its raw spec.
    pub spec: Value,
    /// What the controller says of it, raw; null where it says nothing.
    pub status: Value,
}

impl From<DynamicObject> for TierManifest {
    fn from(tier: DynamicObject) -> Self {
        let field = |name: &str| tier.data.get(name).cloned().unwrap_or_default();
        Self {
            spec: field("spec"),
            status: field("status"),
            metadata: tier.metadata,
        }
    }
}

impl Snapshot {
    /// Adds a tier.
    pub fn insert_tier(&mut self, tier: TierManifest) {
        let name = tier.metadata.name.clone().unwrap_or_default();
        self.tiers.insert(name, tier);
    }

    /// Adds a namespace.
    pub fn insert_namespace(&mut self, metadata: ObjectMeta) {
        let name = metadata.name.clone().unwrap_or_default();
        self.namespaces.insert(name, metadata);
    }

    /// Adds a policy to its namespace.
    pub fn insert_policy(&mut self, policy: NetworkPolicy) {
        let namespace = policy.metadata.namespace.clone().unwrap_or_default();
        self.policies.entry(namespace).or_default().push(policy);
    }

    /// The tiers, parsed.
    pub fn parsed_tiers(&self) -> Vec<ParsedTier> {
        let parse = |tier: &TierManifest| ParsedTier::parse(&tier.metadata, &tier.spec);
        self.tiers.values().map(parse).collect()
    }

    /// The namespaces, by name.
    pub fn core_namespaces(&self) -> impl Iterator<Item = Namespace> {
        self.namespaces.values().cloned().map(Namespace::from)
    }

    /// What stands in a namespace, whoever wrote it.
    pub fn policies_in(&self, namespace: &str) -> &[NetworkPolicy] {
        self.policies.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// What the presets resolve from.
    pub fn facts(&self, dns_service: &(String, String)) -> Facts {
        let (namespace, name) = dns_service;
        let (service, slices) = (self.service(namespace, name), self.slices_of(namespace, name));
        let dns = Fact::<DnsFacts>::read(namespace, name, service, &slices);
        let (namespace, name) = API_SERVER_SERVICE;
        let (service, slices) = (self.service(namespace, name), self.slices_of(namespace, name));
        let api_server = Fact::<ApiServerFacts>::read(service, &slices);
        Facts { dns, api_server }
    }

    fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| {
            service.metadata.namespace.as_deref() == Some(namespace) && service.metadata.name.as_deref() == Some(name)
        })
    }

    fn slices_of(&self, namespace: &str, service: &str) -> Vec<EndpointSlice> {
        let belongs = |slice: &&EndpointSlice| {
            let labels = slice.metadata.labels.as_ref();
            slice.metadata.namespace.as_deref() == Some(namespace)
                && labels
                    .and_then(|labels| labels.get(SERVICE_NAME_LABEL))
                    .is_some_and(|name| name == service)
        };
        self.endpoint_slices.iter().filter(belongs).cloned().collect()
    }
}
