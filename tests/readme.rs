//! The documents for people say what is so. What takes an API server is in `tests/cluster/readme.rs`.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a test's own code: a panic is its report

use std::path::Path;
use std::process::Command;

const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

fn read(document: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cofferdam(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cofferdam"))
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The code blocks of a language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let text = read(document);
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

/// What stands between backticks, code blocks left out.
fn quoted(document: &str) -> Vec<String> {
    let text = read(document);
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    let quoted = prose.iter().flat_map(|part| part.split('`').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for document in DOCUMENTS {
        let text = read(document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let file = target.split('#').next().unwrap();
            let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists();
            assert!(exists, "{document} links to {target}, which is not there");
        }
    }
}

#[test]
fn every_path_that_is_named_exists() {
    let mut named = 0;
    for document in DOCUMENTS {
        for path in quoted(document) {
            let of_this_repository = ["src/", "tests/", "config/", "crds/", "docs/", "benches/"];
            let is_path = of_this_repository.iter().any(|top| path.starts_with(top)) && !path.contains([' ', '*', '<']);
            named += usize::from(is_path);
            let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists();
            assert!(!is_path || exists, "{document} speaks of {path}, which is not there");
        }
    }
    assert!(named > 20, "expected the documents to name many paths, found {named}");
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = read("Makefile");
    for document in DOCUMENTS {
        let commands = [quoted(document), blocks(document, "sh")].concat();
        let lines = commands.iter().flat_map(|block| block.lines());
        for target in lines.filter_map(|line| line.strip_prefix("make ")) {
            let target = target.split_whitespace().next().unwrap();
            assert!(
                makefile.contains(&format!("\n{target}: ")),
                "{document} says make {target}, which the Makefile lacks"
            );
        }
    }
}

#[test]
fn every_flag_of_ours_exists() {
    let help = ["run", "plan", "status", "report", "crd"]
        .map(|verb| cofferdam(&["help", verb]))
        .concat();
    let commands = [
        quoted("README.md"),
        blocks("README.md", "sh"),
        blocks("README.md", "console"),
    ]
    .concat();
    let mut flags = 0;
    for line in commands.iter().flat_map(|block| block.lines()) {
        let ours = line.split("$ ").last().unwrap().starts_with("cofferdam ") || line.starts_with("--");
        for flag in line.split_whitespace().filter(|word| ours && word.starts_with('-')) {
            flags += 1;
            let known = help.split([' ', ',', '\n']).any(|word| word == flag);
            assert!(known, "README.md says {flag} in `{line}`, which no command has");
        }
    }
    assert!(flags >= 3, "expected README.md to show some flags, found {flags}");
}

#[test]
fn the_tier_is_ten_lines_and_parses() {
    let [tier] = blocks("README.md", "yaml").try_into().expect("one tier");
    assert_eq!(tier.lines().count(), 10, "{tier}");
    let mut file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::io::Write::write_all(&mut file, tier.as_bytes()).unwrap();
    let planned = Command::new(env!("CARGO_BIN_EXE_cofferdam"))
        .args(["plan", "-f"])
        .arg(file.path())
        .output()
        .unwrap();
    // 2 is a file that cannot be planned with; without namespaces nothing changes.
    assert_eq!(
        planned.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&planned.stderr)
    );
}
