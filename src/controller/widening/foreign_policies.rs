//! Other people's policies, by namespace, in as few bytes as judging them needs. Nothing here decides about a write.

mod relist;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::watcher::Event;

use self::relist::Relisting;
use crate::controller::resource_version::number;
use crate::policy::widening::{ForeignPolicy, ForeignSpec};

/// The most that is kept of a namespace, in bytes of JSON: a thousand policies of usual size. What is beyond counts as
/// allowing everything: a tenant who writes more costs others neither memory nor a report.
const MAX_NAMESPACE_BYTES: usize = 512 << 10;

/// The most policies of a namespace that are known by name. That there are more is told of the last of them: they cost
/// some kilobytes each, and a tenant can create a thousand in a second.
const MOST_POLICIES: usize = 2_000;

/// Stands for those beyond [`MOST_POLICIES`] once the others are gone. A name that an Event can have.
const WITHOUT_A_NAME: &str = "beyond-those-counted";

/// A new one in each process. Under a key that all know, a tenant could search for two names of one hash: when one of them
/// is deleted, the other would be forgotten with it, and what it opens would be told to nobody.
static HASH_KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The index. Its lock is its own, so that a storm of foreign policies holds up no plan.
#[derive(Debug, Default)]
pub(in crate::controller) struct ForeignPolicies {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    namespaces: HashMap<String, Policies>,
    /// While a list is under way: what it showed so far.
    listing: Option<HashMap<String, Policies>>,
    /// The latest version that the watch showed.
    shown_until: u128,
    /// While a list beside the watch is under way.
    relisting: Option<Relisting>,
}

#[derive(Debug, Default, PartialEq)]
struct Policies {
    by_name: BTreeMap<Box<str>, ForeignSpec>,
    kept_bytes: usize,
    /// Hashes of the names beyond [`MOST_POLICIES`], under [`HASH_KEY`].
    beyond: HashSet<u64>,
}

impl ForeignPolicies {
    /// What a watch of policies shows; ours are left out. Returns the namespaces where something changed.
    pub(in crate::controller) fn see(&self, event: &Event<NetworkPolicy>) -> Vec<String> {
        match event {
            Event::Init => self.state().list_begins(),
            Event::InitApply(policy) => self.list(policy),
            Event::InitDone => return self.state().list_ends(),
            Event::Apply(policy) => return self.put(policy).into_iter().collect(),
            Event::Delete(policy) => return self.take(policy).into_iter().collect(),
        }
        Vec::new()
    }

    /// What stands in a namespace, by name.
    pub(in crate::controller) fn of(&self, namespace: &str) -> Vec<ForeignPolicy> {
        let state = self.state();
        let policies = state.namespaces.get(namespace);
        policies.map(Policies::known).unwrap_or_default()
    }

    fn list(&self, policy: &NetworkPolicy) {
        // Read before the lock is taken: a tenant decides how long that takes.
        let Some((namespace, policy)) = read(policy) else {
            return;
        };
        let mut state = self.state();
        let State {
            namespaces, listing, ..
        } = &mut *state;
        let Some(listing) = listing else {
            return;
        };
        let before = namespaces.get(&namespace);
        let before = before.and_then(|policies| policies.by_name.get(&*policy.name)).cloned();
        listing.entry(namespace).or_default().put(policy, before.as_ref());
    }

    fn put(&self, policy: &NetworkPolicy) -> Option<String> {
        let version = version_of(policy);
        let (namespace, policy) = read(policy)?;
        let mut state = self.state();
        state.shows(&namespace, version);
        let policies = state.namespaces.entry(namespace.clone()).or_default();
        policies.put(policy, None).then_some(namespace)
    }

    fn take(&self, policy: &NetworkPolicy) -> Option<String> {
        let name = policy.metadata.name.as_deref()?;
        let namespace = policy.metadata.namespace.clone()?;
        let mut state = self.state();
        state.shows(&namespace, version_of(policy));
        let policies = state.namespaces.get_mut(&namespace)?;
        let taken = policies.take(name);
        if policies.by_name.is_empty() && policies.beyond.is_empty() {
            state.namespaces.remove(&namespace);
        }
        taken.then_some(namespace)
    }

    /// The map is consistent between any two statements, so a panic elsewhere is no reason to stop.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn list_begins(&mut self) {
        self.listing = Some(HashMap::new());
        // It knows better than one beside the watch.
        self.relisting = None;
        self.shown_until = 0;
    }

    fn list_ends(&mut self) -> Vec<String> {
        let before = std::mem::replace(&mut self.namespaces, self.listing.take().unwrap_or_default());
        let names: HashSet<&String> = before.keys().chain(self.namespaces.keys()).collect();
        let differs = |name: &&&String| before.get(**name) != self.namespaces.get(**name);
        names.iter().filter(differs).map(|name| (*name).clone()).collect()
    }
}

impl Policies {
    /// Returns whether that is news. `equal` may be the same spec as it is kept elsewhere: then it is shared.
    fn put(&mut self, policy: ForeignPolicy, equal: Option<&ForeignSpec>) -> bool {
        let ForeignPolicy { name, spec } = policy;
        let before = self.by_name.get(&*name);
        if before == Some(&spec) {
            return false;
        }
        if before.is_none() && self.by_name.len() >= MOST_POLICIES {
            return self.beyond.insert(hash(&name));
        }
        self.kept_bytes -= before.map_or(0, ForeignSpec::kept_bytes);
        let spec = equal.filter(|equal| **equal == spec).cloned().unwrap_or(spec);
        let spec = if self.kept_bytes + spec.kept_bytes() > MAX_NAMESPACE_BYTES {
            spec.beyond(MAX_NAMESPACE_BYTES)
        } else {
            spec
        };
        self.kept_bytes += spec.kept_bytes();
        self.beyond.remove(&hash(&name));
        self.by_name.insert(name.into(), spec.clone()).as_ref() != Some(&spec)
    }

    fn take(&mut self, name: &str) -> bool {
        let taken = self.by_name.remove(name);
        self.kept_bytes -= taken.as_ref().map_or(0, ForeignSpec::kept_bytes);
        taken.is_some() || self.beyond.remove(&hash(name))
    }

    /// Those that are known by name. Where there are more, the last of them counts as allowing everything.
    fn known(&self) -> Vec<ForeignPolicy> {
        let policies = self.by_name.iter().map(|(name, spec)| ForeignPolicy {
            name: name.to_string(),
            spec: spec.clone(),
        });
        let mut policies: Vec<_> = policies.collect();
        if !self.beyond.is_empty() {
            let last = policies.pop().map(|last| last.name);
            policies.push(ForeignPolicy {
                name: last.unwrap_or_else(|| String::from(WITHOUT_A_NAME)),
                spec: ForeignSpec::unknown(MAX_NAMESPACE_BYTES),
            });
        }
        policies
    }
}

fn read(policy: &NetworkPolicy) -> Option<(String, ForeignPolicy)> {
    let namespace = policy.metadata.namespace.clone()?;
    Some((namespace, ForeignPolicy::read(policy)?))
}

fn hash(name: &str) -> u64 {
    HASH_KEY.hash_one(name)
}

fn version_of(policy: &NetworkPolicy) -> u128 {
    let version = policy.metadata.resource_version.as_deref();
    version.and_then(number).unwrap_or_default()
}

#[cfg(test)]
mod tests;
