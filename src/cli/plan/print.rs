//! A plan on stdout: as a diff, as a table, or as the policies that result.

use std::io::{self, IsTerminal};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};
use similar::TextDiff;

use super::outlook::{Changes, Outlook};
use super::table::table;
use crate::cli::columns::{colours_are_wanted, printable};
use crate::cli::input::identities::is_placeholder;
use crate::cli::stdout::{self, PrintError};
use crate::policy::digest::normalise;

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Output {
    /// A unified diff of the policies there are and those that would be
    Diff,
    /// A line per namespace and tier
    Table,
    /// The policies that would be, as YAML documents
    Yaml,
    /// The policies that would be, as a List
    Json,
}

/// Metadata that says nothing about what a policy does.
const BOOKKEEPING: [&str; 5] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];

/// Prints to stdout.
///
/// # Errors
/// When that fails.
pub fn print(output: Output, outlooks: &[Outlook<'_>]) -> Result<(), PrintError> {
    let text = match output {
        Output::Diff => diff(outlooks)?,
        Output::Table => table(outlooks),
        Output::Yaml => yaml(outlooks)?,
        Output::Json => format!("{:#}\n", json(outlooks)),
    };
    // What somebody wrote into an annotation could turn around what is read there; a program gets it as it is.
    let text = if io::stdout().is_terminal() {
        visible(&text)
    } else {
        text
    };
    match output == Output::Diff && colours_are_wanted() {
        true => stdout::print(&in_colour(&text)),
        false => stdout::print(&text),
    }
}

fn visible(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", printable(line))).collect()
}

fn resulting<'a>(outlooks: &'a [Outlook<'_>]) -> impl Iterator<Item = Value> + 'a {
    outlooks
        .iter()
        .flat_map(|outlook| outlook.changes.resulting())
        .map(for_output)
}

fn yaml(outlooks: &[Outlook<'_>]) -> Result<String, PrintError> {
    let mut text = String::new();
    for policy in resulting(outlooks) {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&policy)?);
    }
    Ok(text)
}

fn json(outlooks: &[Outlook<'_>]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": resulting(outlooks).collect::<Vec<_>>()})
}

fn diff(outlooks: &[Outlook<'_>]) -> Result<String, PrintError> {
    let mut text = String::new();
    for outlook in outlooks {
        let namespace = &outlook.namespace.name;
        diff_changes(&outlook.changes, namespace, "planned", &mut text)?;
        for (shadow, changes) in &outlook.shadows {
            let tier = &shadow.tier.identity().name;
            if !changes.plan.is_empty() {
                text.push_str(&format!(
                    "# Tier {tier} only observes. In mode Enforce it would change {namespace}:\n"
                ));
                diff_changes(changes, namespace, &format!("shadow:{tier}"), &mut text)?;
            }
        }
    }
    Ok(text)
}

fn diff_changes(changes: &Changes, namespace: &str, side: &str, text: &mut String) -> Result<(), PrintError> {
    for (name, before, after) in changes.changed() {
        let (before_text, after_text) = (yaml_or_nothing(before)?, yaml_or_nothing(after)?);
        // Paths, so that viewers of patches can jump; nothing reads a file of that name.
        let header = |there: bool, side: &str| match there {
            true => format!("{side}/{namespace}/{name}"),
            false => String::from("/dev/null"),
        };
        let diff = TextDiff::from_lines(&before_text, &after_text);
        let (left, right) = (header(before.is_some(), "live"), header(after.is_some(), side));
        text.push_str(&diff.unified_diff().header(&left, &right).to_string());
    }
    Ok(())
}

fn yaml_or_nothing(policy: Option<&NetworkPolicy>) -> Result<String, PrintError> {
    Ok(match policy {
        Some(policy) => serde_saphyr::to_string(&for_diff(policy))?,
        None => String::new(),
    })
}

/// For a diff: owners that do not exist yet are named without their uid.
fn for_diff(policy: &NetworkPolicy) -> Value {
    let mut object = without_bookkeeping(policy);
    let owners = object
        .pointer_mut("/metadata/ownerReferences")
        .and_then(Value::as_array_mut);
    for owner in owners.into_iter().flatten().filter_map(Value::as_object_mut) {
        if owner.get("uid").and_then(Value::as_str).is_some_and(is_placeholder) {
            owner.remove("uid");
        }
    }
    object
}

/// For another program: owners that do not exist yet are left out together, since an API server refuses an owner
/// without a uid, and one of the two alone would be collected with its owner.
fn for_output(policy: &NetworkPolicy) -> Value {
    let mut object = without_bookkeeping(policy);
    let owners = policy.metadata.owner_references.iter().flatten();
    let unknown = owners.into_iter().any(|owner| is_placeholder(&owner.uid));
    if let Some(metadata) = object["metadata"].as_object_mut().filter(|_| unknown) {
        metadata.remove("ownerReferences");
    }
    object
}

fn without_bookkeeping(policy: &NetworkPolicy) -> Value {
    // The types hold only strings, numbers and string-keyed maps, which always serialise.
    let mut metadata = serde_json::to_value(&policy.metadata).unwrap_or_default();
    if let Some(fields) = metadata.as_object_mut() {
        fields.retain(|field, _| !BOOKKEEPING.contains(&field.as_str()));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        // What the server defaults is no difference.
        "spec": normalise(policy.spec.clone().unwrap_or_default()),
    })
}

/// The colours that git uses.
fn in_colour(diff: &str) -> String {
    let colour = |line: &str| match line.as_bytes() {
        [b'-', b'-', b'-', b' ', ..] | [b'+', b'+', b'+', b' ', ..] => Some("1"),
        [b'@', b'@', ..] => Some("36"),
        [b'-', ..] => Some("31"),
        [b'+', ..] => Some("32"),
        [b'#', ..] => Some("33"),
        _ => None,
    };
    let lines = diff.lines().map(|line| match colour(line) {
        Some(code) => format!("\x1b[{code}m{line}\x1b[0m\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_would_be_read_backwards_is_written_out() {
        assert_eq!(
            visible("+  note: a\u{202e}b\n  c: ä\n"),
            "+  note: a\\u{202e}b\n  c: ä\n"
        );
    }

    #[test]
    fn each_kind_of_line_has_its_colour() {
        assert_eq!(
            in_colour("--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n z\n"),
            "\x1b[1m--- a\x1b[0m\n\x1b[1m+++ b\x1b[0m\n\x1b[36m@@ -1 +1 @@\x1b[0m\n\x1b[31m-x\x1b[0m\n\x1b[32m+y\x1b[0m\n z\n"
        );
    }
}
