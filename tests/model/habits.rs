//! How plans are made and carried out: as we do, or broken in one way, to show that the model sees it.

use cofferdam::policy::{
    Action, Cause, Governor, Namespace, NamespaceRecord, ObservedPolicies, Plan, Removal, World, assign, plan,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;

pub type Planner = fn(&World, &Namespace, &ObservedPolicies, Option<&NamespaceRecord>) -> Plan;

#[derive(Clone, Copy)]
pub struct Habits {
    pub planner: Planner,
    pub order: Order,
    /// Whether a release waits for a consistent read.
    pub reads_before_release: bool,
    /// Whether that read gets the namespace a second time, after the tiers.
    pub reads_namespace_twice: bool,
    /// Whether nothing is removed unless everything was written.
    pub prunes_only_after_success: bool,
    /// Whether a policy is owned by its namespace too.
    pub two_owners: bool,
    /// Whether a delete is of exactly one revision.
    pub preconditions: bool,
    /// Whether a namespace comes back after a change that met another revision, or failed.
    pub retries: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Order {
    ExtrasBasesRemovals,
    DeleteBeforeCreate,
}

impl Habits {
    /// The controller's.
    pub fn ours() -> Self {
        Self {
            planner: plan,
            order: Order::ExtrasBasesRemovals,
            reads_before_release: true,
            reads_namespace_twice: true,
            prunes_only_after_success: true,
            two_owners: true,
            preconditions: true,
            retries: true,
        }
    }

    /// What is sent of what was planned.
    pub fn sent(&self, mut policy: NetworkPolicy) -> NetworkPolicy {
        if let (false, Some(owners)) = (self.two_owners, &mut policy.metadata.owner_references) {
            owners.retain(|owner| owner.kind == "IsolationTier");
        }
        policy
    }
}

/// Where nobody governs, takes whatever has our label for ours.
pub fn adopting_by_label(
    world: &World,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    let mut plan = plan(world, namespace, observed, record);
    if matches!(assign(world, namespace, observed, record).governor, Governor::Nobody) {
        let ours = observed
            .iter()
            .filter(|(_, live)| live.marks.managed_by && !live.deleting);
        let removal = |(name, live): (&cofferdam::policy::PolicyName, &cofferdam::policy::ObservedPolicy)| Removal {
            name: name.clone(),
            uid: live.uid.clone(),
            resource_version: live.resource_version.clone(),
            cause: Cause::Pending,
            releases_from: None,
        };
        plan.removals = ours.map(removal).collect();
    }
    plan
}

/// Takes what lost our label for somebody else's, which stays.
pub fn blind_without_label(
    world: &World,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    let mut labelled = observed.clone();
    labelled.retain(|_, live| live.marks.managed_by);
    plan(world, namespace, &labelled, record)
}

/// Takes a namespace without an enforcing tier for one that nobody governs, though an Observe tier selects it.
pub fn releasing_what_is_observed(
    world: &World,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    match assign(world, namespace, observed, record).governor {
        Governor::ObserveOnly => adopting_by_label(
            &World::new(
                world
                    .tiers()
                    .iter()
                    .map(|ranked| ranked.tier.clone())
                    .filter(|tier| !tier.is_observe()),
                world.facts().clone(),
                world.exemptions().clone(),
            ),
            namespace,
            observed,
            record,
        ),
        _ => plan(world, namespace, observed, record),
    }
}

/// Forgets that what was written was written: every plan writes again.
pub fn never_content(
    world: &World,
    namespace: &Namespace,
    observed: &ObservedPolicies,
    record: Option<&NamespaceRecord>,
) -> Plan {
    let mut next = plan(world, namespace, observed, record);
    if next.is_empty() {
        let again = plan(world, namespace, &ObservedPolicies::new(), record);
        next.bases = again.bases;
        for write in &mut next.bases {
            let live = &observed[&write.name];
            write.action = Action::Replace {
                resource_version: live.resource_version.clone(),
                uid: live.uid.clone(),
                foreign: live.foreign.clone(),
            };
        }
    }
    next
}
