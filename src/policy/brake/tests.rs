mod histories;
mod places;
mod restarts;
mod taken_back;

use super::*;

fn release(namespace: usize, direction: Direction, tier: &str) -> Release {
    Release {
        namespace: format!("n{namespace:03}"),
        direction,
        policy_uid: format!("uid-{namespace}-{}", direction.as_str()).into(),
        tier_uid: tier.into(),
    }
}

/// `protected` namespaces stay isolated in both directions, and those of `wanted` want to be opened in both.
fn census(protected: u64, wanted: impl IntoIterator<Item = usize>) -> Census {
    let mut census = Census::default();
    for number in 0..protected {
        census.set(&format!("protected{number}"), [], Direction::ALL.into());
    }
    for number in wanted {
        let both = Direction::ALL.map(|direction| release(number, direction, "t"));
        census.set(&format!("n{number:03}"), both, Vec::new());
    }
    census
}

fn want(census: &mut Census, wanted: impl IntoIterator<Item = Release>) {
    for release in wanted {
        let namespace = release.namespace.clone();
        let others: Vec<_> = census.wanted_in(&namespace).cloned().collect();
        census.set_wanted(&namespace, others.into_iter().chain([release]));
    }
}

fn made(census: &mut Census, grant: &Grant) {
    let namespace = &grant.release.namespace;
    let left: Vec<_> = census
        .wanted_in(namespace)
        .filter(|left| **left != grant.release)
        .cloned()
        .collect();
    census.set_wanted(namespace, left);
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Lets every namespace of the census ask, and tells how many releases were granted.
fn all_ask(brake: &mut Brake, census: &mut Census, now: Duration) -> usize {
    brake.held(census, now);
    let namespaces: BTreeSet<_> = census.wanted().map(|release| release.namespace.clone()).collect();
    let mut granted = 0;
    for namespace in namespaces {
        for grant in brake.admit(census, &namespace, now) {
            made(census, &grant);
            granted += 1;
        }
    }
    granted
}

fn confirm(census: &mut Census, tier: &str, digest: &str) {
    census.confirmations.insert(tier.into(), digest.into());
}

#[test]
fn one_edit_that_would_open_everything_opens_nothing() {
    let mut brake = Brake::new(MaxUnprotected::default());
    let mut census = census(0, 0..500);
    assert_eq!(all_ask(&mut brake, &mut census, seconds(1)), 0);
    let held = brake.held(&census, seconds(1));
    assert_eq!((held["t"].releases.len(), held["t"].limit), (1000, 50));
}

#[test]
fn a_loop_that_opens_one_by_one_comes_as_far_as_the_limit() {
    let mut brake = Brake::new(MaxUnprotected::default());
    let opened: usize = (0..500)
        .map(|number| {
            // The loop goes on although the earlier ones wait.
            let left = 500 - number as u64 - 1;
            all_ask(&mut brake, &mut census(left, [number]), seconds(number as u64 / 10))
        })
        .sum();
    assert_eq!(opened, 2 * 50);
}

#[test]
fn what_is_held_goes_once_it_is_few_enough() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(2));
    assert_eq!(all_ask(&mut brake, &mut census(9, [1, 2]), seconds(0)), 4);
    assert_eq!(all_ask(&mut brake, &mut census(7, [3]), seconds(599)), 0);
    assert_eq!(all_ask(&mut brake, &mut census(7, [3]), seconds(600)), 2);
    // Others were put right.
    assert_eq!(all_ask(&mut brake, &mut census(4, [4, 5, 6]), seconds(601)), 0);
    assert_eq!(all_ask(&mut brake, &mut census(6, [4]), seconds(602)), 2);
}

#[test]
fn one_namespace_may_always_go_and_counts_once_however_often_it_goes() {
    let mut brake = Brake::new(MaxUnprotected::default());
    for second in 0..9 {
        assert_eq!(all_ask(&mut brake, &mut census(1, [0]), seconds(second)), 2);
    }
    assert_eq!(all_ask(&mut brake, &mut census(0, [1]), seconds(9)), 0);
    let mut never = Brake::new(MaxUnprotected::Namespaces(0));
    assert_eq!(all_ask(&mut never, &mut census(99, [0]), seconds(0)), 0);
}

// A loop that relabels one namespace after the other out and in again; a process that began meanwhile does not know which.
#[test]
fn who_is_isolated_again_does_not_raise_the_limit() {
    let limit = MaxUnprotected::Percent(50);
    for restarts_after in [usize::MAX, 30, 49, 60] {
        let mut brake = Brake::new(limit);
        let opened: usize = (0..100)
            .map(|number| {
                let mut census = census(0, [number]);
                for other in (0..100).filter(|other| *other != number) {
                    census.set(&format!("n{other:03}"), [], Direction::ALL.into());
                }
                if number == restarts_after {
                    brake = after_a_restart(&brake, limit, seconds(number as u64));
                }
                all_ask(&mut brake, &mut census, seconds(number as u64))
            })
            .sum();
        assert_eq!(opened, 2 * 50, "{restarts_after}");
    }
}

// After a restart it was 100 % of those that were left, which those that had gone were more than.
#[test]
fn a_hundred_percent_is_no_limit() {
    let mut brake = Brake::new(MaxUnprotected::Percent(100));
    brake.inherit(Direction::ALL.map(|direction| Inherited {
        tier_uid: "t".into(),
        direction,
        namespaces: 41,
        until: WINDOW,
        unreadable: None,
    }));
    assert_eq!(all_ask(&mut brake, &mut census(0, 0..12), seconds(1)), 2 * 12);
}

/// Each is looked at again every few seconds, and all of them under one lock: a walk through what went, at every look,
/// would take minutes here.
#[test]
fn who_waits_is_told_so_without_a_walk_through_what_went() {
    let mut brake = Brake::new(MaxUnprotected::default());
    let before = &mut census(20_000, 0..1_000);
    assert_eq!(all_ask(&mut brake, before, seconds(1)), 2 * 1_000);
    let census = census(20_000, 10_000..17_000);
    for number in 10_000..16_000 {
        assert_eq!(brake.admit(&census, &format!("n{number:03}"), seconds(2)), []);
    }
}

#[test]
fn directions_have_limits_of_their_own() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(1));
    let mut census = census(9, []);
    let wanted = [
        release(0, Direction::Ingress, "t"),
        release(1, Direction::Ingress, "t"),
        release(2, Direction::Egress, "t"),
    ];
    want(&mut census, wanted);
    assert_eq!(all_ask(&mut brake, &mut census, seconds(0)), 1);
    let held = &brake.held(&census, seconds(0))["t"];
    assert!(
        held.releases
            .iter()
            .all(|release| release.direction == Direction::Ingress)
    );
}

#[test]
fn a_confirmation_lets_exactly_its_list_go() {
    let mut brake = Brake::new(MaxUnprotected::default());
    let mut wanted = census(0, 0..100);
    let digest = brake.held(&wanted, seconds(0))["t"].digest.clone();
    // One more than the list that was confirmed: it holds for none of them.
    let mut more = census(0, 0..101);
    confirm(&mut more, "t", &digest);
    assert_eq!(all_ask(&mut brake, &mut more, seconds(1)), 0);
    // Half of it is done when one more comes.
    confirm(&mut wanted, "t", &digest);
    brake.held(&wanted, seconds(2));
    for number in 0..50 {
        for grant in brake.admit(&wanted, &format!("n{number:03}"), seconds(2)) {
            made(&mut wanted, &grant);
        }
    }
    assert_eq!(wanted.wanted().count(), 100);
    want(&mut wanted, census(0, 100..200).wanted().cloned());
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(3)), 100);
    assert!(wanted.wanted().eq(census(0, 100..200).wanted()));
    assert_ne!(brake.held(&wanted, seconds(3))["t"].digest, digest);
}

#[test]
fn a_confirmation_holds_for_one_tier() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(1));
    let mut wanted = census(9, 0..10);
    let others = (10..20).map(|number| release(number, Direction::Ingress, "other"));
    want(&mut wanted, others);
    let held = brake.held(&wanted, seconds(0));
    assert_eq!(held.len(), 2);
    confirm(&mut wanted, "t", &held["other"].digest);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(0)), 0);
    confirm(&mut wanted, "other", &held["other"].digest);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(0)), 10);
}

// The annotation stays where it was written: the next mistake must not find itself confirmed.
#[test]
fn a_confirmation_does_not_outlive_what_it_was_given_for() {
    let mut brake = Brake::new(MaxUnprotected::default());
    let mut wanted = census(0, 0..100);
    let digest = brake.held(&wanted, seconds(0))["t"].digest.clone();
    confirm(&mut wanted, "t", &digest);
    assert_eq!(brake.held(&wanted, seconds(1)), BTreeMap::new());
    // Nothing was done yet when the labels were put right.
    let mut right = census(100, []);
    confirm(&mut right, "t", &digest);
    assert_eq!(brake.held(&right, seconds(2)), BTreeMap::new());
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(3)), 0);
}

#[test]
fn a_confirmed_release_takes_no_place_in_the_window() {
    let mut brake = Brake::new(MaxUnprotected::Namespaces(1));
    let mut wanted = census(9, 0..10);
    let digest = brake.held(&wanted, seconds(0))["t"].digest.clone();
    confirm(&mut wanted, "t", &digest);
    assert_eq!(all_ask(&mut brake, &mut wanted, seconds(0)), 20);
    assert_eq!(all_ask(&mut brake, &mut census(8, [10]), seconds(1)), 2);
}

/// What a process that starts anew knows of an earlier one.
fn after_a_restart(brake: &Brake, limit: MaxUnprotected, now: Duration) -> Brake {
    let mut anew = Brake::new(limit);
    let recent = brake.recent_of("t");
    anew.inherit(recent.into_iter().map(|(direction, namespaces)| Inherited {
        tier_uid: "t".into(),
        direction,
        namespaces,
        until: now + WINDOW,
        unreadable: None,
    }));
    anew.inherit_confirmations(brake.remaining_of("t").map(|remaining| ("t".into(), remaining)));
    anew
}

#[test]
fn limits_are_written_as_numbers_or_percentages() {
    for (text, limit) in [
        ("10%", MaxUnprotected::Percent(10)),
        ("100%", MaxUnprotected::Percent(100)),
        ("0", MaxUnprotected::Namespaces(0)),
        ("250", MaxUnprotected::Namespaces(250)),
    ] {
        assert_eq!(text.parse(), Ok(limit));
        assert_eq!(limit.to_string(), text);
    }
    for text in ["", "%", "101%", "-1", "ten", "1.5%"] {
        assert!(text.parse::<MaxUnprotected>().unwrap_err().contains("found"), "{text}");
    }
}
