//! Laying newer state batches over older ones.

use crate::share::partition::{StateBatch, join_states};

/// What `stored` amounts to once `newer` are laid over it and what is below `start_offset` is gone: in order, without
/// overlaps, neighbours in the same state joined. Both may be in any order; of two that overlap, the later one counts.
pub(super) fn combine(stored: &[StateBatch], newer: &[StateBatch], start_offset: i64) -> Vec<StateBatch> {
    let mut combined: Vec<StateBatch> = Vec::with_capacity(stored.len() + newer.len());
    stored.iter().chain(newer).for_each(|batch| lay_over(&mut combined, *batch));
    combined.retain(|batch| batch.last_offset >= start_offset);
    if let Some(first) = combined.first_mut() {
        first.first_offset = first.first_offset.max(start_offset);
    }
    join_states(combined)
}

/// `below` is in order and without overlaps, and stays so.
fn lay_over(below: &mut Vec<StateBatch>, over: StateBatch) {
    let from = below.partition_point(|batch| batch.last_offset < over.first_offset);
    let to = below.partition_point(|batch| batch.first_offset <= over.last_offset).max(from);
    let left =
        below[from..to].first().map(|first| StateBatch { last_offset: over.first_offset - 1, ..*first });
    let right = below[from..to].last().map(|last| StateBatch { first_offset: over.last_offset + 1, ..*last });
    let is_something = |batch: &StateBatch| batch.first_offset <= batch.last_offset;
    let pieces = [left.filter(is_something), Some(over), right.filter(is_something)];
    below.splice(from..to, pieces.into_iter().flatten());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::partition::DeliveryState::{self, Acknowledged, Archived, Available};

    fn batch(first_offset: i64, last_offset: i64, state: DeliveryState, delivery_count: i16) -> StateBatch {
        StateBatch { first_offset, last_offset, state, delivery_count }
    }

    #[test]
    fn newer_state_replaces_what_it_covers() {
        let stored = [batch(0, 9, Available, 1), batch(20, 29, Available, 2)];
        let newer = [batch(5, 24, Acknowledged, 3)];
        let expected =
            [batch(0, 4, Available, 1), batch(5, 24, Acknowledged, 3), batch(25, 29, Available, 2)];
        assert_eq!(combine(&stored, &newer, 0), expected);
    }

    #[test]
    fn newer_state_within_older_splits_it() {
        let combined = combine(&[batch(0, 9, Available, 1)], &[batch(4, 4, Archived, 2)], 0);
        assert_eq!(
            combined,
            [batch(0, 3, Available, 1), batch(4, 4, Archived, 2), batch(5, 9, Available, 1)]
        );
    }

    #[test]
    fn what_is_below_the_start_goes() {
        let stored = [batch(0, 9, Acknowledged, 1), batch(10, 19, Available, 1)];
        assert_eq!(combine(&stored, &[], 15), [batch(15, 19, Available, 1)]);
        assert_eq!(combine(&stored, &[], 20), []);
    }

    #[test]
    fn neighbours_in_the_same_state_are_joined() {
        let newer =
            [batch(2, 2, Acknowledged, 1), batch(0, 1, Acknowledged, 1), batch(3, 3, Acknowledged, 2)];
        assert_eq!(combine(&[], &newer, 0), [batch(0, 2, Acknowledged, 1), batch(3, 3, Acknowledged, 2)]);
    }

    /// Offset by offset, the last word counts.
    #[test]
    fn combining_is_laying_offsets_over_offsets() {
        let mut seed = 7_u64;
        let mut below = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % bound
        };
        for _ in 0..500 {
            let mut some = |count: u64| -> Vec<StateBatch> {
                let states = [Available, Acknowledged, Archived];
                let count = below(count);
                let batch = |_| {
                    let first = below(30) as i64;
                    batch(first, first + below(8) as i64, states[below(3) as usize], below(3) as i16)
                };
                (0..count).map(batch).collect()
            };
            let (stored, newer) = (some(5), some(5));
            let start = 7;
            let combined = combine(&stored, &newer, start);
            assert!(combined.windows(2).all(|pair| pair[0].last_offset < pair[1].first_offset));
            for offset in start..40 {
                let at = |batches: &[StateBatch]| {
                    let covers = |b: &&StateBatch| b.first_offset <= offset && offset <= b.last_offset;
                    batches.iter().rfind(covers).map(|b| (b.state, b.delivery_count))
                };
                assert_eq!(at(&combined), at(&newer).or(at(&stored)), "{stored:?} {newer:?} {offset}");
            }
        }
    }
}
