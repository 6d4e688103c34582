//! Acknowledgements as they come in requests.

use strata_coordinator::share::partition::{AcknowledgeType, AcknowledgementBatch};
use strata_protocol::messages::{share_acknowledge_request, share_fetch_request};
use strata_types::ErrorCode;

/// What a request says of a range of records; both requests that do so have a type of their own for it.
pub(crate) trait Said {
    fn range(&self) -> (i64, i64);
    fn types(&self) -> &[i8];
}

impl Said for share_fetch_request::AcknowledgementBatch {
    fn range(&self) -> (i64, i64) {
        (self.first_offset, self.last_offset)
    }

    fn types(&self) -> &[i8] {
        &self.acknowledge_types
    }
}

impl Said for share_acknowledge_request::AcknowledgementBatch {
    fn range(&self) -> (i64, i64) {
        (self.first_offset, self.last_offset)
    }

    fn types(&self) -> &[i8] {
        &self.acknowledge_types
    }
}

/// One partition's acknowledgements, checked as Kafka checks them: in order, without overlaps, one type for all records
/// or one for each. `may_renew`: the request is one that may renew locks.
pub(crate) fn acknowledgements<S: Said>(
    batches: &[S],
    may_renew: bool,
) -> Result<Vec<AcknowledgementBatch>, ErrorCode> {
    let mut previous_last = -1;
    let mut checked = Vec::with_capacity(batches.len());
    for batch in batches {
        let (first_offset, last_offset) = batch.range();
        let count = last_offset.checked_sub(first_offset).and_then(|span| span.checked_add(1));
        let types = batch.types();
        let is_sound = first_offset > previous_last
            && last_offset >= first_offset
            && (types.len() == 1 || count == Some(types.len() as i64));
        let types: Option<Vec<_>> = types.iter().map(|id| AcknowledgeType::from_id(*id)).collect();
        let types = types.filter(|types| may_renew || !types.contains(&AcknowledgeType::Renew));
        match types {
            Some(types) if is_sound => {
                checked.push(AcknowledgementBatch { first_offset, last_offset, types });
            }
            _ => return Err(ErrorCode::InvalidRequest),
        }
        previous_last = last_offset;
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(
        first_offset: i64,
        last_offset: i64,
        types: &[i8],
    ) -> share_acknowledge_request::AcknowledgementBatch {
        let acknowledge_types = types.to_vec();
        share_acknowledge_request::AcknowledgementBatch {
            first_offset,
            last_offset,
            acknowledge_types,
            ..Default::default()
        }
    }

    #[test]
    fn batches_are_in_order_and_have_a_type_for_all_or_for_each() {
        let check = |batches: &[_], may_renew| acknowledgements(batches, may_renew).is_ok();
        assert!(check(&[batch(0, 9, &[1]), batch(10, 11, &[1, 2])], false));
        assert!(!check(&[batch(10, 11, &[1]), batch(0, 9, &[1])], false));
        assert!(!check(&[batch(0, 10, &[1]), batch(10, 11, &[1])], false));
        assert!(!check(&[batch(5, 4, &[1])], false));
        assert!(!check(&[batch(0, 9, &[1, 1])], false));
        assert!(!check(&[batch(0, 9, &[])], false));
        assert!(!check(&[batch(-5, i64::MAX, &[1])], false));
        assert!(!check(&[batch(0, 0, &[5])], true));
        assert!(!check(&[batch(0, 0, &[4])], false) && check(&[batch(0, 0, &[4])], true));
    }
}
