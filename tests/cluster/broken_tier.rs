//! A tier that got past admission and does not parse: a typo neither opens its namespaces nor hands them to a weaker tier.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cofferdam::api::IsolationTierStatus;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::DeleteParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, condition, eventually_governed, eventually_ready, eventually_status, has_problem,
    is_condition, mark, policies_of, selecting, settled_writes, try_apply_tier,
};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Observer, OwnControlPlane, eventually};

const NONE: [&str; 0] = [];
const PATIENCE: Duration = Duration::from_secs(30);
const EXTRA: &str = "cofferdam-allow-some-pods-ingress";
const GOOD: &str = "
precedence: 10
mode: Enforce
allow:
- {name: same, preset: SameNamespace}
- {name: some-pods, from: [{podSelector: {}, namespaceSelector: {}}], podSelector: {matchLabels: {open: 'yes'}}}
";
const POLICIES: [&str; 3] = [EXTRA, BOTH_BASES[0], BOTH_BASES[1]];

#[tokio::test(flavor = "multi_thread")]
async fn it_is_stalled_keeps_its_namespaces_denies_new_ones_and_stops_nobody_else() {
    let control_plane = start().await;
    let _controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let before = govern(&admin).await;

    let start = mark(&control_plane).await;
    apply_tier(
        &admin,
        "strict",
        &selecting("strict", &GOOD.replace("SameNamespace", "Nonsense")),
    )
    .await;
    let status = eventually_stalled(&admin, "strict", "Nonsense").await;
    let counts = status.namespaces.unwrap();
    assert_eq!((counts.selected, counts.protected), (1, 1), "{status:?}");
    // Also what only adds to a base is not pruned: what it says of it is not known.
    assert_eq!(policies_of(&admin, "old").await.unwrap(), before);

    create_namespace(&admin, "new", &[("scenario", "strict")]).await;
    let policies = eventually_governed(&admin, "new", "strict", &BOTH_BASES).await;
    for (name, policy) in policies {
        let spec = policy.spec.unwrap();
        assert_eq!((spec.ingress, spec.egress), (None, None), "{name}");
    }

    // The tier next to it is not held up.
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), "elsewhere");
    policies.delete(BOTH_BASES[1], &DeleteParams::default()).await.unwrap();
    eventually_governed(&admin, "elsewhere", "other", &BOTH_BASES).await;
    create_namespace(&admin, "elsewhere-too", &[("scenario", "other")]).await;
    eventually_governed(&admin, "elsewhere-too", "other", &BOTH_BASES).await;
    eventually_ready(&admin, "other").await;

    apply_tier(&admin, "strict", &selecting("strict", GOOD)).await;
    eventually_governed(&admin, "new", "strict", &POLICIES).await;
    let status = eventually_ready(&admin, "strict").await;
    assert!(condition(&status, "Stalled").is_none(), "{status:?}");
    assert!(status.problems.is_empty(), "{status:?}");
    assert_eq!(settled_writes(&control_plane, start, "old").await, NONE);
    assert_eq!(policies_of(&admin, "old").await.unwrap(), before);
    Observer::of(["old", "new", "elsewhere", "elsewhere-too"])
        .verdict(&control_plane)
        .await;
}

// Then the uid on the policies says which namespaces are its own.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_selector_or_precedence_that_cannot_be_read_it_keeps_what_carries_its_uid() {
    let control_plane = start().await;
    let controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let before = govern(&admin).await;
    let below = selecting("strict", "mode: Enforce\nisolate: [Ingress]");
    apply_tier(&admin, "below", &below).await;
    eventually_ready(&admin, "below").await;

    let start = mark(&control_plane).await;
    let selector = format!("namespaceSelector: {{matchExpressions: [{{key: scenario, operator: Nonsense}}]}}\n{GOOD}");
    let precedence = selecting("strict", &GOOD.replace("precedence: 10", "precedence: ten"));
    for (spec, named) in [(&selector, "namespaceSelector"), (&precedence, "precedence")] {
        apply_tier(&admin, "strict", spec).await;
        let status = eventually_stalled(&admin, "strict", named).await;
        assert_eq!(status.namespaces.unwrap().selected, 1, "{named}: {status:?}");
        assert_eq!(settled_writes(&control_plane, start, "old").await, NONE, "{named}");
    }
    // Whether it would select this one cannot be known, so the tier that does governs it.
    create_namespace(&admin, "new", &[("scenario", "strict")]).await;
    eventually_governed(&admin, "new", "below", &[BOTH_BASES[1]]).await;

    // A restart knows it from the policies alone.
    assert_eq!(controller.sigterm().await, 0);
    let _controller = Controller::start(&control_plane, &[]).await;
    create_namespace(&admin, "newer", &[("scenario", "strict")]).await;
    eventually_governed(&admin, "newer", "below", &[BOTH_BASES[1]]).await;
    assert_eq!(settled_writes(&control_plane, start, "old").await, NONE);
    assert_eq!(policies_of(&admin, "old").await.unwrap(), before);

    // Repaired, it takes what it selects.
    let start = mark(&control_plane).await;
    apply_tier(&admin, "strict", &selecting("strict", GOOD)).await;
    eventually_governed(&admin, "new", "strict", &POLICIES).await;
    assert_eq!(
        settled_writes(&control_plane, start, "new").await,
        [
            format!("create {EXTRA}"),
            format!("create {}", BOTH_BASES[0]),
            format!("update {}", BOTH_BASES[1]),
        ]
    );
    eventually_ready(&admin, "strict").await;
    assert_eq!(settled_writes(&control_plane, start, "old").await, NONE);
    Observer::of(["old", "new", "newer"]).verdict(&control_plane).await;
}

// Whether it was meant to enforce is not known: nothing new is closed, and nothing that it closed is opened.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_mode_that_cannot_be_read_it_keeps_and_heals_what_it_had_and_closes_nothing_new() {
    let control_plane = start().await;
    let _controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let before = govern(&admin).await;

    let start = mark(&control_plane).await;
    apply_tier(
        &admin,
        "strict",
        &selecting("strict", &GOOD.replace("Enforce", "Nonsense")),
    )
    .await;
    eventually_stalled(&admin, "strict", "mode").await;
    create_namespace(&admin, "new", &[("scenario", "strict")]).await;
    eventually_status(&admin, "strict", "the new one waits", |status| {
        status
            .namespaces
            .is_some_and(|counts| (counts.selected, counts.protected, counts.pending) == (2, 1, 1))
    })
    .await;
    assert_eq!(settled_writes(&control_plane, start, "new").await, NONE);
    assert_eq!(settled_writes(&control_plane, start, "old").await, NONE);
    assert_eq!(policies_of(&admin, "old").await.unwrap(), before);

    // What it allowed is not known any more, so what comes back is closed.
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), "old");
    policies.delete(BOTH_BASES[1], &DeleteParams::default()).await.unwrap();
    let healed = eventually_governed(&admin, "old", "strict", &POLICIES).await;
    assert_eq!(healed[BOTH_BASES[1]].spec.as_ref().unwrap().ingress, None);

    let start = mark(&control_plane).await;
    apply_tier(&admin, "strict", &selecting("strict", GOOD)).await;
    eventually_governed(&admin, "new", "strict", &POLICIES).await;
    eventually_ready(&admin, "strict").await;
    assert_eq!(
        settled_writes(&control_plane, start, "old").await,
        [format!("update {}", BOTH_BASES[1])]
    );
    Observer::of(["old", "new"]).verdict(&control_plane).await;
}

// What admission refuses only to bound a tier's size, or to catch a slip: stored, such a tier still says what it wants.
const HARMLESS_ONCE_STORED: [&str; 10] = [
    "description-too-long",
    "field-misspelled",
    "isolate-twice-the-same",
    "more-than-16-excepts",
    "more-than-16-expression-values",
    "more-than-16-peers",
    "more-than-16-ports",
    "more-than-32-allowances",
    "more-than-4-match-expressions",
    "more-than-8-match-labels",
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_admission_refuses_is_stalled_once_it_is_stored_and_touches_nobody() {
    let control_plane = start().await;
    let controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let before = govern(&admin).await;
    let start = mark(&control_plane).await;
    let mut tiers = BTreeMap::new();
    for (number, (title, name, spec)) in invalid_tiers().into_iter().enumerate() {
        // The fixtures' names repeat; one of them is what its fixture is about.
        let name = if title.starts_with("tier-name-") {
            name
        } else {
            format!("invalid-{number}")
        };
        // What is left of the schema refuses a few.
        if try_apply_tier(&admin, &name, &spec.to_string()).await.is_ok() {
            tiers.insert(title, name);
        }
    }
    assert!(tiers.len() > 90, "only {} got past the weakened schema", tiers.len());
    let mut not_stalled = Vec::new();
    for (title, name) in &tiers {
        let status = eventually_status(&admin, name, "reported", |_| true).await;
        if !is_condition(&status, "Stalled", "True") {
            not_stalled.push(title.as_str());
        }
    }
    assert_eq!(not_stalled, HARMLESS_ONCE_STORED);
    assert_eq!(settled_writes(&control_plane, start, "old").await, NONE);
    assert_eq!(policies_of(&admin, "old").await.unwrap(), before);
    create_namespace(&admin, "new", &[("scenario", "strict")]).await;
    eventually_governed(&admin, "new", "strict", &POLICIES).await;
    assert_eq!(controller.sigterm().await, 0);
    Observer::of(["old", "new"]).verdict(&control_plane).await;
}

// Title, name and spec of each fixture; none of them selects a namespace.
fn invalid_tiers() -> Vec<(String, String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiers/invalid");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let tier: Value = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let mut spec = tier["spec"].clone();
        if spec["namespaceSelector"] == json!({}) {
            spec["namespaceSelector"] = json!({"matchLabels": {"scenario": "nobody"}});
        }
        let title = path.file_stem().unwrap().to_string_lossy().into_owned();
        (title, tier["metadata"]["name"].as_str().unwrap().to_owned(), spec)
    };
    std::fs::read_dir(directory).unwrap().map(read).collect()
}

// Every field of the spec may hold anything, as under a definition that is older, newer or edited.
async fn start() -> OwnControlPlane {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions {
        controller_manager: false,
        ..ControlPlaneOptions::default()
    })
    .await;
    weaken_the_schema(&control_plane).await;
    control_plane
}

/// Has the API server store tiers that it would refuse.
pub async fn weaken_the_schema(control_plane: &ControlPlane) {
    const CRD: &str = "isolationtiers.cofferdam.dev";
    let definition = control_plane
        .kubectl(&["get", "customresourcedefinition", CRD, "--output=json"])
        .expect_success();
    let mut definition: Value = serde_json::from_str(&definition).unwrap();
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema.as_object_mut().unwrap().remove("x-kubernetes-validations");
    // The mode keeps its type: it is a field to select by.
    schema["properties"]["spec"] = json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"mode": {"type": "string"}},
    });
    control_plane
        .kubectl_with_input(&["replace", "--filename=-"], &definition.to_string())
        .expect_success();
    let admin = control_plane.admin().await;
    eventually("the weakened schema is served", PATIENCE, || async {
        try_apply_tier(&admin, "probe", "{mode: Nonsense}")
            .await
            .map_err(|error| error.to_string())
    })
    .await;
    control_plane
        .kubectl(&["delete", "isolationtier", "probe"])
        .expect_success();
}

// Namespace `old` under tier `strict`, namespace `elsewhere` under tier `other`; gives back what stands in `old`.
async fn govern(admin: &Client) -> BTreeMap<String, NetworkPolicy> {
    apply_tier(admin, "strict", &selecting("strict", GOOD)).await;
    apply_tier(admin, "other", &selecting("other", "mode: Enforce")).await;
    create_namespace(admin, "old", &[("scenario", "strict")]).await;
    create_namespace(admin, "elsewhere", &[("scenario", "other")]).await;
    eventually_governed(admin, "elsewhere", "other", &BOTH_BASES).await;
    let before = eventually_governed(admin, "old", "strict", &POLICIES).await;
    eventually_ready(admin, "strict").await;
    before
}

async fn eventually_stalled(admin: &Client, tier: &str, named: &str) -> IsolationTierStatus {
    let status = eventually_status(admin, tier, "stalled", |status| {
        let stalled = condition(status, "Stalled");
        stalled.is_some_and(|stalled| stalled.reason == "InvalidSpec" && stalled.message.contains(named))
    })
    .await;
    assert!(is_condition(&status, "Ready", "False"), "{status:?}");
    assert!(has_problem(&status, "InvalidSpec", None), "{status:?}");
    status
}
