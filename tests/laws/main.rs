//! Laws of the core: what must hold of every plan, whatever was written, whatever stood there before, and wherever
//! a process stopped.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a law is broken by panicking

mod store;
mod validation;
mod worlds;

use std::collections::BTreeSet;

use cofferdam::api::Direction;
use cofferdam::policy::digest::normalise;
use cofferdam::policy::render::emptied;
use cofferdam::policy::{
    Action, Assignment, Governor, Namespace, NamespaceRecord, Plan, PolicyName, SpecDigest, World, assign, plan,
};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use proptest::prelude::*;

use store::{Change, Store, changes};
use worlds::{FactsSeed, Seed, facts, seeds, specs, tiers};

/// Deleting what a finalizer holds and emptying it are two rounds, and so are closing a base and deleting it; pruning a forged
/// claim of a tier whose selector cannot be read hands the namespace over, which may take both again.
const ROUNDS: usize = 5;

/// What is remembered once those changes of a plan were made.
fn record_after(
    assignment: &Assignment<'_>,
    namespace: &Namespace,
    plan: &Plan,
    done: &BTreeSet<PolicyName>,
) -> NamespaceRecord {
    let mut written = plan.in_place.clone();
    let unsettled = plan.unsettled.iter().filter(|(name, _)| !done.contains(name));
    written.extend(unsettled.map(|(name, before)| (name.clone(), before.clone())));
    let writes = plan.writes().filter(|write| done.contains(&write.name));
    written.extend(writes.map(|write| (write.name.clone(), write.written())));
    NamespaceRecord {
        namespace_uid: namespace.uid.clone(),
        governor: assignment.governor.tier().map(|ranked| ranked.tier.identity().clone()),
        written,
        ..NamespaceRecord::default()
    }
}

/// One round: plans, and makes the changes that `succeeds` says by their place. Nothing is removed unless every
/// write succeeded.
fn round(
    world: &World,
    namespace: &Namespace,
    store: &mut Store,
    record: Option<&NamespaceRecord>,
    succeeds: impl Fn(usize) -> bool,
) -> (Plan, NamespaceRecord) {
    let observed = store.observed();
    let assignment = assign(world, namespace, &observed, record);
    let plan = plan(world, namespace, &observed, record);
    let mut done = BTreeSet::new();
    for (index, change) in changes(&plan).into_iter().enumerate() {
        let writes_failed = done.len() < plan.writes().count();
        if !succeeds(index) || (matches!(change, Change::Remove(_)) && writes_failed) {
            continue;
        }
        let before = isolated(&assignment, store);
        store.make(change, namespace);
        let after = isolated(&assignment, store);
        assert!(before.is_subset(&after), "{change:?} opened one of {before:?}");
        done.insert(change.name().clone());
    }
    let record = record_after(&assignment, namespace, &plan, &done);
    (plan, record)
}

/// The directions that the governor closes and that are closed by their base.
fn isolated(assignment: &Assignment<'_>, store: &Store) -> BTreeSet<Direction> {
    let closes = |direction: &&Direction| {
        let base = store.policies.get(PolicyName::baseline(**direction).as_str());
        let spec = base.and_then(|base| base.spec.as_ref());
        spec.is_some_and(|spec| {
            let types = spec.policy_types.iter().flatten();
            spec.pod_selector == Some(Default::default())
                && types.into_iter().any(|name| *name == format!("{direction:?}"))
        })
    };
    let directions = assignment.governor.tier().map(|ranked| ranked.tier.isolate());
    directions.into_iter().flatten().filter(closes).copied().collect()
}

/// Plans until nothing is left to do. With `remembering`, the memory goes from round to round.
fn converge(
    seed: &Seed,
    store: &mut Store,
    mut record: Option<NamespaceRecord>,
    remembering: bool,
) -> Option<NamespaceRecord> {
    let world = seed.world();
    for _ in 0..ROUNDS {
        let (plan, after) = round(&world, &seed.namespace, store, record.as_ref(), |_| true);
        record = remembering.then_some(after);
        if plan.is_empty() {
            return record;
        }
    }
    panic!("no end after {ROUNDS} rounds");
}

/// The changes of a plan without their causes.
fn writes(plan: &Plan, namespace: &Namespace) -> Vec<(PolicyName, Option<NetworkPolicy>)> {
    let change = |change: &Change<'_>| match change {
        Change::Write(write) => (write.name.clone(), Some(write.object(namespace))),
        Change::Remove(removal) => (removal.name.clone(), None),
    };
    changes(plan).iter().map(change).collect()
}

/// What happens to a namespace that was protected.
#[derive(Clone, Debug)]
enum Event {
    Facts(FactsSeed),
    /// A tenant deletes one of the policies with reserved names.
    Delete(usize),
    /// A tenant changes one, and makes the annotation fit.
    Open(usize, serde_json::Value),
    /// A round, in which some changes fail.
    Plan(Vec<bool>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        facts().prop_map(Event::Facts),
        (0..4usize).prop_map(Event::Delete),
        (0..4usize, specs()).prop_map(|(index, spec)| Event::Open(index, spec)),
        prop::collection::vec(any::<bool>(), 0..5).prop_map(Event::Plan),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_order_in_which_things_are_written_has_no_meaning(seed in seeds()) {
        let observed = seed.store().observed();
        let first = plan(&seed.world(), &seed.namespace, &observed, None);
        prop_assert_eq!(&first, &plan(&seed.world(), &seed.namespace, &observed, None));
        prop_assert_eq!(&first, &plan(&seed.reordered_world(), &seed.namespace, &observed, None));
    }

    #[test]
    fn after_a_plan_nothing_is_left_to_do(seed in seeds()) {
        let mut store = seed.store();
        let (first, record) = round(&seed.world(), &seed.namespace, &mut store, None, |_| true);
        if seed.has_finalizers() || seed.has_a_tier_without_claim() || !first.closings.is_empty() {
            converge(&seed, &mut store, Some(record), true);
        } else {
            let left = |record| plan(&seed.world(), &seed.namespace, &store.observed(), record);
            prop_assert!(left(Some(&record)).is_empty(), "remembering: {:?}", left(Some(&record)));
            prop_assert!(left(None).is_empty(), "restarted: {:?}", left(None));
        }
    }

    #[test]
    fn stopping_anywhere_and_starting_again_ends_the_same(seed in seeds(), remembering: bool) {
        let mut whole = seed.store();
        converge(&seed, &mut whole, None, remembering);
        let count = changes(&plan(&seed.world(), &seed.namespace, &seed.store().observed(), None)).len();
        for stop in 0..=count {
            let mut store = seed.store();
            let (_, record) = round(&seed.world(), &seed.namespace, &mut store, None, |index| index < stop);
            converge(&seed, &mut store, remembering.then_some(record), remembering);
            // Who governs may depend on what stands: then it ends well, though not always the same.
            if !seed.has_a_tier_without_claim() {
                prop_assert_eq!(store.contents(), whole.contents(), "stopped after {}", stop);
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_never_touched(seed in seeds()) {
        let (world, before) = (seed.world(), seed.store());
        let observed = before.observed();
        let plan = plan(&world, &seed.namespace, &observed, None);
        match assign(&world, &seed.namespace, &observed, None).governor {
            Governor::Tier(_) => {}
            Governor::Nobody => {
                prop_assert!(plan.writes().next().is_none());
                for removal in &plan.removals {
                    let marks = &observed[&removal.name].marks;
                    let owner = marks.tier_owner.as_ref().unwrap();
                    let tier = world.tiers().iter().find(|ranked| *ranked.tier.identity().uid == *owner.uid).unwrap();
                    let name = &*tier.tier.identity().name;
                    prop_assert!(marks.managed_by && marks.tier.as_deref() == Some(name) && &*owner.name == name);
                }
            }
            _ => prop_assert!(plan.is_empty()),
        }
        let mut after = before.clone();
        converge(&seed, &mut after, None, false);
        prop_assert_eq!(after.foreign(), before.foreign());
    }

    #[test]
    fn in_the_end_stands_what_the_tier_wants_and_nothing_else(seed in seeds()) {
        let (world, mut store) = (seed.world(), seed.store());
        let record = converge(&seed, &mut store, None, true);
        let observed = store.observed();
        let Governor::Tier(governor) = assign(&world, &seed.namespace, &observed, record.as_ref()).governor else { return Ok(()) };
        let rendered = &governor.rendered;
        if rendered.keeps_everything || rendered.policies.values().any(|policy| !policy.unresolved.is_empty()) {
            return Ok(());
        }
        for (name, policy) in &rendered.policies {
            let live = observed.get(name);
            prop_assert_eq!(live.map(|live| live.spec), Some(policy.digest), "{}", name);
            prop_assert_eq!(live.and_then(|live| live.marks.agreed_owner()), Some(&*governor.tier.identity().uid));
        }
        for (name, live) in observed.iter().filter(|(name, _)| !rendered.policies.contains_key(*name)) {
            // A finalizer holds it: it does nothing any more, or it is the base that we released.
            let emptied = live.spec == emptied(name.direction().unwrap_or(Direction::Ingress)).digest;
            prop_assert!(live.deleting && (emptied || name.is_base()), "{} stands", name);
        }
    }

    #[test]
    fn no_rule_is_wider_than_what_was_written(seed in seeds()) {
        for ranked in seed.world().tiers() {
            for policy in ranked.rendered.policies.values() {
                validation::assert_valid(&policy.spec);
                let text = serde_json::to_string(&policy.spec).unwrap();
                prop_assert!(!text.contains("/0\"") || seed.allows_everywhere(), "{}", text);
            }
        }
    }

    #[test]
    fn what_was_closed_is_closed_again(seed in seeds(), events in prop::collection::vec(event(), 1..8)) {
        let mut seed = seed;
        let mut store = seed.store();
        // Who governs may depend on what stands there, and a tenant may delete that.
        prop_assume!(!seed.has_a_tier_without_claim());
        let mut record = converge(&seed, &mut store, None, true);
        let closed = isolated(&assign(&seed.world(), &seed.namespace, &store.observed(), None), &store);
        for event in events {
            match event {
                Event::Facts(facts) => seed.facts = facts,
                Event::Delete(index) => store.tamper(index, None),
                Event::Open(index, spec) => store.tamper(index, Some(spec)),
                Event::Plan(succeeds) => {
                    let succeeds = |index: usize| succeeds.get(index).copied().unwrap_or(true);
                    record = Some(round(&seed.world(), &seed.namespace, &mut store, record.as_ref(), succeeds).1);
                }
            }
        }
        converge(&seed, &mut store, record, true);
        let after = isolated(&assign(&seed.world(), &seed.namespace, &store.observed(), None), &store);
        prop_assert!(closed.is_subset(&after), "{:?} became {:?}", closed, after);
    }

    #[test]
    fn memory_and_marks_tell_the_same(seed in seeds(), changed in tiers(), facts in facts()) {
        // Nobody else wrote anything: what stands is ours.
        let mut seed = seed.without_policies();
        let mut store = seed.store();
        let record = converge(&seed, &mut store, None, true).unwrap();
        (seed.tiers, seed.facts) = (changed, facts);
        // Whom a tier without claim governed is told by its marks only where it wrote something.
        let governor = record.governor.as_ref().map(|governor| &*governor.uid);
        let told = store.observed().values().all(|live| live.marks.agreed_owner() == governor);
        let told = told && !store.observed().is_empty();
        prop_assume!(told || !seed.has_a_tier_without_claim());
        let planned = |record| plan(&seed.world(), &seed.namespace, &store.observed(), record);
        let (remembering, restarted) = (planned(Some(&record)), planned(None));
        prop_assert_eq!(writes(&remembering, &seed.namespace), writes(&restarted, &seed.namespace));
        prop_assert_eq!(remembering.waiting, restarted.waiting);
        // Nobody changed anything but us: none of it is drift.
        prop_assert_eq!(planned(Some(&record)).drift().count() + planned(None).drift().count(), 0);
    }

    #[test]
    fn a_spec_and_what_the_server_makes_of_it_have_one_digest(spec in specs()) {
        let written: NetworkPolicySpec = serde_json::from_value(spec).unwrap();
        let normalised = normalise(written.clone());
        prop_assert_eq!(&normalise(normalised.clone()), &normalised);
        let mut store = Store::default();
        let metadata = serde_json::from_value(serde_json::json!({"name": "cofferdam-allow-x"})).unwrap();
        store.seed(NetworkPolicy { metadata, spec: Some(written.clone()) });
        let observed = store.observed();
        prop_assert_eq!(observed.values().next().unwrap().spec, SpecDigest::of(&written));
        prop_assert_eq!(SpecDigest::of(&normalised), SpecDigest::of(&written));
    }

    #[test]
    fn a_missing_base_is_created_unless_it_waits(seed in seeds()) {
        let (world, observed) = (seed.world(), seed.store().observed());
        let Governor::Tier(governor) = assign(&world, &seed.namespace, &observed, None).governor else { return Ok(()) };
        let plan = plan(&world, &seed.namespace, &observed, None);
        for name in governor.rendered.policies.keys().filter(|name| name.baseline_direction().is_some()) {
            let created = plan.bases.iter().any(|write| write.name == *name && write.action == Action::Create);
            let waits = plan.waiting.contains(name);
            prop_assert_eq!(observed.contains_key(name), !created && !waits, "{}", name);
            let unresolved = !governor.rendered.policies[name].unresolved.is_empty();
            prop_assert!(!waits || unresolved, "{} waits for nothing", name);
        }
    }
}
