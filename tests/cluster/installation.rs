//! What the repository ships, applied as a person would, is accepted by the real API server.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use crate::harness::ControlPlane;

// `ControlPlane::shared` has already applied config/default: every scenario runs on what is shipped.
#[tokio::test(flavor = "multi_thread")]
async fn config_default_is_accepted() {
    let control_plane = ControlPlane::shared().await;
    // Again, as an upgrade does: the same objects and nothing in conflict.
    let output = control_plane
        .kubectl(&["apply", "--server-side", "-k", "config/default"])
        .expect_success();
    for object in [
        "namespace/cofferdam-system",
        "customresourcedefinition.apiextensions.k8s.io/isolationtiers.cofferdam.dev",
        "serviceaccount/cofferdam",
        "clusterrole.rbac.authorization.k8s.io/cofferdam-controller",
        "clusterrolebinding.rbac.authorization.k8s.io/cofferdam-controller",
        "role.rbac.authorization.k8s.io/cofferdam-leader-election",
        "rolebinding.rbac.authorization.k8s.io/cofferdam-leader-election",
        "poddisruptionbudget.policy/cofferdam",
        "service/cofferdam-metrics",
        "deployment.apps/cofferdam",
    ] {
        assert!(
            output.contains(&format!("{object} serverside-applied")),
            "expected {object} in:\n{output}"
        );
    }
}

// Pod security admission only warns about a Deployment; it refuses the Pod, so the Pod is what is tried.
#[tokio::test(flavor = "multi_thread")]
async fn the_controllers_pod_passes_pod_security_restricted() {
    let control_plane = ControlPlane::shared().await;
    let admin = control_plane.admin().await;
    let namespace = Api::<Namespace>::all(admin.clone())
        .get("cofferdam-system")
        .await
        .unwrap();
    let labels = namespace.metadata.labels.unwrap();
    assert_eq!(
        labels.get("pod-security.kubernetes.io/enforce").map(String::as_str),
        Some("restricted")
    );

    let deployments: Api<Deployment> = Api::namespaced(admin, "cofferdam-system");
    let template = deployments.get("cofferdam").await.unwrap().spec.unwrap().template;
    let pod = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "as-the-deployment-would", "namespace": "cofferdam-system"},
        "spec": template.spec,
    });
    let create = ["create", "--dry-run=server", "--filename=-"];
    control_plane
        .kubectl_with_input(&create, &pod.to_string())
        .expect_success();

    let mut privileged = pod;
    privileged["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refusal = control_plane
        .kubectl_with_input(&create, &privileged.to_string())
        .expect_failure();
    assert!(
        refusal.contains("violates PodSecurity \"restricted:latest\""),
        "{refusal}"
    );
}

// Dry: the sample `baseline` selects every namespace, those of the scenarios beside this one too.
#[tokio::test(flavor = "multi_thread")]
async fn config_samples_are_accepted_and_start_in_observe() {
    let control_plane = ControlPlane::shared().await;
    let applied = control_plane
        .kubectl(&["apply", "--dry-run=server", "--output=json", "-k", "config/samples"])
        .expect_success();
    let applied: serde_json::Value = serde_json::from_str(&applied).unwrap();
    let objects = applied["items"].as_array().unwrap();
    let tiers: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == "IsolationTier")
        .collect();
    let namespaces = objects.iter().filter(|object| object["kind"] == "Namespace").count();
    assert_eq!((tiers.len(), namespaces), (3, 5));
    for tier in tiers {
        assert_eq!(tier["spec"]["mode"], "Observe", "{}", tier["metadata"]["name"]);
    }
}
