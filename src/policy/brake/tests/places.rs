//! Places in the window: kept, given back, and counted from when they are used.

use super::*;

#[test]
fn what_was_not_tried_gives_its_place_back() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(1));
    for grant in brake.admit(&census(9, [0]), "n000", seconds(0)) {
        brake.withdraw(grant);
    }
    assert_eq!(all_ask(&mut brake, &mut census(9, [1]), seconds(1)), 2);
    // It had gone before: it still counts.
    for grant in brake.admit(&census(9, [1]), "n001", seconds(2)) {
        brake.withdraw(grant);
    }
    assert_eq!(all_ask(&mut brake, &mut census(9, [2]), seconds(3)), 0);
}

// Each look took another place, of which the word that was under way by then did not tell.
#[test]
fn who_waits_for_a_word_keeps_the_place_that_it_tells_of() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(1));
    let wanted = census(9, [0]);
    let taken = brake.admit(&wanted, "n000", seconds(5));
    taken.iter().for_each(|grant| brake.keep_waiting(grant.clone()));
    let again = brake.admit(&wanted, "n000", seconds(20));
    assert_eq!(again, taken);
    assert_eq!(again[0].place_taken_at(), Some(seconds(5)));
    // It counts all the while, and from when it goes.
    assert_eq!(brake.admit(&census(9, [0, 1]), "n001", seconds(20)), []);
    again.iter().for_each(|grant| brake.count_from(grant, seconds(30)));
    assert_eq!(brake.admit(&census(8, [1]), "n001", seconds(629)), []);
    assert_eq!(brake.admit(&census(8, [1]), "n001", seconds(630)).len(), 2);
}

#[test]
fn a_place_that_waits_for_too_long_or_for_nothing_is_given_back() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(1));
    let wanted = census(9, [0]);
    for at in [0, 60] {
        let grants = brake.admit(&wanted, "n000", seconds(at));
        assert_eq!(grants[0].place_taken_at(), Some(seconds(at)));
        grants.into_iter().for_each(|grant| brake.keep_waiting(grant));
    }
    assert_eq!(brake.admit(&census(9, [0, 1]), "n001", seconds(61)), []);
    // The labels were put right.
    brake.held(&census(9, [1]), seconds(62));
    assert_eq!(brake.admit(&census(9, [1]), "n001", seconds(62)).len(), 2);
    // What was made before it is not forgotten with it.
    let again = brake.admit(&census(9, [1]), "n001", seconds(63));
    again.into_iter().for_each(|grant| brake.keep_waiting(grant));
    brake.held(&census(9, []), seconds(64));
    assert_eq!(brake.admit(&census(9, [2]), "n002", seconds(65)), []);
}

// The first tier's status told of one less as soon as the other was about to, and a process that started then counted none.
#[test]
fn what_two_tiers_released_is_told_by_both_and_counts_once() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(2));
    let both = BTreeMap::from(Direction::ALL.map(|direction| (direction, 1)));
    for grant in brake.admit(&census(9, [0]), "n000", seconds(0)) {
        brake.count_from(&grant, seconds(0));
    }
    let mut wanted = census(9, []);
    want(&mut wanted, Direction::ALL.map(|direction| release(0, direction, "u")));
    let grants = brake.admit(&wanted, "n000", seconds(1));
    assert_eq!(
        [brake.recent_of("t"), brake.recent_of("u")],
        [both.clone(), both.clone()]
    );
    for grant in &grants {
        assert_eq!(brake.told_by(grant).map(|tier| &**tier), Some("u"));
        brake.count_from(grant, seconds(300));
    }
    assert_eq!(
        [brake.recent_of("t"), brake.recent_of("u")],
        [both.clone(), both.clone()]
    );
    // One more may go, and no third.
    assert_eq!(brake.admit(&census(9, [1]), "n001", seconds(301)).len(), 2);
    assert_eq!(brake.admit(&census(9, [2]), "n002", seconds(301)), []);
    // Each is over when it is.
    brake.held(&census(9, []), seconds(600));
    assert_eq!(brake.recent_of("u"), both);
    assert_eq!(brake.recent_of("t").get(&Direction::Egress), Some(&1));
}
