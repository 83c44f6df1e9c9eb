//! From what was written to what goes through, every problem with the field that it is in.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Allowance, Block, PodPeer, Port, PortTarget, Traffic};
use crate::api::{self, Direction, PortNumberOrName, Preset};
use crate::policy::tier::{Problem, selector};

/// Parses the list, sorted by name: its order has no meaning.
pub(in crate::policy::tier) fn parse_all(allow: &[api::Allowance], problems: &mut Vec<Problem>) -> Vec<Allowance> {
    let mut names = BTreeSet::new();
    let mut parsed = Vec::with_capacity(allow.len());
    for allowance in allow {
        let field = format!("spec.allow[{}]", allowance.name);
        if !selector::is_dns_label(&allowance.name) {
            let message = "not a DNS label; use at most 63 lower-case letters, digits and '-'";
            problems.push(Problem::new(format!("{field}.name"), message));
        }
        if !names.insert(&allowance.name) {
            problems.push(Problem::new(
                format!("{field}.name"),
                "used twice; give each allowance a name of its own",
            ));
        }
        parsed.extend(parse(allowance, &field, problems));
    }
    parsed.sort_by(|left, right| left.name.cmp(&right.name));
    parsed
}

fn parse(allowance: &api::Allowance, field: &str, problems: &mut Vec<Problem>) -> Option<Allowance> {
    let pods = allowance
        .pod_selector
        .as_ref()
        .map(|pods| selector::parse_label_selector(pods, &format!("{field}.podSelector"), problems));
    let ports = parse_ports(allowance.ports.as_deref(), &format!("{field}.ports"), problems);
    let traffic = match (allowance.preset, &allowance.from, &allowance.to) {
        (Some(preset), None, None) => parse_preset(preset, ports, field, problems),
        (None, Some(from), None) => parse_peers(Direction::Ingress, from, ports, &format!("{field}.from"), problems),
        (None, None, Some(to)) => parse_peers(Direction::Egress, to, ports, &format!("{field}.to"), problems),
        _ => {
            problems.push(Problem::new(field, "write exactly one of preset, from, to"));
            return None;
        }
    };
    // `{}` selects every pod, which is what absence says: one form, so that one policy carries it.
    let pods = pods.filter(|pods| pods.match_labels.is_some() || pods.match_expressions.is_some());
    Some(Allowance {
        name: allowance.name.clone(),
        pods,
        traffic,
    })
}

fn parse_preset(preset: Preset, ports: Vec<Port>, field: &str, problems: &mut Vec<Problem>) -> Traffic {
    if preset != Preset::SameNamespace && !ports.is_empty() {
        problems.push(Problem::new(
            format!("{field}.ports"),
            "DNS and KubeAPIServer know their ports from the cluster: leave ports out",
        ));
    }
    match preset {
        Preset::Dns => Traffic::Dns,
        Preset::KubeApiServer => Traffic::KubeApiServer,
        Preset::SameNamespace => Traffic::SameNamespace { ports },
    }
}

fn parse_peers(
    direction: Direction,
    peers: &[api::Peer],
    ports: Vec<Port>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> Traffic {
    if peers.is_empty() {
        problems.push(Problem::new(
            field,
            "the list is empty, which would mean everyone; list at least one peer",
        ));
    }
    let (mut pods, mut blocks) = (Vec::new(), Vec::new());
    for (index, peer) in peers.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let by_labels = peer.namespace_selector.is_some() || peer.pod_selector.is_some();
        match &peer.ip_block {
            Some(block) if !by_labels => blocks.extend(parse_block(block, &field, problems)),
            None if by_labels => pods.push(parse_pod_peer(peer, &field, problems)),
            Some(_) => problems.push(Problem::new(
                field,
                "ipBlock stands alone: move the selectors to a peer of their own",
            )),
            None => problems.push(Problem::new(
                field,
                "nothing is set: write namespaceSelector, podSelector or ipBlock",
            )),
        }
    }
    Traffic::Peers {
        direction,
        pods,
        blocks,
        ports,
    }
}

fn parse_pod_peer(peer: &api::Peer, field: &str, problems: &mut Vec<Problem>) -> PodPeer {
    let mut parse = |selector: &Option<api::LabelSelector>, name: &str| {
        let selector = selector.as_ref()?;
        Some(selector::parse_label_selector(
            selector,
            &format!("{field}.{name}"),
            problems,
        ))
    };
    PodPeer {
        namespaces: parse(&peer.namespace_selector, "namespaceSelector"),
        pods: parse(&peer.pod_selector, "podSelector"),
    }
}

fn parse_block(block: &api::IpBlock, field: &str, problems: &mut Vec<Problem>) -> Option<Block> {
    let cidr = parse_cidr(&block.cidr, &format!("{field}.ipBlock.cidr"), problems);
    let field = format!("{field}.ipBlock.except");
    if block.except.as_ref().is_some_and(Vec::is_empty) {
        problems.push(Problem::new(&field, "the list is empty; leave it out"));
    }
    let excepts = block.except.iter().flatten();
    let except: Vec<_> = excepts
        .filter_map(|except| parse_cidr(except, &field, problems))
        .collect();
    let cidr = cidr?;
    for outside in except
        .iter()
        .filter(|except| !cidr.contains(*except) || cidr == **except)
    {
        problems.push(Problem::new(&field, format!("{outside} is not strictly inside {cidr}")));
    }
    Some(Block { cidr, except })
}

/// The canonical form only, as the API server asks for in new fields: `10.0.0.0/8`, never `10.1.2.3/8`.
fn parse_cidr(text: &str, field: &str, problems: &mut Vec<Problem>) -> Option<IpNet> {
    let parsed = text.parse::<IpNet>().ok().filter(|net| !is_ipv4_mapped(net));
    match parsed {
        Some(net) if net.trunc().to_string() == text => Some(net),
        Some(net) => {
            problems.push(Problem::new(
                field,
                format!("{text:?} is not canonical; write {}", net.trunc()),
            ));
            None
        }
        None => {
            problems.push(Problem::new(
                field,
                format!("{text:?} is not a CIDR; write one like 10.0.0.0/8 or 2001:db8::/32"),
            ));
            None
        }
    }
}

fn is_ipv4_mapped(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.addr().to_ipv4_mapped().is_some())
}

fn parse_ports(ports: Option<&[api::Port]>, field: &str, problems: &mut Vec<Problem>) -> Vec<Port> {
    if ports.is_some_and(<[_]>::is_empty) {
        problems.push(Problem::new(
            field,
            "the list is empty, which would mean every port; leave it out to say that",
        ));
    }
    let ports = ports.unwrap_or_default().iter().enumerate();
    ports
        .filter_map(|(index, port)| {
            let target = parse_target(port, &format!("{field}[{index}]"), problems)?;
            Some(Port {
                protocol: port.protocol.unwrap_or_default(),
                target,
            })
        })
        .collect()
}

fn parse_target(port: &api::Port, field: &str, problems: &mut Vec<Problem>) -> Option<PortTarget> {
    let number = |number: i32| u16::try_from(number).ok().filter(|number| *number > 0);
    let refused = match (&port.port, port.end_port) {
        // Not what a person means: it is what `port: null` becomes, and would mean every TCP port.
        (None, None) if port.protocol.is_none() => "names nothing: write protocol: TCP for every TCP port, or a port",
        (None, None) => return Some(PortTarget::All),
        (Some(PortNumberOrName::Number(first)), end) => match (number(*first), number(end.unwrap_or(*first))) {
            (Some(first), Some(last)) if first <= last => return Some(PortTarget::Numbers { first, last }),
            (Some(_), Some(_)) => "endPort is below port",
            _ => "a port is a number from 1 to 65535",
        },
        (Some(PortNumberOrName::Name(name)), None) if is_port_name(name) => {
            return Some(PortTarget::Name(name.clone()));
        }
        (Some(PortNumberOrName::Name(_)), None) => {
            "a port name has at most 15 lower-case letters, digits and single '-', one of them a letter"
        }
        (Some(PortNumberOrName::Name(_)), Some(_)) => "endPort needs a numeric port",
        (None, Some(_)) => "endPort needs a port to start from",
    };
    problems.push(Problem::new(field, refused));
    None
}

/// `IsValidPortName` of `k8s.io/apimachinery/pkg/util/validation`.
fn is_port_name(name: &str) -> bool {
    name.len() <= 15
        && selector::is_dns_label(name)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.contains("--")
}
