//! Bases that are not wanted and lost some of their marks: what isolates is a release all the same, where nobody remembers
//! better, and what lets somebody in is none.

use std::collections::BTreeSet;

use super::*;
use crate::api::Direction;

type Spoil = fn(&mut ObservedPolicy);

/// A namespace that was isolated in both directions, and whose tier isolates ingress alone from now on.
struct Narrowed {
    world: World,
    namespace: Namespace,
    standing: ObservedPolicies,
}

impl Narrowed {
    fn with(spoil: Spoil) -> Self {
        let namespace = namespace("n", &[]);
        let mut standing = protected(&world([tier_x()], known_facts()), &namespace);
        standing.values_mut().for_each(spoil);
        let world = world([tier("x", json!({"isolate": ["Ingress"]}))], known_facts());
        Self {
            world,
            namespace,
            standing,
        }
    }

    fn plan(&self, record: Option<&NamespaceRecord>) -> Plan {
        plan(&self.world, &self.namespace, &self.standing, record)
    }

    /// The directions that `plan` releases, each with the tier that tells of it. The base goes in any case.
    fn released(&self, plan: &Plan) -> Vec<(Direction, String)> {
        assert!(plan.removals.iter().any(|removal| removal.name.as_str() == BASE_EGRESS));
        let assignment = assign(&self.world, &self.namespace, &self.standing, None);
        let releases = plan.releases(&self.world, &assignment, &self.namespace).into_iter();
        releases
            .map(|release| (release.direction, release.tier_uid.to_string()))
            .collect()
    }

    /// A record of a visit that found everything as the tier wants it now.
    fn remembers_no_egress(&self) -> NamespaceRecord {
        let mut wanted = self.standing.clone();
        wanted.retain(|name, _| name.direction() != Some(Direction::Egress));
        record_of(
            &self.world,
            &self.namespace,
            &plan(&self.world, &self.namespace, &wanted, None),
        )
    }
}

const NO_LABEL: Spoil = |policy| policy.marks.managed_by = false;
const SPOILS: [Spoil; 7] = [
    NO_LABEL,
    |policy| policy.marks.tier = None,
    |policy| policy.marks.rendered = None,
    |policy| policy.marks.tier_owner = None,
    |policy| policy.marks.namespace_owner = None,
    |policy| policy.marks.strange_owners = true,
    |policy| {
        policy.marks = Marks {
            managed_by: true,
            ..Marks::default()
        };
    },
];

// With one annotation less on all of them, a controller that started opened all at once, and told of none.
#[test]
fn a_base_that_lost_a_mark_is_released_as_one_of_the_governor_visit_after_visit() {
    let released = [(Direction::Egress, String::from("uid-x"))];
    for (number, spoil) in SPOILS.into_iter().enumerate() {
        let narrowed = Narrowed::with(spoil);
        let first = narrowed.plan(None);
        assert_eq!(narrowed.released(&first), released, "{number}");
        // Held, it keeps the extra that its pods need.
        let mut held = first.clone();
        held.hold_back(&BTreeSet::from([Direction::Egress]));
        let as_marked = narrowed.standing.values().all(|live| live.marks.rendered.is_some());
        assert_eq!(held.removals.is_empty(), as_marked, "{number}: {:?}", held.removals);
        let mut record = record_of(&narrowed.world, &narrowed.namespace, &first);
        record.written.extend(first.unsettled);
        assert_eq!(narrowed.released(&narrowed.plan(Some(&record))), released, "{number}");
    }
}

#[test]
fn what_is_remembered_never_to_have_been_ours_is_no_release() {
    let narrowed = Narrowed::with(NO_LABEL);
    let record = narrowed.remembers_no_egress();
    // Nor with whole marks: who forged one after the other would take turns and places of the brake.
    for narrowed in [&narrowed, &Narrowed::with(|_| {})] {
        let plan = narrowed.plan(Some(&record));
        assert_eq!(narrowed.released(&plan), []);
        assert!(causes(&plan).contains(&(BASE_EGRESS, Cause::Drift(DriftKind::Surplus))));
    }
    for forgotten in [
        NamespaceRecord {
            governor: None,
            ..record.clone()
        },
        NamespaceRecord {
            namespace_uid: String::from("of an earlier one"),
            ..record
        },
    ] {
        assert_eq!(narrowed.released(&narrowed.plan(Some(&forgotten))).len(), 1);
    }
}

#[test]
fn a_base_without_any_mark_is_of_somebody_else() {
    let narrowed = Narrowed::with(|policy| policy.marks = Marks::default());
    assert_eq!(narrowed.released(&narrowed.plan(None)), []);
}

/// Specs under the name of the egress base that may let somebody in: some network plugins heed rules that `policyTypes` leave out.
fn specs_that_let_in() -> [Value; 4] {
    let spec = |types: &[&str]| json!({"podSelector": {}, "policyTypes": types, "ingress": [{}], "egress": [{}]});
    [
        spec(&["Ingress"]),
        spec(&["Ingress", "Egress"]),
        spec(&["Egress"]),
        spec(&[]),
    ]
}

// The brake held it, and with it what a tenant had added for the direction that is isolated.
#[test]
fn a_base_that_speaks_of_another_direction_is_closed_before_it_goes() {
    for (spec, spoil) in specs_that_let_in()
        .into_iter()
        .zip([NO_LABEL, |_| {}, NO_LABEL, |_| {}])
    {
        let mut narrowed = Narrowed::with(spoil);
        let before = narrowed.plan(None);
        tamper(&mut narrowed.standing, BASE_EGRESS, spec.clone());
        let mut record = narrowed.remembers_no_egress();
        record.written.extend(before.unsettled);
        for record in [None, Some(&record)] {
            let mut plan = narrowed.plan(record);
            plan.hold_back(&BTreeSet::from(Direction::ALL));
            // Its extra stays beside it.
            assert_eq!(plan.removals, [], "{spec}");
            let write = &plan.closings[0];
            assert_eq!(
                (write.name.as_str(), write.cause),
                (BASE_EGRESS, Cause::Drift(DriftKind::Modified))
            );
            let closed = &write.policy.spec;
            assert_eq!((&closed.egress, &closed.ingress), (&None, &None));
            assert_eq!(closed.policy_types.as_deref(), Some(&[String::from("Egress")][..]));
            // Then it is a release like any other.
            let mut standing = narrowed.standing.clone();
            standing.extend(observed(&narrowed.namespace, plan.writes()));
            let then = Narrowed {
                world: narrowed.world.clone(),
                namespace: narrowed.namespace.clone(),
                standing,
            };
            assert_eq!(then.released(&then.plan(None)).len(), 1);
        }
    }
}

#[test]
fn of_its_own_direction_twice_is_no_other_direction() {
    let mut narrowed = Narrowed::with(|_| {});
    let spec = json!({"podSelector": {}, "policyTypes": ["Egress", "Egress"]});
    tamper(&mut narrowed.standing, BASE_EGRESS, spec);
    assert_eq!(narrowed.released(&narrowed.plan(None)).len(), 1);
}

// A finalizer holds it: it was kept as it was.
#[test]
fn a_base_that_is_being_deleted_and_lets_somebody_in_is_closed_and_stays() {
    let mut narrowed = Narrowed::with(|_| {});
    narrowed.standing.get_mut(&name(BASE_EGRESS)).unwrap().deleting = true;
    for spec in specs_that_let_in() {
        tamper(&mut narrowed.standing, BASE_EGRESS, spec);
        let closing = narrowed.plan(None);
        assert!(causes(&closing).contains(&(BASE_EGRESS, Cause::Drift(DriftKind::Modified))));
        let mut standing = observed(&narrowed.namespace, closing.writes());
        standing.values_mut().for_each(|base| base.deleting = true);
        let record = record_of(&narrowed.world, &narrowed.namespace, &closing);
        let then = plan(&narrowed.world, &narrowed.namespace, &standing, Some(&record));
        assert!(then.writes().all(|write| write.name.as_str() != BASE_EGRESS));
        assert!(then.in_place.contains_key(&name(BASE_EGRESS)));
    }
}

// Nobody had wanted it, and closed it stayed when it was wanted again, although part of what it is to allow was known.
#[test]
fn what_was_closed_is_no_last_good_policy() {
    let mut narrowed = Narrowed::with(|_| {});
    tamper(&mut narrowed.standing, BASE_EGRESS, specs_that_let_in()[1].clone());
    let closing = narrowed.plan(None);
    narrowed
        .standing
        .extend(observed(&narrowed.namespace, &closing.closings));
    let record = record_of(&narrowed.world, &narrowed.namespace, &closing);
    let allows = json!({"allow": [{"name": "dns", "preset": "DNS"}, {"name": "web", "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]});
    let widened = world([tier("x", allows)], Facts::unread());
    for record in [Some(&record), None] {
        let healed = plan(&widened, &narrowed.namespace, &narrowed.standing, record);
        let write = healed.bases.iter().find(|write| write.name.as_str() == BASE_EGRESS);
        assert_eq!(write.unwrap().policy.spec.egress.as_ref().map(Vec::len), Some(1));
    }
}

// What lost a label and was opened passed for what we wrote last, once the direction was wanted again.
#[test]
fn what_lost_a_mark_and_was_changed_is_no_last_good_policy() {
    let mut narrowed = Narrowed::with(NO_LABEL);
    let open = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]});
    tamper(&mut narrowed.standing, BASE_EGRESS, open);
    let first = narrowed.plan(None);
    let mut record = record_of(&narrowed.world, &narrowed.namespace, &first);
    record.written.extend(first.unsettled);
    let widened = world([tier_x()], Facts::unread());
    let healed = plan(&widened, &narrowed.namespace, &narrowed.standing, Some(&record));
    let write = healed.bases.iter().find(|write| write.name.as_str() == BASE_EGRESS);
    assert_eq!(write.unwrap().policy.spec.egress, None);
}
