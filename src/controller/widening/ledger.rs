//! What the widening audit came to in every namespace: what status and metrics are computed from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::widening::{Judgements, WideningSummary};

/// What is to be reported of every namespace. Names are shared, so that a copy for a report costs no string.
pub(in crate::controller) type Summaries = HashMap<Arc<str>, Arc<WideningSummary>>;

/// The results, by namespace.
#[derive(Debug, Default)]
pub(in crate::controller) struct WideningLedger {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    judgements: HashMap<Arc<str>, Judgements>,
    summaries: Summaries,
}

impl WideningLedger {
    /// Takes what is known of a namespace, to be worked on; [`Self::record`] gives it back.
    pub(in crate::controller) fn take(&self, namespace: &str) -> Option<Judgements> {
        let mut entries = self.entries();
        let known = entries.judgements.remove(namespace);
        known.or_else(|| entries.was_audited(namespace).then(Judgements::of_nothing))
    }

    /// Remembers what is known of a namespace. Returns whether that is to be reported anew.
    pub(in crate::controller) fn record(
        &self,
        namespace: &str,
        judgements: Judgements,
        summary: Option<WideningSummary>,
    ) -> bool {
        let mut entries = self.entries();
        let name: Arc<str> = namespace.into();
        let changed = match summary {
            Some(summary)
                if entries
                    .summaries
                    .get(namespace)
                    .is_some_and(|before| **before == summary) =>
            {
                false
            }
            Some(summary) => {
                entries.summaries.insert(Arc::clone(&name), Arc::new(summary));
                true
            }
            None => entries.summaries.remove(namespace).is_some(),
        };
        // Most namespaces have nobody else's policy, and there are thousands of them.
        if !(judgements.are_of_nothing() && entries.was_audited(namespace)) {
            entries.judgements.insert(name, judgements);
        }
        changed
    }

    /// Forgets a namespace that is gone. Returns whether it was reported.
    pub(in crate::controller) fn forget(&self, namespace: &str) -> bool {
        let mut entries = self.entries();
        entries.judgements.remove(namespace);
        entries.summaries.remove(namespace).is_some()
    }

    /// Everything that is to be reported.
    pub(in crate::controller) fn summaries(&self) -> Summaries {
        self.entries().summaries.clone()
    }

    /// The maps are consistent between any two statements, so a panic elsewhere is no reason to stop.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Whether everything that stands in a namespace was judged.
    fn was_audited(&self, namespace: &str) -> bool {
        self.summaries.get(namespace).is_some_and(|summary| summary.complete)
    }
}

#[cfg(test)]
mod tests;
