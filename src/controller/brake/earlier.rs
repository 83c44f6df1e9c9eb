//! What the statuses of tiers tell of earlier processes, read once, when this one begins to lead.

use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use kube::{Client, ResourceExt};
use tokio::time::Instant;

use super::told::{Told, Unreadable, read};
use super::writing::Writing;
use super::{EARLY, EARLY_LOOK, HELD_LOOK, ReleaseBrake};
use crate::api::Direction;
use crate::api::names::CONFIRM_ANNOTATION;
use crate::controller::consistent_read::list_tiers;
use crate::controller::error::chain;
use crate::controller::queue::back_off;
use crate::policy::brake::{Inherited, RemainingConfirmation};

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
        if let Some(remaining) = told.confirmed {
            let size = (Arc::clone(&remaining.digest), remaining.fingerprints.len());
            persisted.note_confirmed(&uid, Some(size));
            // Otherwise it was taken back since. Another digest may have been made with this one.
            if annotation_of(tier).and_then(RemainingConfirmation::spent).is_some() {
                state.brake.inherit_confirmations([(uid, remaining)]);
            } else {
                state.brake.remember_spent(&uid, &remaining.digest);
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
        persisted.must_write(&uid);
        let mut state = self.state();
        state.brake.inherit(Direction::ALL.map(|direction| Inherited {
            tier_uid: Arc::clone(&uid),
            direction,
            namespaces: u64::MAX,
            until,
            unreadable: Some(name.as_str().into()),
        }));
        let spent = annotation_of(tier).and_then(RemainingConfirmation::spent);
        state.brake.inherit_confirmations(spent.map(|spent| (uid, spent)));
    }
}

fn uid_of(tier: &DynamicObject) -> Arc<str> {
    tier.uid().unwrap_or_default().into()
}

fn annotation_of(tier: &DynamicObject) -> Option<&str> {
    tier.annotations().get(CONFIRM_ANNOTATION).map(String::as_str)
}

#[cfg(test)]
mod tests;
