//! What a label selector says of one label, as an exact set: selectors compare by implication because these sets
//! compare by containment.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::api::names::NAMESPACE_NAME_LABEL;

/// Whose label it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Subject {
    /// A pod that the policy selects.
    SelectedPod,
    /// The namespace of a peer.
    PeerNamespace,
    /// A peer's pod.
    PeerPod,
}

/// What is demanded of each label; a label that is not listed may be anything.
pub(super) type Labels<'a> = BTreeMap<(Subject, &'a str), LabelSet<'a>>;

/// The states of a label that satisfy a requirement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct LabelSet<'a> {
    absent: bool,
    values: Values<'a>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Values<'a> {
    Only(BTreeSet<&'a str>),
    /// Never empty: there are more values than a list can exclude.
    AllBut(BTreeSet<&'a str>),
}

impl<'a> LabelSet<'a> {
    /// Every state that a label can be in.
    pub(super) fn every_state((subject, key): (Subject, &str)) -> Self {
        Self {
            // The API server keeps this label on every namespace.
            absent: (subject, key) != (Subject::PeerNamespace, NAMESPACE_NAME_LABEL),
            values: Values::AllBut(BTreeSet::new()),
        }
    }

    pub(super) fn value(value: &'a str) -> Self {
        Self::one_of([value])
    }

    fn one_of(values: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            absent: false,
            values: Values::Only(values.into_iter().collect()),
        }
    }

    fn present() -> Self {
        Self {
            absent: false,
            values: Values::AllBut(BTreeSet::new()),
        }
    }

    fn complement(&self) -> Self {
        Self {
            absent: !self.absent,
            values: match &self.values {
                Values::Only(values) => Values::AllBut(values.clone()),
                Values::AllBut(values) => Values::Only(values.clone()),
            },
        }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let values = match (&self.values, &other.values) {
            (Values::Only(left), Values::Only(right)) => Values::Only(left & right),
            (Values::Only(only), Values::AllBut(but)) | (Values::AllBut(but), Values::Only(only)) => {
                Values::Only(only - but)
            }
            (Values::AllBut(left), Values::AllBut(right)) => Values::AllBut(left | right),
        };
        Self {
            absent: self.absent && other.absent,
            values,
        }
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    pub(super) fn is_subset(&self, other: &Self) -> bool {
        let values = match (&self.values, &other.values) {
            (Values::Only(left), Values::Only(right)) => left.is_subset(right),
            (Values::Only(only), Values::AllBut(but)) => only.is_disjoint(but),
            (Values::AllBut(_), Values::Only(_)) => false,
            (Values::AllBut(left), Values::AllBut(right)) => right.is_subset(left),
        };
        values && (other.absent || !self.absent)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.absent && matches!(&self.values, Values::Only(values) if values.is_empty())
    }

    /// Whether the state is in the set; `None` for an absent label.
    pub(super) fn contains(&self, value: Option<&str>) -> bool {
        match (value, &self.values) {
            (None, _) => self.absent,
            (Some(value), Values::Only(values)) => values.contains(value),
            (Some(value), Values::AllBut(values)) => !values.contains(value),
        }
    }

    /// Whether `value` is the one state in the set.
    pub(super) fn is_only(&self, value: &str) -> bool {
        !self.absent && matches!(&self.values, Values::Only(values) if values.len() == 1 && values.contains(value))
    }

    /// How many values it lists.
    pub(super) fn size(&self) -> usize {
        match &self.values {
            Values::Only(values) | Values::AllBut(values) => values.len(),
        }
    }
}

/// Adds what the selector demands of its subject. `None` if the API server would refuse the selector, so that
/// nobody knows what an enforcer makes of it.
pub(super) fn demand<'a>(labels: &mut Labels<'a>, subject: Subject, selector: &'a LabelSelector) -> Option<()> {
    for (key, value) in selector.match_labels.iter().flatten() {
        restrict(labels, (subject, key), LabelSet::value(value));
    }
    for requirement in selector.match_expressions.iter().flatten() {
        restrict(labels, (subject, &requirement.key), required(requirement)?);
    }
    Some(())
}

/// Adds one demand to what is demanded already.
pub(super) fn restrict<'a>(labels: &mut Labels<'a>, label: (Subject, &'a str), to: LabelSet<'a>) {
    let states = labels.entry(label).or_insert_with(|| LabelSet::every_state(label));
    *states = states.intersection(&to);
}

fn required(requirement: &LabelSelectorRequirement) -> Option<LabelSet<'_>> {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || LabelSet::one_of(values.iter().map(String::as_str));
    match (requirement.operator.as_str(), values.is_empty()) {
        ("In", false) => Some(listed()),
        ("NotIn", false) => Some(listed().complement()),
        ("Exists", true) => Some(LabelSet::present()),
        ("DoesNotExist", true) => Some(LabelSet::present().complement()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Each operator on the values x and y, as a set.
    fn requirement(operator: &str, values: &[&str]) -> LabelSelectorRequirement {
        LabelSelectorRequirement {
            key: String::from("a"),
            operator: operator.to_owned(),
            values: (!values.is_empty()).then(|| values.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn a_requirement_implies_what_holds_whenever_it_does() {
        // (what is known, what it implies): the reverse does not follow.
        for (known, implied) in [
            (("In", &["x"][..]), ("In", &["x", "y"][..])),
            (("In", &["x"]), ("Exists", &[])),
            (("In", &["x"]), ("NotIn", &["y"])),
            (("In", &["x", "y"]), ("Exists", &[])),
            (("DoesNotExist", &[]), ("NotIn", &["x"])),
            (("NotIn", &["x", "y"]), ("NotIn", &["x"])),
        ] {
            let (known, implied) = (requirement(known.0, known.1), requirement(implied.0, implied.1));
            let (narrow, wide) = (required(&known).unwrap(), required(&implied).unwrap());
            assert!(narrow.is_subset(&wide), "{known:?} implies {implied:?}");
            assert!(!wide.is_subset(&narrow), "{implied:?} does not imply {known:?}");
            assert!(narrow.difference(&wide).is_empty() && !wide.difference(&narrow).is_empty());
        }
    }

    #[test]
    fn unrelated_requirements_imply_nothing() {
        for (left, right) in [
            (("In", &["x"][..]), ("In", &["y"][..])),
            (("In", &["x"]), ("DoesNotExist", &[])),
            (("Exists", &[]), ("NotIn", &["x"])),
            (("Exists", &[]), ("DoesNotExist", &[])),
            (("NotIn", &["x"]), ("NotIn", &["y"])),
        ] {
            let (left, right) = (requirement(left.0, left.1), requirement(right.0, right.1));
            let (one, other) = (required(&left).unwrap(), required(&right).unwrap());
            assert!(!one.is_subset(&other) && !other.is_subset(&one), "{left:?}, {right:?}");
        }
    }

    #[test]
    fn a_contradiction_is_empty() {
        for (left, right) in [
            (("In", &["x"][..]), ("In", &["y"][..])),
            (("In", &["x"]), ("NotIn", &["x", "y"])),
            (("Exists", &[]), ("DoesNotExist", &[])),
        ] {
            let (left, right) = (requirement(left.0, left.1), requirement(right.0, right.1));
            let both = required(&left).unwrap().intersection(&required(&right).unwrap());
            assert!(both.is_empty(), "{left:?} and {right:?}");
        }
    }

    #[test]
    fn what_the_api_server_refuses_is_not_guessed() {
        for (operator, values) in [
            ("In", &[][..]),
            ("NotIn", &[]),
            ("Exists", &["x"]),
            ("DoesNotExist", &["x"]),
            ("Gt", &["1"]),
        ] {
            assert_eq!(required(&requirement(operator, values)), None, "{operator} {values:?}");
        }
    }

    #[test]
    fn every_namespace_has_its_name_as_a_label() {
        let name = LabelSet::every_state((Subject::PeerNamespace, NAMESPACE_NAME_LABEL));
        assert!(name.is_subset(&LabelSet::present()));
        let other = LabelSet::every_state((Subject::PeerPod, NAMESPACE_NAME_LABEL));
        assert!(!other.is_subset(&LabelSet::present()));
    }
}
