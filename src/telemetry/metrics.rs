//! Counters and histograms, kept as things happen. What is a state is in [`super::gauges`].

mod labels;
mod register;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry, TextEncoder};

pub use self::labels::{DroppedEvent, KnownSeries, ReconcileResult};
use self::register::{RECONCILE_BUCKETS, counter, gauge, histogram, latency};
use super::gauges::{GaugeCollector, GaugeSource};
use crate::policy::DriftKind;

/// What every metric of ours begins with.
pub(super) const PREFIX: &str = "cofferdam";

/// The metrics of one process. Every method may be called from anywhere at any time.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// The tiers that may be a label value. Locked while a series of a tier is touched, so that none
    /// comes back after its tier went.
    live_tiers: Mutex<BTreeSet<String>>,
    drift_detected: IntCounterVec,
    drift_corrected: IntCounterVec,
    drift_heal_duration: HistogramVec,
    time_to_protection: HistogramVec,
    reconciles: IntCounterVec,
    reconcile_errors: IntCounterVec,
    reconcile_duration: HistogramVec,
    api_requests: IntCounterVec,
    events_dropped: IntCounterVec,
    cache_synced: IntGaugeVec,
    leader: IntGaugeVec,
}

impl Metrics {
    /// Registers every metric, and the process's own CPU, memory and file descriptors.
    ///
    /// # Errors
    ///
    /// When two metrics collide: a mistake in this file.
    pub fn new(known: KnownSeries) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let at = &registry;
        let tier_kind = &["tier", "kind"];
        let metrics = Self {
            live_tiers: Mutex::default(),
            drift_detected: counter(at, "drift_detected_total", DRIFT_DETECTED, tier_kind)?,
            drift_corrected: counter(at, "drift_corrected_total", DRIFT_CORRECTED, tier_kind)?,
            drift_heal_duration: latency(at, "drift_heal_duration_seconds", HEAL_DURATION, &["kind"])?,
            time_to_protection: latency(at, "time_to_protection_seconds", TO_PROTECTION, &["tier"])?,
            reconciles: counter(at, "reconcile_total", RECONCILES, &["controller", "result"])?,
            reconcile_errors: counter(at, "reconcile_errors_total", ERRORS, &["controller", "reason"])?,
            reconcile_duration: histogram(
                at,
                "reconcile_duration_seconds",
                RECONCILE_DURATION,
                &["controller"],
                &RECONCILE_BUCKETS,
            )?,
            api_requests: counter(at, "api_requests_total", REQUESTS, &["verb", "resource", "code"])?,
            events_dropped: counter(at, "events_dropped_total", EVENTS_DROPPED, &["reason"])?,
            cache_synced: gauge(at, "cache_synced", CACHE_SYNCED, &["resource"])?,
            leader: gauge(at, "leader", LEADER, &[])?,
            registry: registry.clone(),
        };
        gauge(at, "build_info", "Always 1; its labels tell what runs.", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        metrics.start_known_series(known);
        Ok(metrics)
    }

    /// Has `source` asked for the gauges at each scrape. At most `drift_series` namespaces get a
    /// series of their own while they drift.
    ///
    /// # Errors
    ///
    /// On a second call: the gauges would be exported twice.
    pub fn serve_gauges(&self, source: GaugeSource, drift_series: usize) -> prometheus::Result<()> {
        self.registry
            .register(Box::new(GaugeCollector::new(source, drift_series)?))
    }

    /// All metrics, in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// When a metric is malformed: a mistake in this module.
    pub fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Starts the series of these tiers at 0, and drops those of tiers that are gone. To be called
    /// before anything is reported of a new tier: what is reported of an unknown one is not counted.
    pub fn tiers_changed(&self, live: &BTreeSet<String>) {
        let mut live_tiers = self.live_tiers();
        for gone in live_tiers.difference(live) {
            for kind in DriftKind::ALL {
                for vector in [&self.drift_detected, &self.drift_corrected] {
                    // An error says that there is no such series, which is what is wanted.
                    let _ = vector.remove_label_values(&[gone.as_str(), kind.as_str()]);
                }
            }
            let _ = self.time_to_protection.remove_label_values(&[gone]);
        }
        for tier in live {
            for kind in DriftKind::ALL {
                for vector in [&self.drift_detected, &self.drift_corrected] {
                    vector.with_label_values(&[tier.as_str(), kind.as_str()]);
                }
            }
            self.time_to_protection.with_label_values(&[tier]);
        }
        live_tiers.clone_from(live);
    }

    /// Somebody else changed what a tier wants.
    pub fn drift_detected(&self, tier: &str, kind: DriftKind) {
        if self.live_tiers().contains(tier) {
            self.drift_detected.with_label_values(&[tier, kind.as_str()]).inc();
        }
    }

    /// A drift was healed, so long after the event that showed it.
    pub fn drift_corrected(&self, tier: &str, kind: DriftKind, took: Duration) {
        if self.live_tiers().contains(tier) {
            self.drift_corrected.with_label_values(&[tier, kind.as_str()]).inc();
        }
        self.drift_heal_duration
            .with_label_values(&[kind.as_str()])
            .observe(took.as_secs_f64());
    }

    /// A namespace got its first complete base, so long after the event that showed the namespace.
    pub fn protected(&self, tier: &str, took: Duration) {
        if self.live_tiers().contains(tier) {
            self.time_to_protection
                .with_label_values(&[tier])
                .observe(took.as_secs_f64());
        }
    }

    /// A reconcile ended.
    pub fn reconciled(&self, controller: &'static str, result: ReconcileResult, took: Duration) {
        self.reconciles.with_label_values(&[controller, result.label()]).inc();
        self.reconcile_duration
            .with_label_values(&[controller])
            .observe(took.as_secs_f64());
    }

    /// A reconcile met an error; `reason` names its variant.
    pub fn reconcile_failed(&self, controller: &'static str, reason: &'static str) {
        self.reconcile_errors.with_label_values(&[controller, reason]).inc();
    }

    /// A request to the API server ended. `code` is the status, or a word for what came instead.
    pub fn api_requested(&self, verb: &'static str, resource: &'static str, code: &str) {
        self.api_requests.with_label_values(&[verb, resource, code]).inc();
    }

    /// This replica writes from now on, for as long as it lives.
    pub fn leads(&self) {
        self.leader.with_label_values::<&str>(&[]).set(1);
    }

    /// An Event was not published.
    pub fn event_dropped(&self, why: DroppedEvent) {
        self.events_dropped.with_label_values(&[why.label()]).inc();
    }

    /// A cache has, or no longer has, all objects of its resource.
    pub fn cache_synced(&self, resource: &'static str, synced: bool) {
        self.cache_synced.with_label_values(&[resource]).set(i64::from(synced));
    }

    fn start_known_series(&self, known: KnownSeries) {
        let KnownSeries {
            controllers,
            error_reasons,
            caches,
        } = known;
        self.leader.with_label_values::<&str>(&[]).set(0);
        for controller in controllers {
            self.reconcile_duration.with_label_values(&[controller]);
            for result in ReconcileResult::ALL {
                self.reconciles.with_label_values(&[controller, result.label()]);
            }
            for reason in error_reasons {
                self.reconcile_errors.with_label_values(&[controller, reason]);
            }
        }
        for resource in caches {
            self.cache_synced.with_label_values(&[resource]).set(0);
        }
        for kind in DriftKind::ALL {
            self.drift_heal_duration.with_label_values(&[kind.as_str()]);
        }
        for why in DroppedEvent::ALL {
            self.events_dropped.with_label_values(&[why.label()]);
        }
    }

    /// A set of names has no state that a panic could leave half-done.
    fn live_tiers(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.live_tiers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const DRIFT_DETECTED: &str = "Differences from what the controller last wrote, made by somebody else.";
const DRIFT_CORRECTED: &str = "Differences made by somebody else that the controller healed.";
const HEAL_DURATION: &str = "Time from the event that showed a drift to the write that healed it.";
const TO_PROTECTION: &str = "Time from the event that showed a new namespace to the write of its last base policy.";
const RECONCILES: &str =
    "Looks at a namespace (controller=namespace) and writes to a tier (controller=tier), by how they ended.";
const ERRORS: &str = "Looks at a namespace and writes to a tier that met an error, by its reason.";
const RECONCILE_DURATION: &str = "Time that a look at a namespace, or a write to a tier, took.";
const REQUESTS: &str = "Requests to the API server, by how they ended.";
const LEADER: &str = "1 while this replica is the one that writes.";
const EVENTS_DROPPED: &str =
    "Events that were not published, by why: what they tell of is counted elsewhere all the same.";
const CACHE_SYNCED: &str = "1 while the cache of a resource is complete.";

#[cfg(test)]
mod tests;
