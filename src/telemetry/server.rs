//! What Prometheus and the kubelet ask for: `/metrics`, `/livez` and `/readyz`.

mod connections;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::connections::serve_connections;
use super::Metrics;

/// After a scrape there is none for that many times as long as it took: who scrapes without end takes no more than half of
/// one processor from the work.
const REST: u32 = 1;

/// Names what is still missing before this process can do its work, in words for people. Empty when
/// it is ready.
pub type Missing = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Says what a restart would mend, in words for people; nothing while all is well.
pub type Stuck = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Metrics that are written for one asker at a time.
struct Scrapes {
    metrics: Arc<Metrics>,
    /// When the next may begin.
    not_before: Mutex<Instant>,
}

/// Serves until it is dropped.
///
/// `/livez` says that the process gets on: restarting it would bring back no cache, CRD or right
/// that is missing, and no API server. Those are `/readyz`'s to name.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, missing: Missing, stuck: Stuck) {
    let scrapes = Scrapes {
        metrics,
        not_before: Mutex::new(Instant::now()),
    };
    let router = Router::new()
        .route("/metrics", get(scrape).with_state(Arc::new(scrapes)))
        .route("/livez", get(liveness).with_state(stuck))
        .route("/readyz", get(readiness).with_state(missing));
    serve_connections(listener, router).await;
}

async fn scrape(State(scrapes): State<Arc<Scrapes>>) -> Response {
    let mut not_before = scrapes.not_before.lock().await;
    tokio::time::sleep_until(*not_before).await;
    let began = Instant::now();
    let encoded = scrapes.metrics.encode();
    *not_before = Instant::now() + began.elapsed() * REST;
    drop(not_before);
    match encoded {
        Ok(text) => {
            let format = format!("{}; charset=utf-8", prometheus::TEXT_FORMAT);
            ([(CONTENT_TYPE, format)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

async fn liveness(State(stuck): State<Stuck>) -> (StatusCode, String) {
    match stuck() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(what) => {
            tracing::error!("{what}");
            (StatusCode::SERVICE_UNAVAILABLE, format!("{what}\n"))
        }
    }
}

async fn readiness(State(missing): State<Missing>) -> (StatusCode, String) {
    let missing = missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let lines = missing.iter().map(|what| format!("missing: {what}\n"));
    (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
}

#[cfg(test)]
mod tests;
