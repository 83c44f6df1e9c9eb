//! What earlier processes let go, and what was confirmed to them: a process that ends is no way around the limit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::confirmation::Confirmed;
use super::{Brake, Census, RemainingConfirmation};
use crate::api::Direction;

/// Releases of an earlier process, without their names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inherited {
    /// The tier that they were reported on.
    pub tier_uid: Arc<str>,
    /// What was opened.
    pub direction: Direction,
    /// In how many namespaces.
    pub namespaces: u64,
    /// When they count no more.
    pub until: Duration,
    /// The name of the tier whose status should have told how many, and does not: then it is more than any limit.
    pub unreadable: Option<Arc<str>>,
}

impl Brake {
    /// What earlier processes let go counts as if this one had.
    pub fn inherit(&mut self, inherited: impl IntoIterator<Item = Inherited>) {
        self.inherited.extend(inherited);
        self.next_expiry = Duration::ZERO;
    }

    /// What was confirmed to earlier processes, by the uid of the tier, is confirmed to this one as soon as a census shows
    /// the annotation. What of it is not wanted by then takes another confirmation.
    pub fn inherit_confirmations(&mut self, remaining: impl IntoIterator<Item = (Arc<str>, RemainingConfirmation)>) {
        self.inherited_confirmations.extend(remaining);
    }

    /// How many namespaces `tier` opened in each direction within the window, earlier processes included: what a later
    /// process has to inherit.
    pub fn recent_of(&self, tier: &str) -> BTreeMap<Direction, u64> {
        let mut counts = BTreeMap::new();
        for ((_, direction), of_one) in &self.recent {
            if of_one.iter().any(|recent| *recent.tier_uid == *tier) {
                *counts.entry(*direction).or_default() += 1;
            }
        }
        for inherited in self.inherited.iter().filter(|inherited| *inherited.tier_uid == *tier) {
            let count = counts.entry(inherited.direction).or_default();
            *count = u64::saturating_add(*count, inherited.namespaces);
        }
        counts
    }

    /// When the last that counts for `tier` is over, where it is not known how many that are: nothing is released meanwhile, so
    /// that it is none of this process.
    pub fn unreadable_until(&self, tier: &str) -> Option<Duration> {
        let inherited = || self.inherited.iter().filter(|inherited| *inherited.tier_uid == *tier);
        let is_unreadable = inherited().any(|inherited| inherited.unreadable.is_some());
        let last = inherited().map(|inherited| inherited.until).max();
        last.filter(|_| is_unreadable)
    }

    /// The tiers that releases of late are reported on, by uid.
    pub fn tiers_of_late(&self) -> BTreeSet<Arc<str>> {
        let recent = self.recent.values().flatten().map(|recent| &recent.tier_uid);
        let inherited = self.inherited.iter().map(|inherited| &inherited.tier_uid);
        recent.chain(inherited).map(Arc::clone).collect()
    }

    /// What is reported on a tier that is gone, or goes, is reported on another from now on, which can tell a later process.
    pub fn hand_on(&mut self, from: &str, heir: &Arc<str>) {
        let recent = self.recent.values_mut().flatten().map(|recent| &mut recent.tier_uid);
        let inherited = self.inherited.iter_mut().map(|inherited| &mut inherited.tier_uid);
        for tier_uid in recent.chain(inherited).filter(|tier_uid| ***tier_uid == *from) {
            *tier_uid = Arc::clone(heir);
        }
    }

    pub(super) fn unreadable(&self) -> Option<Arc<str>> {
        self.inherited.iter().find_map(|inherited| inherited.unreadable.clone())
    }

    pub(super) fn resume_confirmations(&mut self, census: &Census) {
        for (tier, remaining) in std::mem::take(&mut self.inherited_confirmations) {
            if census.confirmations.get(&tier) != Some(&remaining.digest) {
                self.inherited_confirmations.insert(tier, remaining);
                continue;
            }
            self.confirmed
                .insert(Arc::clone(&tier), remaining.in_census(census, &tier));
        }
        self.resume_superseded(census);
    }

    /// The annotation may confirm what was shown after what an earlier process was told, which ended before it wrote that
    /// down. Any other annotation says nothing of it: the census may be older.
    fn resume_superseded(&mut self, census: &Census) {
        for (tier, remaining) in self.inherited_confirmations.clone() {
            let Some(digest) = census.confirmations.get(&tier) else {
                continue;
            };
            if self.confirmed.contains_key(&tier) {
                continue;
            }
            self.confirmed
                .insert(Arc::clone(&tier), remaining.in_census(census, &tier));
            let releases = self.held_of(census, &tier);
            if !releases.is_empty() && self.digest_for(&tier, &releases) == **digest {
                self.inherited_confirmations.remove(&tier);
            } else {
                self.confirmed.remove(&tier);
            }
        }
    }
}

impl RemainingConfirmation {
    /// What of it is still wanted.
    fn in_census(&self, census: &Census, tier: &str) -> Confirmed {
        let wanted = census.wanted().filter(|release| *release.tier_uid == *tier);
        let releases = wanted.filter(|release| self.fingerprints.contains(&release.fingerprint()));
        Confirmed {
            digest: Arc::clone(&self.digest),
            releases: releases.cloned().collect(),
        }
    }
}
