//! What outlives the process: before a release is made, the status of its tier says that it is. A controller that starts
//! counts what it finds there, so that no loop of crashes opens more than the limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::ReleaseBrake;
use crate::api::names::{API_VERSION, FIELD_MANAGER, TIER_KIND};
use crate::api::{Direction, IsolationTier, RecentReleases};
use crate::controller::client::within_deadline;
use crate::controller::error::WriteError;
use crate::controller::readable::Readable;
use crate::policy::TierIdentity;
use crate::policy::brake::{Grant, Inherited, WINDOW};
use crate::policy::record::Failure;
use crate::policy::words;

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
    pub(in crate::controller) async fn write_down(&self, client: &Client, grants: &[Grant]) -> Result<(), Failure> {
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
            let counts = self.state().brake.recent_of(tier_uid);
            match write(client, &tier, &counts).await {
                Ok(true) => _ = persisted.until.insert(Arc::clone(tier_uid), now),
                Ok(false) => {}
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

/// Returns whether the tier is still there. A conflict says nothing of that: others wrote it again and again meanwhile.
async fn write(client: &Client, tier: &TierIdentity, counts: &BTreeMap<Direction, u64>) -> Result<bool, Failure> {
    let count = |direction| {
        let count = counts.get(&direction).copied().unwrap_or_default();
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    let releases = RecentReleases {
        ingress: count(Direction::Ingress),
        egress: count(Direction::Egress),
        latest_time: Time(Timestamp::now()),
    };
    let patch = json!({
        "apiVersion": API_VERSION,
        "kind": TIER_KIND,
        "metadata": {"uid": &*tier.uid},
        "status": {"releases": releases},
    });
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = Api::<Readable<DynamicObject>>::all_with(client.clone(), &ApiResource::erase::<IsolationTier>(&()));
    match within_deadline(api.patch_status(&tier.name, &parameters, &Patch::Merge(patch))).await {
        Ok(_) => Ok(true),
        Err(error) => {
            let what = format!("releases in the status of IsolationTier {}", tier.name);
            let is_gone = matches!(&error, kube::Error::Api(status) if status.code == 404);
            match WriteError::of(error, &what) {
                WriteError::Failed(failure) => Err(failure),
                _ if is_gone => Ok(false),
                _ => Err(Failure {
                    reason: words::REQUEST_FAILED,
                    message: format!("{what}: it was changed meanwhile; it is tried again"),
                    retry_after: None,
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests;
