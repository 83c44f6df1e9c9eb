//! What a NetworkPolicy says, by the semantics of the API (`k8s.io/api/networking/v1`, documentation of the
//! fields).
//!
//! `None` stands for what the API server would refuse. The caller decides: what a tier says in a way that nobody
//! understands allows nothing, what somebody else says in such a way allows everything.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::interval_set::IntervalSet;
use super::label_set::{LabelSet, Labels, Subject, demand, restrict};
use super::region::{PeerKind, Region};
use crate::api::names::NAMESPACE_NAME_LABEL;
use crate::api::{Direction, Protocol};
use crate::policy::Namespace;

/// One rule of either direction.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    /// Everyone where empty.
    pub(super) peers: &'a [NetworkPolicyPeer],
    /// Every port where empty.
    pub(super) ports: &'a [NetworkPolicyPort],
}

/// The peers of one kind that a peer of a policy stands for.
pub(super) struct PeerSet<'a> {
    pub(super) kind: PeerKind,
    pub(super) labels: Labels<'a>,
    pub(super) addresses: IntervalSet,
}

/// The name of a container port.
pub(super) type PortName<'a> = (Protocol, &'a str);

/// The ports of a rule.
#[derive(Clone, Default)]
pub(super) struct Ports<'a> {
    /// In the numbering of [`port_numbers`].
    pub(super) numbers: IntervalSet,
    /// Each pod gives a name its own number.
    pub(super) names: BTreeSet<PortName<'a>>,
}

impl Ports<'_> {
    pub(super) fn every() -> Self {
        Self {
            numbers: every_port(),
            names: BTreeSet::new(),
        }
    }
}

impl<'a> FromIterator<Ports<'a>> for Ports<'a> {
    fn from_iter<I: IntoIterator<Item = Self>>(ports: I) -> Self {
        let (mut ranges, mut names) = (Vec::new(), BTreeSet::new());
        for ports in ports {
            ranges.extend_from_slice(ports.numbers.ranges());
            names.extend(ports.names);
        }
        Self {
            numbers: IntervalSet::of(ranges),
            names,
        }
    }
}

impl<'a> PeerSet<'a> {
    /// The connections between the peers and the pods with `selected`.
    pub(super) fn region(mut self, selected: &Labels<'a>, ports: IntervalSet) -> Region<'a> {
        self.labels
            .extend(selected.iter().map(|(&label, states)| (label, states.clone())));
        Region {
            labels: self.labels,
            kind: self.kind,
            addresses: self.addresses,
            ports,
        }
    }
}

/// The rules that hold in the direction: none if the policy leaves it out.
pub(super) fn rules(spec: &NetworkPolicySpec, direction: Direction) -> Vec<Rule<'_>> {
    let egress = spec.egress.as_deref().unwrap_or_default();
    let types = spec.policy_types.as_deref().unwrap_or_default();
    let (word, by_default) = match direction {
        Direction::Ingress => ("Ingress", true),
        Direction::Egress => ("Egress", !egress.is_empty()),
    };
    let holds = if types.is_empty() {
        by_default
    } else {
        types.iter().any(|listed| listed == word)
    };
    match direction {
        _ if !holds => Vec::new(),
        Direction::Ingress => {
            let rules = spec.ingress.iter().flatten();
            rules
                .map(|rule| Rule::new(rule.from.as_deref(), rule.ports.as_deref()))
                .collect()
        }
        Direction::Egress => {
            let rules = egress.iter();
            rules
                .map(|rule| Rule::new(rule.to.as_deref(), rule.ports.as_deref()))
                .collect()
        }
    }
}

impl<'a> Rule<'a> {
    fn new(peers: Option<&'a [NetworkPolicyPeer]>, ports: Option<&'a [NetworkPolicyPort]>) -> Self {
        Self {
            peers: peers.unwrap_or_default(),
            ports: ports.unwrap_or_default(),
        }
    }
}

/// Whoever there is.
pub(super) fn everyone<'a>() -> Vec<PeerSet<'a>> {
    [PeerKind::Pods, PeerKind::Ipv4, PeerKind::Ipv6]
        .map(|kind| PeerSet {
            kind,
            labels: Labels::new(),
            addresses: every_address(kind),
        })
        .into()
}

/// Reads a peer of a policy in `namespace`.
pub(super) fn peer_set<'a>(peer: &'a NetworkPolicyPeer, namespace: &'a Namespace) -> Option<PeerSet<'a>> {
    match (&peer.ip_block, &peer.namespace_selector, &peer.pod_selector) {
        (Some(block), None, None) => address_set(block),
        (None, None, None) | (Some(_), _, _) => None,
        (None, namespaces, pods) => {
            let mut labels = Labels::new();
            match namespaces {
                Some(namespaces) => demand(&mut labels, Subject::PeerNamespace, namespaces)?,
                None => restrict(
                    &mut labels,
                    (Subject::PeerNamespace, NAMESPACE_NAME_LABEL),
                    LabelSet::value(&namespace.name),
                ),
            }
            if let Some(pods) = pods {
                demand(&mut labels, Subject::PeerPod, pods)?;
            }
            Some(PeerSet {
                kind: PeerKind::Pods,
                labels,
                addresses: every_address(PeerKind::Pods),
            })
        }
    }
}

fn address_set<'a>(block: &IPBlock) -> Option<PeerSet<'a>> {
    let (kind, whole) = addresses(&block.cidr)?;
    let mut holes = Vec::new();
    for except in block.except.iter().flatten() {
        let (hole_kind, hole) = addresses(except)?;
        if hole_kind != kind {
            return None;
        }
        holes.push(hole);
    }
    Some(PeerSet {
        kind,
        labels: Labels::new(),
        addresses: IntervalSet::of([whole]).difference(&IntervalSet::of(holes)),
    })
}

fn addresses(cidr: &str) -> Option<(PeerKind, (u128, u128))> {
    let net: IpNet = cidr.parse().ok()?;
    match (net.network(), net.broadcast()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Some((PeerKind::Ipv4, (first.to_bits().into(), last.to_bits().into())))
        }
        // Go reads such a block as one of IPv4 addresses in some places and of IPv6 addresses in others
        // (net.IPNet.Contains).
        (IpAddr::V6(first), _) if net.prefix_len() >= 96 && first.to_ipv4_mapped().is_some() => None,
        (IpAddr::V6(first), IpAddr::V6(last)) => Some((PeerKind::Ipv6, (first.to_bits(), last.to_bits()))),
        _ => None,
    }
}

fn every_address(kind: PeerKind) -> IntervalSet {
    IntervalSet::of([match kind {
        PeerKind::Pods => (0, 0),
        PeerKind::Ipv4 => (0, u32::MAX.into()),
        PeerKind::Ipv6 => (0, u128::MAX),
    }])
}

/// Whether the addresses are at least half of those that a family uses: everywhere, for all the holes that a
/// list of blocks may have. Of IPv6 that is 2000::/3 (RFC 4291, 2.4; IANA assigns global unicast from it).
pub(super) fn is_most_of_the_family(kind: PeerKind, addresses: &IntervalSet) -> bool {
    const GLOBAL_UNICAST: (u128, u128) = (0x2 << 124, (0x4 << 124) - 1);
    match kind {
        PeerKind::Pods => false,
        PeerKind::Ipv4 => addresses.count() >= 1 << 31,
        PeerKind::Ipv6 => addresses.intersection(&IntervalSet::of([GLOBAL_UNICAST])).count() >= 1 << 124,
    }
}

/// Reads ports; those that the API server would refuse come as `None`.
pub(super) fn each_port(ports: &[NetworkPolicyPort]) -> impl Iterator<Item = Option<Ports<'_>>> {
    ports.iter().map(|port| {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => Protocol::TCP,
            Some("UDP") => Protocol::UDP,
            Some("SCTP") => Protocol::SCTP,
            Some(_) => return None,
        };
        let mut read = Ports::default();
        match (&port.port, port.end_port) {
            (None, None) => read.numbers = every_port_of(protocol),
            (Some(IntOrString::Int(first)), last) => {
                let first = u16::try_from(*first).ok().filter(|first| *first > 0)?;
                let last = last.map_or(Some(first), |last| u16::try_from(last).ok())?;
                if last < first {
                    return None;
                }
                read.numbers = IntervalSet::of([port_numbers(protocol, first, last)]);
            }
            (Some(IntOrString::String(name)), None) => read.names = BTreeSet::from([(protocol, name.as_str())]),
            (Some(IntOrString::String(_)) | None, Some(_)) => return None,
        }
        Some(read)
    })
}

/// Every port of every protocol, and what has no ports.
pub(super) fn every_port() -> IntervalSet {
    let of = |protocol| port_numbers(protocol, 1, u16::MAX);
    let others = (OTHER_PROTOCOLS, OTHER_PROTOCOLS);
    IntervalSet::of([of(Protocol::TCP), of(Protocol::UDP), of(Protocol::SCTP), others])
}

/// Every port of the protocol.
pub(super) fn every_port_of(protocol: Protocol) -> IntervalSet {
    IntervalSet::of([port_numbers(protocol, 1, u16::MAX)])
}

/// The numbers by which an [`IntervalSet`] knows the ports of a protocol.
fn port_numbers(protocol: Protocol, first: u16, last: u16) -> (u128, u128) {
    let base = protocol as u128 * PROTOCOL_STEP;
    (base + u128::from(first), base + u128::from(last))
}

/// The protocol and the ports of one range of an [`IntervalSet`] within one protocol; `None` for what has no ports.
pub(super) fn port_range((first, last): (u128, u128)) -> Option<(Protocol, u128, u128)> {
    let protocols = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
    let protocol = protocols
        .into_iter()
        .find(|&protocol| protocol as u128 == first / PROTOCOL_STEP)?;
    Some((protocol, first % PROTOCOL_STEP, last % PROTOCOL_STEP))
}

/// Larger than a port number by more than one, so that the ports of two protocols never touch.
const PROTOCOL_STEP: u128 = 1 << 17;

/// A rule that lists no ports lets through other protocols too, ICMP for one, in enforcers that see them; listed
/// ports never do.
const OTHER_PROTOCOLS: u128 = 3 * PROTOCOL_STEP;
