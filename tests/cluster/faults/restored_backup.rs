//! etcd is restored from a backup: versions begin again where they were, and what came after the backup is gone.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_tiers::{BOTH_BASES, apply_tier, eventually_policies, selecting, set_labels};
use crate::harness::{ControlPlaneOptions, Controller, OwnControlPlane};

/// More than a heal and a new namespace write.
const REVISIONS: usize = 300;

// A watch went on from a version that was yet to come, and showed nothing until then; the list beside it said so, and
// nobody heard.
#[tokio::test(flavor = "multi_thread")]
async fn after_etcd_was_restored_from_a_backup_the_watches_showed_nothing() {
    let options = ControlPlaneOptions {
        controller_manager: false,
        ..ControlPlaneOptions::default()
    };
    let mut control_plane = OwnControlPlane::start(options).await;
    let controller = Controller::start(&control_plane, &["--relist-interval=2s"]).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "floor", &selecting("restored", "mode: Enforce\n")).await;
    let names = create_namespaces(&admin, "restored", &[("scenario", "restored")], 2).await;
    for name in &names {
        eventually_policies(&admin, name, &BOTH_BASES, |_| Ok(())).await;
    }
    let (etcd, backup) = (
        control_plane.directory().join("etcd"),
        control_plane.directory().join("backup"),
    );
    kill(&mut control_plane);
    copy(&etcd, &backup);
    control_plane.start_what_was_killed().await;

    for turn in 0..REVISIONS {
        set_labels(&admin, &names[0], json!({"turn": turn.to_string()})).await;
    }
    // Every watch has seen what will never have been.
    let late = create_namespaces(&admin, "late", &[("scenario", "restored")], 1).await;
    eventually_policies(&admin, &late[0], &BOTH_BASES, |_| Ok(())).await;
    kill(&mut control_plane);
    std::fs::remove_dir_all(&etcd).unwrap();
    copy(&backup, &etcd);
    control_plane.start_what_was_killed().await;

    let restored = Instant::now();
    let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &names[1]);
    eventually("a tenant deletes a base", PATIENCE, || async {
        let deleted = policies.delete(BOTH_BASES[0], &DeleteParams::default()).await;
        deleted.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
    eventually_policies(&admin, &names[1], &BOTH_BASES, |_| Ok(())).await;
    eprintln!("healed {:?} after the servers were back", restored.elapsed());
    let new = create_namespaces(&admin, "new", &[("scenario", "restored")], 1).await;
    eventually_policies(&admin, &new[0], &BOTH_BASES, |_| Ok(())).await;
    eprintln!("protected {:?} after the servers were back", restored.elapsed());
    drop(controller);
}

fn kill(control_plane: &mut OwnControlPlane) {
    control_plane.kill_api_server();
    control_plane.kill_etcd();
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "cannot copy {}",
        from.display()
    );
}
