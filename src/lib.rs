//! Cofferdam keeps every namespace of a Kubernetes cluster watertight.
#![warn(missing_docs)]

pub mod api;
pub mod cli;
