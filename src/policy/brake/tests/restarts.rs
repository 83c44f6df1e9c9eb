//! Lists that were confirmed, and processes that end before they are done.

use super::*;

/// So many namespaces want to be released, which was confirmed with the digest that is given back, and none is yet.
fn confirmed(limit: MaxUnprotected, namespaces: usize) -> (Brake, Census, String) {
    let (mut brake, mut wanted) = (Brake::new(limit), census(0, 0..namespaces));
    let digest = brake.held(&wanted, seconds(0))["t"].digest.clone();
    confirm(&mut wanted, "t", &digest);
    assert_eq!(brake.held(&wanted, seconds(1)), BTreeMap::new());
    (brake, wanted, digest)
}

#[test]
fn what_an_earlier_process_let_go_counts_until_it_is_over() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(3));
    brake.inherit([Inherited {
        tier_uid: "t".into(),
        direction: Direction::Ingress,
        namespaces: 3,
        until: seconds(60),
        unreadable: None,
    }]);
    assert_eq!(all_ask(&mut brake, &mut census(9, [0]), seconds(1)), 1);
    assert_eq!(
        brake.recent_of("t"),
        [(Direction::Ingress, 3), (Direction::Egress, 1)].into()
    );
    assert_eq!(all_ask(&mut brake, &mut census(9, [0]), seconds(60)), 2);
    assert_eq!(
        brake.recent_of("t"),
        [(Direction::Ingress, 1), (Direction::Egress, 1)].into()
    );
}

// What remains of a list is another list, with another digest.
#[test]
fn what_was_confirmed_and_cut_short_goes_on_after_a_restart_and_nothing_else_goes() {
    let limit = MaxUnprotected::Namespaces(3);
    let (mut brake, mut wanted, _) = confirmed(limit, 100);
    for number in 0..30 {
        for grant in brake.admit(&wanted, &format!("n{number:03}"), seconds(1)) {
            made(&mut wanted, &grant);
        }
    }
    // One of the list is put right, and others come.
    wanted.set_wanted("n050", []);
    want(&mut wanted, census(0, 100..120).wanted().cloned());
    let mut brake = after_a_restart(&brake, limit, seconds(1));
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(2)), 2 * 69);
    assert!(wanted.wanted().eq(census(0, 100..120).wanted()));
    // Before the restart it was in the list; its policy is the same.
    want(&mut wanted, census(0, [50]).wanted().cloned());
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(3)), 0);
    let held = brake.held(&wanted, seconds(3)).remove("t").unwrap();
    confirm(&mut wanted, "t", &held.digest);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(4)), 2 * 21);
}

// A process that starts anew read the annotation as if it had just been written.
#[test]
fn a_confirmation_of_which_nothing_was_done_yet_came_back_with_a_restart() {
    let limit = MaxUnprotected::default();
    let (mut brake, mut wanted, digest) = confirmed(limit, 100);
    let mut right = census(100, []);
    confirm(&mut right, "t", &digest);
    brake.held(&right, seconds(2));
    let mut brake = after_a_restart(&brake, limit, seconds(3));
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(4)), 0);
    // What takes it back ends it for good.
    let remaining = brake.remaining_of("t").unwrap();
    assert_eq!((&*remaining.digest, remaining.fingerprints.len()), (&*digest, 0));
    brake.held(&census(100, []), seconds(5));
    assert_eq!(brake.remaining_of("t"), Some(remaining));
}

// `kubectl annotate` of what stands there already changes nothing.
#[test]
fn a_list_that_came_back_could_not_be_confirmed_with_the_command_that_was_shown() {
    let (mut brake, mut wanted, digest) = confirmed(MaxUnprotected::default(), 100);
    let mut right = census(100, []);
    confirm(&mut right, "t", &digest);
    brake.held(&right, seconds(2));
    let next = brake.held(&wanted, seconds(3))["t"].digest.clone();
    assert_ne!(next, digest);
    confirm(&mut wanted, "t", &next);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(4)), 200);
}

#[test]
fn who_confirms_more_while_a_list_is_worked_off_takes_nothing_back() {
    let (mut brake, mut wanted, _) = confirmed(MaxUnprotected::Namespaces(1), 100);
    want(&mut wanted, census(0, 100..120).wanted().cloned());
    let more = brake.held(&wanted, seconds(2)).remove("t").unwrap();
    assert_eq!(more.releases.len(), 2 * 20);
    confirm(&mut wanted, "t", &more.digest);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(3)), 2 * 120);
}

#[test]
fn what_remains_of_a_list_is_bounded_and_what_is_beyond_is_held() {
    let limit = MaxUnprotected::Namespaces(0);
    let namespaces = RemainingConfirmation::AT_MOST / 2 + 5;
    let (brake, wanted, _) = confirmed(limit, namespaces);
    let remaining = brake.remaining_of("t").unwrap();
    assert_eq!(
        remaining.fingerprints.len(),
        RemainingConfirmation::AT_MOST,
        "and no two are equal"
    );
    let mut brake = after_a_restart(&brake, limit, seconds(1));
    assert_eq!(brake.held(&wanted, seconds(2))["t"].releases.len(), 2 * 5);
}

#[test]
fn who_cannot_know_what_went_lets_nothing_go_and_takes_no_annotation_for_new() {
    let mut brake = Brake::new(MaxUnprotected::Percent(100));
    let mut wanted = census(9, [0]);
    let digest = Brake::new(MaxUnprotected::Namespaces(0)).held(&wanted, seconds(0))["t"]
        .digest
        .clone();
    confirm(&mut wanted, "t", &digest);
    brake.inherit(Direction::ALL.map(|direction| Inherited {
        tier_uid: "t".into(),
        direction,
        namespaces: u64::MAX,
        until: seconds(60),
        unreadable: Some("restricted".into()),
    }));
    assert_eq!(RemainingConfirmation::spent("yes, all of them"), None);
    brake.inherit_confirmations([("t".into(), RemainingConfirmation::spent(&digest).unwrap())]);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(1)), 0);
    let held = brake.held(&wanted, seconds(1)).remove("t").unwrap();
    let words = held.in_words("other");
    assert!(
        words.contains("status.releases of IsolationTier restricted does not tell"),
        "{words}"
    );
    assert!(words.contains("kubectl annotate isolationtier other "), "{words}");
    assert_ne!(held.digest, digest);
    let mut meant = wanted.clone();
    confirm(&mut meant, "t", &held.digest);
    assert_eq!(all_ask(&mut brake.clone(), &mut meant, seconds(2)), 2);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(60)), 2);
}

#[test]
fn what_a_tier_let_go_is_handed_on_when_it_is_gone() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(3));
    brake.inherit([Inherited {
        tier_uid: "t".into(),
        direction: Direction::Egress,
        namespaces: 1,
        until: seconds(60),
        unreadable: None,
    }]);
    assert_eq!(all_ask(&mut brake, &mut census(9, [0]), seconds(1)), 2);
    assert_eq!(brake.tiers_of_late(), ["t".into()].into());
    brake.hand_on("t", &"heir".into());
    assert_eq!(brake.recent_of("t"), BTreeMap::new());
    let both = [(Direction::Ingress, 1), (Direction::Egress, 2)];
    assert_eq!(brake.recent_of("heir"), both.into());
}

// A standby's cache may be behind what the last leader wrote.
#[test]
fn what_remains_waits_for_the_annotation_that_confirmed_it() {
    let limit = MaxUnprotected::Namespaces(0);
    let (brake, mut wanted, _) = confirmed(limit, 10);
    let mut brake = after_a_restart(&brake, limit, seconds(1));
    assert_eq!(all_ask(&mut brake, &mut census(0, 0..10), seconds(2)), 0);
    assert_eq!(brake.remaining_of("t").unwrap().fingerprints.len(), 20);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(3)), 20);
}

// The annotation confirms what was chained on an earlier confirmation, and the process that knew of it ended in between.
#[test]
fn a_confirmation_after_another_was_lost_when_the_process_ended_before_it_was_written_down() {
    let limit = MaxUnprotected::Namespaces(0);
    let mut brake = Brake::new(limit);
    let mut wanted = census(0, 0..10);
    let digest = brake.held(&wanted, seconds(0))["t"].digest.clone();
    confirm(&mut wanted, "t", &digest);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(1)), 20);
    want(&mut wanted, census(0, 20..30).wanted().cloned());
    let chained = brake.held(&wanted, seconds(2))["t"].digest.clone();
    let mut brake = after_a_restart(&brake, limit, seconds(3));
    confirm(&mut wanted, "t", "0000000000000000");
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(4)), 0);
    confirm(&mut wanted, "t", &chained);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(5)), 20);
    assert_eq!(&*brake.remaining_of("t").unwrap().digest, chained);
}
