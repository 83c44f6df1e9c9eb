use super::*;
use crate::api::Direction;

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Heals as soon as it may, against somebody who edits every so many milliseconds; gives the times of the heals.
fn fight(every: u64, until: u64) -> Vec<u64> {
    let mut contest = Contest::default();
    let (mut heals, mut edit) = (Vec::new(), 0);
    while edit < until {
        let mut now = edit;
        if let Some(held) = contest.held_until(at(now)) {
            now = held.as_millis() as u64;
        }
        contest.healed(at(now), None);
        heals.push(now);
        edit = edit.max(now - now % every) + every;
    }
    heals
}

#[test]
fn a_few_heals_are_answered_at_once() {
    assert_eq!(fight(100, 500), [0, 100, 200, 300, 400]);
}

#[test]
fn a_fight_is_slowed_and_its_holes_are_bounded() {
    let heals = fight(100, 600_000);
    assert!(
        heals.len() < 40,
        "ten minutes of ten edits a second cost {} heals",
        heals.len()
    );
    let longest = heals.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= LONGEST_HOLD.as_millis() as u64 + 100, "{longest} ms");
}

#[test]
fn it_says_once_when_it_begins_and_is_over_when_the_other_is_quiet() {
    let mut contest = Contest::default();
    let begins: Vec<_> = (0..8).filter(|round| contest.healed(at(round * 100), None)).collect();
    assert_eq!(begins, [5]);
    assert!(contest.is_contested());
    assert!(!contest.is_over(at(30_000)));
    assert!(contest.is_over(at(700 + 60_000 + 4_000)));
    assert!(!contest.healed(at(200_000), None), "a later heal starts anew");
    assert_eq!(contest.held_until(at(200_000)), None);
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
fn it_is_looked_at_when_a_hold_ends_and_when_it_is_over() {
    let mut contest = Contest::default();
    let contests = |contest: &Contest| Contests::from([(PolicyName::baseline(Direction::Ingress), contest.clone())]);
    (0..5).for_each(|_| _ = contest.healed(at(0), None));
    assert_eq!(next_look(&contests(&contest), at(0)), None, "not contested yet");
    contest.healed(at(0), Some("helm"));
    assert_eq!(next_look(&contests(&contest), at(0)), Some(at(1_000)));
    assert_eq!(next_look(&contests(&contest), at(1_000)), Some(at(61_000)));
    assert!(contest.is_over(at(61_000)));
    assert!(contest.in_words().contains("field manager helm"));
}
