//! The table for people: a line for each namespace, and what is shortened there.

use k8s_openapi::jiff::Timestamp;

use super::namespace_status::{Changes, DriftedPolicy, NamespaceStatus};
use crate::api::Mode;
use crate::cli::columns::{Cell, Colour};
use crate::policy::standing::State;

/// Columns of the table.
pub const COLUMNS: [&str; 7] = ["NAMESPACE", "TIER", "MODE", "STATE", "DRIFT", "WIDENED-BY", "SINCE"];
/// For what is not there.
const NOTHING: &str = "-";
/// Characters of a name of somebody else's in the table.
const MOST_CHARACTERS: usize = 40;

/// A line of the table.
pub fn row(status: &NamespaceStatus, now: Timestamp) -> [Cell; 7] {
    [
        status.namespace.clone().into(),
        status.tier.clone().unwrap_or_else(|| NOTHING.to_owned()).into(),
        mode(status).into(),
        state(status),
        shortened(&status.drift, |drift| match &drift.by {
            Some(by) => format!("{} by {}", drift.kind, cut(&by.manager)),
            None => drift.kind.to_owned(),
        })
        .into(),
        shortened(&status.widened_by, |widening| {
            format!("{} ({})", cut(&widening.policy), widening.severity)
        })
        .into(),
        age(status, now).into(),
    ]
}

/// Everything that the line of a namespace shortens or leaves out.
pub fn details(status: &NamespaceStatus) -> Vec<String> {
    let mut details = Vec::new();
    for drift in &status.drift {
        details.extend(drift_in_words(drift));
    }
    let Changes {
        create,
        replace,
        delete,
    } = status.changes;
    if status.state != State::Drifted && create + replace + delete > 0 {
        details.push(format!(
            "to be written: create {create}, replace {replace}, delete {delete}; see cofferdam plan"
        ));
    }
    if !status.waiting.is_empty() {
        details.push(format!(
            "{} waits until an allowance resolves",
            status.waiting.join(", ")
        ));
    }
    for widening in &status.widened_by {
        details.push(format!(
            "{} widens {} ({}): {}",
            widening.policy, widening.direction, widening.severity, widening.detail
        ));
    }
    for shadow in &status.shadows {
        let Changes {
            create,
            replace,
            delete,
        } = shadow.would;
        details.push(format!(
            "tier {} observes: it would create {create}, replace {replace}, delete {delete}",
            shadow.tier
        ));
    }
    let problems = status.problems.iter();
    details.extend(problems.map(|problem| format!("{}: {}", problem.reason, problem.message)));
    details
}

/// A line for a namespace that is not there any more.
pub fn gone(namespace: &str) -> [Cell; 7] {
    let mut row = [NOTHING; 7].map(Cell::from);
    row[0] = namespace.into();
    row[3] = Cell::coloured("gone", Colour::Grey);
    row
}

/// Each line with its details below it.
pub fn with_details(lines: &str, details: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (line, details) in lines.lines().zip(details) {
        text.push_str(&format!("{line}\n"));
        for detail in details {
            text.push_str(&format!("  {detail}\n"));
        }
    }
    text
}

fn mode(status: &NamespaceStatus) -> &'static str {
    match status.mode {
        Some(Mode::Enforce) => "Enforce",
        Some(Mode::Observe) => "Observe",
        None => NOTHING,
    }
}

fn state(status: &NamespaceStatus) -> Cell {
    let colour = match status.state {
        State::Protected => Colour::Green,
        State::Drifted | State::Failed | State::Left => Colour::Red,
        State::Exempt | State::Terminating => Colour::Grey,
        State::Contested | State::Pending | State::Retained | State::Observed | State::Ungoverned => Colour::Yellow,
    };
    Cell::coloured(status.state.as_str(), colour)
}

/// The first, and how many more there are.
fn shortened<T>(items: &[T], in_words: impl Fn(&T) -> String) -> String {
    match items {
        [] => NOTHING.to_owned(),
        [one] => in_words(one),
        [first, others @ ..] => format!("{}, +{}", in_words(first), others.len()),
    }
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

fn drift_in_words(drift: &DriftedPolicy) -> Vec<String> {
    let mut words = format!("{} {}", drift.policy, drift.kind);
    match (&drift.by, &drift.audit_query) {
        (Some(by), _) => {
            let time = by.time.as_ref().map(|time| format!(", {time}")).unwrap_or_default();
            words.push_str(&format!(" by {} ({}{time})", by.manager, by.operation));
        }
        (None, Some(query)) => {
            words.push_str(&format!("; the API does not tell by whom, an audit log does: {query}"));
        }
        (None, None) => words.push_str("; the API does not tell by whom"),
    }
    let absent = |value: &Option<String>| value.clone().unwrap_or_else(|| String::from("absent"));
    let changes = drift.changes.iter();
    let changes = changes.map(|change| {
        format!(
            "  {} was {}, became {}",
            change.path,
            absent(&change.before),
            absent(&change.after)
        )
    });
    [words].into_iter().chain(changes).collect()
}

/// As kubectl shows ages.
fn age(status: &NamespaceStatus, now: Timestamp) -> String {
    let since = status.since.as_ref().and_then(|since| since.parse::<Timestamp>().ok());
    let Some(since) = since else {
        return NOTHING.to_owned();
    };
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
