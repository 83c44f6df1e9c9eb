//! A list of everything beside the watch that goes on: what the watch did not show is found by it. In a namespace where the
//! watch shows something meanwhile nothing of it counts, since either may be newer: the next list tells.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::{ForeignPolicies, Policies, State, read};
use crate::controller::resource_version::number;

/// What has to be remembered while such a list is under way.
#[derive(Debug, Default)]
pub(super) struct Relisting {
    /// What the list showed so far.
    listed: HashMap<String, Policies>,
    /// The namespaces in which the watch showed something since it began.
    shown: HashSet<String>,
    /// What the watch had shown when it began.
    at_least: u128,
}

impl ForeignPolicies {
    /// A list begins, to be asked for from now on.
    pub(in crate::controller) fn relist_begins(&self) {
        let mut state = self.state();
        state.relisting = Some(Relisting {
            at_least: state.shown_until,
            ..Relisting::default()
        });
    }

    /// The next page of the list, made at this version. Nothing of one that is older than the watch counts.
    pub(in crate::controller) fn relisted(&self, version: &str, page: &[NetworkPolicy]) {
        let version = number(version).unwrap_or_default();
        let is_older = |relisting: &Relisting| version < relisting.at_least;
        if self.state().relisting.as_ref().is_none_or(is_older) {
            self.state().relisting = None;
            return;
        }
        for policy in page {
            // Read before the lock is taken: a tenant decides how long that takes.
            let Some((namespace, policy)) = read(policy) else {
                continue;
            };
            let mut state = self.state();
            let State {
                namespaces, relisting, ..
            } = &mut *state;
            let Some(relisting) = relisting else {
                return;
            };
            let known = namespaces.get(&namespace);
            let known = known.and_then(|policies| policies.by_name.get(&*policy.name)).cloned();
            relisting
                .listed
                .entry(namespace)
                .or_default()
                .put(policy, known.as_ref());
        }
    }

    /// The list is complete. Returns the namespaces where something is otherwise than the watch had shown.
    pub(in crate::controller) fn relist_ends(&self) -> Vec<String> {
        let mut state = self.state();
        let Some(Relisting { mut listed, shown, .. }) = state.relisting.take() else {
            return Vec::new();
        };
        let names: HashSet<String> = state.namespaces.keys().chain(listed.keys()).cloned().collect();
        let mut concerned = Vec::new();
        for name in names.into_iter().filter(|name| !shown.contains(name)) {
            let listed = listed.remove(&name);
            if listed.as_ref() == state.namespaces.get(&name) {
                continue;
            }
            match listed {
                Some(listed) => _ = state.namespaces.insert(name.clone(), listed),
                None => _ = state.namespaces.remove(&name),
            }
            concerned.push(name);
        }
        concerned
    }
}

impl State {
    /// The watch shows something in a namespace, at this version.
    pub(super) fn shows(&mut self, namespace: &str, version: u128) {
        self.shown_until = self.shown_until.max(version);
        if let Some(relisting) = &mut self.relisting {
            relisting.shown.insert(namespace.to_owned());
        }
    }
}
