//! The controller: watches into caches, namespaces through a queue, plans from the core, writes, reports.
//!
//! Reading order: [`run`] here, then `reconcile` (one namespace: look, plan, look again, write, remember), `visit` (what
//! of that needs no request), `apply`
//! (the only writer), `watches` and `cache` (what is known), `report` (what is said).

mod apply;
mod audit;
mod brake;
mod cache;
pub mod client;
mod consistent_read;
mod error;
mod events;
mod exposed;
mod handover;
mod leader;
mod ledger;
mod pulse;
mod queue;
mod random;
mod reconcile;
mod report;
mod talk_budget;
mod tasks;
mod tier_writer;
mod visit;
mod watches;
mod widening;
mod work;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::{Client, Config};
use tokio::net::TcpListener;

use self::apply::Writer;
use self::audit::Audit;
use self::brake::ReleaseBrake;
use self::cache::{Cache, Watched};
use self::client::{ApiCallRecorder, ClientError, REQUEST_DEADLINE, WriteGate, build_writing_client};
use self::events::Events;
use self::exposed::{count_requests, gauge_source, known_series, serve, stuck};
pub use self::leader::{Candidacy, LeaseSettings, LeaseSettingsError};
use self::leader::{Leadership, own_identity};
use self::ledger::Ledger;
use self::pulse::Pulse;
use self::reconcile::Reconciler;
use self::report::Reporter;
use self::talk_budget::SharedTalkBudget;
use self::tasks::{TaskEnded, Tasks};
use self::tier_writer::TierWriter;
use self::watches::Watches;
use self::widening::{WideningAudit, WideningLedger};
use self::work::WorkQueue;
use crate::policy::Exemptions;
use crate::policy::brake::MaxUnprotected;
use crate::telemetry::metrics::Metrics;

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
    /// How many namespaces may be opened within ten minutes without a confirmation.
    pub max_unprotected: MaxUnprotected,
    /// How often every namespace is looked at although nothing is known to have happened.
    pub audit_interval: Duration,
    /// How often all policies are listed beside their watch.
    pub relist_interval: Duration,
    /// Namespaces with a series of their own in `namespace_drift` at most.
    pub metrics_max_namespaces: usize,
    /// The election to win before anything is written; `None` where no other replica is expected.
    pub election: Option<Candidacy>,
}

/// Why the controller stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {0}: {1}; choose another address with --listen")]
    Listen(SocketAddr, std::io::Error),
    /// The cluster's configuration cannot be used.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Without a name of its own a replica cannot tell its claim from another's.
    #[error("this replica cannot give itself a name: {0}")]
    Identity(std::io::Error),
    /// Another replica may lead by now.
    #[error(
        "this replica led and could not renew its lease in time: what was in flight is cut off, and another takes over; \
         a restart makes it stand by"
    )]
    LeadershipLost,
    /// A mistake of ours. To go on without it would be to go on blind.
    #[error(transparent)]
    TaskEnded(#[from] TaskEnded),
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
/// When it cannot start, when it led and does not any more, and when a part of it ends. Everything else that fails is
/// tried again.
pub async fn run(config: Config, options: Options, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| RunError::Listen(options.listen, error))?;
    let metrics = Arc::new(Metrics::new(known_series())?);
    let replica = own_identity().map_err(RunError::Identity)?;
    let gate = options
        .election
        .as_ref()
        .map_or_else(WriteGate::always_open, Candidacy::gate);
    let pulse = Arc::new(Pulse::new());
    let record = count_requests(&metrics, &pulse);
    let client = build_writing_client(config.clone(), &replica, Arc::clone(&record), REQUEST_DEADLINE, &gate)?;
    let cache = Arc::new(Cache::new(options.exemptions, options.dns_service.clone()));
    let ledger = Arc::new(Ledger::default());
    let widenings = Arc::new(WideningLedger::default());
    let brake = Arc::new(ReleaseBrake::new(
        Arc::clone(&cache),
        Arc::clone(&ledger),
        options.max_unprotected,
    ));
    let reporter = Arc::new(Reporter::new(
        Arc::clone(&cache),
        Arc::clone(&ledger),
        Arc::clone(&widenings),
        Arc::clone(&brake),
    ));
    let (events, publishing) = Events::start(client.clone(), Arc::clone(&metrics));
    let (namespaces, widening) = (WorkQueue::new(), WorkQueue::new());
    let audit = Arc::new(Audit::default());
    metrics.serve_gauges(gauge_source(&reporter, &audit, &gate), options.metrics_max_namespaces)?;

    let watches = Watches {
        client: client.clone(),
        cache: Arc::clone(&cache),
        namespaces: namespaces.clone(),
        widening: widening.clone(),
        reporter: Arc::clone(&reporter),
        metrics: Arc::clone(&metrics),
        dns_service: options.dns_service,
        relist_interval: options.relist_interval,
    };
    let mut background = Tasks::default();
    watches.start(&mut background);
    let stuck = stuck(&cache, &namespaces, &pulse);
    background.spawn(
        "the server of metrics and probes",
        serve(listener, &metrics, &cache, stuck),
    );
    let stop_publishing = publishing.abort_handle();
    background.spawn("the publishing of Events", async { _ = publishing.await });
    tracing::info!(listen = %options.listen, replica, version = env!("CARGO_PKG_VERSION"), "started");
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        () = complete(&cache) => {}
        ended = background.first_end() => return Err(ended.into()),
        () = &mut shutdown => return Ok(()),
    }
    // Who does not know the cluster yet does not stand for election.
    let leadership = stand(options.election, config, replica, record, client.clone(), &gate)?;
    let Some(leadership) = wait_until_it_leads(leadership, &mut background, &gate, shutdown.as_mut()).await? else {
        return Ok(());
    };
    // What a standby was told of has been due all the while.
    pulse.beat();
    metrics.leads();
    let tiers = TierWriter {
        client: client.clone(),
        metrics: Arc::clone(&metrics),
    };
    let reporting = Arc::clone(&reporter).run(tiers.clone(), events.clone());
    background.spawn("the report on tiers", reporting);
    background.spawn(
        "the audit of what widens",
        WideningAudit {
            cache: Arc::clone(&cache),
            ledger: Arc::clone(&ledger),
            widenings,
            namespaces: widening,
            reporter: Arc::clone(&reporter),
            events: events.clone(),
            began: Instant::now(),
            started: Timestamp::now(),
        }
        .run(),
    );
    let reconciler = Arc::new(Reconciler {
        writer: Writer::new(client.clone(), options.concurrency),
        client,
        tiers,
        cache: Arc::clone(&cache),
        ledger,
        brake,
        audit: Arc::clone(&audit),
        events,
        failures_said: SharedTalkBudget::new(),
        metrics,
        reporter,
        began: Instant::now(),
    });
    let queue = namespaces.clone();
    background.spawn("the audit", async move {
        audit.run(cache, queue, options.audit_interval).await;
    });
    let mut workers = Tasks::default();
    for number in 1..=options.concurrency {
        let work = work(namespaces.clone(), Arc::clone(&reconciler), Arc::clone(&pulse));
        workers.spawn(format!("worker {number}"), work);
    }
    work_until_told_to_end(leadership, &namespaces, workers, &mut background, &gate, shutdown).await?;
    background.shut_down().await;
    stop_publishing.abort();
    Ok(())
}

/// Stands for election with one client that the gate does not hold back: it is what opens the gate.
fn stand(
    election: Option<Candidacy>,
    config: Config,
    replica: String,
    record: ApiCallRecorder,
    gated: Client,
    gate: &WriteGate,
) -> Result<Leadership, ClientError> {
    let Some(candidacy) = election else {
        return Ok(Leadership::unopposed());
    };
    let (open, deadline) = (WriteGate::always_open(), candidacy.request_deadline());
    let ungated = build_writing_client(config, &replica, record, deadline, &open)?;
    Ok(candidacy.stand(replica, ungated, gated, gate.clone()))
}

/// `None` if it is asked to end before.
async fn wait_until_it_leads(
    leadership: Leadership,
    background: &mut Tasks,
    gate: &WriteGate,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<Leadership>, RunError> {
    tokio::select! {
        () = leadership.begun() => return Ok(Some(leadership)),
        () = leadership.lost() => return Err(RunError::LeadershipLost),
        ended = background.first_end() => return Err(ended.into()),
        () = shutdown => {}
    }
    gate.close();
    leadership.resign().await;
    Ok(None)
}

/// Ends in order: what is in flight first, then the lease. Where the lease is lost, nothing is waited for: whoever is
/// dropped stops, whatever it was about to send.
async fn work_until_told_to_end(
    leadership: Leadership,
    namespaces: &WorkQueue<String>,
    mut workers: Tasks,
    background: &mut Tasks,
    gate: &WriteGate,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    tokio::select! {
        () = shutdown => {}
        () = leadership.lost() => return Err(RunError::LeadershipLost),
        ended = background.first_end() => return Err(ended.into()),
        ended = workers.first_end() => return Err(ended.into()),
    }
    namespaces.close();
    tokio::select! {
        () = finish(workers, gate) => {}
        () = leadership.lost() => return Err(RunError::LeadershipLost),
    }
    leadership.resign().await;
    Ok(())
}

/// Lets the workers finish what they began, and then nobody write any more.
async fn finish(workers: Tasks, gate: &WriteGate) {
    tracing::info!("stopping: finishing the writes in flight");
    let finished = async {
        workers.all_end().await;
        gate.close();
        // Statuses and Events, which come from elsewhere.
        gate.idle().await;
    };
    if tokio::time::timeout(SHUTDOWN_DEADLINE, finished).await.is_err() {
        tracing::warn!("writes were still in flight after {SHUTDOWN_DEADLINE:?}; the next start plans them again");
    }
    gate.close();
}

async fn work(namespaces: WorkQueue<String>, reconciler: Arc<Reconciler>, pulse: Arc<Pulse>) {
    while let Some(ticket) = namespaces.next().await {
        pulse.beat();
        reconciler.reconcile(ticket).await;
        pulse.beat();
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
