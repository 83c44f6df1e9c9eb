//! Who wants to be released, over everything that is known.

use std::collections::BTreeSet;

use super::{Cache, State};
use crate::controller::ledger::{Ledger, Records};
use crate::policy::brake::{Brake, Census, could_release, stands, stays_isolated};
use crate::policy::handover::is_outstanding;
use crate::policy::{NamespaceRecord, ParsedTier};

/// What has to be counted again.
#[derive(Debug)]
pub(super) enum ToCount {
    /// A tier or a fact changed, or nothing was counted yet.
    Everything,
    /// These namespaces, or what stands in them, changed.
    Namespaces(BTreeSet<String>),
}

impl ToCount {
    pub(super) fn add(&mut self, namespace: &str) {
        match self {
            Self::Everything => {}
            Self::Namespaces(namespaces) => _ = namespaces.insert(namespace.to_owned()),
        }
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Namespaces(BTreeSet::new()))
    }
}

impl Cache {
    /// In how many namespaces something is still to be done before `tier`, which departs, may go.
    pub(in crate::controller) fn outstanding(&self, tier: &ParsedTier, records: &Records) -> usize {
        let state = self.state();
        let outstanding = state.namespaces.iter().filter(|(name, known)| {
            let observed = state.policies.observed(name);
            let record = records.get(name.as_str()).map(|record| &**record);
            is_outstanding(&state.world, tier, &known.namespace, &observed, record)
        });
        outstanding.count()
    }

    /// Counts again what changed since it was last counted, or everything where that is asked for or nothing else will do.
    /// Returns whether that was everything.
    pub(in crate::controller) fn count_again(
        &self,
        census: &mut Census,
        brake: &mut Brake,
        ledger: &Ledger,
        everything: bool,
    ) -> bool {
        let mut state = self.state();
        match state.to_count.take() {
            ToCount::Namespaces(changed) if !everything => {
                for name in changed {
                    state.count(census, &name, ledger.get(&name).as_deref());
                    brake.narrow(census, &name);
                }
                false
            }
            _ => {
                *census = Census::of(&state.world);
                let records = ledger.all();
                for name in state.policies.namespaces() {
                    state.count(census, name, records.get(name.as_str()).map(|record| &**record));
                }
                true
            }
        }
    }
}

impl State {
    /// Nearly always nothing is wanted, which one look at the bases tells.
    fn count(&self, census: &mut Census, name: &str, record: Option<&NamespaceRecord>) {
        let (world, bases) = (&self.world, || self.policies.bases(name));
        let (wanted, isolated) = match self.namespaces.get(name).map(|known| &known.namespace) {
            None => (Vec::new(), Vec::new()),
            Some(namespace) if could_release(world, namespace, bases(), record) => {
                stands(world, namespace, &self.policies.observed(name), record)
            }
            Some(namespace) => {
                let isolated = stays_isolated(world, namespace, bases().map(|(name, _)| name), record);
                (Vec::new(), isolated)
            }
        };
        census.set(name, wanted, isolated);
    }
}
