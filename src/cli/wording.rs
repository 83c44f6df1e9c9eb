//! Names and numbers as they read in a note or a table.

use std::collections::BTreeSet;

use crate::api::Direction;
use crate::policy::plan::ChangeCounts;

/// Names in a sentence at most; the table has them all.
const MOST_NAMES: usize = 5;

/// `1 namespace`, `7 namespaces`.
pub fn count(namespaces: usize) -> String {
    match namespaces {
        1 => String::from("1 namespace"),
        more => format!("{more} namespaces"),
    }
}

/// `namespace a keeps`, `namespaces a and b keep`.
pub fn subject(names: &[&str], singular: &str, plural: &str) -> String {
    format!("{} {}", listed(names), if names.len() == 1 { singular } else { plural })
}

/// `namespaces a, b and 7 more`.
pub fn listed(names: &[&str]) -> String {
    let noun = if names.len() == 1 { "namespace" } else { "namespaces" };
    let shown = names.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MOST_NAMES) {
        Some(more @ 1..) => format!("{noun} {shown} and {more} more"),
        _ => format!("{noun} {shown}"),
    }
}

/// `Ingress and Egress`.
pub fn in_words(directions: &BTreeSet<Direction>) -> String {
    let words: Vec<_> = directions.iter().map(|direction| direction.as_str()).collect();
    words.join(" and ")
}

/// `create 2, delete 1`, or `none`.
pub fn changes_in_words(counts: ChangeCounts) -> String {
    let ChangeCounts {
        create,
        replace,
        delete,
    } = counts;
    let parts = [("create", create), ("replace", replace), ("delete", delete)];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(verb, count)| format!("{verb} {count}"))
        .collect();
    match parts.is_empty() {
        true => String::from("none"),
        false => parts.join(", "),
    }
}
