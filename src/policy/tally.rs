//! From what is remembered of every namespace to what that means for every tier.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::assign::{Governor, assign};
use super::brake::Held;
use super::drift_words::drift_in_words;
use super::plan::ChangeCounts;
use super::widening::{PoliciesBySeverity, Severity, WideningSummary};
use super::{DriftKind, Namespace, NamespaceRecord, NamespaceState, ObservedPolicies, RankedTier, World, words};
use crate::api::{ForeignPolicies, NamespaceCounts, NamespaceProblem};

/// The most problems that a status lists.
pub(super) const MAX_PROBLEMS: usize = 10;
/// The most that are kept to tell of the tier in one sentence: what is worst may come late in their order.
const KEPT_PROBLEMS: usize = 4 * MAX_PROBLEMS;
/// What all namespaces together say of one tier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TierTally {
    /// Namespaces by state.
    pub namespaces: NamespaceCounts,
    /// Policies in place.
    pub policies_in_sync: u64,
    /// Policies that drifted and are not healed yet, by kind.
    pub policies_drifted: BTreeMap<DriftKind, u64>,
    /// The drifted namespaces, by kind.
    pub drifted: Vec<(String, DriftKind)>,
    /// Policies that somebody fights over.
    pub contested: u64,
    /// Since when the oldest drift is not healed.
    pub drift_oldest: Option<Timestamp>,
    /// Namespaces of which this process knows nothing yet: what is said without them is preliminary.
    pub unplanned: u64,
    /// Releases that wait for a confirmation.
    pub held: Option<Held>,
    /// What to look at, in order, each once.
    pub problems: Vec<NamespaceProblem>,
    /// Other people's policies that allow what the tier does not, as far as they are audited.
    pub widening: PoliciesBySeverity,
    /// What is said of the namespaces that they widen most, by severity and name.
    pub widened: BTreeMap<(Reverse<Severity>, String), String>,
    /// Namespaces of which not every policy was audited yet: what was said of them before still stands.
    pub not_audited: Vec<String>,
}

/// What all namespaces together say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// By tier name; every live tier is there.
    pub tiers: BTreeMap<Arc<str>, TierTally>,
    /// Namespaces that a tier governs.
    pub governed: u64,
    /// Namespaces that are exempt by name.
    pub exempt: u64,
    /// Namespaces that no tier selects.
    pub ungoverned: u64,
    /// Namespaces that only Observe tiers select.
    pub observed: u64,
    /// Namespaces that are being deleted.
    pub terminating: u64,
}

/// A namespace, what is remembered of it, and what other people's policies do there.
pub type KnownOfNamespace<'a> = (&'a Namespace, Option<&'a NamespaceRecord>, Option<&'a WideningSummary>);

/// Counts. A namespace whose record is of another generation of its tier counts as pending.
pub fn tally<'a>(world: &World, namespaces: impl IntoIterator<Item = KnownOfNamespace<'a>>) -> Tally {
    let names = world
        .tiers()
        .iter()
        .map(|ranked| Arc::clone(&ranked.tier.identity().name));
    let mut tally = Tally {
        tiers: names.map(|name| (name, TierTally::default())).collect(),
        ..Tally::default()
    };
    for (namespace, record, widened) in namespaces {
        let record = record.filter(|record| record.namespace_uid == namespace.uid);
        let widened = widened.filter(|widened| widened.namespace_uid == namespace.uid);
        tally.count(world, namespace, record, widened);
    }
    tally
}

impl Tally {
    /// Adds what the brake holds, by the uid of the tier.
    pub fn hold(&mut self, world: &World, held: &BTreeMap<Arc<str>, Held>) {
        for ranked in world.tiers() {
            if let Some(held) = held.get(&ranked.tier.identity().uid) {
                self.tier(ranked).held = Some(held.clone());
            }
        }
    }

    fn count(
        &mut self,
        world: &World,
        namespace: &Namespace,
        record: Option<&NamespaceRecord>,
        widened: Option<&WideningSummary>,
    ) {
        let assignment = assign(world, namespace, &ObservedPolicies::new(), record);
        for ranked in &assignment.selected_by {
            self.tier(ranked).namespaces.selected += 1;
        }
        if record.is_none() && !matches!(assignment.governor, Governor::Exempt | Governor::Terminating) {
            // One whose selector cannot be read may turn out to hold the namespace.
            let unreadable = world.tiers().iter().filter(|ranked| ranked.tier.claim().is_none());
            for ranked in assignment.selected_by.iter().copied().chain(unreadable) {
                self.tier(ranked).unplanned += 1;
            }
        }
        for shadow in &assignment.shadows {
            self.tier(shadow).count_shadow(shadow, namespace, record);
        }
        match assignment.governor {
            Governor::Exempt => self.exempt += 1,
            Governor::Terminating => self.terminating += 1,
            Governor::ObserveOnly => self.observed += 1,
            Governor::Nobody => self.ungoverned += 1,
            Governor::Tier(governor) => {
                self.governed += 1;
                self.tier(governor).count_governed(governor, namespace, record);
                self.tier(governor).count_widening(governor, namespace, widened);
                for tied in &assignment.tied_with {
                    for (one, other) in [(governor, *tied), (*tied, governor)] {
                        let other = &other.tier.identity().name;
                        let message = || {
                            format!(
                                "tier {other} has the same precedence and selects the namespace too; {} governs it, by name: \
                             give one of the two a higher precedence",
                                governor.tier.identity().name
                            )
                        };
                        self.tier(one).problem(namespace, words::PRECEDENCE_TIE, message);
                    }
                }
            }
        }
    }

    fn tier(&mut self, ranked: &RankedTier) -> &mut TierTally {
        self.tiers.entry(Arc::clone(&ranked.tier.identity().name)).or_default()
    }
}

impl TierTally {
    fn count_governed(&mut self, governor: &RankedTier, namespace: &Namespace, record: Option<&NamespaceRecord>) {
        let Some(record) = record.filter(|record| governs(Some(record), governor)) else {
            self.namespaces.pending += 1;
            return;
        };
        self.policies_in_sync += (record.written.len()
            - record
                .written
                .keys()
                .filter(|name| record.drifted.contains_key(*name))
                .count()) as u64;
        for drift in record.drifted.values() {
            *self.policies_drifted.entry(drift.kind).or_default() += 1;
            self.drift_oldest = Some(self.drift_oldest.map_or(drift.since, |oldest| oldest.min(drift.since)));
        }
        let is_there = |kind: &DriftKind| record.drifted.values().any(|drift| drift.kind == *kind);
        let kinds = DriftKind::ALL.into_iter().filter(is_there);
        self.drifted.extend(kinds.map(|kind| (namespace.name.clone(), kind)));
        let mut contested = record.contests.iter().filter(|(_, contest)| contest.is_contested());
        if let Some((policy, contest)) = contested.next() {
            let more = contested.count() as u64;
            self.contested += 1 + more;
            let others = if more > 0 {
                format!(" (and {more} more)")
            } else {
                String::new()
            };
            let message = || format!("{policy}{others} is {}", contest.in_words());
            self.problem(namespace, words::CONTESTED, message);
        }
        match &record.state {
            _ if !record.drifted.is_empty() => {
                self.namespaces.drifted += 1;
                self.problem(namespace, words::DRIFTED, || drift_in_words(record));
            }
            NamespaceState::Protected => self.namespaces.protected += 1,
            NamespaceState::Failed(_) => self.namespaces.failed += 1,
            NamespaceState::Ungoverned | NamespaceState::Waiting | NamespaceState::Unfinished => {
                self.namespaces.pending += 1;
            }
        }
        if let NamespaceState::Failed(failure) = &record.state {
            self.problem(namespace, failure.reason, || failure.message.clone());
        }
    }

    /// What was held to another tier says nothing of this one.
    fn count_widening(&mut self, governor: &RankedTier, namespace: &Namespace, widened: Option<&WideningSummary>) {
        if governor.tier.foreign_policies() == ForeignPolicies::Ignore {
            return;
        }
        let widened = widened.filter(|widened| widened.tier_uid == governor.tier.identity().uid);
        if widened.is_none_or(|widened| !widened.complete) {
            self.not_audited.push(namespace.name.clone());
        }
        let Some(widened) = widened else {
            return;
        };
        self.widening.add_all(&widened.policies);
        let Some((severity, message)) = &widened.worst else {
            return;
        };
        // Kept few, as the problems are; no more is copied than is kept.
        let full = self.widened.len() >= MAX_PROBLEMS;
        let as_bad = |((last, name), _): (&(Reverse<Severity>, String), _)| {
            (*last, name) <= (Reverse(*severity), &namespace.name)
        };
        if full && self.widened.last_key_value().is_some_and(as_bad) {
            return;
        }
        self.widened
            .insert((Reverse(*severity), namespace.name.clone()), message.clone());
        if full {
            self.widened.pop_last();
        }
    }

    fn count_shadow(&mut self, tier: &RankedTier, namespace: &Namespace, record: Option<&NamespaceRecord>) {
        self.namespaces.observed += 1;
        let shadows = record.into_iter().flat_map(|record| &record.shadows);
        for shadow in shadows.filter(|shadow| shadow.tier.uid == tier.tier.identity().uid) {
            let ChangeCounts {
                create,
                replace,
                delete,
            } = shadow.would;
            if shadow.would != ChangeCounts::default() {
                let message = || {
                    format!(
                        "would create {create}, replace {replace} and delete {delete} policies; see cofferdam plan, then set mode: Enforce"
                    )
                };
                self.problem(namespace, words::WOULD_CHANGE, message);
            }
        }
    }

    /// Keeps the problems few and in their order, so that ten thousand namespaces do not cost ten thousand strings: what would
    /// not be kept is not put into words.
    fn problem(&mut self, namespace: &Namespace, reason: &str, message: impl FnOnce() -> String) {
        let is_before = |problem: &NamespaceProblem| {
            (problem.namespace.as_deref(), &*problem.reason) < (Some(&namespace.name), reason)
        };
        if self.problems.len() >= KEPT_PROBLEMS && self.problems.last().is_some_and(is_before) {
            return;
        }
        let problem = NamespaceProblem {
            namespace: Some(namespace.name.clone()),
            reason: reason.to_owned(),
            message: bounded(message()),
        };
        if let Err(place) = self.problems.binary_search(&problem) {
            self.problems.insert(place, problem);
            self.problems.truncate(KEPT_PROBLEMS);
        }
    }
}

fn governs(record: Option<&NamespaceRecord>, ranked: &RankedTier) -> bool {
    let identity = ranked.tier.identity();
    let governor = record.and_then(|record| record.governor.as_ref());
    governor.is_some_and(|governor| governor.uid == identity.uid && governor.generation == identity.generation)
}

/// A condition message has at most 32,768 characters; far fewer are read, of a problem too.
pub(super) fn bounded(message: String) -> String {
    match message.char_indices().nth(1024) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests;
