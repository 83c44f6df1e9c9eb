//! The objects that facts are read from.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::policy::{ApiServerFacts, DnsFacts, Fact, Facts};

/// EndpointSlices of one Service, by name.
pub(in crate::controller) type EndpointSlices = BTreeMap<String, EndpointSlice>;

/// What the watches of facts show.
#[derive(Debug)]
pub(in crate::controller) struct FactSources {
    /// Namespace and name of the cluster's DNS Service.
    dns_service_name: (String, String),
    /// The cluster's DNS Service.
    pub(in crate::controller) dns_service: Option<Service>,
    /// Its endpoints.
    pub(in crate::controller) dns_endpoints: EndpointSlices,
    /// The Service `default/kubernetes`.
    pub(in crate::controller) api_server_service: Option<Service>,
    /// Its endpoints.
    pub(in crate::controller) api_server_endpoints: EndpointSlices,
}

impl FactSources {
    /// Nothing seen yet.
    pub(in crate::controller) fn new(dns_service_name: (String, String)) -> Self {
        Self {
            dns_service_name,
            dns_service: None,
            dns_endpoints: BTreeMap::new(),
            api_server_service: None,
            api_server_endpoints: BTreeMap::new(),
        }
    }

    /// Reads the facts.
    pub(in crate::controller) fn facts(&self) -> Facts {
        let (namespace, name) = &self.dns_service_name;
        let slices = |slices: &EndpointSlices| slices.values().cloned().collect::<Vec<_>>();
        Facts {
            dns: Fact::<DnsFacts>::read(namespace, name, self.dns_service.as_ref(), &slices(&self.dns_endpoints)),
            api_server: Fact::<ApiServerFacts>::read(
                self.api_server_service.as_ref(),
                &slices(&self.api_server_endpoints),
            ),
        }
    }
}
