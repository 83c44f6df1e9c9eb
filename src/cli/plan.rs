//! `cofferdam plan`: what would change, from files or a live cluster, by the same core that the controller runs.
//!
//! Reading order: `documents` (files to objects), `manifests` (objects to a snapshot, strictly), `live` (a cluster to a
//! snapshot), `overlay` (files over a cluster), `identities` (what files leave out), `outlook` (the plan of each
//! namespace), `print` and `table` (stdout), `notes` (stderr).

mod documents;
mod emergency;
mod identities;
mod live;
mod manifests;
mod notes;
mod outlook;
mod overlay;
mod print;
mod schema_limits;
mod snapshot;
mod table;
mod wording;

use std::fmt;
use std::path::PathBuf;

use clap::Args;

use self::documents::{InputProblem, read_documents};
use self::live::{LiveError, read_cluster};
use self::manifests::Manifests;
use self::notes::{changes_anything, notes};
use self::outlook::outlooks;
use self::print::{Output, PrintError, print};
use self::snapshot::Snapshot;
use super::cluster_args::ClusterArgs;
use crate::policy::World;

/// The flags of `cofferdam plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// File or directory with tiers, namespaces, policies that stand, Services and EndpointSlices, as YAML or JSON; - for
    /// stdin; repeatable. Without it, the cluster of KUBECONFIG is read
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Read the directories below a directory too
    #[arg(short = 'R', long, requires = "files")]
    recursive: bool,
    /// Put the tiers and namespaces of the files over those of the cluster of KUBECONFIG: what applying them would change
    #[arg(long, requires = "files")]
    live: bool,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// What is printed on stdout
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "diff")]
    output: Output,
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

/// Everything that is wrong with what was given.
#[derive(Debug)]
pub struct InputProblems(Vec<InputProblem>);

/// Plans, prints, and says what a person must know.
///
/// # Errors
/// When the input cannot be read in full, or the output not written.
pub fn run(arguments: &PlanArgs) -> Result<Verdict, PlanError> {
    let mut snapshot = read(arguments)?;
    identities::complete(&mut snapshot);
    let dns_service = &arguments.cluster.dns_service;
    let facts = snapshot.facts(dns_service);
    let world = World::new(snapshot.parsed_tiers(), facts, arguments.cluster.exemptions());
    let outlooks = outlooks(&world, &snapshot);
    print(arguments.output, &outlooks)?;
    let from_files_alone = !arguments.files.is_empty() && !arguments.live;
    let facts_in_files = from_files_alone.then_some(dns_service);
    for note in notes(&world, &outlooks, facts_in_files, &arguments.cluster.own_namespace()) {
        eprintln!("{note}");
    }
    Ok(if changes_anything(&outlooks) {
        Verdict::Changes
    } else {
        Verdict::NoChange
    })
}

fn read(arguments: &PlanArgs) -> Result<Snapshot, PlanError> {
    let dns_service = &arguments.cluster.dns_service;
    let context = arguments.context.as_deref();
    if arguments.files.is_empty() {
        let cluster = read_cluster(context, dns_service)?;
        return match cluster.serves_tiers {
            true => Ok(cluster.snapshot),
            false => Err(PlanError::NotInstalled),
        };
    }
    if context.is_some() && !arguments.live {
        return Err(PlanError::ContextWithoutCluster);
    }
    let manifests = read_files(arguments)?;
    for note in manifests.notes(arguments.live) {
        eprintln!("{note}");
    }
    if !arguments.live {
        return Ok(manifests.snapshot);
    }
    // On the first day there are no tiers yet, and what they would cut is just what one wants to know.
    let mut snapshot = read_cluster(context, dns_service)?.snapshot;
    overlay::apply(manifests.snapshot, &mut snapshot);
    Ok(snapshot)
}

fn read_files(arguments: &PlanArgs) -> Result<Manifests, InputProblems> {
    let (documents, mut problems) = read_documents(&arguments.files, arguments.recursive);
    let mut manifests = Manifests::read(documents);
    problems.append(&mut manifests.problems);
    match problems.is_empty() {
        true => Ok(manifests),
        false => Err(InputProblems(problems)),
    }
}

impl fmt::Display for InputProblems {
    /// A line each, all with the word that the first gets from the command line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\nerror: " };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InputProblems {}
