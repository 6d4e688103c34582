//! ListTransactions (66): the transactional ids that this broker coordinates (KIP-664).
//!
//! - By states, of which those that do not exist are named, and by producer ids. v1: those that have been open for long
//!   (KIP-994). v2: by a pattern for the whole id (KIP-1152), which must be a regular expression.

use std::ops::RangeInclusive;

use strata_coordinator::transaction::{TransactionFilter, transactional_id_pattern};
use strata_coordinator::{TransactionRequest, TransactionResponse};
use strata_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use strata_types::ErrorCode;

use crate::broker::now;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct ListTransactions;

impl Handler for ListTransactions {
    type Request = ListTransactionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<ListTransactionsResponse, Refusal> {
        let pattern = match request.transactional_id_pattern.as_deref().filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => match transactional_id_pattern(text) {
                Some(pattern) => Some(pattern),
                None => {
                    let error_code = ErrorCode::InvalidRegularExpression.into();
                    return Ok(ListTransactionsResponse { error_code, ..Default::default() });
                }
            },
        };
        let filter = TransactionFilter {
            producer_ids: request.producer_id_filters,
            states: request.state_filters,
            duration_ms: request.duration_filter,
            pattern,
        };
        let mut response =
            ListTransactionsResponse { unknown_state_filters: filter.unknown_states(), ..Default::default() };
        let ask = || TransactionRequest::List { filter: filter.clone(), now: now() };
        for answer in cx.broker.transactions.ask_all(&cx.broker, ask).await {
            match answer {
                TransactionResponse::Listed(Ok(listed)) => response.transaction_states.extend(listed),
                TransactionResponse::Listed(Err(code)) => response.error_code = code.into(),
                other => return Err(Refusal::not_an_answer_to("ListTransactions", &other)),
            }
        }
        if response.error_code != ErrorCode::None.code() {
            response.transaction_states.clear();
        }
        let access = cx.access();
        response.transaction_states.retain(|state| {
            access.sees(Operation::Describe, Resource::TransactionalId(&state.transactional_id))
        });
        Ok(response)
    }
}
