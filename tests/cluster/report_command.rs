//! `cofferdam report --cis` on a live cluster: every namespace that the API lists is in it, judged by what stands there, with
//! evidence that the API confirms.

use std::process::Output;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::harness::command_line::{command_line, json_of};
use crate::harness::scenario_namespaces::create_namespace;
use crate::harness::scenario_policies::Governed;
use crate::harness::{ControlPlane, ControlPlaneOptions, Controller, Identity};

// A report is about the whole cluster, so other scenarios may not change it meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_report_judges_every_namespace_by_what_stands_there() {
    let control_plane = ControlPlane::start(ControlPlaneOptions::default()).await;
    let controller = Controller::start(&control_plane, &[]).await;
    let governed = Governed::on(&control_plane, "governed").await;
    let both = json!(["Ingress", "Egress"]);
    let halves = json!([{"from": [{"ipBlock": {"cidr": "0.0.0.0/1"}}, {"ipBlock": {"cidr": "128.0.0.0/1"}}]}]);
    for (name, policies) in [
        ("denied", vec![json!({"podSelector": {}, "policyTypes": both})]),
        (
            "ingress-only",
            vec![json!({"podSelector": {}, "policyTypes": ["Ingress"]})],
        ),
        ("nothing", vec![]),
        (
            "allow-all",
            vec![json!({"podSelector": {}, "policyTypes": both, "ingress": [{}], "egress": [{}]})],
        ),
        (
            "undone",
            vec![
                json!({"podSelector": {}, "policyTypes": both}),
                json!({"podSelector": {}, "policyTypes": both, "ingress": [{}], "egress": [{}]}),
            ],
        ),
        (
            "halves",
            vec![json!({"podSelector": {}, "policyTypes": both, "ingress": halves})],
        ),
        (
            "some-pods",
            vec![json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": both})],
        ),
        ("kube-node-lease", vec![]),
    ] {
        prepare(&control_plane, name, policies).await;
    }
    let (code, report) = report_of(&control_plane, &[]);
    assert_eq!(code, Some(1), "{report:#}");
    let verdicts = |name: &str| {
        let namespace = of(&report, name);
        let directions = namespace["directions"].as_array().unwrap();
        let mut words = vec![namespace["verdict"].as_str().unwrap()];
        words.extend(
            directions
                .iter()
                .map(|direction| direction["verdict"].as_str().unwrap()),
        );
        words.join(" ")
    };
    for (name, expected) in [
        (governed.name.as_str(), "pass pass pass"),
        ("denied", "pass pass pass"),
        ("ingress-only", "fail pass fail"),
        ("nothing", "fail fail fail"),
        ("allow-all", "fail fail fail"),
        ("undone", "fail fail fail"),
        ("halves", "fail fail pass"),
        ("some-pods", "fail fail fail"),
        ("kube-node-lease", "exempt exempt exempt"),
        ("cofferdam-system", "exempt exempt exempt"),
    ] {
        assert_eq!(verdicts(name), expected, "{name}: {:#}", of(&report, name));
    }
    assert_eq!(
        of(&report, "undone")["directions"][0]["openedBy"]["policies"],
        json!(["policy-1"])
    );
    let listed = control_plane
        .kubectl(&["get", "namespaces", "-o", "name"])
        .expect_success();
    assert_eq!(report["namespaces"].as_array().unwrap().len(), listed.lines().count());
    the_evidence_is_what_the_api_says(&governed, &report).await;
    the_header_says_which_cluster(&control_plane, &report);
    people_read_the_same(&control_plane, &report);

    let (code, one) = report_of(&control_plane, &["-n", &governed.name]);
    assert_eq!((code, &one["counts"]["pass"]), (Some(0), &json!(1)), "{one:#}");
    governed.verdict().await;
    assert_eq!(controller.sigterm().await, 0);
}

async fn prepare(control_plane: &ControlPlane, name: &str, policies: Vec<Value>) {
    let admin = control_plane.admin().await;
    // The API server makes some by itself.
    let exists = control_plane.kubectl(&["get", "namespace", name, "--ignore-not-found", "-o", "name"]);
    if exists.expect_success().is_empty() {
        create_namespace(&admin, name, &[]).await;
    }
    let api: Api<NetworkPolicy> = Api::namespaced(admin, name);
    for (index, spec) in policies.into_iter().enumerate() {
        let policy = json!({"metadata": {"name": format!("policy-{index}")}, "spec": spec});
        let policy = serde_json::from_value(policy).unwrap();
        api.create(&PostParams::default(), &policy).await.unwrap();
    }
}

async fn the_evidence_is_what_the_api_says(governed: &Governed<'_>, report: &Value) {
    let namespace = of(report, &governed.name);
    for (index, name) in ["cofferdam-baseline-ingress", "cofferdam-baseline-egress"]
        .iter()
        .enumerate()
    {
        let policy = governed.get(name).await;
        let evidence = &namespace["directions"][index]["isolatedBy"][0];
        let created = policy.metadata.creation_timestamp.unwrap().0.to_string();
        assert_eq!(
            *evidence,
            json!({"policy": name, "uid": policy.metadata.uid, "resourceVersion": policy.metadata.resource_version,
                "tier": governed.name, "since": created})
        );
    }
}

fn the_header_says_which_cluster(control_plane: &ControlPlane, report: &Value) {
    let version = control_plane.kubectl(&["version", "-o", "json"]).expect_success();
    let version: Value = serde_json::from_str(&version).unwrap();
    assert_eq!(
        report["cluster"]["serverVersion"],
        version["serverVersion"]["gitVersion"]
    );
    let uid = control_plane.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]);
    assert_eq!(report["cluster"]["uid"], uid.expect_success());
    assert_eq!(report["cofferdamVersion"], env!("CARGO_PKG_VERSION"));
    assert!(report["limits"].as_str().unwrap().contains("network plugin"));
}

fn people_read_the_same(control_plane: &ControlPlane, report: &Value) {
    for format in ["table", "markdown"] {
        let output = run(control_plane, &["-o", format]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("network plugin") && text.contains("CIS Kubernetes Benchmark 5.3.2"),
            "{text}"
        );
        for namespace in report["namespaces"].as_array().unwrap() {
            let name = namespace["namespace"].as_str().unwrap();
            for direction in namespace["directions"].as_array().unwrap() {
                let cells = [
                    name,
                    direction["direction"].as_str().unwrap(),
                    direction["verdict"].as_str().unwrap(),
                ];
                let found = text.lines().any(|line| {
                    let words: Vec<_> = line.split([' ', '|']).filter(|word| !word.is_empty()).collect();
                    words.starts_with(&cells)
                });
                assert!(found, "expected {cells:?} in\n{text}");
            }
        }
    }
}

fn of<'a>(report: &'a Value, namespace: &str) -> &'a Value {
    let mut namespaces = report["namespaces"].as_array().unwrap().iter();
    namespaces
        .find(|evidence| evidence["namespace"] == namespace)
        .unwrap_or_else(|| panic!("{namespace} is not in {report:#}"))
}

fn report_of(control_plane: &ControlPlane, arguments: &[&str]) -> (Option<i32>, Value) {
    json_of(&run(control_plane, &[arguments, &["-o", "json"]].concat()))
}

fn run(control_plane: &ControlPlane, arguments: &[&str]) -> Output {
    command_line(
        control_plane,
        Identity::Controller,
        &[&["report", "--cis"], arguments].concat(),
    )
    .output()
    .unwrap()
}
