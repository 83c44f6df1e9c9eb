//! The fights over single objects, of all namespaces: a heal of a contested object waits, and nothing else does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::policy::contest::{Contest, Contests};
use crate::policy::{Plan, PolicyName};

/// Remembers heals, by namespace and policy, as long as they matter.
#[derive(Debug)]
pub(super) struct ContestLedger {
    /// The moment that times are told from.
    started: Instant,
    namespaces: Mutex<HashMap<String, Contests>>,
}

/// The changes of a plan that wait, with until when.
pub(super) type Holds = BTreeMap<PolicyName, Instant>;

impl ContestLedger {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), namespaces: Mutex::default() }
    }

    /// Which heals of a plan have to wait.
    pub(super) fn holds(&self, namespace: &str, plan: &Plan) -> Holds {
        let now = self.now();
        let namespaces = self.namespaces();
        let Some(contests) = namespaces.get(namespace) else { return Holds::new() };
        let heals = plan.drift().map(|(policy, _)| policy);
        let held = heals.filter_map(|policy| Some((policy.clone(), contests.get(policy)?.held_until(now)?)));
        held.map(|(policy, until)| (policy, self.started + until)).collect()
    }

    /// A policy was healed. Returns whether it is contested since this heal.
    pub(super) fn healed(&self, namespace: &str, policy: &PolicyName) -> bool {
        let now = self.now();
        let mut namespaces = self.namespaces();
        let contests = namespaces.entry(namespace.to_owned()).or_default();
        contests.entry(policy.clone()).or_default().healed(now)
    }

    /// The policies of a namespace that are contested now, and when to look again whether they still are. Fights
    /// that are over are forgotten.
    pub(super) fn contested(&self, namespace: &str) -> (Vec<PolicyName>, Option<Instant>) {
        let now = self.now();
        let mut namespaces = self.namespaces();
        let Some(contests) = namespaces.get_mut(namespace) else { return (Vec::new(), None) };
        contests.retain(|_, contest| !contest.is_over(now));
        let contested = contests.iter().filter(|(_, contest)| contest.is_contested());
        let names = contested.clone().map(|(policy, _)| policy.clone()).collect();
        let over = contested.filter_map(|(_, contest)| contest.over_at()).min().map(|at| self.started + at);
        if contests.is_empty() {
            namespaces.remove(namespace);
        }
        (names, over)
    }

    /// Forgets a namespace that is gone.
    pub(super) fn forget(&self, namespace: &str) {
        self.namespaces().remove(namespace);
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Each entry is whole between two statements, so a panic elsewhere is no reason to stop.
    fn namespaces(&self) -> MutexGuard<'_, HashMap<String, Contests>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
