//! How much is said about each namespace, in Events and in log lines: whoever may write policies must fill neither the
//! cluster's store nor our memory, nor drown what is said of others.
//!
//! A pure state machine of token buckets: one a namespace, and one for all of them. The last half of the common one is kept
//! for namespaces of which nothing was said lately, so that a crowd of loud ones cannot silence a first word.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::process_clock::ProcessClock;
use crate::telemetry::metrics::DroppedEvent;

/// What one namespace may have said of it at once, and how long it takes for one more.
const OF_A_NAMESPACE: Rate = Rate {
    burst: 20,
    one_more_after: Duration::from_secs(30),
};
/// The same for all namespaces together: a thousand policies that are edited at once are announced one by one; after that,
/// what an hour may add is a few megabytes.
const OF_ALL: Rate = Rate {
    burst: 2 * RESERVED,
    one_more_after: Duration::from_millis(500),
};
/// The part of the common bucket that is kept for namespaces of which nothing was said lately.
const RESERVED: u32 = 500;
/// The most namespaces that are remembered: more than the common bucket lets speak before the first of them are forgotten.
const MOST_REMEMBERED: usize = 4096;

/// The budget. Times are told by a clock that only goes forward.
#[derive(Debug, Default)]
pub(super) struct TalkBudget {
    all: Bucket,
    /// Those of which something was said lately; whoever is not here has a full bucket.
    namespaces: HashMap<String, Bucket>,
}

/// A budget with a clock, to be shared.
#[derive(Debug)]
pub(super) struct SharedTalkBudget {
    budget: Mutex<TalkBudget>,
    clock: ProcessClock,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    one_more_after: Duration,
}

/// A bucket of tokens, kept as the time at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Duration,
}

impl SharedTalkBudget {
    pub(super) fn new() -> Self {
        Self {
            budget: Mutex::default(),
            clock: ProcessClock::start(),
        }
    }

    /// As [`TalkBudget::spend`], now.
    pub(super) fn spend(&self, namespace: &str) -> Result<(), DroppedEvent> {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.spend(namespace, self.clock.now())
    }
}

impl TalkBudget {
    /// Spends one word on a namespace.
    ///
    /// # Errors
    /// Why it must not be said.
    pub(super) fn spend(&mut self, namespace: &str, now: Duration) -> Result<(), DroppedEvent> {
        let own = self.namespaces.get(namespace).copied().unwrap_or_default();
        let spent = own.spend(OF_A_NAMESPACE, 0, now).ok_or(DroppedEvent::Namespace)?;
        let reserved = if own.is_full(now) { 0 } else { RESERVED };
        let all = self.all.spend(OF_ALL, reserved, now).ok_or(DroppedEvent::Total)?;
        if self.namespaces.len() >= MOST_REMEMBERED {
            self.namespaces.retain(|_, bucket| !bucket.is_full(now));
        }
        self.all = all;
        self.namespaces.insert(namespace.to_owned(), spent);
        Ok(())
    }
}

impl Bucket {
    /// The bucket with a token less, if more than `reserved` are in it.
    fn spend(self, rate: Rate, reserved: u32, now: Duration) -> Option<Self> {
        let full_at = self.full_at.max(now) + rate.one_more_after;
        let most = rate.one_more_after * rate.burst.saturating_sub(reserved);
        (full_at <= now + most).then_some(Self { full_at })
    }

    fn is_full(self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests;
