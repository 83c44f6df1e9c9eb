//! Who wants to be released, over all namespaces: what the brake decides by.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Release;
use crate::api::Direction;
use crate::policy::assign::{Assignment, Governor, assign};
use crate::policy::plan::plan_assigned;
use crate::policy::{
    Namespace, NamespaceRecord, ObservedPolicies, ObservedPolicy, Plan, PolicyName, RankedTier, World,
};

/// What all namespaces together want. It is kept up namespace by namespace, so that a change of one costs no walk.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Census {
    /// Every release that is wanted and not made, by direction.
    wanted: BTreeMap<Direction, BTreeSet<Release>>,
    /// How many namespaces stay isolated, by direction.
    protected: BTreeMap<Direction, u64>,
    /// Which those are.
    stays_isolated: HashMap<String, Vec<Direction>>,
    /// What the tiers' annotations confirm, by the tier's uid.
    pub confirmations: BTreeMap<Arc<str>, Arc<str>>,
}

impl Census {
    /// Before any namespace is counted.
    pub fn of(world: &World) -> Self {
        let live = world.tiers().iter().map(|ranked| ranked.tier.identity());
        let departing = world.departing().iter().map(|tier| tier.identity());
        let confirmations = live
            .chain(departing)
            .filter_map(|tier| Some((Arc::clone(&tier.uid), Arc::clone(tier.confirmed.as_ref()?))));
        Self {
            confirmations: confirmations.collect(),
            ..Self::default()
        }
    }

    /// Says how a namespace stands, in place of what was said of it before.
    pub fn set(&mut self, namespace: &str, wanted: impl IntoIterator<Item = Release>, stays_isolated: Vec<Direction>) {
        self.set_wanted(namespace, wanted);
        for direction in &stays_isolated {
            *self.protected.entry(*direction).or_default() += 1;
        }
        let before = if stays_isolated.is_empty() {
            self.stays_isolated.remove(namespace)
        } else {
            self.stays_isolated.insert(namespace.to_owned(), stays_isolated)
        };
        for direction in before.into_iter().flatten() {
            let count = self.protected.entry(direction).or_default();
            *count = count.saturating_sub(1);
        }
    }

    /// Says what a namespace wants; whether it stays isolated otherwise is as it was.
    pub fn set_wanted(&mut self, namespace: &str, wanted: impl IntoIterator<Item = Release>) {
        self.forget_wanted(namespace);
        for release in wanted {
            self.wanted.entry(release.direction).or_default().insert(release);
        }
    }

    /// Every release that is wanted and not made.
    pub fn wanted(&self) -> impl Iterator<Item = &Release> {
        self.wanted.values().flatten()
    }

    /// What one namespace wants.
    pub fn wanted_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Release> {
        Direction::ALL.into_iter().flat_map(move |direction| {
            let wanted = self.wanted.get(&direction).into_iter();
            let from_there = wanted.flat_map(move |all| all.range(Release::first_of(namespace)..));
            from_there.take_while(move |release| release.namespace == namespace)
        })
    }

    /// Whether exactly that is wanted.
    pub fn wants(&self, release: &Release) -> bool {
        let wanted = self.wanted.get(&release.direction);
        wanted.is_some_and(|wanted| wanted.contains(release))
    }

    /// How many releases of a direction are wanted.
    pub(super) fn count(&self, direction: Direction) -> u64 {
        self.wanted.get(&direction).map_or(0, |wanted| wanted.len() as u64)
    }

    /// How many namespaces stay isolated in a direction.
    pub(super) fn protected(&self, direction: Direction) -> u64 {
        self.protected.get(&direction).copied().unwrap_or_default()
    }

    /// Whether a namespace stays isolated in a direction.
    pub(super) fn is_isolated(&self, namespace: &str, direction: Direction) -> bool {
        let directions = self.stays_isolated.get(namespace);
        directions.is_some_and(|directions| directions.contains(&direction))
    }

    fn forget_wanted(&mut self, namespace: &str) {
        let before: Vec<Release> = self.wanted_in(namespace).cloned().collect();
        for release in before {
            if let Some(wanted) = self.wanted.get_mut(&release.direction) {
                wanted.remove(&release);
            }
        }
    }
}

/// How one namespace stands: what it wants released, and the directions that stay isolated.
pub fn stands(
    world: &World,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> (Vec<Release>, Vec<Direction>) {
    let assignment = assign(world, namespace, observed, record);
    let plan = plan_assigned(world, &assignment, namespace, observed, record);
    let isolated = match assignment.governor {
        Governor::Tier(governor) => isolated(governor, observed.keys()),
        _ => Vec::new(),
    };
    (plan.releases(world, &assignment, namespace), isolated)
}

/// As [`stands`], for a namespace that wants no release; `bases` are those that stand there.
pub fn stays_isolated<'a>(
    world: &World,
    namespace: &Namespace,
    bases: impl IntoIterator<Item = &'a PolicyName>,
    record: Option<&NamespaceRecord>,
) -> Vec<Direction> {
    match assign(world, namespace, &ObservedPolicies::new(), record).governor {
        Governor::Tier(governor) => isolated(governor, bases),
        _ => Vec::new(),
    }
}

fn isolated<'a>(governor: &RankedTier, policies: impl IntoIterator<Item = &'a PolicyName>) -> Vec<Direction> {
    let directions = policies.into_iter().filter_map(PolicyName::baseline_direction);
    directions
        .filter(|direction| governor.tier.isolate().contains(direction))
        .collect()
}

/// Whether a namespace may want a release, told by what is looked up quickly: where it says no there is none.
/// `bases` are the base policies that stand there.
pub fn could_release<'a>(
    world: &World,
    namespace: &Namespace,
    bases: impl IntoIterator<Item = (&'a PolicyName, &'a ObservedPolicy)>,
    record: Option<&NamespaceRecord>,
) -> bool {
    // Without what is observed, a tier whose selector cannot be read may seem not to govern: then the plan tells.
    match assign(world, namespace, &ObservedPolicies::new(), record).governor {
        Governor::Exempt | Governor::Terminating | Governor::ObserveOnly => false,
        Governor::Nobody => {
            let may_go = |live: &ObservedPolicy| {
                world.agreed_owner(&live.marks).is_some() || world.departing_owner(namespace, &live.marks).is_some()
            };
            bases.into_iter().any(|(_, live)| may_go(live))
        }
        Governor::Tier(governor) => bases.into_iter().any(|(name, _)| {
            let direction = name.baseline_direction();
            direction.is_some_and(|direction| !governor.tier.isolate().contains(&direction))
        }),
    }
}

impl Plan {
    /// The directions that it would open, each reported on the tier that isolated it, or on the one that governs by now.
    pub fn releases(&self, world: &World, assignment: &Assignment<'_>, namespace: &Namespace) -> Vec<Release> {
        let governor = assignment.governor.tier().map(|governor| governor.tier.identity());
        let releases = self.removals.iter().filter_map(|removal| {
            let from = removal.releases_from.as_ref()?;
            let known = world.is_live(&from.uid) || world.is_departing(&from.uid);
            let tier = governor.filter(|_| !known).unwrap_or(from);
            Some(Release {
                namespace: namespace.name.clone(),
                direction: removal.name.baseline_direction()?,
                policy_uid: removal.uid.clone(),
                tier_uid: Arc::clone(&tier.uid),
            })
        });
        releases.collect()
    }

    /// Keeps the base of each direction of `held`, and with it what we allow beside it: without that it would cut off
    /// the pods that it is for. What somebody else put there goes.
    pub fn hold_back(&mut self, held: &BTreeSet<Direction>) {
        if held.is_empty() {
            return;
        }
        self.removals.retain(|removal| !removal.goes_with(held));
    }
}
