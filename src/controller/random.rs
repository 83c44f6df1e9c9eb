//! Chance, where many controllers must not do the same at the same moment.

use std::hash::{BuildHasher, RandomState};

/// At least 0 and below 1.
pub(super) fn random_fraction() -> f64 {
    // Every hasher of the standard library has keys of its own, so that of nothing is random.
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_le_bytes();
    f64::from(u32::from_le_bytes([a, b, c, d])) / 2_f64.powi(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike() {
        let drawn: Vec<f64> = (0..32).map(|_| random_fraction()).collect();
        assert!(drawn.iter().all(|fraction| (0.0..1.0).contains(fraction)), "{drawn:?}");
        assert!(drawn.iter().any(|fraction| *fraction > drawn[0]) || drawn.iter().any(|fraction| *fraction < drawn[0]));
    }
}
