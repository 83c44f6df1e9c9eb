//! Whatever comes first, the namespaces end as their tier says.

use cofferdam::api::Direction;
use serde_json::json;

use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, eventually_governed, eventually_policies, eventually_ready, eventually_status, has_problem,
    mark, selecting, set_labels, settled_writes,
};
use crate::harness::{ControlPlane, Controller, Identity, Observer};

const ALLOWS: &str = "
mode: Enforce
allow:
- {name: dns, preset: DNS}
- {name: same, preset: SameNamespace}
- {name: api, preset: KubeAPIServer, podSelector: {matchLabels: {needs-api: 'true'}}}
";
const POLICIES: [&str; 3] = ["cofferdam-allow-api-egress", BOTH_BASES[0], BOTH_BASES[1]];
const CREATED: [&str; 3] = [
    "create cofferdam-allow-api-egress",
    "create cofferdam-baseline-egress",
    "create cofferdam-baseline-ingress",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_is_there_first_protects_namespaces_as_they_come() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("tier-first");
    apply_tier(&admin, &tier, &selecting(&tier, ALLOWS)).await;
    eventually_ready(&admin, &tier).await;
    let namespaces = [format!("{tier}-a"), format!("{tier}-b")];
    let start = mark(control_plane).await;
    for namespace in &namespaces {
        create_namespace(&admin, namespace, &[("scenario", &tier)]).await;
    }
    for namespace in &namespaces {
        eventually_governed(&admin, namespace, &tier, &POLICIES).await;
        assert_eq!(settled_writes(control_plane, start, namespace).await, CREATED);
    }
    let status = eventually_ready(&admin, &tier).await;
    let counts = status.namespaces.unwrap();
    assert_eq!((counts.selected, counts.protected, counts.pending), (2, 2, 0));
    Observer::of(namespaces).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_comes_later_protects_the_namespaces_that_are_there() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("namespaces-first");
    let namespaces = [format!("{tier}-a"), format!("{tier}-b")];
    for namespace in &namespaces {
        create_namespace(&admin, namespace, &[("scenario", &tier)]).await;
    }
    let start = mark(control_plane).await;
    apply_tier(&admin, &tier, &selecting(&tier, ALLOWS)).await;
    for namespace in &namespaces {
        eventually_governed(&admin, namespace, &tier, &POLICIES).await;
        assert_eq!(settled_writes(control_plane, start, namespace).await, CREATED);
    }
    let status = eventually_ready(&admin, &tier).await;
    assert_eq!(status.namespaces.unwrap().protected, 2);
    Observer::of(namespaces).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_tier_costs_one_write_a_policy_that_changes() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("edited");
    apply_tier(&admin, &tier, &selecting(&tier, ALLOWS)).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    eventually_governed(&admin, &tier, &tier, &POLICIES).await;

    let start = mark(control_plane).await;
    let narrower = selecting(&tier, "mode: Enforce\nallow:\n- {name: same, preset: SameNamespace}\n");
    apply_tier(&admin, &tier, &narrower).await;
    eventually_policies(&admin, &tier, &BOTH_BASES, |policies| {
        let egress = policies[BOTH_BASES[0]].spec.as_ref().unwrap().egress.as_deref();
        match egress.unwrap_or_default().len() {
            1 => Ok(()),
            rules => Err(format!("{rules} egress rules")),
        }
    })
    .await;
    assert_eq!(
        settled_writes(control_plane, start, &tier).await,
        ["delete cofferdam-allow-api-egress", "update cofferdam-baseline-egress"]
    );
    Observer::of([tier]).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_leaves_every_selector_loses_its_policies() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("leaves");
    apply_tier(&admin, &tier, &selecting(&tier, ALLOWS)).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    eventually_governed(&admin, &tier, &tier, &POLICIES).await;

    let start = mark(control_plane).await;
    set_labels(&admin, &tier, json!({"scenario": null})).await;
    eventually_policies(&admin, &tier, &[], |_| Ok(())).await;
    assert_eq!(
        settled_writes(control_plane, start, &tier).await,
        [
            "delete cofferdam-allow-api-egress",
            "delete cofferdam-baseline-egress",
            "delete cofferdam-baseline-ingress",
        ]
    );
    confirmed_by_a_consistent_read(control_plane, start, &tier);
    // Reported within a second: until then the status tells of before.
    eventually_status(&admin, &tier, "selects nothing", |status| {
        status.namespaces.is_some_and(|counts| counts.selected == 0)
    })
    .await;

    // It comes back as it was.
    set_labels(&admin, &tier, json!({"scenario": tier})).await;
    eventually_governed(&admin, &tier, &tier, &POLICIES).await;
    Observer::of([&tier])
        .expect_release(&tier, Direction::Ingress)
        .expect_release(&tier, Direction::Egress)
        .verdict(control_plane)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direction_that_is_isolated_no_more_is_released_and_the_other_stays() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("shrinks");
    apply_tier(&admin, &tier, &selecting(&tier, ALLOWS)).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    eventually_governed(&admin, &tier, &tier, &POLICIES).await;

    let start = mark(control_plane).await;
    apply_tier(
        &admin,
        &tier,
        &selecting(&tier, &format!("{ALLOWS}isolate: [Ingress]\n")),
    )
    .await;
    eventually_governed(&admin, &tier, &tier, &[BOTH_BASES[1]]).await;
    assert_eq!(
        settled_writes(control_plane, start, &tier).await,
        ["delete cofferdam-allow-api-egress", "delete cofferdam-baseline-egress"]
    );
    confirmed_by_a_consistent_read(control_plane, start, &tier);
    let status = eventually_ready(&admin, &tier).await;
    // Two allowances speak of egress alone; SameNamespace still has its other direction.
    for name in ["dns", "api"] {
        let said = status
            .problems
            .iter()
            .any(|problem| problem.message.contains(&format!("allowance {name} ")));
        assert!(
            said,
            "expected a problem that names {name}, found {:?}",
            status.problems
        );
    }
    assert_eq!(status.problems.len(), 2, "{:?}", status.problems);
    assert!(has_problem(&status, "AllowanceHasNoEffect", None));

    let start = mark(control_plane).await;
    apply_tier(&admin, &tier, &selecting(&tier, ALLOWS)).await;
    eventually_governed(&admin, &tier, &tier, &POLICIES).await;
    assert_eq!(
        settled_writes(control_plane, start, &tier).await,
        ["create cofferdam-allow-api-egress", "create cofferdam-baseline-egress"]
    );
    Observer::of([&tier])
        .expect_release(&tier, Direction::Egress)
        .verdict(control_plane)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_for_a_direction_that_is_not_isolated_is_reported_and_has_no_effect() {
    let control_plane = ControlPlane::shared().await;
    Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("no-effect");
    let spec = "
mode: Enforce
isolate: [Egress]
allow:
- {name: from-all, from: [{podSelector: {}}]}
- {name: from-some, from: [{podSelector: {}}], podSelector: {matchLabels: {a: b}}}
- {name: same, preset: SameNamespace}
";
    apply_tier(&admin, &tier, &selecting(&tier, spec)).await;
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    eventually_governed(&admin, &tier, &tier, &[BOTH_BASES[0]]).await;
    let status = eventually_ready(&admin, &tier).await;
    let mut reported = status.problems.iter().map(|problem| problem.message.as_str());
    for name in ["from-all", "from-some"] {
        let message = reported.next().unwrap_or_default();
        assert!(
            message.starts_with(&format!("allowance {name} ")),
            "{:?}",
            status.problems
        );
    }
    assert_eq!(reported.next(), None);
    assert!(has_problem(&status, "AllowanceHasNoEffect", None));
    Observer::of([tier]).verdict(control_plane).await;
}

// A watch may be behind: what opens a namespace is asked of the API server itself, without a resourceVersion.
fn confirmed_by_a_consistent_read(control_plane: &ControlPlane, start: usize, namespace: &str) {
    let events = control_plane.audit_log().events_since(start);
    let by_controller = |verb: &str, resource: &str, name: &str| {
        let mut events = events.iter().filter(|event| {
            event.user == Identity::Controller.user() && event.stage == "ResponseComplete" && event.name == name
        });
        let event = events.find(|event| event.verb == verb && event.resource == resource);
        event.unwrap_or_else(|| panic!("no {verb} of {resource} {name}"))
    };
    let read_namespace = by_controller("get", "namespaces", namespace);
    let read_tiers = by_controller("list", "isolationtiers", "");
    let released = by_controller("delete", "networkpolicies", BOTH_BASES[0]);
    for read in [read_namespace, read_tiers] {
        // Not when it was answered: the server writes that down after it has sent the answer, and may be slow about it.
        assert!(read.received_at < released.received_at, "{} came late", read.summary());
        assert!(
            !read.request_uri.contains("resourceVersion="),
            "read from a cache: {}",
            read.request_uri
        );
    }
}
