//! The last outcome of every namespace: what status and metrics are computed from, and how drift is told from
//! a change of ours.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::policy::NamespaceRecord;

/// What is remembered of every namespace. Names are shared, so that a copy for a report costs no string.
pub(super) type Records = HashMap<Arc<str>, Arc<NamespaceRecord>>;

/// The records, by namespace.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    records: Mutex<Records>,
}

impl Ledger {
    /// What is remembered of a namespace.
    pub(super) fn get(&self, namespace: &str) -> Option<Arc<NamespaceRecord>> {
        self.records().get(namespace).cloned()
    }

    /// Remembers the outcome. Returns whether it differs from what was remembered.
    pub(super) fn record(&self, namespace: &str, record: NamespaceRecord) -> bool {
        let mut records = self.records();
        let Some(before) = records.get_mut(namespace) else {
            records.insert(namespace.into(), Arc::new(record));
            return true;
        };
        let changed = **before != record;
        *before = Arc::new(record);
        changed
    }

    /// Forgets a namespace that is gone. Returns whether it was known.
    pub(super) fn forget(&self, namespace: &str) -> bool {
        self.records().remove(namespace).is_some()
    }

    /// Everything that is remembered.
    pub(super) fn all(&self) -> Records {
        self.records().clone()
    }

    /// The map is consistent between any two statements, so a panic elsewhere is no reason to stop.
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
