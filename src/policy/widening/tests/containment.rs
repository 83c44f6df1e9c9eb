//! Each way in which what a policy allows can lie within what the tier allows.

use serde_json::{Value, json};

use super::{NOTHING, block, from, ingress_severity, same_namespace};

#[test]
fn selectors_compare_by_what_they_imply() {
    let named = |names: Value| json!({"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]}});
    let pods = |requirement: Value| json!({"podSelector": {"matchExpressions": [requirement]}});
    let is_x = || json!({"podSelector": {"matchLabels": {"a": "x"}}});
    for (tier, foreign, expected) in [
        (
            pods(json!({"key": "a", "operator": "In", "values": ["x", "y"]})),
            is_x(),
            NOTHING,
        ),
        (
            is_x(),
            pods(json!({"key": "a", "operator": "In", "values": ["x", "y"]})),
            "cluster",
        ),
        (pods(json!({"key": "a", "operator": "Exists"})), is_x(), NOTHING),
        (
            pods(json!({"key": "a", "operator": "NotIn", "values": ["y"]})),
            is_x(),
            NOTHING,
        ),
        (
            pods(json!({"key": "a", "operator": "NotIn", "values": ["y"]})),
            pods(json!({"key": "a", "operator": "DoesNotExist"})),
            NOTHING,
        ),
        (
            pods(json!({"key": "a", "operator": "NotIn", "values": ["y"]})),
            same_namespace(),
            "cluster",
        ),
        (named(json!(["shop", "till"])), same_namespace(), NOTHING),
        (
            same_namespace(),
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}, "podSelector": {"matchLabels": {"a": "x"}}}),
            NOTHING,
        ),
        (same_namespace(), named(json!(["shop", "till"])), "cluster"),
        // What is known of this namespace's labels counts, for those of others nothing is known.
        (
            json!({"namespaceSelector": {"matchLabels": {"team": "web"}}}),
            same_namespace(),
            NOTHING,
        ),
        (
            json!({"namespaceSelector": {"matchLabels": {"team": "till"}}}),
            same_namespace(),
            "cluster",
        ),
        (
            same_namespace(),
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop", "team": "till"}}}),
            NOTHING,
        ),
        (
            json!({"namespaceSelector": {}}),
            json!({"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}}),
            NOTHING,
        ),
        (
            json!({"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}}),
            json!({"namespaceSelector": {}}),
            NOTHING,
        ),
        // A contradiction selects nobody.
        (
            is_x(),
            json!({"podSelector": {"matchLabels": {"b": "x"}, "matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}}),
            NOTHING,
        ),
    ] {
        let verdict = ingress_severity(
            &[from(json!([tier.clone()]), json!([]))],
            &from(json!([foreign.clone()]), json!([])),
        );
        assert_eq!(verdict, expected, "tier {tier}, foreign {foreign}");
    }
}

#[test]
fn several_rules_of_the_tier_cover_together_what_none_covers_alone() {
    let in_namespace = |operator: &str| json!({"namespaceSelector": {"matchExpressions": [{"key": "env", "operator": operator, "values": ["prod"]}]}});
    let tier = [
        from(json!([in_namespace("In")]), json!([{"port": 80}])),
        from(json!([in_namespace("NotIn")]), json!([{"port": 80}, {"port": 81}])),
        from(
            json!([block("10.0.0.0/9", &[]), block("10.128.0.0/9", &[])]),
            json!([{"port": 80}]),
        ),
    ];
    let web = || json!([{"port": 80}]);
    assert_eq!(
        ingress_severity(&tier, &from(json!([{"namespaceSelector": {}}]), web())),
        NOTHING
    );
    assert_eq!(
        ingress_severity(&tier, &from(json!([{"namespaceSelector": {}}]), json!([{"port": 81}]))),
        "port"
    );
    assert_eq!(
        ingress_severity(&tier, &from(json!([block("10.0.0.0/8", &[])]), web())),
        NOTHING
    );
}

#[test]
fn an_allowance_for_some_pods_covers_those_alone() {
    let with_pods = |selector: Value| json!({"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [{"from": [{"namespaceSelector": {}}]}]});
    let tier = [with_pods(json!({"matchLabels": {"app": "api"}}))];
    for (selector, expected) in [
        (json!({"matchLabels": {"app": "api", "tier": "front"}}), NOTHING),
        (json!({"matchLabels": {"app": "db"}}), "cluster"),
        (json!({}), "cluster"),
        (
            json!({"matchLabels": {"app": "db"}, "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}),
            NOTHING,
        ),
    ] {
        assert_eq!(
            ingress_severity(&tier, &with_pods(selector.clone())),
            expected,
            "{selector}"
        );
    }
}

#[test]
fn everyone_is_every_pod_and_every_address() {
    let everyone = json!([{"namespaceSelector": {}}, block("0.0.0.0/0", &[]), block("::/0", &[])]);
    let foreign = from(json!([]), json!([]));
    assert_eq!(
        ingress_severity(&[from(everyone.clone(), json!([]))], &foreign),
        NOTHING
    );
    assert_eq!(
        ingress_severity(&[from(everyone, json!([{"port": 80}]))], &foreign),
        "port"
    );
    assert_eq!(
        ingress_severity(
            &[from(json!([]), json!([]))],
            &from(json!([block("::/0", &[])]), json!([]))
        ),
        NOTHING
    );
    // An enforcer may not let a block of addresses hold for pods.
    let addresses = json!([block("0.0.0.0/0", &[]), block("::/0", &[])]);
    assert_eq!(ingress_severity(&[from(addresses, json!([]))], &foreign), "open");
}
