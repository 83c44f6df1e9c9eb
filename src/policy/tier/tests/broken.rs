//! A tier that does not parse: what can still be read of it.

use super::*;

fn broken(spec: Value) -> BrokenTier {
    match tier("t", spec.clone()) {
        ParsedTier::Broken(broken) => broken,
        ParsedTier::Whole(_) => panic!("{spec} parses"),
    }
}

#[test]
fn a_broken_allowance_leaves_claim_mode_and_directions() {
    let spec = json!({"precedence": 7, "mode": "Observe", "isolate": ["Egress"], "allow": [{"name": "a"}],
        "namespaceSelector": {"matchLabels": {"a": "b"}}});
    let tier = broken(spec);
    assert_eq!(tier.claim.map(|claim| claim.precedence), Some(7));
    assert_eq!(
        (tier.mode, tier.isolate),
        (Some(Mode::Observe), BTreeSet::from([Direction::Egress]))
    );
}

#[test]
fn a_claim_that_cannot_be_read_is_none() {
    for spec in [
        json!({"precedence": "high"}),
        json!({"precedence": 1e12}),
        json!({"precedence": 1001}),
        json!({"precedence": -1}),
        json!({"namespaceSelector": null}),
        json!({"namespaceSelector": {"matchLabels": "a"}}),
        json!({"namespaceSelector": {"matchLabels": {"a b": "c"}}}),
        json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}),
        json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
    ] {
        let tier = broken(spec.clone());
        assert_eq!(
            (tier.claim, tier.mode, tier.isolate),
            (None, Some(Mode::Enforce), Direction::ALL.into()),
            "{spec}"
        );
    }
}

#[test]
fn a_mode_that_cannot_be_read_is_not_observe() {
    for mode in [json!(null), json!("observe"), json!(1)] {
        let parsed = tier("t", json!({"mode": mode}));
        assert!(!parsed.is_observe() && parsed.claim().is_some(), "{mode}");
        assert_eq!(broken(json!({"mode": mode})).mode, None);
    }
}

#[test]
fn directions_that_cannot_be_read_are_both() {
    for isolate in [json!("Ingress"), json!(["Ingres"]), json!([])] {
        assert_eq!(
            broken(json!({"isolate": isolate})).isolate,
            Direction::ALL.into(),
            "{isolate}"
        );
    }
}

#[test]
fn a_spec_that_is_no_object_is_broken_in_everything() {
    for spec in [json!(null), json!([]), json!("x")] {
        let ParsedTier::Broken(tier) = ParsedTier::parse(&tier_metadata("t"), &spec) else {
            panic!("{spec} parses")
        };
        assert_eq!(
            (tier.claim, tier.mode, tier.isolate),
            (None, None, Direction::ALL.into()),
            "{spec}"
        );
    }
}

#[test]
fn a_wrong_type_is_refused_with_its_field() {
    for (spec, field) in [
        (json!({"precedence": "high"}), "spec.precedence:"),
        (json!({"mode": null}), "spec.mode:"),
        (json!({"mode": "observe"}), "spec.mode:"),
        (json!({"isolate": ["Ingres"]}), "spec.isolate:"),
        (json!({"namespaceSelector": "all"}), "spec.namespaceSelector:"),
        (json!({"description": 1}), "spec.description:"),
        (json!({"allow": "DNS"}), "spec.allow:"),
        (
            json!({"allow": [{"name": "a", "preset": "DNS"}, {"name": "b", "preset": "Dns"}]}),
            "spec.allow[b]:",
        ),
        (json!({"allow": [{"preset": "DNS"}]}), "spec.allow[0]:"),
        (
            json!({"allow": [{"name": "a", "to": [{"ipBlock": {}}]}]}),
            "spec.allow[a]:",
        ),
    ] {
        let said = problems(&tier("t", spec.clone()));
        assert!(said.contains(field), "{spec}: {said:?} lacks {field:?}");
    }
}

#[test]
fn unknown_fields_are_found_by_their_path() {
    let written = json!({"mode": "Enforce", "namespaceSelector": {"matchLabels": {"any": "key"}, "matchLabel": {}},
        "describtion": "x", "isolate": null, "allow": [{"name": "a", "preset": "DNS"},
        {"name": "b", "from": [{"podSelector": {}}], "port": [{"port": 1}], "ports": [{"port": 1, "endport": 2}]}]});
    let read = serde_json::to_value(serde_json::from_value::<IsolationTierSpec>(written.clone()).unwrap()).unwrap();
    let expected = [
        "allow[1].port",
        "allow[1].ports[0].endport",
        "describtion",
        "namespaceSelector.matchLabel",
    ];
    assert_eq!(unknown_fields(&written, &read), expected);
    assert_eq!(unknown_fields(&read, &read), [""; 0]);
    let list = json!({"mode": "Enforce", "namespaceSelector": []});
    assert_eq!(
        unknown_fields(&list, &json!({"mode": "Enforce", "namespaceSelector": {}})),
        ["namespaceSelector"]
    );
}
