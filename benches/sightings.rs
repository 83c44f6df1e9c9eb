//! The independent observer: sees every namespace and policy by a watch of its own. Raw and ours are timed by it alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::connection::Server;
use crate::watch_events::{Kind, Metadata, WatchStream};

/// What was seen, and when.
#[derive(Default)]
pub struct Seen {
    /// When each namespace appeared.
    pub namespaces: HashMap<String, Instant>,
    /// Every policy that stands, by namespace and name.
    pub policies: HashMap<(String, String), Metadata>,
    /// Every event of a policy, oldest first.
    pub events: Vec<PolicySeen>,
}

/// One event of a policy.
pub struct PolicySeen {
    pub at: Instant,
    pub kind: Kind,
    pub namespace: String,
    pub spec: Value,
}

/// Watches until it is dropped.
pub struct Sightings {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    _watches: JoinSet<()>,
}

impl Sightings {
    /// Starts watching as `server`'s identity.
    pub async fn start(server: &Server) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let changed = Arc::new(Notify::new());
        let mut watches = JoinSet::new();
        let mut namespaces = WatchStream::open(server, "/api/v1/namespaces").await;
        let (state, tell) = (Arc::clone(&seen), Arc::clone(&changed));
        watches.spawn(async move {
            loop {
                let (event, at) = namespaces.next().await;
                if event.kind == Kind::Added {
                    let mut seen = state.lock().expect("nothing panics under this lock");
                    seen.namespaces.insert(event.object.metadata.name, at);
                    tell.notify_waiters();
                }
            }
        });
        let mut policies = WatchStream::open(server, "/apis/networking.k8s.io/v1/networkpolicies").await;
        let (state, tell) = (Arc::clone(&seen), Arc::clone(&changed));
        watches.spawn(async move {
            loop {
                let (event, at) = policies.next().await;
                let (metadata, spec) = (event.object.metadata, event.object.spec);
                let mut seen = state.lock().expect("nothing panics under this lock");
                seen.events.push(PolicySeen {
                    at,
                    kind: event.kind,
                    namespace: metadata.namespace.clone(),
                    spec,
                });
                let key = (metadata.namespace.clone(), metadata.name.clone());
                match event.kind {
                    Kind::Deleted => _ = seen.policies.remove(&key),
                    _ => _ = seen.policies.insert(key, metadata),
                }
                tell.notify_waiters();
            }
        });
        Self {
            seen,
            changed,
            _watches: watches,
        }
    }

    /// How many events of policies there were: where to count from.
    pub fn mark(&self) -> usize {
        self.read(|seen| seen.events.len())
    }

    /// Looks at what was seen so far.
    pub fn read<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().expect("nothing panics under this lock"))
    }

    /// Waits until `look` finds what it looks for.
    pub async fn wait<T>(&self, what: &str, patience: Duration, mut look: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let changed = self.changed.notified();
            if let Some(found) = self.read(&mut look) {
                return found;
            }
            let events = || self.mark();
            tokio::time::timeout_at(deadline, changed)
                .await
                .unwrap_or_else(|_| panic!("expected within {patience:?}: {what}; {} events were seen", events()));
        }
    }

    /// Waits for `count` events of this kind after `mark`; returns how many a second they were, from the first to the
    /// last, and when the last came.
    pub async fn rate(&self, what: &str, mark: usize, kind: Kind, count: usize) -> (f64, Instant) {
        let (mut looked_at, mut found, mut first) = (mark, 0, None);
        self.wait(what, Duration::from_secs(180), |seen| {
            for event in seen.events[looked_at..].iter().filter(|event| event.kind == kind) {
                found += 1;
                let first = *first.get_or_insert(event.at);
                if found == count {
                    return Some(((count - 1) as f64 / (event.at - first).as_secs_f64(), event.at));
                }
            }
            looked_at = seen.events.len();
            None
        })
        .await
    }
}
