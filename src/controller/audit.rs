//! The audit: now and then every namespace is planned again from the caches, so that a difference is found whatever
//! became of the event that should have told of it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::cache::Cache;
use super::queue::Class;
use super::random::random_fraction;
use super::work::WorkQueue;

/// The first audit comes at the latest after this: a fresh process has planned everything anyway, and the alert on
/// audits that do not come waits for 15 minutes.
const FIRST_AT_THE_LATEST: Duration = Duration::from_secs(600);
/// Between one namespace and the next. To plan one that is right takes some 20 microseconds, so an audit leaves nearly
/// all of the processor to others.
const PACE: Duration = Duration::from_millis(1);

/// Which namespaces the audit that is under way has still to see planned, and when the last one was complete.
#[derive(Debug, Default)]
pub(super) struct Audit {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    round: Option<Round>,
    last_complete: Option<SystemTime>,
}

#[derive(Debug)]
struct Round {
    began: Instant,
    left: HashSet<String>,
}

impl Audit {
    /// Audits every `interval`, for ever.
    pub(super) async fn run(&self, cache: Arc<Cache>, namespaces: WorkQueue<String>, interval: Duration) {
        let first = interval.min(FIRST_AT_THE_LATEST);
        let mut next = tokio::time::Instant::now() + first.mul_f64(random_fraction());
        loop {
            tokio::time::sleep_until(next).await;
            next += interval;
            let names: Vec<String> = cache.namespaces().iter().map(|known| known.name.clone()).collect();
            tracing::debug!(namespaces = names.len(), "audit begins");
            let now = tokio::time::Instant::now().into_std();
            self.begins(&names, Instant::now());
            for (name, due) in spread(names, now, interval) {
                namespaces.push(name, Class::Audit, due);
            }
        }
    }

    /// When the last audit was complete, which is when the last of its namespaces had been planned.
    pub(super) fn last_complete(&self) -> Option<SystemTime> {
        self.state().last_complete
    }

    /// A namespace was planned, or is gone, as it was seen at `looked_at` or later.
    pub(super) fn planned(&self, namespace: &str, looked_at: Instant) {
        let mut state = self.state();
        let Some(round) = state.round.as_mut().filter(|round| looked_at >= round.began) else {
            return;
        };
        round.left.remove(namespace);
        if round.left.is_empty() {
            state.complete();
        }
    }

    /// What an earlier audit did not come to is this one's to see.
    fn begins(&self, namespaces: &[String], now: Instant) {
        let mut state = self.state();
        let left: HashSet<String> = namespaces.iter().cloned().collect();
        let is_complete = left.is_empty();
        state.round = Some(Round { began: now, left });
        if is_complete {
            state.complete();
        }
    }

    /// The state is consistent between any two statements, so a panic elsewhere is no reason to stop.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn complete(&mut self) {
        if let Some(round) = self.round.take() {
            tracing::debug!(took = ?round.began.elapsed(), "audit complete");
        }
        self.last_complete = Some(SystemTime::now());
    }
}

/// One after the other, and all of them in the first half of the interval.
fn spread(names: Vec<String>, now: Instant, interval: Duration) -> impl Iterator<Item = (String, Instant)> {
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX).max(1);
    let pace = PACE.min(interval / 2 / count);
    (0_u32..)
        .zip(names)
        .map(move |(index, name)| (name, now + pace * index))
}

#[cfg(test)]
mod tests;
