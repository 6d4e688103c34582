//! CreateAcls (30) and DeleteAcls (31), versions 1–3. Each entry and each filter succeeds or fails by itself; what is
//! created twice is there once.

use std::collections::BTreeSet;

use strata_protocol::messages::create_acls_request::AclCreation;
use strata_protocol::messages::create_acls_response::AclCreationResult;
use strata_protocol::messages::delete_acls_request::DeleteAclsFilter;
use strata_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use strata_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse,
    RemoveAccessControlEntryRecord,
};
use strata_types::ErrorCode;
use uuid::Uuid;

use super::{ApiError, Decision, outcome};
use crate::Image;
use crate::acl::{Acl, AclFilter, CLUSTER_NAME, ResourceType};

/// The most entries that one request may create or delete: Kafka's limit of records of one request.
pub const ACLS_PER_REQUEST_MAX: usize = 10_000;

/// Creates entries. `ids` are random ones, without end.
pub fn create_acls(
    image: &Image,
    request: &CreateAclsRequest,
    ids: &mut dyn Iterator<Item = Uuid>,
) -> Decision<CreateAclsResponse> {
    let mut records = Vec::new();
    let mut new = BTreeSet::new();
    let too_many = request.creations.len() > ACLS_PER_REQUEST_MAX;
    let results = request.creations.iter().map(|creation| {
        let result = match too_many {
            true => Err(ApiError::too_many("Unable to perform excessively large batch operation.")),
            false => checked(creation).map(|acl| {
                if !image.acls().contains(&acl) && !new.contains(&acl) {
                    let id = std::iter::from_fn(|| ids.next())
                        .find(|id| !id.is_nil() && !image.acls().contains_id(*id));
                    records.push(acl.to_record(id.unwrap_or_default()).into());
                    new.insert(acl);
                }
            }),
        };
        let (error_code, error_message) = outcome(result);
        AclCreationResult { error_code, error_message, ..Default::default() }
    });
    let results = results.collect();
    (records, CreateAclsResponse { results, ..Default::default() })
}

fn checked(creation: &AclCreation) -> Result<Acl, ApiError> {
    let invalid = |why: String| ApiError::new(ErrorCode::InvalidRequest, why);
    let name = &creation.resource_name;
    if creation.resource_type == ResourceType::Cluster.code() && *name != CLUSTER_NAME {
        return Err(invalid(format!("The only valid name for the CLUSTER resource is {CLUSTER_NAME}")));
    }
    if name.is_empty() {
        return Err(invalid("Invalid empty resource name".to_owned()));
    }
    let principal_is_one =
        creation.principal.split_once(':').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
    if !principal_is_one {
        return Err(invalid(format!("Could not parse principal from `{}`", creation.principal)));
    }
    Acl::from_codes(
        (creation.resource_type, name, creation.resource_pattern_type),
        (&creation.principal, &creation.host),
        (creation.operation, creation.permission_type),
    )
    .map_err(|why| invalid(why.to_string()))
}

/// Deletes the entries that filters match.
pub fn delete_acls(image: &Image, request: &DeleteAclsRequest) -> Decision<DeleteAclsResponse> {
    let mut gone = BTreeSet::new();
    let mut filter_results: Vec<DeleteAclsFilterResult> =
        request.filters.iter().map(|filter| matching(image, filter, &mut gone)).collect();
    if gone.len() > ACLS_PER_REQUEST_MAX {
        gone.clear();
        for result in &mut filter_results {
            let too_many = ApiError::too_many("Unable to perform excessively large batch operation.");
            (result.error_code, result.error_message) = outcome(Err(too_many));
            result.matching_acls.clear();
        }
    }
    let remove = |id: &Uuid| RemoveAccessControlEntryRecord { id: *id, ..Default::default() }.into();
    (gone.iter().map(remove).collect(), DeleteAclsResponse { filter_results, ..Default::default() })
}

fn matching(image: &Image, filter: &DeleteAclsFilter, gone: &mut BTreeSet<Uuid>) -> DeleteAclsFilterResult {
    let parsed = AclFilter::from_codes(
        (filter.resource_type_filter, &filter.resource_name_filter, filter.pattern_type_filter),
        (&filter.principal_filter, &filter.host_filter),
        (filter.operation, filter.permission_type),
    );
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(why) => {
            let (error_code, error_message) =
                outcome(Err(ApiError::new(ErrorCode::InvalidRequest, why.to_string())));
            return DeleteAclsFilterResult { error_code, error_message, ..Default::default() };
        }
    };
    let found = image.acls().iter().filter(|(acl, _)| parsed.matches(acl)).map(|(acl, id)| {
        gone.insert(id);
        DeleteAclsMatchingAcl {
            resource_type: acl.resource_type.code(),
            resource_name: acl.resource_name.clone(),
            pattern_type: acl.pattern.code(),
            principal: acl.principal.clone(),
            host: acl.host.clone(),
            operation: acl.operation.code(),
            permission_type: acl.permission.code(),
            error_message: None,
            ..Default::default()
        }
    });
    let matching_acls = found.collect();
    DeleteAclsFilterResult { matching_acls, error_message: None, ..Default::default() }
}
