//! Whether NetworkPolicies isolate a namespace in a direction, whoever wrote them: what an auditor asks
//! (CIS Kubernetes Benchmark, 5.3.2: "Ensure that all Namespaces have NetworkPolicies defined").
//!
//! A policy isolates the pods that it selects in the directions that it names, and lets through what its rules list
//! (`k8s.io/api/networking/v1`). It counts as coverage where it selects every pod and does not let everyone through.
//! Policies add up, so that a direction is open all the same where others let everyone through; see
//! [`super::widening::openness`] for what that means.

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};

use super::Namespace;
use super::digest::normalise;
use super::widening::openness::{Selection, open_to, selection};
use crate::api::Direction;

/// Whether a namespace is isolated in a direction, and by what. Policies are given by their place in the list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Coverage {
    /// The direction.
    pub direction: Direction,
    /// Policies that isolate every pod.
    pub isolated_by: Vec<usize>,
    /// Policies of that direction that do not count, and why.
    pub not_counted: Vec<(usize, NotCounted)>,
    /// What is open although the direction is isolated: by which policies, and to whom.
    pub opened_by: Option<(Vec<usize>, String)>,
}

/// Why a policy is no coverage.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotCounted {
    /// It isolates only some pods.
    SomePods,
    /// It lets everyone through, to all the pods that it selects: to whom that is.
    AllowsEverything(String),
    /// It lets everyone through, to only some pods.
    OpensSomePods(String),
}

impl Coverage {
    /// Judges the policies of a namespace.
    pub fn of(namespace: &Namespace, direction: Direction, policies: &[NetworkPolicy]) -> Self {
        let specs = policies
            .iter()
            .map(|policy| normalise(policy.spec.clone().unwrap_or_default()));
        let specs: Vec<_> = specs.collect();
        let mut coverage = Self {
            direction,
            isolated_by: Vec::new(),
            not_counted: Vec::new(),
            opened_by: None,
        };
        let mut for_every_pod = Vec::new();
        for (index, spec) in specs.iter().enumerate().filter(|(_, spec)| speaks_of(spec, direction)) {
            let selection = selection(spec);
            if selection != Selection::Some {
                for_every_pod.push(index);
            }
            match (selection, open_to([spec], direction, namespace)) {
                (Selection::Every, None) => coverage.isolated_by.push(index),
                (Selection::Some, Some(to)) => coverage.not_counted.push((index, NotCounted::OpensSomePods(to))),
                (_, Some(to)) => coverage.not_counted.push((index, NotCounted::AllowsEverything(to))),
                (_, None) => coverage.not_counted.push((index, NotCounted::SomePods)),
            }
        }
        let together = for_every_pod.iter().map(|index| &specs[*index]);
        coverage.opened_by = open_to(together, direction, namespace).map(|to| (for_every_pod, to));
        coverage.keep_the_openers(&specs, namespace);
        coverage
    }

    /// Whether every pod is isolated, and not everyone let through all the same.
    pub fn is_isolated(&self) -> bool {
        !self.isolated_by.is_empty() && self.opened_by.is_none()
    }

    /// Names of those that open only together all, and otherwise those that open alone.
    fn keep_the_openers(&mut self, specs: &[NetworkPolicySpec], namespace: &Namespace) {
        let direction = self.direction;
        let Some((openers, _)) = &mut self.opened_by else {
            return;
        };
        let alone = |index: &usize| open_to([&specs[*index]], direction, namespace).is_some();
        if openers.iter().any(alone) {
            openers.retain(alone);
        }
    }
}

fn speaks_of(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    let types = spec.policy_types.iter().flatten();
    types.into_iter().any(|word| word == direction.as_str())
}

#[cfg(test)]
mod tests;
