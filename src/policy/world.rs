//! Everything that planning needs to know besides the namespace itself.

mod candidates;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use self::candidates::Candidates;
use super::observed::Marks;
use super::render::render;
use super::{Exemptions, Facts, Namespace, ParsedTier, Rendered, TierIdentity};
use crate::api::DeletionPolicy;

/// The live tiers, ranked and rendered against the facts, and the exemptions.
///
/// Immutable: a change of a tier or a fact makes a new one, and every plan is made from exactly one.
#[derive(Clone, Debug)]
pub struct World {
    /// Highest rank first.
    tiers: Vec<RankedTier>,
    /// Who of them may select a namespace.
    candidates: Candidates,
    /// Tiers that are being deleted and whose policies go with them, where no other tier takes over.
    departing: Vec<ParsedTier>,
    live_uids: BTreeSet<Arc<str>>,
    exemptions: Exemptions,
    facts: Facts,
}

/// A tier and what it wants.
#[derive(Clone, Debug)]
pub struct RankedTier {
    /// What was written.
    pub tier: ParsedTier,
    /// What it renders to.
    pub rendered: Arc<Rendered>,
}

impl World {
    /// Ranks and renders. Terminating tiers govern nothing and own nothing.
    pub fn new(tiers: impl IntoIterator<Item = ParsedTier>, facts: Facts, exemptions: Exemptions) -> Self {
        let (terminating, live): (Vec<_>, Vec<_>) = tiers.into_iter().partition(|tier| tier.identity().terminating);
        let removes = |tier: &ParsedTier| tier.deletion_policy() == DeletionPolicy::Remove;
        let mut tiers: Vec<_> = live
            .into_iter()
            .map(|tier| RankedTier {
                rendered: Arc::new(render(&tier, &facts)),
                tier,
            })
            .collect();
        tiers.sort_by_key(|ranked| rank(&ranked.tier));
        let live_uids = tiers
            .iter()
            .map(|ranked| Arc::clone(&ranked.tier.identity().uid))
            .collect();
        Self {
            candidates: Candidates::of(tiers.iter().map(|ranked| &ranked.tier)),
            tiers,
            departing: terminating.into_iter().filter(removes).collect(),
            live_uids,
            exemptions,
            facts,
        }
    }

    /// The tiers, highest rank first.
    pub fn tiers(&self) -> &[RankedTier] {
        &self.tiers
    }

    /// The tiers that may select a namespace, highest rank first: all that do, those whose selector cannot be read, and perhaps
    /// more.
    pub fn candidates(&self, namespace: &Namespace) -> impl Iterator<Item = &RankedTier> {
        let places = self.candidates.for_namespace(namespace).into_iter();
        places.filter_map(|place| self.tiers.get(place))
    }

    /// The tiers that are being deleted with `deletionPolicy: Remove`.
    pub fn departing(&self) -> &[ParsedTier] {
        &self.departing
    }

    /// The departing tier that a policy was written for, where nobody governs `namespace`.
    ///
    /// The garbage collector strips the reference to a tier that is deleted with another cascade than background, in the
    /// foreground of some policies only. A stripped one counts as that tier's if the tier selects the namespace: had it been
    /// of an earlier tier of the name, this one would have taken it over.
    pub fn departing_owner(&self, namespace: &Namespace, marks: &Marks) -> Option<&Arc<TierIdentity>> {
        let owner = self.departing.iter().find(|tier| {
            let identity = tier.identity();
            let labelled = marks.managed_by && marks.tier.as_deref() == Some(&*identity.name);
            let selects = |tier: &ParsedTier| {
                let selected = tier.claim().is_some_and(|claim| claim.selects(namespace));
                selected && !tier.is_observe()
            };
            let stripped = || {
                let whole = marks.rendered.is_some() && !marks.strange_owners;
                whole && marks.namespace_owner.as_deref() == Some(&*namespace.uid) && selects(tier)
            };
            match &marks.tier_owner {
                Some(_) => labelled && marks.agreed_owner() == Some(&*identity.uid),
                None => labelled && stripped(),
            }
        });
        owner.map(ParsedTier::identity)
    }

    /// Whether a tier of that uid exists and is not being deleted.
    pub fn is_live(&self, tier_uid: &str) -> bool {
        self.live_uids.contains(tier_uid)
    }

    /// The live tier whose name, in label and owner reference, and uid are on those marks: all of them agree,
    /// or it is none. Where nobody governs, only this makes a policy ours.
    pub fn agreed_owner(&self, marks: &Marks) -> Option<&RankedTier> {
        let uid = marks.agreed_owner()?;
        let owner = self.tiers.iter().find(|ranked| *ranked.tier.identity().uid == *uid)?;
        (marks.tier.as_deref() == Some(&*owner.tier.identity().name)).then_some(owner)
    }

    /// Whether a tier of that uid is being deleted and takes its policies along.
    pub fn is_departing(&self, tier_uid: &str) -> bool {
        self.departing.iter().any(|tier| *tier.identity().uid == *tier_uid)
    }

    /// Namespaces that are never touched.
    pub fn exemptions(&self) -> &Exemptions {
        &self.exemptions
    }

    /// The facts that the tiers were rendered against.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Highest precedence first, then by name. A tier whose precedence cannot be read comes before all: it is
/// never outranked by a weaker one because of a typo.
fn rank(tier: &ParsedTier) -> (Reverse<i32>, Arc<str>) {
    let precedence = tier.claim().map_or(i32::MAX, |claim| claim.precedence);
    (Reverse(precedence), Arc::clone(&tier.identity().name))
}
