//! Everything that planning needs to know besides the namespace itself.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::observed::Marks;
use super::render::render;
use super::{Exemptions, Facts, ParsedTier, Rendered};

/// The live tiers, ranked and rendered against the facts, and the exemptions.
///
/// Immutable: a change of a tier or a fact makes a new one, and every plan is made from exactly one.
#[derive(Clone, Debug)]
pub struct World {
    /// Highest rank first.
    tiers: Vec<RankedTier>,
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
    /// Ranks and renders. Terminating tiers are left out: they govern nothing and own nothing.
    pub fn new(tiers: impl IntoIterator<Item = ParsedTier>, facts: Facts, exemptions: Exemptions) -> Self {
        let live = tiers.into_iter().filter(|tier| !tier.identity().terminating);
        let mut tiers: Vec<_> = live
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
            tiers,
            live_uids,
            exemptions,
            facts,
        }
    }

    /// The tiers, highest rank first.
    pub fn tiers(&self) -> &[RankedTier] {
        &self.tiers
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
