//! What somebody said is meant: a list, and what of it is still to be done.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Brake, Release};

/// A list that somebody said is meant.
#[derive(Clone, Debug)]
pub(super) struct Confirmed {
    pub(super) digest: Arc<str>,
    /// What of it is still to be done.
    pub(super) releases: BTreeSet<Release>,
}

/// What stands for one release of a list that was confirmed. It is made of the uid of the policy too, which the API server
/// chooses at random: nobody can make one that is in a list already.
pub type Fingerprint = [u8; 8];

/// What of a confirmed list is still to be done, short enough for a status.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemainingConfirmation {
    /// What confirmed it.
    pub digest: Arc<str>,
    /// At most [`RemainingConfirmation::AT_MOST`], however long the list is.
    pub fingerprints: BTreeSet<Fingerprint>,
}

impl RemainingConfirmation {
    /// Both directions of 12,288 namespaces: 256 KiB in base64, where an object may have 1.5 MiB. What is beyond that has
    /// to be confirmed again when a process ends before it is done.
    pub const AT_MOST: usize = 24_576;

    /// Nothing is left, as far as is known. `None` where the annotation cannot have confirmed anything: people write what
    /// they like there.
    pub fn spent(annotation: &str) -> Option<Self> {
        let is_digest = annotation.len() == 16 && annotation.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| Self::nothing_of(&annotation.into()))
    }

    fn nothing_of(digest: &Arc<str>) -> Self {
        Self {
            digest: Arc::clone(digest),
            fingerprints: BTreeSet::new(),
        }
    }
}

/// Of so many tiers it is remembered what was confirmed last, once their annotation is gone.
const REMEMBERED: usize = 256;

/// What was confirmed and taken back, or whose tier the caches lost: the digest confirms nothing any more, should it come back.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent(VecDeque<(Arc<str>, Arc<str>)>);

impl Spent {
    fn remember(&mut self, tier: &Arc<str>, digest: &Arc<str>) {
        self.0.retain(|(known, _)| known != tier);
        self.0.push_back((Arc::clone(tier), Arc::clone(digest)));
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    fn of(&self, tier: &str) -> Option<&Arc<str>> {
        let mut all = self.0.iter();
        all.find(|(known, _)| **known == *tier).map(|(_, digest)| digest)
    }
}

impl Brake {
    /// Was confirmed to a tier, and is not any more.
    pub fn remember_spent(&mut self, tier: &Arc<str>, digest: &Arc<str>) {
        self.spent.remember(tier, digest);
    }

    /// The digest that was confirmed last, whatever is left of it.
    pub(super) fn confirmed_last(&self, tier: &str) -> Option<&Arc<str>> {
        let confirmed = self.confirmed.get(tier).map(|confirmed| &confirmed.digest);
        let inherited = || {
            self.inherited_confirmations
                .get(tier)
                .map(|remaining| &remaining.digest)
        };
        confirmed.or_else(inherited).or_else(|| self.spent.of(tier))
    }

    /// What was confirmed to a tier and is still to be done, for a later process. A confirmation of which nothing is left
    /// is told too: it must not be taken for a new one.
    pub fn remaining_of(&self, tier: &str) -> Option<RemainingConfirmation> {
        let Some(confirmed) = self.confirmed.get(tier) else {
            let spent = || self.spent.of(tier).map(RemainingConfirmation::nothing_of);
            return self.inherited_confirmations.get(tier).cloned().or_else(spent);
        };
        let releases = confirmed.releases.iter().take(RemainingConfirmation::AT_MOST);
        Some(RemainingConfirmation {
            digest: Arc::clone(&confirmed.digest),
            fingerprints: releases.map(Release::fingerprint).collect(),
        })
    }

    /// As [`Self::remaining_of`], the digest and how many releases there are: under one digest what remains only shrinks, so
    /// that these tell one from another.
    pub fn remaining_size(&self, tier: &str) -> Option<(Arc<str>, usize)> {
        let Some(confirmed) = self.confirmed.get(tier) else {
            let remaining = self.remaining_of(tier)?;
            return Some((remaining.digest, remaining.fingerprints.len()));
        };
        Some((Arc::clone(&confirmed.digest), confirmed.releases.len()))
    }
}

impl Release {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(&*self.tier_uid);
        self.put_into(&mut hash);
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(&hash.finalize()[..8]);
        fingerprint
    }

    fn put_into(&self, hash: &mut Sha256) {
        let Self {
            namespace, policy_uid, ..
        } = self;
        hash.update(format!("\n{namespace} {} {policy_uid}", self.direction.as_str()));
    }
}

/// The digest of one tier's list: of the policies that would be deleted, so that it holds for no other occasion, and of the
/// confirmation before it.
pub(super) fn digest_of(tier_uid: &str, releases: &BTreeSet<Release>, earlier: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(tier_uid);
    for release in releases {
        release.put_into(&mut hash);
    }
    if let Some(earlier) = earlier {
        hash.update(format!("\n\n{earlier}"));
    }
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
