//! The policies with reserved names, by namespace: what the watch showed, and what our own writes returned
//! before the watch shows them.

mod relist;

use std::collections::HashMap;

pub(in crate::controller) use self::relist::OlderThanTheWatch;
use self::relist::Relisting;
use crate::controller::resource_version::{is_older, number};
use crate::policy::{ObservedPolicies, ObservedPolicy, PolicyName};

/// Of so many policies besides the bases more is kept in a namespace than a plan needs, which is some kilobytes each: more
/// than a tier has allowances, and not as many as a tenant can create.
const MOST_DETAILED: usize = 128;

/// An index of compact records. Stale news never overwrites what a write of ours is known to have made.
#[derive(Debug, Default)]
pub(super) struct PolicyIndex {
    /// Sorted by name in each namespace: a few entries each, tens of thousands of namespaces.
    namespaces: HashMap<String, Vec<(PolicyName, ObservedPolicy)>>,
    /// Writes that were acknowledged and that the watch has not shown yet.
    acknowledged: HashMap<(String, PolicyName), Acknowledged>,
    /// The latest version that the watch showed since the last list: it shows every change, in the order of versions.
    shown_until: u128,
    /// While a list is under way: what it showed so far.
    listing: Option<HashMap<String, Vec<(PolicyName, ObservedPolicy)>>>,
    /// While a list beside the watch is under way.
    relisting: Option<Relisting>,
}

#[derive(Debug)]
enum Acknowledged {
    Written,
    /// The object of this uid is gone.
    Deleted(Box<str>),
}

impl PolicyIndex {
    /// Everything that stands in a namespace.
    pub(super) fn observed(&self, namespace: &str) -> ObservedPolicies {
        self.namespaces.get(namespace).into_iter().flatten().cloned().collect()
    }

    /// Whether a base policy stands in a namespace.
    pub(super) fn has_base(&self, namespace: &str) -> bool {
        self.namespaces
            .get(namespace)
            .into_iter()
            .flatten()
            .any(|(name, _)| name.is_base())
    }

    /// The base policies of a namespace, where they stand.
    pub(super) fn bases(&self, namespace: &str) -> impl Iterator<Item = (&PolicyName, &ObservedPolicy)> {
        let policies = self.namespaces.get(namespace).into_iter().flatten();
        policies
            .filter(|(name, _)| name.is_base())
            .map(|(name, policy)| (name, policy))
    }

    /// The policies of a namespace, where they stand.
    pub(super) fn policies(&self, namespace: &str) -> impl Iterator<Item = &ObservedPolicy> {
        let policies = self.namespaces.get(namespace).into_iter().flatten();
        policies.map(|(_, policy)| policy)
    }

    /// The policies of each namespace that has any.
    pub(super) fn by_namespace(&self) -> impl Iterator<Item = (&String, &[(PolicyName, ObservedPolicy)])> {
        self.namespaces.iter().map(|(name, policies)| (name, &**policies))
    }

    /// Namespaces with at least one policy.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &String> {
        self.namespaces.keys()
    }

    /// Whether what the watch shows is the very revision that is known: the echo of a write, which needs no reading.
    pub(super) fn is_echo(&mut self, namespace: &str, name: &PolicyName, uid: &str, resource_version: &str) -> bool {
        let key = (namespace.to_owned(), name.clone());
        let known = self.get(&key);
        if known.is_none_or(|known| *known.uid != *uid || *known.resource_version != *resource_version) {
            return false;
        }
        self.watch_reached(resource_version);
        self.acknowledged.remove(&key);
        true
    }

    /// The watch shows a policy. Returns whether that is news.
    pub(super) fn shown(&mut self, namespace: &str, name: PolicyName, policy: ObservedPolicy) -> bool {
        self.watch_reached(&policy.resource_version);
        let key = (namespace.to_owned(), name);
        match self.acknowledged.get(&key) {
            Some(Acknowledged::Deleted(uid)) if *uid == policy.uid => return false,
            Some(Acknowledged::Written) if self.is_older(&key, &policy.resource_version) => return false,
            _ => _ = self.acknowledged.remove(&key),
        }
        self.put(key.0, key.1, policy)
    }

    /// The watch shows that a policy is gone. Returns whether that is news.
    pub(super) fn shown_deleted(&mut self, namespace: &str, name: PolicyName, last: &ObservedPolicy) -> bool {
        self.watch_reached(&last.resource_version);
        self.went(&last.uid);
        let key = (namespace.to_owned(), name);
        match self.acknowledged.get(&key) {
            Some(Acknowledged::Written) if self.is_older(&key, &last.resource_version) => return false,
            _ => _ = self.acknowledged.remove(&key),
        }
        self.take(&key)
    }

    /// A write or a read of ours returned this object. Where the watch is past it already, the watch knows better: the
    /// object may have been deleted since, which is not shown a second time.
    pub(super) fn written(&mut self, namespace: &str, name: PolicyName, policy: ObservedPolicy) {
        if number(&policy.resource_version).is_some_and(|version| version <= self.shown_until) {
            return;
        }
        let key = (namespace.to_owned(), name);
        if !self.is_older(&key, &policy.resource_version) && self.put(key.0.clone(), key.1.clone(), policy) {
            self.acknowledged.insert(key, Acknowledged::Written);
        }
    }

    /// A delete of ours succeeded, or a read of ours found nothing where an object of this uid stood.
    pub(super) fn deleted(&mut self, namespace: &str, name: PolicyName, uid: &str) {
        self.went(uid);
        let key = (namespace.to_owned(), name);
        if self.get(&key).is_some_and(|policy| *policy.uid == *uid) {
            self.take(&key);
            self.acknowledged.insert(key, Acknowledged::Deleted(uid.into()));
        }
    }

    /// A list begins. What was acknowledged before it is in it: lists are consistent reads.
    pub(super) fn list_begins(&mut self) {
        self.relisting = None;
        self.acknowledged.clear();
        self.shown_until = 0;
        self.listing = Some(HashMap::new());
    }

    /// The list shows a policy.
    pub(super) fn listed(&mut self, namespace: &str, name: PolicyName, policy: ObservedPolicy) {
        self.watch_reached(&policy.resource_version);
        if let Some(listing) = &mut self.listing {
            let policies = listing.entry(namespace.to_owned()).or_default();
            let policy = bounded(policies, &name, policy);
            make_room(policies);
            policies.push((name, policy));
        }
    }

    /// The list is complete. Returns the namespaces where it differs from what was known.
    ///
    /// A write that was acknowledged while the list was under way may be in it or not. Where it is not, it is
    /// dropped: writing again meets a conflict, which makes us look.
    pub(super) fn list_ends(&mut self) -> Vec<String> {
        let mut listing = self.listing.take().unwrap_or_default();
        for (key, acknowledged) in &self.acknowledged {
            let listed = listing.get_mut(&key.0);
            let listed = listed.and_then(|policies| policies.iter_mut().find(|(name, _)| *name == key.1));
            if let (Some((_, listed)), Acknowledged::Written, Some(known)) = (listed, acknowledged, self.get(key))
                && is_older(&listed.resource_version, &known.resource_version)
            {
                *listed = known.clone();
            }
        }
        for policies in listing.values_mut() {
            policies.sort_by(|left, right| left.0.cmp(&right.0));
        }
        let before = std::mem::replace(&mut self.namespaces, listing);
        let mut changed: Vec<String> = self
            .namespaces
            .iter()
            .filter(|(namespace, policies)| before.get(*namespace) != Some(policies))
            .map(|(namespace, _)| namespace.clone())
            .collect();
        changed.extend(
            before
                .into_keys()
                .filter(|namespace| !self.namespaces.contains_key(namespace)),
        );
        changed
    }

    fn went(&mut self, uid: &str) {
        if let Some(relisting) = &mut self.relisting {
            relisting.went(uid);
        }
    }

    fn watch_reached(&mut self, resource_version: &str) {
        self.shown_until = self.shown_until.max(number(resource_version).unwrap_or_default());
    }

    fn get(&self, (namespace, name): &(String, PolicyName)) -> Option<&ObservedPolicy> {
        let policies = self.namespaces.get(namespace)?;
        let index = policies.binary_search_by(|(known, _)| known.cmp(name)).ok()?;
        policies.get(index).map(|(_, policy)| policy)
    }

    fn put(&mut self, namespace: String, name: PolicyName, policy: ObservedPolicy) -> bool {
        let policies = self.namespaces.entry(namespace).or_default();
        let policy = bounded(policies, &name, policy);
        match policies.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(index) if policies[index].1 == policy => false,
            Ok(index) => {
                policies[index].1 = policy;
                true
            }
            Err(index) => {
                make_room(policies);
                policies.insert(index, (name, policy));
                true
            }
        }
    }

    fn take(&mut self, (namespace, name): &(String, PolicyName)) -> bool {
        let Some(policies) = self.namespaces.get_mut(namespace) else {
            return false;
        };
        let Ok(index) = policies.binary_search_by(|(known, _)| known.cmp(name)) else {
            return false;
        };
        policies.remove(index);
        if policies.is_empty() {
            self.namespaces.remove(namespace);
        }
        true
    }

    fn is_older(&self, key: &(String, PolicyName), resource_version: &str) -> bool {
        self.get(key)
            .is_some_and(|known| is_older(resource_version, &known.resource_version))
    }
}

/// The policy as it is kept beside those of its namespace.
fn bounded(kept: &[(PolicyName, ObservedPolicy)], name: &PolicyName, policy: ObservedPolicy) -> ObservedPolicy {
    if name.is_base() || !policy.is_detailed() {
        return policy;
    }
    let others = kept
        .iter()
        .filter(|(other, policy)| other != name && policy.is_detailed());
    if others.take(MOST_DETAILED).count() < MOST_DETAILED {
        return policy;
    }
    policy.without_detail()
}

/// For one more, and while there are few for no more than that: most namespaces have two, and room is made for four.
fn make_room<T>(policies: &mut Vec<T>) {
    if policies.len() < 4 {
        policies.reserve_exact(1);
    }
}

#[cfg(test)]
mod tests;
