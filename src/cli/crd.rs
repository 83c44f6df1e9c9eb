//! `cofferdam crd`: the CustomResourceDefinition as YAML.

use std::io::{self, Write};

use super::write_out;
use crate::api;

/// Why the definition could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The definition has no YAML form.
    #[error("cannot write the CustomResourceDefinition as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser_error::Error),
    /// The output is gone or full.
    #[error("cannot write the CustomResourceDefinition: {0}")]
    Output(#[from] io::Error),
}

/// Writes the definition to `out`.
///
/// # Errors
///
/// When it cannot be written.
pub fn run(out: &mut impl Write) -> Result<(), CrdError> {
    Ok(write_out(out, &yaml()?)?)
}

/// The definition, as `crds/` holds it.
///
/// # Errors
///
/// When the serializer refuses it.
pub fn yaml() -> Result<String, CrdError> {
    Ok(serde_saphyr::to_string(&api::crd())?)
}
