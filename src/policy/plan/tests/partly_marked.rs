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
        let mut record = record_of(&narrowed.world, &narrowed.namespace, &first);
        record.written.extend(first.unsettled);
        assert_eq!(narrowed.released(&narrowed.plan(Some(&record))), released, "{number}");
    }
}

#[test]
fn what_is_remembered_never_to_have_been_ours_is_no_release() {
    let narrowed = Narrowed::with(NO_LABEL);
    let record = narrowed.remembers_no_egress();
    assert_eq!(narrowed.released(&narrowed.plan(Some(&record))), []);
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

// The brake held it, and with it what a tenant added for the direction that is isolated.
#[test]
fn a_base_that_speaks_of_another_direction_goes_whatever_is_held() {
    let open: fn(&[&str]) -> ObservedPolicy = |types| {
        let mut policy = open_policy(BASE_EGRESS);
        policy.spec.get_or_insert_default().policy_types =
            Some(types.iter().map(|policy_type| (*policy_type).to_owned()).collect());
        stored(policy).1
    };
    for types in [&["Ingress"][..], &["Ingress", "Egress"], &["Egress", "Ingress"], &[]] {
        for spoil in [|_: &mut ObservedPolicy| {}, NO_LABEL] {
            let mut narrowed = Narrowed::with(spoil);
            let remembered = narrowed.plan(None).unsettled;
            let live = narrowed.standing.get_mut(&name(BASE_EGRESS)).unwrap();
            let ours = std::mem::replace(live, open(types));
            live.marks = ours.marks;
            let mut record = narrowed.remembers_no_egress();
            record.written.extend(remembered);
            for record in [None, Some(&record)] {
                let mut plan = narrowed.plan(record);
                assert_eq!(narrowed.released(&plan), [], "{types:?}");
                plan.hold_back(&BTreeSet::from(Direction::ALL));
                assert!(causes(&plan).contains(&(BASE_EGRESS, Cause::Drift(DriftKind::Surplus))));
            }
        }
    }
}
