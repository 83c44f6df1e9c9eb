//! Desired against observed, and why they differ: drift is a difference from what we last wrote. What differs
//! because a tier, a namespace or a fact changed is pending, and is never counted as drift.

use std::sync::Arc;

use super::observed::Marks;
use super::{ObservedPolicy, RenderedPolicy, SpecDigest, TierIdentity, World};

/// What was last written, or last seen in place, under a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Written {
    /// The digest of its spec.
    pub spec: SpecDigest,
    /// The tier that it was written for.
    pub tier: Arc<TierIdentity>,
}

/// Why a policy has to change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// A tier, the namespace or a fact changed.
    Pending,
    /// It stood there before us, without any mark of ours.
    TakenOver,
    /// Somebody changed what we wrote.
    Drift(DriftKind),
}

/// How a policy differs from what we last wrote.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DriftKind {
    /// It is gone.
    Missing,
    /// Its spec is another.
    Modified,
    /// Its spec stands, but our labels, annotation or owners are stripped or changed.
    Disowned,
    /// It has a reserved name, we do not want it, and did not write it as it is.
    Surplus,
}

impl DriftKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Modified, Self::Disowned, Self::Surplus];

    /// The kind as a label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Modified => "modified",
            Self::Disowned => "disowned",
            Self::Surplus => "surplus",
        }
    }
}

/// Whether the live policy is exactly what `tier` wants in the namespace of that uid.
pub fn in_sync(desired: &RenderedPolicy, tier: &TierIdentity, namespace_uid: &str, observed: &ObservedPolicy) -> bool {
    observed.spec == desired.digest && has_marks(&observed.marks, desired.digest, tier, namespace_uid)
}

/// What was last written, as far as the marks on a live policy tell: the memory after a restart. Whole marks
/// only, since part of them may be anybody's.
pub fn written_by_marks(observed: &ObservedPolicy, namespace_uid: &str) -> Option<Written> {
    let marks = &observed.marks;
    let (name, spec) = marks
        .tier
        .as_deref()
        .zip(marks.rendered)
        .filter(|_| could_be_ours(marks, namespace_uid))?;
    let tier = TierIdentity {
        name: name.into(),
        // No tier has an empty uid: the one whose reference the garbage collector stripped is gone.
        uid: marks.tier_owner.as_ref().map_or("", |owner| &owner.uid).into(),
        generation: 0,
        created: None,
        terminating: false,
        confirmed: None,
    };
    Some(Written {
        spec,
        tier: Arc::new(tier),
    })
}

/// Why a wanted policy that stands, but is not in sync, differs.
pub fn cause_of_difference(
    world: &World,
    namespace_uid: &str,
    observed: &ObservedPolicy,
    written: Option<&Written>,
) -> Cause {
    let marks = &observed.marks;
    match written {
        Some(written) if observed.spec != written.spec => Cause::Drift(DriftKind::Modified),
        Some(written) => {
            let as_written = has_marks(marks, written.spec, &written.tier, namespace_uid);
            // The garbage collector strips the reference to a deleted tier: nobody's drift.
            let collected = marks.tier_owner.is_none()
                && !world.is_live(&written.tier.uid)
                && has_marks_but_tier_owner(marks, written.spec, &written.tier, namespace_uid);
            if as_written || collected {
                Cause::Pending
            } else {
                Cause::Drift(DriftKind::Disowned)
            }
        }
        None if marks.is_none() => Cause::TakenOver,
        None if marks.rendered.is_some_and(|rendered| rendered != observed.spec) => Cause::Drift(DriftKind::Modified),
        // Whole marks that are not remembered: our own write whose answer was lost.
        None if could_be_ours(marks, namespace_uid) => Cause::Pending,
        None => Cause::Drift(DriftKind::Disowned),
    }
}

fn has_marks(marks: &Marks, spec: SpecDigest, tier: &TierIdentity, namespace_uid: &str) -> bool {
    let owner = marks.tier_owner.as_ref();
    owner.is_some_and(|owner| *owner.uid == *tier.uid && *owner.name == *tier.name)
        && has_marks_but_tier_owner(marks, spec, tier, namespace_uid)
}

fn has_marks_but_tier_owner(marks: &Marks, spec: SpecDigest, tier: &TierIdentity, namespace_uid: &str) -> bool {
    marks.managed_by
        && marks.tier.as_deref() == Some(&*tier.name)
        && marks.rendered == Some(spec)
        && marks.namespace_owner.as_deref() == Some(namespace_uid)
        && !marks.strange_owners
}

/// Whether the marks are whole and agree with each other, for whichever tier. The tier's owner reference may
/// be missing: the garbage collector strips it when the tier is gone.
fn could_be_ours(marks: &Marks, namespace_uid: &str) -> bool {
    let owner_agrees = marks
        .tier_owner
        .as_ref()
        .is_none_or(|owner| marks.tier.as_deref() == Some(&*owner.name));
    marks.managed_by
        && marks.tier.is_some()
        && marks.rendered.is_some()
        && marks.namespace_owner.as_deref() == Some(namespace_uid)
        && owner_agrees
        && !marks.strange_owners
}
