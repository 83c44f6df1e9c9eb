//! A label selector with the limits and rules that keep its admission cost bounded.
//!
//! Kubernetes' own type carries neither into a CRD: a selector that a NetworkPolicy may not hold
//! would be accepted in a tier, and refused only when the policy is written.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A label selector, as in a NetworkPolicy: every label and every expression must hold, and `{}`
/// selects everything.
///
/// Example: `{matchLabels: {team: payments}}`
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be present with exactly these values; at least one.
    ///
    /// Example: `{team: payments}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 8), transform = limit_label_values)]
    #[x_kube(validation = Rule::new("self.size() > 0")
        .message("matchLabels is empty: list a label, or leave matchLabels out ({} as the whole selector selects everything)")
        .reason(Reason::FieldValueRequired))]
    #[x_kube(validation = Rule::new("self.all(k, !format.qualifiedName().validate(k).hasValue())")
        .message(LABEL_KEY_MESSAGE))]
    #[x_kube(validation = Rule::new("self.all(k, dyn(self[k]) != null)")
        .message("a label without a value: write one, or \"\" for the empty value"))]
    #[x_kube(validation = Rule::new(format!("self.all(k, dyn(self[k]) == null || self[k].matches(r'{LABEL_VALUE}'))"))
        .message(LABEL_VALUE_MESSAGE))]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Requirements that must all hold; at least one.
    ///
    /// Example: `[{key: env, operator: In, values: [prod, staging]}]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4))]
    #[x_kube(validation = Rule::new("self.size() > 0")
        .message("matchExpressions is empty: list a requirement, or leave matchExpressions out ({} as the whole selector selects everything)")
        .reason(Reason::FieldValueRequired))]
    pub match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

/// One requirement of a label selector.
///
/// Example: `{key: env, operator: NotIn, values: [sandbox]}`
#[derive(Clone, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(self.operator in ['In', 'NotIn']) || has(self.values)")
    .message("In and NotIn compare with values: list at least one, or write operator Exists or DoesNotExist")
    .reason(Reason::FieldValueRequired)
    .field_path(".values"))]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] || !has(self.values)")
    .message("Exists and DoesNotExist look at the key alone: remove values, or write operator In or NotIn")
    .reason(Reason::FieldValueForbidden)
    .field_path(".values"))]
pub struct LabelSelectorRequirement {
    /// The label key.
    ///
    /// Example: `app.kubernetes.io/name`
    #[schemars(length(max = 317))]
    #[x_kube(validation = Rule::new("!format.qualifiedName().validate(self).hasValue()").message(LABEL_KEY_MESSAGE))]
    pub key: String,
    /// How the label must relate to `values`: `In` and `NotIn` need them, `Exists` and `DoesNotExist` take none.
    /// `NotIn` and `DoesNotExist` hold too where the label is absent.
    ///
    /// Example: `In`
    pub operator: SelectorOperator,
    /// Values for `In` and `NotIn`; at least one.
    ///
    /// Example: `[prod, staging]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 63)))]
    #[x_kube(validation = Rule::new("self.size() > 0")
        .message("values is empty: list at least one, or write operator Exists or DoesNotExist and leave values out")
        .reason(Reason::FieldValueRequired))]
    #[x_kube(validation = Rule::new(format!("self.all(v, v.matches(r'{LABEL_VALUE}'))")).message(LABEL_VALUE_MESSAGE))]
    pub values: Option<Vec<String>>,
}

/// Operator of a label selector requirement.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, schemars::JsonSchema, Serialize)]
pub enum SelectorOperator {
    /// The label is present with one of the values.
    In,
    /// The label is absent, or present with none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// What a label's value looks like, less its length. `format.labelValue()` says the same for 2.7 times the admission
/// budget of a rule, which counts every value that a tier could hold, and each character of the expression.
const LABEL_VALUE: &str = r"^(([A-Za-z0-9][-\w.]*)?[A-Za-z0-9])?$";
/// Longest value of a label.
const LABEL_VALUE_LENGTH: u32 = 63;

const LABEL_KEY_MESSAGE: &str = "not a label key: write name or prefix/name, where name is at most 63 letters, digits, -, _ or ., \
     starts and ends with a letter or digit, and prefix is a DNS name; for example app.kubernetes.io/name";
const LABEL_VALUE_MESSAGE: &str = "not a label value: write at most 63 letters, digits, -, _ or ., starting and ending with a letter \
     or digit; or the empty string";

/// No attribute reaches the values of a map.
fn limit_label_values(schema: &mut schemars::Schema) {
    if let Some(values) = schema
        .get_mut("additionalProperties")
        .and_then(serde_json::Value::as_object_mut)
    {
        values.insert("maxLength".into(), LABEL_VALUE_LENGTH.into());
    }
}
