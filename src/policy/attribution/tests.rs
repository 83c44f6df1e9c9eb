use serde_json::json;

use super::*;
use crate::policy::SpecDigest;

fn tier() -> TierIdentity {
    let metadata = serde_json::from_value(json!({"name": "restricted", "uid": "t1"})).unwrap();
    TierIdentity::new(&metadata)
}

fn wanted() -> NetworkPolicySpec {
    normalise(
        serde_json::from_value(json!({"podSelector": {}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {}}]}]}))
        .unwrap(),
    )
}

fn live(spec: Value, managed_fields: Value) -> ObservedPolicy {
    let policy = serde_json::from_value(json!({
        "metadata": {
            "name": "cofferdam-baseline-ingress", "namespace": "a", "uid": "p1", "resourceVersion": "7",
            "labels": {"app.kubernetes.io/managed-by": "cofferdam", "cofferdam.dev/tier": "restricted"},
            "annotations": {"cofferdam.dev/rendered": SpecDigest::of(&wanted()).to_string()},
            "ownerReferences": [
                {"apiVersion": "cofferdam.dev/v1alpha1", "kind": "IsolationTier", "name": "restricted", "uid": "t1", "controller": true},
                {"apiVersion": "v1", "kind": "Namespace", "name": "a", "uid": "n1"},
            ],
            "managedFields": managed_fields,
        },
        "spec": spec,
    }))
    .unwrap();
    ObservedPolicy::read(policy).unwrap().1
}

fn entry(manager: &str, operation: &str, time: &str, spec_field: &str) -> Value {
    json!({"manager": manager, "operation": operation, "time": time, "apiVersion": "networking.k8s.io/v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {format!("f:{spec_field}"): {}}}})
}

#[test]
fn names_the_manager_that_owns_what_differs_and_the_fields_before_and_after() {
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}, {}]});
    let live = live(
        spec,
        json!([
            entry("cofferdam", "Update", "2026-01-01T10:00:00Z", "podSelector"),
            entry("kubectl-edit", "Update", "2026-01-01T10:00:05Z", "ingress"),
            entry("argocd-controller", "Apply", "2026-01-01T10:00:09Z", "policyTypes"),
        ]),
    );
    let attribution = Attribution::of(&live, &wanted(), &tier());
    assert_eq!(
        attribution.to_string(),
        "by kubectl-edit (Update, 2026-01-01T10:00:05Z): spec.ingress[1] was absent, became {}"
    );
}

#[test]
fn what_only_removes_has_no_manager_and_still_names_the_fields() {
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
    let live = live(
        spec,
        json!([entry("cofferdam", "Update", "2026-01-01T10:00:00Z", "podSelector")]),
    );
    let text = Attribution::of(&live, &wanted(), &tier()).to_string();
    assert!(text.starts_with("by an unknown manager"), "{text}");
    assert!(
        text.contains("spec.ingress was [{\"from\":[{\"podSelector\":{}}]}], became absent"),
        "{text}"
    );
}

#[test]
fn stripped_marks_are_named() {
    let mut live = live(serde_json::to_value(wanted()).unwrap(), json!([]));
    assert_eq!(live.evidence, None, "as we wrote it: nothing is kept");
    live.evidence = Some(Box::new(Evidence::read(None, &wanted())));
    live.marks.tier = None;
    live.marks.tier_owner = None;
    let changes = Attribution::of(&live, &wanted(), &tier()).changes;
    let paths: Vec<_> = changes.iter().map(|change| &*change.path).collect();
    assert_eq!(
        paths,
        ["metadata.labels[cofferdam.dev/tier]", "metadata.ownerReferences"]
    );
}

#[test]
fn a_huge_spec_is_not_kept_and_many_changes_are_counted() {
    let rules: Vec<_> = (0..2000).map(|port| json!({"ports": [{"port": port + 1}]})).collect();
    let huge = live(
        json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": rules}),
        json!([]),
    );
    assert!(
        Attribution::of(&huge, &wanted(), &tier())
            .to_string()
            .contains("too large to show")
    );
    let rules: Vec<_> = (0..20).map(|port| json!({"ports": [{"port": port + 1}]})).collect();
    let many = live(
        json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": rules}),
        json!([]),
    );
    let text = Attribution::of(&many, &wanted(), &tier()).to_string();
    assert!(text.ends_with("; and 13 more"), "{text}");
}
