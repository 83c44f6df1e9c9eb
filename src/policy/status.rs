//! From what is remembered of every namespace to what is said of every tier.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::assign::{Governor, assign};
use super::{
    DriftKind, Namespace, NamespaceRecord, NamespaceState, ObservedPolicies, ParsedTier, RankedTier, Unresolved, World,
};
use crate::api::{IsolationTierStatus, NamespaceCounts, NamespaceProblem};

/// The type and reason words of conditions and problems: others match on them.
pub mod words {
    /// The summary condition.
    pub const READY: &str = "Ready";
    /// Present while work is under way (kstatus).
    pub const RECONCILING: &str = "Reconciling";
    /// Present while only a person can help (kstatus).
    pub const STALLED: &str = "Stalled";
    /// Everything is in place.
    pub const RECONCILE_SUCCEEDED: &str = "ReconcileSucceeded";
    /// Namespaces are still to be written.
    pub const PROGRESSING: &str = "Progressing";
    /// A write failed and is tried again.
    pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
    /// The tier does not parse.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// A preset could not be resolved.
    pub const ALLOWANCE_UNRESOLVED: &str = "AllowanceUnresolved";
    /// A policy would be larger than what is written.
    pub const POLICY_TOO_LARGE: &str = "PolicyTooLarge";
    /// An allowance names a direction that is not isolated.
    pub const ALLOWANCE_HAS_NO_EFFECT: &str = "AllowanceHasNoEffect";
    /// Two Enforce tiers of one precedence select a namespace.
    pub const PRECEDENCE_TIE: &str = "PrecedenceTie";
    /// Somebody changed what we wrote, and it is not healed yet.
    pub const DRIFTED: &str = "Drifted";
    /// An Observe tier would change something.
    pub const WOULD_CHANGE: &str = "WouldChange";
}

/// The most problems that a status lists.
const MAX_PROBLEMS: usize = 10;

/// How long an allowance may stay unresolved before the tier is stalled: a DNS rollout takes less.
pub const STALLED_AFTER: SignedDuration = SignedDuration::from_secs(60);

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
    /// Since when the oldest drift is not healed.
    pub drift_oldest: Option<Timestamp>,
    /// Namespaces that wait for an allowance to resolve.
    pub waiting: u64,
    /// Namespaces of which this process knows nothing yet: what is said without them is preliminary.
    pub unplanned: u64,
    /// What to look at.
    pub problems: Vec<NamespaceProblem>,
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

/// Counts. A namespace whose record is of another generation of its tier counts as pending.
pub fn tally<'a>(
    world: &World,
    namespaces: impl IntoIterator<Item = (&'a Namespace, Option<&'a NamespaceRecord>)>,
) -> Tally {
    let names = world
        .tiers()
        .iter()
        .map(|ranked| Arc::clone(&ranked.tier.identity().name));
    let mut tally = Tally {
        tiers: names.map(|name| (name, TierTally::default())).collect(),
        ..Tally::default()
    };
    for (namespace, record) in namespaces {
        let record = record.filter(|record| record.namespace_uid == namespace.uid);
        tally.count(world, namespace, record);
    }
    for tier in tally.tiers.values_mut() {
        tier.problems.sort();
        tier.problems.dedup();
    }
    tally
}

impl Tally {
    fn count(&mut self, world: &World, namespace: &Namespace, record: Option<&NamespaceRecord>) {
        let mut assignment = assign(world, namespace, &ObservedPolicies::new());
        // A tier whose selector cannot be read holds what it held when the namespace was last planned.
        let held = world
            .tiers()
            .iter()
            .find(|ranked| ranked.tier.claim().is_none() && governs(record, ranked));
        if let Some(ranked) = held.filter(|_| !matches!(assignment.governor, Governor::Exempt | Governor::Terminating))
        {
            assignment.governor = Governor::Tier(ranked);
            assignment.selected_by.push(ranked);
        }
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
                for tied in &assignment.tied_with {
                    for (one, other) in [(governor, *tied), (*tied, governor)] {
                        let other = &other.tier.identity().name;
                        let message = format!(
                            "tier {other} has the same precedence and selects the namespace too; {} governs it, by name: \
                             give one of the two a higher precedence",
                            governor.tier.identity().name
                        );
                        self.tier(one).problem(Some(namespace), words::PRECEDENCE_TIE, message);
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
            self.drifted.push((namespace.name.clone(), drift.kind));
            self.drift_oldest = Some(self.drift_oldest.map_or(drift.since, |oldest| oldest.min(drift.since)));
        }
        match &record.state {
            _ if !record.drifted.is_empty() => {
                self.namespaces.drifted += 1;
                let kinds: Vec<_> = record
                    .drifted
                    .iter()
                    .map(|(name, drift)| format!("{name} {}", drift.kind.as_str()))
                    .collect();
                self.problem(
                    Some(namespace),
                    words::DRIFTED,
                    format!("{}, not healed yet", kinds.join(", ")),
                );
            }
            NamespaceState::Protected => self.namespaces.protected += 1,
            NamespaceState::Failed(_) => self.namespaces.failed += 1,
            NamespaceState::Waiting => {
                self.namespaces.pending += 1;
                self.waiting += 1;
            }
            NamespaceState::Ungoverned | NamespaceState::Unfinished => self.namespaces.pending += 1,
        }
        if let NamespaceState::Failed(failure) = &record.state {
            self.problem(Some(namespace), failure.reason, failure.message.clone());
        }
    }

    fn count_shadow(&mut self, tier: &RankedTier, namespace: &Namespace, record: Option<&NamespaceRecord>) {
        self.namespaces.observed += 1;
        let shadows = record.into_iter().flat_map(|record| &record.shadows);
        for shadow in shadows.filter(|shadow| shadow.tier.uid == tier.tier.identity().uid) {
            let (create, replace, delete) = (shadow.create, shadow.replace, shadow.delete);
            if create + replace + delete > 0 {
                let message = format!(
                    "would create {create}, replace {replace} and delete {delete} policies; see cofferdam plan, then set mode: Enforce"
                );
                self.problem(Some(namespace), words::WOULD_CHANGE, message);
            }
        }
    }

    /// Keeps the problems few, so that ten thousand namespaces do not cost ten thousand strings.
    fn problem(&mut self, namespace: Option<&Namespace>, reason: &str, message: String) {
        self.problems.push(NamespaceProblem {
            namespace: namespace.map(|namespace| namespace.name.clone()),
            reason: reason.to_owned(),
            message,
        });
        if self.problems.len() > 4 * MAX_PROBLEMS {
            self.problems.sort();
            self.problems.truncate(MAX_PROBLEMS);
        }
    }
}

fn governs(record: Option<&NamespaceRecord>, ranked: &RankedTier) -> bool {
    let identity = ranked.tier.identity();
    let governor = record.and_then(|record| record.governor.as_ref());
    governor.is_some_and(|governor| governor.uid == identity.uid && governor.generation == identity.generation)
}

/// What is said of a tier. `previous` keeps the transition times of what did not change.
pub fn tier_status(
    ranked: &RankedTier,
    tally: &TierTally,
    previous: Option<&IsolationTierStatus>,
    now: Timestamp,
) -> IsolationTierStatus {
    let mut problems = tier_problems(ranked);
    problems.extend(tally.problems.iter().cloned());
    problems.truncate(MAX_PROBLEMS);
    let generation = ranked.tier.identity().generation;
    let verdict = Verdict::of(ranked, tally, previous, now);
    let conditions = [
        (words::READY, Some((verdict.ready, verdict.reason))),
        (words::RECONCILING, verdict.reconciling.map(|reason| ("True", reason))),
        (words::STALLED, verdict.stalled.then_some(("True", verdict.reason))),
    ];
    let conditions = conditions.into_iter().filter_map(|(type_, status_and_reason)| {
        let (status, reason) = status_and_reason?;
        let before = previous.into_iter().flat_map(|previous| &previous.conditions);
        let same = before
            .into_iter()
            .find(|condition| condition.type_ == type_ && condition.status == status);
        Some(Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: verdict.message.clone(),
            observed_generation: Some(generation),
            last_transition_time: same.map_or(Time(to_the_second(now)), |same| same.last_transition_time.clone()),
        })
    });
    IsolationTierStatus {
        observed_generation: generation,
        conditions: conditions.collect(),
        namespaces: Some(tally.namespaces),
        problems,
    }
}

/// When a status has to be looked at again although nothing happens: when unresolved becomes stalled.
pub fn stalls_at(status: &IsolationTierStatus) -> Option<Timestamp> {
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == words::READY)?;
    let waits = ready.reason == words::ALLOWANCE_UNRESOLVED
        && !status
            .conditions
            .iter()
            .any(|condition| condition.type_ == words::STALLED);
    waits
        .then_some(ready.last_transition_time.0)
        .and_then(|since| since.checked_add(STALLED_AFTER).ok())
}

struct Verdict {
    ready: &'static str,
    reason: &'static str,
    message: String,
    reconciling: Option<&'static str>,
    stalled: bool,
}

impl Verdict {
    fn of(ranked: &RankedTier, tally: &TierTally, previous: Option<&IsolationTierStatus>, now: Timestamp) -> Self {
        let counts = &tally.namespaces;
        let bad = |reason, message, reconciling: Option<&'static str>| Self {
            ready: "False",
            reason,
            message,
            stalled: reconciling.is_none(),
            reconciling,
        };
        if let ParsedTier::Broken(tier) = &ranked.tier {
            let problems: Vec<_> = tier.problems.iter().map(ToString::to_string).collect();
            return bad(words::INVALID_SPEC, bounded(problems.join("; ")), None);
        }
        let enforces_somewhere =
            !ranked.tier.is_observe() && counts.protected + counts.pending + counts.drifted + counts.failed > 0;
        if let Some((reason, message)) = unresolved(ranked).into_iter().next().filter(|_| enforces_somewhere) {
            let waited = previous
                .and_then(|status| since(status, reason))
                .is_some_and(|since| now.duration_since(since) >= STALLED_AFTER);
            let stalled = waited || reason == words::POLICY_TOO_LARGE;
            return bad(reason, message, (!stalled).then_some(words::PROGRESSING_WITH_RETRY));
        }
        if counts.failed + counts.drifted > 0 {
            let first = tally
                .problems
                .iter()
                .find(|problem| ![words::WOULD_CHANGE, words::PRECEDENCE_TIE].contains(&problem.reason.as_str()));
            let message = first.map_or_else(String::new, |problem| problem.message.clone());
            let message = format!(
                "{} of {} namespaces are not as they should be: {message}",
                counts.failed + counts.drifted,
                counts.selected
            );
            return bad(
                words::PROGRESSING_WITH_RETRY,
                bounded(message),
                Some(words::PROGRESSING_WITH_RETRY),
            );
        }
        if counts.pending > 0 {
            return Self {
                ready: "Unknown",
                reason: words::PROGRESSING,
                message: format!(
                    "{} of {} namespaces are still to be written",
                    counts.pending, counts.selected
                ),
                reconciling: Some(words::PROGRESSING),
                stalled: false,
            };
        }
        Self {
            ready: "True",
            reason: words::RECONCILE_SUCCEEDED,
            message: if ranked.tier.is_observe() {
                format!(
                    "observing {} namespaces; nothing is written in mode Observe",
                    counts.observed
                )
            } else {
                format!("{} namespaces are protected", counts.protected)
            },
            reconciling: None,
            stalled: false,
        }
    }
}

/// Since when the status says `Ready=False` for this reason.
fn since(status: &IsolationTierStatus, reason: &str) -> Option<Timestamp> {
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == words::READY)?;
    (ready.status == "False" && ready.reason == reason).then_some(ready.last_transition_time.0)
}

/// Problems of the tier itself, whatever its namespaces.
fn tier_problems(ranked: &RankedTier) -> Vec<NamespaceProblem> {
    let mut problems: Vec<_> = unresolved(ranked)
        .into_iter()
        .map(|(reason, message)| NamespaceProblem {
            namespace: None,
            reason: reason.to_owned(),
            message,
        })
        .collect();
    if let ParsedTier::Broken(tier) = &ranked.tier {
        problems.extend(tier.problems.iter().map(|problem| NamespaceProblem {
            namespace: None,
            reason: words::INVALID_SPEC.to_owned(),
            message: bounded(problem.to_string()),
        }));
    }
    problems.extend(ranked.rendered.ineffective.iter().map(|name| NamespaceProblem {
        namespace: None,
        reason: words::ALLOWANCE_HAS_NO_EFFECT.to_owned(),
        message: format!("allowance {name} speaks of a direction that the tier does not isolate; add it to spec.isolate or drop the allowance"),
    }));
    problems.dedup();
    problems
}

fn unresolved(ranked: &RankedTier) -> Vec<(&'static str, String)> {
    let all = ranked.rendered.policies.iter().flat_map(|(name, policy)| {
        policy.unresolved.iter().filter_map(move |unresolved| match unresolved {
            Unresolved::Tier => None,
            Unresolved::Allowance {
                allowance, looked_for, ..
            } => Some((
                words::ALLOWANCE_UNRESOLVED,
                format!("allowance {allowance}: {looked_for}"),
            )),
            Unresolved::TooLarge { bytes } => {
                let most = super::render::MAX_SPEC_BYTES;
                let message = format!(
                    "{name} would have {bytes} bytes, more than {most}; the last good policy stays: split the tier"
                );
                Some((words::POLICY_TOO_LARGE, message))
            }
        })
    });
    let mut all: Vec<_> = all.collect();
    all.dedup();
    all
}

/// `metadata/v1` times have whole seconds; a fraction would be a difference to what the server gives back.
fn to_the_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A condition message has at most 32,768 characters; far fewer are read.
fn bounded(message: String) -> String {
    match message.char_indices().nth(1024) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests;
