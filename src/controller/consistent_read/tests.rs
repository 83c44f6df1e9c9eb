use std::sync::{Arc, Mutex};

use http::{Request, Response};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::policy::{Exemptions, Facts, ObservedPolicy};

fn tier(name: &str, team: &str) -> Value {
    let selector = json!({"matchLabels": {"team": team}});
    json!({
        "apiVersion": "cofferdam.dev/v1alpha1",
        "kind": "IsolationTier",
        "metadata": {"name": name, "uid": format!("uid-{name}")},
        "spec": {"namespaceSelector": selector, "mode": "Enforce", "isolate": ["Ingress"]},
    })
}

fn namespace(team: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "n", "uid": "uid-n", "labels": {"team": team}, "resourceVersion": version}})
}

/// A server that answers each GET of the namespace with the next of these, and each LIST with these tiers.
fn server(namespaces: [Value; 2], tiers: Value) -> Client {
    let namespaces = Arc::new(Mutex::new(namespaces.into_iter()));
    let answer = move |request: Request<Body>| {
        let (namespaces, tiers) = (Arc::clone(&namespaces), tiers.clone());
        async move {
            let body = match request.uri().path() {
                "/api/v1/namespaces/n" => namespaces.lock().unwrap().next().unwrap(),
                _ => {
                    json!({"apiVersion": "cofferdam.dev/v1alpha1", "kind": "IsolationTierList", "metadata": {}, "items": tiers})
                }
            };
            Ok::<_, tower::BoxError>(Response::new(Body::from(body.to_string().into_bytes())))
        }
    };
    Client::new(service_fn(answer), "default")
}

/// The controller knows that namespace of team c, and in it the base of tier `first`, which it takes for one that lets go.
fn view() -> View {
    let owners = json!([
        {"apiVersion": "cofferdam.dev/v1alpha1", "kind": "IsolationTier", "name": "first", "uid": "uid-first", "controller": true},
        {"apiVersion": "v1", "kind": "Namespace", "name": "n", "uid": "uid-n"},
    ]);
    let labels = json!({"app.kubernetes.io/managed-by": "cofferdam", "cofferdam.dev/tier": "first"});
    let metadata = json!({"name": "cofferdam-baseline-ingress", "namespace": "n", "uid": "uid-p", "resourceVersion": "1",
        "labels": labels, "ownerReferences": owners});
    let policy = json!({"metadata": metadata, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
    let policy = ObservedPolicy::read(serde_json::from_value::<NetworkPolicy>(policy).unwrap()).unwrap();
    let namespace: kube::api::ObjectMeta = serde_json::from_value(namespace("c", "1")["metadata"].clone()).unwrap();
    View {
        world: Arc::new(World::new([], Facts::unread(), Exemptions::new("cofferdam-system", []))),
        namespace: Arc::new(Namespace::from(namespace)),
        observed: [policy].into(),
        ending: None,
        appeared: None,
    }
}

#[tokio::test]
async fn a_namespace_that_no_tier_selects_is_released() {
    let server = server([namespace("c", "5"), namespace("c", "5")], json!([tier("first", "a")]));
    let plan = plan_from_consistent_read(&server, &view(), None).await.unwrap();
    assert!(plan.unwrap().removals.iter().any(|removal| removal.name.is_base()));
}

// Found by the model: of team a and governed by the first tier when it was read, of team b and governed by the second when
// the tiers were, of which the first had let go of team a meanwhile. Some tier isolated it all the time.
#[tokio::test]
async fn a_namespace_that_moved_between_the_two_reads_is_not_released() {
    let tiers = json!([tier("first", "c"), tier("second", "b")]);
    let server = server([namespace("a", "5"), namespace("b", "6")], tiers);
    let plan = plan_from_consistent_read(&server, &view(), None).await.unwrap();
    assert_eq!(plan, None);
}
