//! The report for people: a table, or a document in Markdown.

use super::evidence::{DirectionEvidence, NamespaceEvidence, PolicyEvidence, Report, Word};
use crate::cli::columns::{Cell, Colour, colours_are_wanted, lines, widths};
use crate::cli::wording::count;

const COLUMNS: [&str; 6] = ["NAMESPACE", "DIRECTION", "VERDICT", "ISOLATED-BY", "SINCE", "REMARKS"];
/// For what is not there.
const NOTHING: &str = "-";

/// A line per namespace and direction, below the heading.
pub fn table(report: &Report) -> String {
    let rows = report.namespaces.iter().flat_map(|namespace| {
        let row = |direction| row(namespace, direction);
        namespace.directions.iter().map(row)
    });
    let rows: Vec<_> = [COLUMNS.map(Cell::from)].into_iter().chain(rows).collect();
    let table = lines(&rows, widths(&rows, [0; COLUMNS.len()]), colours_are_wanted());
    format!("{}\n\n{table}", heading(report).join("\n"))
}

/// A document with everything.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("# {}: {}\n\n", report.benchmark, report.title);
    for line in heading(report).iter().skip(1) {
        text.push_str(&format!("* {}\n", escaped(line)));
    }
    text.push_str("\n| Namespace | Direction | Verdict | Isolated by | Remarks |\n|---|---|---|---|---|\n");
    for namespace in &report.namespaces {
        for direction in &namespace.directions {
            let policies = direction.isolated_by.iter().map(in_full);
            let cells = [
                escaped(&namespace.namespace),
                direction.direction.to_owned(),
                direction.verdict.as_str().to_owned(),
                joined(policies.map(|policy| escaped(&policy)), "<br>"),
                joined(remarks(direction).iter().map(|remark| escaped(remark)), "<br>"),
            ];
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
    }
    text
}

/// `report: 7 namespaces: 1 exempt, 2 fail, 4 pass`.
pub fn summary(report: &Report) -> String {
    let counted = report.counts.iter().filter(|(_, count)| **count > 0);
    let words: Vec<_> = counted.map(|(word, count)| format!("{count} {word}")).collect();
    match words.is_empty() {
        true => String::from("report: no namespace"),
        false => format!("report: {}: {}", count(report.namespaces.len()), words.join(", ")),
    }
}

fn heading(report: &Report) -> Vec<String> {
    let cluster = &report.cluster;
    let version = match &cluster.server_version {
        Some(version) => format!("API server {version}"),
        None => String::from("as given in files"),
    };
    let uid = cluster
        .uid
        .as_ref()
        .map(|uid| format!(", uid of kube-system {uid}"))
        .unwrap_or_default();
    vec![
        format!("{}: {}", report.benchmark, report.title),
        format!("Cluster: {version}{uid}"),
        format!(
            "Time: {}, by Cofferdam {}",
            report.generated_at, report.cofferdam_version
        ),
        report.limits.to_owned(),
    ]
}

fn row(namespace: &NamespaceEvidence, direction: &DirectionEvidence) -> [Cell; 6] {
    let colour = match direction.verdict {
        Word::Pass => Colour::Green,
        Word::Fail => Colour::Red,
        Word::Exempt | Word::Terminating => Colour::Grey,
    };
    let (policy, since) = match &*direction.isolated_by {
        [] => (NOTHING.to_owned(), NOTHING.to_owned()),
        [first, others @ ..] => {
            let more = if others.is_empty() {
                String::new()
            } else {
                format!(", +{}", others.len())
            };
            let since = first.since.clone().unwrap_or_else(|| NOTHING.to_owned());
            (format!("{}{more}", in_short(first)), since)
        }
    };
    [
        namespace.namespace.clone().into(),
        direction.direction.into(),
        Cell::coloured(direction.verdict.as_str(), colour),
        policy.into(),
        since.into(),
        joined(remarks(direction).into_iter(), "; ").into(),
    ]
}

fn in_short(policy: &PolicyEvidence) -> String {
    match &policy.tier {
        Some(tier) => format!("{} (tier {tier})", policy.policy),
        None => policy.policy.clone(),
    }
}

fn in_full(policy: &PolicyEvidence) -> String {
    let since = policy
        .since
        .as_ref()
        .map(|since| format!(", since {since}"))
        .unwrap_or_default();
    format!(
        "{}, uid {}, resourceVersion {}{since}",
        in_short(policy),
        policy.uid,
        policy.resource_version
    )
}

fn remarks(direction: &DirectionEvidence) -> Vec<String> {
    let mut remarks = Vec::new();
    if direction.isolated_by.is_empty() {
        remarks.push(String::from("no policy isolates every pod"));
    }
    if let Some(opened) = &direction.opened_by {
        remarks.push(format!(
            "open to {} through {}",
            opened.to,
            opened.policies.join(" and ")
        ));
    }
    let opens = |policy: &str| {
        let opened = direction.opened_by.as_ref();
        opened.is_some_and(|opened| opened.policies.iter().any(|opener| opener == policy))
    };
    let uncounted = direction
        .not_counted
        .iter()
        .filter(|uncounted| !opens(&uncounted.policy));
    remarks.extend(uncounted.map(|uncounted| format!("{} {}", uncounted.policy, uncounted.reason)));
    remarks
}

fn joined(items: impl Iterator<Item = String>, separator: &str) -> String {
    let items: Vec<_> = items.collect();
    match items.is_empty() {
        true => NOTHING.to_owned(),
        false => items.join(separator),
    }
}

/// What would end a cell of a table, or be taken for markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_a_cell_or_become_a_link() {
        assert_eq!(escaped("a|b [c](d) <e>"), "a\\|b \\[c\\](d) \\<e\\>");
    }
}
