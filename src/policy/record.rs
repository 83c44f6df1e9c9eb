//! What is remembered of a namespace between two plans of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::assign::Assignment;
use super::contest::Contests;
use super::drift::{Cause, Written};
use super::plan::ChangeCounts;
use super::{DriftKind, Namespace, Plan, PolicyName, TierIdentity};

/// The outcome of the last plan of a namespace: everything that status and metrics are computed from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceRecord {
    /// The namespace that this is about: a recreated one starts anew.
    pub namespace_uid: String,
    /// The tier, at the generation that was planned with; `None` where nobody governs.
    pub governor: Option<Arc<TierIdentity>>,
    /// What we answer for: written by us, or seen in place.
    pub written: BTreeMap<PolicyName, Written>,
    /// Differences that somebody else made and that are not healed yet.
    pub drifted: BTreeMap<PolicyName, OpenDrift>,
    /// How it stands.
    pub state: NamespaceState,
    /// What each shadowing Observe tier would change.
    pub shadows: Vec<Shadow>,
    /// What was healed of late, and so may be contested.
    pub contests: Contests,
}

/// A difference that somebody else made and that is not healed yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenDrift {
    /// How it differs.
    pub kind: DriftKind,
    /// When that was first seen.
    pub since: Timestamp,
}

/// How a namespace stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum NamespaceState {
    /// No tier governs it.
    #[default]
    Ungoverned,
    /// Every policy is present and as rendered, or as last rendered where an allowance cannot be resolved.
    Protected,
    /// Base policies wait for an allowance to resolve: a running workload would be cut off.
    Waiting,
    /// Not all of the plan could be done as it was planned: it is planned again.
    Unfinished,
    /// The last write failed.
    Failed(Failure),
}

/// Why a write failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// A CamelCase word, from a closed set.
    pub reason: &'static str,
    /// What the API server said, and what to do.
    pub message: String,
    /// How long it asked us to wait.
    pub retry_after: Option<Duration>,
}

/// What an Observe tier would change in a namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shadow {
    /// The tier.
    pub tier: Arc<TierIdentity>,
    /// How many policies it would change.
    pub would: ChangeCounts,
}

/// What became of a plan's changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Changes that were committed.
    pub committed: BTreeSet<PolicyName>,
    /// The first change that failed.
    pub failure: Option<Failure>,
    /// Whether the namespace turned out to be gone or going: nothing is wrong, and nothing is to be done.
    pub namespace_gone: bool,
    /// Whether a change met another revision than the one planned against, or the read before a release came to another plan,
    /// or got too old, or a removal got no turn.
    pub must_replan: bool,
}

impl Outcome {
    /// Whether everything that was planned is done.
    pub fn is_complete(&self) -> bool {
        self.failure.is_none() && !self.must_replan
    }
}

impl NamespaceRecord {
    /// What is remembered after `plan` came to `outcome`, but for the contests.
    pub fn after(
        previous: Option<&Self>,
        assignment: &Assignment<'_>,
        namespace: &Namespace,
        plan: &Plan,
        outcome: &Outcome,
        shadows: Vec<Shadow>,
        now: Timestamp,
    ) -> Self {
        let previous = previous.filter(|record| record.namespace_uid == namespace.uid);
        let committed = |name: &PolicyName| outcome.committed.contains(name);
        let unsettled = plan.unsettled.iter().filter(|(name, _)| !committed(name));
        let unsettled = unsettled.map(|(name, written)| (name.clone(), written.clone()));
        let newly_written = plan.writes().filter(|write| committed(&write.name));
        let newly_written = newly_written.map(|write| (write.name.clone(), write.written()));
        let written = plan.in_place.clone().into_iter().chain(unsettled).chain(newly_written);
        let governor = assignment
            .governor
            .tier()
            .map(|ranked| Arc::clone(ranked.tier.identity()));
        let drifted = plan.drift().filter(|(name, _)| !committed(name)).map(|(name, kind)| {
            let known = previous.and_then(|record| record.drifted.get(name));
            (
                name.clone(),
                OpenDrift {
                    kind,
                    since: known.map_or(now, |known| known.since),
                },
            )
        });
        Self {
            namespace_uid: namespace.uid.clone(),
            state: match (&governor, &outcome.failure) {
                (_, Some(failure)) => NamespaceState::Failed(failure.clone()),
                (None, None) => NamespaceState::Ungoverned,
                (Some(_), None) if outcome.must_replan || outcome.namespace_gone => NamespaceState::Unfinished,
                (Some(_), None) if plan.waiting.is_empty() => NamespaceState::Protected,
                (Some(_), None) => NamespaceState::Waiting,
            },
            drifted: drifted.collect(),
            governor,
            written: written.collect(),
            shadows,
            contests: Contests::new(),
        }
    }
}

impl Shadow {
    /// Counts what `plan` would change if `tier` governed.
    pub fn of(tier: &Arc<TierIdentity>, plan: &Plan) -> Self {
        Self {
            tier: Arc::clone(tier),
            would: plan.counts(),
        }
    }
}

impl Plan {
    /// The policies that stood there before us, without any mark of ours.
    pub fn taken_over(&self) -> impl Iterator<Item = &PolicyName> {
        self.writes()
            .filter(|write| write.cause == Cause::TakenOver)
            .map(|write| &write.name)
    }
}
