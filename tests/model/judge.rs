//! What must never be, and what must be in the end. Who governs is worked out here anew, from the promise and not by the
//! core.

use crate::catalogue::{Catalogue, ChangeKind, PlanId, Question};
use crate::cluster::{Directions, NAMESPACES, POLICIES, RESERVED, Shelf, State, Tiers};
use crate::scenario::{EGRESS, INGRESS, Scenario, TIERS};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Governance {
    Tier(usize),
    OnlyObserved,
    Nobody,
}

fn governance(scenario: &Scenario, tiers: Tiers, labels: u8) -> Governance {
    let team = scenario.labels[usize::from(labels)];
    let selects = |tier: &usize| {
        let variant = scenario.variant(tiers, *tier);
        variant.is_some_and(|variant| team.is_some_and(|team| variant.teams.contains(&team)))
    };
    let enforces = |tier: &usize| scenario.variant(tiers, *tier).is_some_and(|variant| !variant.observes);
    let selecting: Vec<usize> = (0..TIERS.len()).filter(selects).collect();
    // The first has the higher precedence.
    match selecting.iter().copied().find(enforces) {
        Some(tier) => Governance::Tier(tier),
        None if selecting.is_empty() => Governance::Nobody,
        None => Governance::OnlyObserved,
    }
}

/// The directions that may be opened.
pub fn freed(scenario: &Scenario, tiers: Tiers, labels: u8) -> Directions {
    match governance(scenario, tiers, labels) {
        Governance::Tier(tier) => {
            let isolates = scenario.variant(tiers, tier).map_or(0, |variant| variant.isolates);
            !isolates & (INGRESS | EGRESS)
        }
        Governance::OnlyObserved => 0,
        Governance::Nobody => INGRESS | EGRESS,
    }
}

/// The directions of a namespace that its bases close.
pub fn isolated(state: &State, catalogue: &Catalogue, namespace: usize) -> Directions {
    let bases = state.policies[namespace].iter().flatten();
    bases.fold(0, |closed, base| closed | catalogue.content(base.content).isolates)
}

/// A write of ours was stored. Invariant 1: it opened nothing but what no tier isolated when the tiers were read last.
pub fn release(
    state: &State,
    catalogue: &Catalogue,
    namespace: usize,
    before: Directions,
    freed: Directions,
) -> Result<(), String> {
    let opened = before & !isolated(state, catalogue, namespace) & !freed;
    match opened {
        0 => Ok(()),
        _ => Err(format!(
            "invariant 1: {} of n{namespace} was opened, which its tier isolated at the consistent read",
            words(opened)
        )),
    }
}

/// A write of ours in a governed namespace did not take from a base the allowances that belong to it, unless that base is
/// one of which no answer told and no watch yet.
pub fn cut(
    state: &State,
    catalogue: &mut Catalogue,
    namespace: usize,
    plan: PlanId,
    before: &Shelf,
) -> Result<(), String> {
    let Question { tiers, labels, .. } = catalogue.planned(plan).question;
    let governed = matches!(governance(&catalogue.scenario, tiers, labels), Governance::Tier(_));
    let is_known = state.controller.policies[namespace][0] == state.policies[namespace][0];
    if governed && is_known && catalogue.is_cut(&state.policies[namespace]) && !catalogue.is_cut(before) {
        return Err(format!(
            "order: pods of n{namespace} were cut off from what their tier allows them"
        ));
    }
    Ok(())
}

/// The garbage collector opened nothing: no policy of ours has lost its last owner.
pub fn collection(state: &State, catalogue: &Catalogue, namespace: usize, before: Directions) -> Result<(), String> {
    match before & !isolated(state, catalogue, namespace) {
        0 => Ok(()),
        opened => Err(format!(
            "invariant 1: {} of n{namespace} was opened by the garbage collector",
            words(opened)
        )),
    }
}

/// Invariant 2, of a plan against what it was made from: it writes for the tier that governs, and where nobody governs it
/// deletes only what carries every mark of a tier that stands.
pub fn plan(catalogue: &Catalogue, plan: PlanId) -> Result<(), String> {
    let planned = catalogue.planned(plan);
    let Question { tiers, labels, .. } = planned.question;
    let scenario = &catalogue.scenario;
    let governance = governance(scenario, tiers, labels);
    let marked_for = |content, tier: usize| {
        let variant = scenario.variant(tiers, tier).filter(|variant| !variant.broken);
        variant.is_some_and(|variant| catalogue.is_marked_for(content, TIERS[tier], &variant.uid(tier)))
    };
    for change in &planned.changes {
        let name = POLICIES[usize::from(change.policy)];
        let standing = planned.question.observed[usize::from(change.policy)];
        let right = match (governance, change.kind) {
            (Governance::Tier(tier), ChangeKind::Create(content) | ChangeKind::Replace(content)) => {
                let variant = scenario.variant(tiers, tier);
                variant.is_some_and(|variant| catalogue.is_marked_for(content, TIERS[tier], &variant.uid(tier)))
            }
            // A reserved name in a governed namespace: it alone decides.
            (Governance::Tier(_), ChangeKind::Remove) => true,
            (Governance::Nobody, ChangeKind::Remove) => {
                standing.is_some_and(|content| (0..TIERS.len()).any(|tier| marked_for(content, tier)))
            }
            _ => false,
        };
        if !right {
            return Err(format!(
                "invariant 2: {:?} of {name}, where {governance:?} governs",
                change.kind
            ));
        }
    }
    Ok(())
}

/// Nothing is left to be done: what stands is the pure function of tiers and labels, and stays so after a restart.
pub fn rest(state: &State, catalogue: &mut Catalogue) -> Result<(), String> {
    for namespace in 0..catalogue.scenario.namespaces.min(NAMESPACES) {
        rest_of(state, catalogue, namespace)
            .map_err(|fault| format!("invariant 4: n{namespace} rests, but {fault}"))?;
    }
    Ok(())
}

fn rest_of(state: &State, catalogue: &mut Catalogue, namespace: usize) -> Result<(), String> {
    let (tiers, labels) = (state.tiers, state.labels[namespace]);
    let shelf = state.policies[namespace];
    if state.controller.policies[namespace][..RESERVED] != shelf[..RESERVED] {
        return Err(String::from("the controller takes it for something else than it is"));
    }
    for record in [state.controller.records[namespace], None] {
        let left = catalogue.real_plan(&Question {
            namespace: namespace as u8,
            tiers,
            labels,
            observed: Question::contents(&shelf),
            record,
        });
        if !left.is_empty() {
            return Err(format!(
                "{:?} is to be done (remembering: {})",
                left.counts(),
                record.is_some()
            ));
        }
    }
    let record = state.controller.records[namespace].map(|record| catalogue.record(record));
    if record.is_some_and(|record| !record.drifted.is_empty()) {
        return Err(String::from("drift is reported, which was healed"));
    }
    match governance(&catalogue.scenario, tiers, labels) {
        Governance::OnlyObserved => Ok(()),
        Governance::Nobody => nothing_is_left_behind(state, catalogue, namespace),
        Governance::Tier(tier) => stands_as_wanted(state, catalogue, namespace, tier),
    }
}

fn nothing_is_left_behind(state: &State, catalogue: &Catalogue, namespace: usize) -> Result<(), String> {
    let scenario = &catalogue.scenario;
    for (name, object) in POLICIES.iter().zip(state.policies[namespace]).take(RESERVED) {
        let left = |tier: &usize| {
            let variant = scenario.variant(state.tiers, *tier).filter(|variant| !variant.broken);
            let content = object.map(|object| object.content);
            variant
                .zip(content)
                .is_some_and(|(variant, content)| catalogue.is_marked_for(content, TIERS[*tier], &variant.uid(*tier)))
        };
        if let Some(tier) = (0..TIERS.len()).find(left) {
            return Err(format!("{name} of {} is left behind", TIERS[tier]));
        }
    }
    Ok(())
}

fn stands_as_wanted(state: &State, catalogue: &mut Catalogue, namespace: usize, tier: usize) -> Result<(), String> {
    let Some(variant) = catalogue.scenario.variant(state.tiers, tier).copied() else {
        return Err(String::from("its tier is not there"));
    };
    let open = variant.isolates & !isolated(state, catalogue, namespace);
    if open != 0 {
        return Err(format!("{} is open", words(open)));
    }
    if variant.broken {
        // It keeps what stands.
        return Ok(());
    }
    let world = catalogue.world(state.tiers);
    let ranked = world
        .tiers()
        .iter()
        .find(|ranked| *ranked.tier.identity().name == *TIERS[tier]);
    let wanted = ranked.map(|ranked| &ranked.rendered.policies);
    for (name, object) in POLICIES.iter().zip(state.policies[namespace]).take(RESERVED) {
        let wanted = wanted.and_then(|wanted| wanted.iter().find(|(wanted, _)| wanted.as_str() == *name));
        match (wanted, object) {
            (None, None) => {}
            (Some(_), None) => return Err(format!("{name} is missing")),
            (None, Some(_)) => return Err(format!("{name} stands, which nobody wants")),
            (Some((_, wanted)), Some(object)) => {
                let live = &catalogue.content(object.content).object.spec;
                if live.as_ref() != Some(&wanted.spec) {
                    return Err(format!("{name} is not as it should be"));
                }
                if !catalogue.is_marked_for(object.content, TIERS[tier], &variant.uid(tier)) {
                    return Err(format!("{name} lacks the marks of {}", TIERS[tier]));
                }
            }
        }
    }
    Ok(())
}

fn words(directions: Directions) -> &'static str {
    match directions {
        INGRESS => "ingress",
        EGRESS => "egress",
        _ => "both directions",
    }
}
