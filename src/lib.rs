//! Cofferdam keeps every namespace of a Kubernetes cluster watertight: isolation tiers in, NetworkPolicies kept
//! in place, drift measured.
//!
//! ```text
//!  watches                 pure, total, no I/O                the only writer
//!  Cache ────► World ────► plan(world, namespace,  ────► Plan ────► apply ────► Outcome ────► ledger ────► status,
//!  (controller/cache)      observed, record)             (controller/apply)                  Events, metrics
//!                          (policy/)                                                         (controller/report)
//! ```
//!
//! Reading order: [`api`] (what people write), [`policy`] (the core: what ought to stand), [`controller`] (the
//! shell around it), [`telemetry`] (what the outside sees), [`cli`] (one file a verb).

// They panic where nobody reads any more.
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))]

pub mod api;
pub mod cli;
pub mod controller;
pub mod policy;
pub mod telemetry;
