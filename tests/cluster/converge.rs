//! Whatever comes first, the namespaces end as their tier says.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::ListParams;
use std::time::Duration;

use crate::harness::scenario_namespaces::{create_namespace, unique_name};
use crate::harness::{ControlPlane, Controller, Observer, eventually};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_is_there_first_protects_namespaces_as_they_come() {
    let control_plane = ControlPlane::shared().await;
    let controller = Controller::shared().await;
    let admin = control_plane.admin().await;
    let tier = unique_name("tier-first");
    control_plane
        .kubectl_with_input(
            &["apply", "--server-side", "-f", "-"],
            &format!(
                "
apiVersion: cofferdam.dev/v1alpha1
kind: IsolationTier
metadata: {{name: {tier}}}
spec:
  namespaceSelector: {{matchLabels: {{scenario: {tier}}}}}
  mode: Enforce
  allow:
  - {{name: dns, preset: DNS}}
  - {{name: same, preset: SameNamespace}}
  - {{name: api, preset: KubeAPIServer, podSelector: {{matchLabels: {{a: b}}}}}}
"
            ),
        )
        .expect_success();
    create_namespace(&admin, &tier, &[("scenario", &tier)]).await;
    let api: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &tier);
    eventually("both bases and the extra stand", SOON, || async {
        let names: Vec<_> = api
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .into_iter()
            .map(|p| p.metadata.name.unwrap())
            .collect();
        if names
            == [
                "cofferdam-allow-api-egress",
                "cofferdam-baseline-egress",
                "cofferdam-baseline-ingress",
            ]
        {
            Ok(())
        } else {
            Err(format!("{names:?}\n{}", controller.log()))
        }
    })
    .await;
    eventually("the status says so", SOON, || async {
        let out = control_plane
            .kubectl(&["get", "itier", &tier, "-o", "yaml"])
            .expect_success();
        if out.contains("protected: 1") && out.contains("ReconcileSucceeded") {
            println!("{out}");
            Ok(())
        } else {
            Err(out)
        }
    })
    .await;
    println!(
        "{}",
        control_plane
            .kubectl(&["get", "netpol", "-n", &tier, "-o", "yaml"])
            .expect_success()
    );
    println!("{}", controller.metrics().text());
    println!("{}", controller.log());
    Observer::of([tier]).verdict(control_plane).await;
}
