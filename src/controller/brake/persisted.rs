//! What outlives the process: before a release is made, the status of its tier says that it is, and what was confirmed. A
//! controller that starts counts what it finds there, so that no loop of crashes opens more than the limit, and goes on with
//! what was confirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::ReleaseBrake;
use crate::api::{ConfirmedReleases, Direction, RecentReleases};
use crate::controller::patience::Patience;
use crate::controller::tier_writer::{Landed, TierWriter};
use crate::policy::brake::{Brake, Grant, Rest};
use crate::policy::record::Failure;
use crate::policy::{TierIdentity, words};

/// What is written. Whoever writes has the lock: the others find their release in what was written, and the last one
/// written is the latest.
pub(super) type Persisted = Mutex<Writing>;

/// When so many tiers are gone that the cache still shows, it is waited for: the others wait for whoever asks one after the
/// other.
const GONE_AT_MOST: usize = 3;

/// The digest of a confirmation and how many of its releases are still to be done.
type SizeOfRest = (Arc<str>, usize);

#[derive(Debug, Default)]
pub(super) struct Writing {
    /// Up to when each tier's status tells of the releases, by the tier's uid.
    until: BTreeMap<Arc<str>, Duration>,
    /// What each tier's status tells of what was confirmed.
    confirmed: BTreeMap<Arc<str>, SizeOfRest>,
    /// Whose status has to be written although nothing is released.
    owed: BTreeSet<Arc<str>>,
    /// What failed last of each tier, and when. Who waited for it need not try too: each would take as long, one after the other, and
    /// every worker might be among them.
    failed: BTreeMap<Arc<str>, (Duration, Failure)>,
}

impl Writing {
    /// This is what the status tells.
    pub(super) fn knows(&mut self, tier_uid: &Arc<str>, rest: Option<SizeOfRest>) {
        match rest {
            Some(rest) => _ = self.confirmed.insert(Arc::clone(tier_uid), rest),
            None => _ = self.confirmed.remove(tier_uid),
        }
    }

    /// The status has to be written.
    pub(super) fn owes(&mut self, tier_uid: &Arc<str>) {
        self.owed.insert(Arc::clone(tier_uid));
    }

    fn tells_of(&self, grant: &Grant, brake: &Brake) -> bool {
        let tier_uid = &grant.release.tier_uid;
        match grant.takes_a_place() {
            Some(granted_at) => self.until.get(tier_uid).is_some_and(|until| *until >= granted_at),
            // Under one digest what was written holds all that is left.
            None => {
                let digest = |size: &SizeOfRest| Arc::clone(&size.0);
                self.confirmed.get(tier_uid).map(digest) == brake.size_of_rest(tier_uid).as_ref().map(digest)
            }
        }
    }
}

impl ReleaseBrake {
    /// Writes down that these releases are about to be made.
    ///
    /// # Errors
    /// When that could not be written; then they must not be made.
    pub(in crate::controller) async fn write_down(&self, tiers: &TierWriter, grants: &[Grant]) -> Result<(), Failure> {
        for grant in grants {
            let waits_since = self.began.elapsed();
            let mut persisted = self.persisted.lock().await;
            if persisted.tells_of(grant, &self.state().brake) {
                continue;
            }
            self.hand_on(&mut persisted);
            let tier_uid = &grant.release.tier_uid;
            self.write_where_it_stays(&mut persisted, tiers, tier_uid, waits_since)
                .await?;
        }
        Ok(())
    }

    /// A tier that turns out to be gone is told of by the next. Where there is none at all nobody can tell of it beyond this
    /// process.
    async fn write_where_it_stays(
        &self,
        persisted: &mut Writing,
        tiers: &TierWriter,
        tier_uid: &Arc<str>,
        waits_since: Duration,
    ) -> Result<(), Failure> {
        let own = self.cache.tier_of_uid(tier_uid);
        let heirs = self.heirs().into_iter().filter(|heir| heir.uid != *tier_uid);
        let mut gone: Vec<Arc<str>> = Vec::new();
        for tier in own.into_iter().chain(heirs) {
            if gone.len() == GONE_AT_MOST {
                return Err(all_gone());
            }
            if let Some((at, failure)) = persisted.failed.get(&tier.uid)
                && *at >= waits_since
            {
                return Err(failure.clone());
            }
            for gone in &gone {
                self.state().brake.hand_on(gone, &tier.uid);
            }
            match self.write(persisted, tiers, &tier).await? {
                Landed::Gone => gone.push(Arc::clone(&tier.uid)),
                Landed::Yes | Landed::Conflict => return Ok(()),
            }
        }
        Ok(())
    }

    /// Writes down what was confirmed and what of that is still to be done, and has another tier tell what one released that
    /// is gone since. What fails is tried again when the tier's patience ends.
    pub(in crate::controller) async fn tend(&self, tiers: &TierWriter, patience: &mut Patience) {
        let mut persisted = self.persisted.lock().await;
        self.hand_on(&mut persisted);
        for known in self.cache.tiers() {
            let tier = known.parsed.identity();
            let differs = persisted.confirmed.get(&tier.uid) != self.state().brake.size_of_rest(&tier.uid).as_ref();
            let owes = differs || persisted.owed.contains(&tier.uid);
            if !owes {
                patience.succeeded(&tier.uid);
            }
            if !owes || !patience.may_try(&tier.uid) {
                continue;
            }
            match self.write(&mut persisted, tiers, tier).await {
                Ok(_) => patience.succeeded(&tier.uid),
                Err(failure) => patience.failed(&tier.uid, &tier.name, &failure),
            }
        }
    }

    /// What is known of a tier that is gone is told by another.
    fn hand_on(&self, persisted: &mut Writing) {
        let gone = |uid: &Arc<str>| self.cache.tier_of_uid(uid).is_none();
        persisted.confirmed.retain(|uid, _| !gone(uid));
        persisted.owed.retain(|uid| !gone(uid));
        persisted.failed.retain(|uid, _| !gone(uid));
        let mut state = self.state();
        let orphans: Vec<_> = state.brake.tiers_of_late().into_iter().filter(gone).collect();
        let Some(heir) = self.heir().filter(|_| !orphans.is_empty()) else {
            return;
        };
        for orphan in orphans {
            state.brake.hand_on(&orphan, &heir.uid);
        }
        persisted.owes(&heir.uid);
    }

    /// The first tier that stays.
    fn heir(&self) -> Option<Arc<TierIdentity>> {
        self.heirs().into_iter().next()
    }

    fn heirs(&self) -> Vec<Arc<TierIdentity>> {
        let tiers = self.cache.tiers().into_iter();
        let identities = tiers.map(|known| Arc::clone(known.parsed.identity()));
        identities.filter(|identity| !identity.terminating).collect()
    }

    async fn write(&self, persisted: &mut Writing, tiers: &TierWriter, tier: &TierIdentity) -> Result<Landed, Failure> {
        let now = self.began.elapsed();
        let (releases, rest) = {
            let state = self.state();
            (
                releases_of(&state.brake, &tier.uid),
                state.brake.size_of_rest(&tier.uid),
            )
        };
        let written = tiers.write_status(tier, json!({"releases": releases})).await;
        match written.and_then(|landed| refuse_conflict(landed, tier)) {
            Ok(Landed::Yes) => {
                persisted.until.insert(Arc::clone(&tier.uid), now);
                persisted.owed.remove(&tier.uid);
                persisted.knows(&tier.uid, rest);
                Ok(Landed::Yes)
            }
            Ok(landed) => Ok(landed),
            Err(failure) => {
                let failed = (self.began.elapsed(), failure.clone());
                persisted.failed.insert(Arc::clone(&tier.uid), failed);
                Err(failure)
            }
        }
    }
}

fn all_gone() -> Failure {
    Failure {
        reason: words::REQUEST_FAILED,
        message: format!(
            "releases in the status of an IsolationTier: {GONE_AT_MOST} of them are gone; it is tried again"
        ),
        retry_after: None,
    }
}

/// A conflict does not say that the tier is gone: others wrote it again and again meanwhile.
fn refuse_conflict(landed: Landed, tier: &TierIdentity) -> Result<Landed, Failure> {
    match landed {
        Landed::Conflict => Err(Failure {
            reason: words::REQUEST_FAILED,
            message: format!(
                "releases in the status of IsolationTier {}: it was changed meanwhile; it is tried again",
                tier.name
            ),
            retry_after: None,
        }),
        Landed::Yes | Landed::Gone => Ok(landed),
    }
}

pub(super) fn releases_of(brake: &Brake, tier_uid: &str) -> Value {
    let counts = brake.recent_of(tier_uid);
    let count = |direction| {
        let count = counts.get(&direction).copied().unwrap_or_default();
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    let releases = RecentReleases {
        ingress: count(Direction::Ingress),
        egress: count(Direction::Egress),
        latest_time: Time(Timestamp::now()),
        confirmed: None,
    };
    let mut releases = json!(releases);
    // Named also where there is none: a merge patch keeps what it does not name.
    releases["confirmed"] = json!(brake.rest_of(tier_uid).map(confirmed_releases));
    releases
}

fn confirmed_releases(rest: Rest) -> ConfirmedReleases {
    let fingerprints: Vec<_> = rest.fingerprints.into_iter().collect();
    ConfirmedReleases {
        digest: rest.digest.to_string(),
        remaining: ByteString(fingerprints.concat()),
    }
}

#[cfg(test)]
pub(super) mod tests;
