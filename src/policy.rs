//! THE CORE: what ought to stand in a namespace, and what has to change so that it does.
//!
//! Pure and total: no client, no runtime, no clock, no environment, no logging. The same functions serve the
//! controller, the command line on files, the command line on a live cluster, and the property tests.
//!
//! Reading order: [`tier`] (what was written, parsed into what cannot be wrong), [`facts`] (what the cluster
//! says), [`render`] (tier and facts to NetworkPolicies), [`assign`] (who governs a namespace), [`drift`]
//! (desired against observed), [`plan`] (the whole), [`record`] (what is remembered of it), [`tally`] and
//! [`status`] (what is said of a tier, of drift in [`drift_words`]), [`standing`] (what is said of a namespace without a memory),
//! [`attribution`] (who drifted a policy), [`contest`] (who fights over an object), [`brake`] (how much may be opened at
//! once), [`handover`] (the end of a tier), [`widening`] (what other people's policies allow beyond the tier).

pub mod assign;
pub mod attribution;
pub mod brake;
pub mod contest;
pub mod coverage;
pub mod digest;
pub mod drift;
pub mod drift_words;
pub mod facts;
pub mod handover;
pub mod name;
pub mod namespace;
pub mod observed;
pub mod plan;
pub mod record;
pub mod render;
pub mod standing;
pub mod status;
pub mod tally;
pub mod tier;
pub mod widening;
pub mod words;
pub mod world;

#[cfg(test)]
mod fixture;

pub use assign::{Assignment, Governor, assign};
pub use digest::SpecDigest;
pub use drift::{Cause, DriftKind};
pub use facts::{ApiServerFacts, DnsFacts, Fact, Facts};
pub use name::PolicyName;
pub use namespace::{Exemptions, Namespace};
pub use observed::{ObservedPolicies, ObservedPolicy};
pub use plan::{Action, Plan, Removal, Write, plan};
pub use record::{NamespaceRecord, NamespaceState};
pub use render::{Rendered, RenderedPolicy, Unresolved};
pub use tier::{BrokenTier, ParsedTier, Problem, Tier, TierIdentity};
pub use world::{RankedTier, World};
