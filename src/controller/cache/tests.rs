use kube::core::{DynamicObject, PartialObjectMeta};
use serde_json::{Value, json};

use super::*;

fn tier(allow: Value, team: &str) -> DynamicObject {
    let selector = json!({"matchLabels": {"team": team}});
    serde_json::from_value(json!({
        "apiVersion": "cofferdam.dev/v1alpha1",
        "kind": "IsolationTier",
        "metadata": {"name": "t", "uid": "uid-t"},
        "spec": {"namespaceSelector": selector, "mode": "Enforce", "allow": allow},
    }))
    .unwrap()
}

fn policy_of_the_tier() -> NetworkPolicy {
    let owner = json!({"apiVersion": "cofferdam.dev/v1alpha1", "kind": "IsolationTier", "name": "t", "uid": "uid-t", "controller": true});
    let labels = json!({"app.kubernetes.io/managed-by": "cofferdam", "cofferdam.dev/tier": "t"});
    let metadata = json!({"name": "cofferdam-baseline-ingress", "namespace": "n", "uid": "p", "resourceVersion": "1",
        "labels": labels, "ownerReferences": [owner]});
    serde_json::from_value(json!({"metadata": metadata, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}))
        .unwrap()
}

// Found by the model: what a tier lets go of while it does not parse stays until it does, and then nobody looked.
#[test]
fn a_tier_that_parses_again_is_looked_for_where_its_policies_are_although_it_selects_none_of_them() {
    let cache = Cache::new(Exemptions::new("cofferdam-system", []), (String::new(), String::new()));
    let metadata = json!({"name": "n", "uid": "uid-n", "labels": {"team": "a"}});
    let namespace = serde_json::from_value::<PartialObjectMeta<k8s_openapi::api::core::v1::Namespace>>(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
    );
    cache.namespace_applied(namespace.unwrap(), None);
    cache.tier_applied(&tier(json!([]), "a"));
    cache.policy_applied(policy_of_the_tier());
    let broken = json!([{"name": "neither-preset-nor-peers"}]);
    assert_eq!(cache.tier_applied(&tier(broken, "other")), ["n"], "selected it before");
    assert_eq!(
        cache.tier_applied(&tier(json!([]), "other")),
        ["n"],
        "owns its policies"
    );
}
