//! A plan as a table: a line for each namespace and its governor, and one for each shadow.

use std::collections::{BTreeMap, BTreeSet};

use super::outlook::{Changes, Outlook};
use crate::api::Mode;
use crate::cli::columns::{Cell, lines, widths};
use crate::cli::wording::{changes_in_words, in_words};
use crate::policy::plan::ChangeCounts;
use crate::policy::{Governor, ParsedTier, PolicyName, RankedTier};

const HEADER: [&str; 5] = ["NAMESPACE", "TIER", "MODE", "CHANGES", "REASONS"];

/// The table, with its header.
pub fn table(outlooks: &[Outlook<'_>]) -> String {
    let mut rows = vec![HEADER.map(String::from)];
    rows.extend(outlooks.iter().flat_map(rows_of));
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(Cell::from)).collect();
    lines(&rows, widths(&rows, [0; HEADER.len()]), false)
}

fn rows_of(outlook: &Outlook<'_>) -> Vec<[String; 5]> {
    let namespace = &outlook.namespace.name;
    let (tier, mode) = match outlook.assignment.governor.tier() {
        Some(governor) => (governor.tier.identity().name.to_string(), mode_of(governor)),
        None => (String::from("-"), "-"),
    };
    let changes = changes_in_words(outlook.changes.plan.counts());
    let mut rows = vec![[
        namespace.clone(),
        tier,
        mode.to_owned(),
        changes,
        reasons(outlook).join("; "),
    ]];
    for (shadow, changes) in &outlook.shadows {
        let counts = changes.plan.counts();
        let would = if counts == ChangeCounts::default() {
            ""
        } else {
            "would "
        };
        let would = format!("{would}{}", changes_in_words(counts));
        let tier = shadow.tier.identity().name.to_string();
        let reasons = reasons_of(changes).join("; ");
        rows.push([namespace.clone(), tier, mode_of(shadow).to_owned(), would, reasons]);
    }
    rows
}

fn mode_of(ranked: &RankedTier) -> &'static str {
    let mode = match &ranked.tier {
        ParsedTier::Whole(tier) => Some(tier.mode),
        ParsedTier::Broken(tier) => tier.mode,
    };
    match mode {
        Some(Mode::Enforce) => "Enforce",
        Some(Mode::Observe) => "Observe",
        None => "-",
    }
}

fn reasons(outlook: &Outlook<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    match outlook.assignment.governor {
        Governor::Exempt => reasons.push(String::from("exempt by name")),
        Governor::Terminating => reasons.push(String::from("being deleted: left alone")),
        Governor::ObserveOnly => reasons.push(String::from("only Observe tiers select it: keeps what it has")),
        Governor::Nobody => reasons.push(String::from("no tier selects it")),
        Governor::Tier(_) => {}
    }
    reasons.extend(outlook.comes_from().map(|tier| format!("from tier {tier}")));
    let tied = outlook.assignment.tied_with.iter();
    reasons.extend(tied.map(|tied| format!("tie with tier {}", tied.tier.identity().name)));
    reasons.extend(reasons_of(&outlook.changes));
    if reasons.is_empty() && outlook.changes.plan.is_empty() {
        reasons.push(String::from("in place"));
    }
    reasons
}

fn reasons_of(changes: &Changes) -> Vec<String> {
    let mut reasons = Vec::new();
    for (verb, directions) in [("closes", changes.closes()), ("opens", changes.opens())] {
        if !directions.is_empty() {
            reasons.push(format!("{verb} {}", in_words(&directions)));
        }
    }
    let mut drift = BTreeMap::<_, usize>::new();
    for (_, kind) in changes.plan.drift() {
        *drift.entry(kind).or_default() += 1;
    }
    reasons.extend(
        drift
            .into_iter()
            .map(|(kind, count)| format!("drift: {count} {}", kind.as_str())),
    );
    let taken_over = changes.plan.taken_over().count();
    if taken_over > 0 {
        reasons.push(format!("takes over {taken_over}"));
    }
    let waiting: BTreeSet<_> = changes
        .plan
        .waiting
        .iter()
        .filter_map(PolicyName::baseline_direction)
        .collect();
    if !waiting.is_empty() {
        reasons.push(format!("{} waits for an allowance to resolve", in_words(&waiting)));
    }
    reasons
}
