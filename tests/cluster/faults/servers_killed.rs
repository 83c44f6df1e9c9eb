//! etcd and the API server die and come back while people work. Nothing that was acknowledged is lost, nothing opens, and
//! the controller, which nobody restarts, has everything right in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::end_state;
use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, selecting};
use crate::harness::{ControlPlaneOptions, Controller, FaultProxy, Observer, OwnControlPlane};

const SPEC: &str = "
mode: Enforce
allow:
- {name: same, preset: SameNamespace}
- {name: dns, preset: DNS}
- {name: to-mail, to: [{ipBlock: {cidr: 10.30.0.0/16}}], podSelector: {matchLabels: {mail: 'yes'}}}
";
const WORKERS: usize = 3;
/// Work that is done between two deaths.
const WORK: usize = 12;

/// Somebody who works on namespaces of their own, and does each thing until it is acknowledged.
struct Worker {
    admin: Client,
    number: usize,
    done: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    // The names of the namespaces that were acknowledged.
    async fn work(self) -> Vec<String> {
        let mut created = Vec::new();
        for turn in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let name = format!("load-{}-{turn}", self.number);
            self.label(&name, "a").await;
            created.push(name);
            // An older one goes to the other tier, and loses a policy.
            let older = &created[turn / 2];
            self.label(older, if turn % 2 == 0 { "b" } else { "a" }).await;
            self.delete_a_policy(older).await;
        }
        created
    }

    async fn label(&self, namespace: &str, group: &str) {
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let applied = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {"scenario": group}},
        });
        let parameters = PatchParams::apply("worker").force();
        while !in_time(namespaces.patch(namespace, &parameters, &Patch::Apply(&applied))).await {}
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    async fn delete_a_policy(&self, namespace: &str) {
        let policies: Api<NetworkPolicy> = Api::namespaced(self.admin.clone(), namespace);
        // Lost, refused or too early: the next turn is another chance to do harm.
        in_time(policies.delete("cofferdam-baseline-egress", &DeleteParams::default())).await;
        self.done.fetch_add(1, Ordering::SeqCst);
    }
}

async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> bool {
    let answer = tokio::time::timeout(Duration::from_secs(2), request).await;
    let done = matches!(answer, Ok(Ok(_)));
    if !done {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_and_the_api_server_are_killed_under_load_and_nothing_is_lost_or_opened() {
    let mut control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let admin = control_plane.admin().await;
    for (tier, precedence) in [("a", 0), ("b", 1)] {
        apply_tier(
            &admin,
            tier,
            &selecting(tier, &format!("precedence: {precedence}\n{SPEC}")),
        )
        .await;
    }
    create_namespace(&admin, "first", &[("scenario", "a")]).await;
    // The proxy does nothing here but name the writer.
    let proxy = FaultProxy::start(&control_plane).await;
    let mut controller = Controller::start_through(&proxy, &[]).await;
    let (done, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let worker = Worker {
                admin: admin.clone(),
                number,
                done: Arc::clone(&done),
                stop: Arc::clone(&stop),
            };
            tokio::spawn(worker.work())
        })
        .collect();
    for (etcd, api_server) in [(true, false), (false, true), (true, true), (false, true)] {
        some_work(&done).await;
        if etcd {
            control_plane.kill_etcd();
        }
        if api_server {
            control_plane.kill_api_server();
        }
        control_plane.start_what_was_killed().await;
    }
    some_work(&done).await;
    stop.store(true, Ordering::SeqCst);
    let mut namespaces = vec![String::from("first")];
    for worker in workers {
        namespaces.extend(worker.await.expect("a worker that worked"));
    }

    eventually("all is as tiers and namespaces ask for", PATIENCE * 3, || async {
        end_state::difference(&admin).await.map_or(Ok(()), Err)
    })
    .await;
    assert!(controller.ended().is_none(), "{}", controller.log());
    // A server that starts anew may end a watch once more, from a version that it does not know.
    eventually("it is ready", PATIENCE, || async {
        let answer = controller.get("/readyz").map_err(|error| error.to_string())?;
        (answer.0 == 200).then_some(()).ok_or_else(|| format!("{answer:?}"))
    })
    .await;
    let existing: Api<Namespace> = Api::all(admin.clone());
    for name in &namespaces {
        assert!(
            existing.get_opt(name).await.unwrap().is_some(),
            "{name} was acknowledged and is lost"
        );
    }
    Observer::of(namespaces)
        .since(0)
        .while_servers_restart()
        .verdict(&control_plane)
        .await;
}

async fn some_work(done: &AtomicUsize) {
    let before = done.load(Ordering::SeqCst);
    eventually("people get some work done", PATIENCE * 2, || async {
        let now = done.load(Ordering::SeqCst);
        if now >= before + WORK {
            Ok(())
        } else {
            Err(format!("{} things", now - before))
        }
    })
    .await;
}
