//! What the outside asks for: metrics, and whether this process is ready and gets on.

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::audit::Audit;
use super::brake::ReleaseBrake;
use super::cache::{Cache, Watched};
use super::client::{ApiCall, ApiCallRecorder, WriteGate};
use super::pulse::Pulse;
use super::reconcile;
use super::report::Reporter;
use super::tier_writer;
use super::work::WorkQueue;
use crate::policy::words;
use crate::telemetry::gauges::{GaugeSnapshot, GaugeSource};
use crate::telemetry::metrics::{KnownSeries, Metrics};
use crate::telemetry::server::{self, Stuck};

/// Who does not lead says nothing of the cluster: it would be summed with what the leader says.
pub(super) fn gauge_source(reporter: &Arc<Reporter>, audit: &Arc<Audit>, gate: &WriteGate) -> GaugeSource {
    let (reporter, audit, gate) = (Arc::clone(reporter), Arc::clone(audit), gate.clone());
    Arc::new(move || {
        if !gate.is_open() {
            return None;
        }
        Some(GaugeSnapshot {
            last_audit: audit.last_complete(),
            ..reporter.gauges()?
        })
    })
}

pub(super) fn serve(
    listener: TcpListener,
    metrics: &Arc<Metrics>,
    cache: &Arc<Cache>,
    brake: &Arc<ReleaseBrake>,
    stuck: Stuck,
) -> impl Future<Output = ()> + Send + 'static {
    let (metrics, cache, brake) = (Arc::clone(metrics), Arc::clone(cache), Arc::clone(brake));
    let missing = move || {
        let caches = cache.not_current().into_iter();
        let caches = caches.map(|(watched, why)| format!("{}: {why}", watched.label()));
        caches.chain(brake.why_not_learned()).collect()
    };
    server::serve(listener, metrics, Arc::new(missing), stuck)
}

/// Asks through the locks that every event and every look go through: where one is never given back, there is no answer,
/// which says the same.
pub(super) fn stuck(cache: &Arc<Cache>, namespaces: &WorkQueue<String>, pulse: &Arc<Pulse>) -> Stuck {
    let (cache, namespaces, pulse) = (Arc::clone(cache), namespaces.clone(), Arc::clone(pulse));
    Arc::new(move || {
        cache.is_synced(Watched::Namespaces);
        let stuck = pulse.stuck_for(namespaces.due_since())?;
        Some(format!(
            "namespaces are due, and for {} s no worker has taken one up or got on with one",
            stuck.as_secs()
        ))
    })
}

pub(super) fn count_requests(metrics: &Arc<Metrics>, pulse: &Arc<Pulse>) -> ApiCallRecorder {
    let (metrics, pulse) = (Arc::clone(metrics), Arc::clone(pulse));
    Arc::new(move |call| {
        if is_of_a_worker(&call) {
            pulse.beat();
        }
        metrics.api_requested(call.verb, call.resource, &call.code.to_string());
    })
}

/// Whether only a worker sends such a request: lists and watches end whatever becomes of the workers, and statuses others
/// write, too.
fn is_of_a_worker(call: &ApiCall) -> bool {
    match call.resource {
        "networkpolicies" => !["list", "watch"].contains(&call.verb),
        "namespaces" => call.verb == "get",
        _ => false,
    }
}

pub(super) fn known_series() -> KnownSeries {
    const CACHES: [&str; Watched::ALL.len()] = {
        let mut labels = [""; Watched::ALL.len()];
        let mut index = 0;
        while index < labels.len() {
            labels[index] = Watched::ALL[index].label();
            index += 1;
        }
        labels
    };
    KnownSeries {
        controllers: &[reconcile::CONTROLLER, tier_writer::CONTROLLER],
        error_reasons: &words::WRITE_FAILURES,
        caches: &CACHES,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::controller::canned_server::CannedServer;
    use crate::controller::client::ResponseCode;
    use crate::controller::ledger::Ledger;
    use crate::controller::pulse::STUCK_AFTER;
    use crate::policy::Exemptions;
    use crate::policy::brake::MaxUnprotected;

    async fn readiness(address: std::net::SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    // With every cache complete it looked ready, and released nothing.
    #[tokio::test]
    async fn readiness_names_what_could_not_be_read_of_earlier_processes() {
        let cache = Cache::new(Exemptions::new("cofferdam-system", []), (String::new(), String::new()));
        Watched::ALL.into_iter().for_each(|watched| cache.synced(watched));
        let (cache, limit) = (Arc::new(cache), MaxUnprotected::default());
        let brake = Arc::new(ReleaseBrake::new(
            Arc::clone(&cache),
            Arc::new(Ledger::default()),
            limit,
        ));
        let metrics = Arc::new(Metrics::new(KnownSeries::default()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, &metrics, &cache, &brake, Arc::new(|| None)));
        let answer = readiness(address).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let refused = CannedServer::answering(403).client();
        tokio::spawn(Arc::clone(&brake).learn_of_earlier_processes(refused));
        while brake.why_not_learned().is_none() {
            tokio::task::yield_now().await;
        }
        let answer = readiness(address).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("missing: what earlier processes released"), "{answer}");
    }

    // Three reads may take twenty seconds each, after a wait for a status: with nothing but policies counted, that was
    // longer than a healthy process is given.
    #[tokio::test(start_paused = true)]
    async fn a_release_whose_reads_are_slow_was_taken_for_a_stuck_process() {
        let (metrics, pulse) = (
            Arc::new(Metrics::new(KnownSeries::default()).unwrap()),
            Arc::new(Pulse::new()),
        );
        let record = count_requests(&metrics, &pulse);
        let due: Option<Instant> = Some(tokio::time::Instant::now().into_std());
        let asked = |verb, resource| {
            let code = ResponseCode::Http(200);
            record(ApiCall { verb, resource, code });
        };
        tokio::time::advance(STUCK_AFTER - Duration::from_secs(1)).await;
        asked("get", "namespaces");
        tokio::time::advance(STUCK_AFTER - Duration::from_secs(1)).await;
        assert_eq!(pulse.stuck_for(due), None);
        for (verb, resource) in [
            ("list", "networkpolicies"),
            ("watch", "namespaces"),
            ("list", "namespaces"),
            ("patch", "isolationtiers"),
        ] {
            asked(verb, resource);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pulse.stuck_for(due), Some(STUCK_AFTER), "none of those is a worker's");
    }
}
