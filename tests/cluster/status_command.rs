//! `cofferdam status` on a live cluster, against what the API itself says: who drifted what while no controller ran, what
//! counts as unprotected, and that nothing is written.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::harness::command_line::{command_line, json_of, text};
use crate::harness::eventually::PATIENCE;
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_policies::{Governed, OTHER_MANAGER};
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity, Observer, eventually};

const INGRESS: &str = "cofferdam-baseline-ingress";
const EGRESS: &str = "cofferdam-baseline-egress";

// What is counted is the whole cluster, so other scenarios may not change it meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn drift_while_no_controller_runs_is_shown_with_who_and_what() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let edited = Governed::on(&control_plane, "edited").await;
    let deleted = Governed::on(&control_plane, "deleted").await;
    let stripped = Governed::on(&control_plane, "stripped").await;
    let widened = Governed::on(&control_plane, "widened").await;
    let all = [&edited, &deleted, &stripped, &widened];
    for governed in all {
        let (code, report) = status_of(&control_plane, Identity::Controller, &["--tier", &governed.name]);
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(report["counts"]["protected"], 1, "{report:#}");
    }
    assert_eq!(controller.sigterm().await, 0);

    edited.merge(INGRESS, json!({"spec": {"ingress": [{}]}})).await;
    deleted.tenant.delete(EGRESS, &DeleteParams::default()).await.unwrap();
    stripped.merge(INGRESS, json!({"metadata": {"labels": null}})).await;
    // Our types do not hold that year: one such object must not end the report on every other.
    let hostile = json!({"metadata": {"managedFields": [{"manager": "liar", "operation": "Update",
        "apiVersion": "networking.k8s.io/v1", "time": "9999-12-31T23:59:59Z", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {}}}]}});
    // By kubectl, whose types hold it.
    let hostile = hostile.to_string();
    let patch = [
        "patch",
        "networkpolicy",
        EGRESS,
        "-n",
        &stripped.name,
        "--type=merge",
        "-p",
        &hostile,
    ];
    control_plane.kubectl(&patch).expect_success();
    let open = json!({"metadata": {"name": "open"}, "spec": {"podSelector": {}, "ingress": [{}]}});
    let open: NetworkPolicy = serde_json::from_value(open).unwrap();
    widened.tenant.create(&PostParams::default(), &open).await.unwrap();
    create_namespace(&control_plane.admin().await, "ungoverned", &[]).await;

    control_plane.audit_log().settled(&control_plane).await;
    let mark = control_plane.audit_log().mark();
    let (code, report) = status_of(&control_plane, Identity::Controller, &[]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(names(&report), kubectl_namespaces(&control_plane));
    let expected = [
        ("drifted", 3),
        ("protected", 1),
        ("pending", 0),
        ("contested", 0),
        ("failed", 0),
    ];
    for (state, count) in expected {
        assert_eq!(report["counts"][state], count, "{state}: {report:#}");
    }
    says_who_and_what(&report, &edited.name);
    let drift = &of(&report, &deleted.name)["drift"][0];
    assert_eq!(
        (&drift["policy"], &drift["kind"]),
        (&json!(EGRESS), &json!("missing")),
        "{drift:#}"
    );
    assert!(
        drift["auditQuery"].as_str().unwrap().contains(&deleted.name),
        "{drift:#}"
    );
    assert!(drift.get("by").is_none(), "the API does not tell: {drift:#}");
    let drift = &of(&report, &stripped.name)["drift"][0];
    assert_eq!(
        (&drift["policy"], &drift["kind"]),
        (&json!(INGRESS), &json!("disowned")),
        "{drift:#}"
    );
    let widening = &of(&report, &widened.name)["widenedBy"][0];
    assert_eq!(
        (&widening["policy"], &widening["severity"]),
        (&json!("open"), &json!("open"))
    );
    assert_eq!(of(&report, "ungoverned")["state"], "ungoverned");
    assert_eq!(of(&report, "kube-system")["unprotected"], false);
    every_field_is_documented(&report);
    the_table_says_the_same(&control_plane, &edited.name, &report);

    control_plane.audit_log().settled(&control_plane).await;
    let writes = control_plane.audit_log().writes_since(mark, Identity::Controller);
    assert!(writes.is_empty(), "{writes:?}");
    let refused = control_plane.audit_log().missing_permissions_of(Identity::Controller);
    assert!(refused.is_empty(), "{refused:?}");

    let controller = Controller::start(&control_plane, &[]).await;
    eventually("all is healed, says status", PATIENCE, || async {
        let (code, report) = status_of(&control_plane, Identity::Controller, &["--tier", &edited.name]);
        let healed = code == Some(0) && report["counts"]["protected"] == 1;
        healed.then_some(()).ok_or_else(|| format!("{report:#}"))
    })
    .await;
    assert_eq!(controller.sigterm().await, 0);
    let name_of = |governed: &Governed<'_>| governed.name.clone();
    Observer::of([name_of(&widened)]).verdict(&control_plane).await;
}

fn says_who_and_what(report: &Value, namespace: &str) {
    let status = of(report, namespace);
    let drift = &status["drift"][0];
    assert_eq!(
        (&drift["policy"], &drift["kind"]),
        (&json!(INGRESS), &json!("modified")),
        "{status:#}"
    );
    assert_eq!(drift["by"]["manager"], OTHER_MANAGER, "{status:#}");
    assert_eq!(drift["by"]["time"], status["since"], "{status:#}");
    assert_eq!(drift["changes"][0]["path"], "spec.ingress[0].from", "{status:#}");
    assert!(
        drift["changes"][0]["before"].as_str().unwrap().contains("gateway"),
        "{status:#}"
    );
}

fn the_table_says_the_same(control_plane: &ControlPlane, edited: &str, report: &Value) {
    let table = status(control_plane, Identity::Controller, &["-A"]);
    let text = String::from_utf8(table.stdout).unwrap();
    let is_a_command = |character: char| character.is_control() && character != '\n';
    assert!(!text.contains(is_a_command), "{text:?}");
    assert!(text.starts_with("NAMESPACE "), "{text}");
    let column = text.find("STATE").unwrap();
    for namespace in report["namespaces"].as_array().unwrap() {
        let name = namespace["namespace"].as_str().unwrap();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        let state = line[column..].split(' ').next().unwrap();
        assert_eq!(namespace["state"], state, "{line}");
    }
    let line = text.lines().find(|line| line.starts_with(edited)).unwrap();
    assert!(line.contains(&format!("modified by {OTHER_MANAGER}")), "{line}");
    let wide = status(control_plane, Identity::Controller, &["-n", edited, "-o", "wide"]);
    let wide = String::from_utf8(wide.stdout).unwrap();
    assert!(wide.contains("\n    spec.ingress[0].from was ["), "{wide}");
}

// `tests/cli/status.md` is what others script against.
fn every_field_is_documented(report: &Value) {
    let documentation = include_str!("../cli/status.md");
    let rows = documentation.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| row.split_once('`'));
    let documented: Vec<_> = rows.map(|(path, rest)| (path, !rest.starts_with('?'))).collect();
    assert!(documented.len() > 20, "{documented:?}");
    let mut found = BTreeSet::new();
    paths("", report, &mut found);
    let is_documented = |path: &str| {
        documented.iter().any(|(documented, _)| {
            *documented == path
                || documented
                    .strip_suffix('*')
                    .is_some_and(|prefix| path.starts_with(prefix))
        })
    };
    let undocumented: Vec<_> = found.iter().filter(|path| !is_documented(path)).collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
    for namespace in report["namespaces"].as_array().unwrap() {
        for (path, _) in documented.iter().filter(|(_, always)| *always) {
            let Some(field) = path.strip_prefix("namespaces[].") else {
                continue;
            };
            let field = field.split(['.', '[']).next().unwrap();
            assert!(
                namespace.get(field).is_some(),
                "{field} is documented as always there: {namespace:#}"
            );
        }
    }
}

fn paths(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            let dot = if prefix.is_empty() { "" } else { "." };
            paths(&format!("{prefix}{dot}{name}"), value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| paths(&format!("{prefix}[]"), item, found)),
        _ => _ = found.insert(prefix.to_owned()),
    }
}

// A tenant may read what is in its own namespace, and no tier: that is said. Once it may read tiers, it sees its namespace.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_namespace_and_is_told_what_it_may_not_read() {
    let (governed, _) = Governed::on_shared("own-status").await;
    let control_plane = governed.control_plane;
    let refused = status(control_plane, Identity::Tenant, &["-n", &governed.name]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(
        text(&refused).contains("cannot list isolationtiers:"),
        "{}",
        text(&refused)
    );
    let role = format!("read-tiers-{}", governed.name);
    control_plane
        .kubectl(&[
            "create",
            "clusterrole",
            &role,
            "--verb=get,list",
            "--resource=isolationtiers.cofferdam.dev",
        ])
        .expect_success();
    control_plane
        .kubectl(&[
            "create",
            "clusterrolebinding",
            &role,
            "--clusterrole",
            &role,
            "--user=tenant",
        ])
        .expect_success();
    eventually("the tenant may read tiers", PATIENCE, || async {
        let output = status(control_plane, Identity::Tenant, &["-n", &governed.name, "-o", "json"]);
        let said = text(&output);
        let seen = output.status.code() == Some(0) && said.contains("\"state\": \"protected\"");
        seen.then_some(()).ok_or(said)
    })
    .await;
    let everywhere = status(control_plane, Identity::Tenant, &[]);
    assert_eq!(everywhere.status.code(), Some(2), "{}", text(&everywhere));
    assert!(text(&everywhere).contains("name it with -n"), "{}", text(&everywhere));
    let typo = status(control_plane, Identity::Admin, &["-n", "no-such-namespace"]);
    assert_eq!(typo.status.code(), Some(2), "{}", text(&typo));
    assert!(text(&typo).contains("no-such-namespace"), "{}", text(&typo));
    governed.verdict().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_watches_each_change_is_a_line() {
    let (governed, _) = Governed::on_shared("watched-status").await;
    let control_plane = governed.control_plane;
    let mut watching = Watching::start(control_plane, &["--tier", &governed.name, "--watch", "-o", "json"]);
    watching.waits_for("protected, at first", |line| line["state"] == "protected");
    governed
        .tenant
        .create(
            &PostParams::default(),
            &serde_json::from_value(
                json!({"metadata": {"name": "open"}, "spec": {"podSelector": {}, "ingress": [{}]}}),
            )
            .unwrap(),
        )
        .await
        .unwrap();
    watching.waits_for("widened", |line| line["widenedBy"][0]["policy"] == "open");
    let policies: Api<NetworkPolicy> = Api::namespaced(governed.admin.clone(), &governed.name);
    policies.delete("open", &DeleteParams::default()).await.unwrap();
    watching.waits_for("as before", |line| line["widenedBy"] == json!([]));
    governed.verdict().await;
}

/// A `cofferdam status --watch`, which ends with it.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watching {
    fn start(control_plane: &ControlPlane, arguments: &[&str]) -> Self {
        let mut child = command(control_plane, Identity::Admin, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn waits_for(&mut self, what: &str, condition: impl Fn(&Value) -> bool) {
        for line in self.lines.by_ref() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if condition(&line) {
                return;
            }
        }
        panic!("it ended before it said: {what}");
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn of<'a>(report: &'a Value, namespace: &str) -> &'a Value {
    let mut namespaces = report["namespaces"].as_array().unwrap().iter();
    namespaces
        .find(|status| status["namespace"] == namespace)
        .unwrap_or_else(|| panic!("{namespace} is not in {report:#}"))
}

fn names(report: &Value) -> BTreeSet<String> {
    let namespaces = report["namespaces"].as_array().unwrap().iter();
    namespaces
        .map(|status| status["namespace"].as_str().unwrap().to_owned())
        .collect()
}

fn kubectl_namespaces(control_plane: &ControlPlane) -> BTreeSet<String> {
    let listed = control_plane
        .kubectl(&["get", "namespaces", "-o", "name"])
        .expect_success();
    listed
        .lines()
        .map(|line| line.trim_start_matches("namespace/").to_owned())
        .collect()
}

fn status_of(control_plane: &ControlPlane, identity: Identity, arguments: &[&str]) -> (Option<i32>, Value) {
    json_of(&status(control_plane, identity, &[arguments, &["-o", "json"]].concat()))
}

fn status(control_plane: &ControlPlane, identity: Identity, arguments: &[&str]) -> Output {
    command(control_plane, identity, arguments).output().unwrap()
}

fn command(control_plane: &ControlPlane, identity: Identity, arguments: &[&str]) -> Command {
    command_line(control_plane, identity, &[&["status"], arguments].concat())
}
