//! That the observer finds what a fault must never bring about, shown by doing it in the controller's name.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, selecting, set_labels};
use crate::harness::{ControlPlaneOptions, FaultProxy, Identity, Observer, OwnControlPlane};

const INGRESS: &str = "cofferdam-baseline-ingress";
const SPEC: &str = "mode: Enforce\nallow:\n- {name: same, preset: SameNamespace}\n";

struct Impostor {
    client: Client,
    namespace: &'static str,
}

impl Impostor {
    fn policies(&self) -> Api<NetworkPolicy> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    async fn creates(&self, labels: serde_json::Value) {
        let policy = json!({
            "metadata": {"name": INGRESS, "labels": labels, "annotations": {"cofferdam.dev/rendered": "1234"}},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]},
        });
        let policy = serde_json::from_value(policy).unwrap();
        self.policies().create(&PostParams::default(), &policy).await.unwrap();
    }

    async fn reads(&self) {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.get(self.namespace).await.unwrap();
        let kind = ApiResource::erase::<cofferdam::api::IsolationTier>(&());
        let tiers = Api::<DynamicObject>::all_with(self.client.clone(), &kind);
        tiers.list(&ListParams::default()).await.unwrap();
        namespaces.get(self.namespace).await.unwrap();
    }

    async fn deletes(&self) {
        self.policies().delete(INGRESS, &DeleteParams::default()).await.unwrap();
    }

    async fn drops_labels(&self) {
        let mut policy = self.policies().get(INGRESS).await.unwrap();
        policy.metadata.labels = None;
        self.policies()
            .replace(INGRESS, &PostParams::default(), &policy)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_observer_judges_releases_by_what_was_read_and_finds_lost_metadata_and_second_writers() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "tier", &selecting("tier", SPEC)).await;
    for namespace in ["alpha", "beta", "gamma", "delta"] {
        create_namespace(&admin, namespace, &[("scenario", "tier")]).await;
    }
    let mark = control_plane.audit_log().settled(&control_plane).await.len();
    let client = control_plane.client(Identity::Controller).await;
    let impostor = |namespace| Impostor {
        client: client.clone(),
        namespace,
    };
    let found = async || {
        let events = control_plane.audit_log().settled(&control_plane).await;
        Observer::of(["alpha", "beta", "gamma", "delta"])
            .since(mark)
            .violations_in(&events)
    };

    let unread = impostor("alpha");
    unread.creates(json!({})).await;
    unread.deletes().await;
    assert!(matches!(&*found().await, [one] if one.contains("alpha") && one.contains("without a look")));

    let isolated = impostor("beta");
    isolated.creates(json!({})).await;
    isolated.reads().await;
    isolated.deletes().await;
    assert!(
        matches!(&*found().await, [_, one] if one.contains("beta") && one.contains("isolated it when that was read"))
    );

    let left = impostor("gamma");
    left.creates(json!({})).await;
    set_labels(&admin, "gamma", json!({"scenario": null})).await;
    left.reads().await;
    left.deletes().await;
    assert_eq!(found().await.len(), 2);

    let careless = impostor("delta");
    careless.creates(json!({"mine": "yes"})).await;
    careless.drops_labels().await;
    assert!(
        found()
            .await
            .iter()
            .any(|one| one.contains("delta") && one.contains("labels mine=\"yes\""))
    );

    // The first of two writers comes back.
    let mut writers = Vec::new();
    for number in [1, 2] {
        let proxy = FaultProxy::start(&control_plane).await;
        proxy.threatens_nobody(number);
        let file = crate::harness::identity::client_from(proxy.kubeconfig()).await.unwrap();
        writers.push((
            proxy,
            Impostor {
                client: file,
                namespace: "alpha",
            },
        ));
    }
    let two_writers = async || found().await.iter().any(|one| one.contains("two writers"));
    writers[0].1.creates(json!({})).await;
    writers[1].1.deletes().await;
    assert!(!two_writers().await);
    writers[0].1.creates(json!({})).await;
    assert!(two_writers().await);
}
