//! DescribeTransactions (65): how far transactions are, and which partitions they have (KIP-664).
//!
//! - A topic that the sender may not describe is left out.

use std::ops::RangeInclusive;

use strata_coordinator::{TransactionRequest, TransactionResponse, TransactionShard};
use strata_protocol::messages::describe_transactions_response::TransactionState;
use strata_protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use strata_types::ErrorCode;

use crate::coordinators::Coordinators;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct DescribeTransactions;

impl Handler for DescribeTransactions {
    type Request = DescribeTransactionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeTransactionsResponse, Refusal> {
        let access = cx.access();
        let (ids, forbidden): (Vec<_>, Vec<_>) = request
            .transactional_ids
            .into_iter()
            .partition(|id| access.allows(Operation::Describe, Resource::TransactionalId(id)));
        let forbidden = forbidden.into_iter().map(|transactional_id| TransactionState {
            transactional_id,
            error_code: ErrorCode::TransactionalIdAuthorizationFailed.into(),
            ..Default::default()
        });
        let mut transaction_states: Vec<TransactionState> = forbidden.collect();
        for transactional_ids in Coordinators::<TransactionShard>::by_partition(&cx.broker, ids) {
            let Some(first) = transactional_ids.first().cloned() else { continue };
            let ask = TransactionRequest::Describe { transactional_ids };
            match cx.broker.transactions.ask(&cx.broker, &first, ask).await {
                TransactionResponse::Described(described) => transaction_states.extend(described),
                other => return Err(Refusal::not_an_answer_to("DescribeTransactions", &other)),
            }
        }
        for topics in transaction_states.iter_mut().map(|state| &mut state.topics) {
            topics.retain(|topic| access.sees(Operation::Describe, Resource::Topic(&topic.topic)));
        }
        Ok(DescribeTransactionsResponse { transaction_states, ..Default::default() })
    }
}
