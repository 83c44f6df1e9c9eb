//! An Observe tier is a shadow: it says what it would change and changes nothing, while the tiers below keep enforcing.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client;
use kube::api::{Api, DeleteParams};

use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::scenario_tiers::{
    BOTH_BASES, ONE_WRITE_A_DIRECTION, apply_tier, eventually_governed, eventually_ready, eventually_status,
    has_problem, is_condition, mark, policies_of, selecting, settled_writes,
};
use crate::harness::{ControlPlane, Controller, Observer};

const RULES: &str = "allow:\n- {name: same, preset: SameNamespace}\n";

fn strong(mode: &str) -> String {
    format!("precedence: 100\nmode: {mode}\n{RULES}")
}

#[tokio::test(flavor = "multi_thread")]
async fn below_an_observe_tier_the_enforce_tier_goes_on_enforcing_and_healing() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let namespace = unique_name("shadowed");
    let (above, below) = (format!("{namespace}-above"), format!("{namespace}-below"));
    apply_tier(&admin, &below, &selecting(&namespace, "mode: Enforce")).await;
    create_namespace(&admin, &namespace, &[("scenario", &namespace)]).await;
    eventually_governed(&admin, &namespace, &below, &BOTH_BASES).await;

    let start = mark(control_plane).await;
    apply_tier(&admin, &above, &selecting(&namespace, &strong("Observe"))).await;
    let status = eventually_status(&admin, &above, "would replace both bases", |status| {
        has_problem(status, "WouldChange", Some(&namespace))
    })
    .await;
    let message = &status.problems[0].message;
    assert!(message.contains("create 0, replace 2 and delete 0"), "{message}");
    let counts = status.namespaces.unwrap();
    assert_eq!((counts.selected, counts.observed, counts.protected), (1, 1, 0));
    let none: [&str; 0] = [];
    assert_eq!(settled_writes(control_plane, start, &namespace).await, none);

    delete_policy(&admin, &namespace, BOTH_BASES[1]).await;
    eventually_governed(&admin, &namespace, &below, &BOTH_BASES).await;
    assert_eq!(
        settled_writes(control_plane, start, &namespace).await,
        ["create cofferdam-baseline-ingress"]
    );
    eventually_status(&admin, &below, "protects it", |status| {
        let counts = status.namespaces.unwrap_or_default();
        (counts.selected, counts.observed, counts.protected) == (1, 0, 1)
    })
    .await;
    Observer::of([namespace]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observe_tier_alone_writes_nothing_and_says_what_it_would() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("observe-alone");
    let start = mark(control_plane).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    apply_tier(&admin, &tier, &selecting(&tier, &strong("Observe"))).await;
    let status = eventually_status(&admin, &tier, "would create both bases", |status| {
        has_problem(status, "WouldChange", Some(&tier))
    })
    .await;
    let message = &status.problems[0].message;
    assert!(message.contains("create 2, replace 0 and delete 0"), "{message}");
    let counts = eventually_ready(&admin, &tier).await.namespaces.unwrap();
    assert_eq!((counts.selected, counts.observed, counts.protected), (1, 1, 0));
    let none: [&str; 0] = [];
    assert_eq!(settled_writes(control_plane, start, &tier).await, none);
    assert!(policies_of(&admin, &tier).await.unwrap().is_empty());
    Observer::of([tier]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_turns_to_observe_leaves_its_policies_as_they_are_and_takes_them_back() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("turns");
    apply_tier(&admin, &tier, &selecting(&tier, &strong("Enforce"))).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    let before = eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;

    let start = mark(control_plane).await;
    apply_tier(&admin, &tier, &selecting(&tier, &strong("Observe"))).await;
    let status = eventually_status(&admin, &tier, "observes", |status| {
        status.namespaces.is_some_and(|counts| counts.observed == 1)
    })
    .await;
    assert!(status.problems.is_empty(), "all is as it wants: {:?}", status.problems);
    apply_tier(&admin, &tier, &selecting(&tier, &strong("Enforce"))).await;
    eventually_status(&admin, &tier, "enforces again", |status| {
        status.namespaces.is_some_and(|counts| counts.protected == 1)
    })
    .await;
    let none: [&str; 0] = [];
    assert_eq!(settled_writes(control_plane, start, &tier).await, none);
    assert_eq!(policies_of(&admin, &tier).await.unwrap(), before);

    // What a person deletes meanwhile is theirs to delete, until the tier enforces again.
    apply_tier(&admin, &tier, &selecting(&tier, &strong("Observe"))).await;
    eventually_status(&admin, &tier, "observes", |status| {
        status.namespaces.is_some_and(|counts| counts.observed == 1)
    })
    .await;
    delete_policy(&admin, &tier, BOTH_BASES[0]).await;
    eventually_status(&admin, &tier, "would create one", |status| {
        let problem = status.problems.first();
        problem.is_some_and(|problem| problem.message.contains("create 1, replace 0 and delete 0"))
    })
    .await;
    assert_eq!(settled_writes(control_plane, start, &tier).await, none);
    apply_tier(&admin, &tier, &selecting(&tier, &strong("Enforce"))).await;
    eventually_governed(&admin, &tier, &tier, &BOTH_BASES).await;
    assert_eq!(
        settled_writes(control_plane, start, &tier).await,
        ["create cofferdam-baseline-egress"]
    );
    Observer::of([tier]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_turns_to_observe_hands_its_namespaces_to_the_next_one_at_once_and_back() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let namespace = unique_name("hands-over");
    let (above, below) = (format!("{namespace}-above"), format!("{namespace}-below"));
    apply_tier(&admin, &below, &selecting(&namespace, "mode: Enforce")).await;
    apply_tier(&admin, &above, &selecting(&namespace, &strong("Enforce"))).await;
    create_namespace(&admin, &namespace, &[("scenario", &namespace)]).await;
    eventually_governed(&admin, &namespace, &above, &BOTH_BASES).await;

    for (mode, governor) in [("Observe", &below), ("Enforce", &above)] {
        let start = mark(control_plane).await;
        apply_tier(&admin, &above, &selecting(&namespace, &strong(mode))).await;
        eventually_governed(&admin, &namespace, governor, &BOTH_BASES).await;
        assert_eq!(
            settled_writes(control_plane, start, &namespace).await,
            ONE_WRITE_A_DIRECTION,
            "{mode}"
        );
        // Reported within a second: until then the status tells of before.
        eventually_status(&admin, governor, "protects it", |status| {
            status.namespaces.is_some_and(|counts| counts.protected == 1) && is_condition(status, "Ready", "True")
        })
        .await;
    }
    Observer::of([namespace]).verdict(control_plane).await;
}

async fn delete_policy(admin: &Client, namespace: &str, name: &str) {
    Api::<NetworkPolicy>::namespaced(admin.clone(), namespace)
        .delete(name, &DeleteParams::default())
        .await
        .unwrap_or_else(|error| panic!("cannot delete {namespace}/{name}: {error}"));
}
