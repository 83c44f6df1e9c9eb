//! The controller: what runs in the cluster.

pub mod queue;
pub mod work;
