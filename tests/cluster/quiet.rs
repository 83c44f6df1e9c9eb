//! When all is right, nothing is written: counted at the API server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kube::ResourceExt;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_mixed_world as mixed_world;
use crate::harness::scenario_tiers::mark;
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Observer, holds_for};

const QUIET: Duration = Duration::from_secs(60);

// A status follows a change within a second; what comes later would be a write for nothing.
const SETTLED: Duration = Duration::from_secs(3);

/// What a leader writes to its Lease is not counted.
async fn start_controller(control_plane: &ControlPlane, election: &str) -> Controller {
    let arguments: Vec<&str> = mixed_world::ARGUMENTS.into_iter().chain([election]).collect();
    Controller::start(control_plane, &arguments).await
}

struct World {
    control_plane: ControlPlane,
    controller: Controller,
}

impl World {
    async fn converged(election: &str) -> Self {
        let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
        let controller = start_controller(&control_plane, election).await;
        mixed_world::create(&control_plane).await;
        let (mut writes, mut since) = (0, std::time::Instant::now());
        eventually("the last write of convergence is made", PATIENCE, || {
            let now = control_plane.audit_log().writes_since(0, Identity::Controller).len();
            if now != writes {
                (writes, since) = (now, std::time::Instant::now());
            }
            let settled = since.elapsed() >= SETTLED;
            async move { if settled { Ok(()) } else { Err(format!("{now} writes")) } }
        })
        .await;
        Self {
            control_plane,
            controller,
        }
    }

    async fn is_quiet_since(&self, mark: usize, description: &str) {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        holds_for(description, QUIET, || async {
            let writes = self.control_plane.audit_log().writes_since(mark, Identity::Controller);
            let lines: Vec<String> = writes.iter().map(|event| event.summary()).collect();
            if lines.is_empty() {
                Ok(())
            } else {
                Err(lines.join("\n"))
            }
        })
        .await;
        let audited = self
            .controller
            .metrics()
            .value("cofferdam_last_audit_timestamp_seconds", &[])
            .unwrap();
        let after = audited - began.as_secs_f64();
        assert!(
            after > QUIET.as_secs_f64() / 2.0,
            "{description}: audits were to go on, the last was {after} s after the begin"
        );
        mixed_world::is_as_it_should_be(&self.control_plane.admin().await).await;
        let drift = self.controller.metrics().sum("cofferdam_drift_detected_total", &[]);
        assert!(
            drift < 0.5,
            "{description}: {drift} drifts counted, though nobody changed anything"
        );
    }

    async fn verdict(&self) {
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
            kube::Api::all(self.control_plane.admin().await);
        let list = namespaces.list(&kube::api::ListParams::default()).await.unwrap();
        let names = list.items.iter().map(ResourceExt::name_any);
        Observer::of(names).verdict(&self.control_plane).await;
    }
}

async fn after_convergence() {
    let world = World::converged("--leader-elect=true").await;
    let start = mark(&world.control_plane).await;
    world.is_quiet_since(start, "no write after convergence").await;
    world.verdict().await;
}

// The mark is set before the new process starts: its first looks count too.
async fn after_a_restart() {
    let World {
        control_plane,
        controller,
    } = World::converged("--leader-elect=true").await;
    assert_eq!(controller.sigterm().await, 0);
    let start = mark(&control_plane).await;
    let controller = start_controller(&control_plane, "--leader-elect=true").await;
    let world = World {
        control_plane,
        controller,
    };
    world.is_quiet_since(start, "no write after a restart").await;
    world.verdict().await;
}

// Nobody releases the lease of a killed leader: who waited for it would be quiet for that long anyway.
async fn after_kill_9() {
    let World {
        control_plane,
        controller,
    } = World::converged("--leader-elect=false").await;
    controller.kill9();
    let start = mark(&control_plane).await;
    let controller = start_controller(&control_plane, "--leader-elect=false").await;
    let world = World {
        control_plane,
        controller,
    };
    world.is_quiet_since(start, "no write after kill -9").await;
    world.verdict().await;
}

// Side by side, on a control plane each, because most of it is waiting.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_quiet_seconds_after_convergence_a_restart_and_kill_9() {
    tokio::join!(after_convergence(), after_a_restart(), after_kill_9());
}
