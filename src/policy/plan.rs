//! The whole: what has to be written in one namespace, in which order, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::assign::{Assignment, Governor, assign};
use super::drift::{self, Cause, Written};
use super::observed::ForeignMetadata;
use super::{
    Namespace, NamespaceRecord, ObservedPolicies, ObservedPolicy, PolicyName, RankedTier, RenderedPolicy, TierIdentity,
    World,
};
use crate::api::names::{API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, RENDERED_ANNOTATION, TIER_LABEL};

/// What has to change in a namespace. Nothing, where everything is right.
///
/// The order is part of it: extras, then bases, then removals, so that a base is never narrowed before the
/// extra allowances stand, and nothing is pruned unless every write succeeded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Policies for some pods only.
    pub extras: Vec<Write>,
    /// Base policies. One that is missing is written whatever else fails.
    pub bases: Vec<Write>,
    /// Policies that are no longer wanted.
    pub removals: Vec<Removal>,
    /// Wanted policies that are in place: with what was written, everything we answer for.
    pub in_place: BTreeMap<PolicyName, Written>,
    /// Directions that wait for an allowance to resolve, because a running workload would be cut off.
    pub waiting: Vec<PolicyName>,
}

/// A policy to create or to replace.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Its name.
    pub name: PolicyName,
    /// What to write.
    pub policy: Arc<RenderedPolicy>,
    /// For which tier.
    pub tier: Arc<TierIdentity>,
    /// How.
    pub action: Action,
    /// Why.
    pub cause: Cause,
}

/// How a policy is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// POST.
    Create,
    /// PUT over exactly this revision, keeping other people's metadata.
    Replace {
        /// The revision that was planned against.
        resource_version: Box<str>,
        /// The object that was planned against.
        uid: Box<str>,
        /// What is kept.
        foreign: Option<Box<ForeignMetadata>>,
    },
}

/// A policy to delete, if it is still exactly this one.
#[derive(Clone, Debug, PartialEq)]
pub struct Removal {
    /// Its name. Where it is a base, deleting it opens a direction: that takes a consistent read first.
    pub name: PolicyName,
    /// Precondition.
    pub uid: Box<str>,
    /// Precondition.
    pub resource_version: Box<str>,
    /// Why.
    pub cause: Cause,
}

/// Plans one namespace. `record` is what is remembered of it; `None` before the first plan of this process.
pub fn plan(
    world: &World,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    let record = record.filter(|record| record.namespace_uid == namespace.uid);
    plan_assigned(world, &assign(world, namespace, observed), namespace, observed, record)
}

/// As [`plan`], for an assignment that was already made.
pub fn plan_assigned(
    world: &World,
    assignment: &Assignment<'_>,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    match assignment.governor {
        Governor::Exempt | Governor::Terminating | Governor::ObserveOnly => Plan::default(),
        Governor::Nobody => Plan {
            removals: left_behind(world, observed),
            ..Plan::default()
        },
        Governor::Tier(governor) => plan_governed(world, governor, namespace, observed, record),
    }
}

/// What would change if `tier` governed: for a shadow, and for the command line.
pub fn plan_governed(
    world: &World,
    governor: &RankedTier,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    let mut plan = Plan::default();
    let tier = governor.tier.identity();
    for (name, policy) in &governor.rendered.policies {
        let written = record.and_then(|record| record.written.get(name));
        let live = observed.get(name);
        let wanted = Wanted {
            world,
            tier,
            namespace,
            name,
            policy,
            live,
            written,
        };
        match wanted.decide() {
            Decision::Keep(in_place) => _ = plan.in_place.insert(name.clone(), in_place),
            Decision::Wait if name.baseline_direction().is_some() => plan.waiting.push(name.clone()),
            Decision::Wait => {}
            Decision::Write(write) if name.baseline_direction().is_some() => plan.bases.push(write),
            Decision::Write(write) => plan.extras.push(write),
        }
    }
    if !governor.rendered.keeps_everything {
        let surplus = observed
            .iter()
            .filter(|(name, _)| !governor.rendered.policies.contains_key(name));
        let surplus = surplus.filter(|(_, live)| !live.deleting);
        plan.removals = surplus
            .map(|(name, live)| {
                let written = record.and_then(|record| record.written.get(name));
                let cause = if record.is_some_and(|record| record.to_prune.contains(name)) {
                    Cause::Pending
                } else {
                    drift::cause_of_surplus(&namespace.uid, live, written, record.is_some())
                };
                removal(name, live, cause)
            })
            .collect();
    }
    plan
}

/// One wanted policy, with everything that decides about it.
struct Wanted<'a> {
    world: &'a World,
    tier: &'a Arc<TierIdentity>,
    namespace: &'a Namespace,
    name: &'a PolicyName,
    policy: &'a Arc<RenderedPolicy>,
    live: Option<&'a ObservedPolicy>,
    written: Option<&'a Written>,
}

enum Decision {
    Keep(Written),
    Wait,
    Write(Write),
}

impl Wanted<'_> {
    fn decide(&self) -> Decision {
        if let Some(live) = self.live {
            if drift::in_sync(self.policy, self.tier, &self.namespace.uid, live) {
                return Decision::Keep(Written {
                    spec: live.spec,
                    tier: Arc::clone(self.tier),
                });
            }
            let ours = self.written.is_some() || !live.marks.is_none();
            if !self.policy.unresolved.is_empty() && ours && drift::as_last_written(live, self.written) {
                // Unknown is not empty: the last good policy stays, for whichever tier it was written.
                let tier = self.written.map_or(self.tier, |written| &written.tier);
                return Decision::Keep(Written {
                    spec: live.spec,
                    tier: Arc::clone(tier),
                });
            }
        }
        if !self.policy.unresolved.is_empty() && !self.may_close() {
            return Decision::Wait;
        }
        Decision::Write(self.write())
    }

    /// Whether a policy that lacks an unresolved allowance may be written. A workload that already runs and
    /// was never isolated is not cut off by a first enforcement that cannot see what it needs.
    fn may_close(&self) -> bool {
        if self.name.baseline_direction().is_none() {
            // An extra only adds to its base, unless somebody changed the one that stands.
            return self.live.is_some();
        }
        let isolated_before = self.written.is_some() || self.live.is_some_and(|live| !live.marks.is_none());
        let younger = match (self.namespace.created, self.tier.created) {
            (Some(namespace), Some(tier)) => namespace >= tier,
            _ => false,
        };
        isolated_before || younger
    }

    fn write(&self) -> Write {
        let (action, cause) = match self.live {
            None => (
                Action::Create,
                if self.written.is_some() {
                    Cause::Drift(drift::DriftKind::Missing)
                } else {
                    Cause::Pending
                },
            ),
            Some(live) => {
                let action = Action::Replace {
                    resource_version: live.resource_version.clone(),
                    uid: live.uid.clone(),
                    foreign: live.foreign.clone(),
                };
                (
                    action,
                    drift::cause_of_difference(self.world, &self.namespace.uid, live, self.written),
                )
            }
        };
        Write {
            name: self.name.clone(),
            policy: Arc::clone(self.policy),
            tier: Arc::clone(self.tier),
            action,
            cause,
        }
    }
}

/// In a namespace that no tier selects: the policies whose owning uid is a live tier, which therefore no
/// longer selects it. Those of deleted tiers are retained.
fn left_behind(world: &World, observed: &ObservedPolicies) -> Vec<Removal> {
    let left = observed
        .iter()
        .filter(|(_, live)| !live.deleting && live.marks.agreed_owner().is_some_and(|uid| world.is_live(uid)));
    left.map(|(name, live)| removal(name, live, Cause::Pending)).collect()
}

fn removal(name: &PolicyName, live: &ObservedPolicy, cause: Cause) -> Removal {
    Removal {
        name: name.clone(),
        uid: live.uid.clone(),
        resource_version: live.resource_version.clone(),
        cause,
    }
}

impl Plan {
    /// Whether nothing is to be written or deleted.
    pub fn is_empty(&self) -> bool {
        self.extras.is_empty() && self.bases.is_empty() && self.removals.is_empty()
    }

    /// Every write, in the order in which they are made.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.extras.iter().chain(&self.bases)
    }

    /// Whether a direction would be opened: then a consistent read has to confirm the plan.
    pub fn opens_a_direction(&self) -> bool {
        self.removals
            .iter()
            .any(|removal| removal.name.baseline_direction().is_some())
    }

    /// The drift among the changes.
    pub fn drift(&self) -> impl Iterator<Item = (&PolicyName, drift::DriftKind)> {
        let writes = self.writes().map(|write| (&write.name, write.cause));
        let removals = self.removals.iter().map(|removal| (&removal.name, removal.cause));
        writes.chain(removals).filter_map(|(name, cause)| match cause {
            Cause::Drift(kind) => Some((name, kind)),
            Cause::Pending | Cause::TakenOver => None,
        })
    }
}

impl Write {
    /// The complete object. Labels come from a fixed list, never from tier or namespace: a copied tracking
    /// label would make a GitOps tool prune it.
    pub fn object(&self, namespace: &Namespace) -> NetworkPolicy {
        let (foreign, uid, resource_version) = match &self.action {
            Action::Create => (ForeignMetadata::default(), None, None),
            Action::Replace {
                resource_version,
                uid,
                foreign,
            } => {
                let foreign = foreign.as_deref().cloned().unwrap_or_default();
                (foreign, Some(uid.to_string()), Some(resource_version.to_string()))
            }
        };
        let mut labels = foreign.labels;
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
        labels.insert(TIER_LABEL.to_owned(), self.tier.name.to_string());
        let mut annotations = foreign.annotations;
        annotations.insert(RENDERED_ANNOTATION.to_owned(), self.policy.digest.to_string());
        NetworkPolicy {
            metadata: ObjectMeta {
                name: Some(self.name.to_string()),
                namespace: Some(namespace.name.clone()),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(owners(&self.tier, namespace)),
                finalizers: (!foreign.finalizers.is_empty()).then_some(foreign.finalizers),
                uid,
                resource_version,
                ..ObjectMeta::default()
            },
            spec: Some(self.policy.spec.clone()),
        }
    }

    /// What is remembered once this is written.
    pub fn written(&self) -> Written {
        Written {
            spec: self.policy.digest,
            tier: Arc::clone(&self.tier),
        }
    }
}

/// The tier, and the namespace itself: the garbage collector deletes only what has no owner left, so deleting
/// the tier, in whichever cascade mode, or the CRD leaves the policy in place. `blockOwnerDeletion` stays
/// unset: OwnerReferencesPermissionEnforcement would refuse it.
fn owners(tier: &TierIdentity, namespace: &Namespace) -> Vec<OwnerReference> {
    vec![
        OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: String::from("IsolationTier"),
            name: tier.name.to_string(),
            uid: tier.uid.to_string(),
            controller: Some(true),
            block_owner_deletion: None,
        },
        OwnerReference {
            api_version: String::from("v1"),
            kind: String::from("Namespace"),
            name: namespace.name.clone(),
            uid: namespace.uid.clone(),
            ..OwnerReference::default()
        },
    ]
}
