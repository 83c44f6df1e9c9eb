//! Bases of ours that lost some of their marks, when nobody remembers them: what opens a direction is a release all the same.

use super::*;
use crate::api::Direction;

/// What a controller that knows nothing of the past would release, when the tier isolates ingress alone from now on.
fn released(spoil: impl Fn(&mut Marks)) -> Vec<(Direction, String)> {
    let before = world([tier_x()], known_facts());
    let namespace = namespace("n", &[]);
    let mut standing = protected(&before, &namespace);
    standing.values_mut().for_each(|policy| spoil(&mut policy.marks));
    let after = world([tier("x", json!({"isolate": ["Ingress"]}))], known_facts());
    let plan = plan(&after, &namespace, &standing, None);
    assert!(plan.removals.iter().any(|removal| removal.name.as_str() == BASE_EGRESS));
    let releases = plan.releases(&after, &assign(&after, &namespace, &standing, None), &namespace);
    let releases = releases.into_iter();
    releases
        .map(|release| (release.direction, release.tier_uid.to_string()))
        .collect()
}

// With one annotation less on all of them, a controller that started opened all at once, and told of none.
#[test]
fn a_base_that_lost_a_mark_is_released_as_one_of_the_governor() {
    let whole = released(|_| {});
    assert_eq!(whole.len(), 1);
    let spoils: [fn(&mut Marks); 7] = [
        |marks| marks.managed_by = false,
        |marks| marks.tier = None,
        |marks| marks.rendered = None,
        |marks| marks.tier_owner = None,
        |marks| marks.namespace_owner = None,
        |marks| marks.strange_owners = true,
        |marks| {
            *marks = Marks {
                managed_by: true,
                ..Marks::default()
            };
        },
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        assert_eq!(released(spoil), whole, "{number}");
    }
}

#[test]
fn a_base_without_any_mark_is_of_somebody_else() {
    assert_eq!(released(|marks| *marks = Marks::default()), []);
}
