//! `make bench`: the controller against the ceiling of the same API server in the same run. docs/benchmarks.md says
//! what each row means. Not a test: a missed bar is shown, only what cannot be measured fails.
//!
//! Reading order: `scene` (what everything stands on), `bulk`, `new_namespace`, `heal` (the measurements), `sightings`
//! (the clock of them all), then what they send with: `raw_loop`, `load`, `connection`.
// Here a panic is the report that something could not be measured.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod bulk;
mod connection;
#[path = "../tests/cluster/harness/mod.rs"]
mod harness;
mod heal;
mod load;
mod new_namespace;
mod policy_bytes;
mod raw_loop;
mod scene;
mod sightings;
mod table;
mod watch_events;
mod write_counts;

use clap::{Parser, ValueEnum};

use crate::scene::Scene;
use crate::table::{Table, print};

/// Measures the controller against raw requests to one throw-away API server.
#[derive(Parser)]
struct Arguments {
    /// Measure only this; repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<Measurement>,
    /// Namespaces of the bulk measurements
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(250..=9_999))]
    namespaces: u16,
    /// Also start at 10,000 namespaces
    #[arg(long)]
    large: bool,
    /// What `cargo bench` passes to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Measurement {
    /// Raw POST and PUT at 1, 8 and 32 connections
    Ceiling,
    /// Cold start, tier edit, restart, memory
    Bulk,
    /// A new namespace, one by one
    OneByOne,
    /// 300 new namespaces at once
    Burst,
    /// An edit by another user
    Heal,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let asked = |measurement| arguments.only.is_empty() || arguments.only.contains(&measurement);
    let mut scene = Scene::set(arguments.namespaces.into()).await;
    end_with_any_task();
    let version = scene.admin.get("/version").await;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let server = version["gitVersion"].as_str().unwrap_or_default();
    let size = scene.current_bytes().size();
    print(&format!(
        "{cores} cores shared with kube-apiserver {server}; policies of up to {size} bytes\n"
    ));
    let mut table = Table::begin();
    if asked(Measurement::Ceiling) {
        bulk::measure_ceiling(&mut scene, &mut table).await;
    }
    if asked(Measurement::Bulk) {
        bulk::measure_bulk(&mut scene, &mut table).await;
    }
    if asked(Measurement::OneByOne) {
        new_namespace::measure_one_by_one(&scene, &mut table).await;
    }
    if asked(Measurement::Burst) {
        new_namespace::measure_burst(&scene, &mut table).await;
    }
    if asked(Measurement::Heal) {
        heal::measure_heal(&scene, &mut table).await;
    }
    if arguments.large {
        drop(scene);
        let mut scene = Scene::set(10_000).await;
        bulk::measure_large(&mut scene, &mut table).await;
    }
}

/// What fails in a task of its own would else be waited for: the run ends, and the harness ends its processes.
fn end_with_any_task() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(1);
    }));
}
