//! All namespaces at once: cold start, an edit of the tier, restart, memory. And the ceiling of the server.

use std::time::Instant;

use http::StatusCode;

use crate::connection::Prepared;
use crate::harness::Controller;
use crate::load::send_all;
use crate::policy_bytes::PolicyBytes;
use crate::scene::{CONNECTIONS, Scene};
use crate::table::{Bar, Row, Table, median, progress};
use crate::watch_events::Kind;
use crate::write_counts::WriteCounts;

/// Rounds of raw and ours: an odd number, so that a median is a measurement.
const ROUNDS: usize = 5;

#[derive(Default)]
struct Rounds {
    raw_post: Vec<f64>,
    raw_put: Vec<f64>,
    cold_start: Vec<f64>,
    cold_start_seconds: Vec<f64>,
    writes_per_policy: Vec<f64>,
    other_writes_per_policy: Vec<f64>,
    tier_edit: Vec<f64>,
    edit_writes_per_policy: Vec<f64>,
    restart_seconds: Vec<f64>,
    restart_writes: Vec<f64>,
    peak_memory: Vec<f64>,
    scrape_milliseconds: Vec<f64>,
    scrape_bytes: Vec<f64>,
}

/// POST and PUT at 1, 8 and 32 connections.
pub async fn measure_ceiling(scene: &mut Scene, table: &mut Table) {
    let sizes = [(1, 500), (8, 1000), (32, 2000)]
        .map(|(connections, count)| (connections, count.min(2 * scene.namespaces.len())));
    let mut rates = vec![(Vec::new(), Vec::new()); sizes.len()];
    for round in 1..=ROUNDS {
        progress(&format!("ceiling: round {round} of {ROUNDS}"));
        for ((connections, count), (post, put)) in sizes.iter().zip(&mut rates) {
            let mut requests = posts(scene, scene.current_bytes());
            requests.truncate(*count);
            let mark = scene.sightings.mark();
            post.push(send_all(&scene.raw, *connections, requests, StatusCode::CREATED).await);
            scene.sightings.rate("raw POSTs", mark, Kind::Added, *count).await;
            let requests = puts(scene, *count);
            put.push(send_all(&scene.raw, *connections, requests, StatusCode::OK).await);
            scene.clear().await;
        }
    }
    for ((connections, _), (post, put)) in sizes.iter().zip(&rates) {
        table.push(Row::raw(format!("POST/s, {connections} connections"), median(post)));
        table.push(Row::raw(format!("PUT/s, {connections} connections"), median(put)));
    }
}

/// Everything that concerns all namespaces, raw and ours by turns.
pub async fn measure_bulk(scene: &mut Scene, table: &mut Table) {
    let mut rounds = Rounds::default();
    for round in 1..=ROUNDS {
        progress(&format!("cold start, tier edit, restart: round {round} of {ROUNDS}"));
        raw_round(scene, &mut rounds).await;
        our_round(scene, &mut rounds).await;
    }
    let count = scene.namespaces.len();
    let compared =
        |what: &str, raw: &[f64], ours: &[f64]| Row::compared(what, median(raw), median(ours), Bar::RatioAtLeast(0.85));
    table.push(compared(
        &format!("cold start of {count} namespaces: policies/s, first to last"),
        &rounds.raw_post,
        &rounds.cold_start,
    ));
    table.push(Row::ours(
        "cold start: s from process start to all protected",
        median(&rounds.cold_start_seconds),
        Bar::None,
    ));
    table.push(Row::ours(
        "cold start: writes per policy",
        largest(&rounds.writes_per_policy),
        Bar::Exactly(1.0),
    ));
    table.push(Row::ours(
        "cold start: other writes per policy",
        largest(&rounds.other_writes_per_policy),
        Bar::Below(0.1),
    ));
    table.push(compared(
        "tier edit that touches all: PUT/s, first to last",
        &rounds.raw_put,
        &rounds.tier_edit,
    ));
    table.push(Row::ours(
        "tier edit: writes per policy",
        largest(&rounds.edit_writes_per_policy),
        Bar::Exactly(1.0),
    ));
    table.push(Row::ours(
        "restart with nothing to do: s until quiet",
        median(&rounds.restart_seconds),
        Bar::Below(2.0),
    ));
    table.push(Row::ours(
        "restart with nothing to do: writes",
        largest(&rounds.restart_writes),
        Bar::Exactly(0.0),
    ));
    table.push(Row::ours(
        format!("peak RSS at {count} namespaces, MiB"),
        largest(&rounds.peak_memory),
        Bar::Below(40.0),
    ));
}

/// The same without raw, once, where there are 10,000 namespaces.
pub async fn measure_large(scene: &mut Scene, table: &mut Table) {
    progress("10,000 namespaces: cold start, tier edit, restart");
    let mut rounds = Rounds::default();
    our_round(scene, &mut rounds).await;
    table.push(Row::ours(
        "cold start of 10000 namespaces: s until all protected",
        median(&rounds.cold_start_seconds),
        Bar::None,
    ));
    table.push(Row::ours(
        "cold start of 10000 namespaces: writes per policy",
        largest(&rounds.writes_per_policy),
        Bar::Exactly(1.0),
    ));
    table.push(Row::ours(
        "restart at 10000 namespaces: s until quiet",
        median(&rounds.restart_seconds),
        Bar::None,
    ));
    table.push(Row::ours(
        "restart at 10000 namespaces: writes",
        largest(&rounds.restart_writes),
        Bar::Exactly(0.0),
    ));
    table.push(Row::ours(
        "peak RSS at 10000 namespaces, MiB",
        largest(&rounds.peak_memory),
        Bar::Below(64.0),
    ));
    table.push(Row::ours(
        "a scrape at 10000 namespaces: ms",
        median(&rounds.scrape_milliseconds),
        Bar::Below(100.0),
    ));
    table.push(Row::ours(
        "a scrape at 10000 namespaces: bytes",
        largest(&rounds.scrape_bytes),
        Bar::Below(1_000_000.0),
    ));
}

async fn raw_round(scene: &Scene, rounds: &mut Rounds) {
    let policies = 2 * scene.namespaces.len();
    let mark = scene.sightings.mark();
    send_all(
        &scene.raw,
        CONNECTIONS,
        posts(scene, scene.current_bytes()),
        StatusCode::CREATED,
    )
    .await;
    let (rate, _) = scene.sightings.rate("raw POSTs", mark, Kind::Added, policies).await;
    rounds.raw_post.push(rate);
    let (puts, mark) = (puts(scene, policies), scene.sightings.mark());
    send_all(&scene.raw, CONNECTIONS, puts, StatusCode::OK).await;
    let (rate, _) = scene.sightings.rate("raw PUTs", mark, Kind::Modified, policies).await;
    rounds.raw_put.push(rate);
    scene.clear().await;
}

async fn our_round(scene: &mut Scene, rounds: &mut Rounds) {
    let policies = 2 * scene.namespaces.len();
    let per_policy = policies as f64;
    let before = WriteCounts::read(&scene.admin).await;
    let (mark, started) = (scene.sightings.mark(), Instant::now());
    let controller = Controller::spawn(&scene.control_plane, &[]);
    let (rate, last) = scene
        .sightings
        .rate("the cold start", mark, Kind::Added, policies)
        .await;
    let written = scene.quiet().await - before;
    rounds.cold_start.push(rate);
    rounds.cold_start_seconds.push((last - started).as_secs_f64());
    rounds.writes_per_policy.push(written.policies / per_policy);
    rounds.other_writes_per_policy.push(written.others / per_policy);

    let (before, mark) = (WriteCounts::read(&scene.admin).await, scene.sightings.mark());
    scene.edit_tier().await;
    let (rate, _) = scene
        .sightings
        .rate("the tier edit", mark, Kind::Modified, policies)
        .await;
    let written = scene.quiet().await - before;
    rounds.tier_edit.push(rate);
    rounds.edit_writes_per_policy.push(written.policies / per_policy);
    scrape(&controller, rounds);
    rounds.peak_memory.push(peak_memory(&controller));
    assert_eq!(controller.sigterm().await, 0, "the controller ends in order");
    restart(scene, rounds).await;
    scene.clear().await;
}

async fn restart(scene: &Scene, rounds: &mut Rounds) {
    let (before, started) = (WriteCounts::read(&scene.admin).await, Instant::now());
    let controller = Controller::start(&scene.control_plane, &[]).await;
    let ready = started.elapsed();
    rounds.restart_seconds.push(ready.as_secs_f64());
    // Quiet from the moment that it was ready, if this is none.
    rounds.restart_writes.push((scene.quiet().await - before).total());
    rounds.peak_memory.push(peak_memory(&controller));
    assert_eq!(controller.sigterm().await, 0, "the controller ends in order");
}

fn posts(scene: &Scene, bytes: &PolicyBytes) -> Vec<Prepared> {
    scene
        .namespaces
        .iter()
        .flat_map(|namespace| bytes.posts(namespace))
        .collect()
}

/// Replacements of `count` policies that the observer has seen.
fn puts(scene: &Scene, count: usize) -> Vec<Prepared> {
    let bytes = scene.other_bytes();
    scene.sightings.read(|seen| {
        let policies = seen.policies.values();
        let governed = policies.filter(|policy| policy.namespace.starts_with("governed-"));
        governed.take(count).map(|policy| bytes.put(policy)).collect()
    })
}

/// As Prometheus does, from the request to the last byte.
fn scrape(controller: &Controller, rounds: &mut Rounds) {
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let (code, page) = controller.get("/metrics").expect("a running controller");
        rounds
            .scrape_milliseconds
            .push(started.elapsed().as_secs_f64() * 1000.0);
        rounds.scrape_bytes.push(page.len() as f64);
        assert_eq!(code, 200, "a scrape is answered");
    }
}

/// `VmHWM`, in MiB.
fn peak_memory(controller: &Controller) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", controller.pid())).expect("a running process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kibibytes = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok());
    kibibytes.unwrap_or(f64::NAN) / 1024.0
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}
