//! Policies that the API server would accept, small enough that [`super::naive_evaluation`] tells apart whatever
//! they tell apart.

use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::naive_evaluation::NAME_LABEL;

/// One policy with rules for one direction.
pub fn policy(egress: bool) -> impl Strategy<Value = NetworkPolicySpec> {
    (selected_pods(), vec(rule(egress), 0..=3)).prop_map(move |(pods, rules)| spec(egress, &pods, &rules))
}

/// What may be one, two or no policy's worth of a tier.
pub fn tier(egress: bool) -> impl Strategy<Value = Vec<NetworkPolicySpec>> {
    vec(policy(egress), 0..=4)
}

/// A policy that repeats rules of the tier, possibly for fewer pods and with another rule: most of what is
/// generated at random goes beyond any tier.
pub fn tier_and_policy(egress: bool) -> impl Strategy<Value = (Vec<NetworkPolicySpec>, NetworkPolicySpec)> {
    let copied = (tier(egress), selected_pods(), vec(rule(egress), 0..=1)).prop_flat_map(move |(tier, pods, more)| {
        let rules: Vec<Value> = tier.iter().flat_map(|policy| rules_of(policy, egress)).collect();
        let count = rules.len();
        (Just(tier), subsequence(rules, 0..=count), Just(pods), Just(more)).prop_map(
            move |(tier, mut rules, pods, more)| {
                rules.extend(more);
                (tier, spec(egress, &pods, &rules))
            },
        )
    });
    prop_oneof![(tier(egress), policy(egress)), copied]
}

fn rules_of(policy: &NetworkPolicySpec, egress: bool) -> Vec<Value> {
    let spec = serde_json::to_value(policy).unwrap();
    let rules = &spec[if egress { "egress" } else { "ingress" }];
    rules.as_array().cloned().unwrap_or_default()
}

fn spec(egress: bool, pods: &Value, rules: &[Value]) -> NetworkPolicySpec {
    let spec = if egress {
        json!({"podSelector": pods, "policyTypes": ["Egress"], "egress": rules})
    } else {
        json!({"podSelector": pods, "ingress": rules})
    };
    serde_json::from_value(spec).unwrap()
}

/// Most policies are for every pod.
fn selected_pods() -> impl Strategy<Value = Value> {
    prop_oneof![2 => Just(json!({})), 1 => pod_selector()]
}

pub fn rule(egress: bool) -> impl Strategy<Value = Value> {
    let peers = prop_oneof![1 => Just(Vec::new()), 8 => vec(peer(), 1..=3)];
    let ports = prop_oneof![2 => Just(Vec::new()), 3 => vec(port(), 1..=3)];
    (peers, ports).prop_map(move |(peers, ports)| json!({if egress {"to"} else {"from"}: peers, "ports": ports}))
}

fn peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => pod_selector().prop_map(|pods| json!({"podSelector": pods})),
        2 => namespace_selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        1 => (namespace_selector(), pod_selector())
            .prop_map(|(namespaces, pods)| json!({"namespaceSelector": namespaces, "podSelector": pods})),
        3 => block(),
    ]
}

fn block() -> impl Strategy<Value = Value> {
    const INSIDE: [&[&str]; 2] = [
        &[
            "0.0.0.0/0",
            "0.0.0.0/1",
            "10.0.0.0/29",
            "10.0.0.0/30",
            "10.0.0.4/30",
            "10.0.0.2/31",
            "10.0.0.4/31",
            "10.0.0.3/32",
            "10.0.0.4/32",
        ],
        &["::/0", "fd00::/126", "fd00::2/127", "fd00::1/128"],
    ];
    select(&INSIDE[..])
        .prop_flat_map(|family| (select(family), subsequence(family, 0..=2)))
        .prop_map(|(cidr, holes)| {
            let block: ipnet::IpNet = cidr.parse().unwrap();
            let fits = |hole: &&str| {
                let hole: ipnet::IpNet = hole.parse().unwrap();
                hole != block && block.contains(&hole)
            };
            let except: Vec<_> = holes.into_iter().filter(fits).collect();
            json!({"ipBlock": {"cidr": cidr, "except": except}})
        })
}

fn pod_selector() -> impl Strategy<Value = Value> {
    selector(prop_oneof![requirement("a", &["x", "y"]), requirement("b", &["x"])])
}

fn namespace_selector() -> impl Strategy<Value = Value> {
    selector(prop_oneof![
        requirement("a", &["x", "y"]),
        requirement(NAME_LABEL, &["here", "there"])
    ])
}

fn selector(requirement: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    vec(requirement, 0..=2).prop_map(|requirements| json!({"matchExpressions": requirements}))
}

fn requirement(key: &'static str, values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let compared = (select(&["In", "NotIn"][..]), subsequence(values, 1..=values.len()))
        .prop_map(move |(operator, values)| json!({"key": key, "operator": operator, "values": values}));
    let looked_for =
        select(&["Exists", "DoesNotExist"][..]).prop_map(move |operator| json!({"key": key, "operator": operator}));
    prop_oneof![2 => compared, 1 => looked_for]
}

fn port() -> impl Strategy<Value = Value> {
    let protocol = option::of(select(&["TCP", "UDP", "SCTP"][..]));
    let number = (1..=5, option::of(prop_oneof![0..=4, Just(65_535)]));
    let target = prop_oneof![
        1 => Just(json!({})),
        3 => number.prop_map(|(first, more): (i32, Option<i32>)| match more {
            None => json!({"port": first}),
            Some(65_535) => json!({"port": first, "endPort": 65_535}),
            Some(more) => json!({"port": first, "endPort": (first + more).min(5)}),
        }),
        1 => select(&["web", "sql"][..]).prop_map(|name| json!({"port": name})),
    ];
    (protocol, target).prop_map(|(protocol, mut port)| {
        if let Some(protocol) = protocol {
            port["protocol"] = json!(protocol);
        }
        port
    })
}
