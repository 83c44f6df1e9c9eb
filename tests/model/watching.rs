//! The watches of the controller, as in `src/controller/cache/events.rs` and `policy_index.rs` beside it.

use crate::catalogue::Catalogue;
use crate::cluster::{Acknowledged, Object, PolicyEvent, RESERVED, Shelf, State, Tiers};
use crate::scenario::{TIERS, Variant};
use crate::steps::Kind;

/// Lists, and watches from there.
pub fn list(state: &mut State, kind: Kind, namespaces: usize) {
    let controller = &mut state.controller;
    controller.listed[kind as usize] = true;
    match kind {
        Kind::Tiers => controller.tiers = state.tiers,
        Kind::Namespaces => controller.labels = state.labels,
        Kind::Policies => {
            controller.policies = state.policies;
            for policies in &mut controller.policies {
                policies[RESERVED..].fill(None);
            }
        }
    }
    // Each list pushes every namespace that it concerns, and nothing is taken from the queue before the last.
    controller.dirty = std::array::from_fn(|namespace| namespace < namespaces);
}

/// A watch shows its next event.
pub fn deliver(state: &mut State, catalogue: &mut Catalogue, kind: Kind) {
    let controller = &mut state.controller;
    match kind {
        Kind::Tiers => {
            let (tier, variant) = state.tier_events.remove(0);
            let before = controller.tiers;
            controller.tiers[usize::from(tier)] = variant;
            for namespace in 0..catalogue.scenario.namespaces {
                let labels = controller.labels[namespace];
                controller.dirty[namespace] |= concerns(
                    catalogue,
                    before,
                    controller.tiers,
                    tier.into(),
                    labels,
                    &controller.policies[namespace],
                );
            }
        }
        Kind::Namespaces => {
            let (namespace, labels) = state.namespace_events.remove(0);
            let known = &mut controller.labels[usize::from(namespace)];
            controller.dirty[usize::from(namespace)] |= *known != labels;
            *known = labels;
        }
        Kind::Policies => {
            let event = state.policy_events.remove(0);
            let (namespace, policy) = (usize::from(event.namespace), usize::from(event.policy));
            let known = &mut controller.policies[namespace][policy];
            let acknowledged = &mut controller.acknowledged[namespace][policy];
            let news = shown(known, acknowledged, event.object, event.deleted);
            controller.dirty[namespace] |= news;
        }
    }
}

/// Whether a changed tier selects or selected a namespace of that label, or owns a policy in it, as `Cache::change_world`
/// finds it.
fn concerns(catalogue: &Catalogue, before: Tiers, after: Tiers, tier: usize, labels: u8, shelf: &Shelf) -> bool {
    let team = catalogue.scenario.labels[usize::from(labels)];
    let variants = [before, after]
        .into_iter()
        .filter_map(|tiers| catalogue.scenario.variant(tiers, tier));
    let concerned = |variant: &Variant| {
        let owns = |object: &Object| catalogue.is_marked_for(object.content, TIERS[tier], &variant.uid(tier));
        team.is_some_and(|team| variant.teams.contains(&team)) || shelf.iter().flatten().any(owns)
    };
    before != after && variants.into_iter().any(concerned)
}

/// Drops events that say nothing new: the controller forgets them, whenever they come.
pub fn drop_stale_news(state: &mut State) {
    let controller = &mut state.controller;
    let stale = |(tier, variant): &(u8, Option<u8>)| controller.tiers[usize::from(*tier)] == *variant;
    while state.tier_events.first().is_some_and(stale) {
        state.tier_events.remove(0);
    }
    let stale = |(namespace, labels): &(u8, u8)| controller.labels[usize::from(*namespace)] == *labels;
    while state.namespace_events.first().is_some_and(stale) {
        state.namespace_events.remove(0);
    }
    while let Some(event) = state.policy_events.first() {
        let (namespace, policy) = (usize::from(event.namespace), usize::from(event.policy));
        let mut known = controller.policies[namespace][policy];
        let mut acknowledged = controller.acknowledged[namespace][policy];
        if shown(&mut known, &mut acknowledged, event.object, event.deleted) {
            return;
        }
        controller.acknowledged[namespace][policy] = acknowledged;
        state.policy_events.remove(0);
    }
}

/// The watch shows a policy. Returns whether that is news.
fn shown(known: &mut Option<Object>, acknowledged: &mut Acknowledged, object: Object, deleted: bool) -> bool {
    let is_older = known.is_some_and(|known| object.version < known.version);
    match acknowledged {
        Acknowledged::Deleted(gone) if !deleted && gone.uid == object.uid => return false,
        Acknowledged::Written if is_older => return false,
        _ => *acknowledged = Acknowledged::Nothing,
    }
    let shown = (!deleted).then_some(object);
    std::mem::replace(known, shown) != shown
}

/// A write or a read of ours returned this object: as `PolicyIndex::written`.
pub fn written(state: &mut State, namespace: usize, policy: usize, object: Object) {
    let of_it = |event: &PolicyEvent| {
        let place = (usize::from(event.namespace), usize::from(event.policy));
        place == (namespace, policy) && event.object.version == object.version
    };
    // Every version has its event: where that is not waiting any more, the watch is past it and knows better.
    if !state.policy_events.iter().any(of_it) {
        return;
    }
    let controller = &mut state.controller;
    let known = &mut controller.policies[namespace][policy];
    let is_older = known.is_some_and(|known| object.version < known.version);
    if !is_older && *known != Some(object) {
        *known = Some(object);
        controller.acknowledged[namespace][policy] = Acknowledged::Written;
    }
}
