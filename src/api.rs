//! The custom resources of `cofferdam.dev`, and every name that others script against.
//!
//! These types are what a person writes and what the API server stores. They may hold nonsense that
//! slipped past admission; [`crate::policy`] parses them into types that cannot.

pub mod allowance;
mod crd;
pub mod isolation_tier;
pub mod label_selector;
pub mod names;
pub mod status;

pub use allowance::{Allowance, IpBlock, Peer, Port, PortNumberOrName, Preset, Protocol};
pub use crd::crd;
pub use isolation_tier::{DeletionPolicy, Direction, ForeignPolicies, IsolationTier, IsolationTierSpec, Mode};
pub use label_selector::{LabelSelector, LabelSelectorRequirement, SelectorOperator};
pub use status::{ConfirmedReleases, IsolationTierStatus, NamespaceCounts, NamespaceProblem, RecentReleases};
