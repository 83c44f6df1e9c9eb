//! What a controller without any machinery does: it sees an event and sends at once.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::connection::{Connection, Prepared, Server};
use crate::policy_bytes::{PolicyBytes, path};
use crate::scene::{CONNECTIONS, RAW};
use crate::watch_events::{Kind, WatchStream};

/// Runs until it is dropped.
pub struct RawLoop {
    pool: Arc<Pool>,
    _watch: JoinSet<()>,
}

struct Pool {
    connections: Mutex<Vec<Connection>>,
    permits: Semaphore,
    /// Milliseconds from the event to the answer of each request.
    round_trips: Mutex<Vec<f64>>,
}

impl RawLoop {
    /// POSTs both policies as soon as a namespace with the label of raw ones appears.
    pub async fn protecting(server: &Server, bytes: PolicyBytes) -> Self {
        let pool = Pool::open(server).await;
        let mut events = WatchStream::open(server, &format!("/api/v1/namespaces?labelSelector=bench%3D{RAW}")).await;
        let (mut watch, senders) = (JoinSet::new(), Arc::clone(&pool));
        watch.spawn(async move {
            loop {
                let (event, at) = events.next().await;
                if event.kind == Kind::Added {
                    for request in bytes.posts(&event.object.metadata.name) {
                        tokio::spawn(Arc::clone(&senders).send(request, at));
                    }
                }
            }
        });
        Self { pool, _watch: watch }
    }

    /// PUTs what belongs there as soon as a policy of `namespace` shows anything else.
    pub async fn healing(server: &Server, bytes: PolicyBytes, namespace: &str) -> Self {
        let pool = Pool::open(server).await;
        let mut events = WatchStream::open(server, &path(namespace, None)).await;
        let (wanted, senders) = (bytes.specs(), Arc::clone(&pool));
        let mut watch = JoinSet::new();
        watch.spawn(async move {
            loop {
                let (event, at) = events.next().await;
                if event.kind == Kind::Modified && !wanted.contains(&event.object.spec) {
                    tokio::spawn(Arc::clone(&senders).send(bytes.put(&event.object.metadata), at));
                }
            }
        });
        Self { pool, _watch: watch }
    }

    /// Milliseconds from each event to the answer of its request.
    pub fn round_trips(&self) -> Vec<f64> {
        self.pool
            .round_trips
            .lock()
            .expect("nothing panics under this lock")
            .clone()
    }
}

impl Pool {
    async fn open(server: &Server) -> Arc<Self> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(server.connect().await);
        }
        Arc::new(Self {
            connections: Mutex::new(connections),
            permits: Semaphore::new(CONNECTIONS),
            round_trips: Mutex::default(),
        })
    }

    async fn send(self: Arc<Self>, request: Prepared, at: Instant) {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let taken = self.connections.lock().expect("nothing panics under this lock").pop();
        let mut connection = taken.expect("a connection for each permit");
        let (status, answer) = connection.send(&request).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(status.is_success(), "{}: {status} {text}", request.path);
        let took = at.elapsed().as_secs_f64() * 1000.0;
        self.round_trips
            .lock()
            .expect("nothing panics under this lock")
            .push(took);
        self.connections
            .lock()
            .expect("nothing panics under this lock")
            .push(connection);
    }
}
