//! Connections that cost little, whoever opens them: every pod of a cluster can reach this port, and what takes the memory
//! of this process ends the protection of all namespaces.
//!
//! Who comes when all are taken gets the place of the connection that was opened first, so that a crowd that only holds
//! connections open keeps neither the kubelet's probes nor Prometheus out.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Connections at once: two replicas of Prometheus, the kubelet and some people, several times over.
pub(super) const MOST_CONNECTIONS: usize = 32;
/// How long the head of a request may take.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection may last. An answer that nobody fetches is kept for no longer; who wants more connects again.
const LONGEST: Duration = Duration::from_secs(120);
/// The longest head of a request, in bytes.
pub(super) const LONGEST_HEAD: usize = 16 << 10;
/// After this it is tried again to accept connections, where the system had no room for one.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Serves until it is dropped, and so are the connections then.
pub(super) async fn serve_connections(listener: TcpListener, router: Router) {
    let (mut connections, mut by_age) = (JoinSet::new(), VecDeque::<AbortHandle>::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!(%error, "metrics and probes: a connection cannot be accepted; it is tried again");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        by_age.retain(|connection| !connection.is_finished());
        if by_age.len() >= MOST_CONNECTIONS
            && let Some(first) = by_age.pop_front()
        {
            first.abort();
        }
        by_age.push_back(connections.spawn(serve_connection(stream, router.clone())));
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Who breaks a connection off, or keeps it for too long, is told nothing.
    let _ = tokio::time::timeout(LONGEST, connection).await;
}
