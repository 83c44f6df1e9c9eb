//! A controller behind an API server that is truly stale: a second one on the same etcd, which stands still while the first
//! one takes edits, and goes on at any moment.

use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::end_state;
use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, selecting, set_labels};
use crate::harness::second_api_server::SecondApiServer;
use crate::harness::{ControlPlaneOptions, Controller, Identity, Observer, OwnControlPlane};

const ROUNDS: usize = 12;
const NAMESPACES: [&str; 3] = ["stale-a", "stale-b", "stale-c"];

fn spec(isolate: &str) -> String {
    let rest = format!("mode: Enforce\nisolate: {isolate}\nallow:\n- {{name: same, preset: SameNamespace}}\n");
    selecting("stale", &rest)
}

// The edits of a round go and come back: who acts on the first half opens what is closed by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_behind_a_stale_api_server_opens_nothing() {
    let control_plane = OwnControlPlane::start(ControlPlaneOptions::default()).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "stale", &spec("[Ingress, Egress]")).await;
    for namespace in NAMESPACES {
        create_namespace(&admin, namespace, &[("scenario", "stale")]).await;
    }
    let second = SecondApiServer::start(&control_plane).await;
    let start = || Controller::spawn_with(&second.kubeconfig(Identity::Controller), second.directory(), &[]);
    let mut controller = start();
    controller.wait_until_ready().await;
    let seed = std::process::id();
    eprintln!("seed {seed}");
    let mut chance = Rng::with_seed(u64::from(seed));
    for round in 0..ROUNDS {
        all_is_right(&admin).await;
        let pause = |chance: &mut Rng| tokio::time::sleep(Duration::from_millis(chance.u64(0..25)));
        if chance.bool() {
            second.stop();
        }
        for namespace in NAMESPACES {
            set_labels(&admin, namespace, json!({"scenario": "elsewhere"})).await;
        }
        pause(&mut chance).await;
        second.stop();
        pause(&mut chance).await;
        for namespace in NAMESPACES {
            set_labels(&admin, namespace, json!({"scenario": "stale"})).await;
        }
        apply_tier(&admin, "stale", &spec("[Ingress]")).await;
        apply_tier(&admin, "stale", &spec("[Ingress, Egress]")).await;
        if round % 3 == 2 {
            controller.kill9();
            controller = start();
        }
        pause(&mut chance).await;
        second.cont();
    }
    all_is_right(&admin).await;
    assert!(controller.ended().is_none(), "{}", controller.log());
    Observer::of(NAMESPACES)
        .since(0)
        .while_servers_restart()
        .verdict(&control_plane)
        .await;
}

async fn all_is_right(admin: &kube::Client) {
    eventually("all is as tiers and namespaces ask for", PATIENCE * 2, || async {
        end_state::difference(admin).await.map_or(Ok(()), Err)
    })
    .await;
}
