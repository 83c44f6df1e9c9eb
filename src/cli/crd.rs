//! `cofferdam crd`: the CustomResourceDefinition as YAML.

use std::io::{self, ErrorKind, Write};

use crate::api;

/// Why the definition could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
/// When it cannot be written, except that a reader who has seen enough (`cofferdam crd | head`) is not an error.
pub fn run(out: &mut impl Write) -> Result<(), Error> {
    match out.write_all(yaml()?.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// The definition, as `crds/` holds it.
///
/// # Errors
///
/// When the serializer refuses it.
pub fn yaml() -> Result<String, Error> {
    Ok(serde_saphyr::to_string(&api::crd())?)
}
