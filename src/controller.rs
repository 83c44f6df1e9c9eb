//! The controller: watches into caches, namespaces through a queue, plans from the core, writes, reports.
//!
//! Reading order: [`run`] here, then `reconcile` (one namespace: look, plan, look again, write, remember), `visit` (what
//! of that needs no request), `apply` (the only writer), `watches` and `cache` (what is known), `report` (what is said).
//! `parts` says what is handed to whom.

mod apply;
mod audit;
mod boot_clock;
mod brake;
mod cache;
#[cfg(test)]
mod canned_server;
pub mod client;
mod consistent_read;
mod error;
mod events;
mod exposed;
mod handover;
mod kept;
mod leader;
mod ledger;
mod parts;
mod patience;
mod process_clock;
mod pulse;
mod queue;
mod random;
mod reconcile;
mod release;
mod removal_turns;
mod report;
mod resource_version;
mod talk_budget;
mod tasks;
mod tier_versions;
mod tier_writer;
mod visit;
mod watches;
mod widening;
mod work;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use kube::Config;
use tokio::net::TcpListener;

use self::cache::{Cache, Watched};
use self::client::{ClientError, WriteGate};
use self::leader::Leadership;
pub use self::leader::{Candidacy, LONGEST_TIME, LeaseSettings, LeaseSettingsError};
use self::parts::Parts;
use self::tasks::{TaskEnded, Tasks};
use crate::policy::Exemptions;
use crate::policy::brake::MaxUnprotected;

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
    let mut background = Tasks::default();
    let parts = Parts::assemble(&config, options, &mut background)?;
    parts.watch(&mut background);
    parts.answer(listener, &mut background);
    parts.say_that_it_started();
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        () = complete(&parts.cache) => {}
        ended = background.first_end() => return Err(ended.into()),
        () = &mut shutdown => return Ok(()),
    }
    // Who does not know the cluster yet does not stand for election.
    let leadership = parts.stand(config)?;
    let Some(leadership) = wait_until_it_leads(&parts, leadership, &mut background, shutdown.as_mut()).await? else {
        return Ok(());
    };
    let workers = parts.lead(&mut background);
    work_until_told_to_end(&parts, leadership, workers, &mut background, shutdown).await?;
    background.shut_down().await;
    Ok(())
}

/// `None` if it is asked to end before.
async fn wait_until_it_leads(
    parts: &Parts,
    leadership: Leadership,
    background: &mut Tasks,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<Leadership>, RunError> {
    tokio::select! {
        () = leadership.begun() => return Ok(Some(leadership)),
        () = leadership.lost() => return Err(RunError::LeadershipLost),
        ended = background.first_end() => return Err(ended.into()),
        () = shutdown => {}
    }
    parts.gate.close();
    leadership.resign().await;
    Ok(None)
}

/// Ends in order: what is in flight first, then the lease. Where the lease is lost, nothing is waited for: whoever is
/// dropped stops, whatever it was about to send.
async fn work_until_told_to_end(
    parts: &Parts,
    leadership: Leadership,
    mut workers: Tasks,
    background: &mut Tasks,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    tokio::select! {
        () = shutdown => {}
        () = leadership.lost() => return Err(RunError::LeadershipLost),
        ended = background.first_end() => return Err(ended.into()),
        ended = workers.first_end() => return Err(ended.into()),
    }
    parts.namespaces.close();
    tokio::select! {
        () = finish(workers, &parts.gate) => {}
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

/// Waits until everything that decides about writes is known: an empty cache would look like a cluster without
/// tiers.
async fn complete(cache: &Cache) {
    cache
        .wait_for(&[Watched::Tiers, Watched::Namespaces, Watched::Policies])
        .await;
    // Too late is no error: what is not known by then is an unknown fact, which the plan handles.
    let _ = tokio::time::timeout(FACTS_DEADLINE, cache.wait_for(&Watched::ALL)).await;
}
