//! The command line's documentation, executed, and what markdown cannot say: standard input, and every tier fixture.
#![allow(clippy::expect_used, clippy::panic)] // a test's own code: a panic is its report

use std::io::Write;
use std::path::Path;
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
fn a_reader_who_has_seen_enough_changes_no_exit_code() {
    for (verb, expected) in [("plan", 1), ("status", 1)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        SETTINGS.iter().for_each(|name| _ = command.env_remove(name));
        let (_, stdout) = std::io::pipe().expect("a pipe that nobody reads");
        let (_, stderr) = std::io::pipe().expect("a pipe that nobody reads");
        let arguments = [verb, "-f", "tests/cli/plan.in"];
        let ended = command.args(arguments).stdout(stdout).stderr(stderr).status();
        assert_eq!(ended.expect("our own binary").code(), Some(expected), "{verb}");
    }
}

#[test]
fn an_empty_list_is_an_answer_and_an_empty_stream_is_none() {
    let list = "apiVersion: v1\nkind: List\nitems: []\n";
    let tiers = ["-f", "tests/cli/plan.in/tiers.yaml", "-f", "-"];
    assert_eq!(plan(&tiers, Some(list)).status.code(), Some(0));
    assert_eq!(plan(&tiers, Some("")).status.code(), Some(2));
}

#[test]
fn items_of_a_typed_list_need_not_say_their_kind() {
    let list = "apiVersion: v1\nkind: NamespaceList\nitems:\n- metadata: {name: bare}\n";
    let planned = plan(&["-f", "-", "--output=table"], Some(list));
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));
    assert!(text(&planned.stdout).contains("bare "), "{}", text(&planned.stdout));
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

// It was taken for a name, and the namespace where the controller runs was not exempt.
#[test]
fn an_empty_variable_names_no_namespace_as_an_absent_one() {
    let names = ["cofferdam-system", "of-the-pod", "told"];
    let input: String = names
        .iter()
        .map(|name| format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"))
        .collect();
    let (told, pod) = ("COFFERDAM_NAMESPACE", "POD_NAMESPACE");
    for (settings, own) in [
        (&[][..], "cofferdam-system"),
        (&[(told, "")], "cofferdam-system"),
        (&[(told, ""), (pod, "")], "cofferdam-system"),
        (&[(told, ""), (pod, "of-the-pod")], "of-the-pod"),
        (&[(told, "told"), (pod, "of-the-pod")], "told"),
    ] {
        let planned = plan_under(settings, &["-f", "-", "--output=table"], Some(&input));
        assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));
        let table = text(&planned.stdout);
        let exempt = table.lines().filter(|line| line.contains("exempt by name"));
        let exempt: Vec<_> = exempt.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(exempt, [own], "{settings:?}\n{table}");
    }
}

#[test]
fn every_tier_that_admission_refuses_is_refused() {
    let directory = "tests/fixtures/tiers/invalid";
    let output = plan(&["-f", directory], None);
    assert_eq!(output.status.code(), Some(2));
    let problems = text(&output.stderr);
    let entries = Path::new(directory).read_dir().expect("the directory of fixtures");
    let files: Vec<_> = entries
        .map(|entry| entry.expect("a fixture").path().display().to_string())
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let about_it = |line: &&str| line.contains(&format!("{file}:"));
        let mut reasons = problems.lines().filter(about_it);
        // Two fixtures of one name would only refuse each other.
        assert!(
            reasons.any(|line| !line.contains("is written differently")),
            "{file} is not refused"
        );
    }
}

#[test]
fn every_tier_that_admission_accepts_is_accepted() {
    let output = plan(&["-f", "tests/fixtures/tiers/valid"], None);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

fn plan(arguments: &[&str], input: Option<&str>) -> Output {
    plan_under(&[], arguments, input)
}

/// With these variables, and no other of ours.
fn plan_under(settings: &[(&str, &str)], arguments: &[&str], input: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command
        .arg("plan")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    for setting in SETTINGS {
        command.env_remove(setting);
    }
    command
        .envs(settings.iter().copied())
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
