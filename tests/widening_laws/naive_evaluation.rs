//! NetworkPolicy semantics, one connection at a time, over a world small enough to try every connection of it.
//! Shares no code with what it judges.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use k8s_openapi::api::networking::v1::{NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub type LabelValues = BTreeMap<String, String>;

/// The namespace of the policies, and its labels.
pub const HERE: &str = "here";
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What enforcers differ in.
#[derive(Clone, Copy, Debug)]
pub struct Enforcer {
    pub blocks_hold_for_pods: bool,
    pub names_hold_for_addresses: bool,
}

impl Enforcer {
    pub const ALL: [Self; 4] = [
        Self::new(false, false),
        Self::new(false, true),
        Self::new(true, false),
        Self::new(true, true),
    ];

    const fn new(blocks_hold_for_pods: bool, names_hold_for_addresses: bool) -> Self {
        Self {
            blocks_hold_for_pods,
            names_hold_for_addresses,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Peer {
    Pod {
        namespace: LabelValues,
        labels: LabelValues,
        address: IpAddr,
    },
    Address(IpAddr),
}

#[derive(Clone, Debug)]
pub struct Port {
    pub protocol: &'static str,
    pub number: u16,
    /// What the pod that is connected to calls it.
    pub name: Option<&'static str>,
}

/// The worst connection that one policy allows and others do not: to ports of a peer that they allow, or to a peer
/// that they do not allow.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Worst {
    Ports,
    Pods,
    Addresses,
}

pub fn here() -> LabelValues {
    labels(&[(NAME_LABEL, Some(HERE)), ("a", Some("x"))])
}

fn labels(pairs: &[(&str, Option<&str>)]) -> LabelValues {
    let present = pairs.iter().filter_map(|&(key, value)| Some((key, value?)));
    present.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Every pod that selectors over a = x, y and b = x can tell apart.
pub fn pods() -> Vec<LabelValues> {
    let mut pods = Vec::new();
    for a in [None, Some("x"), Some("y"), Some("z")] {
        for b in [None, Some("x"), Some("z")] {
            pods.push(labels(&[("a", a), ("b", b)]));
        }
    }
    pods
}

/// Every peer that generated policies can tell apart.
pub fn peers() -> Vec<Peer> {
    let mut namespaces = vec![here()];
    for name in ["there", "elsewhere"] {
        for a in [None, Some("x"), Some("y"), Some("z")] {
            namespaces.push(labels(&[(NAME_LABEL, Some(name)), ("a", a)]));
        }
    }
    let addresses = [
        "10.0.0.0",
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "10.0.0.4",
        "10.0.0.5",
        "10.0.0.6",
        "10.0.0.7",
        "10.0.0.8",
        "192.0.2.1",
        "fd00::",
        "fd00::1",
        "fd00::2",
        "fd00::3",
        "fd00::4",
        "2001:db8::1",
    ];
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let mut peers: Vec<Peer> = addresses.iter().copied().map(Peer::Address).collect();
    for (index, namespace) in namespaces.iter().enumerate() {
        for (offset, labels) in pods().into_iter().enumerate() {
            // Any address may be any pod's: each combination would take too long, so they take turns.
            let address = addresses[(index * 5 + offset) % addresses.len()];
            let namespace = namespace.clone();
            peers.push(Peer::Pod {
                namespace,
                labels,
                address,
            });
        }
    }
    peers
}

/// Every port that generated policies can tell apart.
pub fn ports() -> Vec<Port> {
    let mut ports = vec![Port {
        protocol: "ICMP",
        number: 0,
        name: None,
    }];
    for protocol in ["TCP", "UDP", "SCTP"] {
        for number in 1..=6 {
            for name in [None, Some("web"), Some("sql")] {
                ports.push(Port { protocol, number, name });
            }
        }
    }
    ports
}

/// The worst connection that `foreign` allows and none of `tier` does.
pub fn worst_beyond(
    tier: &[NetworkPolicySpec],
    foreign: &NetworkPolicySpec,
    egress: bool,
    enforcer: Enforcer,
) -> Option<Worst> {
    static PEERS: LazyLock<Vec<Peer>> = LazyLock::new(peers);
    static PORTS: LazyLock<Vec<Port>> = LazyLock::new(ports);
    let mut worst = None;
    for pod in pods().iter().filter(|pod| selects(foreign, pod)) {
        let tier: Vec<_> = tier.iter().filter(|policy| selects(policy, pod)).collect();
        for peer in PEERS.iter() {
            let theirs = ports_allowed(&[foreign], egress, peer, &PORTS, enforcer);
            if !theirs.contains(&true) {
                continue;
            }
            let ours = ports_allowed(&tier, egress, peer, &PORTS, enforcer);
            if theirs.iter().zip(&ours).any(|(theirs, ours)| *theirs && !ours) {
                let found = match peer {
                    _ if ours.contains(&true) => Worst::Ports,
                    Peer::Pod { .. } => Worst::Pods,
                    Peer::Address(_) => Worst::Addresses,
                };
                worst = worst.max(Some(found));
            }
        }
    }
    worst
}

fn selects(policy: &NetworkPolicySpec, pod: &LabelValues) -> bool {
    policy.pod_selector.as_ref().is_none_or(|selector| holds(selector, pod))
}

fn ports_allowed(
    policies: &[&NetworkPolicySpec],
    egress: bool,
    peer: &Peer,
    ports: &[Port],
    enforcer: Enforcer,
) -> Vec<bool> {
    let mut allowed = vec![false; ports.len()];
    for policy in policies {
        for (rule_peers, rule_ports) in rules(policy, egress) {
            let matches = |rule_peer| peer_matches(rule_peer, peer, enforcer);
            if !rule_peers.is_empty() && !rule_peers.iter().any(matches) {
                continue;
            }
            let names = !egress || matches!(peer, Peer::Pod { .. }) || enforcer.names_hold_for_addresses;
            for (allowed, port) in allowed.iter_mut().zip(ports) {
                *allowed |= rule_ports.is_empty() || rule_ports.iter().any(|rule| port_matches(rule, port, names));
            }
        }
    }
    allowed
}

fn rules(policy: &NetworkPolicySpec, egress: bool) -> Vec<(&[NetworkPolicyPeer], &[NetworkPolicyPort])> {
    let has_egress = policy.egress.as_ref().is_some_and(|rules| !rules.is_empty());
    let types = policy.policy_types.as_ref().filter(|types| !types.is_empty());
    let listed = |word: &str| types.map(|types| types.iter().any(|listed| listed == word));
    if egress && listed("Egress").unwrap_or(has_egress) {
        let rules = policy.egress.iter().flatten();
        rules
            .map(|rule| {
                (
                    rule.to.as_deref().unwrap_or_default(),
                    rule.ports.as_deref().unwrap_or_default(),
                )
            })
            .collect()
    } else if !egress && listed("Ingress").unwrap_or(true) {
        let rules = policy.ingress.iter().flatten();
        rules
            .map(|rule| {
                (
                    rule.from.as_deref().unwrap_or_default(),
                    rule.ports.as_deref().unwrap_or_default(),
                )
            })
            .collect()
    } else {
        Vec::new()
    }
}

fn peer_matches(rule: &NetworkPolicyPeer, peer: &Peer, enforcer: Enforcer) -> bool {
    if let Some(block) = &rule.ip_block {
        let address = match peer {
            Peer::Address(address) => *address,
            Peer::Pod { address, .. } if enforcer.blocks_hold_for_pods => *address,
            Peer::Pod { .. } => return false,
        };
        let mut except = block.except.iter().flatten();
        return in_block(&block.cidr, address) && !except.any(|except| in_block(except, address));
    }
    let Peer::Pod { namespace, labels, .. } = peer else {
        return false;
    };
    let in_namespace = match &rule.namespace_selector {
        Some(selector) => holds(selector, namespace),
        None => namespace[NAME_LABEL] == HERE,
    };
    in_namespace
        && rule
            .pod_selector
            .as_ref()
            .is_none_or(|selector| holds(selector, labels))
}

/// By the first bits of both.
fn in_block(cidr: &str, address: IpAddr) -> bool {
    let (network, length) = cidr.split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    match (network.parse().unwrap(), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits() ^ address.to_bits())
                .checked_shr(32 - length)
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            (network.to_bits() ^ address.to_bits())
                .checked_shr(128 - length)
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

fn holds(selector: &LabelSelector, labels: &LabelValues) -> bool {
    let mut equalities = selector.match_labels.iter().flatten();
    let mut requirements = selector.match_expressions.iter().flatten();
    equalities.all(|(key, value)| labels.get(key) == Some(value))
        && requirements.all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed = requirement.values.iter().flatten().any(|listed| Some(listed) == value);
            match requirement.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                other => panic!("{other} is not generated"),
            }
        })
}

fn port_matches(rule: &NetworkPolicyPort, port: &Port, names: bool) -> bool {
    if rule.protocol.as_deref().unwrap_or("TCP") != port.protocol {
        return false;
    }
    match &rule.port {
        None => true,
        Some(IntOrString::Int(first)) => (*first..=rule.end_port.unwrap_or(*first)).contains(&i32::from(port.number)),
        Some(IntOrString::String(name)) => names && port.name == Some(name),
    }
}
