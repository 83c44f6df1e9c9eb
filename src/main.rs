//! The `cofferdam` binary.

use std::process::ExitCode;

use clap::Parser;
use cofferdam::cli::Cli;

fn main() -> ExitCode {
    // rustls panics at the first connection if a dependency ever brings a second provider: name ours first.
    // Nothing can have installed one before the first line of main.
    rustls::crypto::ring::default_provider().install_default().ok();
    Cli::parse().run()
}
