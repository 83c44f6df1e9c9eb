//! What the status of a tier tells of releases, for a later process: as it is written, and as it is read again.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{ConfirmedReleases, Direction, RecentReleases};
use crate::policy::brake::{Brake, Fingerprint, Rest, WINDOW};

/// More namespaces than any cluster has: whoever writes a higher number into a status did not count.
const NAMESPACES_AT_MOST: i64 = 1_000_000;

/// So long after the status told of it a release is answered for: its word holds 15 s, the look before the deletion 5 s, and
/// the answer takes up to 10 s; waiting for that word takes a quarter of a second, and the status tells no fractions of one. It
/// counts from that answer, of which the status does not tell. (A deletion that nobody answered may be carried out later still.)
const MADE_WITHIN: Duration = Duration::from_secs(32);

/// What one tier's status says.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) releases: Vec<(Direction, u64)>,
    /// For how long that still counts.
    pub(super) left: Duration,
    pub(super) confirmed: Option<Rest>,
}

/// What no controller can have counted.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) why: String,
    /// For how long that still counts. Its time is read where there is one: what a controller writes of a status that it cannot
    /// read has the time of that, so that no restart makes it count for longer.
    pub(super) left: Duration,
}

/// `now` is what the places in the window are counted by.
pub(super) fn releases_of(brake: &Brake, tier_uid: &str, now: Duration) -> Value {
    let counts = brake.recent_of(tier_uid);
    let count = |direction| {
        let count = counts.get(&direction).copied().unwrap_or_default();
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    // What is not known counts from when it was, however often that is written.
    let left = brake.unreadable_until(tier_uid).map(|until| until.saturating_sub(now));
    let age = left.map_or(Duration::ZERO, told_for);
    let latest = Timestamp::now().saturating_sub(SignedDuration::try_from(age).unwrap_or_default());
    let releases = RecentReleases {
        ingress: count(Direction::Ingress),
        egress: count(Direction::Egress),
        latest_time: Time(latest.unwrap_or_default()),
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

/// # Errors
/// Why it cannot be what a controller counted.
pub(super) fn read(releases: &Value, now: Timestamp) -> Result<Told, Unreadable> {
    if releases.is_null() {
        return Ok(Told::default());
    }
    let releases = RecentReleases::deserialize(releases).map_err(|error| Unreadable {
        why: error.to_string(),
        left: WINDOW,
    })?;
    // A clock that was ahead makes it count for longer, but for no longer than from now on.
    let age = Duration::try_from(now.duration_since(releases.latest_time.0)).unwrap_or_default();
    let left = (WINDOW + MADE_WITHIN).saturating_sub(age).min(WINDOW);
    let unreadable = |why| Unreadable { why, left };
    let confirmed = releases.confirmed.map(rest).transpose().map_err(unreadable)?;
    if left.is_zero() {
        return Ok(Told {
            confirmed,
            ..Told::default()
        });
    }
    let count = |direction: Direction, namespaces: i64| {
        let possible = (0..=NAMESPACES_AT_MOST).contains(&namespaces);
        let expected = format!("expected 0 to {NAMESPACES_AT_MOST} namespaces, found {namespaces}");
        let namespaces = u64::try_from(namespaces).ok().filter(|_| possible);
        namespaces
            .map(|namespaces| (direction, namespaces))
            .ok_or_else(|| unreadable(expected))
    };
    Ok(Told {
        releases: vec![
            count(Direction::Ingress, releases.ingress)?,
            count(Direction::Egress, releases.egress)?,
        ],
        left,
        confirmed,
    })
}

fn rest(confirmed: ConfirmedReleases) -> Result<Rest, String> {
    let (fingerprints, left_over) = confirmed.remaining.0.as_chunks::<{ size_of::<Fingerprint>() }>();
    if !left_over.is_empty() {
        return Err(format!(
            "expected confirmed.remaining to be {} bytes for each release, found {} bytes",
            size_of::<Fingerprint>(),
            confirmed.remaining.0.len()
        ));
    }
    Ok(Rest {
        digest: confirmed.digest.into(),
        fingerprints: fingerprints.iter().copied().collect(),
    })
}

/// For how long the status told of releases that count for so long yet.
fn told_for(left: Duration) -> Duration {
    (WINDOW + MADE_WITHIN).saturating_sub(left)
}

#[cfg(test)]
mod tests;
