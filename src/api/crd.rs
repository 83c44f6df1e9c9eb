//! The CustomResourceDefinition: what the types say, and what no attribute of theirs can.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::IsolationTier;

/// The definition of `isolationtiers.cofferdam.dev`, ready to apply.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = IsolationTier::crd();
    for root in crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
    {
        finish(root);
        if let Some(status) = root.properties.as_mut().and_then(|fields| fields.get_mut("status")) {
            // Argo CD and Flux call a custom resource without a status healthy; one that the controller
            // has not seen yet is not.
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
        }
    }
    crd
}

/// Rewrites what the derives cannot be told, in a schema and everything below it.
fn finish(schema: &mut JSONSchemaProps) {
    // An `Option` is a field that may be left out, which its derive says as "nullable". Such a null would be stored and
    // then read as absent, by our rules too: `ports: null` from an unset template variable would open every port.
    // Not nullable, server-side apply and offline validators refuse it; other requests drop it, as for any built-in kind.
    schema.nullable = None;
    if let Some(description) = &mut schema.description {
        *description = explain(description);
    }
    for field in schema.properties.iter_mut().flat_map(|fields| fields.values_mut()) {
        finish(field);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        finish(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        finish_map_values(values);
    }
}

/// A null in a map would be dropped like a field's, and a label that is dropped from a selector widens it.
/// Marked nullable it reaches the rules of the map, which refuse it.
fn finish_map_values(values: &mut JSONSchemaProps) {
    finish(values);
    values.nullable = Some(true);
}

/// A doc comment as `kubectl explain` shows it: that wraps lines itself, so the source's own breaks go; code loses
/// its fences and is indented.
fn explain(doc: &str) -> String {
    let mut text = String::new();
    let mut in_code = false;
    let mut joins_previous = false;
    for line in doc.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
            joins_previous = false;
            continue;
        }
        let is_prose = !in_code && !line.is_empty();
        text.push_str(match (text.is_empty(), joins_previous && is_prose) {
            (true, _) => "",
            (false, true) => " ",
            (false, false) => "\n",
        });
        if in_code {
            text.push_str("  ");
        }
        text.push_str(line);
        joins_previous = is_prose;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> JSONSchemaProps {
        let version = crd().spec.versions.remove(0);
        version
            .schema
            .and_then(|schema| schema.open_api_v3_schema)
            .expect("a schema")
    }

    /// Calls `visit` with the path of every field under `schema`.
    fn walk(path: &str, schema: &JSONSchemaProps, visit: &mut impl FnMut(&str, &JSONSchemaProps)) {
        visit(path, schema);
        for (name, field) in schema.properties.iter().flatten() {
            walk(&format!("{path}.{name}"), field, visit);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            walk(&format!("{path}[]"), items, visit);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            walk(&format!("{path}{{}}"), values, visit);
        }
    }

    #[test]
    fn a_tier_that_the_controller_has_not_seen_says_so() {
        let root = root();
        let status = &root.properties.expect("fields")["status"];
        assert_eq!(status.default, Some(JSON(json!({ "observedGeneration": -1 }))));
    }

    #[test]
    fn nothing_but_the_status_has_a_default() {
        walk("", &root(), &mut |path, schema| {
            assert!(schema.default.is_none() || path == ".status", "{path} has a default")
        });
    }

    #[test]
    fn every_field_of_the_spec_explains_itself_with_an_example() {
        walk(
            "spec",
            &root().properties.expect("fields")["spec"],
            &mut |path, schema| {
                if !path.ends_with(['}', ']']) {
                    let description = schema.description.as_deref().unwrap_or_default();
                    assert!(description.contains("Example:"), "{path} has no example: {description}");
                }
            },
        );
    }

    #[test]
    fn every_rule_says_what_to_write() {
        walk("", &root(), &mut |path, schema| {
            for rule in schema.x_kubernetes_validations.iter().flatten() {
                assert!(rule.message.is_some(), "{path}: {} has no message", rule.rule);
            }
        });
    }

    #[test]
    fn every_list_and_string_of_the_spec_is_bounded() {
        walk(
            "spec",
            &root().properties.expect("fields")["spec"],
            &mut |path, schema| {
                let bounded = match schema.type_.as_deref() {
                    Some("array") => schema.max_items.is_some(),
                    Some("string") => schema.enum_.is_some() || schema.max_length.is_some() || path.ends_with("[]"),
                    Some("object") => schema.additional_properties.is_none() || schema.max_properties.is_some(),
                    _ => true,
                };
                assert!(
                    bounded,
                    "{path} has no limit: the cost of the rules below it would be unbounded"
                );
            },
        );
    }

    #[test]
    fn explained_text_keeps_paragraphs_and_code() {
        assert_eq!(
            explain("One\ntwo.\n\nThree:\n\n```yaml\na:\n- b\n```\nfour"),
            "One two.\n\nThree:\n\n  a:\n  - b\nfour"
        );
    }
}
