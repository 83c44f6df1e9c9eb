//! The rules of one allowance, for the API's semantics and for what enforcers get right.
//!
//! Facts about enforcers that shape the rules, each with its source:
//! * kube-router keeps the addresses of a rule in one set, where an `except` cancels an earlier block: each
//!   block with `except` gets a rule of its own (seen with real packets).
//! * kube-router lets named ports leak between pods: presets render numbers (seen with real packets).
//! * Some enforcers see a packet to a Service before its address is translated, some after: DNS and the API
//!   server are allowed by the Service's addresses and by what stands behind them (Kubernetes documentation,
//!   "Network Policies": it is not defined which).
//! * NodeLocal DNSCache answers on 169.254.20.10 of the node (Kubernetes documentation, "Using NodeLocal
//!   DNSCache").

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Unresolved;
use crate::api::names::NAMESPACE_NAME_LABEL;
use crate::api::{Direction, Preset, Protocol};
use crate::policy::facts::{DNS_PORT, ProtocolPort};
use crate::policy::tier::{Allowance, Block, PodPeer, Port, PortTarget, Traffic};
use crate::policy::{ApiServerFacts, DnsFacts, Fact, Facts};

const NODE_LOCAL_DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10));

/// One rule of either direction: at least one peer, since an empty list would mean everyone.
pub(super) struct Rule {
    first_peer: NetworkPolicyPeer,
    more_peers: Vec<NetworkPolicyPeer>,
    /// Every port where empty.
    ports: Vec<NetworkPolicyPort>,
}

impl Rule {
    /// `None` for no peers: a rule without them would let everyone through.
    fn new(peers: Vec<NetworkPolicyPeer>, ports: Vec<NetworkPolicyPort>) -> Option<Self> {
        let mut peers = peers.into_iter();
        let first_peer = peers.next()?;
        Some(Self {
            first_peer,
            more_peers: peers.collect(),
            ports,
        })
    }

    fn peers(first: NetworkPolicyPeer, more: Vec<NetworkPolicyPeer>) -> Vec<NetworkPolicyPeer> {
        [vec![first], more].concat()
    }

    pub(super) fn into_ingress(self) -> NetworkPolicyIngressRule {
        NetworkPolicyIngressRule {
            from: Some(Self::peers(self.first_peer, self.more_peers)),
            ports: Some(self.ports),
        }
    }

    pub(super) fn into_egress(self) -> NetworkPolicyEgressRule {
        NetworkPolicyEgressRule {
            to: Some(Self::peers(self.first_peer, self.more_peers)),
            ports: Some(self.ports),
        }
    }
}

/// The rules of an allowance in one of its directions.
pub(super) fn resolve(allowance: &Allowance, direction: Direction, facts: &Facts) -> Result<Vec<Rule>, Unresolved> {
    debug_assert!(allowance.directions().contains(&direction));
    match &allowance.traffic {
        Traffic::Dns => match &facts.dns {
            Fact::Known(dns) => Ok(dns_rules(dns)),
            Fact::Unknown(looked_for) => Err(unresolved(allowance, Preset::Dns, looked_for)),
        },
        Traffic::KubeApiServer => match &facts.api_server {
            Fact::Known(api_server) => Ok(api_server_rules(api_server)),
            Fact::Unknown(looked_for) => Err(unresolved(allowance, Preset::KubeApiServer, looked_for)),
        },
        Traffic::SameNamespace { ports } => {
            let everyone = NetworkPolicyPeer {
                pod_selector: Some(LabelSelector::default()),
                ..Default::default()
            };
            Ok(Rule::new(vec![everyone], render_ports(ports)).into_iter().collect())
        }
        Traffic::Peers {
            pods, blocks, ports, ..
        } => Ok(peer_rules(pods, blocks, &render_ports(ports))),
    }
}

fn unresolved(allowance: &Allowance, preset: Preset, looked_for: &str) -> Unresolved {
    Unresolved::Allowance {
        allowance: allowance.name.clone(),
        preset,
        looked_for: looked_for.to_owned(),
    }
}

fn dns_rules(dns: &DnsFacts) -> Vec<Rule> {
    let pods = NetworkPolicyPeer {
        namespace_selector: Some(label(NAMESPACE_NAME_LABEL, &dns.namespace)),
        pod_selector: Some(LabelSelector {
            match_labels: Some(dns.pod_labels.clone()),
            match_expressions: None,
        }),
        ip_block: None,
    };
    let backends = if dns.pod_labels.is_empty() {
        hosts(&dns.endpoints)
    } else {
        vec![pods]
    };
    let node_local = BTreeSet::from([(Protocol::TCP, DNS_PORT), (Protocol::UDP, DNS_PORT)]);
    [
        Rule::new(backends, numbers(&dns.pod_ports)),
        Rule::new(hosts(&dns.cluster_ips), numbers(&dns.service_ports)),
        Rule::new(hosts(&BTreeSet::from([NODE_LOCAL_DNS])), numbers(&node_local)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn api_server_rules(api_server: &ApiServerFacts) -> Vec<Rule> {
    let endpoints = api_server
        .endpoints
        .iter()
        .map(|(ports, addresses)| Rule::new(hosts(addresses), numbers(ports)));
    let service = Rule::new(hosts(&api_server.cluster_ips), numbers(&api_server.service_ports));
    endpoints.chain([service]).flatten().collect()
}

fn peer_rules(pods: &[PodPeer], blocks: &[Block], ports: &[NetworkPolicyPort]) -> Vec<Rule> {
    let (holed, whole): (Vec<_>, Vec<_>) = blocks.iter().partition(|block| !block.except.is_empty());
    let pods = pods.iter().map(|peer| NetworkPolicyPeer {
        namespace_selector: peer.namespaces.clone(),
        pod_selector: peer.pods.clone(),
        ip_block: None,
    });
    let shared = pods.chain(whole.into_iter().map(block_peer)).collect();
    let own = holed
        .into_iter()
        .map(|block| Rule::new(vec![block_peer(block)], ports.to_vec()));
    [Rule::new(shared, ports.to_vec())]
        .into_iter()
        .chain(own)
        .flatten()
        .collect()
}

fn block_peer(block: &Block) -> NetworkPolicyPeer {
    let except: Vec<_> = block.except.iter().map(ToString::to_string).collect();
    let ip_block = IPBlock {
        cidr: block.cidr.to_string(),
        except: (!except.is_empty()).then_some(except),
    };
    NetworkPolicyPeer {
        ip_block: Some(ip_block),
        ..NetworkPolicyPeer::default()
    }
}

fn hosts(addresses: &BTreeSet<IpAddr>) -> Vec<NetworkPolicyPeer> {
    addresses
        .iter()
        .map(|&address| {
            block_peer(&Block {
                cidr: IpNet::from(address),
                except: Vec::new(),
            })
        })
        .collect()
}

fn numbers(ports: &BTreeSet<ProtocolPort>) -> Vec<NetworkPolicyPort> {
    ports
        .iter()
        .map(|&(protocol, port)| render_port(protocol, Some(IntOrString::Int(port.into())), None))
        .collect()
}

fn render_ports(ports: &[Port]) -> Vec<NetworkPolicyPort> {
    let render = |port: &Port| match &port.target {
        PortTarget::All => render_port(port.protocol, None, None),
        PortTarget::Name(name) => render_port(port.protocol, Some(IntOrString::String(name.clone())), None),
        PortTarget::Numbers { first, last } => {
            let end = (last > first).then_some(i32::from(*last));
            render_port(port.protocol, Some(IntOrString::Int((*first).into())), end)
        }
    };
    ports.iter().map(render).collect()
}

fn render_port(protocol: Protocol, port: Option<IntOrString>, end_port: Option<i32>) -> NetworkPolicyPort {
    let protocol = match protocol {
        Protocol::TCP => "TCP",
        Protocol::UDP => "UDP",
        Protocol::SCTP => "SCTP",
    };
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port,
        end_port,
    }
}

fn label(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        match_expressions: None,
    }
}
