//! The reserved names: in a governed namespace they alone decide what is ours.

use std::fmt;

use crate::api::Direction;

const BASELINE: &str = "cofferdam-baseline-";
const ALLOW: &str = "cofferdam-allow-";
const EXCEPTION: &str = "cofferdam-exception-";

/// The name of a NetworkPolicy inside the reserved grammar `cofferdam-{baseline,allow,exception}-*`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyName(Box<str>);

impl PolicyName {
    /// The base policy of a direction. It does not name the tier, so that a namespace moves between tiers in
    /// one write.
    pub fn baseline(direction: Direction) -> Self {
        Self(format!("{BASELINE}{}", suffix(direction)).into())
    }

    /// The policy of an allowance that holds for some pods only.
    pub fn allow(allowance: &str, direction: Direction) -> Self {
        Self(format!("{ALLOW}{allowance}-{}", suffix(direction)).into())
    }

    /// The name, if it is inside the reserved grammar.
    pub fn reserved(name: &str) -> Option<Self> {
        [BASELINE, ALLOW, EXCEPTION]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            .then(|| Self(name.into()))
    }

    /// The direction whose base policy this is.
    pub fn baseline_direction(&self) -> Option<Direction> {
        match self.0.strip_prefix(BASELINE) {
            Some("ingress") => Some(Direction::Ingress),
            Some("egress") => Some(Direction::Egress),
            _ => None,
        }
    }

    /// Whether this is a base policy: deleting it opens a direction.
    pub fn is_base(&self) -> bool {
        self.baseline_direction().is_some()
    }

    /// The direction that the name ends with. What somebody else put into the grammar may have none.
    pub fn direction(&self) -> Option<Direction> {
        Direction::ALL
            .into_iter()
            .find(|direction| self.0.ends_with(&format!("-{}", suffix(*direction))))
    }

    /// The name as the API server knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn suffix(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_reserved_and_nothing_else() {
        for name in [
            "cofferdam-baseline-ingress",
            "cofferdam-allow-x",
            "cofferdam-exception-y-egress",
            "cofferdam-baseline-",
        ] {
            assert!(PolicyName::reserved(name).is_some(), "{name}");
        }
        for name in [
            "cofferdam",
            "cofferdam-baseline",
            "my-cofferdam-baseline-ingress",
            "default-deny",
            "cofferdam-other-x",
        ] {
            assert!(PolicyName::reserved(name).is_none(), "{name}");
        }
    }

    #[test]
    fn only_the_two_bases_open_a_direction() {
        assert_eq!(
            PolicyName::baseline(Direction::Egress).baseline_direction(),
            Some(Direction::Egress)
        );
        assert_eq!(
            PolicyName::baseline(Direction::Ingress).as_str(),
            "cofferdam-baseline-ingress"
        );
        assert_eq!(
            PolicyName::allow("baseline", Direction::Ingress).baseline_direction(),
            None
        );
        assert_eq!(
            PolicyName::reserved("cofferdam-baseline-other").and_then(|name| name.baseline_direction()),
            None
        );
    }
}
