//! Many requests over a fixed number of connections, each in a tight loop: the ceiling.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::connection::{Prepared, Server};

/// Sends every request once; any answer but `expected` fails the run. Returns how many a second.
pub async fn send_all(server: &Server, connections: usize, requests: Vec<Prepared>, expected: StatusCode) -> f64 {
    let count = requests.len();
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let start = Arc::new(Barrier::new(connections + 1));
    let mut senders = JoinSet::new();
    for _ in 0..connections {
        let (requests, next, start) = (Arc::clone(&requests), Arc::clone(&next), Arc::clone(&start));
        let mut connection = server.connect().await;
        senders.spawn(async move {
            start.wait().await;
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (status, answer) = connection.send(request).await;
                let text = || String::from_utf8_lossy(&answer).into_owned();
                assert!(status == expected, "{}: {status} {}", request.path, text());
            }
        });
    }
    start.wait().await;
    let started = std::time::Instant::now();
    while let Some(ended) = senders.join_next().await {
        ended.expect("a sender that did not fail");
    }
    count as f64 / started.elapsed().as_secs_f64()
}
