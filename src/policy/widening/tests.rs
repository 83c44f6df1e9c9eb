//! Each severity and each way in which one policy can lie within another; what holds for all of them is in
//! `tests/widening_laws.rs`.

mod containment;
mod judgements;
mod namespace;

use std::sync::Arc;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;
use crate::policy::{Facts, ParsedTier, PolicyName, RenderedPolicy, SpecDigest, render};

const NOTHING: &str = "nothing";

fn namespace() -> Namespace {
    let labels = [("kubernetes.io/metadata.name", "shop"), ("team", "web")];
    Namespace {
        name: String::from("shop"),
        uid: String::from("1"),
        labels: labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        created: None,
        terminating: false,
    }
}

fn both() -> BTreeSet<Direction> {
    BTreeSet::from([Direction::Ingress, Direction::Egress])
}

fn rendered(specs: &[Value]) -> Rendered {
    let policy = |(index, spec): (usize, &Value)| {
        let spec: NetworkPolicySpec = serde_json::from_value(spec.clone()).unwrap();
        let policy = RenderedPolicy {
            direction: Direction::Ingress,
            digest: SpecDigest::of(&spec),
            spec,
            unresolved: Vec::new(),
        };
        (
            PolicyName::allow(&index.to_string(), Direction::Ingress),
            Arc::new(policy),
        )
    };
    Rendered {
        policies: specs.iter().enumerate().map(policy).collect(),
        ..Rendered::default()
    }
}

fn foreign(spec: &Value) -> ForeignPolicy {
    let spec: NetworkPolicySpec = serde_json::from_value(spec.clone()).unwrap();
    // However large: what is too large to be kept is a case of its own.
    let text = serde_json::to_string(&spec).unwrap();
    ForeignPolicy {
        name: String::from("theirs"),
        spec: ForeignSpec::Kept(text.into()),
    }
}

/// A policy for all pods with one ingress rule.
fn from(peers: Value, ports: Value) -> Value {
    json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": peers, "ports": ports}]})
}

fn found(tier: &[Value], spec: &Value) -> Vec<Widening> {
    widenings(&rendered(tier), &both(), &namespace(), &foreign(spec))
}

fn ingress_severity(tier: &[Value], spec: &Value) -> &'static str {
    let found = found(tier, spec);
    let ingress = found.iter().find(|widening| widening.direction == Direction::Ingress);
    ingress.map_or(NOTHING, |widening| widening.severity.as_str())
}

fn block(cidr: &str, except: &[&str]) -> Value {
    json!({"ipBlock": {"cidr": cidr, "except": except}})
}

fn same_namespace() -> Value {
    json!({"podSelector": {}})
}

#[test]
fn peers_beyond_the_tier_have_the_severity_of_what_they_are() {
    let all = || json!([]);
    let tier = [from(
        json!([same_namespace(), block("10.0.0.0/8", &["10.1.0.0/16"])]),
        all(),
    )];
    for (peers, expected) in [
        (json!([]), "open"),
        (json!([block("0.0.0.0/0", &[])]), "open"),
        (json!([block("::/0", &[])]), "open"),
        (json!([block("2000::/3", &[])]), "open"),
        (json!([block("0.0.0.0/0", &["10.0.0.0/8", "192.168.0.0/16"])]), "open"),
        (json!([block("0.0.0.0/1", &[])]), "open"),
        (
            json!([block("0.0.0.0/2", &[]), same_namespace(), block("64.0.0.0/2", &[])]),
            "open",
        ),
        (json!([block("0.0.0.0/2", &[]), block("32.0.0.0/3", &[])]), "external"),
        (json!([block("fd00::/8", &[])]), "external"),
        (json!([block("11.0.0.0/8", &[]), {"namespaceSelector": {}}]), "external"),
        (json!([block("10.1.2.0/24", &[])]), "external"),
        (json!([block("10.0.0.0/8", &["10.1.0.0/17"])]), "external"),
        (json!([{"namespaceSelector": {}}]), "cluster"),
        (
            json!([{"namespaceSelector": {"matchLabels": {"team": "web"}}}]),
            "cluster",
        ),
        (json!([block("10.2.0.0/16", &[])]), NOTHING),
        (json!([block("10.0.0.0/8", &["10.0.0.0/15"])]), NOTHING),
        (json!([block("10.0.0.0/8", &["10.1.0.0/17", "10.1.128.0/17"])]), NOTHING),
        (json!([same_namespace(), block("10.0.0.0/16", &[])]), NOTHING),
    ] {
        assert_eq!(
            ingress_severity(&tier, &from(peers.clone(), all())),
            expected,
            "{peers}"
        );
    }
}

#[test]
fn pods_of_the_same_namespace_are_beyond_a_tier_that_does_not_allow_them() {
    let tier = [from(
        json!([{"podSelector": {"matchLabels": {"app": "db"}}}]),
        json!([]),
    )];
    assert_eq!(
        ingress_severity(&tier, &from(json!([same_namespace()]), json!([]))),
        "cluster"
    );
    assert_eq!(
        ingress_severity(&[], &from(json!([same_namespace()]), json!([]))),
        "cluster"
    );
}

#[test]
fn more_ports_to_allowed_peers_are_of_severity_port() {
    let peers = || json!([same_namespace()]);
    let ports = json!([{"port": 80, "endPort": 89}, {"port": 90, "endPort": 99}, {"port": "web"}, {"protocol": "UDP"}]);
    let tier = [
        from(peers(), ports),
        from(peers(), json!([{"protocol": "SCTP", "port": 1, "endPort": 65535}])),
    ];
    for (ports, expected) in [
        (json!([{"port": 85, "endPort": 95}]), NOTHING),
        (json!([{"port": 80, "protocol": "TCP"}, {"port": 99}]), NOTHING),
        (json!([{"port": "web"}]), NOTHING),
        (json!([{"port": "web", "protocol": "UDP"}]), NOTHING),
        (
            json!([{"protocol": "SCTP"}, {"protocol": "SCTP", "port": "x"}]),
            NOTHING,
        ),
        (json!([{"port": 85, "endPort": 100}]), "port"),
        (json!([{"port": 79, "endPort": 80}]), "port"),
        (json!([{"port": "other"}]), "port"),
        (json!([{}]), "port"),
        (json!([]), "port"),
    ] {
        assert_eq!(
            ingress_severity(&tier, &from(peers(), ports.clone())),
            expected,
            "{ports}"
        );
    }
}

#[test]
fn a_named_port_at_an_address_outside_allows_nothing_to_be_more_of() {
    let to = |port: Value| json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [block("10.0.0.0/8", &[])], "ports": [{"port": port}]}]});
    for (port, expected) in [(json!("web"), Severity::External), (json!(443), Severity::Port)] {
        assert_eq!(found(&[to(port)], &to(json!(80)))[0].severity, expected);
    }
    assert_eq!(found(&[to(json!("web"))], &to(json!("web"))), []);
}

#[test]
fn a_rule_without_ports_is_more_than_every_port_of_each_protocol() {
    let protocols = json!([{"protocol": "TCP"}, {"protocol": "UDP"}, {"protocol": "SCTP"}]);
    let listed = from(json!([same_namespace()]), protocols);
    let unlisted = from(json!([same_namespace()]), json!([]));
    assert_eq!(ingress_severity(std::slice::from_ref(&listed), &unlisted), "port");
    assert_eq!(ingress_severity(&[unlisted], &listed), NOTHING);
}

#[test]
fn only_what_holds_in_an_isolated_direction_counts() {
    let open = json!([{}]);
    for (spec, isolate, expected) in [
        (json!({"ingress": open}), both(), &[Direction::Ingress][..]),
        (json!({"egress": open}), both(), &[Direction::Egress]),
        (json!({"policyTypes": ["Ingress"], "egress": open}), both(), &[]),
        (json!({"policyTypes": ["Egress"], "ingress": open}), both(), &[]),
        (
            json!({"policyTypes": [], "ingress": open, "egress": open}),
            both(),
            &[Direction::Ingress, Direction::Egress],
        ),
        (
            json!({"ingress": open, "egress": open}),
            BTreeSet::from([Direction::Egress]),
            &[Direction::Egress],
        ),
        (
            json!({"policyTypes": ["Ingress", "Egress"], "podSelector": {}}),
            both(),
            &[],
        ),
    ] {
        let found = widenings(&rendered(&[]), &isolate, &namespace(), &foreign(&spec));
        let directions: Vec<_> = found.iter().map(|widening| widening.direction).collect();
        assert_eq!(directions, expected, "{spec}");
    }
}

#[test]
fn what_nobody_understands_counts_against_both_sides() {
    let peer = || json!([same_namespace()]);
    for strange in [
        from(json!([{}]), json!([])),
        from(json!([block("10.0.0.0", &[])]), json!([])),
        from(json!([block("10.0.0.0/8", &["x"])]), json!([])),
        from(json!([block("10.0.0.0/8", &["fd00::/8"])]), json!([])),
        from(json!([block("::ffff:10.0.0.0/104", &[])]), json!([])),
        from(
            json!([{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]),
            json!([]),
        ),
        from(
            json!([{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}]),
            json!([]),
        ),
        from(peer(), json!([{"protocol": "ICMP"}])),
        from(peer(), json!([{"port": 0}])),
        from(peer(), json!([{"port": 70000}])),
        from(peer(), json!([{"port": 10, "endPort": 9}])),
        from(peer(), json!([{"port": "web", "endPort": 9}])),
        from(peer(), json!([{"endPort": 9}])),
        json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}, "ingress": [{"from": peer()}]}),
    ] {
        assert_ne!(
            ingress_severity(std::slice::from_ref(&strange), &strange),
            NOTHING,
            "{strange}"
        );
    }
}

#[test]
fn the_detail_names_the_worst_first_and_what_the_tier_allows_of_it() {
    let tier = [
        from(json!([same_namespace()]), json!([{"port": 8080}])),
        from(
            json!([block("10.0.0.0/8", &[])]),
            json!([{"protocol": "UDP", "port": 53}]),
        ),
    ];
    let db = json!({"podSelector": {"matchLabels": {"app": "db"}}, "egress": [{"to": [{"namespaceSelector": {"matchLabels": {"team": "till"}}}], "ports": [{"port": "sql"}]}]});
    for (spec, expected) in [
        (
            from(json!([same_namespace(), block("0.0.0.0/0", &[])]), json!([])),
            "allows ingress to every pod from 0.0.0.0/0 on every port; \
             the tier allows ingress to every pod from 10.0.0.0/8 on UDP 53",
        ),
        (
            from(json!([same_namespace()]), json!([{"port": 8080, "endPort": 8090}])),
            "allows ingress to every pod from every pod of this namespace on TCP 8081-8090; \
             the tier allows ingress to every pod from every pod of this namespace on TCP 8080",
        ),
        (
            from(json!([]), json!([{"port": 22}])),
            "allows ingress to every pod from anywhere on TCP 22; \
             the tier allows ingress to every pod from every pod of this namespace on TCP 8080",
        ),
        (
            from(json!([block("11.0.0.0/8", &["11.1.0.0/16"])]), json!([{}])),
            "allows ingress to every pod from 11.0.0.0/8 except 11.1.0.0/16 on every TCP port; \
             the tier allows none of that",
        ),
        (
            db,
            "allows egress from pods with app=db to every pod of namespaces with team=till on TCP sql; \
             the tier allows none of that",
        ),
    ] {
        assert_eq!(found(&tier, &spec)[0].detail, expected);
    }
}

#[test]
fn what_a_tenant_writes_is_quoted_in_part() {
    let values: Vec<_> = (0..5_000).map(|index| format!("value-{index}")).collect();
    let peer = json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": values}]}});
    let ports: Vec<_> = (1..5_000).map(|index| json!({"port": index * 2})).collect();
    let tier = [from(json!([peer]), json!([{"port": "sql"}]))];
    let detail = found(&tier, &from(json!([peer]), json!(ports)))[0].detail.clone();
    assert!(
        detail.len() < 1_000 && detail.contains("TCP 2, TCP 4, TCP 6, TCP 8 and 4995 more"),
        "{detail}"
    );
}

#[test]
fn a_reserved_name_is_not_somebody_elses() {
    let named = |name: &str| NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: None,
    };
    assert_eq!(ForeignPolicy::read(&named("cofferdam-baseline-ingress")), None);
    assert_eq!(
        ForeignPolicy::read(&named("default-deny")).unwrap().name,
        "default-deny"
    );
}

#[test]
fn the_policies_of_a_tier_do_not_widen_it() {
    let metadata = ObjectMeta {
        name: Some(String::from("restricted")),
        ..ObjectMeta::default()
    };
    let tier = ParsedTier::parse(
        &metadata,
        &json!({"mode": "Enforce", "namespaceSelector": {}, "allow": [
            {"name": "same", "preset": "SameNamespace"},
            {"name": "web", "from": [{"namespaceSelector": {"matchLabels": {"team": "edge"}}}], "ports": [{"port": "http"}, {"port": 80, "endPort": 90}]},
            {"name": "registry", "to": [{"ipBlock": {"cidr": "10.20.0.0/16", "except": ["10.20.9.0/24"]}}], "podSelector": {"matchLabels": {"build": "true"}}},
        ]}),
    );
    let rendered = render::render(&tier, &Facts::unread());
    let (namespace, isolate) = (namespace(), both());
    let allowed = AllowedByTier::new(&rendered, &isolate, &namespace);
    assert_eq!(rendered.policies.len(), 3);
    for (name, policy) in &rendered.policies {
        let copy = ForeignPolicy::new(name.to_string(), &policy.spec);
        assert_eq!(allowed.widenings(&copy), [], "{name}");
    }
    let wider = foreign(&json!({"podSelector": {}, "egress": [{"to": [block("10.20.0.0/16", &[])]}]}));
    let [widening] = allowed.widenings(&wider).try_into().unwrap();
    assert_eq!(
        (widening.severity, widening.direction),
        (Severity::External, Direction::Egress)
    );
}

#[test]
fn severities_are_ordered() {
    assert!(Severity::ALL.is_sorted());
    assert_eq!(
        Severity::ALL.map(Severity::as_str),
        ["port", "cluster", "external", "open"]
    );
}
