//! `cofferdam crd`: the CustomResourceDefinition as YAML.

use super::stdout::{PrintError, print};
use crate::api;

/// Prints the definition.
///
/// # Errors
/// When it cannot be printed.
pub fn run() -> Result<(), PrintError> {
    print(&yaml()?)
}

/// The definition, as `crds/` holds it.
///
/// # Errors
/// When the serializer refuses it.
pub fn yaml() -> Result<String, PrintError> {
    Ok(serde_saphyr::to_string(&api::crd())?)
}
