//! The harness can be wrong too: that its judges do find what they look for, and that nothing outlives the tests.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;

use cofferdam::api::{Direction, IsolationTier};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde_json::{Value, json};

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::free_port::free_port;
use crate::harness::granted_verbs::granted_verbs;
use crate::harness::owned_process::OwnedProcess;
use crate::harness::scenario_namespaces::{create_namespace, let_tenant_edit, unique_name};
use crate::harness::{AuditEvent, ControlPlane, Identity, Observer};

fn policy(name: &str, spec: Value) -> NetworkPolicy {
    let metadata = json!({"name": name, "annotations": {"cofferdam.dev/rendered": "1234"}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn good_baseline() -> NetworkPolicy {
    let peers = json!([{"from": [{"podSelector": {}}]}]);
    policy(
        "cofferdam-baseline-ingress",
        json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": peers}),
    )
}

async fn policies_as(control_plane: &ControlPlane, identity: Identity, namespace: &str) -> Api<NetworkPolicy> {
    Api::namespaced(control_plane.client(identity).await, namespace)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_observer_accepts_a_declared_release_and_what_others_do() {
    let control_plane = ControlPlane::shared().await;
    let admin = control_plane.admin().await;
    let namespace = unique_name("observer-content");
    create_namespace(&admin, &namespace, &[]).await;
    let_tenant_edit(&admin, &namespace).await;
    let controller = policies_as(control_plane, Identity::Controller, &namespace).await;
    let tenant = policies_as(control_plane, Identity::Tenant, &namespace).await;

    controller
        .create(&PostParams::default(), &good_baseline())
        .await
        .unwrap();
    let open = Patch::Merge(json!({"spec": {"ingress": [{}]}}));
    tenant
        .patch("cofferdam-baseline-ingress", &PatchParams::default(), &open)
        .await
        .unwrap();
    tenant
        .delete("cofferdam-baseline-ingress", &DeleteParams::default())
        .await
        .unwrap();
    controller
        .create(&PostParams::default(), &good_baseline())
        .await
        .unwrap();
    controller
        .delete("cofferdam-baseline-ingress", &DeleteParams::default())
        .await
        .unwrap();

    let observer = Observer::of([&namespace]);
    let events = control_plane.audit_log().settled(control_plane).await;
    let violations = observer.violations_in(&events);
    assert!(
        matches!(violations.as_slice(), [one] if one.contains("its direction is open")),
        "{violations:?}"
    );
    observer
        .expect_release(&namespace, Direction::Ingress)
        .verdict(control_plane)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_observer_counts_a_release_that_a_finalizer_holds() {
    let control_plane = ControlPlane::shared().await;
    let admin = control_plane.admin().await;
    let namespace = unique_name("observer-held");
    create_namespace(&admin, &namespace, &[]).await;
    let_tenant_edit(&admin, &namespace).await;
    let controller = policies_as(control_plane, Identity::Controller, &namespace).await;
    let tenant = policies_as(control_plane, Identity::Tenant, &namespace).await;
    let hold = async |finalizers: Value| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        tenant
            .patch("cofferdam-baseline-ingress", &PatchParams::default(), &patch)
            .await
            .unwrap();
    };

    controller
        .create(&PostParams::default(), &good_baseline())
        .await
        .unwrap();
    hold(json!(["example.com/held"])).await;
    controller
        .delete("cofferdam-baseline-ingress", &DeleteParams::default())
        .await
        .unwrap();
    hold(Value::Null).await;

    let events = control_plane.audit_log().settled(control_plane).await;
    let violations = Observer::of([&namespace]).violations_in(&events);
    assert!(
        matches!(violations.as_slice(), [one] if one.contains("its direction is open")),
        "{violations:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_observer_finds_each_kind_of_violation() {
    let control_plane = ControlPlane::shared().await;
    let namespace = unique_name("observer-discontent");
    create_namespace(&control_plane.admin().await, &namespace, &[]).await;
    let controller = policies_as(control_plane, Identity::Controller, &namespace).await;
    let create = async |policy: NetworkPolicy| controller.create(&PostParams::default(), &policy).await.unwrap();

    create(policy(
        "cofferdam-baseline-egress",
        json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]}),
    ))
    .await;
    let narrow = json!({"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress", "Egress"]});
    create(policy("cofferdam-baseline-ingress", narrow)).await;
    controller
        .delete("cofferdam-baseline-ingress", &DeleteParams::default())
        .await
        .unwrap();
    let mut unannotated = good_baseline();
    unannotated.metadata.annotations = None;
    create(unannotated).await;
    create(policy(
        "somebody-elses",
        json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
    ))
    .await;
    let config_maps: Api<ConfigMap> = Api::namespaced(control_plane.client(Identity::Controller).await, &namespace);
    config_maps.list(&kube::api::ListParams::default()).await.unwrap_err();

    let events = control_plane.audit_log().settled(control_plane).await;
    let violations = Observer::of([&namespace]).violations_in(&events).join("\n");
    for expected in [
        "a rule without peers",
        "has podSelector",
        "has policyTypes",
        "replaced in two steps",
        "lacks the annotation",
        "a write to what is not ours",
        "the shipped role lacks a permission",
    ] {
        assert!(violations.contains(expected), "expected `{expected}` in:\n{violations}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_shows_who_did_what() {
    let control_plane = ControlPlane::shared().await;
    let admin = control_plane.admin().await;
    let namespace = unique_name("audit");
    create_namespace(&admin, &namespace, &[]).await;
    let mark = control_plane.audit_log().mark();
    let controller = policies_as(control_plane, Identity::Controller, &namespace).await;
    controller
        .create(&PostParams::default(), &good_baseline())
        .await
        .unwrap();
    controller
        .create(&PostParams::default(), &good_baseline())
        .await
        .unwrap_err();
    control_plane.audit_log().settled(control_plane).await;

    let writes = control_plane.audit_log().writes_since(mark, Identity::Controller);
    let writes: Vec<&Arc<AuditEvent>> = writes.iter().filter(|event| event.namespace == namespace).collect();
    assert_eq!(writes.iter().map(|event| event.code).collect::<Vec<_>>(), [201, 409]);
    assert_eq!(writes[0].name, "cofferdam-baseline-ingress");
    assert_eq!(
        writes[0].response_object.as_ref().unwrap()["spec"]["policyTypes"],
        json!(["Ingress"])
    );
    assert_eq!(writes[1].reason, "AlreadyExists");
    let used = control_plane.audit_log().verbs_used_by(Identity::Controller);
    let create = ("networking.k8s.io/networkpolicies".to_owned(), "create".to_owned());
    assert!(used.contains(&create), "{used:?}");
    let granted: BTreeSet<_> = granted_verbs(admin, "cofferdam-controller").await;
    assert!(granted.contains(&create), "{granted:?}");
}

// A 403 that no role would have prevented.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_into_a_terminating_namespace_is_not_a_missing_permission() {
    let control_plane = ControlPlane::shared().await;
    let namespace = unique_name("terminating");
    create_namespace(&control_plane.admin().await, &namespace, &[]).await;
    let hold = |finalizers: &str| {
        let patch = format!("--patch={{\"metadata\":{{\"finalizers\":{finalizers}}}}}");
        control_plane
            .kubectl(&["patch", "namespace", &namespace, "--type=merge", &patch])
            .expect_success();
    };
    hold("[\"example.com/held\"]");
    control_plane
        .kubectl(&["delete", "namespace", &namespace, "--wait=false"])
        .expect_success();
    let controller = policies_as(control_plane, Identity::Controller, &namespace).await;
    eventually("the API server refuses the write", PATIENCE, || async {
        match controller.create(&PostParams::default(), &good_baseline()).await {
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let events = control_plane.audit_log().settled(control_plane).await;
    let refused = events
        .iter()
        .find(|event| event.namespace == namespace && event.code == 403)
        .unwrap();
    assert!(!refused.is_missing_permission(), "{refused:?}");
    hold("null");
    control_plane
        .kubectl(&["wait", "--for=delete", "--timeout=30s", "namespace", &namespace])
        .expect_success();
}

// A garbage collector that started before the CRD would notice a deleted tier only half a minute later.
#[tokio::test(flavor = "multi_thread")]
async fn the_garbage_collector_knows_isolation_tiers() {
    let control_plane = ControlPlane::shared().await;
    let admin = control_plane.admin().await;
    let name = unique_name("collected");
    let namespace = create_namespace(&admin, &name, &[]).await;
    let tiers: Api<IsolationTier> = Api::all(admin);
    let tier = json!({
        "metadata": {"name": name},
        "spec": {"mode": "Observe", "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
    });
    let tier = tiers
        .create(&PostParams::default(), &serde_json::from_value(tier).unwrap())
        .await
        .unwrap();
    let mut policy = good_baseline();
    policy.metadata.owner_references = Some(vec![tier.owner_ref(&()).unwrap(), namespace.owner_ref(&()).unwrap()]);
    let policies = policies_as(control_plane, Identity::Admin, &name).await;
    policies.create(&PostParams::default(), &policy).await.unwrap();

    tiers.delete(&name, &DeleteParams::background()).await.unwrap();
    eventually("the namespace is the only owner left", PATIENCE, || async {
        let policy = policies
            .get("cofferdam-baseline-ingress")
            .await
            .map_err(|error| error.to_string())?;
        let owners = policy.metadata.owner_references.unwrap_or_default();
        if owners.len() == 1 && owners[0].kind == "Namespace" {
            Ok(())
        } else {
            Err(format!("{owners:?}"))
        }
    })
    .await;
}

#[test]
fn ports_are_never_issued_twice() {
    let ports: BTreeSet<u16> = (0..100).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 100);
}

// SIGKILL leaves a test process no chance to clean up.
#[tokio::test(flavor = "multi_thread")]
async fn children_die_with_a_killed_test_process() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let mut test_process = Command::new(std::env::current_exe().unwrap())
        .args(["harness_itself::owns_a_child_for_ever", "--exact", "--ignored"])
        .env("PID_FILE", &pid_file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = eventually("the test process owns a child", PATIENCE, || async {
        let pid = std::fs::read_to_string(&pid_file).map_err(|error| error.to_string())?;
        if std::path::Path::new("/proc").join(&pid).exists() {
            Ok(pid)
        } else {
            Err(format!("no process {pid}"))
        }
    })
    .await;
    test_process.kill().unwrap();
    test_process.wait().unwrap();
    eventually("the child is dead", PATIENCE, || async {
        match std::fs::read_to_string(format!("/proc/{child}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => Err(stat),
            _ => Ok(()),
        }
    })
    .await;
}

#[test]
#[ignore = "the other half of children_die_with_a_killed_test_process, which runs and kills it"]
fn owns_a_child_for_ever() {
    let Some(pid_file) = std::env::var_os("PID_FILE") else {
        return;
    };
    let mut sleep = Command::new("sleep");
    sleep.arg("600");
    let child = OwnedProcess::spawn("sleep", &sleep, std::path::Path::new(&pid_file).with_extension("log"));
    let partial = std::path::Path::new(&pid_file).with_extension("partial");
    std::fs::write(&partial, child.pid().to_string()).unwrap();
    std::fs::rename(&partial, &pid_file).unwrap();
    loop {
        std::thread::park();
    }
}
