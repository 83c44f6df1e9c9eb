use serde_json::{Value, json};

use super::*;
use crate::policy::fixture::namespace;

fn policies(specs: &[Value]) -> Vec<NetworkPolicy> {
    let policy = |spec: &Value| NetworkPolicy {
        spec: serde_json::from_value(spec.clone()).unwrap(),
        ..NetworkPolicy::default()
    };
    specs.iter().map(policy).collect()
}

fn ingress(specs: &[Value]) -> Coverage {
    Coverage::of(&namespace("n", &[("a", "b")]), Direction::Ingress, &policies(specs))
}

fn from(rules: Value) -> Value {
    json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": rules})
}

fn blocks(cidrs: &[&str]) -> Value {
    let peers: Vec<_> = cidrs.iter().map(|cidr| json!({"ipBlock": {"cidr": cidr}})).collect();
    json!({"from": peers})
}

#[test]
fn one_policy_for_every_pod_that_does_not_let_everyone_through_is_coverage() {
    let labelled = |selector: Value| json!({"podSelector": selector, "policyTypes": ["Ingress"]});
    let not_in = |key: &str| json!({"namespaceSelector": {"matchExpressions": [{"key": key, "operator": "NotIn", "values": ["x"]}]}});
    for (case, spec, isolated) in [
        ("deny all", from(json!([])), true),
        ("no types, so Ingress", json!({"podSelector": {}}), true),
        ("no selector", json!({"policyTypes": ["Ingress"]}), true),
        ("same namespace", from(json!([{"from": [{"podSelector": {}}]}])), true),
        (
            "one port from everyone",
            from(json!([{"ports": [{"port": 443}]}])),
            true,
        ),
        (
            "a named port from everyone",
            from(json!([{"ports": [{"port": "web"}]}])),
            true,
        ),
        ("a private range", from(json!([blocks(&["10.0.0.0/8"])])), true),
        ("a quarter of all", from(json!([blocks(&["0.0.0.0/2"])])), true),
        (
            "namespaces with a label",
            from(json!([{"from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}])),
            true,
        ),
        (
            "the other direction",
            json!({"podSelector": {}, "policyTypes": ["Egress"]}),
            false,
        ),
        ("some pods", labelled(json!({"matchLabels": {"app": "web"}})), false),
        (
            "pods without a label",
            labelled(json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]})),
            false,
        ),
        ("allow all", from(json!([{}])), false),
        (
            "allow all beside one port",
            from(json!([{"ports": [{"port": 443}]}, {}])),
            false,
        ),
        ("every IPv4 address", from(json!([blocks(&["0.0.0.0/0"])])), false),
        ("every IPv6 address", from(json!([blocks(&["::/0"])])), false),
        ("global IPv6 unicast", from(json!([blocks(&["2000::/3"])])), false),
        (
            "two halves",
            from(json!([blocks(&["0.0.0.0/1"]), blocks(&["128.0.0.0/1"])])),
            false,
        ),
        ("half", from(json!([blocks(&["0.0.0.0/1"])])), false),
        (
            "all with a hole",
            from(json!([{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}])),
            false,
        ),
        (
            "everyone on every TCP port",
            from(json!([{"ports": [{"protocol": "TCP"}]}])),
            false,
        ),
        (
            "everyone on every UDP port",
            from(json!([{"ports": [{"protocol": "UDP", "port": 1, "endPort": 65535}]}])),
            false,
        ),
        (
            "every TCP port in two rules",
            from(json!([{"ports": [{"port": 1, "endPort": 100}]}, {"ports": [{"port": 101, "endPort": 65535}]}])),
            false,
        ),
        (
            "every TCP port but one",
            from(json!([{"ports": [{"port": 1, "endPort": 100}]}, {"ports": [{"port": 102, "endPort": 65535}]}])),
            false,
        ),
        (
            "half of the TCP ports",
            from(json!([{"ports": [{"port": 1, "endPort": 32768}]}])),
            false,
        ),
        (
            "fewer TCP ports",
            from(json!([{"ports": [{"port": 1, "endPort": 32767}]}])),
            true,
        ),
        (
            "two halves of the addresses, each on other ports",
            from(json!([
                {"from": [{"ipBlock": {"cidr": "0.0.0.0/2"}}], "ports": [{"port": 1, "endPort": 100}]},
                {"from": [{"ipBlock": {"cidr": "128.0.0.0/2"}}], "ports": [{"port": 101, "endPort": 65535}]},
            ])),
            true,
        ),
        (
            "every namespace",
            from(json!([{"from": [{"namespaceSelector": {}}]}])),
            false,
        ),
        (
            "every namespace but some",
            from(json!([{"from": [not_in("a")]}])),
            false,
        ),
        (
            "every namespace but one by name",
            from(json!([{"from": [not_in("kubernetes.io/metadata.name")]}])),
            false,
        ),
        ("what nobody understands", from(json!([{"from": [{}]}])), false),
        (
            "a port that nobody understands",
            from(json!([{"ports": [{"port": 0}]}])),
            false,
        ),
    ] {
        let coverage = ingress(&[spec]);
        assert_eq!(coverage.is_isolated(), isolated, "{case}: {coverage:?}");
        assert_eq!(coverage.isolated_by.is_empty(), !isolated, "{case}: {coverage:?}");
    }
    assert!(!ingress(&[]).is_isolated());
}

#[test]
fn policies_add_up() {
    let deny = || from(json!([]));
    let labelled = |label: &str, rules: Value| {
        let mut spec = from(rules);
        spec["podSelector"] = json!({"matchLabels": {"app": label}});
        spec
    };
    let coverage = ingress(&[deny(), from(json!([{}]))]);
    assert!(!coverage.is_isolated());
    assert_eq!(coverage.isolated_by, [0]);
    let (openers, to) = coverage.opened_by.unwrap();
    assert_eq!((&*openers, &*to), (&[1][..], "most IPv4 addresses on every TCP port"));

    // Neither opens alone.
    let coverage = ingress(&[
        from(json!([blocks(&["0.0.0.0/2"])])),
        from(json!([blocks(&["64.0.0.0/2"])])),
    ]);
    assert!(!coverage.is_isolated());
    assert_eq!(coverage.opened_by.unwrap().0, [0, 1]);

    let coverage = ingress(&[deny(), labelled("web", json!([{}]))]);
    assert!(
        coverage.is_isolated(),
        "what is opened for some pods is said, and the rest is isolated"
    );
    assert!(matches!(&*coverage.not_counted, [(1, NotCounted::OpensSomePods(_))]));

    let mut for_unlabelled = from(json!([{}]));
    for_unlabelled["podSelector"] = json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]});
    assert!(!ingress(&[deny(), for_unlabelled]).is_isolated());

    let coverage = ingress(&[labelled("web", json!([])), labelled("db", json!([]))]);
    assert_eq!(
        coverage.not_counted,
        [(0, NotCounted::SomePods), (1, NotCounted::SomePods)]
    );
    assert!(!coverage.is_isolated(), "a pod with another label is not isolated");
}

#[test]
fn a_direction_is_judged_by_its_own_rules() {
    let both = policies(&[json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}]})]);
    let of = |direction| Coverage::of(&namespace("n", &[]), direction, &both);
    assert!(!of(Direction::Ingress).is_isolated());
    assert!(of(Direction::Egress).is_isolated());
    let by_default = policies(&[json!({"podSelector": {}, "egress": [{"to": [{"podSelector": {}}]}]})]);
    assert!(Coverage::of(&namespace("n", &[]), Direction::Egress, &by_default).is_isolated());
}

// A tenant may write a policy of a megabyte: it takes no time, and does not count.
#[test]
fn what_is_too_much_to_compare_is_no_coverage() {
    let rules: Vec<_> = (0..2000)
        .map(|number| {
            json!({"from": [{"ipBlock": {"cidr": format!("10.{}.{}.0/24", number / 256, number % 256)}}],
                "ports": [{"port": number * 2 + 1}]})
        })
        .collect();
    let coverage = ingress(&[from(json!(rules))]);
    assert!(!coverage.is_isolated());
    let (_, to) = coverage.opened_by.unwrap();
    assert!(to.contains("too many to compare"), "{to}");
}
