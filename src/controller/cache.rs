//! Everything that was watched, and what can be asked of it.

mod census;
mod events;
mod fact_sources;
mod policy_index;
mod watched;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use tokio::sync::watch;

use self::census::ToCount;
pub(super) use self::events::NamespaceNews;
pub(super) use self::fact_sources::{EndpointSlices, FactSources};
pub(super) use self::policy_index::OlderThanTheWatch;
use self::policy_index::PolicyIndex;
pub(super) use self::watched::Watched;
use super::widening::ForeignPolicies;
use crate::policy::{
    Exemptions, Facts, Governor, Namespace, ObservedPolicies, ObservedPolicy, ParsedTier, PolicyName, RenderedPolicy,
    TierIdentity, World, assign,
};

/// The caches, shared between the watches and the workers. The lock is never held across an await; what walks every
/// namespace under it is a change of a tier or a fact, with the count for the brake that follows, a tier that takes its policies
/// along, and a scrape.
#[derive(Debug)]
pub(super) struct Cache {
    state: Mutex<State>,
    foreign_policies: ForeignPolicies,
    /// Is told of each cache that completes.
    completed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    world: Arc<World>,
    /// Of which namespaces something changed that may bring a release about, since that was last asked.
    to_count: ToCount,
    tiers: BTreeMap<String, KnownTier>,
    /// Whether the definition of tiers is gone or going: then every tier goes with it.
    definition_ends: bool,
    /// The uid of the tier that is gone or going and of which it is not known yet what that means.
    ending: Option<String>,
    namespaces: HashMap<String, KnownNamespace>,
    policies: PolicyIndex,
    sources: FactSources,
    synced: BTreeSet<Watched>,
    failing: BTreeMap<Watched, String>,
}

/// A tier as the watch shows it.
#[derive(Clone, Debug)]
pub(super) struct KnownTier {
    /// What was written.
    pub(super) parsed: ParsedTier,
    /// The status as it stands, unparsed: it may be of an older schema.
    pub(super) status: serde_json::Value,
    /// Its finalizers, ours and others'.
    pub(super) finalizers: Vec<String>,
    /// The revision that this is.
    pub(super) resource_version: String,
}

#[derive(Debug)]
struct KnownNamespace {
    namespace: Arc<Namespace>,
    /// When a watch event first showed it; `None` if it was there when we came, or once it is protected.
    appeared: Option<Instant>,
}

/// One namespace as it is seen at one moment, against one world.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Tiers and facts.
    pub(super) world: Arc<World>,
    /// The namespace.
    pub(super) namespace: Arc<Namespace>,
    /// What stands in it.
    pub(super) observed: ObservedPolicies,
    /// The uid of the tier that is gone or going and of which it is not known yet what that means.
    pub(super) ending: Option<String>,
    /// When it appeared, if that was an event and it was not protected since.
    pub(super) appeared: Option<Instant>,
}

impl Cache {
    /// Empty caches. `dns_service` is namespace and name.
    pub(super) fn new(exemptions: Exemptions, dns_service: (String, String)) -> Self {
        let state = State {
            world: Arc::new(World::new([], Facts::unread(), exemptions)),
            to_count: ToCount::Everything,
            tiers: BTreeMap::new(),
            definition_ends: false,
            ending: None,
            namespaces: HashMap::new(),
            policies: PolicyIndex::default(),
            sources: FactSources::new(dns_service),
            synced: BTreeSet::new(),
            failing: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
            foreign_policies: ForeignPolicies::default(),
            completed: watch::Sender::new(()),
        }
    }

    /// A namespace with everything that decides about it; `None` once it is gone.
    pub(super) fn view(&self, namespace: &str) -> Option<View> {
        let state = self.state();
        let known = state.namespaces.get(namespace)?;
        Some(View {
            world: Arc::clone(&state.world),
            namespace: Arc::clone(&known.namespace),
            observed: state.policies.observed(namespace),
            ending: state.ending.clone(),
            appeared: known.appeared,
        })
    }

    /// The tiers as they are ranked and rendered now.
    pub(super) fn world(&self) -> Arc<World> {
        Arc::clone(&self.state().world)
    }

    /// The names of the tiers that are not being deleted.
    pub(super) fn tier_names(&self) -> BTreeSet<String> {
        self.state()
            .world
            .tiers()
            .iter()
            .map(|ranked| ranked.tier.identity().name.to_string())
            .collect()
    }

    /// A tier as the watch shows it.
    pub(super) fn tier(&self, name: &str) -> Option<KnownTier> {
        self.state().tiers.get(name).cloned()
    }

    /// Every tier as the watch shows it, the terminating ones too.
    pub(super) fn tiers(&self) -> Vec<KnownTier> {
        self.state().tiers.values().cloned().collect()
    }

    /// Who has that uid, if it is there.
    pub(super) fn tier_of_uid(&self, uid: &str) -> Option<Arc<TierIdentity>> {
        let state = self.state();
        let mut identities = state.tiers.values().map(|known| known.parsed.identity());
        identities.find(|identity| *identity.uid == *uid).map(Arc::clone)
    }

    /// The revision of the tier with that uid that the watch shows.
    pub(super) fn version_of_tier(&self, uid: &str) -> Option<String> {
        let state = self.state();
        let known = state
            .tiers
            .values()
            .find(|known| *known.parsed.identity().uid == *uid)?;
        // Under none at all a write would land on any.
        Some(known.resource_version.clone()).filter(|version| !version.is_empty())
    }

    /// Every namespace.
    pub(super) fn namespaces(&self) -> Vec<Arc<Namespace>> {
        self.state()
            .namespaces
            .values()
            .map(|known| Arc::clone(&known.namespace))
            .collect()
    }

    /// What stands in a namespace.
    pub(super) fn observed(&self, namespace: &str) -> ObservedPolicies {
        self.state().policies.observed(namespace)
    }

    /// Other people's policies.
    pub(super) fn foreign_policies(&self) -> &ForeignPolicies {
        &self.foreign_policies
    }

    /// Whether no base policy stands in a namespace.
    pub(super) fn is_bare(&self, namespace: &str) -> bool {
        !self.state().policies.has_base(namespace)
    }

    /// Whether the definition of tiers is known to end.
    pub(super) fn definition_ends(&self) -> bool {
        self.state().definition_ends
    }

    /// A tier is gone or going. What it governs is left alone until its event is applied: the garbage collector may strip
    /// it from its policies meanwhile, and nobody must put it back.
    pub(super) fn tier_ends(&self, uid: Option<String>) {
        self.state().ending = uid;
    }

    /// The definition of tiers was read. What that means for the world, the tier's event that follows brings about.
    pub(super) fn definition_read(&self, ends: bool) {
        self.state().definition_ends = ends;
    }

    /// A namespace was protected, or nobody governs it: its time to protection is not measured any more.
    pub(super) fn settled(&self, namespace: &str) {
        if let Some(known) = self.state().namespaces.get_mut(namespace) {
            known.appeared = None;
        }
    }

    /// How many policies outlived their tier, in how many namespaces that nobody governs.
    pub(super) fn retained(&self, world: &World) -> (u64, u64) {
        let state = self.state();
        let (mut policies, mut namespaces) = (0, 0);
        for (name, there) in state.policies.by_namespace() {
            let outlived = |policy: &ObservedPolicy| policy.marks.is_retained(|uid| world.is_live(uid));
            // Nearly always none: the workers wait for this lock, so that nothing else is asked for nothing.
            if !there.iter().any(|(_, policy)| outlived(policy)) {
                continue;
            }
            let Some(known) = state.namespaces.get(name) else {
                continue;
            };
            let observed = state.policies.observed(name);
            let assignment = assign(world, &known.namespace, &observed, None);
            if !matches!(assignment.governor, Governor::Nobody) {
                continue;
            }
            let retained = observed.values().filter(|policy| outlived(policy)).count();
            policies += retained as u64;
            namespaces += u64::from(retained > 0);
        }
        (policies, namespaces)
    }

    /// A write of `rendered`, or a read of ours, returned this object.
    pub(super) fn written(&self, namespace: &str, policy: NetworkPolicy, rendered: Option<&RenderedPolicy>) {
        if let Some((name, policy)) = ObservedPolicy::read_expecting(policy, rendered) {
            let mut state = self.state();
            state.to_count.add(namespace);
            state.policies.written(namespace, name, policy);
        }
    }

    /// The object of this uid is gone, as a delete or a read of ours says.
    pub(super) fn deleted(&self, namespace: &str, name: &PolicyName, uid: &str) {
        self.state().policies.deleted(namespace, name.clone(), uid);
    }

    /// The critical sections hold no invariant open between two statements that could panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
