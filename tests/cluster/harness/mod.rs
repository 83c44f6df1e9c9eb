//! What a scenario stands on. Reading order: `control_plane` (the servers), `controller` (the compiled binary under its
//! shipped role), `audit` (what the API server saw), `observer` (what must never have happened), then the small ones.
//!
//! A `mod.rs`, unlike elsewhere here, so that a bench can take it in: `#[path = "../tests/cluster/harness/mod.rs"] mod harness;`
#![allow(
    dead_code,
    unused_imports,
    reason = "scenarios come one by one; each uses another part of this"
)]

pub mod audit;
pub mod audit_event;
pub mod cluster_facts;
pub mod command_line;
pub mod control_plane;
pub mod controller;
pub mod eventually;
pub mod fault_proxy;
pub mod free_port;
pub mod granted_verbs;
pub mod identity;
pub mod kubectl;
pub mod metrics;
pub mod observer;
pub mod own_control_plane;
pub mod owned_process;
pub mod permission;
pub mod policy_history;
pub mod prometheus_server;
pub mod release_judge;
pub mod replica;
pub mod scenario_denial;
pub mod scenario_facts;
pub mod scenario_mixed_world;
pub mod scenario_namespaces;
pub mod scenario_policies;
pub mod scenario_tiers;
pub mod second_api_server;
pub mod server_processes;

pub use audit::AuditLog;
pub use audit_event::AuditEvent;
pub use control_plane::{ControlPlane, ControlPlaneOptions};
pub use controller::Controller;
pub use eventually::{eventually, holds_for};
pub use fault_proxy::FaultProxy;
pub use identity::Identity;
pub use metrics::Metrics;
pub use observer::Observer;
pub use own_control_plane::OwnControlPlane;
pub use prometheus_server::PrometheusServer;
pub use replica::Replica;
