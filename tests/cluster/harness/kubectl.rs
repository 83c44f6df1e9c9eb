//! The pinned kubectl, always with an explicit kubeconfig.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a kubectl command said.
#[derive(Debug)]
pub struct KubectlOutput {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl KubectlOutput {
    /// Standard output of a command that must succeed.
    pub fn expect_success(self) -> String {
        assert!(
            self.code == 0,
            "expected `{}` to succeed, found exit code {}: {}",
            self.command,
            self.code,
            self.stderr
        );
        self.stdout
    }

    /// Standard error of a command that must be refused.
    pub fn expect_failure(self) -> String {
        assert!(
            self.code != 0,
            "expected `{}` to be refused, found success: {}",
            self.command,
            self.stdout
        );
        self.stderr
    }
}

/// Runs kubectl in the repository's root, so that `-k config/default` reads as a person types it.
pub fn run(binary: &Path, kubeconfig: &Path, home: &Path, arguments: &[&str], input: Option<&str>) -> KubectlOutput {
    let mut child = Command::new(binary)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        // Its discovery cache goes there, not into the developer's ~/.kube.
        .env("HOME", home)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
        stdin
            .write_all(text.as_bytes())
            .expect("kubectl reads its standard input");
    }
    let output = child.wait_with_output().expect("waiting for our own child");
    KubectlOutput {
        command: format!("kubectl {}", arguments.join(" ")),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
