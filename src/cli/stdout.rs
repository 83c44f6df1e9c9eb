//! stdout, which is data.

use std::io::{self, Write};

/// Why something could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// It has no YAML form.
    #[error("cannot print this as YAML: {0}; report this")]
    Yaml(#[from] serde_saphyr::ser_error::Error),
    /// It has no JSON form.
    #[error("cannot print this as JSON: {0}; report this")]
    Json(#[from] serde_json::Error),
    /// The output is gone or full.
    #[error("cannot write to stdout: {0}")]
    Output(#[from] io::Error),
}

/// Writes data. A reader who has seen enough (`cofferdam crd | head`) is not an error.
///
/// # Errors
/// When the output is gone or full.
pub fn print(text: &str) -> Result<(), PrintError> {
    print_to_reader(text).map(|_| ())
}

/// As [`print`]. Returns whether anybody still reads.
///
/// # Errors
/// When the output is gone or full.
pub fn print_to_reader(text: &str) -> Result<bool, PrintError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
