//! Scenarios against a real API server. `make test` runs them; `cargo test --test cluster` does, once
//! `make control-plane` has built the servers. One binary, so that one control plane serves many tests.
// Here a panic is the report: clippy's allow-*-in-tests covers only the bodies of #[test] functions, not what they call.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod agreement;
mod assignment;
mod attack;
mod attribution;
mod brake;
mod broken_tier;
mod bulk_edit;
mod contested;
mod converge;
mod dashboard_picture;
mod demo;
mod drift;
mod facts;
mod failure;
mod faults;
mod gauges;
mod handover;
mod harness;
mod harness_itself;
mod hostile_tenant;
mod installation;
mod leader;
mod missed_events;
mod namespace_lifecycle;
mod observe;
mod permissions;
mod plan;
mod poisoned;
mod prometheus;
mod quiet;
mod readme;
mod rendered;
mod report_command;
mod restart;
mod schema;
mod shutdown;
mod status_command;
mod tenants;
mod tier_lifecycle;
mod unresolved;
mod watches;
mod widening;
