//! How the process starts and ends, and what it tells the kubelet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::harness::eventually::{PATIENCE, eventually};
use crate::harness::scenario_mixed_world::create_namespaces;
use crate::harness::scenario_policies::{ALLOWANCES, POLICIES};
use crate::harness::scenario_tiers::{apply_tier, policies_of, selecting};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Observer};

// A kubelet waits 30 s by default; each write takes milliseconds.
const SECONDS: Duration = Duration::from_secs(5);

async fn ends_in_time_with_0(controller: Controller) {
    let asked = Instant::now();
    assert_eq!(controller.sigterm().await, 0);
    let took = asked.elapsed();
    assert!(took < SECONDS, "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probes_of_a_running_controller_answer_ok() {
    let controller = Controller::shared().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(controller.get(path).unwrap(), (200, "ok\n".into()), "{path}");
    }
    assert_eq!(controller.get("/").unwrap().0, 404);
    let metrics = controller.metrics();
    assert_eq!(metrics.count("cofferdam_cache_synced", &[]), 7);
    assert_eq!(metrics.sum("cofferdam_cache_synced", &[]) as usize, 7);
    assert_eq!(metrics.value("cofferdam_build_info", &[]), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_definition_is_waited_for_and_named() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let crd = "crds/cofferdam.dev_isolationtiers.yaml";
    control_plane.kubectl(&["delete", "-f", crd]).expect_success();
    let waits = async |controller: &Controller| {
        eventually("/readyz names the definition", PATIENCE, || async {
            match controller.get("/readyz") {
                Ok((503, body)) if body.contains("isolationtiers.cofferdam.dev is not installed") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        assert_eq!(controller.get("/livez").unwrap().0, 200);
        let synced = controller
            .metrics()
            .value("cofferdam_cache_synced", &[("resource", "isolationtiers")]);
        assert_eq!(synced, Some(0.0));
    };
    let controller = Controller::spawn(&control_plane, &[]);
    waits(&controller).await;
    ends_in_time_with_0(controller).await;

    let mut controller = Controller::spawn(&control_plane, &[]);
    waits(&controller).await;
    control_plane
        .kubectl(&["apply", "--server-side", "-f", crd])
        .expect_success();
    controller.wait_until_ready().await;
    let admin = control_plane.admin().await;
    eventually("a tier can be applied", PATIENCE, || async {
        let spec = "--dry-run=server";
        let output = control_plane.kubectl(&["apply", spec, "-k", "config/samples"]);
        if output.code == 0 { Ok(()) } else { Err(output.stderr) }
    })
    .await;
    apply_tier(&admin, "late", &selecting("late", ALLOWANCES)).await;
    let names = create_namespaces(&admin, "late", &[("scenario", "late")], 1).await;
    eventually("the namespace is protected", PATIENCE, || async {
        let found = policies_of(&admin, "late-0").await?;
        if found.keys().eq(POLICIES.iter()) {
            Ok(())
        } else {
            Err(format!("{:?}", found.keys()))
        }
    })
    .await;
    ends_in_time_with_0(controller).await;
    let missing = control_plane.audit_log().missing_permissions_of(Identity::Controller);
    assert!(missing.is_empty(), "{missing:?}");
    Observer::of(names).verdict(&control_plane).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_a_cold_start_finishes_the_writes_in_flight() {
    const NAMESPACES: usize = 300;
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let admin = control_plane.admin().await;
    apply_tier(&admin, "stopped", &selecting("stopped", ALLOWANCES)).await;
    let names = create_namespaces(&admin, "stopped", &[("scenario", "stopped")], NAMESPACES).await;
    let controller = Controller::spawn(&control_plane, &[]);
    eventually("some policies are written", PATIENCE, || async {
        let written = control_plane.audit_log().writes_since(0, Identity::Controller).len();
        if written >= 100 {
            Ok(())
        } else {
            Err(format!("{written} writes"))
        }
    })
    .await;
    ends_in_time_with_0(controller).await;

    control_plane.audit_log().settled(&control_plane).await;
    let writes = control_plane.audit_log().writes_since(0, Identity::Controller);
    let unfinished: Vec<String> = writes
        .iter()
        .filter(|event| !event.succeeded())
        .map(|event| event.summary())
        .collect();
    assert_eq!(unfinished, [""; 0]);
    let mut written: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in writes.iter().filter(|event| event.resource == "networkpolicies") {
        written.entry(&event.namespace).or_default().push(&event.name);
    }
    assert!(
        written.len() < NAMESPACES,
        "the controller was done before it was asked to end"
    );
    // A namespace that was begun is complete: nobody is isolated without the allowance that goes with it.
    for (namespace, mut names) in written {
        names.sort_unstable();
        assert_eq!(names, POLICIES, "{namespace}");
    }
    Observer::of(names).verdict(&control_plane).await;
}
