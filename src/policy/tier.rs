//! A tier, parsed once at the edge into a type that cannot be wrong.
//!
//! Admission refuses nearly all of what is refused here, but a tier may get past it: an older CRD, a rule that
//! was edited away, a file that no server has seen. Such a tier still selects its namespaces, so that a typo
//! never hands them to a weaker one.

mod allowance;
mod selector;
mod unknown_fields;
mod wrong_type;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::core::{Selector, SelectorExt};
use serde::Deserialize;
use serde_json::Value;

pub use allowance::{Allowance, Block, PodPeer, Port, PortTarget, Traffic};
pub use unknown_fields::unknown_fields;

use super::Namespace;
use crate::api::names::CONFIRM_ANNOTATION;
use crate::api::{DeletionPolicy, Direction, ForeignPolicies, IsolationTierSpec, Mode};

const PRECEDENCES: RangeInclusive<i32> = 0..=1000;

/// What identifies a tier, and what of its metadata decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TierIdentity {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.uid`: decides ownership, since a name can be taken again.
    pub uid: Arc<str>,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`, to the second.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted: such a tier governs nothing and owns nothing.
    pub terminating: bool,
    /// The annotation `cofferdam.dev/confirm`: the held releases that are meant.
    pub confirmed: Option<Arc<str>>,
}

/// A tier that everything after the parse can rely on.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// Who it is.
    pub identity: Arc<TierIdentity>,
    /// Which namespaces, and how strongly.
    pub claim: Claim,
    /// Whether it writes.
    pub mode: Mode,
    /// The directions that it closes: at least one.
    pub isolate: BTreeSet<Direction>,
    /// What it lets through, by name.
    pub allow: Vec<Allowance>,
    /// What it says of other people's policies.
    pub foreign_policies: ForeignPolicies,
    /// What becomes of its policies when it is deleted.
    pub deletion_policy: DeletionPolicy,
}

/// Which namespaces a tier selects and how it ranks among those that select the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The namespaces.
    pub selector: Selector,
    /// The highest governs.
    pub precedence: i32,
}

/// A tier that does not parse, with what could still be read of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokenTier {
    /// Who it is.
    pub identity: Arc<TierIdentity>,
    /// Absent where selector or precedence are what does not parse: then it keeps what carries its uid.
    pub claim: Option<Claim>,
    /// Absent where the mode is what does not parse: then only what it had closed is kept closed.
    pub mode: Option<Mode>,
    /// The directions that it closes; both where that does not parse.
    pub isolate: BTreeSet<Direction>,
    /// What it says of other people's policies; where that does not parse, they are reported.
    pub foreign_policies: ForeignPolicies,
    /// What becomes of its policies when it is deleted; they stay where that does not parse.
    pub deletion_policy: DeletionPolicy,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// The outcome of parsing a tier. Both outcomes select namespaces.
#[derive(Clone, Debug, PartialEq)]
pub enum ParsedTier {
    /// It can be rendered.
    Whole(Tier),
    /// It cannot; what stands is kept.
    Broken(BrokenTier),
}

/// One thing that is wrong with a tier: where, what, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The field, as in `spec.allow[dns].ports`.
    pub field: String,
    /// What was found and what to write instead.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.field, self.message)
    }
}

impl TierIdentity {
    /// Reads the identity from an object's metadata.
    pub fn new(metadata: &ObjectMeta) -> Self {
        Self {
            name: metadata.name.as_deref().unwrap_or_default().into(),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            terminating: metadata.deletion_timestamp.is_some(),
            confirmed: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(CONFIRM_ANNOTATION))
                .map(|digest| digest.as_str().into()),
        }
    }
}

impl ParsedTier {
    /// Parses a tier's metadata and raw `spec`. Fields that are not of the schema are ignored here, as the
    /// API server drops them; [`unknown_fields`] finds them in files.
    pub fn parse(metadata: &ObjectMeta, spec: &Value) -> Self {
        let identity = Arc::new(TierIdentity::new(metadata));
        match Tier::parse(Arc::clone(&identity), spec) {
            Ok(tier) => Self::Whole(tier),
            Err(problems) => Self::Broken(BrokenTier {
                identity,
                claim: Claim::parse(field(spec, "namespaceSelector"), field(spec, "precedence")),
                mode: Mode::deserialize(field(spec, "mode")).ok(),
                isolate: readable_directions(field(spec, "isolate")),
                foreign_policies: Option::deserialize(field(spec, "foreignPolicies"))
                    .ok()
                    .flatten()
                    .unwrap_or_default(),
                deletion_policy: DeletionPolicy::deserialize(field(spec, "deletionPolicy")).unwrap_or_default(),
                problems,
            }),
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &Arc<TierIdentity> {
        match self {
            Self::Whole(tier) => &tier.identity,
            Self::Broken(tier) => &tier.identity,
        }
    }

    /// Which namespaces it selects, where that could be read.
    pub fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Whole(tier) => Some(&tier.claim),
            Self::Broken(tier) => tier.claim.as_ref(),
        }
    }

    /// Whether it only reports. A mode that does not parse is not Observe: its namespaces are kept.
    pub fn is_observe(&self) -> bool {
        let mode = match self {
            Self::Whole(tier) => Some(tier.mode),
            Self::Broken(tier) => tier.mode,
        };
        mode == Some(Mode::Observe)
    }

    /// What becomes of its policies when it is deleted.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        match self {
            Self::Whole(tier) => tier.deletion_policy,
            Self::Broken(tier) => tier.deletion_policy,
        }
    }

    /// The directions that it closes.
    pub fn isolate(&self) -> &BTreeSet<Direction> {
        match self {
            Self::Whole(tier) => &tier.isolate,
            Self::Broken(tier) => &tier.isolate,
        }
    }

    /// What it says of other people's policies.
    pub fn foreign_policies(&self) -> ForeignPolicies {
        match self {
            Self::Whole(tier) => tier.foreign_policies,
            Self::Broken(tier) => tier.foreign_policies,
        }
    }
}

impl Tier {
    /// Parses a raw `spec`.
    ///
    /// # Errors
    /// Everything that is wrong with it, not only the first thing.
    pub fn parse(identity: Arc<TierIdentity>, spec: &Value) -> Result<Self, Vec<Problem>> {
        let spec = IsolationTierSpec::deserialize(spec).map_err(|error| wrong_type::problems(spec, &error))?;
        let mut problems = Vec::new();
        check_name(&identity.name, &mut problems);
        let precedence = spec.precedence.unwrap_or_default();
        if !PRECEDENCES.contains(&precedence) {
            problems.push(Problem::new(
                "spec.precedence",
                format!("{precedence} is outside 0 to 1000"),
            ));
        }
        let selector = selector::parse(&spec.namespace_selector, "spec.namespaceSelector", &mut problems);
        if spec.isolate.as_ref().is_some_and(Vec::is_empty) {
            problems.push(Problem::new(
                "spec.isolate",
                "the list is empty; name Ingress, Egress, or leave it out for both",
            ));
        }
        let allow = allowance::parse_all(spec.allow.as_deref().unwrap_or_default(), &mut problems);
        match selector {
            Some(selector) if problems.is_empty() => Ok(Self {
                identity,
                claim: Claim { selector, precedence },
                mode: spec.mode,
                isolate: directions(spec.isolate),
                allow,
                foreign_policies: spec.foreign_policies.unwrap_or_default(),
                deletion_policy: spec.deletion_policy.unwrap_or_default(),
            }),
            _ => Err(problems),
        }
    }
}

impl Claim {
    /// Whether it selects the namespace.
    pub fn selects(&self, namespace: &Namespace) -> bool {
        self.selector.matches(&namespace.labels)
    }

    fn parse(selector: &Value, precedence: &Value) -> Option<Self> {
        let parsed = crate::api::LabelSelector::deserialize(selector).ok()?;
        let mut problems = Vec::new();
        let selector = selector::parse(&parsed, "spec.namespaceSelector", &mut problems)?;
        // One outside the range does not rank either: -100 for 100 would hand the namespaces to a weaker tier.
        let precedence = Option::<i32>::deserialize(precedence).ok()?.unwrap_or_default();
        (problems.is_empty() && PRECEDENCES.contains(&precedence)).then_some(Self { selector, precedence })
    }
}

/// The name becomes the value of a label.
fn check_name(name: &str, problems: &mut Vec<Problem>) {
    if name.is_empty() || !selector::is_label_value(name) {
        problems.push(Problem::new(
            "metadata.name",
            format!("{name:?} cannot be a label value; use at most 63 letters, digits, '-', '_' or '.'"),
        ));
    }
}

fn directions(listed: Option<Vec<Direction>>) -> BTreeSet<Direction> {
    listed.map_or_else(|| Direction::ALL.into(), BTreeSet::from_iter)
}

/// Both where the list cannot be read or is empty: a typo never opens a direction.
fn readable_directions(isolate: &Value) -> BTreeSet<Direction> {
    let listed = Option::<Vec<Direction>>::deserialize(isolate).ok().flatten();
    directions(listed.filter(|listed| !listed.is_empty()))
}

fn field<'a>(spec: &'a Value, name: &str) -> &'a Value {
    spec.get(name).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests;
