//! Tenants who write what no honest client writes, and ends that come in the worst order.

use std::collections::BTreeMap;

use bytes::Bytes;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::own_control_plane::OwnControlPlane;
use crate::harness::scenario_namespaces::{create_namespace, let_tenant_edit, unique_name};
use crate::harness::scenario_policies::{ALLOWANCES, Governed, OTHER_MANAGER, POLICIES};
use crate::harness::scenario_tiers::{apply_tier, eventually_governed, policies_of, selecting};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Observer};

const INGRESS: &str = "cofferdam-baseline-ingress";
/// The API server takes it, and it is later than what our types can hold.
const LATEST_TIME: &str = "9999-12-31T23:59:59Z";
/// `TotalAnnotationSizeLimitB` of `k8s.io/apimachinery/pkg/api/validation`.
const MOST_ANNOTATION_BYTES: usize = 256 << 10;

fn policy(value: Value) -> NetworkPolicy {
    serde_json::from_value(value).unwrap()
}

// Raw, since the client's own types cannot hold the time either.
async fn read(client: &Client, namespace: &str, policy: &str) -> Value {
    let request = http::Request::get(path(namespace, policy)).body(Vec::new()).unwrap();
    client.request(request).await.unwrap()
}

fn path(namespace: &str, policy: &str) -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{policy}")
}

// Opens a policy, in a revision that no parser takes.
async fn open_unreadably(tenant: &Client, namespace: &str, policy: &str) {
    let mut object = read(tenant, namespace, policy).await;
    object["spec"]["ingress"] = json!([{}]);
    object["metadata"]["managedFields"] = json!([{
        "manager": OTHER_MANAGER, "operation": "Update", "apiVersion": "networking.k8s.io/v1",
        "time": LATEST_TIME, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:policyTypes": {}}},
    }]);
    let body = serde_json::to_vec(&object).unwrap();
    let request = http::Request::put(path(namespace, policy)).header("content-type", "application/json");
    let stored: Value = tenant.request(request.body(body).unwrap()).await.unwrap();
    assert!(stored.to_string().contains(LATEST_TIME), "{stored}");
}

// Such a policy is healed like any other, and the policies of every other namespace can still be listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_cannot_be_read_hides_no_policy_and_stops_no_list() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let governed = Governed::on(&control_plane, "hidden").await;
    let closed = read(&governed.admin, &governed.name, INGRESS).await["spec"].clone();
    let tenant = control_plane.client(Identity::Tenant).await;
    let is_closed_again = async || {
        eventually("the policy is closed again", PATIENCE, || async {
            let spec = read(&governed.admin, &governed.name, INGRESS).await["spec"].clone();
            if spec == closed { Ok(()) } else { Err(spec.to_string()) }
        })
        .await;
        governed.is_protected().await;
    };
    open_unreadably(&tenant, &governed.name, INGRESS).await;
    is_closed_again().await;

    controller.kill9();
    open_unreadably(&tenant, &governed.name, INGRESS).await;
    let _controller = Controller::start(&control_plane, &[]).await;
    is_closed_again().await;
}

/// Creates a policy of these bytes. What the API server stored.
async fn create(tenant: &Client, namespace: &str, policy: &str, body: Vec<u8>) -> Bytes {
    let path = path(namespace, "");
    let request = http::Request::post(path.trim_end_matches('/')).header("content-type", "application/json");
    let answer = tenant.send(request.body(body.into()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), http::StatusCode::CREATED, "{policy}");
    answer.into_body().collect_bytes().await.unwrap()
}

// Managed fields with these keys, as bytes: the API server stores and gives back what it was sent.
async fn create_with_managed_fields(tenant: &Client, namespace: &str, policy: &str, fields: &[u8]) {
    let before = format!(
        r#"{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{{"name":"{policy}","managedFields":[{{
        "manager":"{OTHER_MANAGER}","operation":"Update","apiVersion":"networking.k8s.io/v1","time":"2026-01-01T00:00:00Z",
        "fieldsType":"FieldsV1","fieldsV1":"#
    );
    let body = [before.as_bytes(), fields, br#"}]},"spec":{"podSelector":{}}}"#].concat();
    let stored = create(tenant, namespace, policy, body).await;
    let is_kept = stored.windows(fields.len()).any(|part| part == fields);
    assert!(is_kept, "{policy}: {}", String::from_utf8_lossy(&stored));
}

// Bytes that are no text, and an object deeper than any parser goes, in a namespace that nobody even governs: each would end
// every list and watch of policies, and so the protection of all namespaces.
#[tokio::test(flavor = "multi_thread")]
async fn managed_fields_that_no_parser_takes_stop_no_list_and_no_watch() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let governed = Governed::on(&control_plane, "bystander").await;
    let hostile = unique_name("hostile");
    create_namespace(&governed.admin, &hostile, &[]).await;
    let_tenant_edit(&governed.admin, &hostile).await;
    let tenant = control_plane.client(Identity::Tenant).await;
    let deep = format!("{}{{}}{}", r#"{"f:a":"#.repeat(1000), "}".repeat(1000));
    for (name, fields) in [("deep", deep.as_bytes()), ("no-text", b"{\"f:\xff\xfe\":{}}")] {
        create_with_managed_fields(&tenant, &hostile, name, fields).await;
    }
    governed.tenant.delete(INGRESS, &DeleteParams::default()).await.unwrap();
    governed.is_healed(&controller, "missing", 1).await;

    controller.kill9();
    governed.tenant.delete(INGRESS, &DeleteParams::default()).await.unwrap();
    let _controller = Controller::start(&control_plane, &[]).await;
    governed.is_as_rendered().await;
    governed.is_protected().await;
}

/// What `config/manager` gives, in KiB.
const MEMORY_LIMIT: u64 = 128 << 10;

/// The most memory that the process had, in KiB.
fn peak_memory(controller: &Controller) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", controller.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

// Rules that say nothing take three bytes each to write and fifty in memory: three such policies in one namespace ended the
// process, and each new one as it listed them.
#[tokio::test(flavor = "multi_thread")]
async fn policies_of_a_million_empty_rules_do_not_fill_the_memory() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let governed = Governed::on(&control_plane, "bystander").await;
    let hostile = unique_name("hostile");
    create_namespace(&governed.admin, &hostile, &[]).await;
    let_tenant_edit(&governed.admin, &hostile).await;
    let tenant = control_plane.client(Identity::Tenant).await;
    // The largest that etcd takes, and many of those that are read.
    for (number, rules) in [600_000; 6].into_iter().chain([30_000; 40]).enumerate() {
        let body = format!(
            r#"{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{{"name":"hollow-{number}"}},
            "spec":{{"podSelector":{{}},"ingress":[{}]}}}}"#,
            vec!["{}"; rules].join(",")
        );
        create(&tenant, &hostile, &format!("hollow-{number}"), body.into_bytes()).await;
    }
    governed.tenant.delete(INGRESS, &DeleteParams::default()).await.unwrap();
    governed.is_healed(&controller, "missing", 1).await;
    let peak = peak_memory(&controller);
    println!("peak memory by events: {peak} KiB");
    assert!(peak < MEMORY_LIMIT, "{peak} KiB by events");

    controller.kill9();
    governed.tenant.delete(INGRESS, &DeleteParams::default()).await.unwrap();
    let controller = Controller::start(&control_plane, &[]).await;
    governed.is_as_rendered().await;
    let peak = peak_memory(&controller);
    println!("peak memory by a list: {peak} KiB");
    assert!(peak < MEMORY_LIMIT, "{peak} KiB by a list");
}

// What a tenant wrote is kept, but never at the price of the policy that must stand there.
#[tokio::test(flavor = "multi_thread")]
async fn annotations_up_to_the_limit_do_not_block_protection() {
    let (control_plane, controller) = (ControlPlane::shared().await, Controller::shared().await);
    let admin = control_plane.admin().await;
    let name = unique_name("bloated");
    create_namespace(&admin, &name, &[("scenario", &name)]).await;
    let_tenant_edit(&admin, &name).await;
    let tenant: Api<NetworkPolicy> = Api::namespaced(control_plane.client(Identity::Tenant).await, &name);
    let key = "example.com/bloat";
    let bloat = "x".repeat(MOST_ANNOTATION_BYTES - key.len());
    let open = policy(json!({
        "metadata": {"name": INGRESS, "annotations": BTreeMap::from([(key, bloat)])},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
    }));
    tenant.create(&PostParams::default(), &open).await.unwrap();
    apply_tier(&admin, &name, &selecting(&name, ALLOWANCES)).await;

    eventually_governed(&admin, &name, &name, &POLICIES).await;
    let text = controller.metrics().text().to_owned();
    assert!(!text.contains("reason=\"Invalid\"} 1"), "{text}");
}

// They cost nobody anything but the object: its limit leaves that much less for the rules of a tier.
#[tokio::test(flavor = "multi_thread")]
async fn bloated_managed_fields_are_reset_with_the_heal() {
    let (governed, controller) = Governed::on_shared("managed").await;
    let tenant = governed.control_plane.client(Identity::Tenant).await;
    let mut object = read(&tenant, &governed.name, INGRESS).await;
    let fields: BTreeMap<String, Value> = (0..4000)
        .map(|number| (format!("f:example.com/bloat-{number}"), json!({})))
        .collect();
    object["spec"]["ingress"] = json!([{}]);
    object["metadata"]["managedFields"].as_array_mut().unwrap().push(json!({
        "manager": OTHER_MANAGER, "operation": "Update", "apiVersion": "networking.k8s.io/v1",
        "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": fields}},
    }));
    let body = serde_json::to_vec(&object).unwrap();
    let request = http::Request::put(path(&governed.name, INGRESS)).header("content-type", "application/json");
    let stored: Value = tenant.request(request.body(body).unwrap()).await.unwrap();
    assert!(stored["metadata"]["managedFields"].to_string().len() > 64 << 10);

    governed.is_healed(controller, "modified", 1).await;
    let healed = read(&tenant, &governed.name, INGRESS).await;
    let left = healed["metadata"]["managedFields"].to_string().len();
    assert!(left < 4 << 10, "{left} bytes");
}

// The API server deletes the tiers of a definition one by one. The weaker one must not inherit what the stronger one held.
#[tokio::test(flavor = "multi_thread")]
async fn the_definition_deleted_hands_no_namespace_to_a_weaker_tier() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    let names: Vec<String> = (0..5).map(|_| unique_name("both")).collect();
    // By name, the strong ones are deleted first and last.
    for (tier, rest) in [
        ("a-strong", format!("precedence: 100\n{ALLOWANCES}")),
        (
            "b-weak",
            String::from("mode: Enforce\nisolate: [Ingress]\nallow: [{name: all, from: [{namespaceSelector: {}}]}]\n"),
        ),
        ("c-weaker", String::from("mode: Enforce\nisolate: [Egress]\n")),
    ] {
        apply_tier(&admin, tier, &selecting("both", &rest)).await;
    }
    for name in &names {
        create_namespace(&admin, name, &[("scenario", "both")]).await;
    }
    for name in &names {
        eventually_governed(&admin, name, "a-strong", &POLICIES).await;
    }
    let mut before = Vec::new();
    for name in &names {
        before.push(specs(policies_of(&admin, name).await.unwrap()));
    }
    let mark = control_plane.audit_log().mark();

    let definitions: Api<CustomResourceDefinition> = Api::all(admin.clone());
    definitions
        .delete("isolationtiers.cofferdam.dev", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the definition is gone", PATIENCE, || async {
        match definitions.get_opt("isolationtiers.cofferdam.dev").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    eventually("the controller misses it", PATIENCE, || async {
        match controller.get("/readyz") {
            Ok((503, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let writes = control_plane.audit_log().writes_since(mark, Identity::Controller);
    let policies = writes
        .iter()
        .filter(|write| write.qualified_resource().contains("networkpolicies"));
    let written: Vec<_> = policies.map(|write| write.summary()).collect();
    assert!(written.is_empty(), "{written:#?}");
    for (name, before) in names.iter().zip(before) {
        assert_eq!(specs(policies_of(&admin, name).await.unwrap()), before, "{name}");
    }
    Observer::of(names).verdict(&control_plane).await;
}

fn specs(policies: BTreeMap<String, NetworkPolicy>) -> BTreeMap<String, (Option<String>, Value)> {
    let marked = |policy: NetworkPolicy| {
        let tier = policy.labels().get("cofferdam.dev/tier").cloned();
        (tier, serde_json::to_value(policy.spec).unwrap())
    };
    policies
        .into_iter()
        .map(|(name, policy)| (name, marked(policy)))
        .collect()
}
