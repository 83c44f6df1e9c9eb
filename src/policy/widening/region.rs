//! Sets of connections as boxes: one set of states for each label, one of addresses, one of ports. What of a box
//! lies outside of others is found by cutting it along them, which is exact.

use std::borrow::Cow;

use super::interval_set::IntervalSet;
use super::label_set::{LabelSet, Labels, Subject};
use crate::api::names::NAMESPACE_NAME_LABEL;
use crate::policy::Namespace;

/// What a peer is known by. A peer of one kind never covers one of another: whether a block of addresses holds
/// for pods depends on the enforcer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PeerKind {
    Pods,
    Ipv4,
    Ipv6,
}

/// The connections between some pods of the namespace and some peers on some ports.
#[derive(Clone, Debug)]
pub(super) struct Region<'a> {
    /// Of the pods that are selected and, if the peers are pods, of those and their namespaces.
    pub(super) labels: Labels<'a>,
    pub(super) kind: PeerKind,
    /// The addresses of the peers; the same for all peers that are pods.
    pub(super) addresses: IntervalSet,
    pub(super) ports: IntervalSet,
}

/// A region that may cover another, with the ports that count.
pub(super) struct Cover<'r, 'a> {
    pub(super) region: &'r Region<'a>,
    pub(super) ports: Cow<'r, IntervalSet>,
}

impl<'a> Region<'a> {
    pub(super) fn overlaps(&self, cover: &Cover<'_, '_>) -> bool {
        self.kind == cover.region.kind
            && self.addresses.overlaps(&cover.region.addresses)
            && self.ports.overlaps(&cover.ports)
            && cover.region.labels.iter().all(|(&label, theirs)| {
                let ours = self.labels.get(&label);
                ours.is_none_or(|ours| !ours.intersection(theirs).is_empty())
            })
    }

    fn is_within(&self, cover: &Cover<'_, '_>) -> bool {
        self.kind == cover.region.kind
            && self.addresses.is_subset(&cover.region.addresses)
            && self.ports.is_subset(&cover.ports)
            && cover.region.labels.iter().all(|(&label, theirs)| {
                let ours = self.labels.get(&label);
                ours.map_or_else(
                    || LabelSet::every_state(label).is_subset(theirs),
                    |ours| ours.is_subset(theirs),
                )
            })
    }

    /// What is left of the region outside of a cover that it overlaps, as regions that share nothing.
    fn outside(mut self, cover: &Cover<'_, 'a>) -> Vec<Self> {
        let mut pieces = Vec::new();
        let addresses = self.addresses.difference(&cover.region.addresses);
        if !addresses.is_empty() {
            self.addresses = self.addresses.intersection(&cover.region.addresses);
            pieces.push(Self {
                addresses,
                ..self.clone()
            });
        }
        let ports = self.ports.difference(&cover.ports);
        if !ports.is_empty() {
            self.ports = self.ports.intersection(&cover.ports);
            pieces.push(Self { ports, ..self.clone() });
        }
        for (&label, theirs) in &cover.region.labels {
            let ours = self.labels.get(&label).cloned();
            let ours = ours.unwrap_or_else(|| LabelSet::every_state(label));
            let outside = ours.difference(theirs);
            if !outside.is_empty() {
                self.labels.insert(label, ours.intersection(theirs));
                let mut piece = self.clone();
                piece.labels.insert(label, outside);
                pieces.push(piece);
            }
        }
        pieces
    }

    /// Whether no connection is in the region. Of the peers' namespaces only the one that the policies are in is
    /// known; any other may have any labels, now or later.
    fn is_empty(&self, namespace: &Namespace) -> bool {
        let name = self.labels.get(&(Subject::PeerNamespace, NAMESPACE_NAME_LABEL));
        let only_this = name.is_some_and(|name| name.is_only(&namespace.name));
        self.addresses.is_empty()
            || self.ports.is_empty()
            || self.labels.iter().any(|(&(subject, key), states)| {
                let known = only_this && subject == Subject::PeerNamespace && key != NAMESPACE_NAME_LABEL;
                states.is_empty() || (known && !states.contains(namespace.labels.get(key).map(String::as_str)))
            })
    }

    fn size(&self) -> usize {
        let values: usize = self.labels.values().map(|states| 1 + states.size()).sum();
        values + self.addresses.ranges().len() + self.ports.ranges().len()
    }
}

/// Decides containment, with a limit on the effort: a tenant writes what is compared.
pub(super) struct Search<'n> {
    namespace: &'n Namespace,
    effort_left: usize,
}

impl<'n> Search<'n> {
    pub(super) fn new(namespace: &'n Namespace, effort: usize) -> Self {
        Self {
            namespace,
            effort_left: effort,
        }
    }

    /// Whether the effort is spent. Then what is not decided counts as beyond.
    pub(super) fn is_exhausted(&self) -> bool {
        self.effort_left == 0
    }

    pub(super) fn spend(&mut self, effort: usize) {
        self.effort_left = self.effort_left.saturating_sub(effort);
    }

    /// A part of the region that no cover holds, if there is one.
    pub(super) fn first_beyond<'a>(&mut self, region: Region<'a>, covers: &[Cover<'_, 'a>]) -> Option<Region<'a>> {
        let mut pieces = vec![(region, covers)];
        while let Some((piece, covers)) = pieces.pop() {
            self.spend(piece.size() + covers.len());
            if self.is_exhausted() {
                return Some(piece);
            }
            if piece.is_empty(self.namespace) || covers.iter().any(|cover| piece.is_within(cover)) {
                continue;
            }
            let Some(first) = covers.iter().position(|cover| piece.overlaps(cover)) else {
                return Some(piece);
            };
            let rest = &covers[first + 1..];
            let outside = piece.outside(&covers[first]);
            pieces.extend(outside.into_iter().rev().map(|piece| (piece, rest)));
        }
        None
    }
}
