//! What the status of a tier tells of releases, for a later process: as it is written, and as it is read again.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::SELDOM_LOOK;
use crate::api::{ConfirmedReleases, Direction, RecentReleases};
use crate::controller::client::REQUEST_DEADLINE;
use crate::controller::consistent_read::CONSISTENT_READ_HOLDS;
use crate::controller::tier_writer::WRITING_RELEASES_TAKES;
use crate::policy::brake::{Brake, Fingerprint, RemainingConfirmation, WINDOW};

/// More namespaces than any cluster has: whoever writes a higher number into a status did not count.
const NAMESPACES_AT_MOST: i64 = 1_000_000;

/// What a status tells of lets releases go for so long after it was counted. Longer than writing it takes, and than who waited
/// for it looks away, so that it lets go whoever waited, however late it lands.
pub(super) const WORD_HOLDS: Duration = WRITING_RELEASES_TAKES
    .saturating_add(SELDOM_LOOK)
    .saturating_add(Duration::from_secs(2));

/// So long after the status told of it a release is made at most: on a word that holds, after a read that does, by a deletion
/// that is answered; the answer begins when it is made, however long its end takes. (One that nobody answered may be carried out
/// later still.) Two seconds more, since a worker waits for one word of several after the other, and the status tells no
/// fractions of a second.
const MADE_WITHIN: Duration = WORD_HOLDS
    .saturating_add(CONSISTENT_READ_HOLDS)
    .saturating_add(REQUEST_DEADLINE)
    .saturating_add(Duration::from_secs(2));

/// What one tier's status says.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) releases: Vec<(Direction, u64)>,
    /// For how long that still counts.
    pub(super) left: Duration,
    pub(super) confirmed: Option<RemainingConfirmation>,
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
    releases["confirmed"] = json!(brake.remaining_of(tier_uid).map(confirmed_releases));
    releases
}

fn confirmed_releases(remaining: RemainingConfirmation) -> ConfirmedReleases {
    let fingerprints: Vec<_> = remaining.fingerprints.into_iter().collect();
    ConfirmedReleases {
        digest: remaining.digest.to_string(),
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
    let confirmed = releases
        .confirmed
        .map(remaining_confirmation)
        .transpose()
        .map_err(unreadable)?;
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

fn remaining_confirmation(confirmed: ConfirmedReleases) -> Result<RemainingConfirmation, String> {
    let (fingerprints, left_over) = confirmed.remaining.0.as_chunks::<{ size_of::<Fingerprint>() }>();
    if !left_over.is_empty() {
        return Err(format!(
            "expected confirmed.remaining to be {} bytes for each release, found {} bytes",
            size_of::<Fingerprint>(),
            confirmed.remaining.0.len()
        ));
    }
    Ok(RemainingConfirmation {
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
