//! Whether policies let everyone through, whatever a tier says: what may not be taken for isolation.
//!
//! Everyone is a pod that nobody thought of, without labels and in a namespace that no policy names, or at least half of
//! the addresses that a family uses: blocks with holes, and selectors that leave out a few, are not isolation either.
//! Everything is at least half of the ports of TCP, of UDP or of SCTP: one that leaves out a few is no isolation either. What
//! the API server would refuse counts as everyone and everything.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicySpec;

use super::EFFORT;
use super::interval_set::IntervalSet;
use super::label_set::{Labels, Subject, demand};
use super::reading::{Ports, each_port, every_port_of, everyone, is_most_of_the_family, peer_set, rules};
use super::region::PeerKind;
use crate::api::names::NAMESPACE_NAME_LABEL;
use crate::api::{Direction, Protocol};
use crate::policy::Namespace;

/// No namespace has this name, and no selector can list it: `~` is in no label value.
const NAME_OF_NO_NAMESPACE: &str = "~";

/// Which pods of its namespace a policy is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Selection {
    /// All of them.
    Every,
    /// All that nobody gave the labels that it leaves out.
    MostOrUnknown,
    /// Those with certain labels.
    Some,
}

/// Some addresses or pods on some ports that a rule lets through.
struct LetThrough {
    kind: PeerKind,
    addresses: IntervalSet,
    ports: IntervalSet,
}

/// Which pods `spec` is for.
pub fn selection(spec: &NetworkPolicySpec) -> Selection {
    let mut labels = Labels::new();
    let selector = spec.pod_selector.as_ref();
    if selector.is_some_and(|selector| demand(&mut labels, Subject::SelectedPod, selector).is_none()) {
        return Selection::MostOrUnknown;
    }
    match (labels.is_empty(), labels.values().all(|states| states.contains(None))) {
        (true, _) => Selection::Every,
        (false, true) => Selection::MostOrUnknown,
        (false, false) => Selection::Some,
    }
}

/// Who gets through, if the policies together let everyone through on most ports of a protocol; in words.
pub fn open_to<'a>(
    specs: impl IntoIterator<Item = &'a NetworkPolicySpec>,
    direction: Direction,
    namespace: &'a Namespace,
) -> Option<String> {
    let specs = specs.into_iter();
    let let_through: Vec<_> = specs.flat_map(|spec| let_through(spec, direction, namespace)).collect();
    for kind in [PeerKind::Ipv4, PeerKind::Ipv6, PeerKind::Pods] {
        for (protocol, name) in [(Protocol::TCP, "TCP"), (Protocol::UDP, "UDP"), (Protocol::SCTP, "SCTP")] {
            let every = every_port_of(protocol).count();
            let Some(open) = open_ports(&let_through, kind, protocol) else {
                return Some(String::from("too many to compare, so they count as everyone"));
            };
            if open.saturating_mul(2) < every {
                continue;
            }
            let who = match kind {
                PeerKind::Ipv4 => "most IPv4 addresses",
                PeerKind::Ipv6 => "most IPv6 addresses",
                PeerKind::Pods => "any pod of the cluster",
            };
            let ports = match open == every {
                true => format!("every {name} port"),
                false => format!("most {name} ports"),
            };
            return Some(format!("{who} on {ports}"));
        }
    }
    None
}

fn let_through(spec: &NetworkPolicySpec, direction: Direction, namespace: &Namespace) -> Vec<LetThrough> {
    let mut found = Vec::new();
    for rule in rules(spec, direction) {
        let ports = match rule.ports.is_empty() {
            true => Ports::every(),
            false => each_port(rule.ports)
                .collect::<Option<Ports<'_>>>()
                .unwrap_or_else(Ports::every),
        };
        let mut peers = if rule.peers.is_empty() { everyone() } else { Vec::new() };
        for peer in rule.peers {
            match peer_set(peer, namespace) {
                Some(set) => peers.push(set),
                None => peers.extend(everyone()),
            }
        }
        let strangers = peers.into_iter().filter(|set| holds_for_a_stranger(&set.labels));
        found.extend(strangers.map(|set| LetThrough {
            kind: set.kind,
            addresses: set.addresses,
            ports: ports.numbers.clone(),
        }));
    }
    found
}

fn holds_for_a_stranger(labels: &Labels<'_>) -> bool {
    labels.iter().all(|(label, states)| {
        let name = *label == (Subject::PeerNamespace, NAMESPACE_NAME_LABEL);
        states.contains(name.then_some(NAME_OF_NO_NAMESPACE))
    })
}

/// On how many ports of the protocol everyone is let through; `None` if that takes too long to tell.
fn open_ports(let_through: &[LetThrough], kind: PeerKind, protocol: Protocol) -> Option<u128> {
    let every = every_port_of(protocol);
    let concerned = || let_through.iter().filter(|one| one.kind == kind);
    let mut starts: BTreeSet<_> = every
        .ranges()
        .iter()
        .flat_map(|&(first, last)| [first, last + 1])
        .collect();
    for one in concerned() {
        let ports = one.ports.intersection(&every);
        starts.extend(ports.ranges().iter().flat_map(|&(first, last)| [first, last + 1]));
    }
    let ranges: usize = concerned().map(|one| one.addresses.ranges().len()).sum();
    if starts.len().saturating_mul(ranges) > EFFORT {
        return None;
    }
    // Between two of these, either every port is listed or none.
    let mut open = 0;
    for (start, next) in starts.iter().zip(starts.iter().skip(1)) {
        let port = IntervalSet::of([(*start, *start)]);
        let on_it = concerned().filter(|one| one.ports.overlaps(&port));
        let addresses = IntervalSet::of(on_it.flat_map(|one| one.addresses.ranges().iter().copied()));
        let everyone = match kind {
            PeerKind::Pods => !addresses.is_empty(),
            _ => is_most_of_the_family(kind, &addresses),
        };
        open += if everyone { next - start } else { 0 };
    }
    Some(open)
}
