//! A fact that is not known is never taken for empty: what stands stays, and what runs is not cut off.

use std::time::Duration;

use cofferdam::api::IsolationTierStatus;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Api, Client};
use serde_json::json;

use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_facts::{allows, eventually_rules, ports_of_pods};
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, condition, eventually_governed, eventually_policies, eventually_ready, eventually_status,
    eventually_status_within, has_problem, is_condition, mark, policies_of, selecting, settled_writes,
};
use crate::harness::{ControlPlaneOptions, Controller, Observer, OwnControlPlane, cluster_facts, eventually};

const EGRESS: &str = BOTH_BASES[0];
const INGRESS: &str = BOTH_BASES[1];
const DNS: &str = "mode: Enforce\nallow:\n- {name: resolve-names, preset: DNS}\n";
const NONE: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn when_dns_vanishes_the_last_good_policy_stays_and_newcomers_are_denied() {
    let control_plane = start(true).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "vanishes", &selecting("vanishes", DNS)).await;
    create_namespace(&admin, "old", &[("scenario", "vanishes")]).await;
    let before = eventually_governed(&admin, "old", "vanishes", &BOTH_BASES).await;
    eventually_ready(&admin, "vanishes").await;

    let start = mark(&control_plane).await;
    Api::<Service>::namespaced(admin.clone(), "kube-system")
        .delete("kube-dns", &DeleteParams::default())
        .await
        .unwrap();
    eventually_unresolved(&admin, "vanishes", "kube-system/kube-dns").await;
    create_namespace(&admin, "new", &[("scenario", "vanishes")]).await;
    eventually_denied(&admin, "new", "vanishes").await;
    assert_eq!(settled_writes(&control_plane, start, "old").await, NONE);
    assert_eq!(policies_of(&admin, "old").await.unwrap(), before);
    // Also after a restart, which knows the last good policy by its annotation alone.
    assert_eq!(controller.sigterm().await, 0);
    let _controller = Controller::start(&control_plane, &[]).await;
    delete_policy(&admin, "old", INGRESS).await;
    eventually_policies(&admin, "old", &BOTH_BASES, |_| Ok(())).await;
    assert_eq!(
        settled_writes(&control_plane, start, "old").await,
        [format!("create {INGRESS}")]
    );
    assert_eq!(policies_of(&admin, "old").await.unwrap()[EGRESS], before[EGRESS]);

    let back = mark(&control_plane).await;
    cluster_facts::create(&control_plane);
    eventually_rules(&admin, "new", EGRESS, &BOTH_BASES, |rules| {
        allows(rules, "10.0.0.10/32", 53)
    })
    .await;
    assert_eq!(settled_writes(&control_plane, back, "old").await, NONE);
    eventually_ready(&admin, "vanishes").await;
    Observer::of(["old", "new"]).verdict(&control_plane).await;
}

// What runs in a namespace older than its tier is not cut off from DNS by an enforcement that cannot see DNS.
#[tokio::test(flavor = "multi_thread")]
async fn without_dns_an_older_namespace_waits_and_a_younger_one_is_denied_until_it_appears() {
    let control_plane = start(false).await;
    let _controller = Controller::start(&control_plane, &["--dns-service", "names/resolver"]).await;
    let admin = control_plane.admin().await;
    let older = create_namespace(&admin, "older", &[("scenario", "unresolved")]).await;
    eventually_in_an_earlier_second(&older).await;
    apply_tier(&admin, "unresolved", &selecting("unresolved", DNS)).await;
    create_namespace(&admin, "younger", &[("scenario", "unresolved")]).await;

    let status = eventually_unresolved(&admin, "unresolved", "names/resolver").await;
    let message = &condition(&status, "Ready").unwrap().message;
    for named in ["resolve-names", "--dns-service"] {
        assert!(message.contains(named), "expected {named} in: {message}");
    }
    assert!(!is_condition(&status, "Stalled", "True"), "{status:?}");
    assert!(is_condition(&status, "Reconciling", "True"), "{status:?}");
    eventually_denied(&admin, "younger", "unresolved").await;
    eventually_governed(&admin, "older", "unresolved", &[INGRESS]).await;
    assert_eq!(
        settled_writes(&control_plane, 0, "older").await,
        [format!("create {INGRESS}")]
    );
    eventually_status(&admin, "unresolved", "one waits", |status| {
        status
            .namespaces
            .is_some_and(|counts| (counts.selected, counts.pending, counts.protected) == (2, 1, 1))
    })
    .await;

    let patience = Duration::from_secs(75);
    let stalled = eventually_status_within(&admin, "unresolved", "stalled", patience, |status| {
        is_condition(status, "Stalled", "True")
    })
    .await;
    let since = |type_: &str| condition(&stalled, type_).unwrap().last_transition_time.0;
    let waited = since("Stalled").duration_since(since("Ready")).as_secs();
    assert!((60..70).contains(&waited), "stalled after {waited} s");
    assert_eq!(condition(&stalled, "Stalled").unwrap().reason, "AllowanceUnresolved");
    assert!(condition(&stalled, "Reconciling").is_none(), "{stalled:?}");

    create_namespace(&admin, "names", &[]).await;
    control_plane
        .kubectl_with_input(&["create", "--filename=-"], RESOLVER)
        .expect_success();
    for namespace in ["older", "younger"] {
        let rules = eventually_rules(&admin, namespace, EGRESS, &BOTH_BASES, |rules| {
            allows(rules, "10.0.0.53/32", 53)
        })
        .await;
        assert_eq!(ports_of_pods(&rules), json!([{"port": 5353, "protocol": "UDP"}]));
    }
    let status = eventually_ready(&admin, "unresolved").await;
    assert!(condition(&status, "Stalled").is_none(), "{status:?}");
    assert!(status.problems.is_empty(), "{status:?}");
    assert_eq!(
        settled_writes(&control_plane, 0, "older").await,
        [format!("create {EGRESS}"), format!("create {INGRESS}")]
    );
    Observer::of(["older", "younger"]).verdict(&control_plane).await;
}

// Nobody is helped by a tier that is not ready over what it only observes, or over a direction that it leaves alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_unresolved_matters_only_where_a_tier_isolates_that_direction() {
    let control_plane = start(false).await;
    let _controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    create_namespace(&admin, "payments", &[("scenario", "payments")]).await;
    let observing = DNS.replace("Enforce", "Observe");
    apply_tier(&admin, "observing", &selecting("payments", &observing)).await;
    let inward = format!("{DNS}isolate: [Ingress]\n");
    apply_tier(&admin, "inward", &selecting("payments", &inward)).await;
    apply_tier(&admin, "nowhere", &selecting("nowhere", DNS)).await;

    eventually_governed(&admin, "payments", "inward", &[INGRESS]).await;
    let status = eventually_ready(&admin, "inward").await;
    assert!(has_problem(&status, "AllowanceHasNoEffect", None), "{status:?}");
    assert!(!has_problem(&status, "AllowanceUnresolved", None), "{status:?}");
    for tier in ["observing", "nowhere"] {
        let status = eventually_ready(&admin, tier).await;
        assert!(has_problem(&status, "AllowanceUnresolved", None), "{tier}: {status:?}");
    }
    Observer::of(["payments"]).verdict(&control_plane).await;
}

// The base would cut off those pods too.
#[tokio::test(flavor = "multi_thread")]
async fn an_unresolved_allowance_for_some_pods_keeps_the_base_waiting_too() {
    let control_plane = start(false).await;
    let _controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let older = create_namespace(&admin, "older", &[("scenario", "clients")]).await;
    eventually_in_an_earlier_second(&older).await;
    let some_pods = "
mode: Enforce
allow:
- {name: api, preset: KubeAPIServer, podSelector: {matchLabels: {needs-api: 'true'}}}
";
    apply_tier(&admin, "clients", &selecting("clients", some_pods)).await;
    create_namespace(&admin, "younger", &[("scenario", "clients")]).await;
    let status = eventually_unresolved(&admin, "clients", "default/kubernetes").await;
    assert_eq!(status.problems.len(), 1, "said once: {:?}", status.problems);
    eventually_denied(&admin, "younger", "clients").await;
    eventually_governed(&admin, "older", "clients", &[INGRESS]).await;
    eventually_status(&admin, "clients", "one waits", |status| {
        status
            .namespaces
            .is_some_and(|counts| (counts.selected, counts.pending, counts.protected) == (2, 1, 1))
    })
    .await;
    assert_eq!(
        settled_writes(&control_plane, 0, "older").await,
        [format!("create {INGRESS}")]
    );

    cluster_facts::create(&control_plane);
    let extra = "cofferdam-allow-api-egress";
    for namespace in ["older", "younger"] {
        eventually_rules(&admin, namespace, extra, &[extra, EGRESS, INGRESS], |rules| {
            allows(rules, "192.0.2.10/32", 6443)
        })
        .await;
    }
    eventually_ready(&admin, "clients").await;
    Observer::of(["older", "younger"]).verdict(&control_plane).await;
}

// A DNS of another name, whose pods listen where only the EndpointSlice says.
const RESOLVER: &str = "
apiVersion: v1
kind: Service
metadata: {name: resolver, namespace: names}
spec:
  clusterIP: 10.0.0.53
  selector: {app: resolver}
  ports: [{name: dns, port: 53, protocol: UDP, targetPort: resolve}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: resolver-a, namespace: names, labels: {kubernetes.io/service-name: resolver}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.53]}]
ports: [{name: dns, port: 5353, protocol: UDP}]
";

async fn start(cluster_facts: bool) -> OwnControlPlane {
    OwnControlPlane::start(ControlPlaneOptions {
        controller_manager: false,
        cluster_facts,
        ..ControlPlaneOptions::default()
    })
    .await
}

async fn delete_policy(admin: &Client, namespace: &str, name: &str) {
    Api::<NetworkPolicy>::namespaced(admin.clone(), namespace)
        .delete(name, &DeleteParams::default())
        .await
        .unwrap();
}

// creationTimestamp has whole seconds, so "older" shows only once the next one has begun.
async fn eventually_in_an_earlier_second(namespace: &Namespace) {
    let created = namespace.metadata.creation_timestamp.as_ref().unwrap().0;
    eventually("the next second", PATIENCE, || async {
        let now = Timestamp::now();
        if now.as_second() > created.as_second() {
            Ok(())
        } else {
            Err(now.to_string())
        }
    })
    .await;
}

// Both directions closed, and nothing let through: no rules at all, let alone one without peers.
async fn eventually_denied(admin: &Client, namespace: &str, tier: &str) {
    let policies = eventually_governed(admin, namespace, tier, &BOTH_BASES).await;
    for (name, policy) in policies {
        let spec = policy.spec.unwrap();
        assert_eq!((spec.ingress, spec.egress), (None, None), "{namespace}/{name}");
    }
}

async fn eventually_unresolved(admin: &Client, tier: &str, looked_for: &str) -> IsolationTierStatus {
    eventually_status(admin, tier, "unresolved", |status| {
        condition(status, "Ready").is_some_and(|ready| {
            ready.status == "False" && ready.reason == "AllowanceUnresolved" && ready.message.contains(looked_for)
        })
    })
    .await
}
