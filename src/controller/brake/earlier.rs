//! What the statuses of tiers tell of earlier processes, read once, when this one begins to lead.

use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::persisted::Writing;
use super::{EARLY, EARLY_LOOK, HELD_LOOK, ReleaseBrake};
use crate::api::names::CONFIRM_ANNOTATION;
use crate::api::{ConfirmedReleases, Direction, RecentReleases};
use crate::controller::consistent_read::list_tiers;
use crate::controller::error::chain;
use crate::controller::queue::back_off;
use crate::policy::brake::{Fingerprint, Inherited, Rest, WINDOW};

/// More namespaces than any cluster has: whoever writes a higher number into a status did not count.
const NAMESPACES_AT_MOST: i64 = 1_000_000;

/// So long after the status told of it a release is answered for: its word holds 15 s, the look before the deletion 5 s, and
/// the answer takes up to 10 s; waiting for that word takes a quarter of a second, and the status tells no fractions of one. It
/// counts from that answer, of which the status does not tell. (A deletion that nobody answered may be carried out later still.)
const MADE_WITHIN: Duration = Duration::from_secs(32);

/// What one tier's status says.
#[derive(Debug, Default)]
struct Told {
    releases: Vec<(Direction, u64)>,
    /// For how long that still counts.
    left: Duration,
    confirmed: Option<Rest>,
}

/// What no controller can have counted.
#[derive(Debug)]
struct Unreadable {
    why: String,
    /// For how long that still counts. Its time is read where there is one: what a controller writes of a status that it cannot
    /// read has the time of that, so that no restart makes it count for longer.
    left: Duration,
}

impl ReleaseBrake {
    /// Reads what earlier processes let go and were told. From the API server and not from the cache, which may be behind
    /// what the last leader wrote; and as often as it takes, since nothing goes before. Does not end.
    pub(in crate::controller) async fn learn_of_earlier_processes(self: Arc<Self>, client: Client) {
        let mut failures = 0_u32;
        let tiers = loop {
            match list_tiers(&client).await {
                Ok(tiers) => break tiers,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures.is_power_of_two() {
                        tracing::warn!(
                            failures,
                            "cannot list isolationtiers for what earlier processes released: {}; until then nothing is released",
                            chain(&error)
                        );
                    }
                    self.set_why_not_learned(Some(chain(&error)));
                    let wait = back_off(&"isolationtiers", failures);
                    let _ = tokio::time::timeout(wait, self.learn_now.notified()).await;
                }
            }
        };
        self.inherit_from(&tiers).await;
        self.set_why_not_learned(None);
        // A task that ends would end the process.
        pending().await
    }

    /// Waits until that is known.
    pub(in crate::controller) async fn learned(&self) {
        // The sender lives in self, so this cannot fail.
        let _ = self.learned.subscribe().wait_for(|learned| *learned).await;
    }

    pub(in crate::controller) fn has_learned(&self) -> bool {
        *self.learned.borrow()
    }

    /// What kept it from being known may have ended: whoever waits to ask again asks at once.
    pub(in crate::controller) fn learn_now(&self) {
        if !self.has_learned() {
            self.learn_now.notify_waiters();
        }
    }

    /// What could not be read, for `/readyz`; nothing while it is read for the first time, or is known.
    pub(in crate::controller) fn why_not_learned(&self) -> Option<String> {
        let why = self.cannot_learn.lock().unwrap_or_else(PoisonError::into_inner);
        let why = why.as_ref()?;
        Some(format!(
            "what earlier processes released, without which nothing is released: cannot list isolationtiers: {why}"
        ))
    }

    fn set_why_not_learned(&self, why: Option<String>) {
        *self.cannot_learn.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// When a release that waits for it is looked at again.
    pub(super) fn early_look(&self) -> Duration {
        let waits_since = self.waits_since.get_or_init(Instant::now);
        if waits_since.elapsed() < EARLY {
            EARLY_LOOK
        } else {
            HELD_LOOK
        }
    }

    pub(super) async fn inherit_from(&self, tiers: &[DynamicObject]) {
        let mut persisted = self.persisted.lock().await;
        for tier in tiers {
            match read(&tier.data["status"]["releases"], Timestamp::now()) {
                Ok(told) => self.inherit(tier, told, &mut persisted),
                Err(unreadable) => self.inherit_unreadable(tier, &unreadable, &mut persisted),
            }
        }
        self.learned.send_replace(true);
    }

    fn inherit(&self, tier: &DynamicObject, told: Told, persisted: &mut Writing) {
        let (uid, until) = (uid_of(tier), self.began.elapsed() + told.left);
        let mut state = self.state();
        let releases = told.releases.into_iter().filter(|(_, namespaces)| *namespaces > 0);
        state.brake.inherit(releases.map(|(direction, namespaces)| Inherited {
            tier_uid: Arc::clone(&uid),
            direction,
            namespaces,
            until,
            unreadable: None,
        }));
        if let Some(rest) = told.confirmed {
            persisted.knows(&uid, Some((Arc::clone(&rest.digest), rest.fingerprints.len())));
            // Otherwise it was taken back since. Another digest may have been made with this one.
            if annotation_of(tier).and_then(Rest::spent).is_some() {
                state.brake.inherit_confirmations([(uid, rest)]);
            } else {
                state.brake.remember_spent(&uid, &rest.digest);
            }
        }
    }

    /// More than any limit went, and what was confirmed is done.
    fn inherit_unreadable(&self, tier: &DynamicObject, unreadable: &Unreadable, persisted: &mut Writing) {
        let Unreadable { why, left } = unreadable;
        let (uid, name, until) = (uid_of(tier), tier.name_any(), self.began.elapsed() + *left);
        tracing::error!(
            tier = name,
            "status.releases does not tell what was released: {why}; for {} seconds nothing is released without a \
             confirmation",
            left.as_secs()
        );
        persisted.owes(&uid);
        let mut state = self.state();
        state.brake.inherit(Direction::ALL.map(|direction| Inherited {
            tier_uid: Arc::clone(&uid),
            direction,
            namespaces: u64::MAX,
            until,
            unreadable: Some(name.as_str().into()),
        }));
        let spent = annotation_of(tier).and_then(Rest::spent);
        state.brake.inherit_confirmations(spent.map(|spent| (uid, spent)));
    }
}

/// For how long the status told of releases that count for so long yet.
pub(super) fn told_for(left: Duration) -> Duration {
    (WINDOW + MADE_WITHIN).saturating_sub(left)
}

fn uid_of(tier: &DynamicObject) -> Arc<str> {
    tier.uid().unwrap_or_default().into()
}

fn annotation_of(tier: &DynamicObject) -> Option<&str> {
    tier.annotations().get(CONFIRM_ANNOTATION).map(String::as_str)
}

/// # Errors
/// Why it cannot be what a controller counted.
fn read(releases: &Value, now: Timestamp) -> Result<Told, Unreadable> {
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

#[cfg(test)]
mod tests;
