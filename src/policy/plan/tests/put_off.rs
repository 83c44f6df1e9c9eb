//! What waits because somebody fights over an object, and what must not wait with it.

use super::*;
use crate::policy::DriftKind::{Missing, Modified, Surplus};
use crate::policy::contest::{Contest, Contests};

const NOW: Duration = Duration::from_secs(100);

fn contested(policies: &[&str]) -> Contests {
    let fight = || {
        let mut contest = Contest::default();
        (0..6).for_each(|_| _ = contest.healed(NOW, Some("kubectl-edit")));
        contest
    };
    policies.iter().map(|policy| (name(policy), fight())).collect()
}

/// Everything that was written for tier x is tampered with, somebody put a policy of theirs under our name, and the
/// plan for `world` is put off where `fought_over`.
fn plan_put_off(world: &World, fought_over: &[&str]) -> Plan {
    let (old, namespace) = (super::world([tier_x()], known_facts()), namespace("n", &[]));
    let first = plan(&old, &namespace, &ObservedPolicies::new(), None);
    let record = record_of(&old, &namespace, &first);
    let mut standing = observed(&namespace, first.writes());
    let opened = ObservedPolicy::read(open_policy(BASE_INGRESS)).unwrap().1;
    standing.get_mut(&name(BASE_INGRESS)).unwrap().spec = opened.spec;
    standing.remove(&name(API_EGRESS));
    standing.insert(name("cofferdam-allow-theirs-ingress"), opened);
    let mut plan = plan(world, &namespace, &standing, Some(&record));
    plan.put_off_contested(&contested(fought_over), NOW);
    plan
}

fn names(plan: &Plan) -> Vec<&str> {
    causes(plan).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn only_what_is_fought_over_waits() {
    let world = world([tier_x()], known_facts());
    let all = [API_EGRESS, BASE_INGRESS, "cofferdam-allow-theirs-ingress"];
    assert_eq!(names(&plan_put_off(&world, &[])), all);
    for (index, kind) in [Missing, Modified, Surplus].into_iter().enumerate() {
        let plan = plan_put_off(&world, &all[index..=index]);
        let put_off: Vec<_> = plan
            .put_off
            .iter()
            .map(|put_off| (put_off.name.as_str(), put_off.kind))
            .collect();
        assert_eq!(put_off, [(all[index], kind)]);
        let left: Vec<_> = all.into_iter().filter(|policy| *policy != all[index]).collect();
        assert_eq!(names(&plan), left, "what somebody else did elsewhere is healed at once");
        assert_eq!(plan.drift().count(), 3, "what waits is drift still");
    }
}

#[test]
fn the_wait_ends() {
    let world = world([tier_x()], known_facts());
    let mut plan = plan_put_off(&world, &[]);
    plan.put_off_contested(&contested(&[BASE_INGRESS]), NOW + Duration::from_secs(1));
    assert_eq!(plan.put_off, []);
}

// Narrowed before its extras stand, a base would cut off the pods that they are for.
#[test]
fn a_base_is_not_narrowed_while_one_of_its_extras_waits() {
    let narrower = tier(
        "x",
        json!({"allow": [
            {"name": "api", "preset": "KubeAPIServer", "podSelector": {"matchLabels": {"needs-api": "true"}}}]}),
    );
    let world = world([narrower], known_facts());
    assert!(names(&plan_put_off(&world, &[])).contains(&BASE_EGRESS));
    let plan = plan_put_off(&world, &[API_EGRESS]);
    assert!(!names(&plan).contains(&BASE_EGRESS), "{:?}", causes(&plan));
    assert!(
        names(&plan).contains(&BASE_INGRESS),
        "an open direction waits for nothing"
    );
}

#[test]
fn what_we_wrote_is_not_removed_while_something_waits() {
    let without_extra = tier("x", json!({"allow": [{"name": "dns", "preset": "DNS"}]}));
    let world = world([without_extra], known_facts());
    let namespace = namespace("n", &[]);
    let old = super::world([tier_x()], known_facts());
    let first = plan(&old, &namespace, &ObservedPolicies::new(), None);
    let record = record_of(&old, &namespace, &first);
    let mut standing = observed(&namespace, first.writes());
    standing.remove(&name(BASE_INGRESS));
    let planned = plan(&world, &namespace, &standing, Some(&record));
    assert_eq!(names(&planned), [BASE_INGRESS, API_EGRESS]);
    let mut put_off = planned;
    put_off.put_off_contested(&contested(&[BASE_INGRESS]), NOW);
    assert_eq!(names(&put_off), [] as [&str; 0]);
}

// With two objects in turn, one of them would always wait, and the base would never be narrowed.
#[test]
fn who_fights_over_two_objects_in_turn_keeps_no_old_allowance() {
    let extra = |name: &str, key: &str| json!({"name": name, "preset": "KubeAPIServer", "podSelector": {"matchLabels": {key: "true"}}});
    let extras = [extra("a", "needs-a"), extra("b", "needs-b")];
    let with_dns: Vec<_> = extras
        .iter()
        .cloned()
        .chain([json!({"name": "dns", "preset": "DNS"})])
        .collect();
    let (old, new) = (
        tier("x", json!({"allow": with_dns})),
        tier("x", json!({"allow": extras})),
    );
    let (old, new) = (world([old], known_facts()), world([new], known_facts()));
    let namespace = namespace("n", &[]);
    let first = plan(&old, &namespace, &ObservedPolicies::new(), None);
    let record = record_of(&old, &namespace, &first);
    let mut standing = observed(&namespace, first.writes());
    let (a, b) = ("cofferdam-allow-a-egress", "cofferdam-allow-b-egress");
    standing.remove(&name(a));
    standing.remove(&name(b));
    let mut contests = contested(&[a]);
    let last_heal_of_b = NOW + Duration::from_millis(500);
    let mut contest = Contest::default();
    (0..6).for_each(|_| _ = contest.healed(last_heal_of_b, None));
    contests.insert(name(b), contest);

    let at = |now| {
        let mut plan = plan(&new, &namespace, &standing, Some(&record));
        plan.put_off_contested(&contests, now);
        plan
    };
    let both_wait = at(NOW + Duration::from_millis(900));
    assert_eq!(names(&both_wait), [] as [&str; 0]);
    let one_is_due = at(NOW + Duration::from_secs(1));
    assert_eq!(names(&one_is_due), [a, b, BASE_EGRESS], "{:?}", one_is_due.put_off);
}
