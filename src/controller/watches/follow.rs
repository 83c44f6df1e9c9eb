//! One watch, for ever: its events to whoever handles them, its failures to `/readyz`, and open again.

use std::fmt::Debug;
use std::time::Duration;

use kube::Resource;
use kube::api::Api;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;

use super::Watches;
use super::definition::{definition_ends, ending_tier, may_tell_of_an_end};
use super::list_watch::{Broken, ListWatch, Selection, Step};
use crate::controller::cache::Watched;
use crate::controller::client::readable::{Readable, StandIn};
use crate::controller::error::describe_definition_error;

/// A watch that failed twice is opened again after this, doubled with each further failure in a row.
const REOPEN_AFTER: Duration = Duration::from_millis(200);
/// A failed watch is opened again at the latest after this: while it is closed, nothing heals.
const REOPEN_AFTER_AT_MOST: Duration = Duration::from_secs(2);

impl Watches {
    /// Feeds every event of a watch to `handle`, for ever.
    pub(super) async fn follow<K>(
        &self,
        api: Api<Readable<K>>,
        selection: Selection,
        watched: Watched,
        mut handle: impl FnMut(Event<K>),
    ) where
        K: Resource + Clone + Debug + DeserializeOwned + StandIn + Send + 'static,
    {
        let mut failures = 0_u32;
        let mut resource = ListWatch::new(api, selection);
        let mut went_back = self.went_back.subscribe();
        loop {
            match resource.next_unless(&mut went_back).await {
                // Before the first request: it says nothing of how things are.
                Ok(Step::Event(Event::Init)) => handle(Event::Init),
                // Not the end of the failures: a watch that breaks as soon as it is open is no better than none.
                Ok(Step::Opened) => self.works(watched),
                Ok(Step::Works) => {
                    failures = 0;
                    self.works(watched);
                }
                Ok(Step::Event(event)) => {
                    failures = 0;
                    if watched == Watched::Tiers && (self.cache.definition_ends() || may_tell_of_an_end(&event)) {
                        self.cache.tier_ends(ending_tier(&event));
                        self.read_definition().await;
                    }
                    handle(as_read(event));
                    self.works(watched);
                }
                Err(broken) => {
                    failures = failures.saturating_add(1);
                    self.fails(watched, failures, &broken);
                    tokio::time::sleep(reopen_after(failures, broken.wait_asked_for())).await;
                }
            }
        }
    }

    fn works(&self, watched: Watched) {
        if self.cache.recovered(watched) {
            // The API server was away: what failed meanwhile may be open, and need not wait as long as it was.
            self.namespaces.retry_now();
            self.reporter.retry_now();
        }
        self.metrics
            .cache_synced(watched.label(), self.cache.is_synced(watched));
    }

    fn fails(&self, watched: Watched, failures: u32, broken: &Broken) {
        let description = broken.describe(watched);
        if failures.is_power_of_two() {
            tracing::warn!(watch = watched.label(), failures, "{description}");
        }
        self.cache.failing(watched, description);
        self.metrics.cache_synced(watched.label(), false);
    }

    /// Reads whether the definition of tiers ends, for as long as it takes: until then, a tier that is gone stays.
    async fn read_definition(&self) {
        let mut failures = 0_u32;
        loop {
            let error = match definition_ends(&self.client).await {
                Ok(ends) => {
                    if failures > 0 {
                        self.cache.recovered(Watched::Tiers);
                    }
                    return self.cache.definition_read(ends);
                }
                Err(error) => error,
            };
            failures += 1;
            let description = describe_definition_error(&error);
            if failures.is_power_of_two() {
                tracing::warn!(failures, "{description}");
            }
            self.cache.failing(Watched::Tiers, description);
            self.metrics.cache_synced(Watched::Tiers.label(), false);
            tokio::time::sleep(reopen_after(failures + 1, None)).await;
        }
    }
}

fn as_read<K>(event: Event<Readable<K>>) -> Event<K> {
    match event {
        Event::Init => Event::Init,
        Event::InitApply(Readable(object)) => Event::InitApply(object),
        Event::InitDone => Event::InitDone,
        Event::Apply(Readable(object)) => Event::Apply(object),
        Event::Delete(Readable(object)) => Event::Delete(object),
    }
}

/// At once after one failure; never before the server's own word.
fn reopen_after(failures: u32, asked: Option<Duration>) -> Duration {
    let own = match failures {
        0 | 1 => Duration::ZERO,
        more => REOPEN_AFTER
            .saturating_mul(1 << (more - 2).min(8))
            .min(REOPEN_AFTER_AT_MOST),
    };
    own.max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_opened_again_at_once_and_then_ever_later() {
        let waits: Vec<u128> = (1..=8)
            .map(|failures| reopen_after(failures, None).as_millis())
            .collect();
        assert_eq!(waits, [0, 200, 400, 800, 1600, 2000, 2000, 2000]);
        assert_eq!(reopen_after(u32::MAX, None), REOPEN_AFTER_AT_MOST);
    }

    #[test]
    fn the_server_says_how_long_to_wait_at_least() {
        assert_eq!(reopen_after(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(reopen_after(9, Some(Duration::from_secs(1))), REOPEN_AFTER_AT_MOST);
    }
}
