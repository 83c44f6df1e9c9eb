//! What is remembered of a namespace between two plans of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::drift::Written;
use super::{DriftKind, PolicyName, TierIdentity};

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
    pub drifted: BTreeMap<PolicyName, DriftKind>,
    /// How it stands.
    pub state: NamespaceState,
    /// What each shadowing Observe tier would change.
    pub shadows: Vec<Shadow>,
    /// Policies that stood there before us and were taken over.
    pub taken_over: u32,
}

/// How a governed namespace stands.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum NamespaceState {
    /// No tier governs it.
    #[default]
    Ungoverned,
    /// Every policy is present and as rendered, or as last rendered where an allowance cannot be resolved.
    Protected,
    /// Something is not written yet.
    Pending {
        /// Why, and what to do.
        message: String,
    },
    /// The last write failed.
    Failed {
        /// A CamelCase word.
        reason: &'static str,
        /// What the API server said, and what to do.
        message: String,
    },
}

/// What an Observe tier would change in a namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shadow {
    /// The tier.
    pub tier: Arc<TierIdentity>,
    /// Policies that it would create.
    pub create: u32,
    /// Policies that it would replace.
    pub replace: u32,
    /// Policies that it would delete.
    pub delete: u32,
}
