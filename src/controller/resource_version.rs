//! Resource versions of one resource are ordered numbers (KEP-5504).

/// As a number; `None` from a server that breaks this.
pub(super) fn number(resource_version: &str) -> Option<u128> {
    resource_version.parse().ok()
}

/// Whether `version` is before `known`. What is not a number is taken as news, so that a server that breaks this costs a
/// conflict, not a hole.
pub(super) fn is_older(version: &str, known: &str) -> bool {
    match (number(version), number(known)) {
        (Some(version), Some(known)) => version < known,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers_and_what_is_none_is_news() {
        assert!(is_older("9", "10"));
        assert!(!is_older("10", "9"));
        assert!(!is_older("10", "10"));
        assert!(!is_older("abc", "10"));
        assert!(!is_older("9", "abc"));
    }
}
