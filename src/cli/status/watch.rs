//! `cofferdam status --watch`: told by watches that something changed, and read anew then, so that what is shown is always
//! one moment of the cluster.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::namespace_status::NamespaceStatus;
use super::screen::Screen;
use super::table::{self, COLUMNS};
use super::{Look, Output, StatusArgs, StatusError, Verdict, summary, table_of};
use crate::api::IsolationTier;
use crate::cli::columns::{Cell, colours_are_wanted, lines, widths};
use crate::cli::input::ReadError;
use crate::cli::input::live::{NamespaceMetadata, Scope, connect, read_cluster, runtime};
use crate::cli::say;
use crate::cli::stdout::{PrintError, print_to_reader};
use crate::controller::client::readable::{Readable, StandIn};

/// A cluster is read once in this time at most.
const READ_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// A cluster is read once in this time at least: what presets are resolved from is not watched.
pub const READ_AT_LEAST_EVERY: Duration = Duration::from_secs(30);

/// The top of a terminal, and all below it empty.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Follows a cluster until nobody reads any more.
///
/// # Errors
/// When the cluster cannot be read at first, or the output not written.
pub fn follow(arguments: &StatusArgs) -> Result<Verdict, StatusError> {
    runtime().map_err(ReadError::from)?.block_on(async {
        let client = connect(arguments.input.context()).await.map_err(ReadError::from)?;
        let scope = arguments.selection.scope();
        let changed = Arc::new(Notify::new());
        let mut watches = JoinSet::new();
        let mut shown = Shown::default();
        loop {
            match read_cluster(&client, &arguments.dns.service, scope).await {
                Ok(cluster) => {
                    if watches.is_empty() {
                        arguments.note(&cluster);
                        watch(&client, scope, &changed, &mut watches);
                    }
                    let look = Look::at(cluster.snapshot, arguments, Timestamp::now())?;
                    if !shown.show(arguments.output, &look)? {
                        return Ok(look.verdict());
                    }
                }
                Err(error) if watches.is_empty() => return Err(ReadError::from(error).into()),
                Err(error) => say(&format_args!("warning: {error}; it is tried again")),
            }
            // Changes that come while waiting for the next read are seen by it.
            tokio::time::sleep(READ_AT_MOST_EVERY).await;
            let _ = tokio::time::timeout(READ_AT_LEAST_EVERY, changed.notified()).await;
        }
    })
}

fn watch(client: &Client, scope: Scope<'_>, changed: &Arc<Notify>, watches: &mut JoinSet<()>) {
    let tiers = Api::all_with(client.clone(), &ApiResource::erase::<IsolationTier>(&()));
    watches.spawn(tell::<DynamicObject>(tiers, Arc::clone(changed)));
    let policies = match scope {
        Scope::Cluster => {
            watches.spawn(tell::<NamespaceMetadata>(Api::all(client.clone()), Arc::clone(changed)));
            Api::all(client.clone())
        }
        Scope::Namespace(name) => Api::namespaced(client.clone(), name),
    };
    watches.spawn(tell::<PartialObjectMeta<NetworkPolicy>>(policies, Arc::clone(changed)));
}

/// Tells of every event, for ever. A watch that fails is opened again; meanwhile the cluster is read all the same.
async fn tell<K>(api: Api<Readable<K>>, changed: Arc<Notify>)
where
    K: Resource + Clone + Debug + DeserializeOwned + StandIn + Send + 'static,
{
    // A page may be too large for our client, which would not ask for a smaller one.
    let whole_lists = watcher::Config {
        page_size: None,
        ..watcher::Config::default()
    };
    let mut events = Box::pin(watcher(api, whole_lists).default_backoff());
    while let Some(event) = events.next().await {
        if event.is_ok() {
            changed.notify_one();
        }
    }
}

/// What was printed.
#[derive(Debug, Default)]
struct Shown {
    namespaces: BTreeMap<String, NamespaceStatus>,
    widths: Option<[usize; COLUMNS.len()]>,
}

impl Shown {
    /// Prints what is new. On a terminal the table takes the place of the last one. Returns whether anybody reads.
    fn show(&mut self, output: Output, look: &Look) -> Result<bool, PrintError> {
        let tables = matches!(output, Output::Table | Output::Wide);
        let text = if tables && io::stdout().is_terminal() {
            let draw = |shown: &[NamespaceStatus]| table_of(output, shown, look.now);
            let footer = format!("{}\n", summary(&look.statuses));
            let table = match Screen::of(io::stdout()) {
                Some(screen) => screen.fit(&look.statuses, draw, &footer),
                None => format!("{}{footer}", draw(&look.statuses)),
            };
            format!("{CLEAR}{table}")
        } else {
            self.changes(output, look)?
        };
        print_to_reader(&text)
    }

    /// The namespaces that are not as they were printed, and those that are gone.
    fn changes(&mut self, output: Output, look: &Look) -> Result<String, PrintError> {
        let now: BTreeMap<_, _> = look
            .statuses
            .iter()
            .map(|status| (status.namespace.clone(), status.clone()))
            .collect();
        let changed: Vec<_> = now
            .values()
            .filter(|status| self.namespaces.get(&status.namespace) != Some(status))
            .collect();
        let gone: Vec<_> = self.namespaces.keys().filter(|name| !now.contains_key(*name)).collect();
        let mut text = String::new();
        match output {
            Output::Json => {
                for status in &changed {
                    text.push_str(&format!("{}\n", serde_json::to_string(status)?));
                }
                for name in gone {
                    text.push_str(&format!("{}\n", json!({"namespace": name, "state": "gone"})));
                }
            }
            Output::Yaml => {
                for status in &changed {
                    text.push_str(&format!("---\n{}\n", serde_saphyr::to_string(status)?.trim_end()));
                }
                for name in gone {
                    text.push_str(&format!("---\nnamespace: {name:?}\nstate: gone\n"));
                }
            }
            Output::Table | Output::Wide => {
                let changed = changed.iter().map(|status| {
                    let details = table::details(status);
                    let details = if output == Output::Wide { details } else { Vec::new() };
                    (table::row(status, look.now), details)
                });
                let gone = gone.into_iter().map(|name| (table::gone(name), Vec::new()));
                let rows: Vec<_> = changed.chain(gone).collect();
                text = rows_below(rows, &mut self.widths);
            }
        }
        self.namespaces = now;
        Ok(text)
    }
}

/// Rows with their details, as wide as those above them at least, and with a header where there are none.
fn rows_below(rows: Vec<([Cell; COLUMNS.len()], Vec<String>)>, above: &mut Option<[usize; COLUMNS.len()]>) -> String {
    let header = above.is_none().then(|| (COLUMNS.map(Cell::from), Vec::new()));
    let (rows, details): (Vec<_>, Vec<_>) = header.into_iter().chain(rows).unzip();
    let widths = widths(&rows, above.unwrap_or_default());
    *above = Some(widths);
    table::with_details(&lines(&rows, widths, colours_are_wanted()), &details)
}
