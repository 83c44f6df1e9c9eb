//! The controller: what runs in the cluster.

pub mod client;
pub mod queue;
pub mod work;
