//! DescribeAcls (29): the access control entries that a filter matches, grouped by what they are about.
//!
//! - Without an authoriser there are no entries; that is an error, as in Kafka, and not an empty list.

use std::ops::RangeInclusive;

use strata_metadata::acl::AclFilter;
use strata_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use strata_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use strata_types::ErrorCode;

use super::{NO_CLUSTER_ACCESS, message};
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct DescribeAcls;

impl Handler for DescribeAcls {
    type Request = DescribeAclsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=3;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeAclsResponse, Refusal> {
        if !cx.allows(Operation::Describe, Resource::Cluster) {
            return Ok(refused(ErrorCode::ClusterAuthorizationFailed, NO_CLUSTER_ACCESS));
        }
        if cx.broker.authorizer.is_off() {
            return Ok(refused(ErrorCode::SecurityDisabled, "No Authorizer is configured on the broker"));
        }
        let filter = AclFilter::from_codes(
            (request.resource_type_filter, &request.resource_name_filter, request.pattern_type_filter),
            (&request.principal_filter, &request.host_filter),
            (request.operation, request.permission_type),
        );
        // As in Kafka: what it cannot read as a filter is no request.
        let filter = filter.map_err(|why| Refusal::close("malformed", why.to_string()))?;
        let mut resources: Vec<DescribeAclsResource> = Vec::new();
        // They come in the order of what they are about.
        for (acl, _) in cx.broker.image().acls().iter().filter(|(acl, _)| filter.matches(acl)) {
            let same = |resource: &DescribeAclsResource| {
                resource.resource_type == acl.resource_type.code()
                    && resource.resource_name == acl.resource_name
                    && resource.pattern_type == acl.pattern.code()
            };
            if !resources.last().is_some_and(same) {
                resources.push(DescribeAclsResource {
                    resource_type: acl.resource_type.code(),
                    resource_name: acl.resource_name.clone(),
                    pattern_type: acl.pattern.code(),
                    ..Default::default()
                });
            }
            if let Some(resource) = resources.last_mut() {
                resource.acls.push(AclDescription {
                    principal: acl.principal.clone(),
                    host: acl.host.clone(),
                    operation: acl.operation.code(),
                    permission_type: acl.permission.code(),
                    ..Default::default()
                });
            }
        }
        Ok(DescribeAclsResponse { resources, error_message: None, ..Default::default() })
    }
}

fn refused(code: ErrorCode, why: &str) -> DescribeAclsResponse {
    DescribeAclsResponse { error_code: code.into(), error_message: message(why), ..Default::default() }
}
