//! The newest revision of each tier that is known: the watch shows it, and before that the answer to a write of ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::resource_version::is_older;

/// What answers told, by the tier's uid.
#[derive(Debug, Default)]
pub(super) struct TierVersions(Mutex<BTreeMap<Arc<str>, String>>);

impl TierVersions {
    /// The answer to a write told this one. Answers may overtake each other.
    pub(super) fn answered(&self, tier_uid: &Arc<str>, version: String) {
        let mut told = self.told();
        if told.get(tier_uid).is_none_or(|known| !is_older(&version, known)) {
            told.insert(Arc::clone(tier_uid), version);
        }
    }

    /// That one was refused: a restored backup may have older ones.
    pub(super) fn forget(&self, tier_uid: &str) {
        self.told().remove(tier_uid);
    }

    /// What the watch shows, or what an answer told since.
    pub(super) fn newest(&self, tier_uid: &str, watched: Option<String>) -> Option<String> {
        let told = self.told().get(tier_uid).cloned();
        match (told, watched) {
            (Some(told), Some(watched)) if is_older(&watched, &told) => Some(told),
            (told, watched) => watched.or(told),
        }
    }

    /// Forgets the tiers that are gone.
    pub(super) fn keep(&self, stands: impl Fn(&str) -> bool) {
        self.told().retain(|uid, _| stands(uid));
    }

    /// One statement changes it, so a panic elsewhere leaves nothing half done.
    fn told(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_of_watch_and_answer_is_known() {
        let (versions, uid) = (TierVersions::default(), Arc::from("uid"));
        let newest = |watched: Option<&str>| versions.newest("uid", watched.map(str::to_owned));
        assert_eq!(newest(None), None);
        assert_eq!(newest(Some("9")).as_deref(), Some("9"));
        versions.answered(&uid, String::from("10"));
        versions.answered(&uid, String::from("8"));
        assert_eq!(newest(None).as_deref(), Some("10"));
        assert_eq!(newest(Some("9")).as_deref(), Some("10"));
        assert_eq!(newest(Some("11")).as_deref(), Some("11"));
        // A restored backup.
        versions.forget("uid");
        versions.answered(&uid, String::from("7"));
        assert_eq!(newest(Some("6")).as_deref(), Some("7"));
        versions.keep(|_| false);
        assert_eq!(newest(None), None);
    }
}
