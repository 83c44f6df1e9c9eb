//! Objects as the API server gives them back, whatever somebody wrote into them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use kube::Resource;
use kube::api::ObjectMeta;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An object that is read without its managed fields if it cannot be read with them.
///
/// Whoever may update an object may set its managed fields, and the API server takes times that our types do not hold
/// (`9999-12-31T23:59:59Z`), and fields that nest a thousand levels deep, which no parser follows. One such object would
/// fail every list and watch of its kind, and so end the protection of all namespaces.
#[derive(Clone, Debug)]
pub struct Readable<K>(pub K);

impl<'de, K: DeserializeOwned> Deserialize<'de> for Readable<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As text: how deep that nests does not matter until somebody reads it.
        let text = Box::<RawValue>::deserialize(deserializer)?;
        serde_json::from_str(text.get())
            .or_else(|error| read_without_managed_fields(text.get()).map_err(|_| error))
            .map(Self)
            .map_err(Error::custom)
    }
}

fn read_without_managed_fields<K: DeserializeOwned>(object: &str) -> serde_json::Result<K> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(object)?;
    let mut metadata: BTreeMap<String, &RawValue> = match fields.get("metadata") {
        Some(metadata) => serde_json::from_str(metadata.get())?,
        None => BTreeMap::new(),
    };
    metadata.remove("managedFields");
    let metadata = serde_json::value::to_raw_value(&metadata)?;
    fields.insert(String::from("metadata"), &metadata);
    serde_json::from_str(&serde_json::to_string(&fields)?)
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
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use kube::api::{DynamicObject, ObjectList, WatchEvent};
    use serde_json::{Value, json};

    use super::*;

    fn managed_at(time: &str) -> Value {
        json!({
            "metadata": {"name": "a", "managedFields": [{"manager": "m", "operation": "Update", "time": time}]},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
        })
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
        assert_eq!((read.metadata.managed_fields, read.spec), (None, usual.spec));
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
            assert_eq!(policy.metadata.managed_fields, None);
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
