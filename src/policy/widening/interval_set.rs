//! Exact sets of numbers as sorted ranges: addresses of one family, or ports.

/// Inclusive ranges, sorted, that neither overlap nor touch: equal sets are equal values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct IntervalSet(Vec<(u128, u128)>);

impl IntervalSet {
    pub(super) fn of(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if end.checked_add(1).is_none_or(|next| first <= next) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    pub(super) fn ranges(&self) -> &[(u128, u128)] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are; all 2^128 count as one less.
    pub(super) fn count(&self) -> u128 {
        self.0.iter().fold(0, |count: u128, (first, last)| {
            count.saturating_add((last - first).saturating_add(1))
        })
    }

    pub(super) fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().all(|&(first, last)| {
            let holder = other.0.get(other.first_reaching(first));
            holder.is_some_and(|&(other_first, other_last)| other_first <= first && last <= other_last)
        })
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|&(first, last)| {
            let next = other.0.get(other.first_reaching(first));
            next.is_some_and(|&(other_first, _)| other_first <= last)
        })
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        for &(first, last) in &self.0 {
            let mut start = Some(first);
            let cuts = other.0[other.first_reaching(first)..].iter();
            for &(cut_first, cut_last) in cuts.take_while(|(cut_first, _)| *cut_first <= last) {
                if let Some(start) = start.filter(|start| *start < cut_first) {
                    rest.push((start, cut_first - 1));
                }
                start = cut_last.checked_add(1);
            }
            if let Some(start) = start.filter(|start| *start <= last) {
                rest.push((start, last));
            }
        }
        Self(rest)
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.difference(&self.difference(other))
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0).copied())
    }

    /// The index of the first range that ends at `number` or later.
    fn first_reaching(&self, number: u128) -> usize {
        self.0.partition_point(|&(_, last)| last < number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u128 = u128::MAX;

    fn set(ranges: &[(u128, u128)]) -> IntervalSet {
        IntervalSet::of(ranges.iter().copied())
    }

    #[test]
    fn touching_and_overlapping_ranges_are_one() {
        assert_eq!(set(&[(5, 9), (1, 2), (3, 4), (8, 12), (20, 19)]).ranges(), [(1, 12)]);
        assert_eq!(set(&[(0, TOP), (TOP, TOP), (3, 4)]).ranges(), [(0, TOP)]);
        assert_eq!(set(&[(1, 1), (3, 3)]).ranges(), [(1, 1), (3, 3)]);
    }

    #[test]
    fn difference_keeps_both_ends() {
        for (left, right, expected) in [
            (set(&[(0, TOP)]), set(&[(0, 0), (TOP, TOP)]), set(&[(1, TOP - 1)])),
            (set(&[(0, TOP)]), set(&[(5, 6)]), set(&[(0, 4), (7, TOP)])),
            (set(&[(1, 3), (7, 9)]), set(&[(3, 7)]), set(&[(1, 2), (8, 9)])),
            (set(&[(1, 3)]), set(&[(0, TOP)]), set(&[])),
            (set(&[(1, 3)]), set(&[]), set(&[(1, 3)])),
        ] {
            assert_eq!(left.difference(&right), expected);
        }
    }

    #[test]
    fn the_operations_agree_with_membership() {
        let sets: Vec<_> = (0_u32..64)
            .map(|bits| IntervalSet::of((0..6).filter(|bit| bits >> bit & 1 == 1).map(|bit| (bit, bit))))
            .collect();
        for (left_bits, left) in (0_u32..).zip(&sets) {
            assert_eq!(left.count(), u128::from(left_bits.count_ones()));
            for (right_bits, right) in (0_u32..).zip(&sets) {
                let of = |bits: u32| &sets[bits as usize];
                assert_eq!(&left.difference(right), of(left_bits & !right_bits));
                assert_eq!(&left.intersection(right), of(left_bits & right_bits));
                assert_eq!(&left.union(right), of(left_bits | right_bits));
                assert_eq!(left.is_subset(right), left_bits & !right_bits == 0);
                assert_eq!(left.overlaps(right), left_bits & right_bits != 0);
            }
        }
    }
}
