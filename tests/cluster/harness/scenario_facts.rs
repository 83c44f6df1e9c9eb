//! What presets came to, read from the egress rules of live policies.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client;
use serde_json::{Value, json};

use super::scenario_tiers::eventually_policies;

/// Waits until the egress rules of a policy are as they should be; gives them back.
pub async fn eventually_rules(
    admin: &Client,
    namespace: &str,
    policy: &str,
    names: &[&str],
    condition: impl Fn(&Value) -> bool,
) -> Value {
    let policies = eventually_policies(admin, namespace, names, |policies| {
        let rules = egress_rules(policies, policy);
        if condition(&rules) {
            Ok(())
        } else {
            Err(rules.to_string())
        }
    })
    .await;
    egress_rules(&policies, policy)
}

/// Whether a rule lets through to this block on this port.
pub fn allows(rules: &Value, cidr: &str, port: u16) -> bool {
    let has = |rule: &Value, list: &str, field: &str, wanted: Value| {
        let mut items = rule[list].as_array().into_iter().flatten();
        items.any(|item| item.pointer(field) == Some(&wanted))
    };
    let mut rules = rules.as_array().into_iter().flatten();
    rules.any(|rule| has(rule, "to", "/ipBlock/cidr", json!(cidr)) && has(rule, "ports", "/port", json!(port)))
}

fn egress_rules(policies: &BTreeMap<String, NetworkPolicy>, policy: &str) -> Value {
    json!(policies[policy].spec.as_ref().unwrap().egress)
}

/// The ports of the rule that names the pods behind the DNS Service; null where there is none.
pub fn ports_of_pods(rules: &Value) -> Value {
    let mut rules = rules.as_array().into_iter().flatten();
    let rule = rules.find(|rule| !rule["to"][0]["podSelector"].is_null());
    rule.map_or(Value::Null, |rule| rule["ports"].clone())
}
