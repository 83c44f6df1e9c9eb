//! What the cluster says that a preset needs to know.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::api::Protocol;
use crate::api::names::SERVICE_NAME_LABEL;

/// A port number with its protocol.
pub type ProtocolPort = (Protocol, u16);

/// Something read from the cluster, or why it could not be. Unknown is not empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fact<T> {
    /// It was read and is complete.
    Known(T),
    /// What was looked for, where, and what was found instead.
    Unknown(String),
}

/// The facts that presets resolve from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// For the preset DNS.
    pub dns: Fact<DnsFacts>,
    /// For the preset KubeAPIServer.
    pub api_server: Fact<ApiServerFacts>,
}

/// Where the cluster's DNS answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsFacts {
    /// The namespace of the DNS Service.
    pub namespace: String,
    /// The labels of its pods; empty where the Service selects none and `endpoints` stand for them.
    pub pod_labels: BTreeMap<String, String>,
    /// Addresses behind a Service without a selector.
    pub endpoints: BTreeSet<IpAddr>,
    /// The ports that the pods listen on, from the EndpointSlices: a named `targetPort` has no number in the
    /// Service.
    pub pod_ports: BTreeSet<ProtocolPort>,
    /// The Service's own addresses.
    pub cluster_ips: BTreeSet<IpAddr>,
    /// The ports of the Service.
    pub service_ports: BTreeSet<ProtocolPort>,
}

/// Where the API server answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiServerFacts {
    /// Addresses by the ports that they listen on, at least one.
    pub endpoints: BTreeMap<BTreeSet<ProtocolPort>, BTreeSet<IpAddr>>,
    /// The `kubernetes` Service's own addresses.
    pub cluster_ips: BTreeSet<IpAddr>,
    /// The ports of that Service.
    pub service_ports: BTreeSet<ProtocolPort>,
}

/// The port that DNS clients use (RFC 1035, 4.2), and by which the DNS ports of a Service are told from its
/// metrics.
pub const DNS_PORT: u16 = 53;

impl Facts {
    /// Facts of which nothing was read yet.
    pub fn unread() -> Self {
        let unread = || String::from("the cluster was not read yet");
        Self {
            dns: Fact::Unknown(unread()),
            api_server: Fact::Unknown(unread()),
        }
    }
}

impl Fact<DnsFacts> {
    /// Reads the DNS Service `namespace/name` and its EndpointSlices.
    pub fn read(namespace: &str, name: &str, service: Option<&Service>, slices: &[EndpointSlice]) -> Self {
        let Some(spec) = service.and_then(|service| service.spec.as_ref()) else {
            return Self::Unknown(format!(
                "expected the cluster's DNS Service {namespace}/{name}, found none; name it with --dns-service NAMESPACE/NAME"
            ));
        };
        let ports = spec
            .ports
            .iter()
            .flatten()
            .filter(|port| port.port == i32::from(DNS_PORT));
        let (mut names, mut service_ports) = (BTreeSet::new(), BTreeSet::new());
        for port in ports {
            names.insert(port.name.as_deref().unwrap_or_default());
            service_ports.insert((protocol(port.protocol.as_deref()), DNS_PORT));
        }
        if service_ports.is_empty() {
            return Self::Unknown(format!(
                "expected port {DNS_PORT} in Service {namespace}/{name}, found none"
            ));
        }
        let (pod_ports, lacking) = ports_by_name(&names, slices);
        let pod_labels = spec.selector.clone().unwrap_or_default();
        let endpoints = if pod_labels.is_empty() {
            slices.iter().flat_map(addresses).collect()
        } else {
            BTreeSet::new()
        };
        // The slices follow a changed Service a moment later: while a port lacks, its clients must not be cut off.
        if !lacking.is_empty() || (pod_labels.is_empty() && endpoints.is_empty()) {
            let named = match lacking.iter().copied().collect::<Vec<_>>().join(", ") {
                lacking if pod_ports.is_empty() || lacking.is_empty() => String::new(),
                lacking => format!(" named {lacking}"),
            };
            return Self::Unknown(format!(
                "expected the ports of Service {namespace}/{name} in its EndpointSlices \
                 (label {SERVICE_NAME_LABEL}={name}), found none{named}; are its pods ready?"
            ));
        }
        let cluster_ips = cluster_ips(spec.cluster_ips.as_deref(), spec.cluster_ip.as_deref());
        Self::Known(DnsFacts {
            namespace: namespace.to_owned(),
            pod_labels,
            endpoints,
            pod_ports,
            cluster_ips,
            service_ports,
        })
    }
}

impl Fact<ApiServerFacts> {
    /// Reads the Service `default/kubernetes` and its EndpointSlices.
    pub fn read(service: Option<&Service>, slices: &[EndpointSlice]) -> Self {
        let mut endpoints = BTreeMap::<_, BTreeSet<_>>::new();
        for slice in slices {
            let ports: BTreeSet<_> = slice
                .ports
                .iter()
                .flatten()
                .filter_map(|port| Some((protocol(port.protocol.as_deref()), port_number(port.port?)?)))
                .collect();
            let addresses: BTreeSet<_> = addresses(slice).collect();
            if !ports.is_empty() && !addresses.is_empty() {
                endpoints.entry(ports).or_default().extend(addresses);
            }
        }
        if endpoints.is_empty() {
            return Self::Unknown(String::from(
                "expected the API server's addresses in the EndpointSlices of default/kubernetes \
                 (label kubernetes.io/service-name=kubernetes), found none",
            ));
        }
        let Some(spec) = service.and_then(|service| service.spec.as_ref()) else {
            return Self::Unknown(String::from("expected the Service default/kubernetes, found none"));
        };
        let service_ports = spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| Some((protocol(port.protocol.as_deref()), port_number(port.port)?)));
        let service_ports = service_ports.collect::<BTreeSet<_>>();
        if service_ports.is_empty() {
            // A rule without ports would mean every port.
            return Self::Unknown(String::from(
                "expected the ports of the Service default/kubernetes, found none",
            ));
        }
        Self::Known(ApiServerFacts {
            endpoints,
            service_ports,
            cluster_ips: cluster_ips(spec.cluster_ips.as_deref(), spec.cluster_ip.as_deref()),
        })
    }
}

/// The ports of these names that the slices have, and the names that they lack.
fn ports_by_name<'names>(
    names: &BTreeSet<&'names str>,
    slices: &[EndpointSlice],
) -> (BTreeSet<(Protocol, u16)>, BTreeSet<&'names str>) {
    let (mut ports, mut lacking) = (BTreeSet::new(), names.clone());
    for port in slices.iter().flat_map(|slice| slice.ports.iter().flatten()) {
        let name = port.name.as_deref().unwrap_or_default();
        if let Some(number) = port.port.and_then(port_number).filter(|_| names.contains(name)) {
            lacking.remove(name);
            ports.insert((protocol(port.protocol.as_deref()), number));
        }
    }
    (ports, lacking)
}

fn protocol(name: Option<&str>) -> Protocol {
    match name {
        Some("UDP") => Protocol::UDP,
        Some("SCTP") => Protocol::SCTP,
        _ => Protocol::TCP,
    }
}

/// EndpointSlices are not held to port numbers by the API server, NetworkPolicies are: one 0 would have every
/// write refused.
fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number > 0)
}

/// Endpoints that are not ready stay in: an API server that is restarting must not be cut off as it returns.
fn addresses(slice: &EndpointSlice) -> impl Iterator<Item = IpAddr> + '_ {
    slice
        .endpoints
        .iter()
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| address.parse().ok())
}

/// A headless Service has the word `None` instead of an address.
fn cluster_ips(all: Option<&[String]>, first: Option<&str>) -> BTreeSet<IpAddr> {
    let all = all.unwrap_or_default().iter().map(String::as_str);
    all.chain(first).filter_map(|address| address.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
