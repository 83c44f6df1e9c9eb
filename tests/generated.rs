//! What is generated is committed, so that a change of the code shows what it changes for users; here it is compared.

use std::path::Path;

use cofferdam::cli;

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
