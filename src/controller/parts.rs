//! What the tasks of a controller share, put together once, and which task is given what of it.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::apply::Writer;
use super::audit::Audit;
use super::brake::ReleaseBrake;
use super::cache::Cache;
use super::client::{ApiCallRecorder, ClientError, REQUEST_DEADLINE, WriteGate, build_writing_client};
use super::events::Events;
use super::exposed::{count_requests, gauge_source, known_series, serve, stuck};
use super::leader::{Candidacy, Leadership, own_identity};
use super::ledger::Ledger;
use super::process_clock::ProcessClock;
use super::pulse::Pulse;
use super::reconcile::Reconciler;
use super::removal_turns::RemovalTurns;
use super::report::Reporter;
use super::talk_budget::SharedTalkBudget;
use super::tasks::Tasks;
use super::tier_writer::TierWriter;
use super::watches::Watches;
use super::widening::{WideningAudit, WideningLedger};
use super::work::WorkQueue;
use super::{Options, RunError};
use crate::telemetry::metrics::Metrics;

/// The parts of one controller.
pub(super) struct Parts {
    options: Options,
    /// What this replica calls itself.
    replica: String,
    metrics: Arc<Metrics>,
    /// Open while this replica may write.
    pub(super) gate: WriteGate,
    clock: ProcessClock,
    pulse: Arc<Pulse>,
    /// Counts the requests of every client.
    record: ApiCallRecorder,
    /// Everybody's, and held back by the gate.
    client: Client,
    tiers: TierWriter,
    pub(super) cache: Arc<Cache>,
    ledger: Arc<Ledger>,
    widenings: Arc<WideningLedger>,
    brake: Arc<ReleaseBrake>,
    reporter: Arc<Reporter>,
    audit: Arc<Audit>,
    events: Events,
    /// The namespaces that need a look.
    pub(super) namespaces: WorkQueue<String>,
    /// The namespaces whose foreign policies need one.
    widening: WorkQueue<String>,
}

impl Parts {
    /// Puts them together. Of the tasks, only the publishing of Events begins.
    pub(super) fn assemble(config: &Config, options: Options, tasks: &mut Tasks) -> Result<Self, RunError> {
        let metrics = Arc::new(Metrics::new(known_series())?);
        let replica = own_identity().map_err(RunError::Identity)?;
        let election = options.election.as_ref();
        let gate = election.map_or_else(WriteGate::always_open, Candidacy::gate);
        let pulse = Arc::new(Pulse::new());
        let record = count_requests(&metrics, &pulse);
        let client = build_writing_client(config.clone(), &replica, Arc::clone(&record), REQUEST_DEADLINE, &gate)?;
        let cache = Arc::new(Cache::new(options.exemptions.clone(), options.dns_service.clone()));
        let (ledger, widenings) = (Arc::new(Ledger::default()), Arc::new(WideningLedger::default()));
        let brake = ReleaseBrake::new(Arc::clone(&cache), Arc::clone(&ledger), options.max_unprotected);
        let brake = Arc::new(brake);
        let reporter = Arc::new(Reporter::new(
            Arc::clone(&cache),
            Arc::clone(&ledger),
            Arc::clone(&widenings),
            Arc::clone(&brake),
        ));
        let audit = Arc::new(Audit::default());
        metrics.serve_gauges(gauge_source(&reporter, &audit, &gate), options.metrics_max_namespaces)?;
        let (events, publishing) = Events::new(client.clone(), Arc::clone(&metrics));
        tasks.spawn("the publishing of Events", publishing);
        Ok(Self {
            options,
            replica,
            tiers: TierWriter::new(client.clone(), Arc::clone(&metrics)),
            metrics,
            gate,
            clock: ProcessClock::start(),
            pulse,
            record,
            client,
            cache,
            ledger,
            widenings,
            brake,
            reporter,
            audit,
            events,
            namespaces: WorkQueue::new(),
            widening: WorkQueue::new(),
        })
    }

    /// Starts the watches: a standby knows as much as who leads.
    pub(super) fn watch(&self, tasks: &mut Tasks) {
        let watches = Watches {
            client: self.client.clone(),
            cache: Arc::clone(&self.cache),
            namespaces: self.namespaces.clone(),
            widening: self.widening.clone(),
            reporter: Arc::clone(&self.reporter),
            metrics: Arc::clone(&self.metrics),
            dns_service: self.options.dns_service.clone(),
            relist_interval: self.options.relist_interval,
            went_back: watch::Sender::new(()),
        };
        watches.start(tasks);
    }

    /// Starts to answer scrapes and probes.
    pub(super) fn answer(&self, listener: TcpListener, tasks: &mut Tasks) {
        let stuck = stuck(&self.cache, &self.namespaces, &self.pulse);
        let server = serve(listener, &self.metrics, &self.cache, &self.brake, stuck);
        tasks.spawn("the server of metrics and probes", server);
    }

    pub(super) fn say_that_it_started(&self) {
        let (listen, replica) = (self.options.listen, &self.replica);
        tracing::info!(%listen, replica, version = env!("CARGO_PKG_VERSION"), "started");
    }

    /// Stands for election with one client that the gate does not hold back: it is what opens the gate.
    pub(super) fn stand(&self, config: Config) -> Result<Leadership, ClientError> {
        let Some(candidacy) = self.options.election.clone() else {
            return Ok(Leadership::unopposed());
        };
        let (open, deadline) = (WriteGate::always_open(), candidacy.request_deadline());
        let ungated = build_writing_client(config, &self.replica, Arc::clone(&self.record), deadline, &open)?;
        Ok(candidacy.stand(self.replica.clone(), ungated, self.client.clone(), self.gate.clone()))
    }

    /// Starts what only the leader does. Returns the workers, who are let finish at the end; the others go to `tasks`.
    pub(super) fn lead(&self, tasks: &mut Tasks) -> Tasks {
        // What a standby was told of has been due all the while.
        self.pulse.beat();
        self.metrics.leads();
        let learning = Arc::clone(&self.brake).learn_of_earlier_processes(self.client.clone());
        tasks.spawn("the reading of earlier releases", learning);
        let reporting = Arc::clone(&self.reporter).run(self.tiers.clone(), self.events.clone());
        tasks.spawn("the report on tiers", reporting);
        tasks.spawn("the audit of what widens", self.widening_audit().run());
        let (audit, cache, namespaces) = (
            Arc::clone(&self.audit),
            Arc::clone(&self.cache),
            self.namespaces.clone(),
        );
        let interval = self.options.audit_interval;
        tasks.spawn("the audit", async move { audit.run(cache, namespaces, interval).await });
        let (reconciler, mut workers) = (Arc::new(self.reconciler()), Tasks::default());
        for number in 1..=self.options.concurrency {
            let work = Arc::clone(&reconciler).work(self.namespaces.clone());
            workers.spawn(format!("worker {number}"), work);
        }
        workers
    }

    fn widening_audit(&self) -> WideningAudit {
        WideningAudit {
            cache: Arc::clone(&self.cache),
            ledger: Arc::clone(&self.ledger),
            widenings: Arc::clone(&self.widenings),
            namespaces: self.widening.clone(),
            reporter: Arc::clone(&self.reporter),
            events: self.events.clone(),
            clock: self.clock,
            leads_since: Timestamp::now(),
        }
    }

    pub(super) fn reconciler(&self) -> Reconciler {
        Reconciler {
            writer: Writer::new(self.client.clone(), self.options.concurrency),
            removals: RemovalTurns::among(self.options.concurrency),
            client: self.client.clone(),
            tiers: self.tiers.clone(),
            cache: Arc::clone(&self.cache),
            ledger: Arc::clone(&self.ledger),
            audit: Arc::clone(&self.audit),
            brake: Arc::clone(&self.brake),
            events: self.events.clone(),
            failures_said: SharedTalkBudget::new(),
            metrics: Arc::clone(&self.metrics),
            reporter: Arc::clone(&self.reporter),
            clock: self.clock,
            pulse: Arc::clone(&self.pulse),
        }
    }
}
