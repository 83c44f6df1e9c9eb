//! What the widening audit came to in every namespace: what status and metrics are computed from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::widening::{Judgements, WideningSummary};

/// The results, by namespace.
#[derive(Debug, Default)]
pub(in crate::controller) struct WideningLedger {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    judgements: HashMap<String, Judgements>,
    summaries: HashMap<String, Arc<WideningSummary>>,
}

impl WideningLedger {
    /// Takes what is known of a namespace, to be worked on; [`Self::record`] gives it back.
    pub(in crate::controller) fn take(&self, namespace: &str) -> Option<Judgements> {
        self.entries().judgements.remove(namespace)
    }

    /// Remembers what is known of a namespace. Returns whether that is to be reported anew.
    pub(in crate::controller) fn record(
        &self,
        namespace: &str,
        judgements: Judgements,
        summary: Option<WideningSummary>,
    ) -> bool {
        let mut entries = self.entries();
        entries.judgements.insert(namespace.to_owned(), judgements);
        match summary {
            Some(summary) => {
                let before = entries.summaries.get(namespace);
                if before.is_some_and(|before| **before == summary) {
                    return false;
                }
                entries.summaries.insert(namespace.to_owned(), Arc::new(summary));
                true
            }
            None => entries.summaries.remove(namespace).is_some(),
        }
    }

    /// Forgets a namespace that is gone. Returns whether it was reported.
    pub(in crate::controller) fn forget(&self, namespace: &str) -> bool {
        let mut entries = self.entries();
        entries.judgements.remove(namespace);
        entries.summaries.remove(namespace).is_some()
    }

    /// Everything that is to be reported.
    pub(in crate::controller) fn summaries(&self) -> HashMap<String, Arc<WideningSummary>> {
        self.entries().summaries.clone()
    }

    /// The maps are consistent between any two statements, so a panic elsewhere is no reason to stop.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
