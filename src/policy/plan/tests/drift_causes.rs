//! What counts as drift, and what does not: counters must not lie, least of all after a restart.

use super::Cause::{Drift, Pending, TakenOver};
use super::DriftKind::{Disowned, Missing, Modified, Surplus};
use super::*;
use crate::policy::SpecDigest;

/// A namespace of tier x, protected, with the memory of that.
struct Case {
    world: World,
    namespace: Namespace,
    standing: ObservedPolicies,
    record: NamespaceRecord,
}

impl Case {
    fn new() -> Self {
        let (world, namespace) = (world([tier_x()], known_facts()), namespace("n", &[]));
        let first = plan(&world, &namespace, &ObservedPolicies::new(), None);
        let record = record_of(&world, &namespace, &first);
        Self {
            standing: observed(&namespace, first.writes()),
            world,
            namespace,
            record,
        }
    }

    fn tamper(mut self, policy: &str, tamper: impl Fn(&mut ObservedPolicy)) -> Self {
        tamper(self.standing.get_mut(&name(policy)).unwrap());
        self
    }

    fn with_tiers(mut self, tiers: impl IntoIterator<Item = ParsedTier>) -> Self {
        self.world = world(tiers, known_facts());
        self
    }

    #[track_caller]
    fn expect(&self, remembering: &[(&str, Cause)], restarted: &[(&str, Cause)]) {
        let with = plan(&self.world, &self.namespace, &self.standing, Some(&self.record));
        assert_eq!(causes(&with), remembering, "remembering");
        let without = plan(&self.world, &self.namespace, &self.standing, None);
        assert_eq!(causes(&without), restarted, "restarted");
    }
}

fn other_spec(policy: &mut ObservedPolicy) {
    policy.spec = SpecDigest::of(&open_policy(BASE_INGRESS).spec.unwrap());
}

#[test]
fn nothing_differs() {
    Case::new().expect(&[], &[]);
}

#[test]
fn a_missing_policy_is_drift_only_where_it_was_known() {
    let mut case = Case::new();
    case.standing.remove(&name(BASE_INGRESS));
    case.expect(&[(BASE_INGRESS, Drift(Missing))], &[(BASE_INGRESS, Pending)]);
}

#[test]
fn a_changed_spec_is_modified() {
    let expected = [(BASE_INGRESS, Drift(Modified))];
    Case::new()
        .tamper(BASE_INGRESS, other_spec)
        .expect(&expected, &expected);
    // Even if its marks went too.
    let unmarked = Case::new()
        .tamper(BASE_INGRESS, other_spec)
        .tamper(BASE_INGRESS, |policy| policy.marks.tier = None);
    unmarked.expect(&expected, &expected);
}

#[test]
fn stripped_or_changed_marks_are_disowned() {
    let expected = [(BASE_INGRESS, Drift(Disowned))];
    let tampers: [fn(&mut Marks); 5] = [
        |marks| marks.managed_by = false,
        |marks| marks.tier = None,
        |marks| marks.tier = Some("y".into()),
        |marks| marks.namespace_owner = None,
        |marks| marks.strange_owners = true,
    ];
    for tamper in tampers {
        Case::new()
            .tamper(BASE_INGRESS, |policy| tamper(&mut policy.marks))
            .expect(&expected, &expected);
    }
    Case::new()
        .tamper(BASE_INGRESS, |policy| policy.marks.rendered = None)
        .expect(&expected, &expected);
    // Without memory, a stripped owner may as well be the garbage collector's work.
    let ownerless = Case::new().tamper(BASE_INGRESS, |policy| policy.marks.tier_owner = None);
    ownerless.expect(&expected, &[(BASE_INGRESS, Pending)]);
}

#[test]
fn a_policy_stripped_of_every_mark_looks_like_a_stranger_after_a_restart() {
    let case = Case::new().tamper(BASE_INGRESS, |policy| policy.marks = Marks::default());
    case.expect(&[(BASE_INGRESS, Drift(Disowned))], &[(BASE_INGRESS, TakenOver)]);
}

#[test]
fn what_stood_there_first_is_taken_over() {
    let mut case = Case::new();
    case.standing = [stored(open_policy(BASE_INGRESS))].into();
    case.record = NamespaceRecord {
        namespace_uid: case.namespace.uid.clone(),
        ..NamespaceRecord::default()
    };
    let expected = [(API_EGRESS, Pending), (BASE_EGRESS, Pending), (BASE_INGRESS, TakenOver)];
    case.expect(&expected, &expected);
}

#[test]
fn what_is_not_wanted_and_was_never_ours_is_surplus() {
    let mut case = Case::new();
    case.standing
        .extend([stored(open_policy("cofferdam-allow-hole-egress"))]);
    let expected = [("cofferdam-allow-hole-egress", Drift(Surplus))];
    case.expect(&expected, &expected);
}

#[test]
fn an_allowance_that_went_is_pending() {
    let case = Case::new().with_tiers([tier("x", json!({"allow": [{"name": "dns", "preset": "DNS"}]}))]);
    case.expect(&[(API_EGRESS, Pending)], &[(API_EGRESS, Pending)]);
}

#[test]
fn a_tier_or_a_fact_that_changed_is_pending() {
    let changed = tier(
        "x",
        json!({"isolate": ["Ingress"], "allow": [{"name": "same", "preset": "SameNamespace"}]}),
    );
    let expected = [(BASE_INGRESS, Pending), (API_EGRESS, Pending), (BASE_EGRESS, Pending)];
    Case::new().with_tiers([changed]).expect(&expected, &expected);
    let mut case = Case::new();
    let mut facts = known_facts();
    if let Fact::Known(dns) = &mut facts.dns {
        dns.cluster_ips = ["10.0.0.11".parse().unwrap()].into();
    }
    case.world = world([tier_x()], facts);
    case.expect(&[(BASE_EGRESS, Pending)], &[(BASE_EGRESS, Pending)]);
}

#[test]
fn another_tier_is_pending() {
    let expected = [(BASE_EGRESS, Pending), (BASE_INGRESS, Pending), (API_EGRESS, Pending)];
    Case::new()
        .with_tiers([tier_x(), tier("y", json!({"precedence": 1}))])
        .expect(&expected, &expected);
    // The garbage collector strips the reference to a tier that is gone.
    let mut collected = Case::new().with_tiers([tier("y", json!({}))]);
    collected
        .standing
        .values_mut()
        .for_each(|policy| policy.marks.tier_owner = None);
    collected.expect(&expected, &expected);
}

#[test]
fn a_tier_that_was_replaced_by_force_is_pending() {
    let mut replaced = tier_x();
    if let ParsedTier::Whole(tier) = &mut replaced {
        tier.identity = Arc::new(TierIdentity {
            uid: "uid-new".into(),
            ..(*tier.identity).clone()
        });
    }
    let expected = [(API_EGRESS, Pending), (BASE_EGRESS, Pending), (BASE_INGRESS, Pending)];
    let mut case = Case::new().with_tiers([replaced]);
    case.expect(&expected, &expected);
    case.standing
        .values_mut()
        .for_each(|policy| policy.marks.tier_owner = None);
    case.expect(&expected, &expected);
    // But not if somebody put another owner in its place.
    let other = TierOwner {
        name: "x".into(),
        uid: "uid-forged".into(),
    };
    let case = case.tamper(BASE_INGRESS, |policy| policy.marks.tier_owner = Some(other.clone()));
    let with = plan(&case.world, &case.namespace, &case.standing, Some(&case.record));
    assert_eq!(causes(&with)[2], (BASE_INGRESS, Drift(Disowned)));
}

#[test]
fn what_was_kept_for_another_tier_is_still_pending_once_the_allowance_resolves() {
    // A restart, then a hand-over that has to wait for DNS, then DNS: nobody drifted.
    let mut case = Case::new();
    let handed_over = tier(
        "y",
        json!({"precedence": 1, "isolate": ["Egress"], "allow": [{"name": "dns", "preset": "DNS"}]}),
    );
    case.standing.retain(|policy, _| policy.as_str() == BASE_EGRESS);
    let waiting = world([handed_over.clone()], Facts::unread());
    let first = plan(&waiting, &case.namespace, &case.standing, None);
    assert!(first.is_empty() && first.in_place.contains_key(&name(BASE_EGRESS)));
    case.record = record_of(&waiting, &case.namespace, &first);
    case.with_tiers([handed_over])
        .expect(&[(BASE_EGRESS, Pending)], &[(BASE_EGRESS, Pending)]);
}

#[test]
fn memory_of_a_namespace_that_nobody_governed_is_none() {
    // A tier was deleted and its policies retained; the next one that matches takes them over.
    let mut case = Case::new().with_tiers([tier("y", json!({}))]);
    case.record = NamespaceRecord {
        namespace_uid: case.namespace.uid.clone(),
        ..NamespaceRecord::default()
    };
    let expected = [(BASE_EGRESS, Pending), (BASE_INGRESS, Pending), (API_EGRESS, Pending)];
    case.expect(&expected, &expected);
}

#[test]
fn memory_of_a_namespace_that_was_recreated_is_none() {
    let mut case = Case::new();
    case.namespace.uid = String::from("uid-recreated");
    case.standing.clear();
    let expected = [(API_EGRESS, Pending), (BASE_EGRESS, Pending), (BASE_INGRESS, Pending)];
    case.expect(&expected, &expected);
    let assignment = assign(&case.world, &case.namespace, &case.standing);
    let assigned = plan_assigned(
        &case.world,
        &assignment,
        &case.namespace,
        &case.standing,
        Some(&case.record),
    );
    assert_eq!(causes(&assigned), expected);
}
