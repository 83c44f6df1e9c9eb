//! The command line's documentation, executed, and what markdown cannot say: standard input, and every tier fixture.
#![allow(clippy::expect_used, clippy::panic)] // a test's own code: a panic is its report

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

// A pod's or a developer's own settings would change what is printed, or ask a cluster.
const SETTINGS: [&str; 5] = [
    "COFFERDAM_DNS_SERVICE",
    "COFFERDAM_EXEMPT_NAMESPACE",
    "COFFERDAM_NAMESPACE",
    "KUBECONFIG",
    "POD_NAMESPACE",
];

#[test]
fn the_documentation_holds() {
    trycmd::TestCases::new()
        .case("tests/cli/*.md")
        .env("COFFERDAM_NAMESPACE", "cofferdam-system")
        .env("COFFERDAM_DNS_SERVICE", "kube-system/kube-dns")
        .env("KUBECONFIG", "/nonexistent");
}

#[test]
fn what_a_plan_prints_needs_no_change() {
    let planned = plan(&["-f", "tests/cli/plan.in", "--output=yaml"], None);
    assert_eq!(planned.status.code(), Some(1), "{}", text(&planned.stderr));
    let printed = text(&planned.stdout);
    assert!(printed.contains("cofferdam-baseline-ingress"), "{printed}");
    let again = plan(
        &["-f", "tests/cli/plan.in", "-f", "-", "--output=table"],
        Some(&printed),
    );
    assert_eq!(
        again.status.code(),
        Some(0),
        "{}{}",
        text(&again.stdout),
        text(&again.stderr)
    );
}

#[test]
fn json_and_lists_are_read_as_yaml_is() {
    let planned = plan(&["-f", "tests/cli/plan.in", "--output=json"], None);
    let list = text(&planned.stdout);
    assert!(list.contains("\"kind\": \"List\""), "{list}");
    let again = plan(&["-f", "tests/cli/plan.in", "-f", "-"], Some(&list));
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
}

#[test]
fn a_policy_that_somebody_opened_is_put_back() {
    let planned = plan(&["-f", "tests/cli/plan.in", "--output=yaml"], None);
    let opened = text(&planned.stdout).replacen("  ingress:\n", "  ingress:\n  - {}\n", 1);
    let again = plan(&["-f", "tests/cli/plan.in", "-f", "-", "--output=table"], Some(&opened));
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stderr));
    let table = text(&again.stdout);
    assert!(
        table.contains("replace 1") && table.contains("drift: 1 modified"),
        "{table}"
    );
}

#[test]
fn every_tier_that_admission_refuses_is_refused() {
    let accepted: Vec<_> = fixtures("invalid")
        .into_iter()
        .filter(|tier| plan_file(tier).status.code() != Some(2))
        .collect();
    assert!(accepted.is_empty(), "expected exit code 2 for {accepted:?}");
}

#[test]
fn every_tier_that_admission_accepts_is_accepted() {
    for tier in fixtures("valid") {
        let output = plan_file(&tier);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}: {}",
            tier.display(),
            text(&output.stderr)
        );
    }
}

fn fixtures(verdict: &str) -> Vec<PathBuf> {
    let directory = Path::new("tests/fixtures/tiers").join(verdict);
    let entries = directory.read_dir().expect("the directory of fixtures");
    let files: Vec<_> = entries.map(|entry| entry.expect("a fixture").path()).collect();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files
}

fn plan_file(file: &Path) -> Output {
    plan(&["-f", file.to_str().expect("a path in UTF-8")], None)
}

fn plan(arguments: &[&str], input: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command
        .arg("plan")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    for setting in SETTINGS {
        command.env_remove(setting);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary that cargo has just built");
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    // A plan that does not read stdin ends without taking it.
    let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
    drop(stdin);
    child.wait_with_output().expect("the output of the plan")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
