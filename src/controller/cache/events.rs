//! From what the watches show to the namespaces that need a look.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::{DynamicObject, PartialObjectMeta};

use super::census::ToCount;
use super::{Cache, FactSources, KnownNamespace, KnownTier, OlderThanTheWatch, State};
use crate::api::names::HANDOVER_FINALIZER;
use crate::policy::{Namespace, ObservedPolicy, ParsedTier, PolicyName, RankedTier, World};

/// What an event says about a namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::controller) enum NamespaceNews {
    /// Nothing that matters.
    Nothing,
    /// Labels or phase changed.
    Changed,
    /// It is new, or new under an old name.
    Appeared,
}

impl Cache {
    /// A tier is there, or changed.
    pub(in crate::controller) fn tier_applied(&self, tier: &DynamicObject) -> Vec<String> {
        let known = KnownTier::read(tier);
        self.change_world(|state| {
            _ = state
                .tiers
                .insert(tier.metadata.name.clone().unwrap_or_default(), known);
        })
    }

    /// A tier is gone.
    pub(in crate::controller) fn tier_deleted(&self, name: &str) -> Vec<String> {
        self.change_world(|state| _ = state.tiers.remove(name))
    }

    /// The definition of tiers does not end, other than was read before.
    pub(in crate::controller) fn definition_stays(&self) -> Vec<String> {
        // A tier's event that is waited for has it read too, and must not be taken for applied.
        if self.state().ending.is_some() {
            return Vec::new();
        }
        self.change_world(|state| state.definition_ends = false)
    }

    /// These are all tiers.
    pub(in crate::controller) fn tiers_listed(&self, tiers: &[DynamicObject]) -> Vec<String> {
        let known = tiers
            .iter()
            .map(|tier| (tier.metadata.name.clone().unwrap_or_default(), KnownTier::read(tier)));
        let known = known.collect();
        self.change_world(|state| state.tiers = known)
    }

    /// An object changed that facts are read from.
    pub(in crate::controller) fn fact_source_changed(&self, change: impl FnOnce(&mut FactSources)) -> Vec<String> {
        self.change_world(|state| change(&mut state.sources))
    }

    /// A namespace is there, or changed. Returns whether that matters, and whether it is new.
    pub(in crate::controller) fn namespace_applied<K>(
        &self,
        namespace: PartialObjectMeta<K>,
        seen: Option<Instant>,
    ) -> NamespaceNews {
        let namespace = Namespace::from(namespace.metadata);
        let mut state = self.state();
        state.to_count.add(&namespace.name);
        match state.namespaces.get_mut(&namespace.name) {
            Some(known) if *known.namespace == namespace => NamespaceNews::Nothing,
            Some(known) if known.namespace.uid == namespace.uid => {
                known.namespace = Arc::new(namespace);
                NamespaceNews::Changed
            }
            _ => {
                let known = KnownNamespace {
                    namespace: Arc::new(namespace),
                    appeared: seen,
                };
                state.namespaces.insert(known.namespace.name.clone(), known);
                NamespaceNews::Appeared
            }
        }
    }

    /// A namespace is gone. Its policies go by their own events: those of a successor may have been shown already.
    pub(in crate::controller) fn namespace_deleted(&self, name: &str) {
        let mut state = self.state();
        state.to_count.add(name);
        state.namespaces.remove(name);
    }

    /// These are all namespaces: the others are gone. Returns their names.
    pub(in crate::controller) fn namespaces_listed(&self, listed: &BTreeSet<String>) -> Vec<String> {
        let mut state = self.state();
        let gone: Vec<_> = state
            .namespaces
            .keys()
            .filter(|name| !listed.contains(*name))
            .cloned()
            .collect();
        for name in &gone {
            state.to_count.add(name);
            state.namespaces.remove(name);
        }
        gone
    }

    /// A policy is there, or changed.
    pub(in crate::controller) fn policy_applied(&self, policy: NetworkPolicy) -> Option<String> {
        let namespace = policy.metadata.namespace.clone()?;
        let name = PolicyName::reserved(policy.metadata.name.as_deref()?)?;
        let uid = policy.metadata.uid.as_deref().unwrap_or_default();
        let resource_version = policy.metadata.resource_version.as_deref().unwrap_or_default();
        if self.state().policies.is_echo(&namespace, &name, uid, resource_version) {
            return None;
        }
        let (name, policy) = ObservedPolicy::read(policy)?;
        let mut state = self.state();
        state.to_count.add(&namespace);
        state.policies.shown(&namespace, name, policy).then_some(namespace)
    }

    /// A policy is gone.
    pub(in crate::controller) fn policy_deleted(&self, policy: NetworkPolicy) -> Option<String> {
        let namespace = policy.metadata.namespace.clone()?;
        let (name, policy) = ObservedPolicy::read(policy)?;
        let mut state = self.state();
        state.to_count.add(&namespace);
        state
            .policies
            .shown_deleted(&namespace, name, &policy)
            .then_some(namespace)
    }

    /// A list of all policies begins.
    pub(in crate::controller) fn policies_list_begins(&self) {
        self.state().policies.list_begins();
    }

    /// The list shows a policy.
    pub(in crate::controller) fn policy_listed(&self, policy: NetworkPolicy) {
        let Some(namespace) = policy.metadata.namespace.clone() else {
            return;
        };
        if let Some((name, policy)) = ObservedPolicy::read(policy) {
            self.state().policies.listed(&namespace, name, policy);
        }
    }

    /// The list is complete.
    pub(in crate::controller) fn policies_list_ends(&self) -> Vec<String> {
        let mut state = self.state();
        state.to_count = ToCount::Everything;
        state.policies.list_ends()
    }

    /// A list of all policies beside the watch begins, to be asked for from now on.
    pub(in crate::controller) fn policies_relist_begins(&self) {
        self.state().policies.relist_begins();
    }

    /// The list, made at this version, shows these. Returns the namespaces of what no event had shown.
    ///
    /// # Errors
    /// When the list is older than what the watch has shown.
    pub(in crate::controller) fn policies_relisted(
        &self,
        version: &str,
        page: Vec<NetworkPolicy>,
    ) -> Result<BTreeSet<String>, OlderThanTheWatch> {
        self.state().policies.relist_continues(version)?;
        let mut concerned = BTreeSet::new();
        for policy in page {
            let metadata = &policy.metadata;
            let name = metadata.name.as_deref().and_then(PolicyName::reserved);
            let (Some(namespace), Some(name)) = (metadata.namespace.clone(), name) else {
                continue;
            };
            let uid = metadata.uid.as_deref().unwrap_or_default();
            let version = metadata.resource_version.as_deref().unwrap_or_default();
            if !self.state().policies.relist_shows(&namespace, &name, uid, version) {
                continue;
            }
            // Read while the lock is free: a tenant decides how long that takes.
            if let Some((name, policy)) = ObservedPolicy::read(policy) {
                self.state().policies.relist_finds(&namespace, name, policy);
                concerned.insert(namespace);
            }
        }
        Ok(concerned)
    }

    /// The list is complete. Returns the namespaces where something went without an event.
    pub(in crate::controller) fn policies_relist_ends(&self) -> Vec<String> {
        self.state().policies.relist_ends()
    }

    /// Makes the new world and finds whom it concerns: the namespaces that a changed tier selects or
    /// selected, all of them where that cannot be read, and those where its policies are. What it let go of while it did
    /// not parse is such a one.
    fn change_world(&self, change: impl FnOnce(&mut State)) -> Vec<String> {
        let mut state = self.state();
        change(&mut state);
        state.ending = None;
        // They are deleted one by one: meanwhile none must inherit what another held.
        let tiers = state.tiers.values().filter(|_| !state.definition_ends);
        let tiers = tiers.map(|known| known.parsed.clone());
        let world = Arc::new(World::new(
            tiers,
            state.sources.facts(),
            state.world.exemptions().clone(),
        ));
        let before = std::mem::replace(&mut state.world, Arc::clone(&world));
        let changed = changed_tiers(&before, &world);
        if changed.is_empty() {
            return Vec::new();
        }
        state.to_count = ToCount::Everything;
        let uids: BTreeSet<_> = changed.iter().map(|tier| &*tier.identity().uid).collect();
        let owned = |policy: &ObservedPolicy| policy.marks.agreed_owner().is_some_and(|uid| uids.contains(uid));
        let concerned = |namespace: &Namespace| {
            changed
                .iter()
                .any(|tier| tier.claim().is_none_or(|claim| claim.selects(namespace)))
                || state.policies.policies(&namespace.name).any(owned)
        };
        let namespaces = state.namespaces.values().filter(|known| concerned(&known.namespace));
        namespaces.map(|known| known.namespace.name.clone()).collect()
    }
}

impl KnownTier {
    /// Whether our finalizer is on it.
    pub(in crate::controller) fn has_our_finalizer(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == HANDOVER_FINALIZER)
    }

    fn read(tier: &DynamicObject) -> Self {
        let field = |name| tier.data.get(name).cloned().unwrap_or_default();
        Self {
            parsed: ParsedTier::parse(&tier.metadata, &field("spec")),
            status: field("status"),
            finalizers: tier.metadata.finalizers.clone().unwrap_or_default(),
            resource_version: tier.metadata.resource_version.clone().unwrap_or_default(),
        }
    }
}

/// The tiers, as they were and as they are, that differ between two worlds.
fn changed_tiers<'a>(before: &'a World, after: &'a World) -> Vec<&'a ParsedTier> {
    let differs = |ranked: &RankedTier, other: &World| {
        let same = other
            .tiers()
            .iter()
            .find(|same| same.tier.identity().uid == ranked.tier.identity().uid);
        same.is_none_or(|same| same.tier != ranked.tier || same.rendered != ranked.rendered)
    };
    let gone = before.tiers().iter().filter(|ranked| differs(ranked, after));
    let ranked = gone.chain(after.tiers().iter().filter(|ranked| differs(ranked, before)));
    let departing = after
        .departing()
        .iter()
        .filter(|tier| !before.departing().contains(tier));
    ranked.map(|ranked| &ranked.tier).chain(departing).collect()
}
