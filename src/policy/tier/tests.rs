use serde_json::json;

use super::*;
use crate::policy::fixture::{tier, tier_metadata, tier_spec};

/// The problems of a tier, one a line.
fn problems(tier: &ParsedTier) -> String {
    match tier {
        ParsedTier::Whole(_) => String::new(),
        ParsedTier::Broken(broken) => broken.problems.iter().map(|problem| format!("{problem}\n")).collect(),
    }
}

/// The problems of a tier with that one allowance, named `a`.
fn allowance_problems(allowance: Value) -> String {
    let mut named = json!({"name": "a"});
    named
        .as_object_mut()
        .unwrap()
        .extend(allowance.as_object().unwrap().clone());
    problems(&tier("t", json!({"allow": [named]})))
}

#[test]
fn the_smallest_tier_closes_both_directions_and_lets_nothing_through() {
    let ParsedTier::Whole(tier) = tier("t", json!({})) else {
        panic!("it is valid")
    };
    assert_eq!(tier.isolate, Direction::ALL.into());
    assert_eq!(
        (tier.claim.precedence, tier.mode, tier.allow.len()),
        (0, Mode::Enforce, 0)
    );
    assert!(tier.claim.selector.selects_all());
}

#[test]
fn valid_allowances() {
    for allowance in [
        json!({"preset": "DNS"}),
        json!({"preset": "KubeAPIServer", "podSelector": {"matchLabels": {"needs-api": "true"}}}),
        json!({"preset": "SameNamespace"}),
        json!({"preset": "SameNamespace", "ports": [{"port": 8080}, {"protocol": "UDP"}]}),
        json!({"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]}),
        json!({"from": [{"podSelector": {}}], "ports": [{"port": "http"}, {"port": "8080-tcp"}]}),
        json!({"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": ""}}}]}),
        json!({"to": [{"ipBlock": {"cidr": "10.20.0.0/16", "except": ["10.20.9.0/24"]}}],
            "ports": [{"protocol": "TCP", "port": 5000, "endPort": 5010}, {"port": 1, "endPort": 1}]}),
        json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]}),
        json!({"to": [{"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}}]}),
        json!({"to": [{"podSelector": {"matchExpressions": [
            {"key": "a.b/c_D", "operator": "In", "values": ["x", ""]}, {"key": "d", "operator": "NotIn", "values": ["y"]},
            {"key": "e", "operator": "Exists"}, {"key": "f", "operator": "DoesNotExist"}]}}]}),
    ] {
        assert_eq!(allowance_problems(allowance.clone()), "", "{allowance}");
    }
}

#[test]
fn an_invalid_allowance_is_refused_with_its_field_and_the_fix() {
    let to = |peer: Value| json!({"to": [peer]});
    let block = |cidr: &str, except: Value| to(json!({"ipBlock": {"cidr": cidr, "except": except}}));
    let port = |port: Value| json!({"preset": "SameNamespace", "ports": [port]});
    for (allowance, field, fix) in [
        (json!({}), "spec.allow[a]:", "exactly one of preset, from, to"),
        (
            json!({"preset": "DNS", "to": [{"podSelector": {}}]}),
            "spec.allow[a]:",
            "exactly one of",
        ),
        (
            json!({"from": [{"podSelector": {}}], "to": [{"podSelector": {}}]}),
            "spec.allow[a]:",
            "exactly one of",
        ),
        (
            json!({"preset": "DNS", "ports": [{"port": 53}]}),
            "spec.allow[a].ports:",
            "leave ports out",
        ),
        (
            json!({"preset": "KubeAPIServer", "ports": [{"port": 1}]}),
            "spec.allow[a].ports:",
            "leave ports out",
        ),
        (json!({"from": []}), "spec.allow[a].from:", "list at least one peer"),
        (json!({"to": []}), "spec.allow[a].to:", "list at least one peer"),
        (
            json!({"to": [{"podSelector": {}}], "ports": []}),
            "spec.allow[a].ports:",
            "leave it out",
        ),
        (
            to(json!({})),
            "spec.allow[a].to[0]:",
            "write namespaceSelector, podSelector or ipBlock",
        ),
        (
            to(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}})),
            "spec.allow[a].to[0]:",
            "a peer of their own",
        ),
        (
            to(json!({"podSelector": {"matchLabels": {}}})),
            "spec.allow[a].to[0].podSelector:",
            "leave it out",
        ),
        (
            to(json!({"namespaceSelector": {"matchExpressions": []}})),
            "to[0].namespaceSelector:",
            "leave it out",
        ),
        (
            to(json!({"podSelector": {"matchLabels": {"-a": "b"}}})),
            "podSelector.matchLabels:",
            "write name or prefix/name",
        ),
        (
            to(json!({"podSelector": {"matchLabels": {"a": "b c"}}})),
            "podSelector.matchLabels[a]:",
            "at most 63",
        ),
        (
            block("10.1.2.3/8", json!(null)),
            "to[0].ipBlock.cidr:",
            "write 10.0.0.0/8",
        ),
        (block("10.0.0.0/08", json!(null)), "to[0].ipBlock.cidr:", "10.0.0.0/8"),
        (
            block("2001:DB8::/32", json!(null)),
            "to[0].ipBlock.cidr:",
            "write 2001:db8::/32",
        ),
        (
            block("::ffff:10.0.0.0/104", json!(null)),
            "to[0].ipBlock.cidr:",
            "write one like",
        ),
        (block("10.0.0.0", json!(null)), "to[0].ipBlock.cidr:", "write one like"),
        (
            block("10.0.0.0/33", json!(null)),
            "to[0].ipBlock.cidr:",
            "write one like",
        ),
        (block("10.0.0.0/8", json!([])), "to[0].ipBlock.except:", "leave it out"),
        (
            block("10.0.0.0/8", json!(["11.0.0.0/16"])),
            "to[0].ipBlock.except:",
            "strictly inside",
        ),
        (
            block("10.0.0.0/8", json!(["10.0.0.0/8"])),
            "to[0].ipBlock.except:",
            "strictly inside",
        ),
        (
            block("10.0.0.0/8", json!(["0.0.0.0/0"])),
            "to[0].ipBlock.except:",
            "strictly inside",
        ),
        (
            block("10.0.0.0/8", json!(["2001:db8::/32"])),
            "to[0].ipBlock.except:",
            "strictly inside",
        ),
        (
            block("10.0.0.0/8", json!(["10.1.1.1/16"])),
            "to[0].ipBlock.except:",
            "write 10.1.0.0/16",
        ),
        (port(json!({"port": 0})), "spec.allow[a].ports[0]:", "1 to 65535"),
        (port(json!({"port": 65536})), "spec.allow[a].ports[0]:", "1 to 65535"),
        (port(json!({"port": -1})), "spec.allow[a].ports[0]:", "1 to 65535"),
        (
            port(json!({"port": 80, "endPort": 79})),
            "spec.allow[a].ports[0]:",
            "endPort is below port",
        ),
        (
            port(json!({"port": 80, "endPort": 70000})),
            "spec.allow[a].ports[0]:",
            "1 to 65535",
        ),
        (port(json!({"endPort": 80})), "spec.allow[a].ports[0]:", "needs a port"),
        (
            port(json!({"port": "http", "endPort": 80})),
            "spec.allow[a].ports[0]:",
            "needs a numeric port",
        ),
        (
            port(json!({"port": "80"})),
            "spec.allow[a].ports[0]:",
            "one of them a letter",
        ),
        (
            port(json!({"port": "sixteen-letters-"})),
            "spec.allow[a].ports[0]:",
            "at most 15",
        ),
        (port(json!({"port": "a--b"})), "spec.allow[a].ports[0]:", "single '-'"),
        (port(json!({"port": ""})), "spec.allow[a].ports[0]:", "at most 15"),
        (
            json!({"preset": "DNS", "podSelector": {"matchLabels": {}}}),
            "spec.allow[a].podSelector:",
            "leave it out",
        ),
    ] {
        let said = allowance_problems(allowance.clone());
        assert!(
            said.contains(field) && said.contains(fix),
            "{allowance}: {said:?} lacks {field:?} or {fix:?}"
        );
    }
}

#[test]
fn an_invalid_requirement_is_refused_with_its_field_and_the_fix() {
    for (requirement, field, fix) in [
        (
            json!({"key": "a", "operator": "In"}),
            "matchExpressions[0]:",
            "list at least one, or use Exists",
        ),
        (
            json!({"key": "a", "operator": "NotIn", "values": []}),
            "matchExpressions[0].values:",
            "at least one value",
        ),
        (
            json!({"key": "a", "operator": "Exists", "values": ["b"]}),
            "matchExpressions[0]:",
            "leave values out",
        ),
        (
            json!({"key": "a/b/c", "operator": "Exists"}),
            "matchExpressions[0].key:",
            "prefix/name",
        ),
        (
            json!({"key": "A.b/c", "operator": "Exists"}),
            "matchExpressions[0].key:",
            "prefix/name",
        ),
        (
            json!({"key": "/c", "operator": "Exists"}),
            "matchExpressions[0].key:",
            "prefix/name",
        ),
        (
            json!({"key": "", "operator": "Exists"}),
            "matchExpressions[0].key:",
            "prefix/name",
        ),
        (
            json!({"key": "a", "operator": "In", "values": ["-"]}),
            "matchExpressions[0].values:",
            "at most 63",
        ),
    ] {
        let said = problems(&tier(
            "t",
            json!({"namespaceSelector": {"matchExpressions": [requirement]}}),
        ));
        let field = format!("spec.namespaceSelector.{field}");
        assert!(
            said.contains(&field) && said.contains(fix),
            "{requirement}: {said:?} lacks {field:?} or {fix:?}"
        );
    }
}

#[test]
fn an_invalid_tier_is_refused_with_its_field_and_the_fix() {
    let dns = |name: &str| json!({"name": name, "preset": "DNS"});
    for (spec, field, fix) in [
        (json!({"precedence": 1001}), "spec.precedence:", "0 to 1000"),
        (json!({"precedence": -1}), "spec.precedence:", "0 to 1000"),
        (json!({"isolate": []}), "spec.isolate:", "leave it out for both"),
        (
            json!({"allow": [dns("a"), dns("a")]}),
            "spec.allow[a].name:",
            "a name of its own",
        ),
        (
            json!({"allow": [dns("Dns")]}),
            "spec.allow[Dns].name:",
            "lower-case letters",
        ),
        (json!({"allow": [dns("")]}), "spec.allow[].name:", "DNS label"),
        (json!({"allow": [dns("a.b")]}), "spec.allow[a.b].name:", "DNS label"),
        (json!({"allow": [dns(&"a".repeat(64))]}), ".name:", "at most 63"),
    ] {
        let said = problems(&tier("t", spec.clone()));
        assert!(
            said.contains(field) && said.contains(fix),
            "{spec}: {said:?} lacks {field:?} or {fix:?}"
        );
    }
}

#[test]
fn a_name_that_cannot_be_a_label_value_is_refused() {
    let long = "a".repeat(64);
    for name in ["", &long] {
        assert!(problems(&tier(name, json!({}))).contains("metadata.name:"), "{name:?}");
    }
    assert_eq!(problems(&tier(&long[1..], json!({}))), "");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let said = problems(&tier(
        "t",
        json!({"precedence": -1, "isolate": [], "allow": [{"name": "a"}, {"name": "b"}]}),
    ));
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn the_order_of_allowances_has_no_meaning() {
    let (a, b) = (
        json!({"name": "a", "preset": "DNS"}),
        json!({"name": "b", "preset": "SameNamespace"}),
    );
    assert_eq!(tier("t", json!({"allow": [a, b]})), tier("t", json!({"allow": [b, a]})));
}

#[test]
fn selecting_every_pod_is_the_same_as_no_pod_selector() {
    let allow = |extra: Value| tier("t", json!({"allow": [tier_spec(&extra)]}));
    let (with, without) = (
        json!({"name": "a", "preset": "DNS", "podSelector": {}}),
        json!({"name": "a", "preset": "DNS"}),
    );
    assert_eq!(allow(with), allow(without));
}

mod broken;
