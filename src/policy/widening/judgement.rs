//! One direction of one policy against what the tier allows there.

use std::borrow::Cow;

use k8s_openapi::api::networking::v1::{NetworkPolicyPeer, NetworkPolicySpec};

use super::detail::{self, Described};
use super::interval_set::IntervalSet;
use super::label_set::{Labels, Subject, demand};
use super::reading::{
    PeerSet, PortName, Ports, Rule, each_port, every_port, every_port_of, everyone, is_most_of_the_family, peer_set,
    rules,
};
use super::region::{Cover, PeerKind, Region, Search};
use super::{Allowed, EFFORT, Severity};
use crate::api::Direction;
use crate::policy::Namespace;

/// How far `spec` goes beyond what is allowed, and with what.
pub(super) fn judge<'a>(
    spec: &'a NetworkPolicySpec,
    direction: Direction,
    allowed: &'a [Allowed<'a>],
    namespace: &'a Namespace,
) -> Option<(Severity, String)> {
    let mut selected = Labels::new();
    let selector = spec.pod_selector.as_ref();
    if selector.is_some_and(|selector| demand(&mut selected, Subject::SelectedPod, selector).is_none()) {
        selected.clear();
    }
    let mut judgement = Judgement {
        spec,
        direction,
        allowed,
        namespace,
        selected,
        search: Search::new(namespace, EFFORT),
        worst: None,
        blocks: [Vec::new(), Vec::new()],
    };
    for rule in rules(spec, direction) {
        judgement.judge_rule(rule);
    }
    judgement.conclude()
}

struct Judgement<'a> {
    spec: &'a NetworkPolicySpec,
    direction: Direction,
    allowed: &'a [Allowed<'a>],
    namespace: &'a Namespace,
    /// What the selected pods have in common.
    selected: Labels<'a>,
    search: Search<'a>,
    worst: Option<(Severity, String)>,
    /// Blocks beyond the tier's, of IPv4 and of IPv6.
    blocks: [Vec<(u128, u128)>; 2],
}

/// Which ports count in a comparison.
#[derive(Clone, Copy)]
enum View<'p> {
    /// These numbers.
    Numbers(&'p IntervalSet),
    /// The port of a name: any number of its protocol, since each pod gives the name its own.
    Name(PortName<'p>),
    /// Any: it is only the peers that are compared.
    Any,
}

impl<'a> Judgement<'a> {
    fn judge_rule(&mut self, rule: Rule<'a>) {
        let read = || each_port(rule.ports).collect::<Option<Ports<'_>>>();
        let ports = if rule.ports.is_empty() || self.search.is_exhausted() {
            Ports::every()
        } else {
            read().unwrap_or_else(Ports::every)
        };
        if rule.peers.is_empty() {
            for set in everyone() {
                self.judge_peers(rule, None, set, Severity::Open, &ports);
            }
        }
        for peer in rule.peers {
            match peer_set(peer, self.namespace) {
                Some(set) => {
                    let severity = match set.kind {
                        PeerKind::Pods => Severity::Cluster,
                        PeerKind::Ipv4 | PeerKind::Ipv6 => Severity::External,
                    };
                    self.judge_peers(rule, Some(peer), set, severity, &ports);
                }
                None => {
                    for set in everyone() {
                        self.judge_peers(rule, Some(peer), set, Severity::Open, &ports);
                    }
                }
            }
        }
    }

    /// `severity` is that of the peers where the tier does not allow them on any port.
    fn judge_peers(
        &mut self,
        rule: Rule<'a>,
        peer: Option<&'a NetworkPolicyPeer>,
        set: PeerSet<'a>,
        severity: Severity,
        ports: &Ports<'a>,
    ) {
        let worst = self.worst.as_ref().map(|(severity, _)| *severity);
        // Of blocks all are needed: small ones may add up to everywhere.
        let adds_up = severity == Severity::External;
        if worst == Some(Severity::Open) || (worst >= Some(severity) && !adds_up) {
            return;
        }
        let (kind, addresses) = (set.kind, set.addresses.clone());
        let peers = set.region(&self.selected, every_port());
        let Some((beyond, view)) = self.first_beyond(&peers, ports) else {
            return;
        };
        let severity = match severity {
            _ if self.beyond(&peers, View::Any).is_none() => Severity::Port,
            Severity::External if is_most_of_the_family(kind, &addresses) => Severity::Open,
            severity => severity,
        };
        if severity == Severity::External {
            self.blocks[usize::from(kind == PeerKind::Ipv6)].extend(addresses.ranges());
        }
        if worst < Some(severity) {
            self.worst = Some((severity, self.detail(rule, peer, &peers, &beyond, view)));
        }
    }

    /// The first part of the peers on the ports that is not allowed.
    fn first_beyond<'p>(&mut self, peers: &Region<'a>, ports: &'p Ports<'a>) -> Option<(Region<'a>, View<'p>)> {
        if self.search.is_exhausted() {
            return Some((peers.clone(), View::Any));
        }
        let names = ports.names.iter().map(|&name| View::Name(name));
        [View::Numbers(&ports.numbers)]
            .into_iter()
            .chain(names)
            .find_map(|view| Some((self.beyond(peers, view)?, view)))
    }

    fn beyond(&mut self, peers: &Region<'a>, view: View<'_>) -> Option<Region<'a>> {
        let region = Region {
            ports: view.ports(),
            ..peers.clone()
        };
        let covers = self.covers(&region, view);
        self.search.first_beyond(region, &covers)
    }

    fn covers(&mut self, region: &Region<'a>, view: View<'_>) -> Vec<Cover<'a, 'a>> {
        self.search.spend(self.allowed.len());
        if self.search.is_exhausted() {
            return Vec::new();
        }
        let covers = self.allowed.iter().map(|allowed| Cover {
            region: &allowed.region,
            ports: view.ports_of(allowed, self.direction),
        });
        covers.filter(|cover| region.overlaps(cover)).collect()
    }

    fn detail(
        &self,
        rule: Rule<'a>,
        peer: Option<&'a NetworkPolicyPeer>,
        peers: &Region<'a>,
        beyond: &Region<'a>,
        view: View<'_>,
    ) -> String {
        let foreign = Described {
            selected: self.spec.pod_selector.as_ref(),
            peer,
            ports: rule.ports,
        };
        let ports = match view {
            View::Numbers(_) => detail::number_ranges(&beyond.ports),
            View::Name((protocol, name)) => detail::named_port(protocol, name),
            View::Any => detail::ports(rule.ports),
        };
        let tier = self.allowed.iter().filter(|allowed| {
            let ports = View::Any.ports_of(allowed, self.direction);
            peers.overlaps(&Cover {
                region: &allowed.region,
                ports,
            })
        });
        let text = foreign.beyond(self.direction, &ports, tier.map(|allowed| &allowed.described));
        if self.search.is_exhausted() {
            text + "; there is too much to compare, so what is left counts as beyond the tier"
        } else {
            text
        }
    }

    fn conclude(self) -> Option<(Severity, String)> {
        let (severity, detail) = self.worst?;
        let everywhere = [PeerKind::Ipv4, PeerKind::Ipv6]
            .into_iter()
            .zip(self.blocks)
            .any(|(kind, blocks)| is_most_of_the_family(kind, &IntervalSet::of(blocks)));
        if severity == Severity::External && everywhere {
            let detail = detail + "; with its other blocks that is most of the addresses there are";
            return Some((Severity::Open, detail));
        }
        Some((severity, detail))
    }
}

impl View<'_> {
    /// The ports that are asked for.
    fn ports(self) -> IntervalSet {
        match self {
            Self::Numbers(numbers) => numbers.clone(),
            Self::Name((protocol, _)) => every_port_of(protocol),
            Self::Any => every_port(),
        }
    }

    /// The ports among them that are allowed.
    fn ports_of<'a>(self, allowed: &'a Allowed<'_>, direction: Direction) -> Cow<'a, IntervalSet> {
        let numbers = &allowed.region.ports;
        // Nobody at an address outside says what a name means there.
        let means_nothing = direction == Direction::Egress && allowed.region.kind != PeerKind::Pods;
        match self {
            Self::Name(name) if allowed.names.contains(&name) => Cow::Owned(numbers.union(&every_port_of(name.0))),
            Self::Any if !numbers.is_empty() || !(allowed.names.is_empty() || means_nothing) => {
                Cow::Owned(every_port())
            }
            Self::Numbers(_) | Self::Name(_) | Self::Any => Cow::Borrowed(numbers),
        }
    }
}
