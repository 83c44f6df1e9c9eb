//! The mass-change brake: no mistake opens more than a few namespaces before somebody says that it is meant.
//!
//! A *release* opens one direction of one namespace: its tier no longer selects it, isolates less, or takes its policies
//! along when it is deleted. A namespace that goes from one tier to another that isolates the same direction is none: its
//! policy is replaced in place, and nothing here is asked.
//!
//! **Rule.** For each direction, the releases that are wanted now and those of the last [`WINDOW`] are counted over all
//! tiers, a namespace once. If they are more than [`MaxUnprotected`], all that are wanted wait: one edit that would open
//! 500 namespaces opens none, and a loop that opens them one by one comes as far as the limit. They go once they are few
//! enough, or once the tier that they come from carries the digest of exactly their list.
//!
//! **Bound.** Within any window at most the limit is opened without a confirmation.

mod census;
mod confirmation;
mod held;
mod inherited;
mod max_unprotected;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use self::census::{Census, could_release, stands, stays_isolated};
use self::confirmation::{Confirmed, Spent, digest_of};
pub use self::confirmation::{Fingerprint, RemainingConfirmation};
pub use self::held::Held;
pub use self::inherited::Inherited;
pub use self::max_unprotected::MaxUnprotected;
pub use self::place::Grant;
use self::place::Recent;
use crate::api::Direction;

/// For how long a release counts.
pub const WINDOW: Duration = Duration::from_secs(600);

/// One direction of one namespace that would be opened.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Release {
    /// The namespace.
    pub namespace: String,
    /// What is opened.
    pub direction: Direction,
    /// The base policy that would be deleted. One that was deleted and came back is another.
    pub policy_uid: Box<str>,
    /// The uid of the tier that it is reported on and confirmed at.
    pub tier_uid: Arc<str>,
}

/// What was let go of late, and what was confirmed.
#[derive(Clone, Debug)]
pub struct Brake {
    limit: MaxUnprotected,
    /// By whom one direction of one namespace was let go, the last one last, which may be about to only. They count once, and
    /// the status of each tells of it: what one is about to do takes nothing from what another did. Never empty.
    recent: BTreeMap<(String, Direction), Vec<Recent>>,
    /// Releases that were granted and wait with their places.
    waiting: BTreeMap<(String, Direction), Grant>,
    /// What earlier processes let go, as far as it is known.
    inherited: Vec<Inherited>,
    confirmed: BTreeMap<Arc<str>, Confirmed>,
    /// What was confirmed to earlier processes, where no census has shown the annotation yet, by the uid of the tier.
    inherited_confirmations: BTreeMap<Arc<str>, RemainingConfirmation>,
    spent: Spent,
    /// Before this nothing of what was let go is over.
    next_expiry: Duration,
}

impl Brake {
    /// Nothing was let go yet.
    pub fn new(limit: MaxUnprotected) -> Self {
        Self {
            limit,
            recent: BTreeMap::new(),
            waiting: BTreeMap::new(),
            inherited: Vec::new(),
            confirmed: BTreeMap::new(),
            inherited_confirmations: BTreeMap::new(),
            spent: Spent::default(),
            next_expiry: Duration::ZERO,
        }
    }

    /// Which releases of `namespace` may go, among all that are wanted. Those count from now on; what was kept waiting has
    /// counted all the while.
    pub fn admit(&mut self, census: &Census, namespace: &str, now: Duration) -> Vec<Grant> {
        self.forget_expired(now);
        self.narrow(census, namespace);
        let mut grants = Vec::new();
        for release in census.wanted_in(namespace) {
            let kept = self.kept_place(release, now);
            let confirmed = self.is_confirmed(release);
            if !confirmed && !self.exceeds_limit(census, release.direction) {
                grants.push(kept.unwrap_or_else(|| self.take_place(release, now)));
                continue;
            }
            if let Some(kept) = kept {
                self.withdraw(kept);
            }
            if confirmed {
                grants.push(Grant::confirmed(release));
            }
        }
        grants
    }

    /// Reads what was confirmed, and tells what waits, by the uid of the tier. What is confirmed before this was asked is not
    /// known to [`Self::admit`].
    pub fn held(&mut self, census: &Census, now: Duration) -> BTreeMap<Arc<str>, Held> {
        self.forget_expired(now);
        self.give_back_unwanted(census);
        self.read_confirmations(census);
        let tiers: BTreeSet<_> = census.wanted().map(|release| &release.tier_uid).collect();
        let lists = tiers.into_iter().map(|tier| (tier, self.held_of(census, tier)));
        let held = lists.filter(|(_, releases)| !releases.is_empty());
        held.map(|(tier, releases)| {
            let directions: BTreeSet<_> = releases.iter().map(|release| release.direction).collect();
            let limits = directions.into_iter().map(|direction| self.limit_of(census, direction));
            let limit = limits.min().unwrap_or_default();
            let held = Held {
                digest: self.digest_for(tier, &releases),
                releases,
                limit,
                unreadable: self.unreadable(),
            };
            (Arc::clone(tier), held)
        })
        .collect()
    }

    /// What a namespace does not want any more, though it was confirmed, takes another confirmation at another time.
    pub fn narrow(&mut self, census: &Census, namespace: &str) {
        for confirmed in self.confirmed.values_mut() {
            let of_it = confirmed.releases.range(Release::first_of(namespace)..);
            let of_it = of_it.take_while(|release| release.namespace == namespace);
            let unwanted: Vec<_> = of_it.filter(|release| !census.wants(release)).cloned().collect();
            for release in unwanted {
                confirmed.releases.remove(&release);
            }
        }
    }

    fn forget_expired(&mut self, now: Duration) {
        if now < self.next_expiry {
            return;
        }
        self.recent.retain(|_, of_one| {
            of_one.retain(|recent| now < recent.expires_at());
            !of_one.is_empty()
        });
        self.inherited.retain(|inherited| now < inherited.until);
        let recent = self.recent.values().flatten().map(Recent::expires_at);
        let inherited = self.inherited.iter().map(|inherited| inherited.until);
        self.next_expiry = recent.chain(inherited).min().unwrap_or(Duration::MAX);
    }

    /// A digest confirms the list that it was made of. What of that list is not wanted any more is not confirmed for a
    /// later time.
    fn read_confirmations(&mut self, census: &Census) {
        self.resume_confirmations(census);
        for confirmed in self.confirmed.values_mut() {
            confirmed.releases.retain(|release| census.wants(release));
        }
        let mut read = BTreeMap::new();
        for (tier, digest) in &census.confirmations {
            let earlier = self.confirmed.get(tier);
            if let Some(earlier) = earlier.filter(|earlier| earlier.digest == *digest) {
                read.insert(Arc::clone(tier), earlier.clone());
                continue;
            }
            let mut releases = self.held_of(census, tier);
            if !releases.is_empty() && self.digest_for(tier, &releases) == **digest {
                // That digest was made with the earlier one, so what is left of that list is meant too.
                releases.extend(earlier.into_iter().flat_map(|earlier| earlier.releases.iter().cloned()));
                let digest = Arc::clone(digest);
                read.insert(Arc::clone(tier), Confirmed { digest, releases });
            }
        }
        for (tier, ended) in std::mem::replace(&mut self.confirmed, read) {
            if !self.confirmed.contains_key(&tier) {
                self.remember_spent(&tier, &ended.digest);
            }
        }
    }

    /// A list that comes back after it was confirmed gets another digest: the one that stands in the annotation would
    /// confirm nothing, and to write it again would change nothing.
    fn digest_for(&self, tier: &str, releases: &BTreeSet<Release>) -> String {
        digest_of(tier, releases, self.confirmed_last(tier).map(|digest| &**digest))
    }

    fn held_of(&self, census: &Census, tier: &str) -> BTreeSet<Release> {
        let exceeded = Direction::ALL.map(|direction| self.exceeds_limit(census, direction).then_some(direction));
        let wanted = census.wanted().filter(|release| *release.tier_uid == *tier);
        wanted
            .filter(|release| exceeded.contains(&Some(release.direction)) && !self.is_confirmed(release))
            .cloned()
            .collect()
    }

    fn is_confirmed(&self, release: &Release) -> bool {
        let confirmed = self.confirmed.get(&release.tier_uid);
        confirmed.is_some_and(|confirmed| confirmed.releases.contains(release))
    }

    fn exceeds_limit(&self, census: &Census, direction: Direction) -> bool {
        // Where that alone is too much, as after a mistake, each of thousands that wait is told so without a walk through
        // what went: one more adds at most one to the limit.
        let confirmed = self.confirmed.values().map(|confirmed| confirmed.releases.len() as u64);
        let unconfirmed = census.count(direction).saturating_sub(confirmed.sum());
        if unconfirmed > self.limit_among(census.protected(direction), unconfirmed) {
            return true;
        }
        let opened = self.opened(census, direction);
        // Whoever may write a status may write any number there.
        let inherited = self
            .inherited
            .iter()
            .filter(|inherited| inherited.direction == direction);
        let all = inherited.fold(opened, |opened, inherited| opened.saturating_add(inherited.namespaces));
        all > self.limit_for(census, direction, opened)
    }

    /// How many namespaces are open in that direction of late, or would be if everything went that is wanted. What earlier
    /// processes let go comes on top.
    fn opened(&self, census: &Census, direction: Direction) -> u64 {
        let confirmed = self.confirmed.values().flat_map(|confirmed| &confirmed.releases);
        let confirmed = confirmed.filter(|release| release.direction == direction && census.wants(release));
        let wanted = census.count(direction).saturating_sub(confirmed.count() as u64);
        let recent = self.recent.keys().filter(|(namespace, opened)| {
            let mut wanted_again = census.wanted_in(namespace);
            *opened == direction
                && !wanted_again.any(|release| release.direction == direction && !self.is_confirmed(release))
        });
        wanted + recent.count() as u64
    }

    fn limit_of(&self, census: &Census, direction: Direction) -> u64 {
        self.limit_for(census, direction, self.opened(census, direction))
    }

    /// What earlier processes let go may be isolated again, which nobody knows: it raises no limit.
    fn limit_for(&self, census: &Census, direction: Direction, opened: u64) -> u64 {
        // Who was isolated again since counts once.
        let recent = self.recent.keys().filter(|(_, opened)| *opened == direction);
        let again = recent.filter(|(namespace, _)| census.is_isolated(namespace, direction));
        let protected = census.protected(direction).saturating_sub(again.count() as u64);
        self.limit_among(protected, opened)
    }

    fn limit_among(&self, protected: u64, opened: u64) -> u64 {
        match self.limit {
            MaxUnprotected::Namespaces(namespaces) => namespaces,
            // Only what cannot be read is more.
            MaxUnprotected::Percent(100) => u64::MAX - 1,
            MaxUnprotected::Percent(percent) => {
                let before = protected.saturating_add(opened);
                (before.saturating_mul(u64::from(percent)) / 100).max(1)
            }
        }
    }
}

impl Release {
    /// What is sorted before every release of a namespace.
    fn first_of(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            direction: Direction::Ingress,
            policy_uid: "".into(),
            tier_uid: "".into(),
        }
    }

    fn key(&self) -> (String, Direction) {
        (self.namespace.clone(), self.direction)
    }
}

#[cfg(test)]
mod tests;
