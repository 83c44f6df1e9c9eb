//! Metrics of every kind, made and registered at once.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::PREFIX;

/// Seconds, from a fast write on an idle server to a minute.
const LATENCY_BUCKETS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Seconds; a reconcile that finds nothing to do takes microseconds.
pub(super) const RECONCILE_BUCKETS: [f64; 12] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0,
];

pub(super) fn counter(at: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    register(at, IntCounterVec::new(Opts::new(name, help).namespace(PREFIX), labels)?)
}

pub(super) fn gauge(at: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    register(at, IntGaugeVec::new(Opts::new(name, help).namespace(PREFIX), labels)?)
}

pub(super) fn latency(at: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
    histogram(at, name, help, labels, &LATENCY_BUCKETS)
}

pub(super) fn histogram(
    at: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::new(name, help)
        .namespace(PREFIX)
        .buckets(buckets.to_vec());
    register(at, HistogramVec::new(options, labels)?)
}

fn register<C: Collector + Clone + 'static>(at: &Registry, collector: C) -> prometheus::Result<C> {
    at.register(Box::new(collector.clone()))?;
    Ok(collector)
}
