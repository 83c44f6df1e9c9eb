//! `cofferdam plan` on a live cluster: it says what the controller would do, and writes nothing.

use std::process::Output;
use std::time::Duration;

use crate::harness::command_line::{command_line, text};
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, eventually};

const SOON: Duration = Duration::from_secs(20);

const TIER: &str = "
apiVersion: cofferdam.dev/v1alpha1
kind: IsolationTier
metadata: {name: restricted}
spec:
  namespaceSelector: {matchLabels: {plan: restricted}}
  mode: Enforce
  allow:
  - {name: dns, preset: DNS}
  - {name: same, preset: SameNamespace}
  - {name: api, preset: KubeAPIServer, podSelector: {matchLabels: {needs-api: \"true\"}}}
";

// A live plan sees the whole cluster, so other scenarios may not change it meanwhile: a control plane of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_live_plan_says_what_the_controller_would_do_and_writes_nothing() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    create_namespace(&control_plane.admin().await, "payments", &[("plan", "restricted")]).await;
    control_plane
        .kubectl_with_input(&["apply", "--server-side", "-f", "-"], TIER)
        .expect_success();

    let before = plan(&control_plane, &["-o", "table"]);
    assert_eq!(before.status.code(), Some(1), "{}", text(&before));
    assert!(text(&before).contains("create 3"), "{}", text(&before));

    let controller = Controller::start(&control_plane, &[]).await;
    eventually("the plan is empty once the controller has written", SOON, || async {
        let output = plan(&control_plane, &[]);
        match output.status.code() {
            Some(0) if output.stdout.is_empty() => Ok(()),
            _ => Err(text(&output)),
        }
    })
    .await;
    // The plan runs as the controller does, to prove that its role is enough; so the controller itself must be quiet.
    assert_eq!(controller.sigterm().await, 0);

    control_plane.audit_log().settled(&control_plane).await;
    let mark = control_plane.audit_log().mark();
    nothing_is_planned_for_the_tier_as_it_stands(&control_plane);
    an_edit_in_a_file_is_planned_over_the_cluster(&control_plane);
    control_plane.audit_log().settled(&control_plane).await;
    let asked = control_plane.audit_log().events_since(mark);
    assert!(
        asked
            .iter()
            .any(|event| event.verb == "list" && event.resource == "networkpolicies"),
        "{asked:?}"
    );
    let writes = control_plane.audit_log().writes_since(mark, Identity::Controller);
    assert!(writes.is_empty(), "{writes:?}");
    let refused = control_plane.audit_log().missing_permissions_of(Identity::Controller);
    assert!(refused.is_empty(), "{refused:?}");

    what_kubectl_prints_is_planned_as_the_cluster_is(&control_plane);
    without_the_definition_a_first_tier_can_be_planned(&control_plane);
}

fn nothing_is_planned_for_the_tier_as_it_stands(control_plane: &ControlPlane) {
    let file = write_manifest(control_plane, "same.yaml", TIER);
    let same = plan(control_plane, &["-f", &file, "--live"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    assert!(same.stdout.is_empty(), "{}", text(&same));
}

fn an_edit_in_a_file_is_planned_over_the_cluster(control_plane: &ControlPlane) {
    let edited = TIER.replace("  - {name: same, preset: SameNamespace}\n", "");
    let file = write_manifest(control_plane, "edited.yaml", &edited);
    let change = plan(control_plane, &["-f", &file, "--live"]);
    assert_eq!(change.status.code(), Some(1), "{}", text(&change));
    let diff = String::from_utf8_lossy(&change.stdout);
    assert!(
        diff.contains("--- live/payments/cofferdam-baseline-ingress"),
        "{}",
        text(&change)
    );
    assert!(diff.contains("\n-  ingress:\n"), "{}", text(&change));
    let uid_changes = diff
        .lines()
        .filter(|line| line.starts_with(['+', '-']) && line.contains("uid:"))
        .count();
    assert_eq!(
        uid_changes,
        0,
        "a tier in a file stays the tier of its name: {}",
        text(&change)
    );
}

fn what_kubectl_prints_is_planned_as_the_cluster_is(control_plane: &ControlPlane) {
    let kinds = "isolationtiers,namespaces,networkpolicies,services,endpointslices";
    let printed = control_plane
        .kubectl(&[
            "get",
            kinds,
            "--all-namespaces",
            "--show-managed-fields",
            "--output=yaml",
        ])
        .expect_success();
    let file = write_manifest(control_plane, "printed.yaml", &printed);
    let offline = plan(control_plane, &["-f", &file]);
    assert_eq!(offline.status.code(), Some(0), "{}", text(&offline));
    assert!(offline.stdout.is_empty(), "{}", text(&offline));
    assert!(text(&offline).contains("nothing changes in"), "{}", text(&offline));
}

fn without_the_definition_a_first_tier_can_be_planned(control_plane: &ControlPlane) {
    control_plane
        .kubectl(&["delete", "crd", "isolationtiers.cofferdam.dev"])
        .expect_success();
    let alone = plan(control_plane, &[]);
    assert_eq!(alone.status.code(), Some(2), "{}", text(&alone));
    assert!(
        text(&alone).contains("cofferdam crd | kubectl apply"),
        "{}",
        text(&alone)
    );
    let file = write_manifest(control_plane, "first.yaml", TIER);
    let first = plan(control_plane, &["-f", &file, "--live", "-o", "table"]);
    assert_eq!(first.status.code(), Some(1), "{}", text(&first));
}

fn write_manifest(control_plane: &ControlPlane, name: &str, manifest: &str) -> String {
    let path = control_plane.directory().join(name);
    std::fs::write(&path, manifest).expect("a file in the control plane's directory");
    path.display().to_string()
}

fn plan(control_plane: &ControlPlane, arguments: &[&str]) -> Output {
    command_line(control_plane, Identity::Controller, &[&["plan"], arguments].concat())
        .output()
        .expect("the binary that cargo has just built")
}
