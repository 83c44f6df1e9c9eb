//! `cofferdam run`: the controller.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Args};
use kube::Config;
use tokio::signal::unix::{SignalKind, signal};

use super::cluster_args::ClusterArgs;
use super::duration::parse_duration_in;
use crate::controller::{self, Candidacy, LONGEST_TIME, LeaseSettings, LeaseSettingsError, Options, RunError};
use crate::policy::brake::MaxUnprotected;
use crate::telemetry::logging::{self, LogFormat, LoggingError};

/// The flags of `cofferdam run`; each also reads `COFFERDAM_<FLAG>`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Where /metrics, /livez and /readyz are served
    #[arg(
        long,
        env = "COFFERDAM_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080",
        value_parser = parse_listen
    )]
    listen: SocketAddr,
    /// Writes in flight at most. Half of them may open a direction, and a quarter remove what opens none, so that where those
    /// hang the others close; with 1 or 2 what closes waits for what removes
    #[arg(long, env = "COFFERDAM_CONCURRENCY", value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Namespaces that may lose the isolation of a direction within 10 minutes without a confirmation: a number, or a
    /// percentage of those isolated in it (at least one namespace; 100% is no limit)
    #[arg(long, env = "COFFERDAM_MAX_UNPROTECTED", value_name = "N|N%", default_value_t)]
    max_unprotected: MaxUnprotected,
    /// Every namespace is planned again this often, whether or not something is known to have happened
    #[arg(long, env = "COFFERDAM_AUDIT_INTERVAL", value_name = "DURATION", default_value = "10m", value_parser = parse_audit_interval)]
    audit_interval: Duration,
    /// All NetworkPolicies are listed beside their watch this often, to find what it did not show
    #[arg(long, env = "COFFERDAM_RELIST_INTERVAL", value_name = "DURATION", default_value = "1h", value_parser = parse_relist_interval)]
    relist_interval: Duration,
    /// Drifted namespaces with a series of their own in /metrics at most; the others are counted
    #[arg(
        long,
        env = "COFFERDAM_METRICS_MAX_NAMESPACES",
        value_name = "N",
        default_value_t = 1000
    )]
    metrics_max_namespaces: u32,
    #[command(flatten)]
    election: ElectionArgs,
    /// How log lines look
    #[arg(long, env = "COFFERDAM_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormatArg,
}

/// Which of several replicas writes.
#[derive(Args, Clone, Debug)]
struct ElectionArgs {
    /// Write only while holding the Lease cofferdam in --namespace; false where no second process ever runs
    #[arg(long, env = "COFFERDAM_LEADER_ELECT", value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    leader_elect: bool,
    /// How long after its last sign a silent leader is waited for: whole seconds
    #[arg(long, env = "COFFERDAM_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = parse_lease_time)]
    lease_duration: Duration,
    /// How long a leader that cannot renew its lease goes on writing
    #[arg(long, env = "COFFERDAM_RENEW_DEADLINE", value_name = "DURATION", default_value = "10s", value_parser = parse_lease_time)]
    renew_deadline: Duration,
    /// How often the lease is renewed, or looked at
    #[arg(long, env = "COFFERDAM_RETRY_PERIOD", value_name = "DURATION", default_value = "2s", value_parser = parse_lease_time)]
    retry_period: Duration,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormatArg {
    Text,
    Json,
}

/// Why the controller did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunCommandError {
    /// The logs.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// The runtime or the signal handlers.
    #[error("the process cannot be set up: {0}")]
    Process(#[from] io::Error),
    /// Neither a kubeconfig nor a pod's ServiceAccount.
    #[error("expected a cluster in KUBECONFIG, ~/.kube/config or a pod's ServiceAccount, found none: {0}")]
    NoCluster(kube::config::InferConfigError),
    /// The times of the election.
    #[error(transparent)]
    Lease(#[from] LeaseSettingsError),
    /// The controller.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl RunArgs {
    fn options(&self) -> Result<Options, LeaseSettingsError> {
        Ok(Options {
            listen: self.listen,
            exemptions: self.cluster.exemptions(),
            dns_service: self.cluster.dns.service.clone(),
            concurrency: self.concurrency.into(),
            max_unprotected: self.max_unprotected,
            audit_interval: self.audit_interval,
            relist_interval: self.relist_interval,
            metrics_max_namespaces: usize::try_from(self.metrics_max_namespaces).unwrap_or(usize::MAX),
            election: self.election.candidacy(&self.cluster)?,
        })
    }
}

impl ElectionArgs {
    fn candidacy(&self, cluster: &ClusterArgs) -> Result<Option<Candidacy>, LeaseSettingsError> {
        let settings = LeaseSettings::new(self.lease_duration, self.renew_deadline, self.retry_period)?;
        Ok(self.leader_elect.then(|| Candidacy {
            namespace: cluster.own_namespace(),
            settings,
        }))
    }
}

/// At most what leaves the alert on audits that do not come, an hour, some room.
fn parse_audit_interval(text: &str) -> Result<Duration, String> {
    parse_duration_in(text, Duration::from_secs(1)..=Duration::from_secs(30 * 60))
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| String::from("expected an IP address and a port: 0.0.0.0:8080, 127.0.0.1:8080, [::]:8080"))
}

fn parse_lease_time(text: &str) -> Result<Duration, String> {
    parse_duration_in(text, Duration::from_millis(100)..=LONGEST_TIME)
}

fn parse_relist_interval(text: &str) -> Result<Duration, String> {
    parse_duration_in(text, Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60))
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, and when it led and does not any more.
pub fn run(arguments: &RunArgs) -> Result<(), RunCommandError> {
    logging::init(match arguments.log_format {
        LogFormatArg::Text => LogFormat::Text,
        LogFormatArg::Json => LogFormat::Json,
    })?;
    let options = arguments.options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let config = Config::infer().await.map_err(RunCommandError::NoCluster)?;
        Ok(controller::run(config, options, shutdown).await?)
    });
    // A look-up of a host's name that hangs in a thread of its own must not keep a process that is to end.
    runtime.shutdown_background();
    result
}
