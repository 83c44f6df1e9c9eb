use super::*;
use crate::api::Direction;
use crate::policy::Cause;
use crate::policy::plan::{PutOff, Removal};

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn base() -> PolicyName {
    PolicyName::baseline(Direction::Ingress)
}

/// Heals as soon as it may, against somebody who does this every so many milliseconds; gives the times of the heals.
fn fight(drift: DriftKind, every: u64, until: u64) -> Vec<u64> {
    let mut contest = Contest::default();
    let (mut heals, mut edit) = (Vec::new(), 0);
    while edit < until {
        let mut now = edit;
        if let Some(put_off) = contest.waits_until(&base(), drift, at(now)) {
            now = put_off.as_millis() as u64;
        }
        contest.healed(at(now), None);
        heals.push(now);
        edit = edit.max(now - now % every) + every;
    }
    heals
}

#[test]
fn a_few_heals_are_answered_at_once() {
    assert_eq!(fight(DriftKind::Modified, 100, 500), [0, 100, 200, 300, 400]);
}

#[test]
fn a_fight_is_slowed_and_its_holes_are_bounded() {
    for (drift, longest, most) in [
        (DriftKind::Disowned, LONGEST_WAIT, 40),
        (DriftKind::Modified, LONGEST_WAIT_OPEN, 140),
        (DriftKind::Missing, LONGEST_WAIT_OPEN, 140),
    ] {
        let heals = fight(drift, 100, 600_000);
        let count = heals.len();
        assert!(
            count < most,
            "{drift:?}: ten minutes of ten edits a second cost {count} heals"
        );
        let gap = heals.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(gap <= longest.as_millis() as u64 + 100, "{drift:?}: {gap} ms");
    }
}

#[test]
fn who_comes_back_less_often_than_the_longest_wait_is_healed_at_once() {
    let heals = fight(DriftKind::Modified, 5_000, 600_000);
    assert!(heals.iter().all(|heal| heal % 5_000 == 0), "{heals:?}");
}

// What is contested is the object, not one way of changing it: whoever strips a label five times opens it the sixth.
#[test]
fn what_may_be_open_waits_for_less_than_what_cannot() {
    let mut contest = Contest::default();
    (0..12).for_each(|_| _ = contest.healed(at(0), None));
    let extra = PolicyName::allow("api", Direction::Egress);
    let until = |policy: &PolicyName, drift| contest.waits_until(policy, drift, at(0));
    for drift in [DriftKind::Missing, DriftKind::Modified, DriftKind::Surplus] {
        assert_eq!(until(&base(), drift), Some(LONGEST_WAIT_OPEN), "{drift:?}");
    }
    assert_eq!(until(&base(), DriftKind::Disowned), Some(LONGEST_WAIT));
    assert_eq!(until(&extra, DriftKind::Modified), Some(LONGEST_WAIT_OPEN));
    assert_eq!(until(&extra, DriftKind::Missing), Some(LONGEST_WAIT), "takes away only");
}

#[test]
fn it_says_once_when_it_begins_and_is_over_when_the_other_is_quiet() {
    let mut contest = Contest::default();
    let begins: Vec<_> = (0..8).filter(|round| contest.healed(at(round * 100), None)).collect();
    assert_eq!(begins, [5]);
    assert!(contest.is_contested());
    assert!(!contest.is_over(at(30_000)));
    assert!(contest.is_over(at(700 + 60_000)));
    assert!(!contest.healed(at(200_000), None), "a later heal starts anew");
    assert_eq!(contest.waits_until(&base(), DriftKind::Modified, at(200_000)), None);
}

#[test]
fn rare_heals_never_make_a_contest() {
    let mut contest = Contest::default();
    for minute in 0..100 {
        assert!(!contest.healed(at(minute * 15_000), None));
    }
    assert!(!contest.is_contested());
}

#[test]
fn it_is_looked_at_when_a_wait_ends_and_when_it_is_over() {
    let mut contest = Contest::default();
    let contests = |contest: &Contest| Contests::from([(base(), contest.clone())]);
    (0..5).for_each(|_| _ = contest.healed(at(0), None));
    let mut plan = Plan::default();
    assert_eq!(next_look(&plan, &contests(&contest)), None, "not contested yet");
    contest.healed(at(0), Some("helm"));
    assert_eq!(next_look(&plan, &contests(&contest)), Some(at(60_000)));
    assert!(contest.is_over(at(60_000)));
    let (name, kind, until) = (base(), DriftKind::Modified, at(1_000));
    plan.put_off.push(PutOff { name, kind, until });
    assert_eq!(next_look(&plan, &contests(&contest)), Some(at(1_000)));
    assert!(contest.in_words().contains("field manager helm"));
}

// Each of these is one write of the tenant and one of ours; remembering them all would be a gift.
#[test]
fn invented_names_are_not_remembered_without_end() {
    let removal = |number: usize| Removal {
        name: PolicyName::reserved(&format!("cofferdam-allow-{number:0>230}")).unwrap(),
        uid: "u".into(),
        resource_version: "1".into(),
        cause: Cause::Drift(DriftKind::Surplus),
        releases_from: None,
    };
    let mut plan = Plan {
        removals: (0..10_000).map(removal).collect(),
        ..Plan::default()
    };
    let name = base();
    plan.put_off.push(PutOff {
        name: name.clone(),
        kind: DriftKind::Modified,
        until: at(1),
    });
    let committed: BTreeSet<_> = plan.drift().map(|(name, _)| name.clone()).collect();
    let contests = contests_after(None, &plan, &committed, &ObservedPolicies::new(), at(0));
    assert_eq!(contests.len(), MOST_REMEMBERED + 1);
    assert!(contests.contains_key(&name), "what the tier wants always is");
    let record = NamespaceRecord {
        contests,
        ..NamespaceRecord::default()
    };
    let later = contests_after(
        Some(&record),
        &Plan::default(),
        &committed,
        &ObservedPolicies::new(),
        WINDOW,
    );
    assert_eq!(later, Contests::new());
}
