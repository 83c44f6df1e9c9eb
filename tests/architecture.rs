//! Who may know whom in `src`, held by reading the source: `main -> cli -> controller -> policy -> api`. The core
//! (`policy` and `api`) does no I/O and reads no clock; that is what lets one plan serve controller, CLI and tests.
#![allow(clippy::expect_used, clippy::panic)] // a test's own code: a panic is its report

#[path = "architecture/rust_paths.rs"]
mod rust_paths;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rust_paths::paths_named_in;

// Each layer with the layers that it may name beside itself.
const LAYERS: [(&str, &[&str]); 6] = [
    ("main", &["cli"]),
    ("cli", &["controller", "telemetry", "policy", "api"]),
    ("controller", &["telemetry", "policy", "api"]),
    ("telemetry", &["policy", "api"]),
    ("policy", &["api"]),
    ("api", &[]),
];

const CORE: [&str; 2] = ["policy", "api"];

// What the core must not name, as whole leading segments of a path.
const OUTSIDE_WORLD: [&str; 24] = [
    "axum",
    "clap",
    "futures",
    "hyper_util",
    "kube::Api",
    "kube::Client",
    "kube::Config",
    "kube::client",
    "kube::config",
    "kube::runtime",
    "kube_client",
    "kube_runtime",
    "prometheus",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "tower",
    "tracing",
];

// Clocks by what they are called on, wherever the type was imported from.
const CLOCK_TYPES: [&str; 6] = ["Instant", "Local", "SystemTime", "Timestamp", "Utc", "Zoned"];

// An `allow` of one of these would switch off, for one place, what Cargo.toml asks of all.
const LINTS_NOT_TO_ALLOW: [&str; 5] = [
    "clippy::dbg_macro",
    "clippy::expect_used",
    "clippy::panic",
    "clippy::todo",
    "clippy::unwrap_used",
];

// About 300 is what we aim for.
const MOST_LINES: usize = 400;

// They say nothing about what is inside, so everything ends up there.
const VAGUE_NAMES: [&str; 8] = [
    "base", "common", "helper", "helpers", "manager", "misc", "util", "utils",
];

#[test]
fn the_source_keeps_to_the_architecture() {
    let mut violations = Vec::new();
    for path in rust_files("src") {
        let source = std::fs::read_to_string(root().join(&path)).expect("a source file that was just listed");
        violations.extend(violations_in(&path, &source));
    }
    for path in rust_files("src")
        .into_iter()
        .chain(rust_files("tests"))
        .chain(rust_files("benches"))
    {
        let vague = path
            .file_stem()
            .is_some_and(|stem| VAGUE_NAMES.iter().any(|name| stem == *name));
        if vague {
            violations.push(format!("{}: name the file after what is in it", path.display()));
        }
        if repeats_its_directory(&path) {
            violations.push(format!("{}: its directory says that already", path.display()));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

// A check that finds nothing because it reads nothing would pass for ever.
#[test]
fn the_scanner_reads_the_source() {
    let files = rust_files("src");
    assert!(
        files.contains(&PathBuf::from("src/main.rs")) && files.contains(&PathBuf::from("src/api/names.rs")),
        "{files:?}"
    );
}

#[test]
fn what_must_not_be_is_found() {
    let long = "\n".repeat(MOST_LINES + 1);
    for (path, source, expected) in [
        (
            "src/policy/plan.rs",
            "use crate::controller::apply;",
            "policy must not know controller",
        ),
        (
            "src/policy/plan.rs",
            "use crate::{api::Port, telemetry};",
            "policy must not know telemetry",
        ),
        (
            "src/policy/plan.rs",
            "use super::super::cli::plan;",
            "policy must not know cli",
        ),
        (
            "src/policy.rs",
            "mod tests { use super::super::cli; }",
            "policy must not know cli",
        ),
        (
            "src/api.rs",
            "fn f() -> crate::policy::Plan {}",
            "api must not know policy",
        ),
        (
            "src/telemetry/metrics.rs",
            "use crate::controller::Ledger;",
            "telemetry must not know controller",
        ),
        (
            "src/controller/client.rs",
            "use crate::cli::Run;",
            "controller must not know cli",
        ),
        (
            "src/main.rs",
            "fn main() { cofferdam::controller::run() }",
            "main must not know controller",
        ),
        (
            "src/policy/plan.rs",
            "use std::{collections::BTreeMap, time::{Duration, Instant}};",
            "std::time::Instant",
        ),
        (
            "src/policy/plan.rs",
            "let at = jiff::Timestamp::now();",
            "jiff::Timestamp::now",
        ),
        (
            "src/policy/plan.rs",
            "let home = std::env::var(\"HOME\");",
            "std::env::var",
        ),
        ("src/policy/plan.rs", "tracing::info!(\"written\");", "tracing::info"),
        ("src/api/names.rs", "use kube::{Api, Resource};", "kube::Api"),
        (
            "src/cli/run.rs",
            "#[allow(clippy::unwrap_used)] fn f() {}",
            "clippy::unwrap_used",
        ),
        ("src/cli/run.rs", "let x = unsafe { y() };", "unsafe"),
        ("src/cli/run.rs", long.as_str(), "401 lines"),
        ("src/surprise.rs", "", "belongs to no layer"),
    ] {
        let found = violations_in(Path::new(path), source).join("\n");
        assert!(
            found.contains(expected),
            "expected `{expected}` for `{source}` in {path}, found: {found:?}"
        );
    }
}

#[test]
fn what_may_be_is_left_alone() {
    for (path, source) in [
        (
            "src/policy/plan.rs",
            "// crate::controller, tokio\n/* std::env /* nested */ std::fs */ use crate::api::Port;",
        ),
        (
            "src/policy/plan.rs",
            "const A: &str = \"crate::cli \\\" tokio\"; const B: &str = r#\"std::env \" \"#;",
        ),
        (
            "src/policy/plan.rs",
            "fn f<'a>(c: char) -> &'a str { match c { '\"' => x, '\\'' => y } } use std::time::Duration;",
        ),
        (
            "src/policy/plan.rs",
            "use super::render::tracing_of; use kube::api::ObjectMeta; let now = clock.now();",
        ),
        (
            "src/policy/tier.rs",
            "mod tests { use super::*; use super::super::assign; }",
        ),
        (
            "src/controller/apply.rs",
            "use crate::{policy::{self, Plan}, telemetry::metrics}; use tokio::time::Instant;",
        ),
        ("src/main.rs", "fn main() { cofferdam::cli::run() }"),
        ("src/lib.rs", "pub mod controller;"),
    ] {
        assert_eq!(violations_in(Path::new(path), source), Vec::<String>::new(), "{source}");
    }
}

#[test]
fn a_name_that_repeats_its_directory_is_found() {
    for (path, expected) in [
        ("src/controller/widening/widening_audit.rs", true),
        ("src/controller/widening/audit.rs", false),
        ("src/policy/brake/brakes.rs", false),
    ] {
        assert_eq!(repeats_its_directory(Path::new(path)), expected, "{path}");
    }
}

fn repeats_its_directory(path: &Path) -> bool {
    let directory = path.parent().and_then(Path::file_name).and_then(OsStr::to_str);
    let stem = path.file_stem().and_then(OsStr::to_str);
    let rest = directory
        .zip(stem)
        .and_then(|(directory, stem)| stem.strip_prefix(directory));
    rest.is_some_and(|rest| rest.starts_with('_'))
}

fn violations_in(path: &Path, source: &str) -> Vec<String> {
    let module = module_of(path);
    let mut found = Vec::new();
    let lines = source.lines().count();
    if lines > MOST_LINES {
        found.push(format!(
            "{lines} lines, at most {MOST_LINES}: split it by what its parts are about"
        ));
    }
    // lib.rs names every layer, to declare it.
    if let Some(layer) = module.first() {
        let Some((_, may_know)) = LAYERS.iter().find(|(name, _)| name == layer) else {
            return vec![format!(
                "{}: belongs to no layer; say in tests/architecture.rs whom it may know",
                path.display()
            )];
        };
        for path in paths_named_in(source, module.len()) {
            let other = path
                .strip_prefix("crate::")
                .or(path.strip_prefix("cofferdam::"))
                .map(first_segment);
            if let Some(other) = other.filter(|other| is_layer(other) && other != layer && !may_know.contains(other)) {
                found.push(format!("{layer} must not know {other}: {path}"));
            }
            if CORE.contains(&layer.as_str()) && reaches_outside(&path) {
                found.push(format!("the core does no I/O and has no clock: {path}"));
            }
            if LINTS_NOT_TO_ALLOW.contains(&path.as_str()) || path == "unsafe" {
                found.push(format!("write it so that this is not needed: {path}"));
            }
        }
    }
    found
        .into_iter()
        .map(|text| format!("{}: {text}", path.display()))
        .collect()
}

fn first_segment(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

fn is_layer(name: &str) -> bool {
    LAYERS.iter().any(|(layer, _)| *layer == name)
}

fn reaches_outside(path: &str) -> bool {
    let named = OUTSIDE_WORLD.iter().any(|outside| {
        path.strip_prefix(outside)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    let segments: Vec<&str> = path.rsplit("::").take(2).collect();
    named || matches!(segments.as_slice(), ["now", clock] if CLOCK_TYPES.contains(clock))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// Every *.rs under a directory of the repository, with paths from its root; none where the directory does not exist.
fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![PathBuf::from(directory)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(root().join(&directory))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = directory.join(entry.file_name());
            if root().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

// `src/policy/plan.rs` is `policy::plan`, `src/policy.rs` is `policy`, `src/lib.rs` is the root.
fn module_of(path: &Path) -> Vec<String> {
    let without_extension = path.strip_prefix("src").unwrap_or(path).with_extension("");
    let mut segments: Vec<String> = without_extension
        .iter()
        .map(|segment| segment.to_string_lossy().into_owned())
        .collect();
    segments.retain(|segment| segment != "lib" && segment != "mod");
    segments
}
