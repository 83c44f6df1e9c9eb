//! `cofferdam` as somebody types it who has a kubeconfig, and nothing of the developer's environment.

use std::process::{Command, Output};

use serde_json::Value;

use super::{ControlPlane, Identity};

/// The command, not run yet.
pub fn command_line(control_plane: &ControlPlane, identity: Identity, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", control_plane.kubeconfig(identity));
    command
}

/// Exit code, stdout and stderr, for messages and for what must be said on either.
pub fn text(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Exit code and stdout, which has to be JSON.
pub fn json_of(output: &Output) -> (Option<i32>, Value) {
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)));
    (output.status.code(), value)
}
