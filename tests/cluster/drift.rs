//! Somebody else changes what we wrote: it is put back, counted once, and announced.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::harness::scenario_policies::{Governed, Means, POLICIES};

const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";
const EXTRA: &str = "cofferdam-allow-to-mail-egress";

// Each means of its own finds another way around a careless comparison: a forced apply takes the ownership of fields away.
async fn is_healed_by_whichever_means_it_was_changed(prefix: &str, policy: &str, change: Value) {
    let (governed, controller) = Governed::on_shared(prefix).await;
    for (means, count) in Means::ALL.into_iter().zip(1..) {
        means.change_spec(&governed.tenant, policy, &change).await;
        governed.is_healed(controller, "modified", count).await;
    }
    governed
        .is_announced(policy, "DriftHealed", "is as rendered again; it was changed by")
        .await;
    governed.is_protected().await;
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_rule_for_everyone_is_healed() {
    is_healed_by_whichever_means_it_was_changed("open-ingress", INGRESS, json!({"ingress": [{}]})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_egress_rule_for_everyone_is_healed() {
    is_healed_by_whichever_means_it_was_changed("open-egress", EGRESS, json!({"egress": [{}]})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_pod_selector_is_healed() {
    let change = json!({"podSelector": {"matchLabels": {"only": "these"}}});
    is_healed_by_whichever_means_it_was_changed("narrowed", INGRESS, change).await;
}

// Without Egress among its types, the egress rules of a policy count for nothing: the direction is open.
#[tokio::test(flavor = "multi_thread")]
async fn cut_policy_types_are_healed() {
    is_healed_by_whichever_means_it_was_changed("cut-types", EGRESS, json!({"policyTypes": ["Ingress"]})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extended_policy_types_are_healed() {
    let change = json!({"policyTypes": ["Ingress", "Egress"]});
    is_healed_by_whichever_means_it_was_changed("extended-types", INGRESS, change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_other_direction_are_healed() {
    let change =
        json!({"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}], "policyTypes": ["Ingress", "Egress"]});
    is_healed_by_whichever_means_it_was_changed("other-direction", INGRESS, change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rules_are_healed() {
    let change = json!({"ingress": [{"from": [{"namespaceSelector": {}}]}]});
    is_healed_by_whichever_means_it_was_changed("changed-rules", INGRESS, change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_widened_policy_for_some_pods_is_healed() {
    let change = json!({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]});
    is_healed_by_whichever_means_it_was_changed("widened-extra", EXTRA, change).await;
}

async fn is_healed_as_disowned(prefix: &str, changes: &[Value]) {
    let (governed, controller) = Governed::on_shared(prefix).await;
    for (change, count) in changes.iter().zip(1..) {
        governed.merge(INGRESS, json!({"metadata": change})).await;
        governed.is_healed(controller, "disowned", count).await;
    }
    governed
        .is_announced(
            INGRESS,
            "DriftHealed",
            "is marked as ours again; it was stripped of our marks",
        )
        .await;
    governed.is_protected().await;
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stripped_and_changed_labels_are_healed() {
    let changes = [
        json!({"labels": {"app.kubernetes.io/managed-by": null}}),
        json!({"labels": {"cofferdam.dev/tier": null}}),
        json!({"labels": null}),
        json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
        json!({"labels": {"cofferdam.dev/tier": "another"}}),
    ];
    is_healed_as_disowned("labels", &changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripped_or_changed_annotation_is_healed() {
    let changes = [
        json!({"annotations": {"cofferdam.dev/rendered": null}}),
        json!({"annotations": {"cofferdam.dev/rendered": "00000000000000000000000000000000"}}),
        json!({"annotations": {"cofferdam.dev/rendered": "not a digest"}}),
    ];
    is_healed_as_disowned("annotation", &changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stripped_owners_are_healed() {
    is_healed_as_disowned("owners", &[json!({"ownerReferences": null})]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_marks_stripped_at_once_are_healed() {
    let nothing = json!({"labels": null, "annotations": null, "ownerReferences": null});
    is_healed_as_disowned("all-marks", &[nothing]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_the_two_owners_stripped_is_healed() {
    let (governed, controller) = Governed::on_shared("one-owner").await;
    let owners = governed.get(INGRESS).await.owner_references().to_vec();
    for (kept, count) in owners.iter().zip(1..) {
        governed
            .merge(INGRESS, json!({"metadata": {"ownerReferences": [kept]}}))
            .await;
        governed.is_healed(controller, "disowned", count).await;
    }
    governed.verdict().await;
}

// The API server takes one controller owner only: a tenant who wants to be it has to push ours aside.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_controller_owner_is_removed() {
    let (governed, controller) = Governed::on_shared("own-owner").await;
    let config_maps: Api<ConfigMap> = Api::namespaced(governed.admin.clone(), &governed.name);
    let parent: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "parent"}})).unwrap();
    let parent = config_maps.create(&PostParams::default(), &parent).await.unwrap();
    let theirs = parent.controller_owner_ref(&()).unwrap();
    let ours = governed.get(INGRESS).await.owner_references().to_vec();

    let mut both = ours.clone();
    both.push(theirs.clone());
    let beside = kube::api::Patch::Merge(json!({"metadata": {"ownerReferences": both}}));
    let refused = governed.tenant.patch(INGRESS, &PatchParams::default(), &beside).await;
    assert!(
        matches!(&refused, Err(kube::Error::Api(status)) if status.code == 422),
        "{refused:?}"
    );

    for owner in &mut both[..2] {
        owner.controller = None;
    }
    governed
        .merge(INGRESS, json!({"metadata": {"ownerReferences": both}}))
        .await;
    governed.is_healed(controller, "disowned", 1).await;
    governed
        .merge(INGRESS, json!({"metadata": {"ownerReferences": [theirs]}}))
        .await;
    governed.is_healed(controller, "disowned", 2).await;
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_policy_is_back() {
    let (governed, controller) = Governed::on_shared("deleted").await;
    for (policy, count) in POLICIES.into_iter().zip(1..) {
        governed.tenant.delete(policy, &DeleteParams::default()).await.unwrap();
        governed.is_healed(controller, "missing", count).await;
        governed
            .is_announced(policy, "DriftHealed", "is back; it was deleted")
            .await;
    }
    governed.is_protected().await;
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_policies_deleted_at_once_are_back() {
    let (governed, controller) = Governed::on_shared("delete-all").await;
    governed
        .tenant
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
    governed.is_healed(controller, "missing", 3).await;
    governed.is_protected().await;
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_deleted_and_recreated_wide_open_is_healed() {
    let (governed, controller) = Governed::on_shared("recreated").await;
    let mut open = governed.get(INGRESS).await;
    open.metadata.uid = None;
    open.metadata.resource_version = None;
    open.spec =
        serde_json::from_value(json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]})).unwrap();
    governed.tenant.delete(INGRESS, &DeleteParams::default()).await.unwrap();
    // Whoever is first, the tenant or the controller, the end is the same.
    let created = governed.tenant.create(&PostParams::default(), &open).await;
    if let Err(error) = &created {
        assert!(
            matches!(error, kube::Error::Api(status) if status.code == 409),
            "{error:?}"
        );
    }
    governed.is_as_rendered().await;
    governed.is_protected().await;
    let metrics = controller.metrics();
    let tier = [("tier", governed.name.as_str())];
    let found = metrics.sum("cofferdam_drift_detected_total", &tier);
    let healed = metrics.sum("cofferdam_drift_corrected_total", &tier);
    assert!(
        found >= 1.0 && (found - healed).abs() < 0.5,
        "{found} found, {healed} healed"
    );
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_on_our_policy_outlives_a_heal() {
    let (governed, controller) = Governed::on_shared("kept").await;
    let theirs = json!({
        "labels": {"team": "payments", "app.kubernetes.io/instance": "payments"},
        "annotations": {"example.com/ticket": "OPS-1"},
        "finalizers": ["example.com/hold"],
    });
    governed.merge(INGRESS, json!({"metadata": theirs})).await;
    governed
        .merge(
            INGRESS,
            json!({"spec": {"ingress": [{}]}, "metadata": {"labels": {"cofferdam.dev/tier": null}}}),
        )
        .await;
    governed.is_healed(controller, "modified", 1).await;

    let healed = governed.get(INGRESS).await;
    assert_eq!(healed.labels()["team"], "payments");
    assert_eq!(healed.labels()["app.kubernetes.io/instance"], "payments");
    assert_eq!(healed.annotations()["example.com/ticket"], "OPS-1");
    assert_eq!(healed.finalizers(), ["example.com/hold"]);
    governed.merge(INGRESS, json!({"metadata": {"finalizers": null}})).await;
    governed.verdict().await;
}

// What others write beside ours is no drift: no heal, no count.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_others_alone_causes_no_write() {
    let (governed, controller) = Governed::on_shared("beside").await;
    let written = governed
        .merge(INGRESS, json!({"metadata": {"labels": {"team": "payments"}}}))
        .await;
    // A heal of another policy, so that the controller has certainly looked since.
    governed.tenant.delete(EGRESS, &DeleteParams::default()).await.unwrap();
    governed.is_healed(controller, "missing", 1).await;
    assert_eq!(
        governed.get(INGRESS).await.resource_version(),
        written.resource_version()
    );
    governed.verdict().await;
}

// The recorder makes one Event of those that agree in everything but their note, and keeps the first note.
#[tokio::test(flavor = "multi_thread")]
async fn each_drift_of_a_tier_is_announced_by_an_event_that_names_it() {
    let (governed, controller) = Governed::on_shared("announced").await;
    for (policy, count) in [INGRESS, EGRESS].into_iter().zip(1..) {
        governed.tenant.delete(policy, &DeleteParams::default()).await.unwrap();
        governed.is_healed(controller, "missing", count).await;
    }
    let open = json!({"ingress": [{}]});
    Means::MergePatch.change_spec(&governed.tenant, INGRESS, &open).await;
    for (policy, words) in [(INGRESS, "deleted"), (EGRESS, "deleted"), (INGRESS, "changed")] {
        governed.is_announced(policy, "DriftHealed", words).await;
    }
    governed.verdict().await;
}
