//! `cofferdam report`: evidence for auditors, from a live cluster or files.
//!
//! Reading order: `crate::policy::coverage` (the judgement), `evidence` (that for machines), `document` (that for people).

mod document;
mod evidence;

use clap::Args;
use k8s_openapi::jiff::Timestamp;

use self::evidence::{Cluster, Report};
use super::cluster_args::LookedAtClusterArgs;
use super::columns::printable;
use super::input::live::{LiveError, connect, describe, read_namespaces, runtime};
use super::input::snapshot::Snapshot;
use super::input::{InputArgs, ReadError};
use super::say;
use super::selection::SelectionArgs;
use super::stdout::{PrintError, print};
use crate::controller::client::within_deadline;

/// The flags of `cofferdam report`.
#[derive(Args, Clone, Debug)]
pub struct ReportArgs {
    /// For CIS Kubernetes Benchmark 5.3.2: all namespaces have NetworkPolicies
    #[arg(long, required = true)]
    cis: bool,
    #[command(flatten)]
    selection: SelectionArgs,
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
    /// Files or cluster.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// stdout.
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// Reads, prints, and says in a word what that comes to.
///
/// # Errors
/// When the input cannot be read in full, or the output not written.
pub fn run(arguments: &ReportArgs) -> Result<Verdict, ReportError> {
    let (mut snapshot, server_version) = read(arguments)?;
    let cluster = Cluster::new(&snapshot, server_version);
    arguments.selection.require_in(&snapshot)?;
    snapshot.namespaces.retain(|name, _| arguments.selection.selects(name));
    let report = Report::new(&snapshot, &arguments.cluster.exemptions(), cluster, Timestamp::now());
    let text = match arguments.output {
        Output::Table => document::table(&report),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&report).map_err(PrintError::from)?),
        Output::Markdown => document::markdown(&report),
    };
    print(&text)?;
    say(&document::summary(&report));
    Ok(if report.fails() { Verdict::Fail } else { Verdict::Pass })
}

/// The objects and, of a live cluster, the version of its server.
fn read(arguments: &ReportArgs) -> Result<(Snapshot, Option<String>), ReadError> {
    if let Some(manifests) = arguments.input.read_files_alone()? {
        return Ok((manifests.snapshot, None));
    }
    let read = runtime()?.block_on(async {
        let client = connect(arguments.input.context()).await?;
        let mut snapshot = Snapshot::default();
        read_namespaces(&client, arguments.selection.scope(), &mut snapshot).await?;
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
