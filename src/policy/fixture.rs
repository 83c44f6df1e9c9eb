//! What the unit tests of the core build their cases from.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    ApiServerFacts, DnsFacts, Exemptions, Fact, Facts, Namespace, ObservedPolicies, ObservedPolicy, ParsedTier,
    PolicyName, World, Write,
};
use crate::api::Protocol;

/// The second at which every tier is created: namespaces are older or younger than that.
pub(super) const TIER_CREATED: i64 = 1000;

/// A moment, in seconds.
pub(super) fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The metadata of a tier whose uid is `uid-NAME`.
pub(super) fn tier_metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        uid: Some(format!("uid-{name}")),
        generation: Some(1),
        creation_timestamp: Some(Time(second(TIER_CREATED))),
        ..ObjectMeta::default()
    }
}

/// `spec` over the smallest valid one: every namespace, Enforce.
pub(super) fn tier_spec(spec: &Value) -> Value {
    let mut whole = json!({"namespaceSelector": {}, "mode": "Enforce"});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    whole
}

/// A tier of [`tier_metadata`] and [`tier_spec`].
pub(super) fn tier(name: &str, spec: Value) -> ParsedTier {
    ParsedTier::parse(&tier_metadata(name), &tier_spec(&spec))
}

/// A namespace of the uid `uid-NAME`, younger than every tier.
pub(super) fn namespace(name: &str, labels: &[(&str, &str)]) -> Namespace {
    Namespace {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        created: Some(second(TIER_CREATED + 1)),
        terminating: false,
    }
}

/// As [`namespace`], but older than every tier.
pub(super) fn older_namespace(name: &str) -> Namespace {
    Namespace {
        created: Some(second(TIER_CREATED - 1)),
        ..namespace(name, &[])
    }
}

/// Facts of a cluster where everything is found.
pub(super) fn known_facts() -> Facts {
    let dns_ports = [(Protocol::UDP, 53), (Protocol::TCP, 53)];
    Facts {
        dns: Fact::Known(DnsFacts {
            namespace: String::from("kube-system"),
            pod_labels: BTreeMap::from([(String::from("k8s-app"), String::from("kube-dns"))]),
            endpoints: [].into(),
            pod_ports: dns_ports.into(),
            cluster_ips: ["10.0.0.10".parse().unwrap()].into(),
            service_ports: dns_ports.into(),
        }),
        api_server: Fact::Known(ApiServerFacts {
            endpoints: [([(Protocol::TCP, 6443)].into(), ["192.0.2.1".parse().unwrap()].into())].into(),
            cluster_ips: ["10.0.0.1".parse().unwrap()].into(),
            service_ports: [(Protocol::TCP, 443)].into(),
        }),
    }
}

/// Those tiers, in a cluster of those facts.
pub(super) fn world(tiers: impl IntoIterator<Item = ParsedTier>, facts: Facts) -> World {
    World::new(tiers, facts, Exemptions::new("cofferdam-system", ["openshift-*"]))
}

/// What the API server shows once it stored `object`.
pub(super) fn stored(mut object: NetworkPolicy) -> (PolicyName, ObservedPolicy) {
    object.metadata.uid.get_or_insert_with(|| String::from("uid-policy"));
    object.metadata.resource_version = Some(String::from("7"));
    ObservedPolicy::read(serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap()).unwrap()
}

/// What stands after those writes.
pub(super) fn observed<'a>(namespace: &Namespace, writes: impl IntoIterator<Item = &'a Write>) -> ObservedPolicies {
    writes
        .into_iter()
        .map(|write| stored(write.object(namespace)))
        .collect()
}

/// A policy that a tenant wrote under that name, open to everyone.
pub(super) fn open_policy(name: &str) -> NetworkPolicy {
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]});
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(serde_json::from_value::<NetworkPolicySpec>(spec).unwrap()),
    }
}
