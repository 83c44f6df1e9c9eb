//! What presets resolve to: policies follow the cluster.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::harness::scenario_facts::{allows, eventually_rules, ports_of_pods};
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{
    BOTH_BASES, apply_tier, eventually_governed, eventually_ready, mark, selecting, settled_writes,
};
use crate::harness::{ControlPlaneOptions, Controller, Observer, OwnControlPlane};

const EGRESS: &str = BOTH_BASES[0];
const INGRESS: &str = BOTH_BASES[1];
const DNS: &str = "mode: Enforce\nallow:\n- {name: resolve-names, preset: DNS}\n";

#[tokio::test(flavor = "multi_thread")]
async fn policies_follow_the_api_server_and_the_dns_ports() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions {
        controller_manager: false,
        ..ControlPlaneOptions::default()
    })
    .await;
    let _controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let extra = "cofferdam-allow-api-egress";
    let spec =
        format!("{DNS}- {{name: api, preset: KubeAPIServer, podSelector: {{matchLabels: {{needs-api: 'true'}}}}}}\n");
    apply_tier(&admin, "follows", &selecting("follows", &spec)).await;
    create_namespace(&admin, "follows", &[("scenario", "follows")]).await;
    let names = [extra, EGRESS, INGRESS];
    eventually_governed(&admin, "follows", "follows", &names).await;

    // The API server moves: only the policy that speaks of it is written, once.
    let start = mark(&control_plane).await;
    let moved = json!({"endpoints": [{"addresses": ["192.0.2.77"]}], "ports": [{"name": "https", "port": 7443, "protocol": "TCP"}]});
    patch_slice(&admin, "default", "kubernetes", moved).await;
    let rules = eventually_rules(&admin, "follows", extra, &names, |rules| {
        allows(rules, "192.0.2.77/32", 7443)
    })
    .await;
    assert!(!rules.to_string().contains("192.0.2.10"), "the old address: {rules}");
    assert_eq!(
        settled_writes(&control_plane, start, "follows").await,
        [format!("update {extra}")]
    );

    // A named targetPort has no number in the Service: it is that of the EndpointSlices.
    let start = mark(&control_plane).await;
    let ports: Value = ["UDP", "TCP"]
        .iter()
        .map(|protocol| {
            let name = format!("dns-{}", protocol.to_lowercase());
            json!({"name": name, "port": 53, "protocol": protocol, "targetPort": name})
        })
        .collect();
    let patch = json!({"spec": {"ports": ports}});
    Api::<Service>::namespaced(admin.clone(), "kube-system")
        .patch("kube-dns", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    let listening = json!({"ports": [
        {"name": "dns-udp", "port": 5353, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 5354, "protocol": "TCP"},
        {"name": "metrics", "port": 9153, "protocol": "TCP"},
    ]});
    patch_slice(&admin, "kube-system", "kube-dns-a", listening).await;
    let numbers = json!([{"port": 5354, "protocol": "TCP"}, {"port": 5353, "protocol": "UDP"}]);
    let rules = eventually_rules(&admin, "follows", EGRESS, &names, |rules| {
        ports_of_pods(rules) == numbers
    })
    .await;
    assert!(allows(&rules, "10.0.0.10/32", 53), "the Service's own port: {rules}");
    let writes = settled_writes(&control_plane, start, "follows").await;
    // Between the two edits the names do not agree, and the last good policy stays.
    assert_eq!(writes, [format!("update {EGRESS}")]);
    eventually_ready(&admin, "follows").await;
    Observer::of(["follows"]).verdict(&control_plane).await;
}

async fn patch_slice(admin: &Client, namespace: &str, name: &str, patch: Value) {
    Api::<EndpointSlice>::namespaced(admin.clone(), namespace)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}
