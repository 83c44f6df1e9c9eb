//! What the outside sees: logs, metrics and probes.

pub mod logging;

pub use logging::LogFormat;
