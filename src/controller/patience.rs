//! Whose tier could not be written waits before it is tried again, each for itself: one that is refused delays no other.

use std::collections::BTreeMap;
use std::sync::Arc;
#[cfg(test)]
use std::time::Duration;

use tokio::time::Instant;

use crate::controller::queue::back_off;
use crate::policy::record::Failure;

/// The tiers that wait, by uid.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waiting: BTreeMap<Arc<str>, Waiting>,
}

/// What is written to tiers, each with a patience of its own: a finalizer that is refused keeps no status from being written.
#[derive(Debug, Default)]
pub(super) struct Patiences {
    pub(super) finalizers: Patience,
    pub(super) statuses: Patience,
    pub(super) releases: Patience,
}

#[derive(Debug)]
struct Waiting {
    failures: u32,
    until: Instant,
}

impl Patiences {
    /// What made them fail may have ended. The failures still count.
    pub(super) fn retry_now(&mut self) {
        self.all().for_each(Patience::retry_now);
    }

    /// When the next one may be tried again. What was due when the pass `began` had its turn, and needed none.
    pub(super) fn next(&mut self, began: Instant) -> Option<Instant> {
        self.all().filter_map(|patience| patience.next(began)).min()
    }

    /// Those that are gone wait for nothing.
    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.all().for_each(|patience| patience.keep(&is_there));
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Patience> {
        [&mut self.finalizers, &mut self.statuses, &mut self.releases].into_iter()
    }
}

impl Patience {
    /// Whether nothing that failed keeps the tier waiting.
    pub(super) fn may_try(&self, tier_uid: &str) -> bool {
        let waiting = self.waiting.get(tier_uid);
        waiting.is_none_or(|waiting| waiting.until <= Instant::now())
    }

    /// A write to it failed; that is said, the first time and then ever more seldom.
    pub(super) fn failed(&mut self, tier_uid: &Arc<str>, tier: &str, failure: &Failure) {
        let failures = self.waiting.get(tier_uid).map_or(0, |waiting| waiting.failures);
        let failures = failures.saturating_add(1);
        if failures.is_power_of_two() {
            tracing::warn!(tier, failures, reason = failure.reason, "{}", failure.message);
        }
        let wait = back_off(tier_uid, failures).max(failure.retry_after.unwrap_or_default());
        let until = Instant::now() + wait;
        self.waiting.insert(Arc::clone(tier_uid), Waiting { failures, until });
    }

    /// A write to it went well.
    pub(super) fn succeeded(&mut self, tier_uid: &str) {
        self.waiting.remove(tier_uid);
    }

    fn retry_now(&mut self) {
        let now = Instant::now();
        self.waiting.values_mut().for_each(|waiting| waiting.until = now);
    }

    fn next(&self, began: Instant) -> Option<Instant> {
        let until = self.waiting.values().map(|waiting| waiting.until);
        until.filter(|until| *until > began).min()
    }

    fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.waiting.retain(|tier_uid, _| is_there(tier_uid));
    }

    /// For how long the longest one waits.
    #[cfg(test)]
    pub(super) fn longest(&self) -> Duration {
        let until = self.waiting.values().map(|waiting| waiting.until).max();
        until.map_or(Duration::ZERO, |until| until - Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::words;

    fn refused(seconds: Option<u64>) -> Failure {
        Failure {
            reason: words::FORBIDDEN,
            message: String::from("no"),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    // A status that was refused was written again every second, whatever the API server asked for.
    #[tokio::test(start_paused = true)]
    async fn a_status_that_is_refused_was_tried_again_every_second() {
        let (mut patience, tier, other) = (Patience::default(), Arc::from("t"), Arc::from("o"));
        let mut before = Duration::ZERO;
        for _ in 0..12 {
            patience.failed(&tier, "t", &refused(None));
            assert!(patience.longest() > before || before > Duration::from_secs(15));
            before = patience.longest();
        }
        assert!(before > Duration::from_secs(20), "{before:?}");
        assert!(patience.may_try("o"), "another tier does not wait");
        patience.failed(&other, "o", &refused(Some(7)));
        let began = Instant::now();
        assert_eq!(patience.next(began), Some(began + Duration::from_secs(7)));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(patience.may_try("o") && !patience.may_try("t"));
        patience.retry_now();
        assert!(patience.may_try("t"));
        patience.succeeded("t");
        patience.keep(|uid| uid == "t");
        assert_eq!(patience.next(began), None);
    }

    // What timed out and had landed all the same was never written again, and had all namespaces counted every second.
    #[tokio::test(start_paused = true)]
    async fn what_was_due_before_a_pass_began_brings_no_other_about() {
        let mut patiences = Patiences::default();
        patiences.statuses.failed(&Arc::from("t"), "t", &refused(Some(7)));
        patiences.releases.failed(&Arc::from("t"), "t", &refused(Some(20)));
        let later = Instant::now() + Duration::from_secs(20);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(patiences.next(Instant::now()), Some(later));
        tokio::time::advance(Duration::from_secs(12)).await;
        assert_eq!(patiences.next(Instant::now()), None);
    }
}
