//! A place in the window: taken when a release may go, kept while it waits, given back when it is not made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Brake, Census, Release, WINDOW};

/// A release that may go now, and what is known of its place in the window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// What may go.
    pub release: Release,
    /// Since when it counts; one that was confirmed does not.
    at: Option<Duration>,
}

/// A release that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Recent {
    pub(super) at: Duration,
    pub(super) tier_uid: Arc<str>,
}

/// For so long one place is kept for a release that waits. Then it takes another: far before the first is over.
const KEPT: Duration = Duration::from_secs(60);

impl Brake {
    /// The release waits for what has to come before it, and keeps its place: whoever tells of all places tells of it, however
    /// long that takes.
    pub fn keep_waiting(&mut self, grant: Grant) {
        if grant.at.is_some() {
            self.waiting.insert(grant.release.key(), grant);
        }
    }

    /// A release that was granted was not made, nor tried.
    pub fn withdraw(&mut self, grant: Grant) {
        let key = grant.release.key();
        if let Some(of_one) = self.recent.get_mut(&key)
            && grant.at.is_some()
        {
            of_one.pop();
            if of_one.is_empty() {
                self.recent.remove(&key);
            }
        }
    }

    /// The release is made now: it counts from now on, however long it has had its place.
    pub fn count_from(&mut self, grant: &Grant, now: Duration) {
        if let Some(of_one) = self.recent.get_mut(&grant.release.key())
            && grant.at.is_some()
            && let Some(last) = of_one.pop()
        {
            of_one.retain(|earlier| earlier.tier_uid != last.tier_uid);
            of_one.push(Recent { at: now, ..last });
        }
    }

    /// The tier whose status has to tell of a place, by uid.
    pub fn told_by(&self, grant: &Grant) -> Option<&Arc<str>> {
        let last = self.recent.get(&grant.release.key())?.last()?;
        Some(&last.tier_uid)
    }

    pub(super) fn take_place(&mut self, release: &Release, now: Duration) -> Grant {
        let recent = Recent {
            at: now,
            tier_uid: Arc::clone(&release.tier_uid),
        };
        self.next_expiry = self.next_expiry.min(recent.expires_at());
        self.recent.entry(release.key()).or_default().push(recent);
        Grant {
            release: release.clone(),
            at: Some(now),
        }
    }

    /// The place of a release that was kept waiting.
    pub(super) fn kept_place(&mut self, release: &Release, now: Duration) -> Option<Grant> {
        let grant = self.waiting.remove(&release.key())?;
        let since = grant.at.unwrap_or_default();
        if grant.release == *release && now < since.saturating_add(KEPT) {
            return Some(grant);
        }
        self.withdraw(grant);
        None
    }

    /// What is not wanted any more waits for nothing.
    pub(super) fn give_back_unwanted(&mut self, census: &Census) {
        let waiting = std::mem::take(&mut self.waiting);
        let (wanted, unwanted): (BTreeMap<_, _>, BTreeMap<_, _>) =
            waiting.into_iter().partition(|(_, grant)| census.wants(&grant.release));
        self.waiting = wanted;
        for grant in unwanted.into_values() {
            self.withdraw(grant);
        }
    }
}

impl Recent {
    pub(super) fn expires_at(&self) -> Duration {
        self.at.saturating_add(WINDOW)
    }
}

impl Grant {
    pub(super) fn confirmed(release: &Release) -> Self {
        Self {
            release: release.clone(),
            at: None,
        }
    }

    /// Since when it has its place; `None` where it was confirmed, which takes none.
    pub fn place_taken_at(&self) -> Option<Duration> {
        self.at
    }
}
