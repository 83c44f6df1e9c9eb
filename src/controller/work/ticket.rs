//! A key in flight, and how that ends.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Shared, now};
use crate::controller::queue::Class;

/// A key in flight. Say how it went with [`Ticket::succeeded`] or [`Ticket::retry`].
///
/// A ticket that is dropped without a word is retried: work that was cancelled, or that panicked,
/// proved nothing.
#[derive(Debug)]
#[must_use = "a ticket that is dropped is retried"]
pub struct Ticket<K: Clone + Eq + Hash> {
    key: K,
    class: Class,
    queued_since: Instant,
    shared: Arc<Shared<K>>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Succeeded,
    /// And not to be tried again before so much time has passed.
    Failed(Class, Duration),
}

impl<K: Clone + Eq + Hash> Ticket<K> {
    pub(super) fn new(key: K, class: Class, queued_since: Instant, shared: Arc<Shared<K>>) -> Self {
        Self {
            key,
            class,
            queued_since,
            shared,
            outcome: Outcome::Failed(class, Duration::ZERO),
        }
    }

    /// What to work on.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// How urgent it is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Since when it waits, retries included.
    pub fn queued_since(&self) -> Instant {
        self.queued_since
    }

    /// Asks for the key again at that time, whatever becomes of this flight.
    pub fn look_again(&self, class: Class, due: Instant) {
        self.shared.state().queue.push(self.key.clone(), class, due, now());
    }

    /// The work is complete: the key's failures are forgotten.
    pub fn succeeded(mut self) {
        self.outcome = Outcome::Succeeded;
    }

    /// The work failed: the key comes back in this class after its back-off.
    pub fn retry(mut self, class: Class) {
        self.outcome = Outcome::Failed(class, Duration::ZERO);
    }

    /// As [`Ticket::retry`], not before this has passed.
    pub fn retry_after(mut self, class: Class, at_least: Duration) {
        self.outcome = Outcome::Failed(class, at_least);
    }
}

impl<K: Clone + Eq + Hash> Drop for Ticket<K> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let now = now();
        match self.outcome {
            Outcome::Succeeded => state.queue.succeeded(&self.key),
            Outcome::Failed(class, at_least) => state.queue.retry(&self.key, class, at_least, now),
        }
        self.shared.call_for_help(&state, now);
    }
}
