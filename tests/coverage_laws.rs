//! What must hold of coverage whatever the policies are, against every connection of a small world: eight addresses, each
//! of which stands for an eighth of all, a pod that nobody thought of, and four ports of each protocol.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a test's own code: a panic is its report

use std::cell::Cell;
use std::collections::BTreeMap;

use cofferdam::api::Direction;
use cofferdam::policy::Namespace;
use cofferdam::policy::coverage::Coverage;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

const CASES: u32 = 600;
/// Blocks by the eighths of all addresses that are in them.
const BLOCKS: [(&str, u8); 9] = [
    ("0.0.0.0/0", 0b1111_1111),
    ("0.0.0.0/1", 0b0000_1111),
    ("128.0.0.0/1", 0b1111_0000),
    ("0.0.0.0/2", 0b0000_0011),
    ("64.0.0.0/2", 0b0000_1100),
    ("128.0.0.0/2", 0b0011_0000),
    ("0.0.0.0/3", 0b0000_0001),
    ("96.0.0.0/3", 0b0000_1000),
    ("224.0.0.0/3", 0b1000_0000),
];
/// One of each set of ports that the generated ranges can tell apart, with how many it stands for.
const PORTS: [(i64, i64); 4] = [(1, 79), (80, 1), (100, 20), (65_535, 65_435)];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

#[test]
fn a_direction_is_isolated_if_and_only_if_an_exhaustive_search_says_so() {
    let verdicts = Cell::new([0_u32; 3]);
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let law = |specs: Vec<Value>| {
        let policies: Vec<_> = specs.iter().map(policy).collect();
        let namespace = Namespace {
            name: String::from("here"),
            uid: String::from("1"),
            labels: BTreeMap::new(),
            created: None,
            terminating: false,
        };
        let coverage = Coverage::of(&namespace, Direction::Ingress, &policies);
        let isolating = specs.iter().any(|spec| isolates_every_pod(spec) && !is_open(&[spec]));
        let for_every_pod: Vec<_> = specs.iter().filter(|spec| selects_unlabelled(spec)).collect();
        let open = is_open(&for_every_pod);
        let expected = isolating && !open;
        let index = if expected { 0 } else { 1 + usize::from(isolating) };
        let mut counts = verdicts.get();
        counts[index] += 1;
        verdicts.set(counts);
        prop_assert_eq!(coverage.is_isolated(), expected, "{:?}", coverage);
        prop_assert_eq!(!coverage.isolated_by.is_empty(), isolating, "{:?}", coverage);
        prop_assert_eq!(coverage.opened_by.is_some(), open, "{:?}", coverage);
        Ok(())
    };
    if let Err(failure) = TestRunner::new(config).run(&vec(spec(), 0..=3), law) {
        panic!("{failure}");
    }
    let verdicts = verdicts.get();
    assert!(
        verdicts.iter().all(|count| *count > CASES / 20),
        "expected many of each (isolated, not isolated, isolated and opened): {verdicts:?}"
    );
}

fn policy(spec: &Value) -> NetworkPolicy {
    serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap()
}

fn spec() -> impl Strategy<Value = Value> {
    let pods = prop_oneof![
        4 => Just(json!({})),
        1 => Just(json!({"matchLabels": {"a": "x"}})),
        1 => Just(json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]})),
    ];
    (pods, vec(rule(), 0..=3))
        .prop_map(|(pods, rules)| json!({"podSelector": pods, "policyTypes": ["Ingress"], "ingress": rules}))
}

fn rule() -> impl Strategy<Value = Value> {
    let peers = prop_oneof![1 => Just(Vec::new()), 8 => vec(peer(), 1..=3)];
    let ports = prop_oneof![2 => Just(Vec::new()), 3 => vec(port(), 1..=3)];
    (peers, ports).prop_map(|(peers, ports)| json!({"from": peers, "ports": ports}))
}

fn peer() -> impl Strategy<Value = Value> {
    let block = (select(&BLOCKS[..]), select(&BLOCKS[3..])).prop_map(|((cidr, held), (hole, holed))| {
        // The API server takes a hole only inside of its block.
        match held & holed == holed && held != holed {
            true => json!({"ipBlock": {"cidr": cidr, "except": [hole]}}),
            false => json!({"ipBlock": {"cidr": cidr}}),
        }
    });
    prop_oneof![
        6 => block,
        1 => Just(json!({"podSelector": {}})),
        1 => Just(json!({"namespaceSelector": {}})),
        1 => Just(json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "x"}}})),
        1 => Just(json!({"namespaceSelector": {"matchLabels": {"a": "x"}}})),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    let range = select(vec![
        (1, 65_535),
        (1, 100),
        (101, 65_535),
        (80, 80),
        (1, 79),
        (81, 65_535),
    ]);
    let of = |(protocol, (first, last)): (&str, (i64, i64))| match first == last {
        true => json!({"protocol": protocol, "port": first}),
        false => json!({"protocol": protocol, "port": first, "endPort": last}),
    };
    prop_oneof![
        4 => (select(&PROTOCOLS[..]), range).prop_map(of),
        1 => select(&PROTOCOLS[..]).prop_map(|protocol| json!({"protocol": protocol})),
        1 => Just(json!({"port": "web"})),
    ]
}

fn isolates_every_pod(spec: &Value) -> bool {
    spec["podSelector"] == json!({})
}

fn selects_unlabelled(spec: &Value) -> bool {
    spec["podSelector"].get("matchLabels").is_none()
}

/// Whether half of the addresses, or the pod that nobody thought of, gets through on half of the ports of one protocol.
fn is_open(specs: &[&Value]) -> bool {
    PROTOCOLS.iter().any(|protocol| {
        let gets_through = |peer: Option<u8>, port: i64| {
            let mut rules = specs.iter().flat_map(|spec| items(&spec["ingress"]));
            rules.any(|rule| lets_through(rule, peer, protocol, port))
        };
        let addresses = |port: i64| (0..8).filter(|eighth| gets_through(Some(*eighth), port)).count() >= 4;
        let pod = |port: i64| gets_through(None, port);
        let open_ports = |everyone: &dyn Fn(i64) -> bool| {
            let open = PORTS.iter().filter(|(port, _)| everyone(*port));
            open.map(|(_, ports)| ports).sum::<i64>()
        };
        open_ports(&addresses).max(open_ports(&pod)) * 2 >= 65_535
    })
}

/// `peer` is an eighth of the addresses, or the pod.
fn lets_through(rule: &Value, peer: Option<u8>, protocol: &str, port: i64) -> bool {
    let (peers, ports) = (items(&rule["from"]), items(&rule["ports"]));
    let matches = |listed: &Value| match (listed.get("ipBlock"), peer) {
        (Some(block), Some(eighth)) => {
            let bits = |cidr: &Value| BLOCKS.iter().find(|(known, _)| cidr == known).unwrap().1;
            let holes = items(&block["except"]).iter().fold(0, |holes, hole| holes | bits(hole));
            bits(&block["cidr"]) & !holes & (1 << eighth) != 0
        }
        (None, None) => {
            let everywhere = listed.get("namespaceSelector") == Some(&json!({}));
            everywhere && listed.get("podSelector").is_none()
        }
        _ => false,
    };
    let on_port = |listed: &Value| {
        let first = listed.get("port").map(Value::as_i64);
        let in_range = match first {
            None => true,
            Some(None) => false,
            Some(Some(first)) => (first..=listed["endPort"].as_i64().unwrap_or(first)).contains(&port),
        };
        listed.get("protocol").and_then(Value::as_str).unwrap_or("TCP") == protocol && in_range
    };
    (peers.is_empty() || peers.iter().any(matches)) && (ports.is_empty() || ports.iter().any(on_port))
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}
