//! The commands of the README, typed in its order on a cluster of their own, do what it says.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::PropagationPolicy;

use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_tiers::{apply_tier, delete_tier, selecting};
use crate::harness::server_processes::binary;
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, eventually};

const SOON: Duration = Duration::from_secs(30);

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// The commands of a section, and those that its later blocks have.
fn blocks_of(section: &str) -> Vec<String> {
    let text = readme();
    let start = text
        .find(&format!("\n{section}\n"))
        .unwrap_or_else(|| panic!("README.md lacks {section}"));
    let rest = &text[start + section.len() + 2..];
    let end = rest
        .find("\n## ")
        .into_iter()
        .chain(rest.find("\n### "))
        .min()
        .unwrap_or(rest.len());
    let blocks = rest[..end]
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next());
    blocks.map(str::to_owned).collect()
}

/// Types a block as the admin, whatever the line; kubectl and cofferdam are those of this build.
fn type_in(control_plane: &ControlPlane, block: &str) -> String {
    let tools = [binary("kubectl"), env!("CARGO_BIN_EXE_cofferdam").into()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = tools
        .iter()
        .map(|tool| tool.parent().unwrap().to_owned())
        .chain(std::env::split_paths(&path));
    let tier = control_plane.directory().join("tier.yaml");
    let output = std::process::Command::new("sh")
        .args(["-euc", &block.replace("tier.yaml", tier.to_str().unwrap())])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("PATH", std::env::join_paths(directories).unwrap())
        .env("KUBECONFIG", control_plane.kubeconfig(Identity::Admin))
        .env("HOME", control_plane.directory())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{block}\n{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

async fn wait_for_policies(control_plane: &ControlPlane, expected: usize) {
    eventually("so many policies stand", SOON, || async {
        let found = control_plane
            .kubectl(&["get", "networkpolicies", "-A", "-o", "name"])
            .expect_success();
        let reached = found.lines().count() == expected;
        reached.then_some(()).ok_or_else(|| format!("{found}, not {expected}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn install_emergency_and_uninstall_do_what_the_readme_says() {
    let options = ControlPlaneOptions {
        install_config: false,
        controller_manager: false,
        ..ControlPlaneOptions::default()
    };
    let mut control_plane = ControlPlane::start(options).await;
    let tier = readme()
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap()
        .to_owned();
    std::fs::write(control_plane.directory().join("tier.yaml"), tier).unwrap();
    let [install, enforce] = blocks_of("## Install").try_into().unwrap();
    let [one_tier, everything] = blocks_of("### In an emergency").try_into().unwrap();
    let [uninstall, open] = blocks_of("### Uninstall").try_into().unwrap();

    // A person reads between the two commands; a script has to wait until the new kind is served.
    let (first, second) = install.split_once('\n').unwrap();
    type_in(&control_plane, first);
    control_plane.wait_until_installed().await;
    type_in(&control_plane, second);
    control_plane.start_controller_manager();
    let controller = Controller::start(&control_plane, &[]).await;
    create_namespace(
        &control_plane.admin().await,
        "payments",
        &[("cofferdam.dev/tier", "restricted")],
    )
    .await;
    wait_for_policies(&control_plane, 0).await;

    let plan = type_in(&control_plane, &enforce);
    assert!(plan.contains("would create 2"), "{plan}");
    wait_for_policies(&control_plane, 2).await;
    type_in(&control_plane, &one_tier);
    wait_for_policies(&control_plane, 0).await;
    type_in(&control_plane, enforce.lines().last().unwrap());
    wait_for_policies(&control_plane, 2).await;

    type_in(&control_plane, &uninstall);
    // What the deleted Deployment would have ended.
    assert_eq!(controller.sigterm().await, 0);
    wait_for_policies(&control_plane, 2).await;
    type_in(&control_plane, &open);
    wait_for_policies(&control_plane, 0).await;

    type_in(&control_plane, first);
    type_in(&control_plane, &everything);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_tier_leaves_is_cleaned_up_or_removed_with_it_as_the_readme_says() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let _controller = Controller::start(&control_plane, &[]).await;
    let admin = control_plane.admin().await;
    create_namespace(&admin, "payments", &[("scenario", "payments")]).await;
    let [clean_up, remove] = blocks_of("### When a tier is deleted").try_into().unwrap();
    for _ in 0..2 {
        apply_tier(&admin, "restricted", &selecting("payments", "mode: Enforce\n")).await;
        wait_for_policies(&control_plane, 2).await;
        delete_tier(&admin, "restricted", PropagationPolicy::Background).await;
        let status = type_in(&control_plane, "cofferdam status || true");
        assert!(status.contains("retained"), "{status}");
        wait_for_policies(&control_plane, 2).await;
        type_in(&control_plane, &clean_up);
        wait_for_policies(&control_plane, 0).await;
        apply_tier(&admin, "restricted", &selecting("payments", "mode: Enforce\n")).await;
        wait_for_policies(&control_plane, 2).await;
        type_in(&control_plane, &remove);
        wait_for_policies(&control_plane, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_metrics_is_what_is_exported() {
    let controller = Controller::shared().await;
    // A series appears with its first event: the requests of the start are that of the last.
    let metrics = controller
        .eventually_metrics("requests are counted", |metrics| {
            let counted = metrics.count("cofferdam_api_requests_total", &[]) > 0;
            counted
                .then(|| metrics.clone())
                .ok_or_else(|| metrics.text().to_owned())
        })
        .await;
    let exported: BTreeSet<&str> = metrics
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP cofferdam_")?.split(' ').next())
        .collect();
    let readme = readme();
    let rows = readme.lines().filter(|line| line.starts_with("| `cofferdam_"));
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    let shown: BTreeSet<&str> = names.filter_map(|name| name.strip_prefix("cofferdam_")).collect();
    let unknown: Vec<_> = exported.difference(&shown).collect();
    assert!(unknown.is_empty(), "exported, and not in README.md: {unknown:?}");
    let absent: Vec<_> = shown.difference(&exported).copied().collect();
    // Of tiers, of drift and of an audit: there only once there is one, which another test may have made or not.
    let of_tiers = [
        "tier_",
        "namespace_drift",
        "drift_",
        "contested_policies",
        "held_releases",
        "last_audit_timestamp_seconds",
        "widening_policies",
        "time_to_protection_seconds",
    ];
    let missing: Vec<_> = absent
        .iter()
        .filter(|name| !of_tiers.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    assert!(missing.is_empty(), "in README.md, and not exported: {missing:?}");
}
