//! One resource, step by step: list all of it, watch from there, and watch on or list anew where that ended.
//!
//! kube's `watcher` does the same and keeps to itself what matters here: when a watch is open again, that one was silent
//! for too long, and that one ends again and again. Nor does it bound the body of a list.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::controller::client::within_deadline;
use crate::controller::resource_version::is_older;

use super::page_size::PageSize;

/// After this the API server ends a watch, as it was asked to: one that is still open well after that is dead, and
/// nothing else would tell. Bookmarks would come once a minute, where they come at all.
pub(super) const WATCH_DURATION: Duration = Duration::from_secs(60);
/// How much later or earlier than asked for the end may come.
const TOLERANCE: Duration = Duration::from_secs(5);

/// After so many attempts in a row to open a watch that nothing answered, all is listed anew: API servers that were away may
/// have come back with an etcd that was restored from a backup, and a watch from a version that is yet to come is silent.
const UNANSWERED: u32 = 2;

/// Which objects of the resource.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// A label selector, as the API server reads it.
    pub(super) labels: Option<String>,
    /// A field selector, as the API server reads it.
    pub(super) fields: Option<String>,
}

/// What happened next.
#[derive(Debug)]
pub(super) enum Step<K> {
    /// The next event; `Init` to `InitDone` are a list.
    Event(Event<K>),
    /// A watch was opened.
    Opened,
    /// The watch works, although nothing happened.
    Works,
}

/// What went wrong. The next step goes on from where it was, or lists anew where that cannot be.
#[derive(Debug)]
pub(super) enum Broken {
    /// A list failed.
    List(kube::Error),
    /// A watch could not be opened.
    Open(kube::Error),
    /// A watch broke off, or showed what cannot be read.
    Watch(kube::Error),
    /// The API server ended the watch, and said why.
    Ended(Box<Status>),
    /// The watch ended without a word, before its time.
    EndedEarly,
    /// The watch neither showed anything nor ended when it was to end.
    Silent,
    /// The watch showed an older version than the one that it began with: etcd is not what it was.
    WentBack,
    /// A list or an object has no resource version to go on from.
    WithoutVersion,
}

/// Lists and watches for ever.
pub(super) struct ListWatch<K> {
    api: Api<K>,
    selection: Selection,
    state: State<K>,
    /// How many attempts in a row to open a watch nothing answered.
    unanswered: u32,
}

enum State<K> {
    Unlisted,
    Listing(Page<K>),
    Listed { version: String },
    Watching(Watch<K>),
}

struct Page<K> {
    objects: std::vec::IntoIter<K>,
    /// Where the next page begins.
    continues: Option<String>,
    version: Option<String>,
    is_first: bool,
    /// Of the next page.
    size: PageSize,
}

struct Watch<K> {
    version: String,
    opened: Instant,
    events: BoxStream<'static, kube::Result<WatchEvent<K>>>,
}

/// What is told, if anything, and where that leaves us.
type Turn<K> = (Option<Result<Step<K>, Broken>>, State<K>);

impl<K> ListWatch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    pub(super) fn new(api: Api<K>, selection: Selection) -> Self {
        Self {
            api,
            selection,
            state: State::Unlisted,
            unanswered: 0,
        }
    }

    /// Goes one step, from a list that begins anew where `went_back` tells so.
    ///
    /// # Errors
    /// As for [`Self::next`].
    pub(super) async fn next_unless(&mut self, went_back: &mut watch::Receiver<()>) -> Result<Step<K>, Broken> {
        loop {
            tokio::select! {
                step = self.next() => return step,
                // Told before this step was taken, too: that the step is dropped is not enough, it may not have begun.
                Ok(()) = went_back.changed() => self.list_anew(),
            }
        }
    }

    /// Goes one step. A call that is dropped leaves a list to begin anew.
    ///
    /// # Errors
    /// When the step failed; the next one may be taken at once or later.
    pub(super) async fn next(&mut self) -> Result<Step<K>, Broken> {
        loop {
            let (told, state) = match std::mem::replace(&mut self.state, State::Unlisted) {
                State::Unlisted => (Some(Ok(Step::Event(Event::Init))), State::Listing(Page::before_first())),
                State::Listing(page) => list(&self.api, &self.selection, page).await,
                State::Listed { version } => open(&self.api, &self.selection, version).await,
                State::Watching(watch) => watch.next().await,
            };
            self.state = state;
            self.count_unanswered(told.as_ref());
            if let Some(told) = told {
                return told;
            }
        }
    }

    fn list_anew(&mut self) {
        (self.unanswered, self.state) = (0, State::Unlisted);
    }

    fn count_unanswered(&mut self, told: Option<&Result<Step<K>, Broken>>) {
        match told {
            Some(Err(Broken::Open(kube::Error::Api(_))) | Ok(Step::Opened)) => self.unanswered = 0,
            Some(Err(Broken::Open(_))) => self.unanswered += 1,
            _ => {}
        }
        if self.unanswered >= UNANSWERED {
            self.list_anew();
        }
    }
}

async fn list<K>(api: &Api<K>, selection: &Selection, mut page: Page<K>) -> Turn<K>
where
    K: Clone + Debug + DeserializeOwned,
{
    if let Some(object) = page.objects.next() {
        return (Some(Ok(Step::Event(Event::InitApply(object)))), State::Listing(page));
    }
    if page.continues.is_none() && !page.is_first {
        return match page.version {
            Some(version) => (Some(Ok(Step::Event(Event::InitDone))), State::Listed { version }),
            None => (Some(Err(Broken::WithoutVersion)), State::Unlisted),
        };
    }
    // Without a resource version: what is listed is as new as the request.
    let parameters = ListParams {
        label_selector: selection.labels.clone(),
        field_selector: selection.fields.clone(),
        limit: Some(page.size.objects()),
        continue_token: page.continues.clone(),
        ..ListParams::default()
    };
    match within_deadline(api.list(&parameters)).await {
        Ok(list) => {
            let page = Page {
                objects: list.items.into_iter(),
                continues: list.metadata.continue_.filter(|token| !token.is_empty()),
                version: list.metadata.resource_version.filter(|version| !version.is_empty()),
                is_first: false,
                size: page.size.after_a_page(),
            };
            (None, State::Listing(page))
        }
        Err(error) => match page.size.smaller(&error) {
            Some(size) => (None, State::Listing(Page { size, ..page })),
            None => (Some(Err(Broken::List(error))), State::Unlisted),
        },
    }
}

async fn open<K>(api: &Api<K>, selection: &Selection, version: String) -> Turn<K>
where
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let parameters = WatchParams {
        label_selector: selection.labels.clone(),
        field_selector: selection.fields.clone(),
        timeout: u32::try_from(WATCH_DURATION.as_secs()).ok(),
        bookmarks: true,
        ..WatchParams::default()
    };
    match within_deadline(api.watch(&parameters, &version)).await {
        Ok(events) => {
            let watch = Watch {
                version,
                opened: Instant::now(),
                events: events.boxed(),
            };
            (Some(Ok(Step::Opened)), State::Watching(watch))
        }
        Err(error) => {
            let state = if is_of_another_time(&error) {
                State::Unlisted
            } else {
                State::Listed { version }
            };
            (Some(Err(Broken::Open(error))), state)
        }
    }
}

/// Whether the API server knows nothing of the version any more, or nothing yet, as after etcd was restored from a backup.
fn is_of_another_time(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    status.code == 410 || status.message.contains("Too large resource version")
}

impl<K: Resource> Watch<K> {
    async fn next(mut self) -> Turn<K> {
        let dead = self.opened + WATCH_DURATION + TOLERANCE;
        let Ok(next) = tokio::time::timeout_at(dead, self.events.next()).await else {
            return (Some(Err(Broken::Silent)), self.ended());
        };
        match next {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                self.shows(object.resource_version(), Event::Apply(object))
            }
            Some(Ok(WatchEvent::Deleted(object))) => self.shows(object.resource_version(), Event::Delete(object)),
            Some(Ok(WatchEvent::Bookmark(bookmark)))
                if is_older(&bookmark.metadata.resource_version, &self.version) =>
            {
                (Some(Err(Broken::WentBack)), State::Unlisted)
            }
            Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                self.version = bookmark.metadata.resource_version;
                (Some(Ok(Step::Works)), State::Watching(self))
            }
            Some(Ok(WatchEvent::Error(status))) => {
                let state = if status.code == 410 {
                    State::Unlisted
                } else {
                    self.ended()
                };
                (Some(Err(Broken::Ended(status))), state)
            }
            Some(Err(error @ kube::Error::ReadEvents(_))) => (Some(Err(Broken::Watch(error))), self.ended()),
            // One event that cannot be read; asked for again it would come again.
            Some(Err(error)) => (Some(Err(Broken::Watch(error))), State::Watching(self)),
            None if self.opened.elapsed() + TOLERANCE < WATCH_DURATION => (Some(Err(Broken::EndedEarly)), self.ended()),
            None => (Some(Ok(Step::Works)), self.ended()),
        }
    }

    fn shows(mut self, version: Option<String>, event: Event<K>) -> Turn<K> {
        match version.filter(|version| !version.is_empty()) {
            Some(version) if is_older(&version, &self.version) => (Some(Err(Broken::WentBack)), State::Unlisted),
            Some(version) => {
                self.version = version;
                (Some(Ok(Step::Event(event))), State::Watching(self))
            }
            None => (Some(Err(Broken::WithoutVersion)), State::Unlisted),
        }
    }

    fn ended(self) -> State<K> {
        State::Listed { version: self.version }
    }
}

impl<K> Page<K> {
    fn before_first() -> Self {
        Self {
            objects: Vec::new().into_iter(),
            continues: None,
            version: None,
            is_first: true,
            size: PageSize::usual(),
        }
    }
}

#[cfg(test)]
mod tests;
