//! The promise behind the rules: a tier that the API server accepts never renders to a NetworkPolicy that it refuses.
//! Each case puts the same awkward fragment into a tier and into a policy, and compares the answers.

use kube::Client;
use serde_json::{Value, json};

use super::request::create;
use super::tier_with;
use crate::harness::ControlPlane;

/// What a tier is refused for on purpose though a policy is not: a part of the message.
const STRICTER_ON_PURPOSE: [&str; 3] = [" is empty", "not a block in canonical form", "a port that names none"];

const KEYS: [&str; 14] = [
    "app",
    "example.com/B_c.d",
    "Example.com/a",
    "",
    "a/",
    "/a",
    "a/b/c",
    "-a",
    "a-",
    "a b",
    "é",
    "a\n",
    "ex..com/a",
    "1.2/3",
];
const VALUES: [&str; 12] = [
    "", "a", "A.b_c-9", "-a", "a-", "a_", "a b", "a/b", "é", "a\n", "..", "\u{212a}",
];
const BLOCKS: [&str; 20] = [
    "10.0.0.0/8",
    "10.20.0.0/16",
    "10.20.1.5/24",
    "10.20.1.5/32",
    "0.0.0.0/0",
    "10.0.0.0/08",
    "010.0.0.0/8",
    "10.0.0.0/33",
    "10.0.0.0",
    " 10.0.0.0/8",
    "",
    "::/0",
    "::/00",
    "2001:db8::/32",
    "2001:DB8::/32",
    "2001:db8::1/128",
    "2001:db8:0:0::/64",
    "::ffff:10.0.0.0/104",
    "::10.0.0.0/104",
    "fe80::%eth0/64",
];
const PORT_NAMES: [&str; 14] = [
    "http",
    "8080",
    "HTTP",
    "a",
    "1a",
    "a-b",
    "a--b",
    "-a",
    "a-",
    "",
    "a_b",
    "fifteen-letters",
    "sixteen-letters-",
    "a\n",
];
const PORT_NUMBERS: [i64; 8] = [1, 80, 65535, 0, -1, 65536, 2_147_483_647, -2_147_483_648];

fn selectors() -> Vec<Value> {
    let long = ["l".repeat(63), "l".repeat(64)];
    let prefixes = ["p".repeat(63), "p".repeat(64)];
    let keys = KEYS.iter().map(ToString::to_string).chain(long.clone());
    let keys = keys.chain(prefixes.iter().map(|prefix| format!("{prefix}.example/a")));
    let values = VALUES.iter().map(ToString::to_string).chain(long);
    let mut selectors = vec![json!({}), json!({"matchLabels": {}}), json!({"matchExpressions": []})];
    for key in keys {
        selectors.push(json!({"matchLabels": {&key: "a"}}));
        selectors.push(json!({"matchExpressions": [{"key": key, "operator": "Exists"}]}));
    }
    for value in values {
        selectors.push(json!({"matchLabels": {"app": value}}));
        selectors.push(json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", value]}]}));
    }
    for operator in ["In", "NotIn", "Exists", "DoesNotExist", "Gt", ""] {
        selectors.push(json!({"matchExpressions": [{"key": "app", "operator": operator}]}));
        selectors.push(json!({"matchExpressions": [{"key": "app", "operator": operator, "values": []}]}));
        selectors.push(json!({"matchExpressions": [{"key": "app", "operator": operator, "values": ["a", "a"]}]}));
    }
    selectors
}

fn peers() -> Vec<Value> {
    let mut peers = vec![json!({}), json!({"namespaceSelector": {}, "podSelector": {}})];
    for selector in ["namespaceSelector", "podSelector"] {
        peers.push(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, selector: {}}));
    }
    for selector in selectors() {
        peers.push(json!({"podSelector": selector}));
        peers.push(json!({"namespaceSelector": selector}));
    }
    for cidr in BLOCKS {
        peers.push(json!({"ipBlock": {"cidr": cidr}}));
        peers.push(json!({"ipBlock": {"cidr": cidr, "except": []}}));
        peers.extend(BLOCKS.map(|except| json!({"ipBlock": {"cidr": cidr, "except": [except]}})));
    }
    peers
}

fn ports() -> Vec<Value> {
    let mut ports = vec![
        json!({}),
        json!({"protocol": "UDP"}),
        json!({"protocol": "udp", "port": 1}),
        json!({"endPort": 80}),
    ];
    for name in PORT_NAMES {
        ports.push(json!({"port": name}));
        ports.push(json!({"port": name, "endPort": 80}));
    }
    for port in PORT_NUMBERS {
        ports.push(json!({"port": port}));
        ports.extend(PORT_NUMBERS.map(|end_port| json!({"protocol": "SCTP", "port": port, "endPort": end_port})));
    }
    ports
}

fn policy(pod_selector: &Value, direction: &str, rule: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "dry-run"},
        "spec": {"podSelector": pod_selector, direction: [rule]},
    })
}

/// How the answers disagree in a way that nobody intended.
async fn disagreement(client: &Client, allowance: &Value, policy: &Value) -> Option<String> {
    let tier = create(client, &tier_with(json!([allowance]))).await;
    let policy = create(client, policy).await;
    match (tier, policy) {
        (Ok(_), Err(message)) => Some(format!("{allowance}: accepted, but the policy is refused: {message}")),
        (Err(message), Ok(_)) if !STRICTER_ON_PURPOSE.iter().any(|part| message.contains(part)) => {
            Some(format!("{allowance}: refused, but the policy is accepted: {message}"))
        }
        (Err(message), _) if message.contains("rule evaluation error") => Some(format!("{allowance}: {message}")),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_is_refused_for_a_tier_is_refused_for() {
    let mut cases: Vec<(Value, Value)> = Vec::new();
    for peer in peers() {
        let from = json!({"name": "a", "from": [peer]});
        cases.push((from, policy(&json!({}), "ingress", &json!({"from": [peer]}))));
    }
    for port in ports() {
        let to = json!({"name": "a", "to": [{"podSelector": {}}], "ports": [port]});
        cases.push((
            to.clone(),
            policy(&json!({}), "egress", &json!({"to": to["to"], "ports": to["ports"]})),
        ));
    }
    for selector in selectors() {
        let from = json!({"name": "a", "from": [{"podSelector": {}}], "podSelector": selector});
        cases.push((
            from.clone(),
            policy(&selector, "ingress", &json!({"from": from["from"]})),
        ));
    }
    let client = ControlPlane::shared().await.admin().await;
    let mut disagreements = Vec::new();
    for (allowance, policy) in &cases {
        disagreements.extend(disagreement(&client, allowance, policy).await);
    }
    let (found, all) = (disagreements.len(), cases.len());
    assert!(
        disagreements.is_empty(),
        "{found} of {all} cases:\n{}",
        disagreements.join("\n")
    );
}
