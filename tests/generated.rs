//! What is generated is committed, so that a change of the code shows what it changes for users; here it is compared.

use std::path::Path;

use cofferdam::cli;

const RULES: &str = "config/prometheus/rules.yaml";
const RULE_OBJECT: &str = "config/prometheus/prometheus_rule.yaml";
const COMMITTED: &str = "crds/cofferdam.dev_isolationtiers.yaml";

#[test]
fn the_committed_definition_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let generated = cli::crd::yaml().expect("the definition as YAML");
    if committed != generated {
        let line = 1 + committed
            .lines()
            .zip(generated.lines())
            .take_while(|(old, new)| old == new)
            .count();
        panic!(
            "{COMMITTED} is out of date from line {line} on: run `cargo run -q -- crd > {COMMITTED}`, and commit what it changes"
        );
    }
}

#[test]
fn prometheus_operator_gets_the_same_rules() {
    let read = |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path);
    let indented = read(RULES)
        .lines()
        .map(|line| format!("{}{line}\n", if line.is_empty() { "" } else { "  " }))
        .collect::<String>();
    let object = read(RULE_OBJECT);
    let (_, spec) = object.split_once("\nspec:\n").expect("a spec");
    assert!(
        spec == indented,
        "{RULE_OBJECT} does not hold {RULES}: run `make prometheus-rule`, and commit what it changes"
    );
}
