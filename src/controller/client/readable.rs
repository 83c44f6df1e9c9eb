//! Objects as the API server gives them back, whatever somebody wrote into them.

use std::borrow::Cow;

use kube::Resource;
use kube::api::ObjectMeta;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// An object that is read without its managed fields if it cannot be read with them.
///
/// Whoever may update an object may set the times in its managed fields, and the API server takes more of them than our
/// types hold (`9999-12-31T23:59:59Z`). One such object would fail every list and watch of its kind, and so end the
/// protection of all namespaces.
#[derive(Clone, Debug)]
pub struct Readable<K>(pub K);

impl<'de, K: DeserializeOwned> Deserialize<'de> for Readable<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let error = match K::deserialize(&object) {
            Ok(read) => return Ok(Self(read)),
            Err(error) => error,
        };
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        K::deserialize(&object).map(Self).map_err(|_| Error::custom(error))
    }
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
    use serde_json::json;

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

    #[test]
    fn what_cannot_be_read_for_another_reason_is_an_error_as_ever() {
        let error = serde_json::from_value::<Readable<NetworkPolicy>>(json!({"spec": 1})).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}
