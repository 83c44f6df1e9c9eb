//! The controller: watches into caches, namespaces through a queue, plans from the core, writes, reports.
//!
//! Reading order: [`run`] here, then `reconcile` (one namespace: look, plan, confirm, write, remember), `visit` (what
//! of that needs no request), `apply`
//! (the only writer), `watches` and `cache` (what is known), `report` (what is said).

mod apply;
mod audit;
mod cache;
pub mod client;
mod confirm;
mod definition;
mod error;
mod events;
mod fact_sources;
mod follow;
mod ledger;
mod list_watch;
mod policy_index;
mod queue;
pub mod readable;
mod reconcile;
mod report;
mod visit;
mod watches;
mod work;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Config;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::apply::Writer;
use self::audit::Audit;
use self::cache::{Cache, Watched};
use self::client::{ApiCallRecorder, REQUEST_DEADLINE, build_client};
use self::events::Events;
use self::ledger::Ledger;
use self::reconcile::Reconciler;
use self::report::Reporter;
use self::watches::Watches;
use self::work::WorkQueue;
use crate::policy::Exemptions;
use crate::telemetry::gauges::{GaugeSnapshot, GaugeSource};
use crate::telemetry::metrics::{KnownSeries, Metrics};
use crate::telemetry::server;

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub listen: SocketAddr,
    /// Namespaces that are never touched.
    pub exemptions: Exemptions,
    /// Namespace and name of the cluster's DNS Service.
    pub dns_service: (String, String),
    /// Writes in flight at most.
    pub concurrency: usize,
    /// How often every namespace is looked at although nothing is known to have happened.
    pub audit_interval: Duration,
    /// Namespaces with a series of their own in `namespace_drift` at most.
    pub metrics_max_namespaces: usize,
}

/// Why the controller stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {0}: {1}; choose another address with --listen")]
    Listen(SocketAddr, std::io::Error),
    /// The cluster's configuration cannot be used.
    #[error(transparent)]
    Client(#[from] client::ClientError),
    /// A metric is defined twice: a mistake of ours.
    #[error("the metrics cannot be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// How long a fact's first list may keep all work waiting. After that the fact counts as unknown, and what
/// does not depend on it is protected.
const FACTS_DEADLINE: Duration = Duration::from_secs(10);
/// How long writes in flight may take once the process is to stop.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(15);

/// Runs until `shutdown` is over, then finishes the writes in flight.
///
/// # Errors
/// When it cannot start. Once it runs, everything that fails is tried again.
pub async fn run(config: Config, options: Options, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| RunError::Listen(options.listen, error))?;
    let metrics = Arc::new(Metrics::new(known_series())?);
    let client = build_client(config, count_requests(&metrics), REQUEST_DEADLINE)?;
    let cache = Arc::new(Cache::new(options.exemptions, options.dns_service.clone()));
    let ledger = Arc::new(Ledger::default());
    let reporter = Arc::new(Reporter::new(Arc::clone(&cache), Arc::clone(&ledger)));
    let (events, publishing) = Events::start(client.clone());
    let namespaces = WorkQueue::new();
    let audit = Arc::new(Audit::default());
    metrics.serve_gauges(gauge_source(&reporter, &audit), options.metrics_max_namespaces)?;

    let watches = Watches {
        client: client.clone(),
        cache: Arc::clone(&cache),
        namespaces: namespaces.clone(),
        reporter: Arc::clone(&reporter),
        metrics: Arc::clone(&metrics),
        dns_service: options.dns_service,
    };
    let mut background = watches.start();
    background.spawn(serve(listener, &metrics, &cache));
    background.spawn(report(&client, &cache, &reporter, &events, &metrics));
    let reconciler = Arc::new(Reconciler {
        writer: Writer::new(client.clone(), options.concurrency),
        client,
        cache: Arc::clone(&cache),
        ledger,
        audit: Arc::clone(&audit),
        events,
        metrics,
        reporter,
        began: Instant::now(),
    });
    tracing::info!(listen = %options.listen, version = env!("CARGO_PKG_VERSION"), "started");
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        () = complete(&cache) => {}
        () = &mut shutdown => return Ok(()),
    }
    let (audited, queue) = (Arc::clone(&cache), namespaces.clone());
    background.spawn(async move { audit.run(audited, queue, options.audit_interval).await });
    let mut workers = JoinSet::new();
    for _ in 0..options.concurrency {
        workers.spawn(work(namespaces.clone(), Arc::clone(&reconciler)));
    }
    shutdown.await;
    tracing::info!("stopping: finishing the writes in flight");
    namespaces.close();
    if tokio::time::timeout(SHUTDOWN_DEADLINE, workers.join_all())
        .await
        .is_err()
    {
        tracing::warn!("writes were still in flight after {SHUTDOWN_DEADLINE:?}; the next start plans them again");
    }
    background.shutdown().await;
    publishing.abort();
    Ok(())
}

fn gauge_source(reporter: &Arc<Reporter>, audit: &Arc<Audit>) -> GaugeSource {
    let (reporter, audit) = (Arc::clone(reporter), Arc::clone(audit));
    Arc::new(move || {
        Some(GaugeSnapshot {
            last_audit: audit.last_complete(),
            ..reporter.gauges()?
        })
    })
}

async fn work(namespaces: WorkQueue<String>, reconciler: Arc<Reconciler>) {
    while let Some(ticket) = namespaces.next().await {
        reconciler.reconcile(ticket).await;
    }
}

/// Waits until everything that decides about writes is known: an empty cache would look like a cluster without
/// tiers.
async fn complete(cache: &Cache) {
    cache
        .wait_for(&[Watched::Tiers, Watched::Namespaces, Watched::Policies])
        .await;
    // Too late is no error: what is not known by then is an unknown fact, which the plan handles.
    let _ = tokio::time::timeout(FACTS_DEADLINE, cache.wait_for(&Watched::ALL)).await;
}

fn report(
    client: &kube::Client,
    cache: &Arc<Cache>,
    reporter: &Arc<Reporter>,
    events: &Events,
    metrics: &Arc<Metrics>,
) -> impl Future<Output = ()> + Send + 'static {
    let (client, cache, reporter) = (client.clone(), Arc::clone(cache), Arc::clone(reporter));
    let (events, metrics) = (events.clone(), Arc::clone(metrics));
    async move {
        complete(&cache).await;
        reporter.run(client, events, metrics).await;
    }
}

fn serve(
    listener: TcpListener,
    metrics: &Arc<Metrics>,
    cache: &Arc<Cache>,
) -> impl Future<Output = ()> + Send + 'static {
    let (metrics, cache) = (Arc::clone(metrics), Arc::clone(cache));
    let missing = move || {
        cache
            .not_current()
            .into_iter()
            .map(|(watched, why)| format!("{}: {why}", watched.label()))
            .collect()
    };
    async move {
        if let Err(error) = server::serve(listener, metrics, Arc::new(missing)).await {
            tracing::error!(%error, "metrics and probes are not served any more");
        }
    }
}

fn count_requests(metrics: &Arc<Metrics>) -> ApiCallRecorder {
    let metrics = Arc::clone(metrics);
    Arc::new(move |call| metrics.api_requested(call.verb, call.resource, &call.code.to_string()))
}

fn known_series() -> KnownSeries {
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
        controllers: &[reconcile::CONTROLLER, report::CONTROLLER],
        error_reasons: &error::REASONS,
        caches: &CACHES,
    }
}
