//! Which tiers may select a namespace, found by one label instead of by asking every tier: a report on ten thousand namespaces
//! under five hundred tiers would ask five million times.

use std::collections::BTreeMap;

use kube::core::Expression;

use crate::policy::{Namespace, ParsedTier};

/// Tiers by a label that each namespace they select has.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    by_label: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    /// Those that ask for no single label, or whose selector cannot be read.
    others: Vec<usize>,
}

impl Candidates {
    /// Of tiers in their order.
    pub(super) fn of<'a>(tiers: impl IntoIterator<Item = &'a ParsedTier>) -> Self {
        let mut candidates = Self::default();
        for (index, tier) in tiers.into_iter().enumerate() {
            match required_label(tier) {
                Some((key, value)) => {
                    let by_value = candidates.by_label.entry(key).or_default();
                    by_value.entry(value).or_default().push(index);
                }
                None => candidates.others.push(index),
            }
        }
        candidates
    }

    /// The places of those that may select `namespace`, in their order: all that do, and perhaps more.
    pub(super) fn for_namespace(&self, namespace: &Namespace) -> Vec<usize> {
        let mut places = self.others.clone();
        for (key, by_value) in &self.by_label {
            let value = namespace.labels.get(key);
            places.extend(value.and_then(|value| by_value.get(value)).into_iter().flatten());
        }
        places.sort_unstable();
        places
    }
}

fn required_label(tier: &ParsedTier) -> Option<(String, String)> {
    let selector = tier.claim()?.selector.clone();
    selector.into_iter().find_map(|expression| match expression {
        Expression::Equal(key, value) => Some((key, value)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::fixture::{namespace, tier};

    fn selector() -> impl Strategy<Value = Value> {
        let key = || prop::sample::select(vec!["a", "b"]);
        let value = || prop::sample::select(vec!["x", "y"]);
        prop_oneof![
            Just(json!({})),
            (key(), value()).prop_map(|(key, value)| json!({"matchLabels": {key: value}})),
            (value(), value()).prop_map(|(a, b)| json!({"matchLabels": {"a": a, "b": b}})),
            key().prop_map(|key| json!({"matchExpressions": [{"key": key, "operator": "Exists"}]})),
            (key(), value()).prop_map(|(key, value)| {
                json!({"matchLabels": {"a": "x"}, "matchExpressions": [{"key": key, "operator": "In", "values": [value]}]})
            }),
            Just(json!({"matchLabels": {"no key": "at all"}})),
        ]
    }

    proptest! {
        #[test]
        fn who_selects_a_namespace_is_among_them_and_their_order_stays(
            selectors in prop::collection::vec(selector(), 0..12),
            labels in prop::collection::btree_map(prop::sample::select(vec!["a", "b"]), prop::sample::select(vec!["x", "y"]), 0..3),
        ) {
            let tiers: Vec<_> = (0..).zip(selectors).map(|(number, selector): (usize, _)| {
                tier(&format!("t{number}"), json!({"namespaceSelector": selector}))
            }).collect();
            let namespace = namespace("n", &labels.into_iter().collect::<Vec<_>>());
            let places = Candidates::of(&tiers).for_namespace(&namespace);
            prop_assert!(places.is_sorted());
            for (place, tier) in tiers.iter().enumerate() {
                let selects = tier.claim().is_none_or(|claim| claim.selects(&namespace));
                prop_assert!(!selects || places.contains(&place), "{place} of {places:?}");
                // Whoever asks for another value is left out: else all of this is for nothing.
                let other = required_label(tier).is_some_and(|(key, value)| namespace.labels.get(&key) != Some(&value));
                prop_assert!(!other || !places.contains(&place), "{place} of {places:?}");
            }
        }
    }
}
