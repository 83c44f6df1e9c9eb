//! The limit, as it is written on the command line.

use std::fmt;
use std::str::FromStr;

/// How many namespaces may lose the isolation of a direction within [`WINDOW`](super::WINDOW) without a confirmation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MaxUnprotected {
    /// So many of a hundred that are isolated in that direction, rounded down, but one at least; 100 is no limit.
    Percent(u8),
    /// So many; with 0 each release has to be confirmed.
    Namespaces(u64),
}

impl Default for MaxUnprotected {
    fn default() -> Self {
        Self::Percent(10)
    }
}

impl fmt::Display for MaxUnprotected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(formatter, "{percent}%"),
            Self::Namespaces(namespaces) => write!(formatter, "{namespaces}"),
        }
    }
}

impl FromStr for MaxUnprotected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("expected a number of namespaces, as in 20, or a percentage of 0% to 100%, found {text:?}");
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse() {
                Ok(percent) if percent <= 100 => Ok(Self::Percent(percent)),
                _ => Err(wrong()),
            },
            None => text.parse().map(Self::Namespaces).map_err(|_| wrong()),
        }
    }
}
