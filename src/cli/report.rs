//! `cofferdam report`: evidence for auditors, from a live cluster or files.
//!
//! Reading order: `crate::policy::coverage` (the judgement), `evidence` (that for machines), `document` (that for people).

mod document;
mod evidence;

use std::io;

use clap::Args;
use k8s_openapi::jiff::Timestamp;

use self::evidence::{Cluster, Report};
use super::cluster_args::LookedAtClusterArgs;
use super::columns::printable;
use super::input::live::{LiveError, Scope, connect, describe, read_namespaces, runtime};
use super::input::snapshot::Snapshot;
use super::input::{InputArgs, InputProblems};
use super::write_out;
use crate::controller::client::within_deadline;

/// The flags of `cofferdam report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// For CIS Kubernetes Benchmark 5.3.2: all namespaces have NetworkPolicies
    #[arg(long, required = true)]
    cis: bool,
    /// One namespace alone; that takes no permission on others [default: all namespaces]
    #[arg(short = 'n', long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces, which is the default too
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// What is printed on stdout
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    output: Output,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    cluster: LookedAtClusterArgs,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Output {
    /// A line per namespace and direction
    Table,
    /// One object, complete
    Json,
    /// A document, complete
    Markdown,
}

/// What the report comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// No namespace fails.
    Pass,
    /// One does.
    Fail,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// What the files hold.
    #[error(transparent)]
    Input(#[from] InputProblems),
    /// The cluster.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// A flag without what it is about.
    #[error("--context names a cluster, and -f asks none: leave one of the two out")]
    ContextWithoutCluster,
    /// A namespace that the files lack.
    #[error("there is no namespace {0}")]
    NoNamespace(String),
    /// No JSON form.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The output is gone or full.
    #[error("cannot write the report: {0}")]
    Output(#[from] io::Error),
}

/// Reads, prints, and says in a word what that comes to.
///
/// # Errors
/// When the input cannot be read in full, or the output not written.
pub fn run(arguments: &ReportArgs) -> Result<Verdict, ReportError> {
    let (mut snapshot, server_version) = read(arguments)?;
    let cluster = Cluster::new(&snapshot, server_version);
    if let Some(wanted) = &arguments.namespace {
        snapshot.namespaces.retain(|name, _| name == wanted);
        if snapshot.namespaces.is_empty() {
            return Err(ReportError::NoNamespace(printable(wanted)));
        }
    }
    let report = Report::new(&snapshot, &arguments.cluster.exemptions(), cluster, Timestamp::now());
    let text = match arguments.output {
        Output::Table => document::table(&report),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
        Output::Markdown => document::markdown(&report),
    };
    write_out(&mut io::stdout().lock(), &text)?;
    eprintln!("{}", document::summary(&report));
    Ok(if report.fails() { Verdict::Fail } else { Verdict::Pass })
}

/// The objects and, of a live cluster, the version of its server.
fn read(arguments: &ReportArgs) -> Result<(Snapshot, Option<String>), ReportError> {
    let input = &arguments.input;
    if input.are_files() {
        if input.context().is_some() {
            return Err(ReportError::ContextWithoutCluster);
        }
        return Ok((input.read_files()?.snapshot, None));
    }
    let scope = arguments.namespace.as_deref().map_or(Scope::Cluster, Scope::Namespace);
    let read = runtime()?.block_on(async {
        let client = connect(input.context()).await?;
        let mut snapshot = Snapshot::default();
        read_namespaces(&client, scope, &mut snapshot).await?;
        let version = within_deadline(client.apiserver_version()).await;
        let version = version.map_err(|error| LiveError::List {
            what: "the version of the API server",
            why: describe(error),
            advice: "",
        })?;
        Ok::<_, LiveError>((snapshot, Some(printable(&version.git_version))))
    })?;
    Ok(read)
}
