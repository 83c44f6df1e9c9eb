//! What the controller left in the status of a tier, of one namespace.

use serde::Deserialize;
use serde_json::Value;

use crate::api::{IsolationTierStatus, NamespaceProblem};
use crate::policy::drift_words::SaidMissing;
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
    pub missing: SaidMissing,
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
        let mut missing = SaidMissing::default();
        for problem in problems.iter().filter(|problem| problem.reason == words::DRIFTED) {
            missing.read(&problem.message);
        }
        Self {
            settled: status.observed_generation == generation && ready.is_some_and(|ready| ready.status == "True"),
            failed: problems
                .iter()
                .any(|problem| words::WRITE_FAILURES.contains(&problem.reason.as_str())),
            contested: problems.iter().any(|problem| problem.reason == words::CONTESTED),
            missing,
            problems,
        }
    }
}
