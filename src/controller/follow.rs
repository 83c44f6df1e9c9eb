//! One watch, for ever: its events to whoever handles them, its failures to `/readyz`, and open again.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::Resource;
use kube::api::Api;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;

use super::cache::Watched;
use super::definition::{definition_ends, ending_tier, may_tell_of_an_end};
use super::error::{describe_definition_error, describe_watch_error};
use super::readable::Readable;
use super::watches::Watches;

/// A failed watch is opened again after this, doubled with each failure in a row.
const REOPEN_AFTER: Duration = Duration::from_millis(200);
/// A failed watch is opened again at the latest after this: while it is closed, nothing heals.
const REOPEN_AFTER_AT_MOST: Duration = Duration::from_secs(2);

impl Watches {
    /// Feeds every event of a watch to `handle`, for ever.
    pub(super) async fn follow<K>(
        &self,
        api: Api<Readable<K>>,
        config: watcher::Config,
        watched: Watched,
        mut handle: impl FnMut(Event<K>),
    ) where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    {
        let mut failures = 0_u32;
        loop {
            let mut events = pin!(watcher(api.clone(), config.clone()));
            while let Some(event) = events.next().await {
                let error = match event {
                    Ok(event) => {
                        // `Init` comes before the request is made: it is no sign that the watch works.
                        if !matches!(event, Event::Init) {
                            failures = 0;
                            self.cache.recovered(watched);
                        }
                        if watched == Watched::Tiers && (self.cache.definition_ends() || may_tell_of_an_end(&event)) {
                            self.cache.tier_ends(ending_tier(&event));
                            self.read_definition().await;
                        }
                        handle(as_read(event));
                        self.metrics
                            .cache_synced(watched.label(), failures == 0 && self.cache.is_synced(watched));
                        continue;
                    }
                    Err(error) => error,
                };
                let description = describe_watch_error(watched, &error);
                failures = failures.saturating_add(1);
                if failures.is_power_of_two() {
                    tracing::warn!(watch = watched.label(), failures, "{description}");
                }
                self.cache.failing(watched, description);
                self.metrics.cache_synced(watched.label(), false);
                tokio::time::sleep(reopen_after(failures)).await;
                if is_expired_at_start(&error) {
                    // The watcher would ask for the same expired version for ever: list anew.
                    break;
                }
            }
        }
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
            tokio::time::sleep(reopen_after(failures)).await;
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

fn reopen_after(failures: u32) -> Duration {
    REOPEN_AFTER
        .saturating_mul(1 << failures.saturating_sub(1).min(8))
        .min(REOPEN_AFTER_AT_MOST)
}

fn is_expired_at_start(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}
