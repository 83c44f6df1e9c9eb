//! What the status of a tier says of the drift in one namespace: written by the controller, read by the command line. Both
//! are here, so that one cannot be changed without the other.

use std::collections::BTreeSet;

use super::record::OpenDrift;
use super::{DriftKind, NamespaceRecord, PolicyName};

/// The most policies that are named: a tenant may put thousands under reserved names, each of 253 characters, and the API
/// server would refuse the whole status.
const MAX_NAMED: usize = 3;
const NOT_HEALED: &str = ", not healed yet";

/// Policies that were said to be missing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SaidMissing {
    named: BTreeSet<String>,
    /// Policies drifted that were not named: any of them may be.
    and_others: bool,
}

impl SaidMissing {
    /// Whether that policy, which does not stand, may be one of them.
    pub fn may_contain(&self, policy: &PolicyName) -> bool {
        self.and_others || self.named.contains(policy.as_str())
    }

    /// Adds what `message` says, one of [`drift_in_words`]. Anything else says nothing: it may be of another release.
    pub fn read(&mut self, message: &str) {
        let Some(listed) = message.strip_suffix(NOT_HEALED) else {
            return;
        };
        let (listed, others) = match listed.rsplit_once(" and ") {
            Some((listed, more)) => (listed, is_and_more(more)),
            None => (listed, false),
        };
        self.and_others |= others;
        let missing = listed.split(", ").filter_map(|item| {
            let (name, kind) = item.split_once(' ')?;
            (kind == DriftKind::Missing.as_str()).then(|| name.to_owned())
        });
        self.named.extend(missing);
    }
}

fn is_and_more(text: &str) -> bool {
    let count = text.strip_suffix(" more");
    count.is_some_and(|count| count.parse::<usize>().is_ok())
}

/// What is missing comes first, bases before others: whoever finds nothing standing there learns only from this that
/// something did.
pub(super) fn drift_in_words(record: &NamespaceRecord) -> String {
    let mut drifted: Vec<(&PolicyName, &OpenDrift)> = record.drifted.iter().collect();
    drifted.sort_by_key(|(name, drift)| (drift.kind != DriftKind::Missing, !name.is_base()));
    let named = drifted.iter().take(MAX_NAMED);
    let named: Vec<_> = named
        .map(|(name, drift)| format!("{name} {}", drift.kind.as_str()))
        .collect();
    let more = match drifted.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}{NOT_HEALED}", named.join(", "))
}

#[cfg(test)]
mod tests;
