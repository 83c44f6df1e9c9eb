//! What the outside sees: logs, metrics and probes.
//!
//! Label values come from closed sets and from the names of live tiers, never from the text of an
//! error: whoever may create namespaces or policies must not be able to create series. The one
//! exception, a series for each drifted namespace, is bounded.

pub mod gauges;
pub mod logging;
pub mod metrics;
pub mod server;

pub use gauges::GaugeSnapshot;
pub use logging::LogFormat;
pub use metrics::Metrics;
