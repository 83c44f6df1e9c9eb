//! What is known of the tiers' statuses, as far as they outlive the process: what each tells, owes and was refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::told::WORD_HOLDS;
use crate::controller::queue::back_off;
use crate::policy::brake::{Brake, Grant};
use crate::policy::record::Failure;

/// What is written. Whoever writes has the lock: the others find their release in what was written, and the last one
/// written is the latest.
pub(super) type Persisted = Arc<Mutex<Writing>>;

/// A tier whose status was not taken is not asked for longer than this, unless the API server asks for more.
pub(super) const REFUSED_AT_MOST: Duration = Duration::from_secs(5);

/// The digest of a confirmation and how many of its releases are still to be done.
type RemainingSize = (Arc<str>, usize);

#[derive(Debug, Default)]
pub(super) struct Writing {
    /// When that was counted which each tier's status tells, by the tier's uid: the places that were taken by then.
    counted: BTreeMap<Arc<str>, Duration>,
    /// What each tier's status tells of what was confirmed.
    confirmed: BTreeMap<Arc<str>, RemainingSize>,
    /// Whose status has to be written although nothing is released.
    to_write: BTreeSet<Arc<str>>,
    /// What failed last of each tier. Who waited for it need not try too: each would take as long, one after the other.
    refused: BTreeMap<Arc<str>, Refused>,
    /// Tiers that are about to go, or were found gone although the cache still shows them: others tell what they released.
    pub(super) leaving: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Refused {
    failure: Failure,
    /// In a row.
    failures: u32,
    at: Duration,
    /// Before this it is not tried again.
    until: Duration,
}

impl Writing {
    /// This is what the status tells of what was confirmed.
    pub(super) fn note_confirmed(&mut self, tier_uid: &Arc<str>, remaining: Option<RemainingSize>) {
        match remaining {
            Some(remaining) => _ = self.confirmed.insert(Arc::clone(tier_uid), remaining),
            None => _ = self.confirmed.remove(tier_uid),
        }
    }

    /// The status has to be written.
    pub(super) fn must_write(&mut self, tier_uid: &Arc<str>) {
        self.to_write.insert(Arc::clone(tier_uid));
    }

    /// Whether the status has to be written for the tier's own sake, where so much is left of what was confirmed.
    pub(super) fn is_owed_by(&self, tier_uid: &str, remaining: Option<&RemainingSize>) -> bool {
        self.confirmed.get(tier_uid) != remaining || self.to_write.contains(tier_uid)
    }

    /// The API server took the status, with what was counted by then.
    pub(super) fn note_written(&mut self, tier_uid: &Arc<str>, remaining: Option<RemainingSize>, counted: Duration) {
        self.counted.insert(Arc::clone(tier_uid), counted);
        self.refused.remove(tier_uid);
        self.to_write.remove(tier_uid);
        self.note_confirmed(tier_uid, remaining);
    }

    /// `now` bounds how old a word may be; those of tiers that are gone count for nothing.
    pub(super) fn tells_of(&self, grant: &Grant, brake: &Brake, now: Duration, stands: impl Fn(&str) -> bool) -> bool {
        let Some(taken_at) = grant.place_taken_at() else {
            let tier_uid = &grant.release.tier_uid;
            // Under one digest what was written holds all that is left.
            let digest = |size: &RemainingSize| Arc::clone(&size.0);
            let told = self.confirmed.get(tier_uid).map(digest);
            return told.is_some() && told == brake.remaining_size(tier_uid).as_ref().map(digest);
        };
        let tier_uid = brake.told_by(grant).filter(|tier_uid| stands(tier_uid));
        let counted = tier_uid.and_then(|tier_uid| self.counted.get(tier_uid));
        counted.is_some_and(|counted| taken_at <= *counted && now < counted.saturating_add(WORD_HOLDS))
    }

    /// Why the tier is not to be written to now, for who has waited for it since then.
    pub(super) fn refusal(&self, tier_uid: &str, waits_since: Duration, now: Duration) -> Option<Failure> {
        let refused = self.refused.get(tier_uid)?;
        (refused.at >= waits_since || now < refused.until).then(|| refused.failure.clone())
    }

    /// How often in a row the tier's status was not taken.
    pub(super) fn refusals(&self, tier_uid: &str) -> u32 {
        self.refused.get(tier_uid).map_or(0, |refused| refused.failures)
    }

    /// What it told before, nobody can read any more.
    pub(super) fn note_gone(&mut self, tier_uid: &Arc<str>) {
        self.counted.remove(tier_uid);
        self.leaving.insert(Arc::clone(tier_uid));
    }

    /// Of tiers that are not there nothing has to be known.
    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.counted.retain(|uid, _| is_there(uid));
        self.confirmed.retain(|uid, _| is_there(uid));
        self.to_write.retain(|uid| is_there(uid));
        self.refused.retain(|uid, _| is_there(uid));
        self.leaving.retain(|uid| is_there(uid));
    }

    pub(super) fn note_refusal(&mut self, tier_uid: &Arc<str>, failure: &Failure, at: Duration) {
        let failures = self.refused.get(tier_uid).map_or(0, |refused| refused.failures);
        let failures = failures.saturating_add(1);
        let wait = back_off(tier_uid, failures).min(REFUSED_AT_MOST);
        let refused = Refused {
            failure: failure.clone(),
            failures,
            at,
            until: at + wait.max(failure.retry_after.unwrap_or_default()),
        };
        self.refused.insert(Arc::clone(tier_uid), refused);
    }
}
