//! Tenants who were there first, who imitate us, or who hold on to what we delete.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_namespaces::{create_namespace, let_tenant_edit, unique_name};
use crate::harness::scenario_policies::{ALLOWANCES, Governed, POLICIES, ours_in};
use crate::harness::scenario_tiers::{
    apply_tier, eventually_governed, eventually_policies, mark, policies_of, selecting, set_labels, settled_writes,
    status_of,
};
use crate::harness::{ControlPlane, Controller, Identity, Observer};

const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";
const EXTRA: &str = "cofferdam-allow-to-mail-egress";

fn policy(metadata: Value, spec: Value) -> NetworkPolicy {
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn everyone_may_come_in() -> Value {
    json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]})
}

// A namespace that no tier selects yet, in which the tenant was first.
async fn squatted(control_plane: &ControlPlane, prefix: &str, policies: &[NetworkPolicy]) -> String {
    let admin = control_plane.admin().await;
    let name = unique_name(prefix);
    create_namespace(&admin, &name, &[]).await;
    let_tenant_edit(&admin, &name).await;
    let tenant: Api<NetworkPolicy> = Api::namespaced(control_plane.client(Identity::Tenant).await, &name);
    for policy in policies {
        tenant.create(&PostParams::default(), policy).await.unwrap();
    }
    name
}

// The namespace comes under a tier of its name.
async fn governed(control_plane: &'static ControlPlane, name: String) -> Governed<'static> {
    let admin = control_plane.admin().await;
    apply_tier(&admin, &name, &selecting(&name, ALLOWANCES)).await;
    set_labels(&admin, &name, json!({"scenario": name})).await;
    eventually_governed(&admin, &name, &name, &POLICIES).await;
    let governed = Governed {
        rendered: ours_in(&admin, &name).await.unwrap(),
        tenant: Api::namespaced(control_plane.client(Identity::Tenant).await, &name),
        control_plane,
        name,
        admin,
    };
    governed.is_protected().await;
    governed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_stood_under_our_name_is_taken_over_and_reported() {
    let (control_plane, controller) = (ControlPlane::shared().await, Controller::shared().await);
    let metadata = json!({"name": INGRESS, "labels": {"team": "payments"}});
    let name = squatted(control_plane, "squatter", &[policy(metadata, everyone_may_come_in())]).await;
    let governed = governed(control_plane, name).await;

    let ingress = governed.get(INGRESS).await;
    assert_eq!(
        ingress.spec.as_ref().unwrap().ingress.as_ref().unwrap().len(),
        2,
        "{:?}",
        ingress.spec
    );
    assert_eq!(ingress.labels()["team"], "payments");
    governed
        .is_announced(INGRESS, "TakenOver", "its content was replaced")
        .await;
    // It was not ours, so nobody changed what we wrote.
    governed.drift_is(controller, &[]).await;
    governed.verdict().await;
}

// Between the namespace and its first policy a tenant may be faster than any controller.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_who_is_faster_in_a_new_namespace_keeps_no_hole() {
    let (control_plane, controller) = (ControlPlane::shared().await, Controller::shared().await);
    let admin = control_plane.admin().await;
    let tier = unique_name("faster");
    apply_tier(&admin, &tier, &selecting(&tier, ALLOWANCES)).await;
    let mut namespaces = Vec::new();
    for _ in 0..5 {
        let name = unique_name("faster");
        create_namespace(&admin, &name, &[("scenario", &tier)]).await;
        let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &name);
        let theirs = policy(json!({"name": INGRESS}), everyone_may_come_in());
        // Either may win.
        if let Err(error) = policies.create(&PostParams::default(), &theirs).await {
            assert!(
                matches!(&error, kube::Error::Api(status) if status.code == 409),
                "{error:?}"
            );
        }
        namespaces.push(name);
    }
    for name in &namespaces {
        eventually_governed(&admin, name, &tier, &POLICIES).await;
    }
    let tier_of = [("tier", tier.as_str())];
    let metrics = controller.metrics();
    assert!(
        metrics.sum("cofferdam_drift_detected_total", &tier_of) < 0.5,
        "{}",
        metrics.text()
    );
    Observer::of(namespaces).verdict(control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_under_a_reserved_name_and_is_not_wanted_is_pruned() {
    let (control_plane, controller) = (ControlPlane::shared().await, Controller::shared().await);
    let surplus = "cofferdam-allow-x";
    let theirs = policy(json!({"name": surplus}), everyone_may_come_in());
    let name = squatted(control_plane, "surplus", std::slice::from_ref(&theirs)).await;
    let governed = governed(control_plane, name).await;
    governed.is_healed(controller, "surplus", 1).await;
    governed
        .is_announced(
            surplus,
            "DriftHealed",
            "was deleted; it was created under a reserved name",
        )
        .await;

    // And where the tier governs already.
    governed.tenant.create(&PostParams::default(), &theirs).await.unwrap();
    governed.is_healed(controller, "surplus", 2).await;
    for (name, count) in [("cofferdam-exception-y-ingress", 3), ("cofferdam-baseline-other", 4)] {
        let theirs = policy(json!({"name": name}), everyone_may_come_in());
        governed.tenant.create(&PostParams::default(), &theirs).await.unwrap();
        governed.is_healed(controller, "surplus", count).await;
    }
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_our_policy_with_all_its_marks_is_pruned_as_surplus() {
    let (governed, controller) = Governed::on_shared("copy").await;
    let mut copy = governed.get(INGRESS).await;
    copy.metadata.name = Some("cofferdam-allow-copied-ingress".into());
    copy.metadata.uid = None;
    copy.metadata.resource_version = None;
    copy.spec = serde_json::from_value(everyone_may_come_in()).unwrap();
    governed.tenant.create(&PostParams::default(), &copy).await.unwrap();
    governed.is_healed(controller, "surplus", 1).await;
    governed.verdict().await;
}

// Name, label and owner have to agree before anything outside the reserved names would be ours; the name never does.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_policies_are_untouched_whatever_marks_they_carry() {
    let (governed, controller) = Governed::on_shared("own-policies").await;
    let ours = governed.get(INGRESS).await;
    let marks = json!({
        "labels": ours.labels(), "annotations": ours.annotations(), "ownerReferences": ours.owner_references(),
    });
    let mut theirs = Vec::new();
    for (name, mut metadata) in [
        ("default-deny", json!({})),
        ("cofferdam", json!({})),
        ("cofferdam-other-baseline-ingress", json!({})),
        ("with-our-labels", json!({"labels": marks["labels"]})),
        ("with-our-owners", json!({"ownerReferences": marks["ownerReferences"]})),
        ("with-all-our-marks", marks.clone()),
    ] {
        metadata["name"] = json!(name);
        let policy = policy(metadata, everyone_may_come_in());
        let created = governed.tenant.create(&PostParams::default(), &policy).await.unwrap();
        theirs.push((name.to_owned(), created.resource_version()));
    }
    // Each of these makes the controller look at everything in the namespace: a heal, another tier, no tier.
    governed.tenant.delete(EGRESS, &DeleteParams::default()).await.unwrap();
    governed.is_healed(controller, "missing", 1).await;
    let narrower = selecting(&governed.name, "mode: Enforce\nisolate: [Ingress]\n");
    apply_tier(&governed.admin, &governed.name, &narrower).await;
    eventually(&format!("only {INGRESS} is left of ours"), PATIENCE, || async {
        let left = ours_in(&governed.admin, &governed.name).await?;
        if left.keys().eq([INGRESS]) {
            Ok(())
        } else {
            Err(format!("{:?}", left.keys()))
        }
    })
    .await;
    set_labels(&governed.admin, &governed.name, json!({"scenario": null})).await;
    let names: Vec<&str> = theirs.iter().map(|(name, _)| name.as_str()).collect();
    let left = eventually_policies(&governed.admin, &governed.name, &names, |_| Ok(())).await;
    for (name, version) in theirs {
        assert_eq!(left[&name].resource_version(), version, "{name} was written to");
    }
    governed
        .observer()
        .expect_release(&governed.name, cofferdam::api::Direction::Egress)
        .expect_release(&governed.name, cofferdam::api::Direction::Ingress)
        .verdict(governed.control_plane)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_that_the_tier_drops_is_pruned_though_a_tenant_stripped_its_labels() {
    let (governed, _) = Governed::on_shared("stripped-then-dropped").await;
    let without_mail = ALLOWANCES.lines().filter(|line| !line.contains("to-mail"));
    let spec = selecting(&governed.name, &without_mail.collect::<Vec<_>>().join("\n"));
    let nothing = json!({"metadata": {"labels": null, "annotations": null, "ownerReferences": null}});
    // At once, so that the tier may change before the marks are back.
    governed.merge(EXTRA, nothing).await;
    apply_tier(&governed.admin, &governed.name, &spec).await;
    eventually_governed(&governed.admin, &governed.name, &governed.name, &[EGRESS, INGRESS]).await;
    governed.is_protected().await;
    governed.verdict().await;
}

async fn deletes_of(governed: &Governed<'_>, name: &str) -> usize {
    let events = governed.control_plane.audit_log().settled(governed.control_plane).await;
    let ours = events.iter().filter(|event| {
        event.user == Identity::Controller.user()
            && event.verb == "delete"
            && event.namespace == governed.name
            && event.name == name
    });
    ours.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_policy_that_a_finalizer_holds_is_healed_and_recreated_when_it_goes() {
    let (governed, controller) = Governed::on_shared("held").await;
    governed
        .merge(INGRESS, json!({"metadata": {"finalizers": ["example.com/hold"]}}))
        .await;
    governed.tenant.delete(INGRESS, &DeleteParams::default()).await.unwrap();
    let held = governed.get(INGRESS).await;
    assert!(held.metadata.deletion_timestamp.is_some());

    governed.merge(INGRESS, json!({"spec": {"ingress": [{}]}})).await;
    governed.drift_is(controller, &[("modified", 1)]).await;
    let healed = governed.get(INGRESS).await;
    assert_eq!(healed.spec, held.spec);
    assert_eq!(healed.uid(), held.uid());
    assert_eq!(healed.finalizers(), ["example.com/hold"]);
    governed.is_protected().await;

    governed.merge(INGRESS, json!({"metadata": {"finalizers": null}})).await;
    governed.drift_is(controller, &[("modified", 1), ("missing", 1)]).await;
    governed.is_as_rendered().await;
    assert_ne!(governed.get(INGRESS).await.uid(), held.uid());
    assert_eq!(deletes_of(&governed, INGRESS).await, 0);
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_policy_that_a_finalizer_holds_is_deleted_once_and_emptied() {
    let (governed, controller) = Governed::on_shared("held-extra").await;
    governed
        .merge(EXTRA, json!({"metadata": {"finalizers": ["example.com/hold"]}}))
        .await;
    let without_mail = ALLOWANCES.lines().filter(|line| !line.contains("to-mail"));
    let spec = selecting(&governed.name, &without_mail.collect::<Vec<_>>().join("\n"));
    let start = mark(governed.control_plane).await;
    apply_tier(&governed.admin, &governed.name, &spec).await;
    eventually("the extra is being deleted and selects no pod", PATIENCE, || async {
        let extra = governed.get(EXTRA).await;
        let pods = extra.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        let emptied = pods.is_some_and(|pods| pods.match_expressions.is_some());
        if extra.metadata.deletion_timestamp.is_some() && emptied {
            Ok(())
        } else {
            Err(format!("{:?}", extra.metadata))
        }
    })
    .await;
    // Whatever else happens to it meanwhile.
    governed
        .merge(EXTRA, json!({"metadata": {"labels": {"team": "payments"}}}))
        .await;
    governed.merge(EXTRA, json!({"metadata": {"labels": null}})).await;
    // It has its effect as long as it stands, so it is made to select no pod.
    let writes = settled_writes(governed.control_plane, start, &governed.name).await;
    assert_eq!(writes, [format!("delete {EXTRA}"), format!("update {EXTRA}")]);

    governed.merge(EXTRA, json!({"metadata": {"finalizers": null}})).await;
    eventually_governed(&governed.admin, &governed.name, &governed.name, &[EGRESS, INGRESS]).await;
    governed.drift_is(controller, &[]).await;
    assert_eq!(deletes_of(&governed, EXTRA).await, 1);
    governed.verdict().await;
}

// A forged annotation makes an open policy look as if we had written it; the tier knows better.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_policy_under_our_name_is_replaced() {
    let (control_plane, controller) = (ControlPlane::shared().await, Controller::shared().await);
    let spec = everyone_may_come_in();
    let digest = cofferdam::policy::SpecDigest::of(&serde_json::from_value(spec.clone()).unwrap()).to_string();
    let metadata = json!({
        "name": INGRESS,
        "labels": {"app.kubernetes.io/managed-by": "cofferdam", "cofferdam.dev/tier": "forged"},
        "annotations": {"cofferdam.dev/rendered": digest},
    });
    let name = squatted(control_plane, "forged", &[policy(metadata, spec)]).await;
    let governed = governed(control_plane, name).await;
    let open = policies_of(&governed.admin, &governed.name).await.unwrap()[INGRESS]
        .spec
        .clone()
        .unwrap();
    assert!(
        open.ingress.unwrap().iter().all(|rule| rule.from.is_some()),
        "a rule without peers is left"
    );
    governed.drift_is(controller, &[("disowned", 1)]).await;
    assert!(status_of(&governed.admin, &governed.name).await.is_ok());
    governed.verdict().await;
}
