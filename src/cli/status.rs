//! `cofferdam status`: how every namespace stands, from a live cluster or files, by the plan of the controller itself.
//!
//! Reading order: `crate::cli::input` (files and clusters to a snapshot), `crate::policy::standing` (a namespace in one
//! word, and why), `namespace_status` (that for machines), `table` (that for people), `watch`
//! (again and again).

mod namespace_status;
mod table;
mod watch;

use std::io;

use clap::Args;
use k8s_openapi::jiff::Timestamp;

use self::namespace_status::{NamespaceStatus, StatusReport};
use super::cluster_args::{DnsArgs, LookedAtClusterArgs};
use super::columns::{self, Cell, colours_are_wanted};
use super::input::live::{Cluster, LiveError, Scope, connect, read_cluster, runtime};
use super::input::snapshot::Snapshot;
use super::input::{InputArgs, InputProblems, identities};
use super::write_out;
use crate::policy::standing::{State, Told, standing};
use crate::policy::status::tier_problems;
use crate::policy::{Namespace, RankedTier, World};

/// The flags of `cofferdam status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// One namespace alone; that takes no permission on others [default: all namespaces]
    #[arg(short = 'n', long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces, which is the default too
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only namespaces that this tier governs or, in mode Observe, would govern
    #[arg(long, value_name = "NAME")]
    tier: Option<String>,
    /// What is printed on stdout
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    output: Output,
    /// Go on, and show what changes: on a terminal the whole again, in a pipe the namespaces that changed
    #[arg(short = 'w', long, conflicts_with = "files")]
    watch: bool,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    cluster: LookedAtClusterArgs,
    #[command(flatten)]
    dns: DnsArgs,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Output {
    /// A line per namespace
    Table,
    /// A line per namespace, and below it every policy, field and reason
    Wide,
    /// One object, complete
    Json,
    /// The same as YAML
    Yaml,
}

/// Whether the selection is watertight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Everything in it is protected, exempt by name, or on its way out.
    Protected,
    /// Something is not.
    Unprotected,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
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
    /// A mistyped tier must not pass for one without namespaces.
    #[error("there is no tier {0}; there are: {1}")]
    NoTier(String, String),
    /// No YAML form.
    #[error("cannot write the status as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser_error::Error),
    /// No JSON form.
    #[error("cannot write the status as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The output is gone or full.
    #[error("cannot write the status: {0}")]
    Output(#[from] io::Error),
}

/// What is seen at one moment.
struct Look {
    statuses: Vec<NamespaceStatus>,
    /// Problems of tiers.
    warnings: Vec<String>,
    now: Timestamp,
}

/// Reads, prints, and says in a word what that comes to.
///
/// # Errors
/// When the input cannot be read in full, or the output not written.
pub fn run(arguments: &StatusArgs) -> Result<Verdict, StatusError> {
    if arguments.watch {
        return watch::follow(arguments);
    }
    let look = Look::at(read(arguments)?, arguments, Timestamp::now())?;
    let text = text_of(arguments.output, &look.statuses, look.now)?;
    write_out(&mut io::stdout().lock(), &text)?;
    if matches!(arguments.output, Output::Table | Output::Wide) {
        for warning in &look.warnings {
            eprintln!("{warning}");
        }
    }
    eprintln!("{}", summary(&look.statuses));
    Ok(look.verdict())
}

impl Look {
    fn at(mut snapshot: Snapshot, arguments: &StatusArgs, now: Timestamp) -> Result<Self, StatusError> {
        identities::complete(&mut snapshot);
        let world = world(&snapshot, arguments);
        require_tier(&world, arguments.tier.as_deref())?;
        let problems = world.tiers().iter().flat_map(|ranked| {
            let tier = columns::printable(&ranked.tier.identity().name);
            let problems = tier_problems(ranked).into_iter();
            problems.map(move |problem| {
                let message = columns::printable(&problem.message);
                format!("warning: tier {tier}: {}: {message}", problem.reason)
            })
        });
        Ok(Self {
            warnings: problems.collect(),
            statuses: statuses(&world, &snapshot, arguments, now),
            now,
        })
    }

    fn verdict(&self) -> Verdict {
        match self.statuses.iter().any(|status| status.unprotected) {
            true => Verdict::Unprotected,
            false => Verdict::Protected,
        }
    }
}

impl StatusArgs {
    fn scope(&self) -> Scope<'_> {
        self.namespace.as_deref().map_or(Scope::Cluster, Scope::Namespace)
    }

    /// Says what was not read.
    fn note(&self, cluster: &Cluster) {
        if !cluster.serves_tiers {
            eprintln!(
                "warning: the cluster has no IsolationTiers; install them: cofferdam crd | kubectl apply --server-side -f -"
            );
        }
        for unreadable in &cluster.unreadable_facts {
            eprintln!(
                "note: {unreadable}; what presets resolve from there counts as unknown, and what was last written as right"
            );
        }
    }
}

fn read(arguments: &StatusArgs) -> Result<Snapshot, StatusError> {
    let input = &arguments.input;
    if !input.are_files() {
        let cluster = runtime()?.block_on(async {
            let client = connect(input.context()).await?;
            read_cluster(&client, &arguments.dns.service, arguments.scope()).await
        })?;
        arguments.note(&cluster);
        return Ok(cluster.snapshot);
    }
    if input.context().is_some() {
        return Err(StatusError::ContextWithoutCluster);
    }
    let manifests = input.read_files()?;
    for note in manifests.notes(false) {
        eprintln!("{note}");
    }
    let known = |name: &String| manifests.snapshot.namespaces.contains_key(name);
    match &arguments.namespace {
        Some(name) if !known(name) => Err(StatusError::NoNamespace(columns::printable(name))),
        _ => Ok(manifests.snapshot),
    }
}

fn world(snapshot: &Snapshot, arguments: &StatusArgs) -> World {
    let facts = snapshot.facts(&arguments.dns.service);
    World::new(snapshot.parsed_tiers(), facts, arguments.cluster.exemptions())
}

fn require_tier(world: &World, wanted: Option<&str>) -> Result<(), StatusError> {
    let names = || world.tiers().iter().map(|ranked| &*ranked.tier.identity().name);
    match wanted {
        Some(wanted) if !names().any(|name| name == wanted) => {
            let names: Vec<_> = names().map(columns::printable).collect();
            let names = if names.is_empty() {
                String::from("none")
            } else {
                names.join(", ")
            };
            Err(StatusError::NoTier(columns::printable(wanted), names))
        }
        _ => Ok(()),
    }
}

/// The namespaces that were asked for, by name.
fn statuses(world: &World, snapshot: &Snapshot, arguments: &StatusArgs, now: Timestamp) -> Vec<NamespaceStatus> {
    let mut statuses = Vec::new();
    for (name, metadata) in &snapshot.namespaces {
        if arguments.namespace.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let namespace = Namespace::from(metadata.clone());
        let told = |ranked: &RankedTier| {
            let identity = ranked.tier.identity();
            let manifest = snapshot.tiers.get(&*identity.name);
            manifest.map_or_else(Told::default, |manifest| {
                Told::read(&manifest.status, identity.generation, name)
            })
        };
        let standing = standing(world, &namespace, snapshot.policies_in(name), told, now);
        let governor = standing.assignment.governor.tier();
        let mut of_interest = governor
            .into_iter()
            .chain(standing.shadows.iter().map(|(tier, _)| *tier));
        let is_wanted = |tier: &RankedTier| {
            let wanted = arguments.tier.as_deref();
            wanted.is_none_or(|wanted| wanted == &*tier.tier.identity().name)
        };
        if arguments.tier.is_none() || of_interest.any(is_wanted) {
            let told = governor.map(told).unwrap_or_default();
            statuses.push(NamespaceStatus::new(&namespace, metadata, &standing, &told));
        }
    }
    statuses
}

fn text_of(output: Output, statuses: &[NamespaceStatus], now: Timestamp) -> Result<String, StatusError> {
    let report = || StatusReport::of(statuses);
    Ok(match output {
        Output::Table => rows(statuses, now, |_| Vec::new()),
        Output::Wide => rows(statuses, now, table::details),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&report())?),
        Output::Yaml => format!("{}\n", serde_saphyr::to_string(&report())?.trim_end()),
    })
}

fn rows(statuses: &[NamespaceStatus], now: Timestamp, details: impl Fn(&NamespaceStatus) -> Vec<String>) -> String {
    let header = [table::COLUMNS.map(Cell::from)].into_iter();
    let rows: Vec<_> = header
        .chain(statuses.iter().map(|status| table::row(status, now)))
        .collect();
    let lines = columns::lines(
        &rows,
        columns::widths(&rows, [0; table::COLUMNS.len()]),
        colours_are_wanted(),
    );
    let details: Vec<_> = [Vec::new()].into_iter().chain(statuses.iter().map(details)).collect();
    table::with_details(&lines, &details)
}

/// `status: 2 of 7 namespaces are not protected: 1 drifted, 1 ungoverned`.
fn summary(statuses: &[NamespaceStatus]) -> String {
    let unprotected = statuses.iter().filter(|status| status.unprotected).count();
    let in_state = |state: &State| statuses.iter().filter(|status| status.state == *state).count();
    let listed = |unprotected: bool| {
        let states = State::ALL.iter().filter(|state| state.is_unprotected() == unprotected);
        let counted = states.map(|state| (in_state(state), state.as_str()));
        let words: Vec<_> = counted
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        words.join(", ")
    };
    let all = statuses.len();
    let noun = if all == 1 { "namespace" } else { "namespaces" };
    let are = if unprotected == 1 { "is" } else { "are" };
    match unprotected {
        0 if all == 0 => String::from("status: no namespace"),
        0 => format!("status: {all} {noun}: {}", listed(false)),
        _ => format!(
            "status: {unprotected} of {all} {noun} {are} not protected: {}",
            listed(true)
        ),
    }
}
