//! How one namespace stands, told from what is observed at one moment: what the command line says without the memory
//! of a controller.
//!
//! The plan is the controller's own. What only the controller knows, it left in the status of the tier: that is what
//! [`Told`] is read from. Since when a state holds is told only as far as the API does ([`since`]).

mod since;
mod told;

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;

pub use self::told::Told;
use super::attribution::{Attribution, attribution};
use super::plan::{ChangeCounts, plan_assigned, plan_governed};
use super::widening::{ForeignPolicy, Widening, widenings_of_namespace};
use super::{
    Action, Assignment, Cause, DriftKind, Governor, Namespace, ObservedPolicies, ObservedPolicy, Plan, PolicyName,
    RankedTier, World, Write, assign,
};

/// How one namespace stands.
#[derive(Debug)]
pub struct Standing<'world> {
    /// Who governs it.
    pub assignment: Assignment<'world>,
    /// In one word.
    pub state: State,
    /// Since when, as far as the API tells.
    pub since: Option<Timestamp>,
    /// What somebody else changed and nobody healed, by policy.
    pub drift: Vec<Drift>,
    /// What is to be written or deleted, drift included.
    pub changes: ChangeCounts,
    /// Policies that wait for an allowance to resolve.
    pub waiting: Vec<PolicyName>,
    /// What other people's policies allow beyond the tier, the worst first.
    pub widenings: Vec<Widening>,
    /// What each Observe tier above would change.
    pub shadows: Vec<(&'world RankedTier, ChangeCounts)>,
}

/// How a namespace stands, in one word. The words are those of the metrics, where those have one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum State {
    /// A tier governs it, and every policy is there and as rendered.
    Protected,
    /// As above at this moment, but somebody undoes it as often as it is healed.
    Contested,
    /// Somebody else changed what was written, and it is not healed.
    Drifted,
    /// The controller could not write what has to be written.
    Failed,
    /// Something is still to be written.
    Pending,
    /// No tier selects it any more: it is about to lose its policies.
    Left,
    /// No tier selects it; the policies of a tier that is gone stand there, and nobody heals them.
    Retained,
    /// Only Observe tiers select it: it keeps what it has, and nobody heals it.
    Observed,
    /// No tier selects it.
    Ungoverned,
    /// It is never touched, by name.
    Exempt,
    /// It is being deleted.
    Terminating,
}

/// A policy that somebody else changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// The policy.
    pub policy: PolicyName,
    /// How it differs.
    pub kind: DriftKind,
    /// Who and what; `None` where nothing stands that would tell.
    pub attribution: Option<Attribution>,
}

impl State {
    /// Every state, in the order of [`Ord`].
    pub const ALL: [Self; 11] = [
        Self::Protected,
        Self::Contested,
        Self::Drifted,
        Self::Failed,
        Self::Pending,
        Self::Left,
        Self::Retained,
        Self::Observed,
        Self::Ungoverned,
        Self::Exempt,
        Self::Terminating,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Contested => "contested",
            Self::Drifted => "drifted",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Left => "left",
            Self::Retained => "retained",
            Self::Observed => "observed",
            Self::Ungoverned => "ungoverned",
            Self::Exempt => "exempt",
            Self::Terminating => "terminating",
        }
    }

    /// Whether a check fails on it: nobody keeps the namespace watertight, though nobody exempted it by name and it is
    /// not on its way out.
    pub const fn is_unprotected(self) -> bool {
        !matches!(self, Self::Protected | Self::Exempt | Self::Terminating)
    }
}

/// Tells how a namespace stands. `policies` are all that stand in it, `told` is what the controller left in the status of
/// a tier.
pub fn standing<'world>(
    world: &'world World,
    namespace: &Namespace,
    policies: &[NetworkPolicy],
    told: impl Fn(&RankedTier) -> Told,
    now: Timestamp,
) -> Standing<'world> {
    let observed: ObservedPolicies = policies.iter().cloned().filter_map(ObservedPolicy::read).collect();
    let assignment = assign(world, namespace, &observed, None);
    let plan = plan_assigned(world, &assignment, namespace, &observed, None);
    let told = assignment.governor.tier().map(told).unwrap_or_default();
    let drift = drift(&assignment, &plan, &observed, &told);
    let state = state(world, &assignment, &plan, &observed, &drift, &told);
    let shadows = assignment.shadows.iter().map(|shadow| {
        let plan = plan_governed(world, shadow, namespace, &observed, None);
        (*shadow, plan.counts())
    });
    let foreign: Vec<_> = policies.iter().filter_map(ForeignPolicy::read).collect();
    Standing {
        state,
        since: since::since(state, namespace, policies, &drift, now),
        widenings: widenings_of_namespace(assignment.governor, namespace, &foreign),
        shadows: shadows.collect(),
        changes: plan.counts(),
        waiting: plan.waiting,
        drift,
        assignment,
    }
}

fn state(
    world: &World,
    assignment: &Assignment<'_>,
    plan: &Plan,
    observed: &ObservedPolicies,
    drift: &[Drift],
    told: &Told,
) -> State {
    match assignment.governor {
        Governor::Exempt => State::Exempt,
        Governor::Terminating => State::Terminating,
        Governor::ObserveOnly => State::Observed,
        Governor::Nobody if !plan.removals.is_empty() => State::Left,
        Governor::Nobody => {
            let mut marks = observed.values().map(|policy| &policy.marks);
            match marks.any(|marks| marks.is_retained(|uid| world.is_live(uid))) {
                true => State::Retained,
                false => State::Ungoverned,
            }
        }
        Governor::Tier(_) if !drift.is_empty() => State::Drifted,
        Governor::Tier(_) if !plan.is_empty() && told.failed => State::Failed,
        Governor::Tier(_) if !plan.is_empty() || !plan.waiting.is_empty() => State::Pending,
        Governor::Tier(_) if told.contested => State::Contested,
        Governor::Tier(_) => State::Protected,
    }
}

/// Marks on policies tell drift from what is merely pending, except where nothing stands any more or no mark is left.
/// There the rest of the namespace tells: the tier said that all was in place for the spec that it has now, and another
/// policy here is still marked as its own.
fn drift(assignment: &Assignment<'_>, plan: &Plan, observed: &ObservedPolicies, told: &Told) -> Vec<Drift> {
    let Some(governor) = assignment.governor.tier() else {
        return Vec::new();
    };
    let uid = &governor.tier.identity().uid;
    let was_in_place = told.settled && plan.in_place.values().any(|written| written.tier.uid == *uid);
    let mut kinds: BTreeMap<_, _> = plan.drift().collect();
    for write in plan.writes() {
        let kind = match (&write.action, write.cause) {
            (Action::Create, Cause::Pending) => DriftKind::Missing,
            (_, Cause::TakenOver) => match observed.get(&write.name) {
                Some(live) if live.spec == write.policy.digest => DriftKind::Disowned,
                _ => DriftKind::Modified,
            },
            _ => continue,
        };
        if was_in_place || told.missing.may_contain(&write.name) {
            kinds.insert(&write.name, kind);
        }
    }
    let drift = kinds.into_iter().map(|(policy, kind)| {
        let mut attribution = attribution(plan, observed, policy);
        let is_incomplete = |write: &&Write| write.name == *policy && !write.policy.unresolved.is_empty();
        // What stood there before is not what would be written now, so what was changed is not known.
        if let Some(attribution) = attribution
            .as_mut()
            .filter(|_| plan.writes().any(|write| is_incomplete(&write)))
        {
            attribution.changes.clear();
        }
        Drift {
            policy: policy.clone(),
            kind,
            attribution,
        }
    });
    drift.collect()
}

#[cfg(test)]
mod tests;
