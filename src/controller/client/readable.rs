//! Objects as the API server gives them back, whatever somebody wrote into them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Resource;
use kube::api::{DynamicObject, ObjectMeta};
use kube::core::PartialObjectMeta;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::policy::observed::FIELDS_NOT_READ;

/// An object that is read without its managed fields if it cannot be read with them, and without its spec where that would
/// fill the memory.
///
/// Whoever may update an object may set its managed fields, and the API server takes times that our types do not hold
/// (`9999-12-31T23:59:59Z`), and fields that nest a thousand levels deep, which no parser follows. One such object would
/// fail every list and watch of its kind, and so end the protection of all namespaces. So would one with a million rules
/// that say nothing: three bytes each on the wire, and fifty in our types.
#[derive(Clone, Debug)]
pub struct Readable<K>(pub K);

/// What is read in place of a spec with more than [`MOST_VALUES`].
pub trait StandIn {
    /// As JSON; `None` for kinds that have no spec, or of which only the cluster's own objects are asked for.
    const SPEC: Option<&'static str> = None;
}

/// What is not compared counts as allowing everything, and is never what a tier wants.
impl StandIn for NetworkPolicy {
    const SPEC: Option<&'static str> =
        Some(r#"{"podSelector":{},"policyTypes":["Ingress","Egress"],"ingress":[{}],"egress":[{}]}"#);
}

impl StandIn for Service {}
impl StandIn for EndpointSlice {}
impl StandIn for DynamicObject {}
impl<K> StandIn for PartialObjectMeta<K> {}

/// The most objects and lists in a spec that is read: more than the largest that a tier can render to, and some megabytes
/// in our types.
const MOST_VALUES: usize = 32 << 10;
/// What is shorter cannot hold as many.
const SHORT: usize = 2 * MOST_VALUES;

impl<'de, K: DeserializeOwned + StandIn> Deserialize<'de> for Readable<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As text: how deep that nests does not matter until somebody reads it.
        let text = Box::<RawValue>::deserialize(deserializer)?;
        read(text.get()).map(Self).map_err(Error::custom)
    }
}

fn read<K: DeserializeOwned + StandIn>(object: &str) -> serde_json::Result<K> {
    if object.len() >= SHORT {
        let Parts { fields, metadata } = Parts::of(object)?;
        let reads_managed_fields = metadata
            .get("managedFields")
            .is_none_or(|fields| has_few_values(fields));
        let spec = K::SPEC.filter(|_| fields.get("spec").is_some_and(|spec| !has_few_values(spec)));
        if spec.is_some() || !reads_managed_fields {
            return Parts { fields, metadata }.read(reads_managed_fields, spec);
        }
    }
    serde_json::from_str(object).or_else(|error| {
        let without = Parts::of(object).and_then(|parts| parts.read(false, None));
        without.map_err(|_| error)
    })
}

/// An object, taken apart.
struct Parts<'a> {
    fields: BTreeMap<String, &'a RawValue>,
    metadata: BTreeMap<String, &'a RawValue>,
}

impl<'a> Parts<'a> {
    fn of(object: &'a str) -> serde_json::Result<Self> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object)?;
        let metadata = fields
            .get("metadata")
            .map(|metadata| serde_json::from_str(metadata.get()));
        Ok(Self {
            metadata: metadata.transpose()?.unwrap_or_default(),
            fields,
        })
    }

    /// Reads it, with a word in place of its managed fields unless they are wanted, and with another spec.
    fn read<K: DeserializeOwned>(self, reads_managed_fields: bool, spec: Option<&str>) -> serde_json::Result<K> {
        let not_read = to_raw_value(&json!([{"fieldsType": FIELDS_NOT_READ}]))?;
        let mut metadata: BTreeMap<String, &RawValue> = self.metadata;
        if !reads_managed_fields && let Some(fields) = metadata.get_mut("managedFields") {
            *fields = &not_read;
        }
        let metadata = to_raw_value(&metadata)?;
        let spec: Option<&RawValue> = spec.map(serde_json::from_str).transpose()?;
        let mut fields: BTreeMap<String, &RawValue> = self.fields;
        fields.insert(String::from("metadata"), &metadata);
        if let Some(spec) = spec {
            fields.insert(String::from("spec"), spec);
        }
        serde_json::from_str(&serde_json::to_string(&fields)?)
    }
}

/// Whether it holds no more than [`MOST_VALUES`] objects and lists.
fn has_few_values(value: &RawValue) -> bool {
    let (mut values, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in value.get().bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => values += 1,
            _ => {}
        }
    }
    values <= MOST_VALUES
}

impl<K: Serialize> Serialize for Readable<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<K: Resource> Resource for Readable<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn api_version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::api_version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::networking::v1::NetworkPolicySpec;
    use kube::api::{ObjectList, WatchEvent};
    use serde_json::Value;

    use super::*;

    fn managed_at(time: &str) -> Value {
        json!({
            "metadata": {"name": "a", "managedFields": [{"manager": "m", "operation": "Update", "time": time}]},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
        })
    }

    fn says_not_read(policy: &NetworkPolicy) -> bool {
        let entries = policy.metadata.managed_fields.as_deref().unwrap_or_default();
        entries.len() == 1 && entries[0].fields_type.as_deref() == Some(FIELDS_NOT_READ)
    }

    fn with_rules(rules: usize, label: &str) -> Readable<NetworkPolicy> {
        let rules = vec!["{}"; rules].join(",");
        let labels = json!({"b": label});
        let text = format!(
            r#"{{"metadata":{{"name":"a","managedFields":[{{"manager":"m"}}]}},
            "spec":{{"podSelector":{{"matchLabels":{labels}}},"policyTypes":["Ingress"],"ingress":[{rules}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_spec_of_too_many_values_counts_as_allowing_everything() {
        let open: NetworkPolicySpec = serde_json::from_str(NetworkPolicy::SPEC.unwrap()).unwrap();
        let Readable(policy) = with_rules(MOST_VALUES, "c");
        assert_eq!(policy.spec.as_ref(), Some(&open));
        assert_eq!(policy.metadata.name.as_deref(), Some("a"));
        let managers = policy.metadata.managed_fields.unwrap_or_default();
        assert_eq!(managers[0].manager.as_deref(), Some("m"));
    }

    // What looks like a value inside of a string is none. Five are around the rules.
    #[test]
    fn a_long_spec_of_few_values_is_read_whole() {
        let long = "{[\"\\".repeat(MOST_VALUES);
        let Readable(policy) = with_rules(MOST_VALUES - 5, &long);
        let spec = policy.spec.unwrap();
        assert_eq!(spec.ingress.unwrap_or_default().len(), MOST_VALUES - 5);
        let labels = spec.pod_selector.and_then(|selector| selector.match_labels);
        assert_eq!(labels.unwrap()["b"], long);
    }

    #[test]
    fn managed_fields_of_too_many_values_are_not_read() {
        let fields = (0..=MOST_VALUES).map(|number| format!(r#""f:{number}":{{}}"#));
        let fields = fields.collect::<Vec<_>>().join(",");
        let text = format!(
            r#"{{"metadata":{{"name":"a","managedFields":[{{"manager":"m","fieldsV1":{{{fields}}}}}]}},
            "spec":{{"podSelector":{{}},"policyTypes":["Egress"]}}}}"#
        );
        let Readable(policy): Readable<NetworkPolicy> = serde_json::from_str(&text).unwrap();
        assert!(says_not_read(&policy), "{:?}", policy.metadata.managed_fields);
        assert_eq!(policy.spec.unwrap().policy_types, Some(vec!["Egress".into()]));
    }

    #[test]
    fn a_time_beyond_what_our_types_hold_costs_only_the_managed_fields() {
        let usual = serde_json::from_value::<Readable<NetworkPolicy>>(managed_at("2026-01-01T00:00:00Z"))
            .unwrap()
            .0;
        assert_eq!(usual.metadata.managed_fields.as_ref().map(Vec::len), Some(1));
        let latest = managed_at("9999-12-31T23:59:59Z");
        serde_json::from_value::<NetworkPolicy>(latest.clone()).unwrap_err();
        let read = serde_json::from_value::<Readable<NetworkPolicy>>(latest).unwrap().0;
        assert!(says_not_read(&read) && read.spec == usual.spec, "{read:?}");
    }

    // As the API server gives it back: in a list, and in an event of a watch.
    #[test]
    fn fields_deeper_than_any_parser_goes_cost_only_the_managed_fields() {
        let deep = format!("{}{{}}{}", r#"{"f:a":"#.repeat(5_000), "}".repeat(5_000));
        let object = format!(
            r#"{{"kind":"NetworkPolicy","apiVersion":"networking.k8s.io/v1","metadata":{{"name":"a","namespace":"b",
            "managedFields":[{{"manager":"m","operation":"Update","fieldsV1":{deep}}}],"labels":{{"c":"d"}}}},
            "spec":{{"podSelector":{{}},"policyTypes":["Egress"]}}}}"#
        );
        let list = format!(
            r#"{{"kind":"NetworkPolicyList","apiVersion":"networking.k8s.io/v1","metadata":{{}},"items":[{object}]}}"#
        );
        let event = format!(r#"{{"type":"ADDED","object":{object}}}"#);
        let listed: ObjectList<Readable<NetworkPolicy>> = serde_json::from_str(&list).unwrap();
        let Ok(WatchEvent::Added(shown)) = serde_json::from_str::<WatchEvent<Readable<NetworkPolicy>>>(&event) else {
            panic!("the event is read")
        };
        for Readable(policy) in [&listed.items[0], &shown] {
            assert!(says_not_read(policy), "{policy:?}");
            let namespaced = (&policy.metadata.name, &policy.metadata.namespace);
            assert_eq!(namespaced, (&Some("a".into()), &Some("b".into())));
            assert_eq!(policy.metadata.labels.as_ref().unwrap()["c"], "d");
            assert_eq!(policy.spec.as_ref().unwrap().policy_types, Some(vec!["Egress".into()]));
        }
        let Readable(dynamic): Readable<DynamicObject> = serde_json::from_str(&object).unwrap();
        assert_eq!(dynamic.data["spec"]["policyTypes"], json!(["Egress"]));
    }

    #[test]
    fn what_cannot_be_read_for_another_reason_is_an_error_as_ever() {
        let error = serde_json::from_value::<Readable<NetworkPolicy>>(json!({"spec": 1})).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}
