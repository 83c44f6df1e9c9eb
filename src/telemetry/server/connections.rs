//! Connections that cost little, whoever opens them: every pod of a cluster can reach this port, and what takes the memory
//! of this process ends the protection of all namespaces.
//!
//! Who comes when all places are taken gets one of the address that holds most of them, its oldest: a crowd keeps neither
//! the kubelet's probes nor Prometheus out, and breaks none of theirs off, as they hold one or two each.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::IpAddr;
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
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection may last. An answer that nobody fetches is kept for no longer; who wants more connects again.
const LONGEST: Duration = Duration::from_secs(120);
/// The longest head of a request, in bytes.
pub(super) const LONGEST_HEAD: usize = 16 << 10;
/// After this it is tried again to accept connections, where the system had no room for one.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Serves until it is dropped, and so are the connections then.
pub(super) async fn serve_connections(listener: TcpListener, router: Router) {
    let (mut connections, mut places) = (JoinSet::new(), Places::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!(%error, "metrics and probes: a connection cannot be accepted; it is tried again");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                continue;
            }
        };
        let connection = connections.spawn(serve_connection(stream, router.clone()));
        places.take(peer.ip(), connection);
    }
}

/// The open connections and whose they are, by age.
#[derive(Default)]
struct Places(VecDeque<(IpAddr, AbortHandle)>);

impl Places {
    /// Takes a place, and where there is none another's.
    fn take(&mut self, peer: IpAddr, connection: AbortHandle) {
        self.0.retain(|(_, connection)| !connection.is_finished());
        self.0.push_back((peer, connection));
        if self.0.len() > MOST_CONNECTIONS
            && let Some((_, connection)) = self.one_too_many().and_then(|place| self.0.remove(place))
        {
            connection.abort();
        }
    }

    /// The oldest of the address that holds most, and of several such addresses the oldest of all. Never the one that
    /// just came, unless it is the only one.
    fn one_too_many(&self) -> Option<usize> {
        let held_by = |peer: IpAddr| self.0.iter().filter(|(other, _)| *other == peer).count();
        // Backwards: of equals, the last one is taken.
        let places = self.0.iter().enumerate().rev();
        let most = places.max_by_key(|(_, (peer, _))| held_by(*peer));
        most.map(|(place, _)| place)
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
