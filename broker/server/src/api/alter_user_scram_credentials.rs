//! AlterUserScramCredentials (51): sets and deletes users' SCRAM credentials (KIP-554). The client salts and iterates the
//! password; what is kept are the two keys that follow from that.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use strata_protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use strata_types::ErrorCode;

use super::{NO_CLUSTER_ACCESS, NOT_CHANGED, message};
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource, scram_keys};

pub(crate) struct AlterUserScramCredentials;

impl Handler for AlterUserScramCredentials {
    type Request = AlterUserScramCredentialsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<AlterUserScramCredentialsResponse, Refusal> {
        if !cx.allows(Operation::Alter, Resource::Cluster) {
            return Ok(refused(&request, ErrorCode::ClusterAuthorizationFailed, NO_CLUSTER_ACCESS));
        }
        let decide = |image: &_| controller::alter_user_scram_credentials(image, &request, &scram_keys);
        let decided = cx.broker.decide(decide).await;
        Ok(decided.unwrap_or_else(|code| refused(&request, code, NOT_CHANGED)))
    }
}

fn refused(
    request: &AlterUserScramCredentialsRequest,
    code: ErrorCode,
    why: &str,
) -> AlterUserScramCredentialsResponse {
    let deleted = request.deletions.iter().map(|deletion| &deletion.name);
    let mut users: Vec<_> =
        deleted.chain(request.upsertions.iter().map(|upsertion| &upsertion.name)).collect();
    users.sort();
    users.dedup();
    let results = users.into_iter().map(|user| AlterUserScramCredentialsResult {
        user: user.clone(),
        error_code: code.into(),
        error_message: message(why),
        ..Default::default()
    });
    AlterUserScramCredentialsResponse { results: results.collect(), ..Default::default() }
}
