//! What a person must know before enforcing: said on stderr, beside the plan.

use std::collections::{BTreeMap, BTreeSet};

use super::emergency;
use super::held::held_releases;
use super::outlook::Outlook;
use crate::api::names::{API_SERVER_SERVICE, SERVICE_NAME_LABEL};
use crate::api::{Direction, Preset};
use crate::cli::wording::{changes_in_words, count, in_words, listed, subject};
use crate::policy::brake::MaxUnprotected;
use crate::policy::plan::ChangeCounts;
use crate::policy::status::tier_problems;
use crate::policy::words;
use crate::policy::{Governor, PolicyName, RankedTier, Unresolved, World};

/// Everything worth saying, most urgent last, where a terminal shows it. `dns_service_in_files` is the DNS Service where
/// the facts come from files.
pub fn notes(
    world: &World,
    outlooks: &[Outlook<'_>],
    dns_service_in_files: Option<&(String, String)>,
    limit: MaxUnprotected,
    own_namespace: &str,
) -> Vec<String> {
    let mut notes = Vec::new();
    for ranked in world.tiers() {
        notes.extend(about_tier(ranked, outlooks));
    }
    if let Some(dns_service) = dns_service_in_files {
        notes.extend(missing_facts(world, dns_service));
    }
    notes.extend(ties(outlooks));
    notes.extend(hand_overs(outlooks));
    notes.extend(kept(world, outlooks));
    notes.extend(waiting(outlooks));
    notes.extend(shadow_closings(outlooks));
    notes.extend(openings(outlooks));
    notes.extend(held_releases(world, outlooks, limit));
    notes.extend(closings(outlooks, own_namespace));
    notes.push(summary(outlooks));
    notes
}

/// Whether anything in the cluster would change. Shadows write nothing, so they do not count.
pub fn changes_anything(outlooks: &[Outlook<'_>]) -> bool {
    outlooks.iter().any(|outlook| !outlook.changes.plan.is_empty())
}

fn about_tier(ranked: &RankedTier, outlooks: &[Outlook<'_>]) -> Vec<String> {
    let name = &ranked.tier.identity().name;
    let problems = tier_problems(ranked);
    let mut notes: Vec<_> = problems
        .into_iter()
        .map(|problem| format!("warning: tier {name}: {}: {}", problem.reason, problem.message))
        .collect();
    let is_it = |other: &&RankedTier| other.tier.identity() == ranked.tier.identity();
    let selects = |outlook: &Outlook<'_>| outlook.assignment.selected_by.iter().any(is_it);
    if !outlooks.is_empty() && !outlooks.iter().any(selects) {
        notes.push(format!("note: tier {name} selects no namespace"));
    }
    notes
}

/// The commands that get the facts which presets miss.
fn missing_facts(world: &World, dns_service: &(String, String)) -> Vec<String> {
    let mut missing = BTreeMap::new();
    let policies = world
        .tiers()
        .iter()
        .flat_map(|ranked| ranked.rendered.policies.values());
    for unresolved in policies.flat_map(|policy| &policy.unresolved) {
        if let Unresolved::Allowance { preset, .. } = unresolved {
            let (namespace, service) = match preset {
                Preset::KubeApiServer => API_SERVER_SERVICE,
                Preset::Dns => (dns_service.0.as_str(), dns_service.1.as_str()),
                Preset::SameNamespace => continue,
            };
            missing.insert(service, namespace);
        }
    }
    let commands = missing.into_iter().map(|(service, namespace)| {
        format!(
            "note: a preset is resolved from Service {namespace}/{service} and its EndpointSlices; to plan from files, give them too:\n  \
             kubectl get service {service} --namespace={namespace} --output=yaml > {service}-service.yaml\n  \
             kubectl get endpointslices --namespace={namespace} --selector={SERVICE_NAME_LABEL}={service} --output=yaml > {service}-endpoints.yaml"
        )
    });
    commands.collect()
}

fn ties(outlooks: &[Outlook<'_>]) -> Vec<String> {
    let mut ties = BTreeMap::<_, Vec<&str>>::new();
    for outlook in outlooks {
        let Some(governor) = outlook.assignment.governor.tier_name() else {
            continue;
        };
        for tied in &outlook.assignment.tied_with {
            let key = (governor.clone(), tied.tier.identity().name.clone());
            ties.entry(key).or_default().push(&outlook.namespace.name);
        }
    }
    let sentences = ties.into_iter().map(|((governor, tied), namespaces)| {
        format!(
            "warning: {}: tiers {governor} and {tied} have the same precedence and both select {}; {governor} governs, \
             by name: give one of the two a higher precedence",
            words::PRECEDENCE_TIE,
            listed(&namespaces)
        )
    });
    sentences.collect()
}

fn hand_overs(outlooks: &[Outlook<'_>]) -> Vec<String> {
    let mut moves = BTreeMap::<_, Vec<&str>>::new();
    for outlook in outlooks {
        let Some(governor) = outlook.assignment.governor.tier_name() else {
            continue;
        };
        for from in outlook.comes_from() {
            let selecting = outlook.assignment.selected_by.iter();
            let observes = selecting
                .filter(|ranked| ranked.tier.is_observe())
                .any(|ranked| &*ranked.tier.identity().name == from);
            let key = (from.to_owned(), governor.clone(), observes);
            moves.entry(key).or_default().push(&outlook.namespace.name);
        }
    }
    let sentences = moves.into_iter().map(|((from, to, observes), namespaces)| {
        let why = if observes {
            format!(": {from} only observes now")
        } else {
            String::new()
        };
        format!(
            "note: {} from tier {from} to tier {to}{why}",
            subject(&namespaces, "moves", "move")
        )
    });
    sentences.collect()
}

/// Policies of ours in namespaces that nobody governs and that stay.
fn kept(world: &World, outlooks: &[Outlook<'_>]) -> Vec<String> {
    let with = |is: fn(&Governor<'_>) -> bool, keeps: &dyn Fn(&Outlook<'_>) -> bool| {
        let found = outlooks
            .iter()
            .filter(|outlook| is(&outlook.assignment.governor) && keeps(outlook));
        found.map(|outlook| outlook.namespace.name.as_str()).collect::<Vec<_>>()
    };
    let observed = with(|governor| matches!(governor, Governor::ObserveOnly), &|outlook| {
        outlook.observed.values().any(|policy| policy.marks.managed_by)
    });
    let retained = with(|governor| matches!(governor, Governor::Nobody), &|outlook| {
        let mut marks = outlook.observed.values().map(|policy| &policy.marks);
        marks.any(|marks| marks.is_retained(|uid| world.is_live(uid)))
    });
    let mut notes = Vec::new();
    if !observed.is_empty() {
        notes.push(format!(
            "note: {} the policies of before, no longer healed: only Observe tiers select {}",
            subject(&observed, "keeps", "keep"),
            if observed.len() == 1 { "it" } else { "them" }
        ));
    }
    if !retained.is_empty() {
        notes.push(format!(
            "note: {} policies of a tier that is not there; they stay until somebody deletes them",
            subject(&retained, "keeps", "keep")
        ));
    }
    notes
}

fn waiting(outlooks: &[Outlook<'_>]) -> Vec<String> {
    let waits = by_directions(outlooks, |outlook| {
        let waiting = outlook.changes.plan.waiting.iter();
        waiting.filter_map(PolicyName::baseline_direction).collect()
    });
    let sentences = waits.into_iter().map(|(directions, namespaces)| {
        format!(
            "warning: {} not isolated yet in {}: that waits until an allowance resolves, so that what runs there is not \
             cut off from what it may need",
            in_words(&directions),
            listed(&namespaces)
        )
    });
    sentences.collect()
}

fn shadow_closings(outlooks: &[Outlook<'_>]) -> Vec<String> {
    let mut closings = BTreeMap::<_, Vec<&str>>::new();
    for outlook in outlooks {
        for (shadow, changes) in outlook
            .shadows
            .iter()
            .filter(|(_, changes)| !changes.closes().is_empty())
        {
            let key = (shadow.tier.identity().name.clone(), changes.closes());
            closings.entry(key).or_default().push(&outlook.namespace.name);
        }
    }
    let sentences = closings.into_iter().map(|((tier, directions), namespaces)| {
        format!(
            "note: tier {tier} only observes; in mode Enforce it would isolate {} in {}",
            in_words(&directions),
            listed(&namespaces)
        )
    });
    sentences.collect()
}

fn openings(outlooks: &[Outlook<'_>]) -> Vec<String> {
    by_directions(outlooks, |outlook| outlook.changes.opens())
        .into_iter()
        .map(|(directions, namespaces)| {
            format!(
                "warning: {} would open: nothing isolates {} there any more",
                listed(&namespaces),
                in_words(&directions)
            )
        })
        .collect()
}

fn closings(outlooks: &[Outlook<'_>], own_namespace: &str) -> Vec<String> {
    let mut closings = BTreeMap::<_, Vec<&str>>::new();
    for outlook in outlooks {
        let directions = outlook.changes.closes();
        if let Some(tier) = outlook
            .assignment
            .governor
            .tier_name()
            .filter(|_| !directions.is_empty())
        {
            closings
                .entry((tier, directions))
                .or_default()
                .push(&outlook.namespace.name);
        }
    }
    let tiers: BTreeSet<_> = closings.keys().map(|(tier, _)| tier.to_string()).collect();
    let sentences = closings.into_iter().map(|((tier, directions), namespaces)| {
        format!(
            "warning: tier {tier} is about to isolate {} in {}: what its allowances do not name is cut there",
            in_words(&directions),
            listed(&namespaces)
        )
    });
    sentences
        .chain(emergency::instructions(&tiers, own_namespace))
        .collect()
}

fn by_directions<'a>(
    outlooks: &'a [Outlook<'_>],
    directions: impl Fn(&Outlook<'_>) -> BTreeSet<Direction>,
) -> BTreeMap<BTreeSet<Direction>, Vec<&'a str>> {
    let mut found = BTreeMap::<_, Vec<&str>>::new();
    for outlook in outlooks {
        let directions = directions(outlook);
        if !directions.is_empty() {
            found.entry(directions).or_default().push(&outlook.namespace.name);
        }
    }
    found
}

fn summary(outlooks: &[Outlook<'_>]) -> String {
    let mut total = ChangeCounts::default();
    for counts in outlooks.iter().map(|outlook| outlook.changes.plan.counts()) {
        total.create += counts.create;
        total.replace += counts.replace;
        total.delete += counts.delete;
    }
    let changing = outlooks
        .iter()
        .filter(|outlook| !outlook.changes.plan.is_empty())
        .count();
    match changing {
        0 => format!("plan: nothing changes in {}", count(outlooks.len())),
        _ => format!(
            "plan: {changing} of {} would change: {}",
            count(outlooks.len()),
            changes_in_words(total)
        ),
    }
}
