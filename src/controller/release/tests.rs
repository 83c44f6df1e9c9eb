use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Namespace;
use kube::client::Body;
use kube::core::PartialObjectMeta;
use kube::{Client, Config};
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::controller::Options;
use crate::controller::apply::Writer;
use crate::controller::parts::Parts;
use crate::controller::queue::Class;
use crate::controller::tasks::Tasks;
use crate::controller::work::WorkQueue;
use crate::policy::Exemptions;
use crate::policy::brake::MaxUnprotected;

const HOLE: &str = "cofferdam-allow-hole-egress";
/// Longer than any wait.
const LONG: Duration = Duration::from_secs(100);

/// When which path was deleted.
type Deletions = Arc<Mutex<Vec<(Instant, String)>>>;

/// Grants every write at once, and answers no read.
fn server(deletions: &Deletions) -> Client {
    let deletions = Arc::clone(deletions);
    let answer = move |request: Request<Body>| {
        let deletions = Arc::clone(&deletions);
        async move {
            let (head, body) = request.into_parts();
            if head.method == Method::GET {
                std::future::pending::<()>().await;
            }
            let mut answer: Value = serde_json::from_slice(&body.collect_bytes().await?).unwrap_or_default();
            if head.method == Method::DELETE {
                answer = json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
                let path = head.uri.path().to_owned();
                deletions.lock().unwrap().push((Instant::now(), path));
            } else {
                answer["metadata"]["uid"] = json!("uid");
                // The watch has shown the first.
                answer["metadata"]["resourceVersion"] = json!("2");
            }
            Ok::<_, tower::BoxError>(Response::new(Body::from(answer.to_string().into_bytes())))
        }
    };
    Client::new(service_fn(answer), "default")
}

fn options() -> Options {
    Options {
        listen: ([127, 0, 0, 1], 0).into(),
        exemptions: Exemptions::new("cofferdam-system", []),
        dns_service: (String::new(), String::new()),
        concurrency: 4,
        max_unprotected: MaxUnprotected::default(),
        audit_interval: Duration::from_secs(600),
        relist_interval: Duration::from_secs(3600),
        metrics_max_namespaces: 1,
        election: None,
    }
}

/// A worker, and a tier that isolates namespace `n` and any other.
fn at_work(deletions: &Deletions, namespaces: &WorkQueue<String>) -> Arc<Reconciler> {
    let config = Config::new("http://127.0.0.1:1".parse().unwrap());
    let parts = Parts::assemble(&config, options(), &mut Tasks::default()).unwrap();
    let client = server(deletions);
    let reconciler = Arc::new(Reconciler {
        writer: Writer::new(client.clone(), 4),
        client,
        ..parts.reconciler()
    });
    let tier = json!({
        "metadata": {"name": "t", "uid": "uid-t"},
        "spec": {"namespaceSelector": {}, "mode": "Enforce", "isolate": ["Ingress"]},
    });
    reconciler.cache.tiers_listed(&[serde_json::from_value(tier).unwrap()]);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "uid": "uid-n"}});
    let namespace: PartialObjectMeta<Namespace> = serde_json::from_value(namespace).unwrap();
    reconciler.cache.namespace_applied(namespace, None);
    tokio::spawn(Arc::clone(&reconciler).work(namespaces.clone()));
    reconciler
}

/// Nobody wants it.
fn appears(policy: &str, reconciler: &Reconciler, namespaces: &WorkQueue<String>) {
    let policy = json!({
        "metadata": {"name": policy, "namespace": "n", "uid": policy, "resourceVersion": "1"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
    });
    reconciler.cache.policy_applied(serde_json::from_value(policy).unwrap());
    namespaces.push(String::from("n"), Class::Drift, Instant::now().into_std());
}

/// When the hole was closed, and nothing else was.
fn heal(deletions: &Deletions) -> Instant {
    match &deletions.lock().unwrap()[..] {
        [(at, path)] if path.ends_with(HOLE) => *at,
        other => panic!("{other:?}"),
    }
}

// Each turn that it missed doubled its back-off, up to half a minute.
#[tokio::test(start_paused = true)]
async fn a_heal_that_missed_many_turns_goes_soon_after_there_is_one() {
    let (deletions, namespaces) = (Deletions::default(), WorkQueue::new());
    let reconciler = at_work(&deletions, &namespaces);
    let turns = &reconciler.removals.others;
    let all = turns.forget_permits(usize::MAX);
    appears(HOLE, &reconciler, &namespaces);
    tokio::time::sleep(LONG).await;
    assert_eq!(*deletions.lock().unwrap(), [], "without a turn");
    turns.add_permits(all);
    let freed = Instant::now();
    tokio::time::sleep(LONG).await;
    let waited = heal(&deletions) - freed;
    assert!(waited <= SELDOM_LOOK, "{waited:?}");
}

// The read was waited for although it was too old by then, and nothing in the namespace was healed meanwhile.
#[tokio::test(start_paused = true)]
async fn a_read_before_a_release_that_hangs_keeps_no_heal_of_the_namespace_waiting_for_long() {
    let (deletions, namespaces) = (Deletions::default(), WorkQueue::new());
    let reconciler = at_work(&deletions, &namespaces);
    appears("cofferdam-baseline-egress", &reconciler, &namespaces);
    tokio::time::sleep(WAITS).await;
    let appeared = Instant::now();
    appears(HOLE, &reconciler, &namespaces);
    tokio::time::sleep(LONG).await;
    let waited = heal(&deletions) - appeared;
    assert!(waited <= CONSISTENT_READ_HOLDS, "{waited:?}");
}
