//! DescribeClientQuotas (48): there are no quotas yet, and so none to list (KIP-546).

use std::ops::RangeInclusive;

use strata_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct DescribeClientQuotas;

impl Handler for DescribeClientQuotas {
    type Request = DescribeClientQuotasRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(_: Context, _: Self::Request) -> Result<DescribeClientQuotasResponse, Refusal> {
        Ok(DescribeClientQuotasResponse {
            error_message: None,
            entries: Some(Vec::new()),
            ..Default::default()
        })
    }
}
