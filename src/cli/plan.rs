//! `cofferdam plan`: what would change, from files or a live cluster, by the same core that the controller runs.
//!
//! Reading order: `crate::cli::input` (files and clusters to a snapshot), `outlook` (the plan of each namespace), `print`
//! and `table` (stdout), `notes` (stderr).

mod emergency;
mod held;
mod notes;
mod outlook;
mod print;
mod table;

use clap::Args;

use self::notes::{changes_anything, notes};
use self::outlook::outlooks;
use self::print::{Output, print};
use super::cluster_args::ClusterArgs;
use super::input::live::{LiveError, Scope, connect, read_cluster, runtime};
use super::input::snapshot::Snapshot;
use super::input::{InputArgs, InputProblems, identities, overlay};
use super::say;
use super::stdout::PrintError;
use crate::policy::World;
use crate::policy::brake::MaxUnprotected;

/// The flags of `cofferdam plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Put the tiers and namespaces of the files over those of the cluster of KUBECONFIG: what applying them would change
    #[arg(long, requires = "files")]
    live: bool,
    /// What is printed on stdout
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "diff")]
    output: Output,
    /// Namespaces that may lose the isolation of a direction at once, as the controller has it: the plan says what it would
    /// hold for a confirmation
    #[arg(long, env = "COFFERDAM_MAX_UNPROTECTED", value_name = "N|N%", default_value_t)]
    max_unprotected: MaxUnprotected,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What a plan came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Everything stands as it should.
    NoChange,
    /// Something would be written.
    Changes,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// What the files hold.
    #[error(transparent)]
    Input(#[from] InputProblems),
    /// The cluster.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The custom resource is not installed.
    #[error("the cluster has no IsolationTiers; install them: cofferdam crd | kubectl apply --server-side -f -")]
    NotInstalled,
    /// A flag without what it is about.
    #[error("--context names a cluster, and -f alone asks none; add --live or leave --context out")]
    ContextWithoutCluster,
    /// stdout.
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// Plans, prints, and says what a person must know.
///
/// # Errors
/// When the input cannot be read in full, or the output not written.
pub fn run(arguments: &PlanArgs) -> Result<Verdict, PlanError> {
    let mut snapshot = read(arguments)?;
    identities::complete(&mut snapshot);
    let dns_service = &arguments.cluster.dns.service;
    let facts = snapshot.facts(dns_service);
    let world = World::new(snapshot.parsed_tiers(), facts, arguments.cluster.exemptions());
    let outlooks = outlooks(&world, &snapshot);
    print(arguments.output, &outlooks)?;
    let from_files_alone = arguments.input.are_files() && !arguments.live;
    let facts_in_files = from_files_alone.then_some(dns_service);
    let (limit, own_namespace) = (arguments.max_unprotected, arguments.cluster.own_namespace());
    for note in notes(&world, &outlooks, facts_in_files, limit, &own_namespace) {
        say(&note);
    }
    Ok(if changes_anything(&outlooks) {
        Verdict::Changes
    } else {
        Verdict::NoChange
    })
}

fn read(arguments: &PlanArgs) -> Result<Snapshot, PlanError> {
    let input = &arguments.input;
    let read_cluster = || -> Result<_, LiveError> {
        runtime()?.block_on(async {
            let client = connect(input.context()).await?;
            read_cluster(&client, &arguments.cluster.dns.service, Scope::Cluster).await
        })
    };
    if !input.are_files() {
        let cluster = read_cluster()?;
        return match cluster.serves_tiers {
            true => Ok(cluster.snapshot),
            false => Err(PlanError::NotInstalled),
        };
    }
    if input.context().is_some() && !arguments.live {
        return Err(PlanError::ContextWithoutCluster);
    }
    let manifests = input.read_files()?;
    for note in manifests.notes(arguments.live) {
        say(&note);
    }
    if !arguments.live {
        return Ok(manifests.snapshot);
    }
    // On the first day there are no tiers yet, and what they would cut is just what one wants to know.
    let mut snapshot = read_cluster()?.snapshot;
    overlay::apply(manifests.snapshot, &mut snapshot);
    Ok(snapshot)
}
