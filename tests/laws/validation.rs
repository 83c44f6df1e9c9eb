//! What an API server asks of a NetworkPolicy: `ValidateNetworkPolicySpec` of `k8s.io/kubernetes` 1.36, and what we
//! ask beyond it of our own.

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Peers of a rule, as the directions share them.
type Rule<'a> = (&'a [NetworkPolicyPeer], &'a [NetworkPolicyPort]);

/// The rules of both directions.
pub fn rules(spec: &NetworkPolicySpec) -> Vec<Rule<'_>> {
    let ingress = spec.ingress.iter().flatten();
    let ingress = ingress.map(|rule| {
        (
            rule.from.as_deref().unwrap_or_default(),
            rule.ports.as_deref().unwrap_or_default(),
        )
    });
    let egress = spec.egress.iter().flatten();
    let egress = egress.map(|rule| {
        (
            rule.to.as_deref().unwrap_or_default(),
            rule.ports.as_deref().unwrap_or_default(),
        )
    });
    ingress.chain(egress).collect()
}

/// Panics where the server would refuse the spec, and where it is one that we never write.
pub fn assert_valid(spec: &NetworkPolicySpec) {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    assert!(
        matches!(types, [only] if only == "Ingress" || only == "Egress"),
        "one direction, said: {types:?}"
    );
    let other = if types[0] == "Ingress" {
        spec.egress.is_some()
    } else {
        spec.ingress.is_some()
    };
    assert!(!other, "rules of a direction that it does not isolate");
    assert_selector(spec.pod_selector.as_ref().unwrap());
    for (peers, ports) in rules(spec) {
        assert!(!peers.is_empty(), "a rule without peers lets everyone through");
        peers.iter().for_each(assert_peer);
        ports.iter().for_each(assert_port);
        let holed = peers
            .iter()
            .any(|peer| peer.ip_block.as_ref().is_some_and(|block| block.except.is_some()));
        assert!(!holed || peers.len() == 1, "a block with holes shares a rule");
    }
}

fn assert_peer(peer: &NetworkPolicyPeer) {
    peer.pod_selector
        .iter()
        .chain(&peer.namespace_selector)
        .for_each(assert_selector);
    let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
    assert!(
        selects != peer.ip_block.is_some(),
        "a peer is an ipBlock or selectors, and not nothing"
    );
    peer.ip_block.iter().for_each(assert_block);
}

fn assert_block(block: &IPBlock) {
    let canonical = |text: &str| {
        let net: IpNet = text.parse().unwrap();
        assert_eq!(net.trunc().to_string(), text, "canonical");
        net
    };
    let cidr = canonical(&block.cidr);
    for except in block.except.iter().flatten() {
        let except = canonical(except);
        assert!(
            cidr.contains(&except) && cidr.prefix_len() < except.prefix_len(),
            "a strict subset of cidr"
        );
    }
}

fn assert_port(port: &NetworkPolicyPort) {
    assert!(matches!(port.protocol.as_deref(), Some("TCP" | "UDP" | "SCTP")));
    match (&port.port, port.end_port) {
        (None, None) => {}
        (Some(IntOrString::Int(first)), last) => {
            let last = last.unwrap_or(*first);
            assert!(
                (1..=65535).contains(first) && (*first..=65535).contains(&last),
                "{first} to {last}"
            );
        }
        (Some(IntOrString::String(name)), None) => {
            assert!(
                name.len() <= 15 && name.bytes().any(|byte| byte.is_ascii_lowercase()),
                "{name}"
            );
        }
        (_, Some(_)) => panic!("endPort beside no number"),
    }
}

fn assert_selector(selector: &LabelSelector) {
    for requirement in selector.match_expressions.iter().flatten() {
        let values = requirement.values.as_ref().is_some_and(|values| !values.is_empty());
        match requirement.operator.as_str() {
            "In" | "NotIn" => assert!(values, "values must be specified"),
            "Exists" | "DoesNotExist" => assert!(!values, "values may not be specified"),
            other => panic!("{other} is not a valid selector operator"),
        }
    }
}
