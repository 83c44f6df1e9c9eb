//! `cofferdam status`: how every namespace stands, from a live cluster or files, by the plan of the controller itself.
//!
//! Reading order: `crate::cli::input` (files and clusters to a snapshot), `crate::policy::standing` (a namespace in one
//! word, and why), `namespace_status` (that for machines), `table` (that for people), `watch`
//! (again and again).

mod namespace_status;
mod screen;
mod table;
mod watch;

use clap::Args;
use k8s_openapi::jiff::Timestamp;

use self::namespace_status::{NamespaceStatus, StatusReport};
use super::cluster_args::{DnsArgs, LookedAtClusterArgs};
use super::columns::{self, Cell, colours_are_wanted};
use super::input::live::{Cluster, connect, read_cluster, runtime};
use super::input::snapshot::Snapshot;
use super::input::{InputArgs, ReadError, identities};
use super::say;
use super::selection::SelectionArgs;
use super::stdout::{PrintError, print};
use crate::policy::standing::{State, Told, standing};
use crate::policy::status::tier_problems;
use crate::policy::{Namespace, RankedTier, World};

/// The flags of `cofferdam status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Only namespaces that this tier governs or, in mode Observe, would govern
    #[arg(long, value_name = "NAME")]
    tier: Option<String>,
    /// What is printed on stdout
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    output: Output,
    /// Go on, and show what changes: on a terminal the whole again, or what fits of it with what is not protected first; in a pipe the namespaces that changed
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
    /// Files or cluster.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A mistyped tier must not pass for one without namespaces.
    #[error("there is no tier {0}; there are: {1}")]
    NoTier(String, String),
    /// stdout.
    #[error(transparent)]
    Print(#[from] PrintError),
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
    print(&text)?;
    if matches!(arguments.output, Output::Table | Output::Wide) {
        for warning in &look.warnings {
            say(&warning);
        }
    }
    say(&summary(&look.statuses));
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
    /// Says what was not read.
    fn note(&self, cluster: &Cluster) {
        if !cluster.serves_tiers {
            say(
                &"warning: the cluster has no IsolationTiers; install them: cofferdam crd | kubectl apply --server-side -f -",
            );
        }
        for unreadable in &cluster.unreadable_facts {
            say(&format_args!(
                "note: {unreadable}; what presets resolve from there counts as unknown, and what was last written as right"
            ));
        }
    }
}

fn read(arguments: &StatusArgs) -> Result<Snapshot, ReadError> {
    if let Some(manifests) = arguments.input.read_files_alone()? {
        for note in manifests.notes(false) {
            say(&note);
        }
        arguments.selection.require_in(&manifests.snapshot)?;
        return Ok(manifests.snapshot);
    }
    let cluster = runtime()?.block_on(async {
        let client = connect(arguments.input.context()).await?;
        read_cluster(&client, &arguments.dns.service, arguments.selection.scope()).await
    })?;
    arguments.note(&cluster);
    Ok(cluster.snapshot)
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
    let selected = snapshot.namespaces.iter();
    for (name, metadata) in selected.filter(|(name, _)| arguments.selection.selects(name)) {
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

fn text_of(output: Output, statuses: &[NamespaceStatus], now: Timestamp) -> Result<String, PrintError> {
    let report = || StatusReport::of(statuses);
    Ok(match output {
        Output::Table | Output::Wide => table_of(output, statuses, now),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&report())?),
        Output::Yaml => format!("{}\n", serde_saphyr::to_string(&report())?.trim_end()),
    })
}

fn table_of(output: Output, statuses: &[NamespaceStatus], now: Timestamp) -> String {
    let details = match output {
        Output::Wide => table::details,
        Output::Table | Output::Json | Output::Yaml => |_: &NamespaceStatus| Vec::new(),
    };
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
