//! What the API server makes of tiers: accepted, or refused with a message that says what to write instead.
//! Everything is a dry run, so nothing here meets the other scenarios.

mod agreement;
mod request;

use std::path::{Path, PathBuf};

use kube::Client;
use serde_json::{Value, json};

use crate::harness::{ControlPlane, ControlPlaneOptions};
use request::{apply, create, get_table};

/// A tier as a file holds it, with what its first line says about the message.
struct Fixture {
    path: PathBuf,
    tier: Value,
    expected_message: Option<String>,
}

fn fixtures(kind: &str) -> Vec<Fixture> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tiers")
        .join(kind);
    let mut fixtures: Vec<Fixture> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let first_line = text.lines().next().unwrap_or_default();
            Fixture {
                tier: serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
                expected_message: first_line.strip_prefix("# expect: ").map(ToOwned::to_owned),
                path,
            }
        })
        .collect();
    fixtures.sort_by(|left, right| left.path.cmp(&right.path));
    fixtures
}

/// Panics once, with everything that was found wrong.
async fn check_fixtures(client: &Client) {
    let mut wrong = Vec::new();
    for Fixture { path, tier, .. } in fixtures("valid") {
        for (verb, answer) in [
            ("POST", create(client, &tier).await),
            ("apply", apply(client, &tier).await),
        ] {
            match answer {
                // Defaults that the server writes into the spec are drift to GitOps tools.
                Ok(accepted) if accepted["spec"] == tier["spec"] => {}
                Ok(accepted) => wrong.push(format!("{}: {verb} changed it to {}", path.display(), accepted["spec"])),
                Err(message) => wrong.push(format!("{}: {verb} refused it: {message}", path.display())),
            }
        }
    }
    for Fixture {
        path,
        tier,
        expected_message,
    } in fixtures("invalid")
    {
        let expected = expected_message.unwrap_or_else(|| panic!("{}: no `# expect:` line", path.display()));
        match create(client, &tier).await {
            Err(message) if message.contains(&expected) => {}
            Err(message) => wrong.push(format!("{}: expected `{expected}`, found: {message}", path.display())),
            Ok(_) => wrong.push(format!("{}: POST accepted it", path.display())),
        }
        // Server-side apply puts some of it in words of its own, before the schema is asked.
        if apply(client, &tier).await.is_ok() {
            wrong.push(format!("{}: apply accepted it", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} fixtures:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_tiers_are_accepted_and_invalid_ones_refused_with_a_way_out() {
    check_fixtures(&ControlPlane::shared().await.admin().await).await;
}

// The newest server with the language of the oldest that we support: its CEL libraries, and its cost estimates.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_supported_server_says_the_same() {
    let control_plane = ControlPlane::start(ControlPlaneOptions {
        controller_manager: false,
        audit: false,
        cluster_facts: false,
        api_server_flags: vec!["--emulated-version=1.33".to_owned()],
        ..ControlPlaneOptions::default()
    })
    .await;
    check_fixtures(&control_plane.admin().await).await;
}

// The files are read by kubectl here, whose YAML is older than ours: an unquoted `no` would be a boolean.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_reads_the_valid_tiers_too() {
    let apply = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--filename=tests/fixtures/tiers/valid",
    ];
    let applied = ControlPlane::shared().await.kubectl(&apply).expect_success();
    assert_eq!(applied.lines().count(), fixtures("valid").len(), "{applied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_nobody_has_seen_is_not_healthy() {
    let client = ControlPlane::shared().await.admin().await;
    let mut tier = tier_with(json!([]));
    for status in [json!(null), json!({"observedGeneration": 1, "conditions": []})] {
        tier["status"] = status;
        let created = create(&client, &tier).await.unwrap();
        assert_eq!(created["status"], json!({"observedGeneration": -1}));
    }
}

// The API server estimates the cost of the rules when the CRD is applied, and counts it when a tier is.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_tiers_stay_within_the_budget() {
    let client = ControlPlane::shared().await.admin().await;
    let except: Vec<String> = (0..16)
        .map(|i| format!("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff{i:x}0/124"))
        .collect();
    let blocks = vec![json!({"ipBlock": {"cidr": "::/0", "except": except}}); 16];
    let ports = vec![json!({"protocol": "SCTP", "port": "fifteen-letters"}); 16];
    let allow = |peers: &[Value]| -> Value {
        (0..32)
            .map(|i| json!({"name": format!("a{i}"), "from": peers, "ports": ports}))
            .collect()
    };
    create(&client, &tier_with(allow(&blocks))).await.unwrap();

    // All 16 peers of this kind are more than the 3 MiB that the API server reads.
    let value = "v".repeat(63);
    let key = |i: usize| format!("{0}.{0}.{0}.{0}.ab/{1}{i:03}", "p".repeat(61), "n".repeat(60));
    let selector = json!({
        "matchLabels": (0..8).map(|i| (key(i), json!(value))).collect::<serde_json::Map<_, _>>(),
        "matchExpressions": (0..4)
            .map(|i| json!({"key": key(i), "operator": "In", "values": vec![&value; 16]}))
            .collect::<Value>(),
    });
    let peers = vec![json!({"namespaceSelector": selector, "podSelector": selector}); 4];
    create(&client, &tier_with(allow(&peers))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_explain_reads_as_documentation() {
    let control_plane = ControlPlane::shared().await;
    for (field, expected) in [
        ("isolationtier", "Start with mode Observe"),
        ("isolationtier.spec", "enum: Enforce, Observe"),
        ("isolationtier.spec.allow", "      - name: dns\n        preset: DNS\n"),
        (
            "isolationtier.spec.allow.ports",
            "Absent means every\n    port of every protocol.",
        ),
        (
            "isolationtier.spec.allow.preset",
            "`KubeAPIServer`: egress to the API server.",
        ),
        (
            "isolationtier.status.namespaces.protected",
            "does not show in the Kubernetes API",
        ),
    ] {
        let explained = control_plane.kubectl(&["explain", field]).expect_success();
        assert!(explained.contains(expected), "expected `{expected}` in:\n{explained}");
    }
    let fields = control_plane
        .kubectl(&["explain", "isolationtier.spec.allow", "--recursive"])
        .expect_success();
    assert!(fields.contains("enum: DNS, SameNamespace, KubeAPIServer"), "{fields}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_get_shows_the_state_at_a_glance() {
    let table = get_table(&ControlPlane::shared().await.admin().await).await;
    let columns = |priority: i64| -> Vec<&str> {
        let columns = table["columnDefinitions"].as_array().unwrap().iter();
        let of_priority = columns.filter(|column| column["priority"] == priority);
        of_priority.map(|column| column["name"].as_str().unwrap()).collect()
    };
    assert_eq!(
        columns(0),
        ["Name", "Ready", "Mode", "Namespaces", "Protected", "Drifted", "Age"]
    );
    assert_eq!(columns(1), ["Precedence", "Message"]);
}

/// Selects no namespace that a scenario has, and observes only.
fn tier_with(allow: Value) -> Value {
    let nobody = json!({"matchLabels": {"kubernetes.io/metadata.name": "nobody"}});
    json!({
        "apiVersion": "cofferdam.dev/v1alpha1",
        "kind": "IsolationTier",
        "metadata": {"name": "dry-run"},
        "spec": {"mode": "Observe", "namespaceSelector": nobody, "allow": allow},
    })
}
