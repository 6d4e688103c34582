//! AlterClientQuotas (49): sets and removes quotas of users, client ids and addresses; each entity as a whole or not at all
//! (KIP-546, KIP-599, KIP-612).

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use strata_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use strata_types::ErrorCode;

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct AlterClientQuotas;

impl Handler for AlterClientQuotas {
    type Request = AlterClientQuotasRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<AlterClientQuotasResponse, Refusal> {
        if !cx.allows(Operation::AlterConfigs, Resource::Cluster) {
            return Ok(refused(&request, ErrorCode::ClusterAuthorizationFailed));
        }
        let decided = cx.broker.decide(|image| controller::alter_client_quotas(image, &request)).await;
        Ok(decided.unwrap_or_else(|code| refused(&request, code)))
    }
}

fn refused(request: &AlterClientQuotasRequest, code: ErrorCode) -> AlterClientQuotasResponse {
    let entries = request.entries.iter().map(|entry| EntryData {
        error_code: code.into(),
        error_message: None,
        entity: entry
            .entity
            .iter()
            .map(|part| EntityData {
                entity_type: part.entity_type.clone(),
                entity_name: part.entity_name.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() }
}
