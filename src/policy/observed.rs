//! What stands in a namespace under our names, in as few bytes as the comparison needs.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference};

use super::attribution::Evidence;
use super::{PolicyName, RenderedPolicy, SpecDigest};
use crate::api::Direction;
use crate::api::names::{API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, RENDERED_ANNOTATION, TIER_KIND, TIER_LABEL};

/// What is kept of other people's metadata on one policy, in bytes. Whoever may write policies must neither fill our
/// memory nor an object so far that our own marks have no room in it.
const MAX_FOREIGN_BYTES: usize = 16 << 10;
/// Managed fields beyond this are reset when the policy is replaced.
const MAX_MANAGED_FIELDS_BYTES: usize = 64 << 10;
/// The type of fields that stands in place of managed fields that could not be read: they are reset too.
pub const FIELDS_NOT_READ: &str = "cofferdam.dev/not-read";
/// The longest name that the API server gives an object, and more than any uid has.
const MAX_NAME_BYTES: usize = 253;

/// The policies of one namespace that have a reserved name.
pub type ObservedPolicies = BTreeMap<PolicyName, ObservedPolicy>;

/// A live NetworkPolicy with a reserved name: digests and marks instead of the object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedPolicy {
    /// `metadata.uid`, the precondition of a delete.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`, the precondition of every write.
    pub resource_version: Box<str>,
    /// The digest of the live spec.
    pub spec: SpecDigest,
    /// Whether it speaks of the direction of its name and of no other, as all that we write: also not with rules that its
    /// `policyTypes` leave out, which some network plugins heed all the same (cilium/cilium#48703).
    pub only_its_direction: bool,
    /// Who marked it, and how completely.
    pub marks: Marks,
    /// Whether it is being deleted and somebody's finalizer holds it.
    pub deleting: bool,
    /// What other people wrote into its metadata: kept when it is healed.
    pub foreign: Option<Box<ForeignMetadata>>,
    /// What explains a difference, kept while the policy is not as we wrote it.
    pub evidence: Option<Box<Evidence>>,
}

/// The marks that we put on a policy, as they stand.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// Whether it has our managed-by label.
    pub managed_by: bool,
    /// The tier label.
    pub tier: Option<Box<str>>,
    /// The digest of the spec that was last written by us, as the annotation says.
    pub rendered: Option<SpecDigest>,
    /// The IsolationTier that owns it as its controller.
    pub tier_owner: Option<TierOwner>,
    /// The uid of the Namespace that owns it.
    pub namespace_owner: Option<Box<str>>,
    /// Whether it has owners, or flags on owners, that we never write.
    pub strange_owners: bool,
}

/// An ownerReference to a tier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TierOwner {
    /// The tier's name.
    pub name: Box<str>,
    /// The tier's uid: this decides.
    pub uid: Box<str>,
}

/// Metadata that is not ours.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ForeignMetadata {
    /// Labels other than ours.
    pub labels: BTreeMap<String, String>,
    /// Annotations other than ours.
    pub annotations: BTreeMap<String, String>,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// Whether there was too much of it: then nothing of it is kept, and the managed fields are reset.
    pub overlong: bool,
}

impl ObservedPolicy {
    /// Reads a live object; `None` if its name is not reserved.
    pub fn read(policy: NetworkPolicy) -> Option<(PolicyName, Self)> {
        Self::read_expecting(policy, None)
    }

    /// As [`Self::read`], where it is likely that `expected` is what stands there: its digest is known already.
    pub fn read_expecting(policy: NetworkPolicy, expected: Option<&RenderedPolicy>) -> Option<(PolicyName, Self)> {
        let metadata = policy.metadata;
        let name = PolicyName::reserved(metadata.name.as_deref()?)?;
        let mut labels = metadata.labels.unwrap_or_default();
        let mut annotations = metadata.annotations.unwrap_or_default();
        let mut marks = Marks {
            managed_by: labels.remove(MANAGED_BY_LABEL).is_some_and(|value| value == MANAGED_BY),
            tier: labels.remove(TIER_LABEL).map(Into::into),
            rendered: annotations
                .remove(RENDERED_ANNOTATION)
                .and_then(|text| SpecDigest::parse(&text)),
            ..Marks::default()
        };
        metadata
            .owner_references
            .unwrap_or_default()
            .into_iter()
            .for_each(|owner| {
                marks.read_owner(owner, metadata.namespace.as_deref());
            });
        let finalizers = metadata.finalizers.unwrap_or_default();
        let managed_fields = metadata.managed_fields.as_deref().unwrap_or_default();
        let foreign = ForeignMetadata {
            labels,
            annotations,
            finalizers,
            overlong: were_not_read(managed_fields) || managed_fields_bytes(managed_fields) > MAX_MANAGED_FIELDS_BYTES,
        };
        let foreign = foreign.bounded();
        let spec = policy.spec.unwrap_or_default();
        let mut observed = Self {
            uid: metadata.uid.unwrap_or_default().into(),
            resource_version: metadata.resource_version.unwrap_or_default().into(),
            spec: match expected {
                Some(expected) if expected.spec == spec => expected.digest,
                _ => SpecDigest::of(&spec),
            },
            only_its_direction: name
                .direction()
                .is_some_and(|direction| speaks_only_of(direction, &spec)),
            marks,
            deleting: metadata.deletion_timestamp.is_some(),
            foreign: (foreign != ForeignMetadata::default()).then(|| Box::new(foreign)),
            evidence: None,
        };
        if !observed.is_as_its_marks_say() {
            observed.evidence = Some(Box::new(Evidence::read(metadata.managed_fields.as_deref(), &spec)));
        }
        Some((name, observed))
    }

    /// Whether more is kept of it than a plan needs.
    pub fn is_detailed(&self) -> bool {
        self.evidence.is_some() || self.foreign.as_ref().is_some_and(|foreign| !foreign.overlong)
    }

    /// The same with no more than a plan needs: what other people wrote into its metadata is lost when it is replaced, and
    /// nobody can say who changed it.
    #[must_use]
    pub fn without_detail(self) -> Self {
        let overlong = |_| Box::new(ForeignMetadata::overlong());
        Self {
            foreign: self.foreign.map(overlong),
            evidence: None,
            ..self
        }
    }

    /// Whether the marks are whole and the spec is the one that they speak of.
    fn is_as_its_marks_say(&self) -> bool {
        let marks = &self.marks;
        marks.rendered == Some(self.spec)
            && marks.managed_by
            && marks.tier.is_some()
            && marks.tier_owner.is_some()
            && marks.namespace_owner.is_some()
            && !marks.strange_owners
    }
}

impl ForeignMetadata {
    fn bounded(self) -> Self {
        let pairs = self.labels.iter().chain(&self.annotations);
        let bytes = pairs.map(|(key, value)| key.len() + value.len()).sum::<usize>()
            + self.finalizers.iter().map(String::len).sum::<usize>();
        if bytes <= MAX_FOREIGN_BYTES && !self.overlong {
            return self;
        }
        Self::overlong()
    }

    fn overlong() -> Self {
        Self {
            overlong: true,
            ..Self::default()
        }
    }
}

fn speaks_only_of(direction: Direction, spec: &NetworkPolicySpec) -> bool {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    let rules_of_the_other = match direction {
        Direction::Ingress => spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
        Direction::Egress => spec.ingress.as_ref().is_some_and(|rules| !rules.is_empty()),
    };
    !types.is_empty() && types.iter().all(|of| of == direction.as_str()) && !rules_of_the_other
}

fn were_not_read(entries: &[ManagedFieldsEntry]) -> bool {
    let mut types = entries.iter().filter_map(|entry| entry.fields_type.as_deref());
    types.any(|fields_type| fields_type == FIELDS_NOT_READ)
}

fn managed_fields_bytes(entries: &[ManagedFieldsEntry]) -> usize {
    let fields = entries.iter().filter_map(|entry| entry.fields_v1.as_ref());
    fields.map(|fields| fields.0.to_string().len()).sum()
}

impl Marks {
    fn read_owner(&mut self, owner: OwnerReference, namespace: Option<&str>) {
        let unflagged = owner.block_owner_deletion.is_none();
        let controller = owner.controller == Some(true);
        if owner.name.len() > MAX_NAME_BYTES || owner.uid.len() > MAX_NAME_BYTES {
            self.strange_owners = true;
            return;
        }
        match (owner.api_version.as_str(), owner.kind.as_str()) {
            (API_VERSION, TIER_KIND) if controller && unflagged && self.tier_owner.is_none() => {
                self.tier_owner = Some(TierOwner {
                    name: owner.name.into(),
                    uid: owner.uid.into(),
                });
            }
            // The garbage collector looks an owner up by its name, and takes a wrong one for gone.
            ("v1", "Namespace")
                if !controller
                    && unflagged
                    && self.namespace_owner.is_none()
                    && namespace == Some(owner.name.as_str()) =>
            {
                self.namespace_owner = Some(owner.uid.into());
            }
            _ => self.strange_owners = true,
        }
    }

    /// Whether there is no trace of us on it.
    pub fn is_none(&self) -> bool {
        !self.managed_by && self.tier.is_none() && self.rendered.is_none() && self.tier_owner.is_none()
    }

    /// Whether we wrote it for a tier that is gone. `is_live` tells whether a tier of a uid exists.
    pub fn is_retained(&self, is_live: impl Fn(&str) -> bool) -> bool {
        let owner_is_gone = self.tier_owner.as_ref().is_none_or(|owner| !is_live(&owner.uid));
        self.managed_by && self.tier.is_some() && self.rendered.is_some() && owner_is_gone
    }

    /// Whether name label and owner speak of the same tier: what must agree before anything is deleted in a
    /// namespace that nobody governs. Returns that tier's uid.
    pub fn agreed_owner(&self) -> Option<&str> {
        let owner = self.tier_owner.as_ref()?;
        (self.managed_by && self.tier.as_deref() == Some(&*owner.name)).then_some(&owner.uid)
    }
}

#[cfg(test)]
mod tests;
