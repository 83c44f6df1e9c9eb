//! Label selectors: what the API server would refuse in a NetworkPolicy is refused here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use kube::core::Selector;

use super::Problem;
use crate::api::{LabelSelector, LabelSelectorRequirement, SelectorOperator};

/// Parses into what evaluates; `None` only together with a problem.
pub(super) fn parse(selector: &LabelSelector, field: &str, problems: &mut Vec<Problem>) -> Option<Selector> {
    let before = problems.len();
    let selector = parse_label_selector(selector, field, problems);
    match Selector::try_from(selector) {
        Ok(selector) if problems.len() == before => Some(selector),
        Ok(_) => None,
        Err(error) => {
            problems.push(Problem::new(field, error.to_string()));
            None
        }
    }
}

/// Parses into what a NetworkPolicy holds.
pub(super) fn parse_label_selector(
    selector: &LabelSelector,
    field: &str,
    problems: &mut Vec<Problem>,
) -> meta::LabelSelector {
    if selector.match_labels.as_ref().is_some_and(|labels| labels.is_empty())
        || selector.match_expressions.as_ref().is_some_and(Vec::is_empty)
    {
        problems.push(Problem::new(
            field,
            "matchLabels or matchExpressions is empty; leave it out, and write {} to select everything",
        ));
    }
    for (key, value) in selector.match_labels.iter().flatten() {
        check_key(key, &format!("{field}.matchLabels"), problems);
        check_value(value, &format!("{field}.matchLabels[{key}]"), problems);
    }
    let requirements = selector.match_expressions.iter().flatten().enumerate();
    let expressions: Vec<_> = requirements
        .map(|(index, requirement)| {
            parse_requirement(requirement, &format!("{field}.matchExpressions[{index}]"), problems)
        })
        .collect();
    meta::LabelSelector {
        match_labels: selector.match_labels.clone(),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    }
}

fn parse_requirement(
    requirement: &LabelSelectorRequirement,
    field: &str,
    problems: &mut Vec<Problem>,
) -> meta::LabelSelectorRequirement {
    check_key(&requirement.key, &format!("{field}.key"), problems);
    let wants_values = matches!(requirement.operator, SelectorOperator::In | SelectorOperator::NotIn);
    match &requirement.values {
        None if wants_values => {
            problems.push(Problem::new(field, "In and NotIn need values: list at least one, or use Exists"));
        }
        Some(values) if values.is_empty() => {
            problems.push(Problem::new(format!("{field}.values"), "the list is empty; list at least one value"));
        }
        Some(_) if !wants_values => {
            problems.push(Problem::new(field, "Exists and DoesNotExist take no values: leave values out"));
        }
        _ => {}
    }
    for value in requirement.values.iter().flatten() {
        check_value(value, &format!("{field}.values"), problems);
    }
    let operator = match requirement.operator {
        SelectorOperator::In => "In",
        SelectorOperator::NotIn => "NotIn",
        SelectorOperator::Exists => "Exists",
        SelectorOperator::DoesNotExist => "DoesNotExist",
    };
    meta::LabelSelectorRequirement {
        key: requirement.key.clone(),
        operator: operator.to_owned(),
        values: requirement.values.clone(),
    }
}

fn check_key(key: &str, field: &str, problems: &mut Vec<Problem>) {
    if !is_label_key(key) {
        problems.push(Problem::new(field, format!("{key:?} is not a label key; write name or prefix/name")));
    }
}

fn check_value(value: &str, field: &str, problems: &mut Vec<Problem>) {
    if !is_label_value(value) {
        problems.push(Problem::new(
            field,
            format!("{value:?} is not a label value; use at most 63 letters, digits, '-', '_' or '.'"),
        ));
    }
}

/// `IsQualifiedName` of `k8s.io/apimachinery/pkg/util/validation`.
fn is_label_key(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) if is_dns_subdomain(prefix) => name,
        Some(_) => return false,
        None => key,
    };
    !name.is_empty() && is_label_value(name)
}

/// `IsValidLabelValue` of the same package: empty, or 1 to 63 of `[-A-Za-z0-9_.]` that start and end with a
/// letter or digit.
pub(super) fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && bytes.first().is_none_or(u8::is_ascii_alphanumeric)
        && bytes.last().is_none_or(u8::is_ascii_alphanumeric)
}

/// `IsDNS1123Subdomain` of the same package.
fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label_of_any_length)
}

/// `IsDNS1123Label` of the same package.
pub(super) fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_dns_label_of_any_length(name)
}

fn is_dns_label_of_any_length(name: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}
