//! The limits that only the schema of the CustomResourceDefinition knows: an API server refuses what exceeds them, so a
//! file is told before it is sent there.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use crate::api;

/// The schema of `spec`, made once: it takes longer than reading the files.
static SPEC: LazyLock<Option<JSONSchemaProps>> = LazyLock::new(|| {
    let version = api::crd().spec.versions.into_iter().next()?;
    version.schema?.open_api_v3_schema?.properties?.remove("spec")
});

/// What exceeds a limit in the `spec` of a tier: the field, and what is wrong.
pub fn exceeded_limits(spec: &Value) -> Vec<String> {
    let mut exceeded = Vec::new();
    if let Some(schema) = &*SPEC {
        check(schema, spec, "spec", &mut exceeded);
    }
    exceeded
}

fn check(schema: &JSONSchemaProps, value: &Value, path: &str, exceeded: &mut Vec<String>) {
    let mut limit = |found: usize, most: Option<i64>, what: &str| {
        if let Some(most) = most.filter(|most| usize::try_from(*most).is_ok_and(|most| found > most)) {
            exceeded.push(format!("{path}: has {found} {what}, at most {most} are taken"));
        }
    };
    match value {
        Value::String(text) => limit(text.chars().count(), schema.max_length, "characters"),
        Value::Array(items) => {
            limit(items.len(), schema.max_items, "items");
            if schema.x_kubernetes_list_type.as_deref() == Some("set") {
                let twice = items
                    .iter()
                    .enumerate()
                    .filter(|(index, item)| items[..*index].contains(item));
                exceeded.extend(twice.map(|(_, item)| format!("{path}: lists {item} twice")));
            }
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    check(schema, item, &format!("{path}[{index}]"), exceeded);
                }
            }
        }
        Value::Object(fields) => {
            limit(fields.len(), schema.max_properties, "entries");
            for (name, value) in fields {
                let known = schema.properties.as_ref().and_then(|known| known.get(name));
                let any = match &schema.additional_properties {
                    Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(&**schema),
                    _ => None,
                };
                if let Some(schema) = known.or(any) {
                    check(schema, value, &format!("{path}.{name}"), exceeded);
                }
            }
        }
        _ => {}
    }
}
