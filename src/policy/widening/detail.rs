//! What a policy allows, in words for people. Bounded, since a tenant writes what is quoted.

use k8s_openapi::api::networking::v1::{NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::Selector;

use super::interval_set::IntervalSet;
use super::reading::{every_port, every_port_of, port_range};
use crate::api::{Direction, Protocol};

/// The longest text that is taken from one field, so that the whole fits into an Event (1,024 bytes).
const LONGEST_QUOTE: usize = 80;
/// How many ports are listed before the rest is counted.
const MOST_PORTS: usize = 4;

/// One peer of a rule, as it was written.
pub(super) struct Described<'a> {
    pub(super) selected: Option<&'a LabelSelector>,
    /// `None` where the rule lists no peers.
    pub(super) peer: Option<&'a NetworkPolicyPeer>,
    pub(super) ports: &'a [NetworkPolicyPort],
}

impl Described<'_> {
    /// Says what goes beyond the tier, and what the tier allows of it.
    pub(super) fn beyond<'t>(
        &self,
        direction: Direction,
        ports: &str,
        tier: impl Iterator<Item = &'t Described<'t>>,
    ) -> String {
        let allows = self.sentence(direction, ports);
        let mut tier = tier;
        let Some(first) = tier.next() else {
            return format!("{allows}; the tier allows none of that");
        };
        let first = first.sentence(direction, &self::ports(first.ports));
        match tier.count() {
            0 => format!("{allows}; the tier {first}"),
            more => format!("{allows}; the tier {first}, and {more} more of that kind"),
        }
    }

    fn sentence(&self, direction: Direction, ports: &str) -> String {
        let selected = pods(self.selected);
        let peer = self.peer.map_or_else(|| String::from("anywhere"), peer);
        match direction {
            Direction::Ingress => format!("allows ingress to {selected} from {peer} on {ports}"),
            Direction::Egress => format!("allows egress from {selected} to {peer} on {ports}"),
        }
    }
}

/// The ports of a rule.
pub(super) fn ports(ports: &[NetworkPolicyPort]) -> String {
    if ports.is_empty() {
        return String::from("every port");
    }
    listed(ports.iter().map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        match (&port.port, port.end_port) {
            (None, _) => format!("every {protocol} port"),
            (Some(IntOrString::Int(first)), Some(last)) => format!("{protocol} {first}-{last}"),
            (Some(IntOrString::Int(number)), None) => format!("{protocol} {number}"),
            (Some(IntOrString::String(name)), _) => format!("{protocol} {}", quote(name)),
        }
    }))
}

/// Ports in the numbering of [`every_port`].
pub(super) fn number_ranges(numbers: &IntervalSet) -> String {
    if *numbers == every_port() {
        return String::from("every port");
    }
    listed(numbers.ranges().iter().map(|&range| match port_range(range) {
        None => String::from("protocols without ports"),
        Some((protocol, ..)) if every_port_of(protocol).ranges() == [range] => {
            format!("every {} port", protocol_word(protocol))
        }
        Some((protocol, first, last)) if first == last => format!("{} {first}", protocol_word(protocol)),
        Some((protocol, first, last)) => format!("{} {first}-{last}", protocol_word(protocol)),
    }))
}

/// A port by its name.
pub(super) fn named_port(protocol: Protocol, name: &str) -> String {
    format!("{} {}", protocol_word(protocol), quote(name))
}

fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::TCP => "TCP",
        Protocol::UDP => "UDP",
        Protocol::SCTP => "SCTP",
    }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let mut items = items;
    let shown: Vec<_> = items.by_ref().take(MOST_PORTS).collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn peer(peer: &NetworkPolicyPeer) -> String {
    let pods_text = pods(peer.pod_selector.as_ref());
    match (&peer.ip_block, &peer.namespace_selector) {
        (Some(block), _) => match block.except.as_deref().unwrap_or_default() {
            [] => quote(&block.cidr),
            except => quote(&format!("{} except {}", block.cidr, except.join(", "))),
        },
        (None, Some(namespaces)) if is_empty(namespaces) => format!("{pods_text} of every namespace"),
        (None, Some(namespaces)) => format!("{pods_text} of namespaces with {}", selector(namespaces)),
        (None, None) if peer.pod_selector.is_none() => String::from("a peer that names nobody"),
        (None, None) => format!("{pods_text} of this namespace"),
    }
}

fn pods(labels: Option<&LabelSelector>) -> String {
    match labels.filter(|labels| !is_empty(labels)) {
        None => String::from("every pod"),
        Some(labels) => format!("pods with {}", selector(labels)),
    }
}

fn is_empty(selector: &LabelSelector) -> bool {
    let labels = selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty());
    labels && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

fn selector(selector: &LabelSelector) -> String {
    match Selector::try_from(selector.clone()) {
        Ok(selector) => quote(&selector.to_string()),
        Err(_) => String::from("labels by a selector that is not valid"),
    }
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}
