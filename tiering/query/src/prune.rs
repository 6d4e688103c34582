use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, TimestampMillisecondArray};
use datafusion::common::Column;
use datafusion::common::pruning::PruningStatistics;
use datafusion::error::Result;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::scalar::ScalarValue;
use strata_archive::{column, schema};
use strata_types::Offset;

use crate::snapshot::Piece;

/// The pieces that may have rows which satisfy `predicate`, by partition, offsets and latest timestamp.
pub(crate) fn prune(pieces: &[Piece], predicate: Option<&Arc<dyn PhysicalExpr>>) -> Result<Vec<Piece>> {
    let Some(predicate) = predicate else { return Ok(pieces.to_vec()) };
    let pruning = PruningPredicate::try_new(predicate.clone(), schema())?;
    let kept = pruning.prune(&Pieces(pieces))?;
    Ok(pieces.iter().zip(kept).filter(|(_, kept)| *kept).map(|(piece, _)| piece.clone()).collect())
}

struct Pieces<'a>(&'a [Piece]);

impl PruningStatistics for Pieces<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name() {
            column::PARTITION => Some(self.partitions()),
            column::OFFSET => Some(self.offsets(|offsets| offsets.start.0)),
            _ => None,
        }
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        match column.name() {
            column::PARTITION => Some(self.partitions()),
            column::OFFSET => Some(self.offsets(|offsets| offsets.end.0 - 1)),
            column::TIMESTAMP => {
                // Of the hot part nothing is known.
                let latest = self.0.iter().map(|piece| match piece {
                    Piece::Cold(entry) => Some(entry.range.max_timestamp),
                    Piece::Hot { .. } => None,
                });
                Some(Arc::new(latest.collect::<TimestampMillisecondArray>().with_timezone("UTC")))
            }
            _ => None,
        }
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

impl Pieces<'_> {
    fn partitions(&self) -> ArrayRef {
        Arc::new(self.0.iter().map(|piece| Some(piece.partition())).collect::<Int32Array>())
    }

    fn offsets(&self, end: fn(Range<Offset>) -> i64) -> ArrayRef {
        Arc::new(self.0.iter().map(|piece| Some(end(piece.offsets()))).collect::<Int64Array>())
    }
}

/// The offsets that all `filters` allow, where they say so plainly (`_offset >= 7 AND …`). What they say otherwise is
/// left to the filter above the scan.
pub(crate) fn offset_bounds(filters: &[Expr]) -> Range<Offset> {
    let mut bounds = Offset(i64::MIN)..Offset(i64::MAX);
    for filter in filters {
        narrow(filter, &mut bounds);
    }
    bounds
}

fn narrow(filter: &Expr, bounds: &mut Range<Offset>) {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return };
    if *op == Operator::And {
        narrow(left, bounds);
        narrow(right, bounds);
        return;
    }
    let (op, value) = match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(ScalarValue::Int64(Some(value)), _))
            if column.name == column::OFFSET =>
        {
            (Some(*op), *value)
        }
        (Expr::Literal(ScalarValue::Int64(Some(value)), _), Expr::Column(column))
            if column.name == column::OFFSET =>
        {
            (op.swap(), *value)
        }
        _ => return,
    };
    let next = value.saturating_add(1);
    match op {
        Some(Operator::Eq) => {
            bounds.start = bounds.start.max(Offset(value));
            bounds.end = bounds.end.min(Offset(next));
        }
        Some(Operator::Gt) => bounds.start = bounds.start.max(Offset(next)),
        Some(Operator::GtEq) => bounds.start = bounds.start.max(Offset(value)),
        Some(Operator::Lt) => bounds.end = bounds.end.min(Offset(value)),
        Some(Operator::LtEq) => bounds.end = bounds.end.min(Offset(next)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn plain_comparisons_narrow_the_offsets() {
        let bounds = |filter: Expr| {
            let bounds = offset_bounds(&[filter]);
            (bounds.start.0, bounds.end.0)
        };
        let offset = || col(column::OFFSET);
        assert_eq!(bounds(offset().gt(lit(5_i64)).and(offset().lt_eq(lit(9_i64)))), (6, 10));
        assert_eq!(bounds(offset().eq(lit(5_i64))), (5, 6));
        assert_eq!(bounds(lit(5_i64).lt_eq(offset())), (5, i64::MAX));
        assert_eq!(bounds(offset().lt(lit(5_i64)).or(offset().eq(lit(7_i64)))), (i64::MIN, i64::MAX));
        assert_eq!(bounds(col("_batch").lt(lit(5_i64))), (i64::MIN, i64::MAX));
    }
}
