//! Somebody else's NetworkPolicy, in the form in which many of them are kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};

use super::reading::rules;
use crate::api::Direction;
use crate::policy::PolicyName;

/// The largest spec that is compared, in bytes of JSON. Real ones have some hundreds; a block of addresses takes about
/// thirty. Whoever may write policies must not fill our memory with them.
pub const MAX_SPEC_BYTES: usize = 32 << 10;

/// Somebody else's NetworkPolicy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForeignPolicy {
    /// `metadata.name`.
    pub name: String,
    /// Its `spec`.
    pub spec: ForeignSpec,
}

/// A spec that somebody else wrote. Equal ones are equal here.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ForeignSpec {
    /// As JSON, which takes as many bytes as it has: the types take up to fifty times as many for lists of nothing.
    Kept(Arc<str>),
    /// It was not kept, so that what it allows is not known.
    NotKept(Box<NotKept>),
}

/// Why a spec was not kept, and what is known of it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NotKept {
    /// Its size in bytes of JSON.
    pub bytes: usize,
    /// The most bytes that are kept of one spec, or of all that other people have in the namespace.
    pub most: usize,
    /// The directions in which it allows something.
    pub directions: BTreeSet<Direction>,
}

impl ForeignPolicy {
    /// A policy of that name and spec.
    pub fn new(name: impl Into<String>, spec: &NetworkPolicySpec) -> Self {
        Self {
            name: name.into(),
            spec: ForeignSpec::new(spec),
        }
    }

    /// Reads a live object; `None` if its name is reserved: such a policy is ours to correct.
    pub fn read(policy: &NetworkPolicy) -> Option<Self> {
        let name = policy.metadata.name.as_deref().unwrap_or_default();
        if PolicyName::reserved(name).is_some() {
            return None;
        }
        Some(match &policy.spec {
            Some(spec) => Self::new(name, spec),
            None => Self::new(name, &NetworkPolicySpec::default()),
        })
    }
}

impl ForeignSpec {
    /// Keeps a spec if it is not too large.
    pub fn new(spec: &NetworkPolicySpec) -> Self {
        let text = serde_json::to_string(spec).unwrap_or_default();
        if text.len() <= MAX_SPEC_BYTES {
            return Self::Kept(text.into());
        }
        Self::not_kept(spec, text.len(), MAX_SPEC_BYTES)
    }

    /// The same without its text, where no more than `most` bytes of a namespace are kept.
    #[must_use]
    pub fn beyond(self, most: usize) -> Self {
        match (&self, self.read()) {
            (Self::Kept(text), Ok(spec)) => Self::not_kept(&spec, text.len(), most),
            _ => self,
        }
    }

    /// One of which nothing is known, where no more than `most` bytes of a namespace are kept.
    pub fn unknown(most: usize) -> Self {
        Self::NotKept(Box::new(NotKept {
            bytes: 0,
            most,
            directions: Direction::ALL.into(),
        }))
    }

    /// How many bytes are kept of it.
    pub fn kept_bytes(&self) -> usize {
        match self {
            Self::Kept(text) => text.len(),
            Self::NotKept(_) => 0,
        }
    }

    fn not_kept(spec: &NetworkPolicySpec, bytes: usize, most: usize) -> Self {
        let allows = |direction: &Direction| !rules(spec, *direction).is_empty();
        Self::NotKept(Box::new(NotKept {
            bytes,
            most,
            directions: Direction::ALL.into_iter().filter(allows).collect(),
        }))
    }

    /// The spec, or why it cannot be compared.
    pub(super) fn read(&self) -> Result<NetworkPolicySpec, NotCompared<'_>> {
        match self {
            Self::Kept(text) => serde_json::from_str(text).map_err(|_| NotCompared::Unreadable),
            Self::NotKept(not_kept) => Err(NotCompared::NotKept(not_kept)),
        }
    }
}

/// Why a spec cannot be compared. What is not known is not harmless.
#[derive(Debug)]
pub(super) enum NotCompared<'a> {
    /// It was not kept.
    NotKept(&'a NotKept),
    /// What was kept is not a spec.
    Unreadable,
}

impl NotCompared<'_> {
    /// What is said of it, if it may allow something in that direction.
    pub(super) fn detail(&self, direction: Direction) -> Option<String> {
        match self {
            Self::NotKept(not_kept) if !not_kept.directions.contains(&direction) => None,
            Self::NotKept(NotKept { bytes, most, .. }) if bytes > most => Some(format!(
                "its spec has {bytes} bytes, more than the {most} that are compared, so it counts as allowing everything"
            )),
            Self::NotKept(NotKept { most, .. }) => Some(format!(
                "the policies that others wrote here have more than the {most} bytes that are compared of a namespace, so it counts as allowing everything"
            )),
            Self::Unreadable => Some(String::from(
                "its spec cannot be read, so it counts as allowing everything",
            )),
        }
    }
}
