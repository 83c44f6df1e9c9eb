//! What outlives the process: before a release is made, the status of its tier says that it is. A controller that starts
//! counts what it finds there, so that no loop of crashes opens more than the limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::ReleaseBrake;
use crate::api::{Direction, RecentReleases};
use crate::controller::tier_writer::{Landed, TierWriter};
use crate::policy::brake::{Grant, Inherited, WINDOW};
use crate::policy::record::Failure;
use crate::policy::{TierIdentity, words};

/// What is written. Whoever writes has the lock: the others find their release in what was written, and the last one
/// written is the latest.
pub(super) type Persisted = Mutex<Writing>;

#[derive(Debug, Default)]
pub(super) struct Writing {
    /// Up to when each tier's status tells of the releases, by the tier's uid.
    until: BTreeMap<Arc<str>, Duration>,
    /// What failed last, and when. Who waited for it need not try too: each would take as long, one after the other, and
    /// every worker might be among them.
    failed: Option<(Duration, Failure)>,
}

impl ReleaseBrake {
    /// Writes down that these releases are about to be made.
    ///
    /// # Errors
    /// When that could not be written; then they must not be made.
    pub(in crate::controller) async fn write_down(&self, tiers: &TierWriter, grants: &[Grant]) -> Result<(), Failure> {
        for (tier_uid, granted_at) in grants.iter().filter_map(Grant::takes_a_place) {
            let waits_since = self.began.elapsed();
            let mut persisted = self.persisted.lock().await;
            if persisted.until.get(tier_uid).is_some_and(|until| *until >= granted_at) {
                continue;
            }
            if let Some((at, failure)) = &persisted.failed
                && *at >= waits_since
            {
                return Err(failure.clone());
            }
            // A tier that is gone by now has no status; what it released is not remembered beyond this process.
            let Some(tier) = self.cache.tier_of_uid(tier_uid) else {
                continue;
            };
            let now = self.began.elapsed();
            let releases = releases_of(&self.state().brake.recent_of(tier_uid));
            let written = tiers.write_status(&tier, json!({"releases": releases})).await;
            match written.and_then(|landed| refuse_conflict(landed, &tier)) {
                Ok(Landed::Yes) => _ = persisted.until.insert(Arc::clone(tier_uid), now),
                Ok(_) => {}
                Err(failure) => {
                    persisted.failed = Some((self.began.elapsed(), failure.clone()));
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    /// What the statuses tell of earlier processes. `now` is of the brake's clock.
    pub(super) fn found_at_the_start(&self, now: Duration) -> Vec<Inherited> {
        let tiers = self.cache.tiers();
        let found = tiers.iter().filter_map(|known| {
            let releases = RecentReleases::deserialize(known.status.get("releases")?).ok()?;
            let age = Timestamp::now().duration_since(releases.latest_time.0);
            // A clock that was ahead makes it count for longer, but for no longer than from now on.
            let age = Duration::try_from(age).unwrap_or_default();
            let left = WINDOW.checked_sub(age).filter(|left| !left.is_zero())?;
            let of = |(direction, namespaces): (Direction, i64)| Inherited {
                tier_uid: Arc::clone(&known.parsed.identity().uid),
                direction,
                namespaces: u64::try_from(namespaces).unwrap_or_default(),
                until: now + left,
            };
            Some(
                [
                    (Direction::Ingress, releases.ingress),
                    (Direction::Egress, releases.egress),
                ]
                .map(of),
            )
        });
        found.flatten().filter(|inherited| inherited.namespaces > 0).collect()
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

fn releases_of(counts: &BTreeMap<Direction, u64>) -> RecentReleases {
    let count = |direction| {
        let count = counts.get(&direction).copied().unwrap_or_default();
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    RecentReleases {
        ingress: count(Direction::Ingress),
        egress: count(Direction::Egress),
        latest_time: Time(Timestamp::now()),
    }
}

#[cfg(test)]
mod tests;
