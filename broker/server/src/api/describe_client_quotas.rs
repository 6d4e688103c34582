//! DescribeClientQuotas (48): who has which quotas (KIP-546).
//!
//! - Each component of the filter asks for a type of entity: with a name (0), the type's default (1), or any (2). An entity must
//!   fit all of them; `strict` leaves out those that have further parts. No components and not strict means all.

use std::ops::RangeInclusive;

use strata_metadata::{QuotaEntity, QuotaName};
use strata_protocol::Str;
use strata_protocol::messages::describe_client_quotas_request::ComponentData;
use strata_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use strata_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use strata_types::ErrorCode;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct DescribeClientQuotas;

/// What a component asks of one type of entity.
enum Wanted {
    Name(QuotaName),
    Any,
}

type Filter = Vec<(Str, Wanted)>;

impl Handler for DescribeClientQuotas {
    type Request = DescribeClientQuotasRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeClientQuotasResponse, Refusal> {
        let refused = |code: ErrorCode, why: Option<String>| DescribeClientQuotasResponse {
            error_code: code.into(),
            error_message: why.and_then(message),
            entries: None,
            ..Default::default()
        };
        if !cx.allows(Operation::DescribeConfigs, Resource::Cluster) {
            return Ok(refused(ErrorCode::ClusterAuthorizationFailed, None));
        }
        let filter = match filter(&request.components) {
            Ok(filter) => filter,
            Err((code, why)) => return Ok(refused(code, Some(why))),
        };
        let image = cx.broker.image();
        let nothing = filter.is_empty() && request.strict;
        let found =
            image.client_quotas().filter(|(entity, _)| !nothing && fits(entity, &filter, request.strict));
        let entries = found.map(|(entity, quotas)| {
            let part = |(kind, entity_name)| EntityData {
                entity_type: Str::from_static(kind),
                entity_name,
                ..Default::default()
            };
            let values = quotas.iter();
            let value =
                |(key, &value): (&Str, &f64)| ValueData { key: key.clone(), value, ..Default::default() };
            EntryData {
                entity: entity.parts().map(part).collect(),
                values: values.map(value).collect(),
                ..Default::default()
            }
        });
        Ok(DescribeClientQuotasResponse {
            error_message: None,
            entries: Some(entries.collect()),
            ..Default::default()
        })
    }
}

fn filter(components: &[ComponentData]) -> Result<Filter, (ErrorCode, String)> {
    let invalid = |why: &str| Err((ErrorCode::InvalidRequest, why.to_owned()));
    let mut filter: Filter = Vec::new();
    for component in components {
        let kind = &component.entity_type;
        if kind.is_empty() {
            return invalid("Invalid empty entity type.");
        }
        if filter.iter().any(|(known, _)| known == kind) {
            return invalid(&format!("Entity type {kind} cannot appear more than once in the filter."));
        }
        if !QuotaEntity::is_type(kind) {
            return Err((ErrorCode::UnsupportedVersion, format!("Unsupported entity type {kind}")));
        }
        let wanted = match (component.match_type, &component.r#match) {
            (0, Some(name)) => Wanted::Name(QuotaName::Named(name.clone())),
            (0, None) => return invalid("Request specified MATCH_TYPE_EXACT, but set match string to null."),
            (1, None) => Wanted::Name(QuotaName::Default),
            (1, Some(_)) => {
                return invalid("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.");
            }
            (2, None) => Wanted::Any,
            (2, Some(_)) => {
                return invalid("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.");
            }
            (other, _) => return invalid(&format!("Unknown match type {other}")),
        };
        filter.push((kind.clone(), wanted));
    }
    if filter.len() > 1 && filter.iter().any(|(kind, _)| kind.as_str() == "ip") {
        return invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId \
             filter component.",
        );
    }
    Ok(filter)
}

fn fits(entity: &QuotaEntity, filter: &Filter, strict: bool) -> bool {
    let all = filter.iter().all(|(kind, wanted)| match (entity.part(kind), wanted) {
        (Some(name), Wanted::Name(asked)) => name == asked,
        (part, Wanted::Any) => part.is_some(),
        (None, Wanted::Name(_)) => false,
    });
    all && (!strict || entity.parts().count() == filter.len())
}
