//! Which tier governs a namespace, and that moving from one to another never opens it.

use serde_json::json;

use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::scenario_tiers::{
    BOTH_BASES, ONE_WRITE_A_DIRECTION, apply_tier, eventually_governed, eventually_status, has_problem, mark,
    selecting, set_labels, settled_writes,
};
use crate::harness::{ControlPlane, Controller, Observer};

const SAME: &str = "mode: Enforce\nallow:\n- {name: same, preset: SameNamespace}\n";
const NOTHING: &str = "mode: Enforce\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_relabelled_namespace_moves_with_one_write_a_direction() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let (one, other) = (unique_name("moves-one"), unique_name("moves-other"));
    apply_tier(&admin, &one, &selecting(&one, SAME)).await;
    apply_tier(&admin, &other, &selecting(&other, NOTHING)).await;
    create_namespace(&admin, &one, &[("scenario", &one)]).await;
    eventually_governed(&admin, &one, &one, &BOTH_BASES).await;

    for tier in [&other, &one] {
        let start = mark(control_plane).await;
        set_labels(&admin, &one, json!({"scenario": tier})).await;
        eventually_governed(&admin, &one, tier, &BOTH_BASES).await;
        assert_eq!(
            settled_writes(control_plane, start, &one).await,
            ONE_WRITE_A_DIRECTION,
            "to {tier}"
        );
    }
    for (tier, expected) in [(&one, 1), (&other, 0)] {
        let description = format!("{expected} protected");
        eventually_status(&admin, tier, &description, |status| {
            status
                .namespaces
                .is_some_and(|counts| (counts.selected, counts.protected) == (expected, expected))
        })
        .await;
    }
    Observer::of([one]).verdict(control_plane).await;
}

// The same rules, another tier: the marks change, so that deleting either tier never confuses whose policies these are.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_moves_between_tiers_that_say_the_same() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let (one, other) = (unique_name("twin-one"), unique_name("twin-other"));
    apply_tier(&admin, &one, &selecting(&one, SAME)).await;
    apply_tier(&admin, &other, &selecting(&other, SAME)).await;
    create_namespace(&admin, &one, &[("scenario", &one)]).await;
    eventually_governed(&admin, &one, &one, &BOTH_BASES).await;

    let start = mark(control_plane).await;
    set_labels(&admin, &one, json!({"scenario": other})).await;
    eventually_governed(&admin, &one, &other, &BOTH_BASES).await;
    assert_eq!(settled_writes(control_plane, start, &one).await, ONE_WRITE_A_DIRECTION);
    Observer::of([one]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_precedence_governs_and_the_next_takes_over_in_place() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let namespace = unique_name("precedence");
    // By name the lower one would come first.
    let (low, high) = (format!("{namespace}-a"), format!("{namespace}-b"));
    apply_tier(&admin, &low, &selecting(&namespace, &format!("precedence: 1\n{SAME}"))).await;
    create_namespace(&admin, &namespace, &[("scenario", &namespace)]).await;
    eventually_governed(&admin, &namespace, &low, &BOTH_BASES).await;

    let start = mark(control_plane).await;
    let stronger = selecting(&namespace, &format!("precedence: 2\n{NOTHING}"));
    apply_tier(&admin, &high, &stronger).await;
    eventually_governed(&admin, &namespace, &high, &BOTH_BASES).await;
    assert_eq!(
        settled_writes(control_plane, start, &namespace).await,
        ONE_WRITE_A_DIRECTION
    );
    let status = eventually_status(&admin, &low, "governs nothing", |status| {
        let counts = status.namespaces.unwrap_or_default();
        (counts.selected, counts.protected, counts.pending) == (1, 0, 0)
    })
    .await;
    assert!(status.problems.is_empty(), "{:?}", status.problems);

    let start = mark(control_plane).await;
    let weaker = selecting(&namespace, &format!("precedence: 0\n{NOTHING}"));
    apply_tier(&admin, &high, &weaker).await;
    eventually_governed(&admin, &namespace, &low, &BOTH_BASES).await;
    assert_eq!(
        settled_writes(control_plane, start, &namespace).await,
        ONE_WRITE_A_DIRECTION
    );
    Observer::of([namespace]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_tie_the_first_name_governs_and_both_tiers_say_so() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let namespace = unique_name("tie");
    let (first, second) = (format!("{namespace}-a"), format!("{namespace}-b"));
    apply_tier(
        &admin,
        &second,
        &selecting(&namespace, &format!("precedence: 7\n{NOTHING}")),
    )
    .await;
    create_namespace(&admin, &namespace, &[("scenario", &namespace)]).await;
    eventually_governed(&admin, &namespace, &second, &BOTH_BASES).await;

    let start = mark(control_plane).await;
    apply_tier(
        &admin,
        &first,
        &selecting(&namespace, &format!("precedence: 7\n{SAME}")),
    )
    .await;
    eventually_governed(&admin, &namespace, &first, &BOTH_BASES).await;
    assert_eq!(
        settled_writes(control_plane, start, &namespace).await,
        ONE_WRITE_A_DIRECTION
    );
    for (tier, other) in [(&first, &second), (&second, &first)] {
        let status = eventually_status(&admin, tier, "a tie in the namespace", |status| {
            has_problem(status, "PrecedenceTie", Some(&namespace))
        })
        .await;
        let message = &status.problems[0].message;
        assert!(message.contains(other.as_str()), "expected {other} in: {message}");
    }

    apply_tier(
        &admin,
        &second,
        &selecting(&namespace, &format!("precedence: 6\n{NOTHING}")),
    )
    .await;
    for tier in [&first, &second] {
        eventually_status(&admin, tier, "no tie", |status| status.problems.is_empty()).await;
    }
    Observer::of([namespace]).verdict(control_plane).await;
}
