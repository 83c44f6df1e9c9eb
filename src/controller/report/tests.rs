//! A scrape of a large cluster, from a state that the real parts built: caches, plans, ledger, gauges, text.

mod writing;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::{DynamicObject, PartialObjectMeta};
use serde_json::{Value, json};

use super::*;
use crate::controller::cache::Watched;
use crate::controller::visit::Visit;
use crate::policy::brake::MaxUnprotected;
use crate::policy::record::{OpenDrift, Outcome};
use crate::policy::{DriftKind, Exemptions, PolicyName};
use crate::telemetry::metrics::{KnownSeries, Metrics};

/// What a scrape may cost in what is shipped, a release build.
const SCRAPE: Duration = Duration::from_millis(100);
/// How many times as long a debug build may take: less than it does (4 to 5 times as long), so that this fails before a
/// release build is too slow.
const SLOWER_IN_DEBUG: u32 = 3;

/// Of a running controller, with all tiers' series.
fn metrics(reporter: Reporter, drift_series: usize) -> Metrics {
    let metrics = Metrics::new(KnownSeries::default()).unwrap();
    metrics.tiers_changed(&reporter.cache.tier_names());
    metrics
        .serve_gauges(Arc::new(move || reporter.gauges()), drift_series)
        .unwrap();
    metrics
}

fn tier(number: usize) -> Value {
    let spec = json!({
        "namespaceSelector": {"matchLabels": {"tier": format!("t{number}")}}, "mode": "Enforce",
        "allow": [{"name": "same", "preset": "SameNamespace"}],
    });
    let name = format!("tier-with-a-name-of-some-length-{number:03}");
    json!({"metadata": {"name": name, "uid": format!("t{number}"), "generation": 1}, "spec": spec})
}

fn read(tier: Value) -> DynamicObject {
    serde_json::from_value(tier).unwrap()
}

/// So many tiers share so many namespaces; in the first of these a base is missing that nobody put back yet.
fn built(tiers: usize, namespaces: usize, drifted: usize) -> Reporter {
    let cache = Cache::new(Exemptions::new("cofferdam-system", []), (String::new(), String::new()));
    cache.tiers_listed(&(0..tiers).map(|number| read(tier(number))).collect::<Vec<_>>());
    let ledger = Ledger::default();
    for number in 0..namespaces {
        let name = format!("namespace-with-a-name-of-some-length-{number:05}");
        let labels = json!({"tier": format!("t{}", number % tiers), "kubernetes.io/metadata.name": name});
        let metadata = json!({"name": name, "uid": format!("n{number}"), "labels": labels});
        let namespace = serde_json::from_value::<PartialObjectMeta<Namespace>>(json!({"metadata": metadata}));
        cache.namespace_applied(namespace.unwrap(), None);
        protect(&cache, &ledger, &name, number < drifted);
    }
    for watched in [Watched::Tiers, Watched::Namespaces, Watched::Policies] {
        cache.synced(watched);
    }
    let (cache, ledger) = (Arc::new(cache), Arc::new(ledger));
    let brake = ReleaseBrake::new(Arc::clone(&cache), Arc::clone(&ledger), MaxUnprotected::default());
    Reporter::new(cache, ledger, Arc::default(), Arc::new(brake))
}

fn protect(cache: &Cache, ledger: &Ledger, name: &str, drifted: bool) {
    let view = cache.view(name).unwrap();
    let visit = Visit::of(&view, None);
    let plan = visit.plan(Duration::ZERO);
    for write in plan.writes() {
        let mut policy = write.object(&view.namespace);
        policy.metadata.uid = Some(format!("{name}-{}", write.name));
        policy.metadata.resource_version = Some(String::from("1"));
        cache.written(name, policy, Some(&write.policy));
    }
    let outcome = Outcome {
        committed: plan.writes().map(|write| write.name.clone()).collect(),
        ..Outcome::default()
    };
    assert_eq!(outcome.committed.len(), 2);
    let mut record = visit.record_after(&plan, &outcome, &cache.observed(name), Duration::ZERO);
    if drifted {
        let since = Timestamp::UNIX_EPOCH;
        let kind = DriftKind::Missing;
        let base = PolicyName::baseline(crate::api::Direction::Ingress);
        record.drifted.insert(base, OpenDrift { kind, since });
    }
    ledger.record(name, record);
}

/// Of this thread: what else the machine does does not count.
fn time_on_a_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the first field"))
}

fn sum(text: &str, metric: &str) -> f64 {
    let samples = text.lines().filter(|line| line.starts_with(metric));
    samples
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

fn bytes_of(text: &str, prefix: &str) -> usize {
    let lines = text.lines().filter(|line| line.starts_with(prefix));
    lines.map(|line| line.len() + 1).sum()
}

#[test]
fn a_scrape_of_ten_thousand_namespaces_is_small_and_quick() {
    let metrics = metrics(built(10, 10_000, 10_000), 1_000);
    let scrape = || {
        let before = time_on_a_processor();
        (metrics.encode().unwrap(), time_on_a_processor() - before)
    };
    // The first counts what the brake knows, too, as one in ten seconds does.
    let scrapes: Vec<_> = (0..5).map(|_| scrape()).collect();
    let (text, longest) = scrapes.iter().max_by_key(|(_, took)| *took).unwrap();
    let shortest = scrapes.iter().map(|(_, took)| *took).min().unwrap();
    println!("{} bytes in {shortest:?} to {longest:?}", text.len());
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
    assert!((sum(text, "cofferdam_tier_namespaces{") - 10_000.0).abs() < 0.5);
    assert!((sum(text, "cofferdam_namespace_drift{") - 1_000.0).abs() < 0.5);
    assert!((sum(text, "cofferdam_namespace_drift_omitted") - 9_000.0).abs() < 0.5);
    let bound = SCRAPE * if cfg!(debug_assertions) { SLOWER_IN_DEBUG } else { 1 };
    assert!(*longest < bound, "{longest:?}, expected {bound:?} at most");
}

#[test]
fn five_hundred_tiers_cost_a_bounded_number_of_bytes_each() {
    let with = |tiers, drifted| metrics(built(tiers, 500, drifted), 1_000).encode().unwrap();
    let (one, all, drifting) = (with(1, 0), with(500, 0), with(500, 200));
    let each = (all.len() - one.len()) / 499;
    println!(
        "{} bytes, {each} for each tier; {} with 200 that drift",
        all.len(),
        drifting.len()
    );
    assert!(each < 8 << 10, "{each} bytes for each tier");
    let series: BTreeSet<_> = drifting
        .lines()
        .filter(|line| line.starts_with("cofferdam_namespace_drift{"))
        .collect();
    assert_eq!(series.len(), 200);
    assert!(bytes_of(&drifting, "cofferdam_namespace_drift{") < 200 * 256);
}
