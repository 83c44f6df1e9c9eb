//! What the controller left in the status of a tier, of one namespace.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::api::{IsolationTierStatus, NamespaceProblem};
use crate::policy::words;

/// What the controller said of a namespace when it last looked. Nothing, where it did not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// The tier as it is written now was in place everywhere.
    pub settled: bool,
    /// The last write failed.
    pub failed: bool,
    /// Somebody undoes what is written.
    pub contested: bool,
    /// Policies that were missing.
    pub missing: BTreeSet<String>,
    /// Everything that was said of the namespace.
    pub problems: Vec<NamespaceProblem>,
}

impl Told {
    /// Reads the raw status of a tier of that generation. A status that cannot be read says nothing: it may be of
    /// another release.
    pub fn read(status: &Value, generation: i64, namespace: &str) -> Self {
        let Ok(status) = IsolationTierStatus::deserialize(status) else {
            return Self::default();
        };
        let problems: Vec<_> = status
            .problems
            .iter()
            .filter(|problem| problem.namespace.as_deref() == Some(namespace))
            .cloned()
            .collect();
        let ready = status.condition(words::READY);
        let drifted = problems.iter().filter(|problem| problem.reason == words::DRIFTED);
        // As `tally` words it: a list of names, each with what became of it.
        let listed = drifted.flat_map(|problem| problem.message.split(", "));
        let missing = listed.filter_map(|item| item.strip_suffix(" missing").map(str::to_owned));
        Self {
            settled: status.observed_generation == generation && ready.is_some_and(|ready| ready.status == "True"),
            failed: problems
                .iter()
                .any(|problem| words::WRITE_FAILURES.contains(&problem.reason.as_str())),
            contested: problems.iter().any(|problem| problem.reason == words::CONTESTED),
            missing: missing.collect(),
            problems,
        }
    }
}
