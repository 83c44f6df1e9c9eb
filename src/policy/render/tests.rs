use serde_json::{Value, json};

use super::*;
use crate::policy::Fact;
use crate::policy::fixture::{known_facts, tier};

fn rendered(spec: Value) -> Rendered {
    render(&tier("t", spec), &known_facts())
}

/// The spec of a policy, as JSON.
fn spec_of(rendered: &Rendered, name: &str) -> Value {
    let policy = &rendered.policies[&PolicyName::reserved(name).unwrap()];
    assert_eq!(policy.digest, SpecDigest::of(&policy.spec));
    assert_eq!(policy.spec, normalise(policy.spec.clone()));
    serde_json::to_value(&policy.spec).unwrap()
}

fn names(rendered: &Rendered) -> Vec<&str> {
    rendered.policies.keys().map(PolicyName::as_str).collect()
}

/// The egress rules of the base of a tier with that one allowance.
fn egress_of(allowance: Value) -> Value {
    let mut named = json!({"name": "a"});
    named
        .as_object_mut()
        .unwrap()
        .extend(allowance.as_object().unwrap().clone());
    spec_of(&rendered(json!({"allow": [named]})), "cofferdam-baseline-egress")["egress"].take()
}

fn block(cidr: &str) -> Value {
    json!({"ipBlock": {"cidr": cidr}})
}

fn tcp(port: u16) -> Value {
    json!({"protocol": "TCP", "port": port})
}

fn udp(port: u16) -> Value {
    json!({"protocol": "UDP", "port": port})
}

#[test]
fn a_tier_without_allowances_denies_in_two_objects() {
    let rendered = rendered(json!({}));
    assert_eq!(
        names(&rendered),
        ["cofferdam-baseline-egress", "cofferdam-baseline-ingress"]
    );
    let closed = |direction| json!({"podSelector": {}, "policyTypes": [direction]});
    assert_eq!(spec_of(&rendered, "cofferdam-baseline-egress"), closed("Egress"));
    assert_eq!(spec_of(&rendered, "cofferdam-baseline-ingress"), closed("Ingress"));
    assert!(!rendered.keeps_everything && rendered.ineffective.is_empty());
}

#[test]
fn dns_is_pods_service_and_node_local_cache() {
    let pods = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}});
    let ports = json!([tcp(53), udp(53)]);
    let expected = json!([{"to": [pods], "ports": ports}, {"to": [block("10.0.0.10/32")], "ports": ports},
        {"to": [block("169.254.20.10/32")], "ports": ports}]);
    assert_eq!(egress_of(json!({"preset": "DNS"})), expected);
}

#[test]
fn dns_without_a_selector_is_its_addresses_and_headless_has_no_service_rule() {
    let mut facts = known_facts();
    if let Fact::Known(dns) = &mut facts.dns {
        dns.pod_labels.clear();
        dns.endpoints = ["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()].into();
        dns.cluster_ips.clear();
    }
    let rendered = render(&tier("t", json!({"allow": [{"name": "dns", "preset": "DNS"}]})), &facts);
    let egress = spec_of(&rendered, "cofferdam-baseline-egress")["egress"].take();
    let ports = json!([tcp(53), udp(53)]);
    let expected = json!([{"to": [block("192.0.2.9/32"), block("2001:db8::9/128")], "ports": ports},
        {"to": [block("169.254.20.10/32")], "ports": ports}]);
    assert_eq!(egress, expected);
}

#[test]
fn the_api_server_is_its_endpoints_by_port_and_its_service() {
    let mut facts = known_facts();
    if let Fact::Known(api_server) = &mut facts.api_server {
        api_server.endpoints.insert(
            [(crate::api::Protocol::TCP, 443)].into(),
            ["198.51.100.1".parse().unwrap()].into(),
        );
    }
    let rendered = render(
        &tier("t", json!({"allow": [{"name": "api", "preset": "KubeAPIServer"}]})),
        &facts,
    );
    let expected = json!([{"to": [block("198.51.100.1/32")], "ports": [tcp(443)]},
        {"to": [block("192.0.2.1/32")], "ports": [tcp(6443)]}, {"to": [block("10.0.0.1/32")], "ports": [tcp(443)]}]);
    assert_eq!(spec_of(&rendered, "cofferdam-baseline-egress")["egress"], expected);
}

#[test]
fn the_same_namespace_is_both_directions() {
    let rendered = rendered(json!({"allow": [{"name": "a", "preset": "SameNamespace", "ports": [{"port": 80}]}]}));
    let rule = |peers: &str| json!([{peers: [{"podSelector": {}}], "ports": [tcp(80)]}]);
    assert_eq!(
        spec_of(&rendered, "cofferdam-baseline-ingress")["ingress"],
        rule("from")
    );
    assert_eq!(spec_of(&rendered, "cofferdam-baseline-egress")["egress"], rule("to"));
}

#[test]
fn each_block_with_holes_has_a_rule_of_its_own() {
    let holed = |cidr: &str, except: &str| json!({"ipBlock": {"cidr": cidr, "except": [except]}});
    let (first, second) = (
        holed("10.0.0.0/8", "10.1.0.0/16"),
        holed("172.16.0.0/12", "172.16.1.0/24"),
    );
    let to = json!([first, {"podSelector": {}}, block("192.0.2.0/24"), second]);
    let expected = json!([{"to": [{"podSelector": {}}, block("192.0.2.0/24")]}, {"to": [first]}, {"to": [second]}]);
    assert_eq!(egress_of(json!({"to": to})), expected);
    let ports = json!([tcp(1)]);
    let expected = json!([{"to": [first], "ports": ports}, {"to": [second], "ports": ports}]);
    assert_eq!(
        egress_of(json!({"to": [first, second], "ports": [{"port": 1}]})),
        expected
    );
}

#[test]
fn ports_are_rendered_as_written() {
    let ports = json!([{"port": 80}, {"protocol": "UDP"}, {"port": 1, "endPort": 9}, {"port": 5, "endPort": 5},
        {"protocol": "SCTP", "port": "name"}]);
    let expected = json!([{"to": [{"podSelector": {}}], "ports": [tcp(80), {"protocol": "UDP"},
        {"protocol": "TCP", "port": 1, "endPort": 9}, tcp(5), {"protocol": "SCTP", "port": "name"}]}]);
    assert_eq!(
        egress_of(json!({"to": [{"podSelector": {}}], "ports": ports})),
        expected
    );
}

#[test]
fn an_allowance_for_some_pods_is_a_policy_of_its_own() {
    let pods = json!({"matchLabels": {"needs-api": "true"}});
    let rendered = rendered(json!({"allow": [{"name": "dns", "preset": "DNS"},
        {"name": "same", "preset": "SameNamespace", "podSelector": pods}]}));
    let expected = [
        "cofferdam-allow-same-egress",
        "cofferdam-allow-same-ingress",
        "cofferdam-baseline-egress",
        "cofferdam-baseline-ingress",
    ];
    assert_eq!(names(&rendered), expected);
    let extra = json!({"podSelector": pods, "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}]}]});
    assert_eq!(spec_of(&rendered, "cofferdam-allow-same-egress"), extra);
    assert_eq!(spec_of(&rendered, "cofferdam-baseline-ingress").get("ingress"), None);
    assert_eq!(
        spec_of(&rendered, "cofferdam-baseline-egress")["egress"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn a_direction_that_is_not_isolated_has_no_policy_and_its_allowances_no_effect() {
    let pods = json!({"matchLabels": {"a": "b"}});
    let rendered = rendered(
        json!({"isolate": ["Ingress"], "allow": [{"name": "dns", "preset": "DNS"},
        {"name": "to", "to": [{"podSelector": {}}], "podSelector": pods}, {"name": "same", "preset": "SameNamespace"},
        {"name": "from", "from": [{"podSelector": {}}]}]}),
    );
    assert_eq!(names(&rendered), ["cofferdam-baseline-ingress"]);
    assert_eq!(rendered.ineffective, [String::from("dns"), String::from("to")].into());
}

#[test]
fn the_order_of_allowances_has_no_meaning() {
    let (a, b) = (
        json!({"name": "a", "preset": "DNS"}),
        json!({"name": "b", "preset": "KubeAPIServer"}),
    );
    assert_eq!(rendered(json!({"allow": [a, b]})), rendered(json!({"allow": [b, a]})));
}

#[test]
fn what_is_unresolved_is_left_out_and_named() {
    let pods = json!({"matchLabels": {"a": "b"}});
    let spec = json!({"allow": [{"name": "dns", "preset": "DNS"}, {"name": "same", "preset": "SameNamespace"},
        {"name": "api", "preset": "KubeAPIServer", "podSelector": pods}]});
    let rendered = render(&tier("t", spec), &Facts::unread());
    assert_eq!(
        spec_of(&rendered, "cofferdam-baseline-egress")["egress"],
        json!([{"to": [{"podSelector": {}}]}])
    );
    // An extra without rules adds nothing to its base, and never a rule without peers.
    assert_eq!(
        spec_of(&rendered, "cofferdam-allow-api-egress"),
        json!({"podSelector": pods, "policyTypes": ["Egress"]})
    );
    let unresolved = |name: &str| {
        rendered.policies[&PolicyName::reserved(name).unwrap()]
            .unresolved
            .clone()
    };
    let looked_for = String::from("the cluster was not read yet");
    let missing = |allowance: &str, preset| {
        vec![Unresolved::Allowance {
            allowance: allowance.to_owned(),
            preset,
            looked_for: looked_for.clone(),
        }]
    };
    // The base closes the direction for the extra's pods too.
    assert_eq!(
        unresolved("cofferdam-baseline-egress"),
        [missing("api", Preset::KubeApiServer), missing("dns", Preset::Dns)].concat()
    );
    assert_eq!(
        unresolved("cofferdam-allow-api-egress"),
        missing("api", Preset::KubeApiServer)
    );
    assert_eq!(unresolved("cofferdam-baseline-ingress"), []);
}

#[test]
fn a_spec_that_no_server_would_store_is_closed() {
    let except: Vec<_> = (0..=255).map(|third| format!("10.0.{third}.0/24")).collect();
    let peer = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": except}});
    let rendered = rendered(json!({"isolate": ["Egress"], "allow": [{"name": "a", "to": vec![peer; 300]}]}));
    let base = &rendered.policies[&PolicyName::baseline(Direction::Egress)];
    assert!(matches!(base.unresolved[..], [Unresolved::TooLarge { bytes }] if bytes > MAX_SPEC_BYTES));
    assert_eq!(
        spec_of(&rendered, "cofferdam-baseline-egress"),
        json!({"podSelector": {}, "policyTypes": ["Egress"]})
    );
}

#[test]
fn a_broken_tier_denies_and_keeps_everything() {
    let rendered = rendered(json!({"isolate": ["Egress"], "allow": [{"name": "a"}]}));
    assert_eq!(names(&rendered), ["cofferdam-baseline-egress"]);
    assert_eq!(
        spec_of(&rendered, "cofferdam-baseline-egress"),
        json!({"podSelector": {}, "policyTypes": ["Egress"]})
    );
    assert!(rendered.keeps_everything);
    assert!(
        rendered
            .policies
            .values()
            .all(|policy| policy.unresolved == [Unresolved::Tier])
    );
}

#[test]
fn the_digest_is_the_same_in_every_release() {
    // It stands in the annotation of every policy in every cluster: were it another after an upgrade, the
    // upgrade would look like drift everywhere.
    let rendered = rendered(json!({"allow": [{"name": "dns", "preset": "DNS"}]}));
    let digest = rendered.policies[&PolicyName::baseline(Direction::Egress)]
        .digest
        .to_string();
    assert_eq!(digest, "88c66305a4e693e3ac05d51a99d19601");
}
